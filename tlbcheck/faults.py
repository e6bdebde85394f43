"""Telling the faults of a procedure apart: a series of changes that mends everything that is violated.

The kinds of change are tried in a fixed order, each on top of the changes already chosen: what is
read too early, what is missing before a statement that faults, an operand, an operation that some
path skips, and last an operation that is not there at all. A change is chosen if it mends a case
and no case that was clean fails with it; a fault is a change with the cases that it mends. At the
end all properties are searched again with all changes made.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from tlbcheck.blame import judged, lines_run
from tlbcheck.changes import Change, Line, Proposals, apply
from tlbcheck.engines.child import end_with_parent
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.engines.trace import Violation
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.program import Procedure
from tlbcheck.system.lower import lower

Case = tuple[tuple[str, int], ...]
Key = tuple[str, str, Case]
"""Property, clause and case of a violation."""


@dataclass(frozen=True, eq=False)
class Fault:
    """A change, and the violations that it mends, the shortest first."""

    change: Change
    violations: tuple[Violation, ...]


@dataclass(frozen=True, eq=False)
class Faults:
    """``unexplained``: what no change mended. ``together``: with all changes made, every property holds."""

    found: tuple[Fault, ...]
    unexplained: tuple[Violation, ...]
    together: bool


def faults(result: ModelEvidence) -> Faults:
    """The faults behind all violations of ``result``, which needs the explicit engine's search."""
    assert result.explicit is not None and result.search is not None
    violations = _leading(result)
    procedure, exceptional = _judged(result, violations)
    if procedure is None:
        return Faults((), tuple(violations), not violations)
    series = _Series(result.model, procedure, [q for q in result.system.properties if any(v.property == q.name for v in violations)], {_key(v) for v in violations})
    for changes, about in _kinds(Proposals(result.model, procedure), exceptional):
        if about is None or about & series.left:
            series.extend(changes)
    found = [Fault(c, tuple(v for v in violations if _key(v) in mended)) for c, mended in series.chosen]
    together = not series.left and not _violated(series.model_with(()), result.system.properties)
    return Faults(tuple(sorted((f for f in found if f.violations), key=lambda f: f.change.place)), tuple(v for v in violations if _key(v) in series.left), together)


def _key(v: Violation) -> Key:
    return (v.property, v.clause, v.case)


def _leading(result: ModelEvidence) -> list[Violation]:
    """The violations without those of properties that fail only where another one does: consequences."""
    assert result.explicit is not None
    found = sorted(result.explicit.violations, key=lambda v: v.depth)
    cases = {q.name: {v.case for v in found if v.property == q.name} for q in result.system.properties}
    names = [n for n, c in cases.items() if c]
    kept = [n for i, n in enumerate(names) if not any(cases[n] < cases[m] or (cases[n] == cases[m] and j < i) for j, m in enumerate(names) if m != n)]
    return [v for v in found if v.property in kept]


def _judged(result: ModelEvidence, violations: Sequence[Violation]) -> tuple[Procedure | None, list[tuple[set[Line], set[Key]]]]:
    """The procedure that is judged; for each statement that faults, the lines run to it and the violations there."""
    assert result.search is not None
    procedure, exceptional = None, dict[Place, tuple[set[Line], set[Key]]]()
    for v in violations:
        trace = v.trace or result.search.trace(v)
        judged_here = judged(result.model, trace)
        procedure = procedure or judged_here
        if judged_here is not None and trace.steps[-1].step.exception:
            found = exceptional.setdefault(trace.steps[-1].step.places[0], (lines_run(judged_here, trace), set()))
            found[1].add(_key(v))
    return procedure, list(exceptional.values())


def _kinds(proposals: Proposals, exceptional: Sequence[tuple[set[Line], set[Key]]]) -> Iterator[tuple[list[Change], set[Key] | None]]:
    """Lists of alternatives, in the order in which they are tried, and what they are meant for (None: anything)."""
    yield list(proposals.misplaced()), None
    for lines, keys in exceptional:
        yield list(proposals.missing(before=proposals.position(lines))), keys
    yield list(proposals.amended()), None
    yield list(proposals.skipped()), None
    yield list(proposals.missing()), None


def _violated(model: Model, properties: Sequence[Property]) -> set[Key]:
    return {_key(v) for v in Tracked(lower(model, properties)).run().violations}


class _Broken(Exception):
    """A case is violated that was clean."""


class _Search(Tracked):
    """The search for what a change leaves: it ends where another case than ``cases`` is violated, since such a change is none."""

    cases: Set[Case] = frozenset()

    def note(self, name: str, clause: str, case: tuple[int, ...], *where: Any) -> None:
        if tuple(zip(self.system.case_variables, case, strict=True)) not in self.cases:
            raise _Broken
        super().note(name, clause, case, *where)


def _left(model: Model, properties: Sequence[Property], cases: Set[Case]) -> set[Key] | None:
    """What is violated; None if something is in another case than ``cases``, or the change makes a model that is refused."""
    try:
        search = _Search(lower(model, properties))
        search.cases = cases
        return {_key(v) for v in search.run().violations}
    except (_Broken, InputError):
        return None


_TOGETHER = 4
_TRIES = 32

_JOBS: list[tuple[Model, Sequence[Property], Set[Case]]] = []
"""What the pool's processes inherit by fork: models cannot be pickled."""


def _job(n: int) -> set[Key] | None:
    return _left(*_JOBS[n])


class _Series:
    """The changes chosen so far, and what is still violated with them."""

    def __init__(self, model: Model, procedure: Procedure, properties: Sequence[Property], base: set[Key]) -> None:
        self.model, self.procedure, self.properties = model, procedure, properties
        self.base, self.cases = base, {k[2] for k in base}
        self.left = set(base)
        self.tried = 0
        self.chosen: list[tuple[Change, set[Key]]] = []

    def model_with(self, more: Sequence[Change]) -> Model:
        return apply(self.model, self.procedure, [*(c for c, _ in self.chosen), *more])

    def extend(self, changes: Sequence[Change]) -> None:
        """Choose from ``changes``: of each few that are tried together, what mends the most, and so on."""
        waiting = list(changes)
        while self.left and waiting and self.tried < _TRIES:
            few, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
            self.tried += len(few)
            tried = zip(few, self._searched([self.model_with([c]) for c in few]), strict=True)
            # A case that no longer ends in a fault may show what else is wrong with it; a case that was clean must stay so.
            sound = [(c, left) for c, left in tried if left is not None and self.left - left]
            if sound:
                change, left = max(sound, key=lambda x: len(self.left - x[1]))
                self.chosen.append((change, self.left - left))
                self.left = left
                waiting = [c for c, _ in sound if c is not change] + waiting

    def _searched(self, models: Sequence[Model]) -> list[set[Key] | None]:
        _JOBS[:] = [(m, self.properties, self.cases) for m in models]
        workers = min(len(_JOBS), os.cpu_count() or 1)
        if workers <= 1:
            return [_job(n) for n in range(len(_JOBS))]
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"), initializer=end_with_parent) as pool:
            return list(pool.map(_job, range(len(_JOBS))))
