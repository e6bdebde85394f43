"""SARIF 2.1.0, for code scanning: one result for each violation, one threadFlow for each CPU.

Undecided properties are notifications of the tool, since they are no findings in the code; so is what has no run, such
as a property that holds where a model declares it violated, and what stands beside a verdict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tlbcheck.report.answers import in_full
from tlbcheck.report.events import notes
from tlbcheck.report.judge import each
from tlbcheck.report.schema import run_of
from tlbcheck.report.story import judged_at
from tlbcheck.report.wording import sentence, what
from tlbcheck.result import Status

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_CASE = ("caller", "old", "left", "new", "other_cr4")
"""What tells cases apart for a fingerprint."""
_MOST = 1000
"""Locations of a threadFlow that code scanning keeps; of a longer run the last ones."""


def build(document: Mapping[str, Any]) -> str:
    """The result as a SARIF log of one run."""
    facts = {n: f for one in each(document) for m in one.get("models", {}).values() for n, f in m["properties"].items()}
    facts |= {
        f["property"]: {"title": f["property"], "source": "", "clauses": {}}
        for one in each(document)
        for f in one.get("findings", [])
        if f["property"] not in facts
    }
    rules = list(facts)
    results = (
        [r for one in each(document) for r in _findings(one, rules)]
        if document["command"] == "review"
        else list(_violations(document, rules))
    )
    driver = {"name": "tlbcheck", "version": document["tool"]["tlbcheck"], "rules": [_rule(n, facts[n]) for n in rules]}
    errors = [*document.get("errors", []), *(p for p in document.get("passed", []) if p["refused"])]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": not errors, "toolExecutionNotifications": list(_notifications(document))}
        ],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    clauses = "; ".join(f"{n}: {t}" for n, t in facts["clauses"].items())
    return {
        "id": name,
        "shortDescription": {"text": facts["title"]},
        "fullDescription": {"text": f"{facts['title']}. What breaks it: {clauses}." if clauses else facts["title"]},
        "help": {"text": f"{facts['title']}." + (f" Source: {facts['source']}." if facts["source"] else "")},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", "tlb"]},
    }


def _notifications(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for p in document.get("passed", ()):
        if p["refused"]:
            yield {"level": "error", "message": {"text": f"{p['patch']} is not judged: {p['text']}"}}
    if document["command"] != "verify":
        return
    run = run_of(document)
    for m in run.models:
        if m.failure is not None:
            yield {"level": "error", "message": {"text": f"{m.name}: {m.failure.message}"}}
    for r in run.results:
        status, said = r.status(run.expect), f"{r.model}: {r.name} is"
        about = {"associatedRule": {"id": r.name}}
        if status is Status.UNDECIDED:
            text = f"{said} undecided ({r.verdict}): {r.reason}"
            yield {"level": "warning", "message": {"text": text}, **about}
        elif status is Status.VIOLATED and not r.told:
            # There is no run that could be a finding in the code.
            text = f"{said} {r.verdict}{f', {r.surprise}' if run.expect and r.surprise else ''}: {r.reason}"
            yield {"level": "error", "message": {"text": text}, **about}
        for note in r.beside:
            yield {"level": "note", "message": {"text": f"{r.model}: {r.name}: {note}"}, **about}


def _violations(document: Mapping[str, Any], rules: Sequence[str]) -> Iterator[dict[str, Any]]:
    run = run_of(document)
    for r in run.results:
        if r.status(run.expect) is Status.HOLDS:
            continue
        for v in (x.told for x in r.told):
            judged = judged_at(v)
            place = (
                (v["blame"] or {}).get("place")
                or judged
                or (v["steps"][-1]["source"][0] if v["steps"] and v["steps"][-1]["source"] else None)
            )
            text = " ".join([f"{r.model}: {sentence(v['summary'])}", *map(sentence, in_full(v))])
            yield {
                **_result(r.name, rules, text, [r.model, v["clause"], *(str(v["case"].get(k)) for k in _CASE)]),
                "locations": [_location(place)] if place else [],
                **_related(v),
                "codeFlows": _flows(v),
                "properties": {"model": r.model, "clause": v["clause"]},
            }


def _findings(document: Mapping[str, Any], rules: Sequence[str]) -> Iterator[dict[str, Any]]:
    for f in document["findings"]:
        text = (
            f"{sentence(f['summary'])}"
            + (f" {sentence(f['harm'])}" if f["harm"] else "")
            + (f" To mend it: {f['fix']}." if f["fix"] else "")
        )
        v = f["violation"]
        text = " ".join([text, *map(sentence, in_full(v))])
        yield {
            **_result(f["property"], rules, text, [f["clause"], f["kind"], *(str(v["case"].get(k)) for k in _CASE)]),
            "locations": [_location(f)],
            **_related(v),
            "codeFlows": _flows(v),
            "properties": {"clause": f["clause"]},
        }


def _result(name: str, rules: Sequence[str], text: str, identity: Sequence[str]) -> dict[str, Any]:
    """What every result has; ``identity`` is what makes it the same finding in the next run, whatever its line."""
    mark = hashlib.sha256("\0".join([name, *identity]).encode()).hexdigest()[:32]
    made: dict[str, Any] = {
        "ruleId": name,
        "kind": "fail",
        "level": "error",
        "message": {"text": text},
        "partialFingerprints": {"primaryLocationLineHash": mark, "tlbcheck/v1": mark},
    }
    return made | ({"ruleIndex": rules.index(name)} if name in rules else {})


def _related(v: Mapping[str, Any]) -> dict[str, Any]:
    """The assertion or the call that the violation is about, whatever the line that mends it."""
    judged = judged_at(v)
    return (
        {"relatedLocations": [{"id": 1, **_location(judged), "message": {"text": judged["text"]}}]}
        if judged is not None
        else {}
    )


def _flows(v: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (
        [{"message": {"text": "; ".join([f"the shortest run, {v['depth']} steps", *(text for _, text in notes(0, v))])}, "threadFlows": _threads(v)}]
        if v["steps"]
        else []
    )


def _threads(v: Mapping[str, Any]) -> list[dict[str, Any]]:
    numbered = list(enumerate(v["steps"], 1))
    flows = []
    for cpu in sorted({s["cpu"] for _, s in numbered}, key=lambda c: (c is None, c)):
        name = "environment" if cpu is None else f"CPU{cpu}"
        mine = [(i, s) for i, s in numbered if s["cpu"] == cpu][-_MOST:]
        flows.append({"id": name, "message": {"text": name}, "locations": [_step(i, s, v) for i, s in mine]})
    return flows


def _step(i: int, s: Mapping[str, Any], v: Mapping[str, Any]) -> dict[str, Any]:
    told = [text for _, text in notes(i, v)]
    text = "; ".join([f"{s['actor']} {what(s)}", *told])
    location: dict[str, Any] = {**(_location(s["source"][0]) if s["source"] else {}), "message": {"text": text}}
    made: dict[str, Any] = {
        "location": location,
        "executionOrder": i,
        "nestingLevel": max(len(s["source"]) - 1, 0),
        "importance": "essential" if told or i == len(v["steps"]) else "important" if s["changes"] else "unimportant",
    }
    if s["source"]:
        stack = zip(s["source"], s["procedures"], strict=False)
        frames = [
            {"location": {**_location(at), "logicalLocations": [{"name": procedure, "kind": "function"}]}}
            for at, procedure in stack
        ]
        made["stack"] = {"frames": frames}
    if s.get("after"):
        made["state"] = {n: {"text": str(shown)} for n, (_, shown) in s["after"].items()}
    return made


def _location(place: Mapping[str, Any]) -> dict[str, Any]:
    region = {k: n for k, n in (("startLine", place["line"]), ("startColumn", place.get("column", 0))) if n > 0}
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(place["file"].replace("\\", "/"))}}
    return {"physicalLocation": physical | ({"region": region} if "startLine" in region else {})}
