"""The literal caches as sets of states: decision diagrams instead of one state after the other.

Each component of the ground system takes the bits that number its values; page tables and what else
CPUs share stand first in the order, then one CPU after the other. The successors by a row are
those of its guard with what it assigns forgotten, and then set, so that no second copy of the
variables is needed. Rows are taken CPU by CPU to a local fixpoint, again and again, until none adds a
state. Depths need layers: these are made only if something bad was reached.

The set of reachable states is a certificate: it holds the starts, is closed under all rows and
meets no bad cube. ``Sets.closed_and_safe`` asks just that, of the finished set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from tlbcheck.engines.ground import BadCube, Cube, Row, TooLarge, check_failed, ground
from tlbcheck.engines.packed import Progress
from tlbcheck.engines.path import along, moves
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import Expr, and_, const, eq, or_, var
from tlbcheck.lang.types import BOOL
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

_NODE_BYTES = 64
"""What a node takes, its place in tables and caches included, roughly."""

State = tuple[int, ...]
Diagram = Any


class _Image:
    """Rows that assign the same, as one: where they are enabled, what they forget and what they set."""

    def __init__(self, guard: Diagram, forgotten: Diagram, assigned: Diagram) -> None:
        self.guard, self.forgotten, self.assigned = guard, forgotten, assigned

    def of(self, states: Diagram, conjunction: Any) -> Diagram:
        return states.apply_exists(conjunction, self.guard, self.forgotten) & self.assigned


class Sets:
    """Reachability of the literal caches of ``system`` by decision diagrams; fills and evictions are free.

    ``max_bytes`` bounds the diagrams; beyond it the verdict is ``unknown``, as after Ctrl-C.
    """

    def __init__(self, system: TransitionSystem, *, max_bytes: int = 8 << 30, progress: Callable[[Progress], None] | None = None) -> None:
        self.system, self.max_bytes, self.progress = system, max_bytes, progress
        self.began = time.perf_counter()

    def run(self) -> EngineResult:
        """The verdict on every property. Raises ``InputError`` for a model that leaves its ranges."""
        try:
            self.ground = ground(slice_system(self.system), "free")
        except TooLarge as error:
            return self._unknown(f"the model is too large to be written as a table: {error}")
        from oxidd.util import DDMemoryError

        self._encode()

        try:
            self.reached = self._fixpoint()
            bads = [b for b in self.ground.bads if (self.reached & self.cube(b.guard)).satisfiable()]
            return self._result(self._violations(bads) if bads else [])
        except DDMemoryError:
            return self._unknown(f"the diagrams outgrew {self.max_bytes >> 20:,} MiB")
        except KeyboardInterrupt:
            return self._unknown("interrupted")

    # -- encoding

    def _encode(self) -> None:
        from oxidd.bdd import BDDManager
        from oxidd.util import BooleanOperator

        components = self.ground.components
        order = sorted(range(len(components)), key=lambda i: (components[i].owner is not None, components[i].owner or 0, i))
        self.bits: dict[int, range] = {}
        n = 0
        for i in order:
            size = max(1, (len(components[i].values) - 1).bit_length())
            self.bits[i] = range(n, n + size)
            n += size
        self.n_bits = n
        nodes = max(1 << 12, min(self.max_bytes // _NODE_BYTES, 1 << 24))
        self.manager = BDDManager(nodes, max(1 << 10, min(nodes // 4, 1 << 20)), 1)
        self.manager.add_vars(max(1, n))
        self.true, self.false, self.conjunction = self.manager.true(), self.manager.false(), BooleanOperator.AND
        self._literals: dict[tuple[int, int], Diagram] = {}

    def literal(self, component: int, value: int) -> Diagram:
        """The states in which a component has a value."""
        found = self._literals.get((component, value))
        if found is None:
            found = self.true
            for k, bit in reversed(list(enumerate(self.bits[component]))):
                found &= self.manager.var(bit) if value >> k & 1 else self.manager.not_var(bit)
            self._literals[component, value] = found
        return found

    def cube(self, cube: Cube) -> Diagram:
        return reduce(lambda a, b: a & b, (self.literal(c, x) for c, x in sorted(cube.items(), key=lambda x: -self.bits[x[0]].start)), self.true)

    def state_of(self, states: Diagram) -> State:
        """One state of a set that is not empty."""
        picked = states.pick_cube()
        return tuple(sum(1 << k for k, bit in enumerate(self.bits[i]) if picked[bit]) for i in range(len(self.ground.components)))

    def images(self, rows: Iterable[Row]) -> list[_Image]:
        guards: dict[tuple[tuple[int, int], ...], Diagram] = {}
        for row in rows:
            key = tuple(sorted(row.assign.items()))
            guards[key] = guards.get(key, self.false) | self.cube(row.guard)
        made = []
        for key, guard in guards.items():
            forgotten = reduce(lambda a, b: a & b, (self.manager.var(bit) for c, _ in key for bit in self.bits[c]), self.true)
            made.append(_Image(guard, forgotten, self.cube(dict(key))))
        return made

    # -- reachability

    def starts(self) -> Diagram:
        return reduce(lambda a, b: a | b, (self.cube(dict(enumerate(s.state))) for s in self.ground.starts), self.false)

    def _groups(self) -> list[list[_Image]]:
        """Rows by the one CPU that they change; those that change more, or what is shared, are the last group."""
        groups: dict[int | None, list[Row]] = {}
        for row in self.ground.rows:
            owners = {self.ground.components[c].owner for c in row.assign}
            groups.setdefault(owners.pop() if len(owners) == 1 else None, []).append(row)
        return [self.images(rows) for _, rows in sorted(groups.items(), key=lambda g: (g[0] is None, g[0] or 0))]

    def _fixpoint(self) -> Diagram:
        reached, groups = self.starts(), self._groups()
        before = None
        while before != reached:
            before = reached
            for group in groups:
                local = None
                while local != reached:
                    local = reached
                    for image in group:
                        reached = reached | image.of(reached, self.conjunction)
                    if self.progress is not None:
                        self.progress(Progress(int(reached.sat_count(self.n_bits)), None, None, time.perf_counter() - self.began, self.manager.approx_num_inner_nodes() * _NODE_BYTES))
        return reached

    def closed_and_safe(self) -> bool:
        """Whether the set found holds the starts, is left by no row, and meets nothing bad."""
        reached = self.reached
        outside = ~reached
        if (self.starts() & outside).satisfiable() or any((reached & self.cube(b.guard)).satisfiable() for b in self.ground.bads):
            return False
        return not any((i.of(reached, self.conjunction) & outside).satisfiable() for i in self.images(self.ground.rows))

    def predicate(self) -> Expr:
        """The reachable states as an expression over control variables and entries' bits, node by node of the diagram."""
        types = {v.name: v.type for v in self.system.control}
        place = {bit: (c, k) for c, bits in self.bits.items() for k, bit in enumerate(bits)}
        memo: dict[Diagram, Expr] = {self.true: const(1, BOOL), self.false: const(0, BOOL)}

        def holds(bit: int) -> Expr:
            c, k = place[bit]
            component = self.ground.components[c]
            type_ = types.get(component.name, BOOL)
            v = var(component.name, type_)
            return or_(*(eq(v, const(x, type_)) for i, x in enumerate(component.values) if i >> k & 1))

        def build(node: Diagram) -> Expr:
            if node not in memo:
                yes, no = node.cofactors()
                test = holds(node.node_var())
                memo[node] = or_(and_(test, build(yes)), and_(~test, build(no)))
            return memo[node]

        return build(self.reached)

    # -- layers, where something bad was reached

    def _violations(self, bads: Sequence[BadCube]) -> list[Violation]:
        """For each clause a shortest run; layers are closed under what caches do, round by round."""
        caches = self.images(r for r in self.ground.rows if r.step is None)
        steps = self.images(r for r in self.ground.rows if r.step is not None)
        open_ = list(bads)
        found: dict[tuple[str, str], tuple[int, Violation]] = {}
        self.layers: list[list[Diagram]] = []
        reached, frontier, depth = self.false, self.starts(), 0
        while frontier.satisfiable():
            rounds = []
            while frontier.satisfiable():
                reached = reached | frontier
                rounds.append(frontier)
                frontier = self._successors(caches, frontier) & ~reached
            self.layers.append(rounds)
            layer = reduce(lambda a, b: a | b, rounds)
            for later in (False, True):
                for bad in [b for b in open_ if (b.step is not None) is later and (layer & self.cube(b.guard)).satisfiable()]:
                    key = (bad.property, bad.clause)
                    if key not in found or found[key][0] > depth + later:
                        found[key] = depth + later, self._violation(bad, depth)
                    open_.remove(bad)
            # A clause that was found by a step may have been found in a state of the same depth.
            open_ = [b for b in open_ if (b.property, b.clause) not in found or found[b.property, b.clause][0] > depth + 1]
            if not open_:
                break
            frontier = self._successors(steps, layer) & ~reached
            depth += 1
        return [v for _, v in sorted(found.values(), key=lambda f: f[0])]

    def _successors(self, images: Sequence[_Image], states: Diagram) -> Diagram:
        return reduce(lambda a, b: a | b, (i.of(states, self.conjunction) for i in images), self.false)

    def _violation(self, bad: BadCube, depth: int) -> Violation:
        if not bad.property:
            assert bad.step is not None
            raise check_failed(next(c for c in self.system.steps[bad.step].checks if c.message == bad.clause))
        rounds = self.layers[depth]
        at = next(i for i, r in enumerate(rounds) if (r & self.cube(bad.guard)).satisfiable())
        told = [self.state_of(rounds[at] & self.cube(bad.guard))]
        while depth or at:
            before = self._before(told[-1], [self.layers[depth][at - 1]] if at else self.layers[depth - 1], cost=0 if at else 1)
            told.append(before[0])
            depth, at = (depth, at - 1) if at else (depth - 1, before[1])
        trace = along(self.system, moves(self.ground, told[::-1], bad, lambda state: state))
        return Violation(bad.property, bad.clause, (), len(trace.steps), trace)

    def _before(self, state: State, rounds: Sequence[Diagram], *, cost: int) -> tuple[State, int]:
        """A state of the first of ``rounds`` that has one from which a row of that cost leads to ``state``; and which round."""
        for n, states in enumerate(rounds):
            for row in self._leading_to(state, cost):
                free = {c: x for c, x in enumerate(state) if c not in row.assign}
                if any(free.get(c, x) != x for c, x in row.guard.items()):
                    continue
                mine = states & self.cube(free | row.guard)
                if mine.satisfiable():
                    return self.state_of(mine), n
        raise InternalError("the set-based engine cannot rebuild a run that it found")

    def _leading_to(self, state: State, cost: int) -> Iterator[Row]:
        for row in self.ground.rows:
            if (row.step is None) is (cost == 0) and all(state[c] == x for c, x in row.assign.items()):
                yield row

    # -- the result

    def _unknown(self, reason: str) -> EngineResult:
        return EngineResult("sets", complete=False, bound=-1, reason=reason, seconds=time.perf_counter() - self.began)

    def _result(self, violations: list[Violation]) -> EngineResult:
        taken = [(row, n) for row in self.ground.rows if (n := (self.reached & self.cube(row.guard)).sat_count(self.n_bits))]
        steps = {row.step for row, _ in taken if row.step is not None}
        fired: dict[tuple[str, str], int] = {}
        for index in steps:
            for event in self.system.steps[index].events:
                fired[event.kind, event.name] = fired.get((event.kind, event.name), 0) + 1
        return EngineResult(
            engine="sets",
            complete=True,
            bound=-1,
            violations=violations,
            states=int(self.reached.sat_count(self.n_bits)),
            transitions=sum(n for _, n in taken),
            seconds=time.perf_counter() - self.began,
            fired=fired,
            steps_fired=frozenset(steps),
        )
