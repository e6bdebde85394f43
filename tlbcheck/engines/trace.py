"""What an engine found: a run of the transition system, and the result that it belongs to."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.engines.invariant import Invariant, StateSet
from tlbcheck.errors import InputError, InternalError
from tlbcheck.lang.expr import evaluate
from tlbcheck.result import Verdict
from tlbcheck.system.transition_system import Check, Step, TransitionSystem


@dataclass(frozen=True)
class State:
    """Values of all control variables, and of the entry variables of the tracked entry."""

    control: Mapping[str, int]
    entry: Mapping[str, int]


@dataclass(frozen=True)
class TraceStep:
    """One step taken: ``choices`` gives its parameters, ``after`` the state that it leads to."""

    step: Step
    choices: Mapping[str, int]
    after: State


@dataclass(frozen=True)
class Trace:
    """A run: ``tracked`` is the entry that the story is about (no fields: none is).

    ``loop``: after the last step the run goes on from the state before step ``loop`` (counted from 0), for ever.
    ``walks``: (CPU, entry, whether it comes) of what caches do by themselves before each step and after the last, if the trace knows.
    """

    start: Step
    start_choices: Mapping[str, int]
    initial: State
    tracked: Mapping[str, int]
    steps: tuple[TraceStep, ...]
    loop: int | None = None
    walks: tuple[tuple[tuple[int, tuple[int, ...], bool], ...], ...] | None = None

    @property
    def depth(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> State:
        return self.steps[-1].after if self.steps else self.initial


@dataclass(frozen=True)
class Violation:
    """A shortest run to one clause of a property in one case."""

    property: str
    clause: str
    case: tuple[tuple[str, int], ...]
    depth: int
    trace: Trace | None = None


_MANY = 16
"""Values of one variable up to which it is not taken for the cause of a search that does not end."""


@dataclass
class EngineResult:
    """What one engine says of all properties of a model.

    ``complete``: every reachable state was visited, so that a property without a violation is
    proved; otherwise it holds up to ``bound`` steps. ``undecided`` gives, for properties that are
    open all the same, the reason; ``invariants`` what was shown to be inductive, ``sets`` the states of
    the literal caches that z3 showed to be left by no step, ``unshown`` why it did not. ``fired`` counts
    events for vacuity. ``runs`` tells a violation of each property in words, of an engine that makes no traces. ``kept`` is how many states stood for all ``states``, if a reduction kept fewer.
    """

    engine: str
    complete: bool
    bound: int
    undecided: dict[str, str] = field(default_factory=dict)
    invariants: dict[str, Invariant] = field(default_factory=dict)
    sets: dict[str, StateSet] = field(default_factory=dict)
    unshown: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    states: int | None = None
    kept: int | None = None
    transitions: int | None = None
    seconds: float = 0.0
    fired: dict[tuple[str, str], int] = field(default_factory=dict)
    steps_fired: frozenset[int] = frozenset()
    moved: bool = False
    """Some run makes a step, by an engine that does not say which."""
    starts: frozenset[int] = frozenset()
    """The ways through ``init`` that a run may take."""
    reason: str = ""
    runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cached_entries: int | None = None

    def shortest(self, property_name: str) -> Violation | None:
        """The first violation of a property at the least depth."""
        found = [v for v in self.violations if v.property == property_name]
        return min(found, key=lambda v: v.depth, default=None)

    def verdict(self, property_name: str) -> Verdict:
        """What this engine alone says of a property."""
        if self.shortest(property_name):
            return Verdict.VIOLATED
        if self.reason or property_name in self.undecided:
            return Verdict.UNKNOWN
        return Verdict.PROVED if self.complete else Verdict.BOUNDED


def check_failed(check: Check) -> InputError:
    """What is told of an error of the model (ERR-1)."""
    return InputError(check.message, place=check.place, hint="widen the type, or guard what leaves it", judging=check.judging)


def most_values(counts: Mapping[str, int]) -> str:
    """For the end of a search at a limit: the variable with the most values, which may be why there is no end.

    Empty if none has many. Where a local has as many as a variable, this is told; where an activation is counts for nothing.
    """
    counts = {name: n for name, n in counts.items() if not name.endswith(".pc") and "%" not in name}
    name = max(counts, key=lambda x: (counts[x], ":" not in x), default="")
    return f"; {name} has the most values, {counts[name]:,}" if name and counts[name] > _MANY else ""


def values_of(names: Sequence[str], states: Collection[Sequence[int]]) -> dict[str, int]:
    """How many values each variable has in ``states``."""
    return {name: len({s[i] for s in states}) for i, name in enumerate(names)}


def clause_of(system: TransitionSystem, property_name: str, trace: Trace) -> str:
    """The clause of the property that the end of ``trace`` violates."""
    state = {**trace.last.control, **trace.last.entry, **trace.tracked}
    for b in system.invariants:
        if b.property == property_name and evaluate(b.when, state):
            return b.clause
    if trace.steps:
        before = trace.steps[-2].after if len(trace.steps) > 1 else trace.initial
        step = trace.steps[-1]
        values = {**before.control, **before.entry, **trace.tracked, **step.choices}
        for b in step.step.bads:
            if b.property == property_name and evaluate(b.when, values):
                return b.clause
    raise InternalError(f"{system.model.name}: the solver's run does not violate {property_name}")


def start_of(system: TransitionSystem, initial: State) -> tuple[Step, dict[str, int]]:
    """The way in which ``init`` can have made this state."""
    rigid = {n: initial.control[n] for n in system.rigid}
    base = {v.name: v.initial for v in system.control} | rigid
    for step in system.initial:
        for values in itertools.product(*(q.domain for q in step.parameters)):
            scope = base | dict(zip((q.name for q in step.parameters), values, strict=True))
            if evaluate(step.guard, scope):
                after = base | {n: evaluate(x, scope) for n, x in step.updates.items() if n in base}
                if all(after[n] == initial.control[n] for n in after):
                    return step, dict(zip((q.name for q in step.parameters), values, strict=True))
    raise InternalError(f"{system.model.name}: the solver's run starts where no run can start")
