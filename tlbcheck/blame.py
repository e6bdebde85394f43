"""Which operation is missing or misplaced: named only after it was tried and the case then held.

For a violation, operations of the procedures that the trace runs through are moved, and the
model's candidate repairs inserted, one at a time; each changed model is explored again for the
violation's own case alone.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.model import Model
from tlbcheck.mutate import insert_statement
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
    procedure = _procedure(system, violation)
    if procedure is None:
        return None
    for tried, (change, changed) in enumerate(_changes(system.model, procedure, violation)):
        if tried >= _TRIES:
            return None
        if _holds(changed, system, violation):
            return change
    return None


def _procedure(system: TransitionSystem, violation: Violation) -> p.Procedure | None:
    """The innermost procedure of the judged role that the trace's last step of it runs in."""
    trace = violation.trace
    assert trace is not None
    for s in reversed(trace.steps):
        if _ROLE in s.step.roles:
            return next((q for q in system.model.procedures.values() if q.role == _ROLE), None)
    return None


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


def _changes(model: Model, procedure: p.Procedure, violation: Violation) -> Iterator[tuple[dict[str, Any], Model]]:
    """Changes to try, the likeliest first."""
    trace = violation.trace
    assert trace is not None
    body = procedure.body
    lines = {q.line for s in trace.steps if _ROLE in s.step.roles for q in s.step.places if q.file == procedure.place.file}
    executed = [i for i, s in enumerate(body) if _lines(s) & lines]
    loads = [i for i in executed if _writes(body[i], "MOV to CR3")]
    masked = next((i for i in executed if _writes(body[i], "PUSHF; CLI")), None)
    if dict(violation.case).get("interrupted") and masked is not None:
        for i in executed:
            if i < masked and any(isinstance(x, p.Do) for x in p.walk([body[i]])):
                yield _moved(model, procedure, body[i], body[masked])
    if trace.steps[-1].step.exception:
        last = executed[-1] if executed else 0
        for repair in model.repairs:
            if last > 0:
                yield _inserted(model, procedure, body[last - 1], repair)
        return
    after = loads[-1:] + [i for i in reversed(executed) if not loads or i > loads[-1]] + [i for i in executed if loads and i < loads[-1]]
    for repair in model.repairs:
        for i in after:
            yield _inserted(model, procedure, body[i], repair)


def _lines(s: p.Statement) -> set[int]:
    return {x.place.line for x in p.walk([s])}


def _writes(s: p.Statement, operation: str) -> bool:
    return any(isinstance(x, p.Do) and x.operation.name == operation for x in p.walk([s]))


def _inserted(model: Model, procedure: p.Procedure, after: p.Statement, repair: Any) -> tuple[dict[str, Any], Model]:
    last = max(p.walk([after]), key=lambda s: s.place.line).place
    new = p.Do(place=last, operation=repair.operation, args=repair.args)
    place = relative(last)
    text = f"{repair.text} is missing after line {last.line} of {procedure.name} ({_source(last)}): with it, this case holds"
    return {"kind": "missing", "operation": repair.operation.name, "place": place, "text": text}, insert_statement(model, procedure, after, new)


def _moved(model: Model, procedure: p.Procedure, what: p.Statement, after: p.Statement) -> tuple[dict[str, Any], Model]:
    text = f"line {what.place.line} of {procedure.name} ({_source(what.place)}) comes too early: moved to after line {after.place.line} ({_source(after.place)}), this case holds"
    operation = next((x.operation.name for x in p.walk([what]) if isinstance(x, p.Do)), "")
    return {"kind": "misplaced", "operation": operation, "place": relative(what.place), "text": text}, move_line(model, procedure, what, after)


def move_line(model: Model, procedure: p.Procedure, what: p.Statement, after: p.Statement) -> Model:
    """``model`` with the source line of ``what`` moved to after the one of ``after``."""
    body = procedure.body
    moved = [s for s in body if s.place.line == what.place.line]
    rest = [s for s in body if s.place.line != what.place.line]
    at = max(i for i, s in enumerate(rest) if s.place.line == after.place.line) + 1
    return replace(model, procedures={**model.procedures, procedure: procedure.with_body([*rest[:at], *moved, *rest[at:]])})


def _source(place: Place) -> str:
    return linecache.getline(place.file, place.line).strip() or f"line {place.line}"
