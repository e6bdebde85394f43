"""Which operation is missing or misplaced: named only after it was tried and the case then held.

For a violation, the changes that a reviewer would try are made one at a time, and each changed
model is explored again for the violation's own case alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Sequence, Set
from dataclasses import replace
from itertools import islice
from typing import Any

from tlbcheck.attempts import About, attempts, variants
from tlbcheck.changes import Change, Line, Proposals, apply, line_of
from tlbcheck.engines.account import entry_account
from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Bits, Tracked
from tlbcheck.engines.literal import explore_saturated
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
from tlbcheck.report.wording import file_and_line
from tlbcheck.system.lower import lower
from tlbcheck.system.sufficiency import FULL, represented
from tlbcheck.system.transition_system import TransitionSystem

_TRIES = 24
_ATTEMPTS = 60
_BUDGET = 100_000
"""Control states that are visited for what is tried along one run."""
_ROLE = "switch"
_KINDS = (
    "what was skipped done on every path, an invalidation or a wait inserted, what is kept given back, a statement moved later,"
    " a branch or a part of a condition left out, a flag of the model set otherwise"
)
_ALONE = "the lines of {} that the run executes, and the model's repairs"
_DECLARED = "the lines of {} that the run executes, the model's repairs, and what it declares otherwise"


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
        for changed, change in variants(system.model, violation.trace):
            tried += 1
            try:
                holds = _holds(apply(system.model, changed, [change]), system, violation)
            except InputError:
                continue
            if holds:
                return _found(change, "this case holds")
        words = _ALONE if system.model.origin else _DECLARED  # of somebody else's code nothing is declared
        return _none_found(tried, words.format(procedure.name), whole=next(changes, None) is None)
    # Where no cases are told apart, the switch is but one of the procedures that may be at fault.
    judged_first = [] if procedure is None else [(procedure, c) for c in islice(_changes(system.model, procedure, violation), _TRIES)]
    return _blame_along(system, violation, explicit or _searched(system), {} if known is None else known, judged_first)


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


def _blame_along(system: TransitionSystem, violation: Violation, explicit: EngineResult, known: Known, before: Sequence[tuple[p.Procedure, Change]]) -> dict[str, Any]:
    """The same where no procedure of the judged role runs: by the model's repairs and by its own statements, along the run.

    The changed model has to execute all that the model does, to keep the property in all runs, and to break no other. Where none
    keeps it, but what goes wrong in one line, a change has to keep it there; ``before`` are those that were tried already for all runs.
    """
    assert violation.trace is not None
    violated = {v.property for v in explicit.violations} - {violation.property}
    executed = _executed(system, explicit.steps_fired)
    left, tried = _BUDGET, len(before)

    def search(procedure: p.Procedure, proposal: Change, **limits: Any) -> _Whole | _Literally | None:
        """The changed model's, if it was searched to the end, breaks nothing that it must not, and does all that the model did."""
        nonlocal left
        try:
            changed, literally = _searchable(apply(system.model, procedure, [proposal]), system.properties, system)
            found = (_Literally if literally else _Whole)(changed, violation.property, violated=violated, **limits)
            holds = found.holds()
        except InputError:
            return None  # what was moved or inserted makes no model
        left -= found.visited
        return found if holds and executed - _removed(system.model, proposal) <= _executed(changed, found.fired_steps) else None

    # What the model itself declares otherwise comes last, and is always tried.
    along = _along(system, violation)
    first = list(islice(along, _ATTEMPTS))
    for procedure, proposal in itertools.chain(first, variants(system.model, violation.trace)):
        if left <= 0 and proposal.kind != "variant":
            continue
        tried += 1
        if proposal.text + proposal.fix in known:
            if violation.property not in known[proposal.text + proposal.fix]:
                return _found(proposal, f"{violation.property} holds")
            continue
        mended = search(procedure, proposal, limit=_BUDGET if proposal.kind == "variant" else left)
        if mended is not None:
            known[proposal.text + proposal.fix] = mended.still
            return _found(proposal, f"{violation.property} holds")
    whole = left > 0 and next(along, None) is None
    at_fault = _at_fault(violation.trace)
    left = _BUDGET
    for procedure, proposal in (*before, *first, *variants(system.model, violation.trace)) if at_fault is not None else ():
        if left > 0 and (mended := search(procedure, proposal, limit=left, here=at_fault)) is not None:
            return _found(proposal, f"{violation.property} holds there; it is still violated{_also(mended.broken_at)}")
    return _none_found(tried, _KINDS, whole=whole)


def _at_fault(trace: Trace) -> Place | None:
    """Where a fault is raised, a requirement broken or an assertion false; None of what is wrong with a state or an entry."""
    last = trace.steps[-1].step if trace.steps else None
    judged = last is not None and (last.exception or any(b.event in ("assert", "requires") for b in last.bads))
    return last.places[0] if last is not None and judged and last.places else None


def _also(places: Set[Place | None]) -> str:
    """Where else it goes wrong, in words."""
    shown = sorted({file_and_line(relative(q)) for q in places if q is not None})
    return f" at {' and '.join(shown)}" if shown else " elsewhere"


def _searchable(model: Model, properties: Sequence[Property], system: TransitionSystem) -> tuple[TransitionSystem, bool]:
    """``model`` lowered as ``system`` was, with as many entries as it needs if one was not enough there; and whether these are all of the literal caches."""
    changed = lower(model, properties)
    if system.written is None and not system.free_walks:
        return changed, False
    decided = how_many_entries(changed, Limits())
    return represented(changed, decided), decided.entries == FULL


def _along(system: TransitionSystem, violation: Violation) -> Iterator[tuple[p.Procedure, Change]]:
    """What is tried along a run: the model's own repairs of the procedures that it runs through, what its statements suggest, then the processor's repairs."""
    model, trace = system.model, violation.trace
    assert trace is not None
    yield from _amended(model, trace)
    retold, teller = retell(system, violation), Teller(system)
    account = teller.account(violation, retold, teller.numbers(retold))
    match account["kind"]:
        case "entry":
            entry = entry_account(system, violation, retold)
            yield from attempts(model, trace, About(entry.change, kept=entry.by_tables, decided={*entry.early, *entry.missed}))
            if model.cache is not None:
                others = tuple(r for r in model.cache.repairs if r not in model.repairs)
                yield from _amended(replace(model, repairs=others), trace)
        case "wait":
            decided = {w[at] or 0 for w in account["waits"] for at in ("since", "masked")}
            # Whoever waits for others himself does not keep what he still needs.
            waiting = {w["cpu"] for w in account["waits"] if w["awaited"] != w["cpu"]}
            held = tuple((w["variable"], w["since"]) for w in account["waits"] if w["masked"] is None and w["taken"] is None and w["awaited"] not in waiting)
            yield from attempts(model, trace, About(decided=decided, held=held, masked={w["masked"] or 0 for w in account["waits"]}, pending={x["name"].rpartition(".")[2] for x in account["stays"]}))
        case _:
            yield from attempts(model, trace, About(decided={account["step"], *(x["since"] or 0 for x in account["values"])}))


def _amended(model: Model, trace: Trace) -> Iterator[tuple[p.Procedure, Change]]:
    """Operands that the model's repairs write otherwise, where ``trace`` uses them."""
    places = {line_of(q) for s in trace.steps for q in s.step.places}
    for procedure in model.reachable():
        yield from ((procedure, c) for c in Proposals(model, procedure).amended() if line_of(c.place) in places)


Known = dict[str, Set[str]]
"""For each change that was searched to the end, the properties that are violated with it."""


class _Broken(Exception):
    """Something is violated that must not be."""


class _Whole(Tracked):
    """A search of all that a model can do, which ends where something is violated that is not among ``violated``.

    With ``here``, the ``judged`` property may be violated, too, but not in a step at that place.
    """

    def __init__(self, system: TransitionSystem, judged: str, *, limit: int, violated: Set[str], here: Place | None = None) -> None:
        super().__init__(system, limit=limit)
        self.judged, self.violated, self.here = judged, violated, here
        self.broken_at: set[Place | None] = set()
        """Where the steps are that violate the judged property."""

    def note(self, name: str, clause: str, case: tuple[int, ...], depth: int, s: State | None, bits: Bits, entry: int, index: int | None, chosen: tuple[int, ...], t: State) -> None:
        if name == self.judged and self.here is not None:
            places = self.system.steps[index].places if index is not None else ()
            self.broken_at.add(places[0] if places else None)
            if self.here in self.broken_at:
                raise _Broken
        elif name not in self.violated:
            raise _Broken
        super().note(name, clause, case, depth, s, bits, entry, index, chosen, t)

    @property
    def visited(self) -> int:
        return len(self.reached)

    @property
    def still(self) -> set[str]:
        """The properties that are violated all the same."""
        return {name for name, _, _ in self.found}

    def holds(self) -> bool:
        """Whether the whole was searched, and the judged property holds in it; a model that some run shows to be wrong keeps nothing (ERR-3)."""
        try:
            whole = self.run().complete
        except _Broken:
            return False
        return whole and not (any(b.property == self.judged for b in self.system.liveness) and any(v.property == self.judged for v in lassos(self)))


class _Literally:
    """The same search where no number of tracked entries is enough: of the literal caches."""

    def __init__(self, system: TransitionSystem, judged: str, *, limit: int, violated: Set[str], here: Place | None = None) -> None:
        self.system, self.judged, self.violated, self.here = system, judged, violated, here
        self.found = explore_saturated(system, max_states=limit, max_bytes=Limits().memory, threads=1, symmetry=True)
        self.fired_steps, self.visited = self.found.steps_fired, self.found.kept or self.found.states or 0
        self.still = {v.property for v in self.found.violations}
        self.broken_at: set[Place | None] = set()

    def holds(self) -> bool:
        """Whether the whole was searched, and the judged property holds in it; a run that goes on for ever is not looked for there."""
        endless = any(b.property == self.judged for b in self.system.liveness)
        return self.found.complete and not endless and self.here is None and self.still <= self.violated


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
    changed, literally = _searchable(model, wanted, system)
    if literally:
        return False  # no cases are told apart there
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
    changed, literally = _searchable(model, [q for q in system.properties if q.name == violation.property], system)
    if literally:
        return False
    search = Tracked(changed)
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
