"""One violation as the page shows it: lanes, what each step changes, the blame line, the story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.lanes import cells_at, kind_of, lanes, owner
from tlbcheck.report.prose import paragraphs
from tlbcheck.report.story import case_lines, for_ever, notes, place, sentence, start_values, what, yes_no

_BLAME = {"missing": "What was missing", "misplaced": "What came too early"}


def viewer(number: int, entry: Mapping[str, Any], v: Mapping[str, Any], facts: Mapping[str, Any], clauses: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the page's templates and script need; ``number`` counts the violations of the page from 1."""
    prefix = "" if number == 1 else f"v{number}-"
    variables = facts.get("variables", {})
    clause = clauses.get(v["clause"], "")
    drawn = lanes(v, variables)
    return {
        "id": f"violation-{number}",
        "prefix": prefix,
        "depth": v["depth"],
        "clause": v["clause"],
        "summary": sentence(v["summary"]),
        "case": case_lines(v["case"]),
        "watch": v["tracked"]["text"] if v["tracked"] and v["tracked"]["about"] else "",
        "cached_at_start": v["initial"]["cached"],
        "start": ", ".join(f"{n} = {x}" for n, x in start_values(v).items()),
        "blame": blame_line(v, clause, prefix),
        "lanes": drawn,
        "memory": any(r.memory or r.cpu is None for r in drawn.rows),
        "broken": _broken(v, clause),
        "prose": paragraphs(v, clause),
        "data": _data(v, prefix, drawn.cpus, facts, clause),
        "shown": _shown(v),
        "graph": _drawing(entry, v, facts),
    }


def blame_line(v: Mapping[str, Any], clause: str, prefix: str = "") -> list[dict[str, str]]:
    """What changed, the invalidation that was missing, the use: each a ``head``, a ``text`` and the step that it links to."""
    made = []
    stale = [c["stale_since"] for c in cells_at(v, len(v["steps"])) if c["stale_since"] is not None]
    if stale:
        since = min(stale)
        text = what(v["steps"][since - 1]) if since else "the entry was stale from the start"
        made.append({"head": "What changed", "text": text, "at": f"step {since}", "href": f"#{prefix}step-{since}"})
    if v["blame"]:
        made.append({"head": _BLAME.get(v["blame"]["kind"], "What mends it"), "text": v["blame"]["text"], "at": "", "href": ""})
    if v["steps"]:
        last = v["steps"][-1]
        text = what(last) if last.get("exception") else f"{what(last)}; then {clause}" if clause else what(last)
        made.append({"head": "The fault" if last.get("exception") else "The use", "text": text, "at": f"step {v['depth']}", "href": f"#{prefix}step-{v['depth']}"})
    return made


def _broken(v: Mapping[str, Any], clause: str) -> str:
    """What is wrong at the end of the run."""
    return ". ".join(x for x in (f"violated here: {clause or v['clause']}", for_ever(v)) if x)


def _shown(v: Mapping[str, Any]) -> str:
    """What the grid shows of the caches, for the reader to judge it by."""
    if any("cells" in s for s in v["steps"]):
        return ""
    if v["initial"].get("everything"):
        return "This run was found on the literal caches; the result does not say what they hold."
    if not v["tracked"] or not v["tracked"]["about"]:
        return "This violation is about no cached entry, so none is shown."
    return "The search follows one arbitrary entry. Only this one is shown; others may be cached too."


def _drawing(entry: Mapping[str, Any], v: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    from tlbcheck.report.drawing import svg

    graph = facts.get("graph")
    if not graph:
        return ""
    paths = graph["paths"].get(entry["property"], [])
    at = next((i for i, x in enumerate(entry["violations"]) if x is v), len(paths))
    if at >= len(paths):
        return ""  # a run of which the graph has no path, such as a review's
    return svg(graph, paths[at], title=f"{entry['model']}: the run to {entry['property']} among all {graph['states']:,} control states")


# -- what the script shows of each step


def _data(v: Mapping[str, Any], prefix: str, cpus: int, facts: Mapping[str, Any], clause: str) -> dict[str, Any]:
    variables = facts.get("variables", {})
    blocks = _Sources(facts.get("procedures", ()))
    told = [n for n in v["initial"]["shown"] if kind_of(n, variables) != "case" and n != "halted"]
    own = list(dict.fromkeys(name for n in told for cpu, name in [owner(n)] if cpu is not None))
    common = [n for n in told if owner(n)[0] is None]
    grid = _grid(facts.get("cache"))
    values = [[*_at(n), yes_no(v["initial"]["shown"][n])] for n in told]
    start = f"Start. {v['tracked']['text'] + ' is ' + ('cached' if v['initial']['cached'] else 'not cached yet') + '.' if v['tracked'] and v['tracked']['about'] else ''}"
    steps = [{"text": start.strip(), "place": "", "notes": [], "set": values, "cells": _cells(v, 0, grid), "stack": []}]
    for i, s in enumerate(v["steps"], 1):
        who = "environment" if s["cpu"] is None else f"CPU{s['cpu']}{'' if s['level'] == 'task' else ' ' + s['level']}"
        steps.append(
            {
                "text": f"{who}, {s['actor']}: {what(s)}",
                "place": place(s),
                "notes": [*(list(n) for n in notes(i, s, v)), *([["x", _broken(v, clause)]] if i == v["depth"] else [])],
                "set": [[*_at(n), yes_no(shown)] for n, (_, shown) in s.get("after", {}).items() if n in told],
                "cells": _cells(v, i, grid),
                "stack": [[blocks.find(at), at["line"], procedure, at["file"]] for at, procedure in zip(s["source"], [*s["procedures"], *[""] * len(s["source"])], strict=False)],
            }
        )
    return {"prefix": prefix, "cpus": cpus, "own": own, "common": common, "grid": grid, "steps": steps, "sources": blocks.used}


def _at(name: str) -> tuple[int, str]:
    """A variable as the script knows it: its CPU (-1 for shared ones) and its name there."""
    cpu, base = owner(name)
    return (-1, name) if cpu is None else (cpu, base)


class _Sources:
    """The procedures that a trace runs through, in the order in which it meets them."""

    def __init__(self, procedures: Sequence[Mapping[str, Any]]) -> None:
        self.procedures = procedures
        self.numbers: dict[int, int] = {}
        self.used: list[dict[str, Any]] = []

    def find(self, at: Mapping[str, Any]) -> int:
        """Number of the procedure that ``at`` is in; -1 if its text is not known."""
        for i, p in enumerate(self.procedures):
            if p["file"] == at["file"] and p["line"] <= at["line"] < p["line"] + len(p["text"]):
                if i not in self.numbers:
                    self.numbers[i] = len(self.used)
                    self.used.append({k: p[k] for k in ("procedure", "file", "line", "text")})
                return self.numbers[i]
        return -1


def _grid(cache: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The fields that make rows and columns: tags by pages, or the first two that there are."""
    if not cache or not cache["fields"]:
        return None
    names = list(cache["fields"])
    row = "tag" if "tag" in names else names[0]
    column = "page" if "page" in names else next((n for n in names if n != row), row)
    return {
        "name": cache["name"],
        "row": "PCID" if row == "tag" else row,
        "column": column,
        "fields": [row, column],
        "rows": [_label(x) for x in cache["fields"][row]],
        "columns": [_label(x) for x in cache["fields"][column]],
    }


def _label(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value).replace("_", " ")


def _cells(v: Mapping[str, Any], number: int, grid: Mapping[str, Any] | None) -> list[list[Any]]:
    """What is cached after a step: CPU, row, column, what the cell says, and since which step it is stale (or null)."""
    if grid is None:
        return []
    row, column = grid["fields"]
    made = []
    for cell in cells_at(v, number):
        shown = cell["shown"]
        words = [n if x is True else _label(x) for n, x in shown.items() if n not in (row, column) and x is not False]
        made.append([cell["cpu"], grid["rows"].index(_label(shown[row])), grid["columns"].index(_label(shown[column])), ", ".join(words) or "cached", cell["stale_since"]])
    return made
