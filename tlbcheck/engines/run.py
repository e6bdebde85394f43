"""Runs the engines on a model, holds them against each other and against replay.

z3 runs in a child process with limits of its own. While both run, the explicit engine's result
may tell the bounded search how deep it has to look: as deep as the deepest shortest violation.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.trace import EngineResult, State, Trace, TraceStep, Violation
from tlbcheck.errors import InputError, InternalError
from tlbcheck.lang.expr import evaluate
from tlbcheck.lang.model import Model, Property
from tlbcheck.replay.check import ReplayError, Story, Told, replay
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

ENGINES = ("explicit", "bmc")
_DEEPEST = 10_000


@dataclass(frozen=True)
class Limits:
    """``seconds`` and ``memory`` (bytes) bound each child process; ``states`` the explicit engine's control states."""

    seconds: float = 600.0
    memory: int = 8 << 30
    states: int | None = None


@dataclass
class PropertyResult:
    """The verdict on one property: ``violated``, ``proved``, ``bounded``, ``unknown`` or ``not-applicable``."""

    property: Property
    verdict: str
    reason: str
    engines: dict[str, dict[str, Any]]
    vacuous: bool = False
    violations: list[Violation] = field(default_factory=list)


@dataclass
class ModelResult:
    """All verdicts on a model, from one exploration."""

    model: Model
    system: TransitionSystem
    results: list[PropertyResult]
    explicit: EngineResult | None
    bmc: EngineResult | None
    seconds: float
    search: Tracked | None = None
    blame: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> PropertyResult:
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

    def told(before: State, s: TraceStep) -> Told:
        scope = {**before.control, **s.choices}
        return Told(
            s.step.cpu,
            s.step.level,
            s.step.action,
            tuple(evaluate(e, scope) for _, _, e in s.step.choices),
            {n: s.after.control[n] for n in shared},
            tuple(c for c, n in cached if s.after.entry[n]) if trace.tracked and cached else None,
        )

    befores = [trace.initial, *(s.after for s in trace.steps)]
    start_scope = {**trace.initial.control, **trace.start_choices}
    return Story(
        property=violation.property,
        clause=violation.clause,
        case={f"case.{c.name}": trace.initial.control.get(f"case.{c.name}", c.domain[0]) for c in system.model.cases},
        start_choices=tuple(evaluate(e, start_scope) for _, _, e in trace.start.choices),
        initial={n: trace.initial.control[n] for n in shared},
        tracked=tuple(trace.tracked[v.name] for v in system.entry_fields) if trace.tracked else None,
        tracked_at_start=tuple(c for c, n in cached if trace.initial.entry[n]),
        steps=tuple(told(b, s) for b, s in zip(befores, trace.steps, strict=False)),
        first=first,
    )


def is_shared(name: str, system: TransitionSystem) -> bool:
    """A variable of the model itself: no program counter, local or ghost."""
    if name.startswith("case."):
        return True
    ghosts = {g.name.removeprefix("ghost.").split(".")[0] for m in (*system.properties, *([system.model.case] if system.model.case else [])) for g in m.ghosts}
    tail = name.partition(".")[2] if name.startswith("cpu") else name
    return ":" not in name and not name.endswith(".pc") and tail.split(".")[0] not in ghosts


def confirm(system: TransitionSystem, violation: Violation, engine: str, *, first: bool = True) -> None:
    """Replay a trace by independent code; raises ``InternalError`` if it does not happen.

    ``first``: the trace is a shortest one, so nothing may break the property earlier.
    """
    try:
        replay(system.model, system.properties, story(system, violation, first=first))
    except ReplayError as error:
        raise InternalError(f"{system.model.name}, {violation.property}: the trace of engine {engine} does not replay: {error}") from None


# -- the child process


def _packed(result: EngineResult) -> EngineResult:
    """The result without shared objects, to go through a pipe."""
    for i, v in enumerate(result.violations):
        t = v.trace
        if t is not None:
            plain = (t.start.index, dict(t.start_choices), t.initial, dict(t.tracked), [(s.step.index, dict(s.choices), s.after) for s in t.steps])
            result.violations[i] = Violation(v.property, v.clause, v.case, v.depth, plain)  # type: ignore[arg-type]
    return result


def _unpacked(result: EngineResult, system: TransitionSystem) -> EngineResult:
    for i, v in enumerate(result.violations):
        if v.trace is not None:
            plain: Any = v.trace
            start, choices, initial, tracked, steps = plain
            trace = Trace(system.initial[start], choices, initial, tracked, tuple(TraceStep(system.steps[n], c, after) for n, c, after in steps))
            result.violations[i] = Violation(v.property, v.clause, v.case, v.depth, trace)
    return result


def _child(connection: Any, system: TransitionSystem, bound: int, stop: Any, limits: Limits) -> None:
    try:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        memory = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
        from tlbcheck.engines.bmc import Bounded

        connection.send(_packed(Bounded(system).run(bound, stop=lambda: stop.value)))
    except MemoryError:
        connection.send(f"out of memory ({limits.memory >> 20} MiB)")
    except InternalError as error:
        connection.send(error)
    except Exception as error:  # a solver may fail in any way; the parent says so and goes on
        connection.send(f"z3 failed: {type(error).__name__}: {error}")
    finally:
        connection.close()
        os._exit(0)


class BoundedChild:
    """The z3 engine in a process of its own; killed when its time is over."""

    def __init__(self, system: TransitionSystem, bound: int, limits: Limits) -> None:
        context = multiprocessing.get_context("fork")
        self.system = slice_system(system)
        self.bound, self.limits = bound, limits
        self.stop = context.Value("i", bound, lock=False)
        self.began = time.perf_counter()
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_child, args=(theirs, self.system, _DEEPEST, self.stop, limits), daemon=True)
        self.process.start()
        theirs.close()

    def stop_at(self, depth: int) -> None:
        """How deep to search after all: as deep as another engine's violations, where there are any."""
        self.stop.value = depth

    def result(self) -> EngineResult:
        left = self.limits.seconds - (time.perf_counter() - self.began)
        failed = EngineResult("bmc", complete=False, bound=-1)
        try:
            if not self.connection.poll(max(left, 0)):
                failed.reason = f"z3 did not finish in {self.limits.seconds:g} s"
                return failed
            answer = self.connection.recv()
        except EOFError:
            self.process.join(5)
            failed.reason = f"the z3 process died (exit status {self.process.exitcode})"
            return failed
        finally:
            self.close()
        if isinstance(answer, InternalError):
            raise answer
        if isinstance(answer, str):
            failed.reason = answer
            return failed
        return _unpacked(answer, self.system)

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.connection.close()


# -- both together


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
    meanwhile: Callable[[TransitionSystem, EngineResult], Mapping[int, Mapping[str, Any]]] | None = None,
) -> ModelResult:
    """Check ``properties`` on ``model`` with each of ``engines``; see the module.

    ``depth`` bounds z3's search (default: the model's own), ``every_case`` makes a trace for each
    distinct case instead of one for each property. Without ``cases`` none are told apart, which
    is quicker and as good for verdicts. With ``recheck`` the replay interpreter visits every
    configuration of the procedures too, on the literal TLB, and has to agree. ``meanwhile`` gets the explicit engine's result
    while z3 still searches; what it returns becomes ``blame``. Raises ``InputError`` for what is wrong with
    the model and ``InternalError`` if engines or replay disagree.
    """
    unknown = [e for e in engines if e not in ENGINES]
    if unknown or not engines:
        raise InputError(f"unknown engine '{', '.join(unknown)}'", hint=f"engines are {' and '.join(ENGINES)}")
    began = time.perf_counter()
    limits = limits or Limits()
    system = lower(model, properties)
    if not cases:
        system = slice_system(system)
    bound = model.depth if depth is None else depth
    child = BoundedChild(system, bound, limits) if "bmc" in engines else None
    explicit = bmc = search = None
    blame: Mapping[int, Mapping[str, Any]] = {}
    try:
        if "explicit" in engines:
            search = Tracked(system, limit=limits.states, progress=progress)
            explicit = search.run()
            if child is not None and explicit.complete:
                depths = [v.depth for p in properties if (v := explicit.shortest(p.name))]
                child.stop_at(max(depths) if depths else bound)
            _add_traces(system, search, explicit, every_case)
            if meanwhile is not None:
                blame = meanwhile(system, explicit)
        if child is not None:
            bmc = child.result()
            for v in bmc.violations:
                confirm(system, v, "bmc")
    finally:
        if child is not None:
            child.close()
    results = [_combine(system, p, explicit, bmc) for p in properties]
    if recheck:
        _recheck(system, results)
    return ModelResult(model, system, results, explicit, bmc, time.perf_counter() - began, search, blame)


def _add_traces(system: TransitionSystem, search: Tracked, explicit: EngineResult, every_case: bool) -> None:
    """Traces for what is shown: per property the shortest, and the shortest by a caller that exists."""
    shown = {id(v) for p in system.properties for v in (explicit.shortest(p.name), _believable(system, explicit, p.name)) if v}
    for i, v in enumerate(explicit.violations):
        if every_case or id(v) in shown:
            traced = Violation(v.property, v.clause, v.case, v.depth, search.trace(v))
            shortest = explicit.shortest(v.property)
            confirm(system, traced, "explicit", first=shortest is not None and v.depth == shortest.depth)
            explicit.violations[i] = traced


def _believable(system: TransitionSystem, explicit: EngineResult, name: str) -> Violation | None:
    """The first shortest violation on a call path that the code really has."""
    unreal = system.model.open_cases
    found = [v for v in explicit.violations if v.property == name and not any((n, value) in unreal for n, value in v.case)]
    return min(found, key=lambda v: v.depth, default=None)


def _recheck(system: TransitionSystem, results: Sequence[PropertyResult]) -> None:
    """Hold the verdicts against the interpreter's own search of the procedures."""
    from tlbcheck.replay import recheck

    began = time.perf_counter()
    judged = [r for r in results if r.verdict in ("proved", "violated")]
    found = recheck.recheck(system.model, [r.property for r in judged])
    violated = {name for name, _ in found.violated}
    for r in judged:
        if (r.property.name in violated) is not (r.verdict == "violated"):
            other = "finds a violation" if r.property.name in violated else "finds none"
            raise InternalError(f"{system.model.name}, {r.property.name}: the engines say {r.verdict}, the replay interpreter's own search {other}")
        r.engines["recheck"] = {"verdict": r.verdict, "depth": None, "states": found.configurations, "seconds": round(time.perf_counter() - began, 3)}
        r.reason += f"; re-checked on {found.configurations:,} configurations by the replay interpreter"


def _combine(system: TransitionSystem, q: Property, explicit: EngineResult | None, bmc: EngineResult | None) -> PropertyResult:
    if q.name in system.not_applicable:
        return PropertyResult(q, "not-applicable", system.not_applicable[q.name], {})
    said: dict[str, dict[str, Any]] = {}
    for r in (explicit, bmc):
        if r is None:
            continue
        found = r.shortest(q.name)
        mine: dict[str, Any] = {"verdict": r.verdict(q.name), "depth": found.depth if found else r.bound if r is bmc else None, "seconds": round(r.seconds, 3)}
        if r is explicit:
            mine |= {"states": r.states, "transitions": r.transitions, "entries_ever_cached": r.cached_entries}
        if r.reason:
            mine["reason"] = r.reason
        said[r.engine] = mine
    _agree(system.model.name, q.name, explicit, bmc)
    verdicts = [s["verdict"] for s in said.values()]
    verdict = next(v for v in ("violated", "proved", "bounded", "unknown") if v in verdicts)
    vacuous = explicit is not None and q.trigger is not None and not _fired(explicit, q)
    violations = [v for r in (explicit, bmc) if r is not None for v in r.violations if v.property == q.name]
    if explicit is not None and any(v.property == q.name for v in explicit.violations):
        violations = [v for v in explicit.violations if v.property == q.name]
    return PropertyResult(q, verdict, _reason(verdict, said, explicit, bmc), said, vacuous, sorted(violations, key=lambda v: v.depth))


def _agree(model: str, name: str, explicit: EngineResult | None, bmc: EngineResult | None) -> None:
    if explicit is None or bmc is None:
        return
    mine, theirs = explicit.shortest(name), bmc.shortest(name)
    if mine and theirs and mine.depth != theirs.depth:
        raise InternalError(f"{model}, {name}: explicit finds a violation at depth {mine.depth}, z3 at depth {theirs.depth}")
    if theirs and not mine and explicit.complete:
        raise InternalError(f"{model}, {name}: z3 finds a violation at depth {theirs.depth}, explicit proves that there is none")
    if mine and not theirs and not bmc.reason and bmc.bound >= mine.depth:
        raise InternalError(f"{model}, {name}: explicit finds a violation at depth {mine.depth}, z3 finds none up to depth {bmc.bound}")


def _fired(explicit: EngineResult, q: Property) -> bool:
    assert q.trigger is not None
    return any(kind == q.trigger.kind and (not q.trigger.name or q.trigger.name == name) for kind, name in explicit.fired)


def _reason(verdict: str, said: Mapping[str, Mapping[str, Any]], explicit: EngineResult | None, bmc: EngineResult | None) -> str:
    parts = []
    if verdict == "violated":
        depths = {s["depth"] for s in said.values() if s["verdict"] == "violated"}
        agreed = [e for e, s in said.items() if s["verdict"] == "violated"]
        parts.append(f"shortest run: {min(depths)} steps ({' and '.join(agreed)})")
    elif verdict == "proved" and explicit is not None:
        parts.append(f"all {explicit.states:,} reachable states visited")
    if verdict != "violated" and bmc is not None and not bmc.reason:
        parts.append(f"z3: none up to depth {bmc.bound}")
    parts += [f"{e}: {s['reason']}" for e, s in said.items() if "reason" in s]
    return "; ".join(parts)
