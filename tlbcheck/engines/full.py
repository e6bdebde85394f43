"""The literal representation: the caches as they are, every entry at once.

Tracking one arbitrary entry with saturated fills (``engines.explicit``) rests on an argument:
entries do not meet, a larger content never hides a violation. Here nothing rests on it, so that
tests can hold the two against each other. Exponential with free fills: for small models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from tlbcheck.engines.compile import Compiled, Masks, State
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import InputError
from tlbcheck.system.transition_system import Bad, Step, TransitionSystem

Node = tuple[State, Masks]
BadTest = tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]]


@dataclass(frozen=True, slots=True)
class _Cpu:
    """One CPU's cache among the masks: ``cached`` is where its content is, ``own`` what goes with an entry, and its value then."""

    fillable: Callable[[State], int]
    fill: Callable[[State, Masks], Masks]
    cached: int
    own: tuple[tuple[int, int], ...]


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


class _Full:
    """Breadth first over (control, content of all caches), one layer for each number of steps."""

    def __init__(self, system: TransitionSystem, free: bool, limit: int | None) -> None:
        self.system, self.free, self.limit = system, free, limit
        self.compiled = c = Compiled(system)
        c.on_check(self._check_failed)
        self.steps: list[tuple[Callable[[State, tuple[int, ...], Masks], Masks] | None, list[BadTest]]] = [(c.moved(s), c.step_bads(s)) for s in system.steps]
        self.state_bads = c.state_bads()
        self.cpus = [self._cpu(i) for i in range(len(system.fills))]
        self.edges: dict[State, list[tuple[int, tuple[int, ...], State]]] = {}
        self.seen: set[Node] = set()
        self.found: dict[tuple[str, str], int] = {}
        self.steps_fired: set[int] = set()
        self.transitions = 0

    def _check_failed(self, index: int) -> None:
        check = self.system.steps[index].checks[0]
        raise InputError(check.message, place=check.place, hint="widen the type, or guard the assignment")

    def _cpu(self, index: int) -> _Cpu:
        """The moves of one CPU's cache; its fills alone, compiled apart from the other CPUs'."""
        fill, c, steps = self.system.fills[index], self.compiled, tuple[Step, ...]()
        alone = Compiled(replace(self.system, fills=(fill,), steps=steps, initial=steps))
        prefix = f"cpu{fill.cpu}."
        own = tuple((i, v.initial) for i, v in enumerate(self.system.entry_variables) if v.name.startswith(prefix))
        return _Cpu(lambda s: c.fillable(index, s), alone.fill, c.entry_variables.index(self.system.cached[fill.cpu]), own)

    # -- what a cache does by itself

    def settled(self, s: State, m: Masks) -> Masks:
        """What is there when a step has been made: with free fills, nothing new yet.

        Filled after every step: ``Compiled.refills``, which tells when that can be left out, is under test too.
        """
        return m if self.free else self.compiled.fill(s, m)

    def by_itself(self, s: State, m: Masks) -> Iterator[Masks]:
        """One fill or one eviction of one entry; neither costs a step."""
        for cpu in self.cpus:
            filled, held = cpu.fill(s, m), m[cpu.cached]
            for bit in _bits(cpu.fillable(s) & ~held):
                yield tuple((new & bit) | (old & ~bit) for old, new in zip(m, filled, strict=True))
            for bit in _bits(held):
                left = list(m)
                for i, initial in cpu.own:
                    left[i] = left[i] | bit if initial else left[i] & ~bit
                yield tuple(left)

    def closed(self, arrived: Iterable[Node], depth: int) -> list[Node]:
        """The states of a layer that are new, with all that caches make of them by themselves."""
        layer, waiting = [], list(arrived)
        while waiting and not self.over():
            node = waiting.pop()
            if node in self.seen:
                continue
            self.seen.add(node)
            layer.append(node)
            s, m = node
            for bad, test in self.state_bads:
                if test(s, (), m):
                    self.note(bad, depth)
            if self.free:
                waiting += [(s, other) for other in self.by_itself(s, m)]
        return layer

    # -- search

    def over(self) -> bool:
        return self.limit is not None and len(self.seen) >= self.limit

    def note(self, bad: Bad, depth: int) -> None:
        """Layers come by depth, so that the first violation is a shallowest one."""
        self.found.setdefault((bad.property, bad.clause), depth)

    def starts(self) -> Iterator[Node]:
        """The largest content; evictions, where there are any, reach every smaller one."""
        for _, _, s in self.compiled.initial_states():
            yield s, self.settled(s, self.compiled.initial_cached(s))

    def successors(self, node: Node, depth: int) -> Iterator[Node]:
        s, m = node
        edges = self.edges.get(s)
        if edges is None:
            edges = self.edges[s] = self.compiled.successors(s)
        for index, chosen, t in edges:
            moved, bads = self.steps[index]
            for bad, test in bads:
                if test(s, chosen, m):
                    self.note(bad, depth)
            self.transitions += 1
            self.steps_fired.add(index)
            yield t, self.settled(t, m if moved is None else moved(s, chosen, m))

    def run(self) -> EngineResult:
        began = time.perf_counter()
        depth = 0
        layer = self.closed(self.starts(), 0)
        while layer and not self.over():
            depth += 1
            # Not a generator: all violations by a step come before those of a later layer.
            following = {node for here in layer for node in self.successors(here, depth)}
            layer = self.closed(following - self.seen, depth)
        finished = not self.over()
        return EngineResult(
            engine="full-free" if self.free else "full",
            complete=finished,
            bound=depth,
            violations=[Violation(name, clause, (), at) for (name, clause), at in self.found.items()],
            states=len(self.seen),
            transitions=self.transitions,
            seconds=time.perf_counter() - began,
            steps_fired=frozenset(self.steps_fired),
            reason="" if finished else f"stopped at the limit of {self.limit} states",
        )


def explore_full(system: TransitionSystem, *, fills: Literal["saturated", "free"], limit: int | None = None) -> EngineResult:
    """Every state of ``system`` with its caches as they are: the literal semantics.

    ``saturated``: after each step every entry that a walk could make is there. ``free``: entries
    come and go one by one as they like, at no cost in depth. ``limit`` stops after so many states,
    and what is not violated by then is unknown.
    """
    return _Full(system, fills == "free", limit).run()
