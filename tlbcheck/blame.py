"""Which operation is missing or misplaced: named only after it was tried and the case then held.

For a violation, the changes that a reviewer would try are made one at a time, and each changed
model is explored again for the violation's own case alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Set
from itertools import islice
from typing import Any

from tlbcheck.attempts import attempts
from tlbcheck.changes import Change, Line, Proposals, apply, line_of
from tlbcheck.engines.account import entry_account
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.liveness import lassos
from tlbcheck.engines.retelling import retell
from tlbcheck.engines.trace import EngineResult, Trace, Violation
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.model import Model
from tlbcheck.report.result import relative
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import TransitionSystem

_TRIES = 24
_ATTEMPTS = 60
_BUDGET = 100_000
"""Control states that are visited for what is tried along one run."""
_ROLE = "switch"


def blame_shown(system: TransitionSystem, explicit: EngineResult) -> dict[int, dict[str, Any]]:
    """Blame, by ``id``, for the violation of each property that is told as text: one by a real caller if there is one."""
    made = {}
    known: Known = {}
    for q in system.properties:
        traced = [v for v in explicit.violations if v.property == q.name and v.trace is not None]
        real = [v for v in traced if not any(pair in system.model.open_cases for pair in v.case)]
        for v in sorted(real or traced, key=lambda v: v.depth)[:1]:
            found = blame(system, v, explicit, known)
            if found is not None:
                made[id(v)] = found
    return made


def blame(system: TransitionSystem, violation: Violation, explicit: EngineResult | None = None, known: Known | None = None) -> dict[str, Any] | None:
    """The first change after which the case holds; None if none of those tried is enough.

    ``explicit`` is all that was found of ``system``, else it is searched; in ``known`` is kept what was found of changed models.
    """
    assert violation.trace is not None
    procedure = judged(system.model, violation.trace)
    if procedure is not None:
        for change in islice(_changes(system.model, procedure, violation), _TRIES):
            if _holds(apply(system.model, procedure, [change]), system, violation):
                return _found(change, "this case holds")
    # Where no cases are told apart, the switch is but one of the procedures that may be at fault.
    return _blame_along(system, violation, explicit or _searched(system), {} if known is None else known) if system.model.case is None or procedure is None else None


def _searched(system: TransitionSystem) -> EngineResult:
    search = Tracked(system)
    found = search.run()
    found.violations += lassos(search) if system.liveness else []
    return found


def _found(change: Change, holds: str) -> dict[str, Any]:
    return {"kind": change.kind, "operation": change.operation, "place": relative(change.place), "text": f"{change.text}: {change.fix}, and {holds}"}


def _blame_along(system: TransitionSystem, violation: Violation, explicit: EngineResult, known: Known) -> dict[str, Any] | None:
    """The same where no procedure of the judged role runs: by the model's repairs and by its own statements, along the run.

    The changed model has to execute all that the model does, to keep the property in all runs, and to break no other.
    """
    trace = violation.trace
    assert trace is not None
    retold = retell(system, violation)
    account = entry_account(system, violation, retold) if retold.history is not None else None
    change, kept = (account.change, account.by_tables) if account is not None else (0, False)
    violated = {v.property for v in explicit.violations} - {violation.property}
    left = _BUDGET
    for procedure, proposal in islice(_along(system.model, trace, change, kept=kept), _ATTEMPTS):
        if proposal.text + proposal.fix in known:
            if violation.property not in known[proposal.text + proposal.fix]:
                return _found(proposal, f"{violation.property} holds")
            continue
        try:
            changed = lower(apply(system.model, procedure, [proposal]), system.properties)
        except InputError:
            continue  # what was moved or inserted makes no model
        tried = _Whole(changed, limit=left, violated=violated)
        mends = tried.holds(violation.property) and _executed(system, explicit.steps_fired, proposal) <= _executed(changed, tried.fired_steps, proposal)
        left -= len(tried.reached)
        if mends:
            known[proposal.text + proposal.fix] = {name for name, _, _ in tried.found}
            return _found(proposal, f"{violation.property} holds")
        if left <= 0:
            break
    return None


def _along(model: Model, trace: Trace, change: int, *, kept: bool) -> Iterator[tuple[p.Procedure, Change]]:
    """What is tried along a run: the model's own repairs of the procedures that it runs through, then what its statements suggest."""
    places = {line_of(q) for s in trace.steps for q in s.step.places}
    for procedure in model.reachable():
        proposals = Proposals(model, procedure)
        yield from ((procedure, c) for c in proposals.amended() if line_of(c.place) in places)
    yield from attempts(model, trace, change, kept=kept)


Known = dict[str, Set[str]]
"""For each change that was searched to the end, the properties that are violated with it."""


class _Broken(Exception):
    """Something is violated that must not be."""


class _Whole(Tracked):
    """A search of all that a model can do, which ends where something is violated that is not among ``violated``."""

    def __init__(self, system: TransitionSystem, *, limit: int, violated: Set[str]) -> None:
        super().__init__(system, limit=limit)
        self.violated = violated

    def note(self, name: str, clause: str, *rest: Any) -> None:
        if name not in self.violated:
            raise _Broken
        super().note(name, clause, *rest)

    def holds(self, name: str) -> bool:
        """Whether the whole was searched, and property ``name`` holds in it."""
        try:
            whole = self.run().complete
        except _Broken:
            return False
        return whole and not (any(b.property == name for b in self.system.liveness) and any(v.property == name for v in lassos(self)))


def _executed(system: TransitionSystem, fired: Container[int], proposal: Change) -> set[Place]:
    """The statements that some run executes, but for those that ``proposal`` is about."""
    touched = {s.place for e in proposal.edits for s in p.walk([e.statement])}
    return {s.places[0] for s in system.steps if s.index in fired and s.places} - touched


def judged(model: Model, trace: Trace) -> p.Procedure | None:
    """The procedure of the judged role, if the trace runs through it."""
    if not any(_ROLE in s.step.roles for s in trace.steps):
        return None
    return next((q for q in model.reachable() if q.role == _ROLE), None)


def lines_run(procedure: p.Procedure, trace: Trace) -> set[Line]:
    """The lines of ``procedure`` that the trace executes."""
    own = {line_of(s.place) for s in p.walk(procedure.body)}
    return own & {line_of(q) for s in trace.steps if _ROLE in s.step.roles for q in s.step.places}


def _holds(model: Model, system: TransitionSystem, violation: Violation) -> bool:
    """Whether the property holds in the violation's case, for all runs of ``model``; the case still occurs."""
    wanted = [q for q in system.properties if q.name == violation.property]
    changed = lower(model, wanted)
    case = dict(violation.case)
    restrict: dict[str, frozenset[int]] = {}
    assert violation.trace is not None
    level = next(s.step.level for s in reversed(violation.trace.steps) if _ROLE in s.step.roles)
    for variables in (changed.case_variables, changed.case_frames.get(level, {})):
        restrict |= {variable: frozenset({0, case[n]}) for n, variable in variables.items() if n in case}
    search = Tracked(changed, restrict=restrict)
    search.run()
    names = list(changed.case_variables)
    at = [search.compiled.position[changed.case_variables[n]] for n in names]
    finished = any(all(s[i] == case[n] for i, n in zip(at, names, strict=True)) for s in search.reached)
    return finished and not any(name == violation.property and dict(zip(names, values, strict=True)) == case for name, _, values in search.found)


def _changes(model: Model, procedure: p.Procedure, violation: Violation) -> Iterator[Change]:
    """Changes to try, the likeliest first."""
    assert violation.trace is not None
    proposals = Proposals(model, procedure)
    lines = lines_run(procedure, violation.trace)
    if dict(violation.case).get("interrupted"):
        yield from proposals.misplaced()
    if violation.trace.steps[-1].step.exception:
        yield from proposals.missing(before=proposals.position(lines))
    else:
        yield from (c for c in proposals.amended() if line_of(c.place) in lines)
        yield from proposals.skipped()
        yield from (c for c in proposals.missing() if line_of(c.place) in lines)
