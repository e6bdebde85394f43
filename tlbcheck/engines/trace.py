"""What an engine found: a run of the transition system, and the result that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlbcheck.system.transition_system import Step


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
    """A run: ``tracked`` is the entry that the story is about (no fields: none is)."""

    start: Step
    start_choices: Mapping[str, int]
    initial: State
    tracked: Mapping[str, int]
    steps: tuple[TraceStep, ...]

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


@dataclass
class EngineResult:
    """What one engine says of all properties of a model.

    ``complete``: every reachable state was visited, so that a property without a violation is
    proved; otherwise it holds up to ``bound`` steps. ``fired`` counts events for vacuity.
    """

    engine: str
    complete: bool
    bound: int
    violations: list[Violation] = field(default_factory=list)
    states: int | None = None
    transitions: int | None = None
    seconds: float = 0.0
    fired: dict[tuple[str, str], int] = field(default_factory=dict)
    steps_fired: frozenset[int] = frozenset()
    reason: str = ""
    cached_entries: int | None = None

    def shortest(self, property_name: str) -> Violation | None:
        """The first violation of a property at the least depth."""
        found = [v for v in self.violations if v.property == property_name]
        return min(found, key=lambda v: v.depth, default=None)

    def verdict(self, property_name: str) -> str:
        if self.shortest(property_name):
            return "violated"
        if self.reason:
            return "unknown"
        return "proved" if self.complete else "bounded"
