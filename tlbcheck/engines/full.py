"""The literal representation: the caches as they are, every entry at once.

Tracking one arbitrary entry with saturated fills (``engines.explicit``) rests on an argument:
entries do not meet, a larger content never hides a violation. Here nothing rests on it, so that
tests can hold the two against each other, and models whose entries do meet (``entry2`` in rules,
steps that go through the cache) have an engine. Exponential with free fills: for small models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from tlbcheck.engines.compile import Compiled, Masks, State, content_bit
from tlbcheck.engines.memory import Budget
from tlbcheck.engines.trace import EngineResult, Trace, TraceStep, Violation, check_failed, most_values, values_of
from tlbcheck.engines.trace import State as TraceState
from tlbcheck.lang.expr import Expr, const, ite, or_, substitute, var, variables
from tlbcheck.lang.types import BOOL
from tlbcheck.system.slots import first_name, mentions, of_entry
from tlbcheck.system.transition_system import Bad, Step, TransitionSystem

Node = tuple[State, Masks]
BadTest = tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]]
Came = tuple[Node | None, int, tuple[int, ...]]
"""From which state by which step (-1: the cache by itself); without one, a start and its number."""


def literal(system: TransitionSystem) -> TransitionSystem:
    """``entry2`` in a rule written out: the rule holds if it holds for one of all entries."""
    entries = list(system.entries())

    def written(e: Expr) -> Expr:
        if not mentions(e, 2):
            return e
        others = {n: v for n, v in variables(e).items() if of_entry(n, 2)}

        def value(name: str, v: Expr, i: int) -> Expr:
            first = first_name(name)
            return var(content_bit(first, i), v.type) if name.endswith("]") else const(entries[i][first], v.type)

        return or_(*(substitute(e, {n: value(n, v, i) for n, v in others.items()}) for i in range(len(entries))))

    return replace(
        system,
        fills=tuple(replace(f, when=written(f.when)) for f in system.fills),
        steps=tuple(replace(s, bads=tuple(replace(b, when=written(b.when)) for b in s.bads)) for s in system.steps),
        invariants=tuple(replace(b, when=written(b.when)) for b in system.invariants),
    )


Walk = tuple[int, tuple[int, ...], bool]
"""On a CPU an entry, by the values of its fields, comes (True) or goes."""


@dataclass(frozen=True, slots=True)
class _Cpu:
    """One CPU's cache among the masks: ``cached`` is where its content is, ``own`` what goes with an entry, and its value then."""

    fillable: Callable[[State, Masks], int]
    fill: Callable[[State, Masks], Masks]
    cached: int
    own: tuple[tuple[int, int], ...]


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


class _Full:
    """Breadth first over (control, content of all caches), one layer for each number of steps."""

    def __init__(self, system: TransitionSystem, free: bool, limit: int | None, max_bytes: int | None) -> None:
        self.system, self.free, self.limit, self.memory = literal(system), free, limit, Budget(max_bytes)
        self.compiled = c = Compiled(self.system, content=True)
        c.on_check(self._check_failed)
        self.steps = [(c.moved(s), c.step_bads(s), c.used(s)) for s in self.system.steps]
        self.state_bads = c.state_bads()
        self.cpus = [self._cpu(i) for i in range(len(system.fills))]
        self.edges: dict[State, list[tuple[int, tuple[int, ...], State]]] = {}
        self.seen: set[Node] = set()
        self.came: dict[Node, Came] = {}
        self.found: dict[tuple[str, str], tuple[int, Node, Came | None]] = {}
        self.steps_fired: dict[int, int] = {}
        self.transitions = 0
        self.stopped = ""

    def _check_failed(self, index: int) -> None:
        raise check_failed(self.system.steps[index].checks[0])

    def _cpu(self, index: int) -> _Cpu:
        """The moves of one CPU's cache; its fills alone, compiled apart from the other CPUs'."""
        fill, c, steps = self.system.fills[index], self.compiled, tuple[Step, ...]()
        # An entry that is there does not come in; compiled fills go on until they change nothing.
        held = var(self.system.cached[fill.cpu], BOOL)
        fill = replace(fill, updates={n: e if n == held.value else ite(held, var(n, e.type), e) for n, e in fill.updates.items()})
        alone = Compiled(replace(self.system, fills=(fill,), steps=steps, initial=steps), content=True)
        prefix = f"cpu{fill.cpu}."
        own = tuple((i, v.initial) for i, v in enumerate(self.system.entry_variables) if v.name.startswith(prefix))
        return _Cpu(lambda s, m: c.fillable(index, s, m), alone.fill, c.entry_variables.index(self.system.cached[fill.cpu]), own)

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
            for bit in _bits(cpu.fillable(s, m) & ~held):
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
                    self.note(bad, depth, node, None)
            if self.free:
                for other in self.by_itself(s, m):
                    self.came.setdefault((s, other), (node, -1, ()))
                    waiting.append((s, other))
        return layer

    # -- search

    def over(self) -> bool:
        """Whether a limit is reached."""
        if not self.stopped and self.limit is not None and len(self.seen) >= self.limit:
            self.stopped = f"stopped at the limit of {self.limit} states{self.widest()}"
        elif not self.stopped and self.memory.spent():
            self.stopped = f"stopped at the limit of {self.memory.told()} with {len(self.seen):,} states{self.widest()}"
        return bool(self.stopped)

    def widest(self) -> str:
        return most_values(values_of(self.compiled.variables, {s for s, _ in self.seen}))

    def note(self, bad: Bad, depth: int, node: Node, last: Came | None) -> None:
        """Layers come by depth, so that the first violation is a shallowest one; ``last`` is the step that is it, if one is."""
        self.found.setdefault((bad.property, bad.clause), (depth, node, last))

    def starts(self) -> Iterator[Node]:
        """The largest content; evictions, where there are any, reach every smaller one."""
        for index, chosen, s in self.compiled.initial_states():
            node = s, self.settled(s, self.compiled.initial_content(s))
            self.came.setdefault(node, (None, index, chosen))
            yield node

    def successors(self, node: Node, depth: int) -> Iterator[Node]:
        s, m = node
        edges = self.edges.get(s)
        if edges is None:
            edges = self.edges[s] = self.compiled.successors(s)
        for index, chosen, t in edges:
            moved, bads, used = self.steps[index]
            if not used(s, chosen, m):
                continue
            after = t, self.settled(t, m if moved is None else moved(s, chosen, m))
            for bad, test in bads:
                if test(s, chosen, m):
                    self.note(bad, depth, after, (node, index, chosen))
            self.transitions += 1
            self.steps_fired[index] = self.steps_fired.get(index, 0) + 1
            self.came.setdefault(after, (node, index, chosen))
            yield after

    def run(self) -> EngineResult:
        began = time.perf_counter()
        depth = 0
        layer = self.closed(self.starts(), 0)
        while layer and not self.over():
            depth += 1
            # Not a generator: all violations by a step come before those of a later layer.
            following = {node for here in layer for node in self.successors(here, depth)}
            layer = self.closed(following - self.seen, depth)
        fired: dict[tuple[str, str], int] = {}
        for index, count in self.steps_fired.items():
            for event in self.system.steps[index].events:
                fired[event.kind, event.name] = fired.get((event.kind, event.name), 0) + count
        return EngineResult(
            engine="full-free" if self.free else "full",
            complete=not self.stopped,
            bound=depth,
            violations=[Violation(name, clause, (), at, self.trace(node, last)) for (name, clause), (at, node, last) in self.found.items()],
            fired=fired,
            states=len(self.seen),
            transitions=self.transitions,
            seconds=time.perf_counter() - began,
            steps_fired=frozenset(self.steps_fired),
            starts=frozenset(index for before, index, _ in self.came.values() if before is None),
            reason=self.stopped,
            cached_entries=self.ever_cached() if self.cpus else None,
        )

    def ever_cached(self) -> int:
        """How many entries some CPU has cached in some state."""
        ever = 0
        for _, masks in self.seen:
            for cpu in self.cpus:
                ever |= masks[cpu.cached]
        return ever.bit_count()

    # -- traces

    def trace(self, node: Node, last: Came | None) -> Trace:
        """The run by which ``node`` was first reached, ``last`` being its last step if given. It follows no single entry."""
        names = [v.name for v in self.system.control]
        cached = dict.fromkeys(self.compiled.entry_variables, 0)

        def state(at: Node) -> TraceState:
            return TraceState(dict(zip(names, map(int, at[0]), strict=True)), cached)

        steps: list[TraceStep] = []
        walks: list[list[Walk]] = [[]]
        before, index, chosen = last or self.came[node]
        while before is not None:
            if index >= 0:
                step = self.system.steps[index]
                steps.append(TraceStep(step, dict(zip((q.name for q in step.parameters), map(int, chosen), strict=True)), state(node)))
                walks.append([])
            else:
                walks[-1].append(self.walk(before[1], node[1]))
            node = before
            before, index, chosen = self.came[node]
        start = self.system.initial[index]
        by_themselves = tuple(tuple(reversed(w)) for w in reversed(walks)) if self.free else None
        return Trace(start, dict(zip((q.name for q in start.parameters), map(int, chosen), strict=True)), state(node), {}, tuple(reversed(steps)), walks=by_themselves)

    def walk(self, before: Masks, after: Masks) -> Walk:
        """The entry that came or went between two contents."""
        places = {cpu: self.compiled.entry_variables.index(name) for cpu, name in self.system.cached.items()}
        cpu, changed = next((cpu, changed) for cpu, at in places.items() if (changed := before[at] ^ after[at]))
        return cpu, tuple(self.compiled.entries[changed.bit_length() - 1].values()), bool(after[places[cpu]] & changed)


def explore_full(system: TransitionSystem, *, fills: Literal["saturated", "free"], limit: int | None = None, max_bytes: int | None = None) -> EngineResult:
    """Every state of ``system`` with its caches as they are: the literal semantics.

    ``saturated``: after each step every entry that a walk could make is there. ``free``: entries
    come and go one by one as they like, at no cost in depth. ``limit`` stops after so many states, ``max_bytes``
    when the search has taken so much memory, and what is not violated by then is unknown.
    """
    return _Full(system, fills == "free", limit, max_bytes).run()
