"""Which operation is missing or misplaced: named only after it was tried and the case then held.

For a violation, the changes that a reviewer would try are made one at a time, and each changed
model is explored again for the violation's own case alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tlbcheck.changes import Change, Line, Proposals, apply, line_of
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.trace import EngineResult, Trace, Violation
from tlbcheck.lang import program as p
from tlbcheck.lang.model import Model
from tlbcheck.report.result import relative
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import TransitionSystem

_TRIES = 24
_ROLE = "switch"


def blame_shown(system: TransitionSystem, explicit: EngineResult) -> dict[int, dict[str, Any]]:
    """Blame, by ``id``, for the violation of each property that is told as text: one by a real caller if there is one."""
    made = {}
    for q in system.properties:
        traced = [v for v in explicit.violations if v.property == q.name and v.trace is not None]
        real = [v for v in traced if not any(pair in system.model.open_cases for pair in v.case)]
        for v in sorted(real or traced, key=lambda v: v.depth)[:1]:
            found = blame(system, v)
            if found is not None:
                made[id(v)] = found
    return made


def blame(system: TransitionSystem, violation: Violation) -> dict[str, Any] | None:
    """The first change after which the case holds; None if none of those tried is enough."""
    assert violation.trace is not None
    procedure = judged(system.model, violation.trace)
    if procedure is None:
        return None
    for change in islice(_changes(system.model, procedure, violation), _TRIES):
        if _holds(apply(system.model, procedure, [change]), system, violation):
            text = f"{change.text}: {change.fix}, and this case holds"
            return {"kind": change.kind, "operation": change.operation, "place": relative(change.place), "text": text}
    return None


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
