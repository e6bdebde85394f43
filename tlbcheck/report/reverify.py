"""A saved result of ``verify`` as the same check, made again by the engines that enumerate.

Verdicts, counts, coverage, the state graph, what mends a run: all of it follows from the models, so it is believed where
a new search says the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tlbcheck.engines.run import ModelEvidence
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.model import Model, Property
from tlbcheck.library import find_properties, named
from tlbcheck.options import Limits
from tlbcheck.reliance import ranked, settle
from tlbcheck.report.facts import model_facts
from tlbcheck.report.result import SCHEMA, model_result
from tlbcheck.report.retrace import difference
from tlbcheck.report.schema import run_of
from tlbcheck.report.subject import EDITED, ENUMERATING, Replayed, Subject, hold_digest
from tlbcheck.result import PropertyResult, Verdict
from tlbcheck.session import Job, explored
from tlbcheck.system.lower import lower

_RECHECK = "recheck"


def verify_again(document: Mapping[str, Any], place: Place) -> Replayed:
    """Hold a document of ``verify`` against a new check, and replay its runs. Raises ``InputError``."""
    run, entries, expect = run_of(document), iter(document["results"]), bool(document["expect"])
    subjects = [_subject(m.results, [next(entries) for _ in m.results], place, expect=expect) for m in run.models if m.failure is None]
    shown: dict[tuple[str, str], PropertyResult] = {}
    for i in ranked([s.model for s in subjects]):
        subjects[i].again = settle(subjects[i].again, shown, (m.name for m in run.models))
        shown |= {(r.model, r.name): r for r in subjects[i].again}
    for s in subjects:
        s.hold()
    facts = {s.model.name: _facts(s.evidence, document["models"].get(s.model.name)) for s in subjects}
    failures = [{"model": m.name, "status": int(m.failure.status), "message": m.failure.message} for m in run.models if m.failure is not None]
    rest = {"schema": SCHEMA, "command": "verify", "tool": document["tool"], "expect": expect, "status": int(run.status), "models": facts, "errors": failures}
    if differing := difference(rest, {n: x for n, x in document.items() if n != "results"}):
        raise InputError(differing, place=place, hint=EDITED)
    confirmed = [x for s in subjects for x in s.confirmed()]
    return Replayed(confirmed, believed(run.results, (r for s in subjects for r in s.again), failures=bool(failures)), any(r.verdict is Verdict.VIOLATED for r in run.results))


def believed(results: Iterable[PropertyResult], again: Iterable[PropertyResult], *, failures: bool = False) -> str:
    """What the file alone says, in words."""
    repeated = {n for r in again for n in r.engines}
    others = sorted({n for r in results for n in r.engines} - repeated)
    engines = [f"what {' and '.join(others)} found besides the verdicts"] if others else []
    return ", ".join([*(["why models were not judged"] if failures else []), *engines, "seconds, versions and names of certificates"])


def _subject(results: Sequence[PropertyResult], entries: Sequence[Mapping[str, Any]], place: Place, *, expect: bool) -> Subject:
    model = _model(results[0])
    properties = find_properties([r.name for r in results], model)
    hold_digest(lower(model, properties), results, place)
    evidence, again = _searched(model, properties, results, expect=expect)
    return Subject(evidence, again, results, entries, place)


def _model(result: PropertyResult) -> Model:
    """The model of a result. Raises ``InputError`` if there is none any more."""
    if result.origin:
        from tlbcheck.review import model_again

        return model_again(result.origin)
    return replace(named(result.model), profile=result.scope.profile)


def _searched(model: Model, properties: Sequence[Property], results: Sequence[PropertyResult], *, expect: bool) -> tuple[ModelEvidence, tuple[PropertyResult, ...]]:
    """What the engines of ``results`` that enumerate find again; if that decides less than these say, what all of them find.

    Gives the evidence, and verdicts with as many runs as ``results`` have, if there are. Raises ``InputError`` and
    ``InternalError`` as a check does.
    """
    used = tuple(dict.fromkeys(n for r in results for n in r.engines))
    # Where no number of entries is enough, and the scope says why, the explicit engine searches the literal caches under their name.
    explicit = used == () or any("why" in r.scope.parts and "full" in r.engines for r in results)
    asked = ("explicit",) if explicit else tuple(n for n in used if n != _RECHECK)
    enumerating = tuple(n for n in asked if n in ENUMERATING) or asked
    answers = [(n, a) for r in results for n, a in r.engines.items()]
    stopped = [a.states for n, a in answers if n in enumerating and a.verdict is Verdict.UNKNOWN and a.states]
    limits = Limits(threads=os.cpu_count() or 1, states=max(stopped, default=None), symmetry=any(a.kept is not None for _, a in answers))
    depth = max((a.depth for n, a in answers if n == "bmc" and a.depth is not None), default=None)
    job = Job(tuple(properties), limits, enumerating, depth if enumerating == asked else None, cases=not expect, recheck=_RECHECK in used)
    evidence = explored(model, job)
    if enumerating != asked and any(evidence[r.name].verdict is not r.found for r in results):
        job = replace(job, engines=asked, depth=depth)
        evidence = explored(model, job)
    again = model_result(evidence).results
    if any(len(a.violations) != len(r.violations) for a, r in zip(again, results, strict=True)):
        evidence = explored(model, replace(job, every_case=True))
        again = model_result(evidence, every_case=True).results
    return evidence, again


def _facts(evidence: ModelEvidence, written: Mapping[str, Any] | None) -> Any:
    """What reports show of a model besides its verdicts, with the state graph if it was ``written``."""
    drawn = written is not None and written.get("graph") is not None
    return json.loads(json.dumps(model_facts(evidence, drawn=drawn)))
