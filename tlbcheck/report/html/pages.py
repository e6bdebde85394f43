"""What each page says, before it is HTML."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlbcheck.report.html.viewer import labels, viewer
from tlbcheck.report.judge import facts_of, reproduce
from tlbcheck.report.schema import property_of, run_of
from tlbcheck.report.wording import sentence
from tlbcheck.result import PropertyResult, Status, Verdict, grounds

_NO_FACTS: Mapping[str, Any] = {"title": "", "source": ""}


def page(document: Mapping[str, Any]) -> dict[str, Any]:
    """The page of a result. Raises ``KeyError`` for a command that has none."""
    made = {"verify": _verify, "matrix": _matrix, "review": _review, "list": _list}[document["command"]](document)
    tool = document["tool"]
    return {**made, "made_by": ", ".join(f"{n} {tool[n]}" for n in tool)}


# -- verify


def _verify(document: Mapping[str, Any]) -> dict[str, Any]:
    run = run_of(document)
    judged = [m for m in run.models if m.failure is None]
    sections = list(_sections(document, [m.results for m in judged], expect=run.expect))
    title = judged[0].name if len(judged) == 1 else "The library" if judged else "Nothing was checked"
    return {
        "title": title,
        "about": sections[0]["title"] if len(judged) == 1 else run.counted,
        "library": _library(sections) if len(judged) > 1 else None,
        "sections": sections,
        "errors": [{"model": m.name, "message": m.failure.message} for m in run.models if m.failure is not None],
        "expect": run.expect,
        "viewers": any(e["viewers"] for s in sections for e in s["entries"]),
    }


def _sections(document: Mapping[str, Any], models: Sequence[Sequence[PropertyResult]], *, expect: bool, runs: bool = True) -> Iterator[dict[str, Any]]:
    """A section for the results of each model, with an entry for each property; with ``runs``, with its violations."""
    shown = 0
    for i, results in enumerate(models, 1):
        first = results[0]
        facts = {**_NO_FACTS, **facts_of(document, first)}
        entries = []
        for k, r in enumerate(results, 1):
            entries.append(_entry(r, facts, f"result-{i}-{k}", shown + 1, expect=expect, runs=runs))
            shown += len(entries[-1]["viewers"])
        yield {
            "id": f"model-{i}",
            "name": first.model,
            "title": facts.get("variant") or facts["title"],
            "source": facts["source"],
            "entries": entries,
            "grounds": grounds(results),
            "unreached": first.unreached,
            "coverage": _coverage(facts.get("procedures", ())),
            "graph": _explored(first.model, facts) if not any(e["viewers"] for e in entries) else "",
            "reproduce": reproduce(results),
        }


def _entry(r: PropertyResult, facts: Mapping[str, Any], id_: str, first: int, *, expect: bool, runs: bool) -> dict[str, Any]:
    """One property of one model; its violations are numbered from ``first``."""
    about = facts.get("properties", {}).get(r.name, {"title": "", "source": "", "clauses": {}})
    chosen = r.told if runs else ()
    others = [v for v in r.violations if not any(v is x for x in chosen)] if runs else []
    place = {id(v): n for n, v in enumerate(r.violations)}
    return {
        "id": id_,
        "property": r.name,
        "title": sentence(about["title"]) if about["title"] else "",
        "source": about["source"],
        "clauses": about["clauses"],
        "verdict": r.words,
        "class": _class(r, expect=expect),
        "as_declared": expect and r.status(expect) is Status.HOLDS,
        "unexpected": r.surprise if expect or r.expectation.verdict is not None else "",
        "reason": sentence(r.reason) if r.reason else "",
        "engines": [{"name": n, **{k: x for k, x in vars(a).items() if k not in ("seconds", "run") and x not in (None, "")}} for n, a in r.engines.items()],
        "invariant": r.invariant or [],
        "holds": r.verdict in (Verdict.PROVED, Verdict.BOUNDED),
        "beside": [sentence(n) for n in r.beside],
        "viewers": [viewer(first + n, r.model, r.name, v.told, facts, about["clauses"], at=place[id(v)]) for n, v in enumerate([*chosen, *others])],
        "told": len(chosen),
        "reproduce": reproduce([r]),
    }


def _class(r: PropertyResult, *, expect: bool) -> str:
    if r.verdict is Verdict.VIOLATED:
        return "bad"
    return "open" if r.status(expect) is Status.UNDECIDED else "none" if r.verdict is Verdict.NOT_APPLICABLE else "good"


def _library(sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Models by properties."""
    properties = list(dict.fromkeys(e["property"] for s in sections for e in s["entries"]))
    rows = [{"name": s["name"], "title": s["title"], "id": s["id"], "cells": [next((e for e in s["entries"] if e["property"] == p), None) for p in properties]} for s in sections]
    titles = {p: next((e["title"] for s in sections for e in s["entries"] if e["property"] == p), "") for p in properties}
    return {"properties": properties, "titles": titles, "rows": rows}


def _coverage(procedures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each procedure with steps: which of its lines some run executes; its text."""
    made = []
    for p in procedures:
        if not p["steps"] or p["executed"] is None:
            continue
        steps, executed = set(p["steps"]), set(p["executed"])
        marks = [(label, text, "reached" if n in executed else "never" if n in steps else "") for n, (label, text) in enumerate(zip(labels(p), p["text"], strict=True), p["line"])]
        made.append({"procedure": p["procedure"], "place": f"{p['file']}:{p['line']}", "reached": len(executed), "steps": len(steps), "lines": marks})
    return made


def _explored(name: str, facts: Mapping[str, Any]) -> str:
    graph = facts.get("graph")
    if not graph:
        return ""
    from tlbcheck.report.drawing import svg

    return svg(graph, title=f"{name}: all {graph['states']:,} control states")


# -- matrix


def _matrix(document: Mapping[str, Any]) -> dict[str, Any]:
    rows = document["rows"]
    classes = {"clean": "good", "stale": "bad", "fault": "fault"}
    shown = [{**r, "class": classes.get(r["verdict"], "open"), "id": f"row-{i}"} for i, r in enumerate(rows, 1)]
    contexts = list(dict.fromkeys([*(r["old"] for r in rows), *(r["new"] for r in rows)]))
    maps = []
    for other in dict.fromkeys(r["other_cr4"] for r in rows):
        at = {(r["old"], r["new"]): r for r in shown if r["other_cr4"] == other}
        maps.append({"other_cr4": other, "rows": [{"old": old, "cells": [at.get((old, new)) for new in contexts]} for old in contexts]})
    counts: dict[str, int] = {}
    for r in rows:
        counts[r["verdict"]] = counts.get(r["verdict"], 0) + 1
    return {
        "title": f"{document['model']}: every pair of contexts",
        "about": document.get("title", ""),
        "counts": [(n, counts[n], classes.get(n, "open")) for n in ("clean", "stale", "fault") if n in counts],
        "contexts": contexts,
        "maps": maps,
        "rows": shown,
        "note": sentence(document["note"]) if document.get("note") else "",
        "clauses": document.get("clauses", {}),
        "reproduce": f"tlbcheck matrix {document['model']}",
        "viewers": False,
    }


# -- list


def _list(document: Mapping[str, Any]) -> dict[str, Any]:
    models = [
        {
            **m,
            "id": f"model-{i}",
            "declared": _declared(m["expected"]),
            "variants": [{"name": n, "doc": doc, "source": m["variants_source"][n], "declared": _declared(m["variants_expected"][n])} for n, doc in m["variants"].items()],
        }
        for i, m in enumerate(document["models"], 1)
    ]
    variants = sum(len(m["variants"]) for m in models)
    return {
        "title": "The library",
        "about": f"{len(models)} models, {variants} variants, {len(document['properties'])} properties",
        "models": models,
        "properties": [{**about, "name": n, "id": f"property-{i}", "title": sentence(about["title"])} for i, (n, about) in enumerate(document["about"].items(), 1)],
        "viewers": False,
    }


def _declared(expected: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"property": n, "verdict": v, "class": "bad" if v == "violated" else "good"} for n, v in expected.items()]


# -- review


def _review(document: Mapping[str, Any]) -> dict[str, Any]:
    patch = document["patch"]
    after, before = ([property_of(e) for e in document["verdicts"][side] or ()] for side in ("after", "before"))
    findings = [_finding(document, i, f) for i, f in enumerate(document["findings"], 1)]
    lines = [{**x, "findings": [f for f in findings if f["here"] == x["n"]], "unseen": [u["text"] for u in document["unseen"] if u["line"] == x["n"]]} for x in document["lines"]]
    text = {x["n"]: x["text"] for x in lines}
    sections = list(_sections(document, [after] if after else [], expect=False, runs=not findings))
    return {
        "title": patch["subject"] or patch["shown"],
        "about": ", ".join(x for x in (f"by {patch['author']}" if patch["author"] else "", patch["date"], patch["shown"] if patch["subject"] else "") if x),
        "parts": _parts(lines),
        "findings": [{**f, "code": text[f["here"]].lstrip("> +\t") if f["here"] else ""} for f in findings],
        "changes": [{"head": head, "class": class_, "found": document[key]} for key, head, class_ in _CHANGES if document[key]],
        "together": document.get("together"),
        "said": [sentence(x) for x in _said(document)],
        "compared": _compared(before, after),
        "sections": sections,
        "assumptions": document["assumptions"],
        "assumed_before": document.get("assumed_before", []),
        "two_numberings": any(f["here"] not in (None, f["line"]) for f in findings),
        "places": sentence(document["places"]) if document.get("places") else "",
        "viewers": bool(findings) or any(e["viewers"] for s in sections for e in s["entries"]),
    }


def _said(document: Mapping[str, Any]) -> Iterator[str]:
    """That the patch leaves the function as it was; the other patches of the mail."""
    if document.get("unchanged"):
        yield document["unchanged"]
    for other in document.get("others", ()):
        yield f"{other['patch']['title']}: {other['function']} of {other['source']} has a page of its own"
    for p in document.get("passed", ()):
        yield f"{p['patch']}: {'not judged: ' if p['refused'] else ''}{p['text']}"


_AROUND = {"findings": 6, "unseen": 2}
"""Lines of the patch that are shown on either side of what is said."""
_WORTH_FOLDING = 4


def _parts(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The patch in stretches: those with something said in them, or else its hunks, and folded what lies between."""
    said = [(i, around) for i, x in enumerate(lines) for what, around in _AROUND.items() if x[what]]
    near = {k for i, around in said for k in range(i - around, i + around + 1)}
    shown = [i in near if said else x["kind"] in ("context", "add", "remove") for i, x in enumerate(lines)]
    made: list[dict[str, Any]] = []
    for open_, stretch in itertools.groupby(zip(shown, lines, strict=True), key=lambda x: x[0]):
        some = [x for _, x in stretch]
        folded = not open_ and len(some) >= _WORTH_FOLDING
        if made and made[-1]["folded"] is folded:
            made[-1]["lines"] += some
        else:
            made.append({"folded": folded, "lines": some})
    return made


def _finding(document: Mapping[str, Any], number: int, f: Mapping[str, Any]) -> dict[str, Any]:
    """A finding with the run that shows it; ``here``: the line of the patch that it is at, if that is shown."""
    models = document.get("models", {})
    facts = {**_NO_FACTS, **models.get("after", {})}
    clauses = facts.get("properties", {}).get(f["property"], {}).get("clauses", {})
    here = f["mail_line"]
    v = {**f["violation"], "blame": f["violation"]["blame"] or {"kind": f["kind"], "text": f"{f['summary']}: {f['fix']}"}}
    return {
        **f,
        "harm": sentence(f["harm"])[:-1],
        "id": f"finding-{number}",
        "number": number,
        "here": here,
        "at": f"Line {f['line']}" if here == f["line"] else f"{f['file']}:{f['line']}",
        "viewer": viewer(number, f["file"], f["property"], v, facts, clauses),
    }


_CHANGES = (("introduces", "Introduces", "bad"), ("leaves", "Leaves as it was", "open"), ("fixes", "Fixes", "good"))


def _compared(before: Sequence[PropertyResult], after: Sequence[PropertyResult]) -> list[dict[str, Any]]:
    """Each property's verdict before (None where that code was not seen) and with the patch."""

    def shown(results: Sequence[PropertyResult], name: str) -> dict[str, str] | None:
        result = next((r for r in results if r.name == name), None)
        return None if result is None else {"verdict": result.words, "class": _class(result, expect=False)}

    names = dict.fromkeys(r.name for r in [*after, *before])
    return [{"property": n, "before": shown(before, n), "after": shown(after, n)} for n in names]
