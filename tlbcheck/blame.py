"""Which operation is missing or misplaced: named only after it was tried and the case then held.

For a violation, the changes that a reviewer would try are made one at a time, and each changed
model is explored again for the violation's own case alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Sequence, Set
from itertools import islice
from typing import Any

from tlbcheck.attempts import attempts, variants
from tlbcheck.changes import Change, Line, Proposals, apply, line_of
from tlbcheck.engines.account import entry_account
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.liveness import lassos
from tlbcheck.engines.retelling import retell
from tlbcheck.engines.run import how_many_entries
from tlbcheck.engines.trace import EngineResult, Trace, Violation
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import Limits
from tlbcheck.report.result import Teller, relative
from tlbcheck.system.lower import lower
from tlbcheck.system.sufficiency import represented
from tlbcheck.system.transition_system import TransitionSystem

_TRIES = 24
_ATTEMPTS = 60
_BUDGET = 100_000
"""Control states that are visited for what is tried along one run."""
_ROLE = "switch"
_KINDS = "what was skipped done on every path, an invalidation inserted, a statement moved later, a branch or a part of a condition left out"


def blame_shown(system: TransitionSystem, explicit: EngineResult) -> dict[int, dict[str, Any]]:
    """Blame, by ``id``, for the violation of each property that is told as text: one by a real caller if there is one.

    Where nothing that was tried mends it, ``tried`` alone says what that was.
    """
    made = {}
    known: Known = {}
    for q in system.properties:
        traced = [v for v in explicit.violations if v.property == q.name and v.trace is not None]
        real = [v for v in traced if not any(pair in system.model.open_cases for pair in v.case)]
        for v in sorted(real or traced, key=lambda v: v.depth)[:1]:
            made[id(v)] = blame(system, v, explicit, known)
    return made


def blame(system: TransitionSystem, violation: Violation, explicit: EngineResult | None = None, known: Known | None = None) -> dict[str, Any]:
    """The first change after which the case holds; ``tried`` alone if none of those tried is enough.

    ``explicit`` is all that was found of ``system``, else it is searched; in ``known`` is kept what was found of changed models.
    """
    assert violation.trace is not None
    procedure = judged(system.model, violation.trace)
    tried = 0
    if procedure is not None:
        changes = _changes(system.model, procedure, violation)
        for change in islice(changes, _TRIES):
            tried += 1
            model = apply(system.model, procedure, [change])
            try:
                holds = _holds(model, system, violation)
                cannot_arise = holds is None and _without_case(model, change, system, violation, explicit := explicit or _searched(system))
            except InputError:
                continue  # what was changed makes no model, or one that is wrong (ERR-3)
            if holds:
                return _found(change, "this case holds")
            if cannot_arise:
                return _found(change, "this case cannot arise, while no other one goes wrong")
    if system.model.case is not None and procedure is not None:
        return _none_found(tried, f"the lines of {procedure.name} that the run executes, and the model's repairs", whole=next(changes, None) is None)
    # Where no cases are told apart, the switch is but one of the procedures that may be at fault.
    return _blame_along(system, violation, explicit or _searched(system), {} if known is None else known, tried)


def _searched(system: TransitionSystem) -> EngineResult:
    search = Tracked(system)
    found = search.run()
    found.violations += lassos(search) if system.liveness else []
    return found


def _found(change: Change, holds: str) -> dict[str, Any]:
    return {"kind": change.kind, "operation": change.operation, "place": relative(change.place), "text": f"{change.text}: {change.fix}, and {holds}"}


def _none_found(tried: int, what: str, *, whole: bool) -> dict[str, Any]:
    """That no single change mends it, and which were tried; ``whole``: there are no more of their kinds."""
    if not tried:
        return {"tried": "not found: there is nothing to try along the run"}
    changes = f"none of {tried} changes that were tried along the run mends it" if tried > 1 else "the one change that was tried along the run does not mend it"
    return {"tried": f"not found: {changes} ({what}){'' if whole else '; there are more, which were not tried'}"}


def _blame_along(system: TransitionSystem, violation: Violation, explicit: EngineResult, known: Known, before: int) -> dict[str, Any]:
    """The same where no procedure of the judged role runs: by the model's repairs and by its own statements, along the run.

    The changed model has to execute all that the model does, to keep the property in all runs, and to break no other.
    """
    trace = violation.trace
    assert trace is not None
    violated = {v.property for v in explicit.violations} - {violation.property}
    # What the model itself declares otherwise comes last, and is always tried.
    along, declared = _along(system, violation), variants(system.model, trace)
    left, tried = _BUDGET, before
    for procedure, proposal in itertools.chain(islice(along, _ATTEMPTS), declared):
        if left <= 0 and proposal.kind != "variant":
            continue
        tried += 1
        if proposal.text + proposal.fix in known:
            if violation.property not in known[proposal.text + proposal.fix]:
                return _found(proposal, f"{violation.property} holds")
            continue
        try:
            changed = _searchable(apply(system.model, procedure, [proposal]), system.properties, system)
            search = _Whole(changed, limit=_BUDGET if proposal.kind == "variant" else left, violated=violated)
            kept = _executed(system, explicit.steps_fired) - _removed(system.model, proposal)
            mends = search.holds(violation.property) and kept <= _executed(changed, search.fired_steps)
        except InputError:
            continue  # what was moved or inserted makes no model
        left -= len(search.reached)
        if mends:
            known[proposal.text + proposal.fix] = {name for name, _, _ in search.found}
            return _found(proposal, f"{violation.property} holds")
    return _none_found(tried, _KINDS, whole=left > 0 and next(along, None) is None)


def _searchable(model: Model, properties: Sequence[Property], system: TransitionSystem) -> TransitionSystem:
    """``model`` lowered as ``system`` was, with as many entries as it needs if one was not enough there."""
    changed = lower(model, properties)
    return changed if system.slots == 1 else represented(changed, how_many_entries(changed, Limits()))


def _along(system: TransitionSystem, violation: Violation) -> Iterator[tuple[p.Procedure, Change]]:
    """What is tried along a run: the model's own repairs of the procedures that it runs through, then what its statements suggest."""
    model, trace = system.model, violation.trace
    assert trace is not None
    places = {line_of(q) for s in trace.steps for q in s.step.places}
    for procedure in model.reachable():
        proposals = Proposals(model, procedure)
        yield from ((procedure, c) for c in proposals.amended() if line_of(c.place) in places)
    retold, teller = retell(system, violation), Teller(system)
    account = teller.account(violation, retold, teller.numbers(retold))
    match account["kind"]:
        case "entry":
            about = entry_account(system, violation, retold)
            yield from attempts(model, trace, about.change, kept=about.by_tables, decided={*about.early, *about.missed})
        case "wait":
            yield from attempts(model, trace, None, decided={w[at] or 0 for w in account["waits"] for at in ("since", "masked")})
        case _:
            yield from attempts(model, trace, None, decided={account["step"], *(x["since"] or 0 for x in account["values"])})


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
        """Whether the whole was searched, and property ``name`` holds in it; a model that some run shows to be wrong keeps nothing (ERR-3)."""
        try:
            whole = self.run().complete
        except (_Broken, InputError):
            return False
        return whole and not (any(b.property == name for b in self.system.liveness) and any(v.property == name for v in lassos(self)))


def _executed(system: TransitionSystem, fired: Container[int]) -> set[Place]:
    """The statements that some run executes."""
    return {s.places[0] for s in system.steps if s.index in fired and s.places}


def _removed(model: Model, proposal: Change) -> set[Place]:
    """The statements that a changed model need not execute any more: what is taken out, and what flags or other versions decide."""
    gone = [e.statement for e in proposal.edits if e.where == "replace"]
    names = {f"flag.{f.name}" for f, _ in proposal.flags}
    gone += [s for q in model.reachable() for s in p.walk(q.body) if isinstance(s, p.If) and names & set(variables(s.condition))]
    gone += [s for q in proposal.restored for s in model.resolve(q).body]
    return {s.place for s in p.walk(gone)} - {s.place for e in proposal.edits for s in p.walk(list(e.new))}


def judged(model: Model, trace: Trace) -> p.Procedure | None:
    """The procedure of the judged role, if the trace runs through it."""
    if not any(_ROLE in s.step.roles for s in trace.steps):
        return None
    return next((q for q in model.reachable() if q.role == _ROLE), None)


def lines_run(procedure: p.Procedure, trace: Trace) -> set[Line]:
    """The lines of ``procedure`` that the trace executes."""
    own = {line_of(s.place) for s in p.walk(procedure.body)}
    return own & {line_of(q) for s in trace.steps if _ROLE in s.step.roles for q in s.step.places}


def _holds(model: Model, system: TransitionSystem, violation: Violation) -> bool | None:
    """Whether the property holds in the violation's case, for all runs of ``model``; None if the case does not occur there. Raises ``InputError`` for a wrong model."""
    wanted = [q for q in system.properties if q.name == violation.property]
    changed = _searchable(model, wanted, system)
    case = dict(violation.case)
    restrict: dict[str, frozenset[int]] = {}
    assert violation.trace is not None
    level = next(s.step.level for s in reversed(violation.trace.steps) if _ROLE in s.step.roles)
    for named in (changed.case_variables, changed.case_frames.get(level, {})):
        restrict |= {variable: frozenset({0, case[n]}) for n, variable in named.items() if n in case}
    search = Tracked(changed, restrict=restrict)
    search.run()
    names = list(changed.case_variables)
    at = [search.compiled.position[changed.case_variables[n]] for n in names]
    finished = any(all(s[i] == case[n] for i, n in zip(at, names, strict=True)) for s in search.reached)
    return None if not finished else not any(name == violation.property and dict(zip(names, values, strict=True)) == case for name, _, values in search.found)


def _without_case(model: Model, change: Change, system: TransitionSystem, violation: Violation, explicit: EngineResult) -> bool:
    """Whether ``model``, in which the violation's case does not occur, does all else that it did, and breaks the property in no case that was clean.

    That is for what comes about by an interrupt, which may have no place to come any more; of any other case, it would be no answer.
    """
    if not dict(violation.case).get("interrupted"):
        return False
    search = Tracked(_searchable(model, [q for q in system.properties if q.name == violation.property], system))
    found = search.run()
    known = {v.case for v in explicit.violations if v.property == violation.property}
    kept = _executed(system, explicit.steps_fired) - _removed(system.model, change)
    return found.complete and {v.case for v in found.violations} <= known and kept <= _executed(search.system, found.steps_fired)


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
