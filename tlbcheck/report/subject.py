"""A model that saved results are of, searched again: what they say of it, and of its runs, is held against that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlbcheck.engines.run import ModelEvidence, confirm, found_by, reasons
from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.options import LITERAL, REFERENCE
from tlbcheck.replay.check import ReplayError
from tlbcheck.report.result import assumed, covered, digest, showing, stood_for, sufficiency_of
from tlbcheck.report.retrace import difference, followed
from tlbcheck.report.schema import property_json
from tlbcheck.result import EngineAnswer, PropertyResult, Verdict
from tlbcheck.system.sufficiency import as_they_are
from tlbcheck.system.transition_system import TransitionSystem

ENUMERATING = ("explicit", *LITERAL, REFERENCE)
"""The engines that find the same again in about the time of their first search."""
EDITED = "the file was edited; make it again"
CHANGED = "the model or tlbcheck has changed: verify it again"
_DECIDED = {Verdict.PROVED, Verdict.VIOLATED}


@dataclass(frozen=True)
class Replayed:
    """What came of a result: (model, property, violation) for each confirmed run, and in words what the file alone says.

    ``violated``: something is; the reference interpreter tells no run that could be replayed.
    """

    confirmed: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    believed: str = ""
    violated: bool = False


def hold_digest(system: TransitionSystem, results: Sequence[PropertyResult], place: Place) -> None:
    """Raises ``InputError`` unless ``results`` were made of this system."""
    if any(digest(system) != r.model_digest for r in results):
        raise InputError(f"{system.model.name} is not the model that the result was made from", place=place, hint=CHANGED)


class Subject:
    """The entries of a result that are of one model, as JSON has them, and what was found again of it."""

    def __init__(self, evidence: ModelEvidence, again: Sequence[PropertyResult], results: Sequence[PropertyResult], entries: Sequence[Mapping[str, Any]], place: Place) -> None:
        """``results`` are ``entries``, read; ``again`` those found again, in the same order. Raises ``InputError`` if they are of another model."""
        hold_digest(evidence.whole, results, place)
        self.evidence, self.again, self.results, self.entries, self.place = evidence, again, results, entries, place
        self.model = evidence.model
        literal = as_they_are(evidence.whole)
        self.decided = [evidence.decided, literal, replace(literal, dimensions=evidence.decided.dimensions)]
        self.shown = showing(self.model)

    def hold(self) -> None:
        """Hold what the entries say besides their runs against what was found again. Raises ``InputError``."""
        for entry, r, a in zip(self.entries, self.results, self.again, strict=True):
            self._hold_grounds(r)
            if differing := _differing(entry, r, a):
                raise self._edited(r, differing)

    def _hold_grounds(self, r: PropertyResult) -> None:
        """Scope and premises. How many entries are enough may be decided otherwise where z3 is short of time."""
        q = next(q for q in self.evidence.whole.properties if q.name == r.name)
        granted = stood_for(self.model, self.shown, q)
        if r.scope not in [covered(self.model, d) for d in self.decided]:
            raise self._edited(r, "its scope is not what the model gives")
        if r.premises not in [(*self.model.assumptions, *d.assumptions, *assumed(self.model, self.evidence.system), *granted) for d in self.decided]:
            raise self._edited(r, "its assumptions are not the model's")
        if dict(r.sufficiency) not in [sufficiency_of(d) for d in self.decided]:
            raise self._edited(r, "why so many entries are enough is not what was decided")

    def confirmed(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Each violation with its model and property: computed again, and run by the replay interpreter. Raises ``InputError``."""
        return [(r.model, r.name, v) for r in self.results for v in self._runs(r)]

    def _runs(self, r: PropertyResult) -> list[Mapping[str, Any]]:
        runs: list[Mapping[str, Any]] = []
        for i, v in enumerate(r.violations):
            try:
                system, violation, told = followed([self.evidence.system, self.evidence.whole], r.name, v.told)
                confirm(system, violation, "a file", first=i == 0)
            except (ReplayError, InternalError) as error:
                raise self._edited(r, f"violation {i + 1} does not replay: {error}") from None
            # What mends it was found again, and held, before.
            runs.append({**told, "blame": v.told["blame"], "tried": v.told["tried"]})
        return runs

    def _edited(self, r: PropertyResult, why: str) -> InputError:
        return InputError(f"{r.name} on {r.model}: {why}", place=self.place, hint=EDITED)


def _differing(entry: Mapping[str, Any], r: PropertyResult, again: PropertyResult) -> str:
    """Where an entry, read as ``r``, says something else than was found ``again``, in words; empty if it does not.

    Its grounds and its runs are held elsewhere.
    """
    others = {n: a for n, a in r.engines.items() if n not in again.engines}
    if r.engines and r.found is not found_by(r.engines):
        return f"it is {r.found}, which is not what its engines say"
    for name, a in others.items():
        if a.verdict in _DECIDED and a.verdict is not again.found:
            return f"engine {name} says {a.verdict}, where it is {again.found}"
    engines = {n: replace(again.engines[n], seconds=a.seconds) if n in again.engines else a for n, a in r.engines.items()}
    engines |= {n: a for n, a in again.engines.items() if n not in r.engines}
    proving = any(a.clauses is not None for a in others.values())
    rest = replace(
        again,
        engines=engines,
        how=_how(again, r.found, engines),
        invariant=r.invariant if proving else again.invariant,
        certificates=r.certificates,
        scope=r.scope,
        sufficiency=r.sufficiency,
        premises=r.premises,
        violations=r.violations,
    )
    return difference(json.loads(json.dumps(property_json(rest))), dict(entry)) or _runs_differ(again, r)


def _how(again: PropertyResult, found: Verdict, engines: Mapping[str, EngineAnswer]) -> str:
    """How ``found`` is known: the remarks of what was found again, and what ``engines`` say."""
    own = "; ".join(reasons(again.found, again.engines))
    remarks = again.how.removesuffix(own).removesuffix("; ")
    return "; ".join([*([remarks] if remarks else []), *reasons(found, engines)])


def _runs_differ(again: PropertyResult, r: PropertyResult) -> str:
    """Whether the runs are of other cases than those found again, or something else mends them."""
    if not any(n in ENUMERATING for n in r.engines):
        return ""  # a solver may choose another run of the same length
    runs = [[{n: v.told[n] for n in ("clause", "depth", "case", "blame", "tried")} for v in x.violations] for x in (again, r)]
    return difference({"violations": json.loads(json.dumps(runs[0]))}, {"violations": runs[1]})
