"""The typed result as JSON and back, schema ``tlbcheck/1`` (fields may be added, never changed).

What is derived from other fields (a verdict from what engines found and what that relies on) is written for
readers, and held against these where a file is read, so that a file cannot say two things.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tlbcheck.report.result import document
from tlbcheck.result import (
    Counterexample,
    EngineAnswer,
    Expectation,
    Failure,
    ModelResult,
    PropertyResult,
    Reliance,
    RunResult,
    Scope,
    Standing,
    Status,
    Unjudged,
    Vacuity,
    Verdict,
)

Json = dict[str, Any]


def run_json(run: RunResult) -> Json:
    """The document of ``tlbcheck verify --json``."""
    return document(
        "verify",
        expect=run.expect,
        status=int(run.status),
        models={m.name: dict(m.facts) for m in run.models if m.failure is None},
        results=[property_json(r) for r in run.results],
        errors=[
            {"model": m.name, "status": int(m.failure.status), "message": m.failure.message}
            for m in run.models
            if m.failure is not None
        ],
    )


def property_json(r: PropertyResult) -> Json:
    """One entry of ``results``."""
    return {
        "model": r.model,
        "model_digest": r.model_digest,
        "property": r.name,
        "verdict": str(r.verdict),
        "found": str(r.found),
        "vacuous": r.vacuous,
        "vacuous_declared": r.vacuity.declared,
        "vacuity_checked": r.vacuity.looked,
        "judges_nothing": [{"clause": x.clause, "text": x.text, "declared": x.declared} for x in r.vacuity.unjudged],
        "notes": list(r.notes),
        "scope": dict(r.scope.parts),
        "sufficiency": dict(r.sufficiency),
        "assumptions": list(r.assumptions),
        "unreached": list(r.unreached),
        "engines": {name: _answer_json(a) for name, a in r.engines.items()},
        "expected": None if r.expectation.verdict is None else str(r.expectation.verdict),
        "expected_source": r.expectation.source,
        "reason": r.reason,
        "how": r.how,
        "invariant": None if r.invariant is None else list(r.invariant),
        "callers": list(r.callers),
        "origin": dict(r.origin),
        "cases": r.cases,
        "depths": dict(r.depths),
        "violations": [dict(v.told) for v in r.violations],
        "relies": [_reliance_json(x) for x in r.relies],
        **(
            {}
            if r.certificates is None
            else {
                "certificates": list(r.certificates),
                **({"certificate": r.certificates[0]} if r.certificates else {}),
            }
        ),
    }


def _answer_json(a: EngineAnswer) -> Json:
    """An engine's answer; besides ``verdict``, ``depth`` and ``seconds`` only what it has to say."""
    always = {"verdict": str(a.verdict), "depth": a.depth, "seconds": a.seconds}
    more = {f.name: value for f in fields(a)[3:] if (value := getattr(a, f.name)) not in (None, "", ())}
    return always | more | ({"run": list(a.run)} if a.run else {})


def _reliance_json(r: Reliance) -> Json:
    return {
        "procedure": r.procedure,
        "shown_as": r.shown_as,
        "properties": list(r.properties),
        "requires": list(r.requires),
        "shown_by": r.shown_by,
        "status": str(r.standing),
        "differs": list(r.differs),
        "why": r.why,
        "check": r.check,
    }


# -- back


def run_of(document: Mapping[str, Any]) -> RunResult:
    """The results in the JSON of ``verify``. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what is not
    such.
    """
    facts = document.get("models", {})
    numbered = list(
        itertools.accumulate(_is_new(before, e) for before, e in itertools.pairwise([None, *document["results"]]))
    )
    models = []
    for _, some in itertools.groupby(zip(numbered, document["results"], strict=True), key=lambda x: x[0]):
        results = tuple(property_of(e) for _, e in some)
        name = results[0].model
        models.append(ModelResult(name, str(facts.get(name, {}).get("title", "")), results, facts=facts.get(name, {})))
    failures = [
        ModelResult(_text(e["model"]), failure=Failure(Status(e["status"]), _text(e["message"])))
        for e in document.get("errors", [])
    ]
    return RunResult((*models, *failures), bool(document.get("expect", False)))


def _is_new(before: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> bool:
    """Whether an entry is the first of its model."""
    return before is None or before["model"] != entry["model"]


def property_of(entry: Mapping[str, Any]) -> PropertyResult:
    """One entry of ``results``, read back; the same errors, and ``ValueError`` where it contradicts itself."""
    relies = tuple(_reliance_of(r) for r in entry.get("relies", ()))
    verdict, reason = Verdict(entry["verdict"]), _text(entry["reason"])
    looked = bool(entry.get("vacuity_checked", True))
    result = PropertyResult(
        model=_text(entry["model"]),
        name=_text(entry["property"]),
        found=Verdict(entry.get("found", verdict)),
        how=_text(entry["how"]) if "how" in entry else _how(reason, relies, looked),
        model_digest=_text(entry["model_digest"]),
        engines={_text(name): _answer_of(a) for name, a in entry["engines"].items()},
        vacuity=Vacuity(bool(entry["vacuous"]), bool(entry["vacuous_declared"]), looked, _unjudged_of(entry)),
        notes=_texts(entry.get("notes", ())),
        expectation=Expectation(
            None if entry["expected"] is None else Verdict(entry["expected"]), _text(entry["expected_source"])
        ),
        scope=Scope(dict(entry["scope"])),
        sufficiency=dict(entry.get("sufficiency", {})),
        premises=_texts(entry["assumptions"])[: len(entry["assumptions"]) - len(relies)],
        relies=relies,
        unreached=_texts(entry["unreached"]),
        invariant=None if entry.get("invariant") is None else _texts(entry["invariant"]),
        callers=_texts(entry["callers"]),
        cases=int(entry["cases"]),
        depths={_text(clause): int(n) for clause, n in entry.get("depths", {}).items()},
        violations=tuple(Counterexample(v) for v in entry["violations"]),
        certificates=_texts(entry["certificates"]) if "certificates" in entry else None,
        origin=dict(entry.get("origin") or {}),
    )
    if "found" in entry:
        written = {"verdict": verdict, "reason": reason, "assumptions": _texts(entry["assumptions"])}
        for field, value in written.items():
            if getattr(result, field) != value:
                raise ValueError(f"{field} of {result.name} on {result.model} contradicts what it is made of")
    told = bool(result.violations) or any(a.run for a in result.engines.values())
    if (result.verdict is Verdict.VIOLATED) is not told and "found" in entry:
        raise ValueError(f"{result.name} on {result.model} is {result.verdict}, with {len(result.violations)} runs")
    return result


def _unjudged_of(entry: Mapping[str, Any]) -> tuple[Unjudged, ...]:
    return tuple(Unjudged(_text(x["clause"]), _text(x["text"]), bool(x["declared"])) for x in entry.get("judges_nothing", ()))


def _how(reason: str, relies: Sequence[Reliance], looked: bool) -> str:
    """What engines say, in the reason of a file from before that stood by itself."""
    bare = PropertyResult(
        model="", name="", found=Verdict.PROVED, vacuity=Vacuity(looked=looked), relies=tuple(relies)
    ).reason
    beginning, _, end = bare.rpartition("whether its trigger") if not looked else (bare, "", "")
    return reason.removeprefix(f"{beginning.removesuffix('; ')}; ").removesuffix(f"; whether its trigger{end}")


def _answer_of(a: Mapping[str, Any]) -> EngineAnswer:
    known = {f.name for f in fields(EngineAnswer)}
    return EngineAnswer(
        **{
            **{n: x for n, x in a.items() if n in known},
            "verdict": Verdict(a["verdict"]),
            "run": _texts(a.get("run", ())),
        }
    )


def _reliance_of(r: Mapping[str, Any]) -> Reliance:
    return Reliance(
        procedure=_text(r["procedure"]),
        shown_as=_text(r.get("shown_as", r["procedure"])),
        properties=_texts(r["properties"]),
        requires=_texts(r["requires"]),
        shown_by=_text(r["shown_by"]),
        differs=_texts(r.get("differs", ())),
        check=_text(r["check"]),
        standing=Standing(r["status"]),
        why=_text(r.get("why", "")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(_text, values))
