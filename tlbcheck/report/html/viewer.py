"""One violation as the page shows it: lanes, what each step changes, the blame line, the story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.answers import answers
from tlbcheck.report.events import notes, watch, watched
from tlbcheck.report.lanes import kind_of, lanes, owner
from tlbcheck.report.prose import paragraphs
from tlbcheck.report.story import case_lines, start_values
from tlbcheck.report.wording import for_ever, place, sentence, what, yes_no


def viewer(number: int, model: str, property_name: str, v: Mapping[str, Any], facts: Mapping[str, Any], clauses: Mapping[str, str], *, at: int | None = None) -> dict[str, Any]:
    """Everything that the page's templates and script need; ``number`` counts the violations of the page from 1.

    ``at`` is the run's number among those of the property in the result, from 0; None: it is none of these.
    """
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
        "watch": watch(v),
        "start": ", ".join(f"{n} = {x}" for n, x in start_values(v).items()),
        "blame": blame_line(v, prefix),
        "lanes": drawn,
        "memory": any(r.memory or r.cpu is None for r in drawn.rows),
        "acts": any(r.cpu is None for r in drawn.rows),
        "broken": _broken(v, clause),
        "prose": paragraphs(v, clause),
        "data": _data(v, prefix, drawn.cpus, facts, clause),
        "shown": _shown(v),
        "graph": _drawing(model, property_name, at, facts),
    }


def blame_line(v: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """What the run comes down to (``report.answers``): each answer a ``head``, a ``text`` and the step that it links to."""
    return [
        {"head": a.head, "text": a.text, "at": "" if a.step is None else f"step {a.step}", "href": "" if a.step is None else f"#{prefix}step-{a.step}"}
        for a in answers(v)
    ]


def _broken(v: Mapping[str, Any], clause: str) -> str:
    """What is wrong at the end of the run."""
    return ". ".join(x for x in (f"violated here: {clause or v['clause']}", for_ever(v)) if x)


def _shown(v: Mapping[str, Any]) -> str:
    """What the grid shows of the caches, for the reader to judge it by."""
    if v["loop"] is not None:
        return "A run that goes on for ever is judged by what its software does: caches are not followed."
    if not v.get("caches"):
        return ""
    everything = "All that speculation can have cached by then is shown"
    return f"{everything}; the watched entry is marked." if watched(v) else f"{everything}. This violation is about none of it."


def _drawing(model: str, property_name: str, at: int | None, facts: Mapping[str, Any]) -> str:
    from tlbcheck.report.drawing import svg

    graph = facts.get("graph")
    if not graph:
        return ""
    paths = graph["paths"].get(property_name, [])
    if at is None or at >= len(paths):
        return ""  # a run of which the graph has no path, such as a review's
    return svg(graph, paths[at], title=f"{model}: the run to {property_name} among all {graph['states']:,} control states")


# -- what the script shows of each step


def _data(v: Mapping[str, Any], prefix: str, cpus: int, facts: Mapping[str, Any], clause: str) -> dict[str, Any]:
    variables = facts.get("variables", {})
    blocks = _Sources(facts.get("procedures", ()))
    told = [n for n in v["initial"]["shown"] if kind_of(n, variables) != "case"]
    own = list(dict.fromkeys(name for n in told for cpu, name in [owner(n)] if cpu is not None))
    common = [n for n in told if owner(n)[0] is None]
    caches = v.get("caches")
    entry = sentence(watch(v)) if watched(v) else ""
    values = [[*_at(n), yes_no(v["initial"]["shown"][n])] for n in told]
    steps = [{"text": f"Start. {entry}".strip(), "place": "", "notes": [list(n) for n in notes(0, v)], "set": values, "cache": caches["start"] if caches else [], "stack": []}]
    for i, s in enumerate(v["steps"], 1):
        who = "environment" if s["cpu"] is None else f"CPU{s['cpu']}{'' if s['level'] == 'task' else ' ' + s['level']}"
        steps.append(
            {
                "text": f"{who}, {s['actor']}: {what(s)}",
                "place": place(s),
                "notes": [*(list(n) for n in notes(i, v)), *([["x", _broken(v, clause)]] if i == v["depth"] else [])],
                "set": [[*_at(n), yes_no(shown)] for n, (_, shown) in s.get("after", {}).items() if n in told],
                "cache": caches["steps"][i - 1] if caches else [],
                "stack": [[*blocks.find(at), procedure, f"{at['file']}:{at['line']}"] for at, procedure in zip(s["source"], [*s["procedures"], *[""] * len(s["source"])], strict=False)],
            }
        )
    return {"prefix": prefix, "cpus": cpus, "own": own, "common": common, "grid": _grid(facts.get("cache"), v), "steps": steps, "sources": blocks.used}


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

    def find(self, at: Mapping[str, Any]) -> tuple[int, int]:
        """Number of the procedure that ``at`` is in and which of its lines that is; -1 and 0 if its text is not known."""
        for i, p in enumerate(self.procedures):
            line = line_of(p, at)
            if line is not None:
                if i not in self.numbers:
                    self.numbers[i] = len(self.used)
                    self.used.append({"procedure": p["procedure"], "text": p["text"], "labels": labels(p)})
                return self.numbers[i], line
        return -1, 0


def line_of(p: Mapping[str, Any], at: Mapping[str, Any]) -> int | None:
    """Which line of a procedure's text, from 0, stands at a place."""
    if "places" in p:
        return next((i for i, (file, line) in enumerate(p["places"]) if (file, line) == (at["file"], at["line"])), None)
    found = int(at["line"]) - int(p["line"])
    return found if p["file"] == at["file"] and 0 <= found < len(p["text"]) else None


def labels(p: Mapping[str, Any]) -> list[str]:
    """The line numbers beside a procedure's text; lines of another file, such as those that a patch adds, have none."""
    if "places" in p:
        return [str(line) if file == p["file"] else "+" for file, line in p["places"]]
    return [str(n) for n in range(p["line"], p["line"] + len(p["text"]))]


def _grid(cache: Mapping[str, Any] | None, v: Mapping[str, Any]) -> dict[str, Any] | None:
    """Tags by pages, or by the first two fields that there are; ``entries`` gives each one's row, column, words and whether it is watched.

    Only tags and pages that something of this run is cached under.
    """
    caches = v.get("caches")
    if not cache or not cache["fields"] or not caches:
        return None
    names = list(cache["fields"])
    row = next((n for n in ("tag", "asid", "vpid") if n in names), names[0])
    column = next((n for n in ("page", *names) if n in names and n != row), row)
    entries = [e["shown"] for e in caches["entries"]]
    rows = [_label(x) for x in cache["fields"][row] if any(e[row] == x for e in entries)]
    columns = [_label(x) for x in cache["fields"][column] if any(e[column] == x for e in entries)]
    about = watched(v)

    def words(shown: Mapping[str, Any]) -> str:
        told = {n: x for n, x in shown.items() if n not in (row, column) and x is not False}
        return ", ".join(n if x is True else f"{n} {x}" if isinstance(x, int) else _label(x) for n, x in told.items()) or "cached"

    return {
        "name": cache["name"],
        "row": {"tag": "PCID", "asid": "ASID"}.get(row, row),
        "column": column,
        "rows": rows,
        "columns": columns,
        "entries": [[rows.index(_label(e[row])), columns.index(_label(e[column])), words(e), i in about, caches["entries"][i]["text"]] for i, e in enumerate(entries)],
    }


def _label(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value).replace("_", " ")
