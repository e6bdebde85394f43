"""Runs the engines on a model, holds them against each other and against replay.

Solvers run in child processes with limits of their own. While they run, the explicit engine's
result tells the bounded search how deep it has to look, and the proof engine what may be invariant.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlbcheck.collecting import paused
from tlbcheck.engines.child import Child, Unanswered
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.literal import LARGE, agree, combines_few, explore_literally, explore_saturated, explore_tracked, suits_tables
from tlbcheck.engines.packed import Progress
from tlbcheck.engines.trace import EngineResult, State, Trace, TraceStep, Violation
from tlbcheck.errors import InputError, InternalError
from tlbcheck.lang.expr import TRUE, evaluate
from tlbcheck.lang.model import Event, Model, Property
from tlbcheck.lang.program import Procedure
from tlbcheck.options import ENGINES, LITERAL, OPTIONAL, REFERENCE, Limits, known_depth, known_engines
from tlbcheck.replay.check import ReplayError, Story, Told, Walk, replay
from tlbcheck.result import EngineAnswer, Verdict
from tlbcheck.system.hidden import written_twice
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.sufficiency import FULL, Sufficiency, as_they_are, represented, undecided, without_entries
from tlbcheck.system.transition_system import Step, TransitionSystem
from tlbcheck.system.walks import COMES, GOES, RETURNS, choice_name

_DEEPEST = 10_000
_CROSS_CHECK = 10
"""How deep the bounded search looks where every property is proved by enumeration and by an
invariant: deeper than any shortest violation of the library's models, to show that it, too, sees
runs as the others do. It cannot confirm a proof, and would take nearly all of the time."""
_PROPOSING = 50_000
"""Control states that the proof engine, used alone, enumerates to get proposals."""
_DECIDED = (Verdict.NOT_APPLICABLE, Verdict.VIOLATED, Verdict.PROVED, Verdict.BOUNDED, Verdict.UNKNOWN)
_RECHECK = "recheck"
"""The name of the replay interpreter's own search among engines."""
_DECIDING = 20.0
"""Seconds for deciding how many entries are enough."""


@dataclass
class PropertyEvidence:
    """What the engines say together of one property; ``tlbcheck.result`` says what that is worth.

    ``remarks`` is what has to be said besides the engines' answers. ``looked``: no proof without a look at whether the trigger
    ever occurs, which only enumeration can tell.
    ``unjudged``: clauses that attach to no step, each with the sentence that says so; ``notes``: what a proof may hide.
    """

    property: Property
    verdict: Verdict
    remarks: tuple[str, ...]
    engines: dict[str, EngineAnswer]
    vacuous: bool = False
    violations: list[Violation] = field(default_factory=list)
    looked: bool = True
    unjudged: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def reason(self) -> str:
        """How the verdict is known."""
        return "; ".join([*self.remarks, *reasons(self.verdict, self.engines)])


@dataclass
class ModelEvidence:
    """What engines found of a model, in one exploration: verdicts with the runs, searches and invariants behind them."""

    model: Model
    system: TransitionSystem
    results: list[PropertyEvidence]
    explicit: EngineResult | None
    bmc: EngineResult | None
    seconds: float
    search: Tracked | None = None
    blame: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    decided: Sufficiency = field(default_factory=lambda: Sufficiency(1, (), ()))
    proofs: Sequence[EngineResult] = ()
    literal: Sequence[EngineResult] = ()
    beside: ModelEvidence | None = None
    """What engines found that track entries, if both kinds were asked."""
    lowered: TransitionSystem | None = None
    """The whole system, where engines searched one from which something was cut away."""
    seen: EngineResult | None = None
    """What a search saw that looked for triggers and fills alone, where no engine tells of them."""

    @property
    def whole(self) -> TransitionSystem:
        return self.lowered or self.system

    def __getitem__(self, name: str) -> PropertyEvidence:
        for r in self.results:
            if r.property.name == name:
                return r
        raise KeyError(name)


def story(system: TransitionSystem, violation: Violation, *, first: bool = True) -> Story:
    """A trace in values only, for the replay interpreter; ``first``: nothing breaks the property before."""
    trace = violation.trace
    assert trace is not None
    shared = [v.name for v in system.control if is_shared(v.name, system) and v.name in trace.initial.control]
    cached = list(system.cached.items())
    one = bool(trace.tracked) and system.slots == 1

    def told(before: State, s: TraceStep) -> Told:
        scope = {**before.control, **s.choices}
        return Told(
            s.step.cpu,
            s.step.level,
            s.step.action,
            tuple(evaluate(e, scope) for _, _, e in s.step.choices),
            {n: s.after.control[n] for n in shared},
            tuple(c for c, n in cached if s.after.entry[n]) if one and cached else None,
        )

    befores = [trace.initial, *(s.after for s in trace.steps)]
    tracked = tuple(trace.tracked[v.name] for v in system.entry_fields) if one else None
    start_scope = {**trace.initial.control, **trace.start_choices}
    return Story(
        property=violation.property,
        clause=violation.clause,
        case={f"case.{c.name}": trace.initial.control.get(f"case.{c.name}", c.domain[0]) for c in system.model.cases},
        start_choices=tuple(evaluate(e, start_scope) for _, _, e in trace.start.choices),
        initial={n: trace.initial.control[n] for n in shared},
        tracked=tracked,
        tracked_at_start=tuple(c for c, n in cached if one and trace.initial.entry[n]),
        everything=bool(cached) and not one,
        steps=tuple(told(b, s) for b, s in zip(befores, trace.steps, strict=False)),
        first=first,
        walks=trace.walks if trace.walks is not None or not system.free_walks else _walks(system, trace),
    )


def _walks(system: TransitionSystem, trace: Trace) -> tuple[tuple[Walk, ...], ...]:
    """What the tracked entry does by itself before each step, as the steps' parameters say (``system.walks``)."""
    entry = tuple(trace.tracked[v.name] for v in system.entry_fields)

    def moves(cpu: int, before: State, choice: int) -> tuple[bool, ...]:
        there = bool(before.entry[system.cached[cpu]])
        walked = evaluate(system.free_walks[cpu], {**before.control, **trace.tracked})
        if choice == COMES and walked and not there:
            return (True,)
        if choice == GOES and (there or walked):
            return (False,) if there else (True, False)
        return ((False, True) if there else (True, False, True)) if choice == RETURNS and walked else ()

    befores = [trace.initial, *(s.after for s in trace.steps)]
    return tuple(tuple((cpu, entry, comes) for cpu in system.free_walks for comes in moves(cpu, before, s.choices[choice_name(cpu)])) for before, s in zip(befores, trace.steps, strict=False))


def is_shared(name: str, system: TransitionSystem) -> bool:
    """A variable of the model itself: no program counter, local or ghost."""
    if name.startswith("case."):
        return True
    ghosts = {g.name.removeprefix("ghost.").split(".")[0] for m in (*system.properties, *([system.model.case] if system.model.case else [])) for g in m.ghosts}
    tail = name.partition(".")[2] if name.startswith("cpu") else name
    return ":" not in name and "%" not in name and not name.endswith(".pc") and tail.split(".")[0] not in ghosts


def confirm(system: TransitionSystem, violation: Violation, engine: str, *, first: bool = True) -> None:
    """Replay a trace by independent code; raises ``InternalError`` if it does not happen.

    ``first``: the trace is a shortest one, so nothing may break the property earlier.
    """
    assert violation.trace is not None
    loop = violation.trace.loop
    try:
        if loop is None:
            replay(system.model, system.properties, story(system, violation, first=first))
        else:
            from tlbcheck.replay.lasso import replay_lasso

            judged = next(q for q in system.properties if q.name == violation.property)
            pending = next(e for clause, e in judged.liveness if clause == violation.clause)
            replay_lasso(system.model, judged, story(system, violation), pending, loop)
    except ReplayError as error:
        raise InternalError(f"{system.model.name}, {violation.property}: the trace of engine {engine} does not replay: {error}") from None


def _confirm_all(system: TransitionSystem, found: EngineResult) -> None:
    """Replay every trace of an engine; of several clauses of a property only the shallowest are its first violations."""
    for v in found.violations:
        shortest = found.shortest(v.property)
        confirm(system, v, found.engine, first=shortest is not None and v.depth == shortest.depth)


# -- the child process


def _packed(result: EngineResult) -> EngineResult:
    """The result without shared objects, to go through a pipe."""
    for i, v in enumerate(result.violations):
        t = v.trace
        if t is not None:
            plain = (t.start.index, dict(t.start_choices), t.initial, dict(t.tracked), [(s.step.index, dict(s.choices), s.after) for s in t.steps])
            result.violations[i] = Violation(v.property, v.clause, v.case, v.depth, plain)  # type: ignore[arg-type]  # made a trace again by the parent
    return result


def _unpacked(result: EngineResult, system: TransitionSystem) -> EngineResult:
    for i, v in enumerate(result.violations):
        if v.trace is not None:
            plain: Any = v.trace
            start, choices, initial, tracked, steps = plain
            trace = Trace(system.initial[start], choices, initial, tracked, tuple(TraceStep(system.steps[n], c, after) for n, c, after in steps))
            result.violations[i] = Violation(v.property, v.clause, v.case, v.depth, trace)
    return result


class EngineChild:
    """A solver engine at work in a process of its own. It sees the slice of the system; where it fails, its result says why."""

    def __init__(self, name: str, system: TransitionSystem, work: Callable[[TransitionSystem], EngineResult], limits: Limits, seconds: float | None = None) -> None:
        self.name, self.system = name, slice_system(system)
        self.child = Child(lambda: _packed(work(self.system)), seconds=limits.seconds if seconds is None else seconds, memory=limits.memory)

    def result(self) -> EngineResult:
        try:
            return _unpacked(self.child.result(), self.system)
        except Unanswered as error:
            return EngineResult(self.name, complete=False, bound=-1, reason=str(error))

    def close(self) -> None:
        self.child.close()


class BoundedChild(EngineChild):
    """The bounded search, to ``bound``; if it ``waits``, it stops there until it is told how deep to look."""

    def __init__(self, system: TransitionSystem, bound: int, limits: Limits, *, waits: bool) -> None:
        context = multiprocessing.get_context("fork")
        self.stop = stop = context.Value("i", bound, lock=False)
        self.until = until = context.Value("d", float("inf"), lock=False)

        from tlbcheck.engines.bmc import Bounded

        def work(small: TransitionSystem) -> EngineResult:
            def ends(depth: int) -> bool:
                while waits and until.value == float("inf") and depth >= stop.value:
                    time.sleep(0.01)
                return bool(depth >= stop.value or time.monotonic() >= until.value)

            return Bounded(small).run(_DEEPEST, stop=ends)

        super().__init__("bmc", system, work, limits)

    def stop_at(self, depth: int, seconds: float) -> None:
        """How deep to search after all: as deep as another engine's violations, where there are any, or for ``seconds``."""
        self.stop.value = depth
        self.until.value = time.monotonic() + seconds
        self.child.hurry(2 * seconds)

    def result(self) -> EngineResult:
        made = super().result()
        # How much deeper it got before it was told is a matter of luck.
        made.bound = min(made.bound, self.stop.value)
        return made


def _proof_child(name: str, system: TransitionSystem, search: Tracked | None, limits: Limits) -> EngineChild:
    def work(small: TransitionSystem) -> EngineResult:
        if name == "abc":
            from tlbcheck.engines.abc import run_abc

            return run_abc(small, seconds)
        from tlbcheck.engines.proof import unbounded

        found = search
        if found is None:
            found = Tracked(small, limit=min(limits.states or _PROPOSING, _PROPOSING))
            found.run()
        return unbounded(small, found if found.finished else None, seconds)

    seconds = limits.seconds if search is None or not search.finished else min(limits.seconds, limits.confirming)
    return EngineChild(name, system, work, limits)


# -- all together


Meanwhile = Callable[[TransitionSystem, EngineResult], Mapping[int, Mapping[str, Any]]]
"""What is done with the explicit engine's result besides: blame, by the ``id`` of a violation."""


@paused()
def check(
    model: Model,
    properties: Sequence[Property],
    *,
    engines: Sequence[str] = ENGINES,
    depth: int | None = None,
    limits: Limits | None = None,
    every_case: bool = False,
    cases: bool = True,
    recheck: bool = False,
    progress: Callable[[int, int], None] | None = None,
    packed_progress: Callable[[Progress], None] | None = None,
    meanwhile: Meanwhile | None = None,
    certify: bool = False,
) -> ModelEvidence:
    """Check ``properties`` on ``model`` with each of ``engines``; see the module.

    ``depth`` bounds z3's search (default: the model's own), ``every_case`` makes a trace for each
    distinct case instead of one for each property. Without ``cases`` none are told apart, which
    is quicker and as good for verdicts. With ``recheck`` the replay interpreter visits every
    configuration of the procedures too, on the literal TLB, and has to agree; it always does so where
    entries may depend on each other. ``meanwhile`` gets the explicit engine's result
    while z3 still searches; what it returns becomes ``blame``. With ``certify`` z3 has to show
    of the set that engine sets finds that it is one; what ``pdr`` finds it shows anyway. Raises ``InputError`` for what is wrong with
    the model and ``InternalError`` if engines or replay disagree.
    """
    engines, depth = known_engines(engines), known_depth(depth)
    _can_be_asked(model, properties, engines)
    began = time.perf_counter()
    limits = limits or Limits()
    lowered = None
    system = lower(model, properties)
    apart = (*LITERAL, REFERENCE)
    if any(e in apart for e in engines):
        others = [e for e in engines if e not in apart]
        rest = check(model, properties, engines=others, depth=depth, limits=limits, cases=cases, recheck=recheck, progress=progress) if others else None
        return _by_literal_caches(system, [e for e in engines if e in apart], limits, began, packed_progress, rest, certify=certify)
    decided = how_many_entries(system, limits)
    # Where entries may meet, every engine rests on what z3 decided, or there is but one: the interpreter does not.
    recheck = recheck or system.meeting
    system = represented(system, decided)
    if decided.entries == FULL:
        return _literal(system, decided, engines, limits, began, recheck=recheck, meanwhile=meanwhile)
    if not cases:
        lowered, system = system, slice_system(system)
    bound = model.depth if depth is None else depth
    enumerates = "explicit" in engines
    # Where processors are for something else too, it starts when enumeration has told how deep to look: it would go deeper meanwhile.
    child = BoundedChild(system, bound, limits, waits=enumerates) if "bmc" in engines and (limits.threads > 1 or not enumerates) else None
    provers: list[EngineChild] = []
    explicit = bmc = search = None
    blame: Mapping[int, Mapping[str, Any]] = {}
    try:
        if enumerates:
            search, explicit = _tracked(system, limits, progress, packed_progress)
            if child is None and "bmc" in engines:
                child = BoundedChild(system, bound, limits, waits=True)
            if child is not None and not explicit.complete:
                child.stop_at(bound, limits.seconds)
            elif child is not None:
                depths = [v.depth for p in properties if (v := explicit.shortest(p.name))]
                sought = max(depths) if depths else min(bound, _CROSS_CHECK) if "pdr" in engines else bound
                child.stop_at(sought if depth is None else min(bound, max(depths, default=bound)), limits.confirming)
        # Where only verdicts are wanted, and no engines are named, an invariant is sought for models that are clean; of a faulty one enumeration and its replayed runs are enough.
        skipped = not cases and tuple(engines) == ENGINES and explicit is not None and explicit.complete and bool(explicit.violations)
        provers += [_proof_child(n, system, search, limits) for n in (*ENGINES[2:], *OPTIONAL) if n in engines and not skipped]
        if search is None and explicit is not None:
            _confirm_all(system, explicit)
        if search is not None and explicit is not None:
            _add_traces(system, search, explicit, every_case)
            _add_lassos(system, search, explicit)
            if meanwhile is not None:
                blame = meanwhile(system, explicit)
        proofs = [p.result() for p in provers]
        if child is not None:
            bmc = child.result()
        for r in (bmc, *proofs):
            for v in r.violations if r is not None else ():
                confirm(system, v, r.engine if r is not None else "")
    finally:
        for c in (child, *provers):
            if c is not None:
                c.close()
    found = [r for r in (explicit, bmc, *proofs) if r is not None]
    _finite_runs_only(system, [r for r in found if r is not explicit])
    agree(model.name, found)
    results, seen = looked_at(system, [_combine(system, p, found) for p in properties])
    if recheck:
        _recheck(system, results)
    return ModelEvidence(model, system, results, explicit, bmc, time.perf_counter() - began, search, blame, decided, proofs, lowered=lowered, seen=seen or _caching(system, explicit, results))


def _tracked(system: TransitionSystem, limits: Limits, progress: Callable[[int, int], None] | None, packed_progress: Callable[[Progress], None] | None) -> tuple[Tracked | None, EngineResult]:
    """The explicit engine, in Python; by tables where there are too many states for that, and then without a search to ask more of."""
    limit = LARGE if suits_tables(system) and (limits.states is None or limits.states > LARGE) else limits.states
    search = Tracked(system, limit=limit, max_bytes=limits.memory, progress=progress)
    found = search.run(interruptible=True)
    if found.complete or search.interrupted or limit == limits.states:
        return search, found
    if combines_few(search):
        large = explore_tracked(system, max_states=limits.states, max_bytes=limits.memory, threads=limits.threads, symmetry=limits.symmetry, progress=packed_progress)
        if large is not None:
            return None, large
    search.limit = limits.states
    return search, search.run(interruptible=True)


def _can_be_asked(model: Model, properties: Sequence[Property], engines: Sequence[str]) -> None:
    """Raises ``InputError`` for engines whose program is not installed, for no properties, and for two of one name."""
    if "abc" in engines:
        from tlbcheck.engines.abc import program

        program()
    names = [q.name for q in properties]
    if not names:
        raise InputError(f"nothing to check of {model.name}", hint="name at least one property")
    if twice := {n for n in names if names.count(n) > 1}:
        raise InputError(f"several properties to check are called {', '.join(sorted(twice))}", hint="give each once")


def how_many_entries(system: TransitionSystem, limits: Limits) -> Sufficiency:
    """What z3 decides about ``system``, in a process of its own; what is true without it if that fails."""

    if system.cache is None:
        return without_entries(system)
    from tlbcheck.engines.sufficiency import decide  # here, and not in the process: those that follow have z3 too

    child = Child(lambda: decide(system), seconds=min(limits.seconds, _DECIDING), memory=limits.memory)
    try:
        made: Sufficiency = child.result()
    except Unanswered as error:
        return undecided(system, f"z3 {error}")
    return made


def _literal(
    system: TransitionSystem, decided: Sufficiency, engines: Sequence[str], limits: Limits, began: float, *, recheck: bool, meanwhile: Meanwhile | None
) -> ModelEvidence:
    """All verdicts where no number of tracked entries is enough: by the literal caches alone."""
    blame: Mapping[int, Mapping[str, Any]] = {}
    if "explicit" in engines:
        found = explore_saturated(system, max_states=limits.states, max_bytes=limits.memory, threads=limits.threads, symmetry=limits.symmetry)
        _confirm_all(system, found)
        _finite_runs_only(system, [found])
        if meanwhile is not None:
            blame = meanwhile(system, found)
    else:
        found = EngineResult(engines[0], complete=False, bound=-1, reason="only the explicit engine searches the literal caches")
    results = [_combine(system, p, [found]) for p in system.properties]
    if recheck:
        _recheck(system, results)
    return ModelEvidence(system.model, system, results, found, None, time.perf_counter() - began, blame=blame, decided=decided)


def _by_literal_caches(
    system: TransitionSystem, engines: Sequence[str], limits: Limits, began: float, progress: Callable[[Progress], None] | None, rest: ModelEvidence | None, *, certify: bool
) -> ModelEvidence:
    """Verdicts with all entries as they are, held against the ``rest``: the other engines' result, if they were asked too."""
    # Refuses what replay cannot confirm.
    free = any(e in LITERAL for e in engines) and bool(represented(system, how_many_entries(system, limits)).free_walks)
    results = []
    for engine in engines:
        if engine == REFERENCE:
            results.append(_interpreted(system, limits))
            continue
        if free:
            found = replace(explore_full(system, fills="free", limit=limits.states, max_bytes=limits.memory), engine=engine)
        else:
            found = explore_literally(
                engine, system, max_states=limits.states, max_bytes=limits.memory, threads=limits.threads, symmetry=limits.symmetry, progress=progress, certify=limits.seconds if certify else 0
            )
        _confirm_all(system, found)
        _finite_runs_only(system, [found])
        results.append(found)
    counts = {r.engine: r.states for r in results if r.complete and not r.reason and r.engine != REFERENCE}
    if len(set(counts.values())) > 1:
        raise InternalError(f"{system.model.name}: {' and '.join(f'{n:,} states are found by {e}' for e, n in counts.items())}, of the same literal caches")
    endless = frozenset(b.property for b in system.liveness)
    agree(system.model.name, [*results, *(r for r in (rest.explicit, rest.bmc, *rest.proofs) if r is not None)] if rest is not None else results, endless)
    judged = []
    for p in system.properties:
        made = [_combine(system, p, [r]) for r in results] + ([rest[p.name]] if rest is not None else [])
        best = min(made, key=lambda r: _DECIDED.index(r.verdict))
        remarks = tuple(dict.fromkeys(x for r in made for x in r.remarks))
        looked = any(r.looked for r in made if r.verdict == best.verdict)
        vacuous = best.verdict is not Verdict.VIOLATED and any(r.vacuous for r in made)
        judged.append(replace(best, remarks=remarks, engines={n: e for r in made for n, e in r.engines.items()}, vacuous=vacuous, looked=looked))
    first = rest.explicit if rest is not None and rest.explicit is not None else next((r for r in results if r.engine != REFERENCE), None)
    bmc, proofs = (rest.bmc, rest.proofs) if rest is not None else (None, ())
    decided = as_they_are(system)
    if rest is not None:
        decided = replace(decided, dimensions=rest.decided.dimensions)
    seen = _caching(system, first, judged)
    return ModelEvidence(system.model, system, judged, first, bmc, time.perf_counter() - began, decided=decided, proofs=proofs, literal=results, beside=rest, seen=seen)


def _caching(system: TransitionSystem, found: EngineResult | None, results: Sequence[PropertyEvidence]) -> EngineResult | None:
    """A search that goes on until anything is cached, where something is proved and ``found`` does not tell whether that ever happens."""
    known = found is not None and found.cached_entries is not None
    if system.cache is None or known or not any(r.verdict is Verdict.PROVED for r in results):
        return None
    if system.meeting:
        from tlbcheck.engines.full import explore_full

        return explore_full(system, fills="saturated", limit=_LOOKED_AT)
    search = Tracked(system, limit=1)
    first = search.run()
    if first.cached_entries or first.complete:
        return first
    search.limit = _LOOKED_AT
    return search.run()


def _interpreted(system: TransitionSystem, limits: Limits) -> EngineResult:
    """What the reference interpreter finds, in a process of its own."""
    from tlbcheck.reference.engine import interpret

    # It stops by itself at its limits, and then says how far it came.
    child = Child(lambda: interpret(system.model, system.properties, max_states=limits.states, seconds=limits.seconds), seconds=limits.seconds + 10, memory=limits.memory)
    try:
        found: EngineResult = child.result()
    except Unanswered as error:
        return EngineResult(REFERENCE, complete=False, bound=-1, reason=str(error))
    return found


def _add_traces(system: TransitionSystem, search: Tracked, explicit: EngineResult, every_case: bool) -> None:
    """Traces for what is shown: per property the shortest, and the shortest by a caller that exists."""
    shown = {id(v) for p in system.properties for v in (explicit.shortest(p.name), _believable(system, explicit, p.name)) if v}
    for i, v in enumerate(explicit.violations):
        if every_case or id(v) in shown:
            traced = Violation(v.property, v.clause, v.case, v.depth, search.trace(v))
            shortest = explicit.shortest(v.property)
            confirm(system, traced, "explicit", first=shortest is not None and v.depth == shortest.depth)
            explicit.violations[i] = traced


def _add_lassos(system: TransitionSystem, search: Tracked, explicit: EngineResult) -> None:
    """Runs that go on for ever, where the model has properties of such runs."""
    if system.liveness and explicit.complete:
        from tlbcheck.engines.liveness import lassos

        for v in lassos(search):
            confirm(system, v, "explicit")
            explicit.violations.append(v)


def _finite_runs_only(system: TransitionSystem, results: Sequence[EngineResult]) -> None:
    """Say of engines that look for finite runs that they decide nothing about infinite ones."""
    for r in results:
        for b in system.liveness:
            r.undecided[b.property] = "searches finite runs only; the explicit engine looks for runs that go on for ever"


def _believable(system: TransitionSystem, explicit: EngineResult, name: str) -> Violation | None:
    """The first shortest violation on a call path that the code really has."""
    unreal = system.model.open_cases
    found = [v for v in explicit.violations if v.property == name and not any((n, value) in unreal for n, value in v.case)]
    return min(found, key=lambda v: v.depth, default=None)


def _recheck(system: TransitionSystem, results: Sequence[PropertyEvidence]) -> None:
    """Hold the verdicts against the interpreter's own search of the procedures."""
    from tlbcheck.replay import recheck

    began = time.perf_counter()
    judged = [r for r in results if r.verdict in (Verdict.PROVED, Verdict.VIOLATED) and not r.property.liveness]
    found = recheck.recheck(system.model, [r.property for r in judged], free=bool(system.free_walks))
    violated = {name for name, _ in found.violated}
    for r in judged:
        if (r.property.name in violated) is not (r.verdict is Verdict.VIOLATED):
            other = "finds a violation" if r.property.name in violated else "finds none"
            raise InternalError(f"{system.model.name}, {r.property.name}: the engines say {r.verdict}, the replay interpreter's own search {other}")
        r.engines[_RECHECK] = EngineAnswer(r.verdict, seconds=round(time.perf_counter() - began, 3), states=found.configurations)


def _combine(system: TransitionSystem, q: Property, results: Sequence[EngineResult]) -> PropertyEvidence:
    if q.name in system.not_applicable:
        return PropertyEvidence(q, Verdict.NOT_APPLICABLE, (system.not_applicable[q.name],), {})
    answers = {r.engine: _answer(r, q.name) for r in results}
    verdict = found_by(answers)
    explicit = results[0] if results[0].states is not None else None
    uncalled = _uncalled(system, explicit, q) if explicit is not None and explicit.complete and verdict is not Verdict.VIOLATED else []
    nothing_happens = explicit is not None and explicit.complete and not _fired(system, explicit, q)
    empty = judges_nothing(system, q)
    vacuous = verdict is not Verdict.VIOLATED and (empty or nothing_happens or bool(uncalled))
    violations = [v for r in results for v in r.violations if v.property == q.name]
    if explicit is not None and any(v.property == q.name for v in explicit.violations):
        violations = [v for v in explicit.violations if v.property == q.name]
    looked = verdict is not Verdict.PROVED or (explicit is not None and (explicit.complete or _occurs(system, explicit, q)))
    unjudged = _unjudged(system, q)
    still = [_STILL] if explicit is not None and explicit.complete and not _moves(explicit) and verdict is not Verdict.VIOLATED else []
    remarks = (*(dict.fromkeys(unjudged.values()) if empty else ()), *(f"nothing satisfies what {p.name}() requires" for p in uncalled), *still)
    notes = _notes(system, q) if verdict is not Verdict.VIOLATED else []
    return PropertyEvidence(q, verdict, remarks, answers, vacuous, sorted(violations, key=lambda v: v.depth), looked, unjudged, notes)


def found_by(answers: Mapping[str, EngineAnswer]) -> Verdict:
    """What engines say together: the one that decides most."""
    return min((a.verdict for a in answers.values()), key=_DECIDED.index)


def _unjudged(system: TransitionSystem, q: Property) -> dict[str, str]:
    """The clauses of ``q`` that judge nothing in the model, each in a sentence."""
    name = system.model.name
    return {clause: f"no step of {name} {does}: clause {clause} of {q.name} judges nothing" for clause, does in system.unjudged.get(q.name, {}).items()}


def _notes(system: TransitionSystem, q: Property) -> list[str]:
    """What a proof of ``q`` may hide."""
    names = system.looked_at_by.get(q.name, ())
    at = f"cached entries are looked at in {_listed([repr(n) for n in names])} only, which the task does itself" if names else ""
    looks = [f"{at}: what the processor looks up at any other moment is not judged"] if names else []
    twice = dict.fromkeys(
        f"{name} is written more than once in the indivisible block at {Path(place.file).name}:{place.line}: what it holds in between is not judged" for name, place in written_twice(system.model, q)
    )
    return [*looks, *twice]


def _answer(r: EngineResult, name: str) -> EngineAnswer:
    """What one engine says of one property."""
    shortest, verdict = r.shortest(name), r.verdict(name)
    return EngineAnswer(
        verdict,
        depth=shortest.depth if shortest else None if r.complete or r.states is not None else r.bound,
        seconds=round(r.seconds, 3),
        states=r.states,
        transitions=r.transitions,
        entries_ever_cached=r.cached_entries,
        kept=r.kept,
        clauses=len(r.invariants[name].never) if name in r.invariants else None,
        nodes=len(r.sets[name].nodes) if name in r.sets else None,
        run=tuple(r.runs.get(name, ())),
        unshown=r.unshown.get(name, ""),
        reason=(r.reason or r.undecided.get(name, "")) if verdict is Verdict.UNKNOWN else "",
    )


def judges_nothing(system: TransitionSystem, q: Property) -> bool:
    """Whether no clause of ``q`` attaches to a step, so that only its trigger could say that it is met (EVENT-7).

    A clause that forbids an event as such is met by a model in which that cannot happen, if what triggers the property does.
    """
    unjudged = system.unjudged.get(q.name, {})
    attached = {clause for r in q.rules for clause, _ in r.bad} | {clause for clause, _ in (*q.invariants, *q.liveness)}
    forbids = q.trigger is not None and all(bad is TRUE for r in q.rules for _, bad in r.bad)
    return set(unjudged) == attached and not forbids


_STILL = "no run makes a step"


def _moves(found: EngineResult) -> bool:
    """Some run makes a step."""
    return bool(found.steps_fired) or found.moved


def _fired(system: TransitionSystem, found: EngineResult, q: Property) -> bool:
    """The trigger occurred in some run, or an assertion that ``q`` judges was executed; without a trigger, there is a step, or something to judge without one (EVENT-7)."""
    trigger = q.trigger
    if trigger is None:
        return bool(q.invariants or q.liveness) or _moves(found) or _occur([r.event for r in q.rules], system.initial)
    if trigger.kind == "fill" and found.cached_entries != 0:
        return True
    if found.engine == REFERENCE:  # it knows of no steps, and was asked for the trigger itself
        return (trigger.kind, trigger.name) in found.fired
    taken = [*(system.steps[i] for i in found.steps_fired), *(system.initial[i] for i in found.starts)]
    asked = [trigger, *([Event("access")] if trigger == Event("operation") else []), *(r.event for r in q.rules if r.bad and r.event.kind == "assert")]
    return _occur(asked, taken)


def _occur(asked: Sequence[Event], steps: Sequence[Step]) -> bool:
    """Whether one of the events happens in one of the steps."""
    return any(a.kind == e.kind and a.name in ("", e.name) and a.within in ("", e.within) for a in asked for s in steps for e in s.events)


def _occurs(system: TransitionSystem, explicit: EngineResult, q: Property) -> bool:
    """A search that was cut off has seen what the property speaks of."""
    return _fired(system, explicit, q) and not _uncalled(system, explicit, q)


_LOOKED_AT = 20_000
"""Control states in which a trigger is looked for that no complete search has told of: most occur within the first steps."""


def looked_at(system: TransitionSystem, results: Sequence[PropertyEvidence]) -> tuple[list[PropertyEvidence], EngineResult | None]:
    """Proofs of which nothing is known about their trigger, after a short search for it; and what that saw, if there was need of one."""
    if all(r.looked for r in results):
        return list(results), None
    found = Tracked(system, limit=_LOOKED_AT).run()

    def judged(r: PropertyEvidence) -> PropertyEvidence:
        occurs = _occurs(system, found, r.property)
        if r.looked or not (occurs or found.complete):
            return r
        still = () if _moves(found) else (_STILL,)
        return replace(r, looked=True, vacuous=r.vacuous or not occurs, remarks=(*r.remarks, *still))

    return [judged(r) for r in results], found


def _uncalled(system: TransitionSystem, explicit: EngineResult, q: Property) -> list[Procedure]:
    """The procedures that the most general caller never calls, since nothing meets what they require; of those that ensure something, only for that."""
    return [p for p in system.opened if ("opened", p.name) not in explicit.fired and (not p.ensures or q.name in p.ensures)]


def reasons(verdict: Verdict, answers: Mapping[str, EngineAnswer]) -> list[str]:
    """How a verdict is known, engine by engine; where some prove and others do not, which ones do."""
    parts = []
    engines = {e: a for e, a in answers.items() if e != _RECHECK}
    if verdict is Verdict.VIOLATED:
        agreed = {e: a.depth for e, a in engines.items() if a.verdict is verdict and a.depth is not None}
        parts.append(f"shortest run: {min(agreed.values())} steps ({_listed(list(agreed))})")
    proving = [e for e, a in engines.items() if a.verdict is Verdict.PROVED]
    if verdict is Verdict.PROVED and any(a.verdict is Verdict.UNKNOWN for a in engines.values()):
        parts.append(f"proved by {_listed(proving)}")
    enumerating = [e for e in proving if engines[e].states is not None]
    for e in enumerating if verdict is Verdict.PROVED else ():
        kept = f" ({engines[e].kept:,} up to names)" if engines[e].kept is not None else ""
        by = f" ({e})" if len(enumerating) > 1 else ""
        parts.append(f"all {engines[e].states:,} reachable states visited{kept}{by}")
    parts += [f"invariant of {a.clauses} clauses ({e}) shown by z3" for e, a in engines.items() if a.clauses is not None]
    parts += [f"the set as a diagram of {a.nodes:,} nodes ({e}) shown by z3 to be an invariant" for e, a in engines.items() if a.nodes is not None]
    parts += [f"not shown by another solver ({e}): {a.unshown}" for e, a in engines.items() if a.unshown]
    if verdict is not Verdict.VIOLATED and "bmc" in engines and not engines["bmc"].reason:
        parts.append(f"z3: none up to depth {engines['bmc'].depth}")
    parts += [f"{e}: {a.reason}" for e, a in engines.items() if a.reason]
    if _RECHECK in answers:
        parts.append(f"re-checked on {answers[_RECHECK].states:,} configurations by the replay interpreter")
    return parts


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
