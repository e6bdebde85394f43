"""The literal caches as sets of states: decision diagrams instead of one state after the other.

Each component of the ground system takes the bits that number its values; page tables and what else
CPUs share stand first in the order, then one CPU after the other. The successors by a row are
those of its guard with what it assigns forgotten, and then set, so that no second copy of the
variables is needed. Rows are taken CPU by CPU to a local fixpoint, again and again, until none adds a
state. What a row makes of many entries stays in its parts, one entry after the other: as rows of
their own these would be as many as there are contents. Depths need layers: these are made only if something bad was reached.

The set of reachable states is a certificate: it holds the starts, no row leaves it and it meets no
bad cube. The first two are asked once more of the finished set, by the same diagrams; if a
certificate is wanted (``Sets.certify``), all three by z3, on an encoding that shares nothing with rows and diagrams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from tlbcheck.engines.child import Child, Unanswered
from tlbcheck.engines.ground import BadCube, Cube, Part, Row, TooLarge, ground
from tlbcheck.engines.invariant import StateSet, system_for
from tlbcheck.engines.packed import Progress
from tlbcheck.engines.path import along, moves
from tlbcheck.engines.trace import EngineResult, Violation, check_failed
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.errors import InternalError
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

_NODE_BYTES = 64
"""What a node takes, its place in tables and caches included, roughly."""

State = tuple[int, ...]
Diagram = Any


class _Image:
    """Rows that assign the same, as one: where they are enabled, what becomes of entries part by part, what they forget and what they set."""

    def __init__(self, guard: Diagram, forgotten: Diagram, assigned: Diagram, parts: Sequence[Sequence[_Image]]) -> None:
        self.guard, self.forgotten, self.assigned, self.parts = guard, forgotten, assigned, parts

    def of(self, states: Diagram, conjunction: Any) -> Diagram:
        if not self.parts:
            return states.apply_exists(conjunction, self.guard, self.forgotten) & self.assigned
        made = states & self.guard
        for part in self.parts:
            if not made.satisfiable():
                return made
            made = reduce(lambda a, b: a | b, (case.of(made, conjunction) for case in part))
        # Parts read what stood there before: only now it is forgotten.
        return made.exists(self.forgotten) & self.assigned


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
            self.ground = ground(slice_system(self.system), "free", parts=True)
        except TooLarge as error:
            return self._unknown(f"the model is too large to be written as a table: {error}")
        from oxidd.util import DDMemoryError

        self._encode()

        try:
            self.reached = self._fixpoint()
            if not self.closed():
                raise InternalError(f"{self.system.model.name}: the set of states found by engine sets is not closed")
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
        guards: dict[object, tuple[Diagram, Row]] = {}
        for row in rows:
            key = _sorted(row.assign), tuple(tuple((_sorted(when), _sorted(then)) for when, then in part) for part in row.parts)
            guards[key] = guards.get(key, (self.false, row))[0] | self.cube(row.guard), row
        return [self.image(guard, row.assign, row.parts) for guard, row in guards.values()]

    def image(self, guard: Diagram, assign: Cube, parts: Sequence[Part] = ()) -> _Image:
        forgotten = reduce(lambda a, b: a & b, (self.manager.var(bit) for c in assign for bit in self.bits[c]), self.true)
        return _Image(guard, forgotten, self.cube(assign), [[self.image(self.cube(when), then) for when, then in part] for part in parts])

    # -- reachability

    def starts(self) -> Diagram:
        return reduce(lambda a, b: a | b, (self.cube(dict(enumerate(s.state))) for s in self.ground.starts), self.false)

    def _groups(self) -> list[list[_Image]]:
        """Rows by the one CPU that they change; those that change more, or what is shared, are the last group."""
        groups: dict[int | None, list[Row]] = {}
        for row in self.ground.rows:
            owners = {self.ground.components[c].owner for c in (*row.assign, *(c for part in row.parts for _, then in part for c in then))}
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

    def closed(self) -> bool:
        """Whether the set found holds the starts and is left by no row."""
        outside = ~self.reached
        return not (self.starts() & outside).satisfiable() and not any((i.of(self.reached, self.conjunction) & outside).satisfiable() for i in self.images(self.ground.rows))

    def certify(self, result: EngineResult, *, seconds: float, memory: int) -> None:
        """Note for each proved property the set, as far as the property depends on it, if z3 shows that it is an invariant of the literal caches.

        Raises ``InternalError`` if z3 refutes that.
        """
        literal = unrolled(self.system)
        goals = [q.name for q in self.system.properties if q.name not in self.system.not_applicable and not q.liveness and result.verdict(q.name) == "proved"]
        sets = {goal: self.members([v.name for v in system_for(literal, frozenset({goal})).control]) for goal in goals}

        def show() -> dict[str, tuple[str, str] | None]:
            from tlbcheck.engines.obligations import SystemText, decide

            return {goal: decide(SystemText(literal, goal), states, seconds) for goal, states in sets.items()}

        try:
            shown = Child(show, seconds=seconds, memory=memory).result()
        except Unanswered as error:
            result.unshown = dict.fromkeys(goals, f"z3 {error}")
            return
        for goal, failed in shown.items():
            if failed is None:
                result.sets[goal] = sets[goal]
            elif failed[1] == "sat":
                raise InternalError(f"{self.system.model.name}, {goal}: the set of states found by engine sets is no invariant: z3 refutes obligation '{failed[0]}'")
            else:
                result.unshown[goal] = f"z3 does not decide obligation '{failed[0]}': {failed[1]}"

    def members(self, names: Collection[str]) -> StateSet:
        """The set found, seen through the variables ``names`` (of ``engines.unrolled``): what it says of others is left out."""
        components = self.ground.components
        place = {bit: (components[c].name, k) for c, bits in self.bits.items() for k, bit in enumerate(bits)}
        others = [self.manager.var(bit) for bit, (name, _) in place.items() if name not in names]
        seen = self.reached.exists(reduce(lambda a, b: a & b, others)) if others else self.reached
        known = {c.name: c.values for c in components} | {name: (value,) for name, value in self.ground.constants.items()}
        number: dict[Diagram, int] = {self.false: 0, self.true: 1}
        nodes: list[tuple[str, int, int, int]] = []
        waiting = [seen]
        while waiting:
            node = waiting[-1]
            below = node.cofactors() if node not in number else ()
            left = [n for n in below if n not in number]
            if left:
                waiting += left
                continue
            waiting.pop()
            if below:
                yes, no = below
                nodes.append((*place[node.node_var()], number[yes], number[no]))
                number[node] = len(nodes) + 1
        return StateSet(tuple((name, known[name]) for name in names), tuple(nodes), number[seen])

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
        rounds, wanted = self.layers[depth], depth + (bad.step is not None)
        at = next(i for i, r in enumerate(rounds) if (r & self.cube(bad.guard)).satisfiable())
        told = [self.state_of(rounds[at] & self.cube(bad.guard))]
        while depth or at:
            before = self._before(told[-1], [self.layers[depth][at - 1]] if at else self.layers[depth - 1], cost=0 if at else 1)
            told.append(before[0])
            depth, at = (depth, at - 1) if at else (depth - 1, before[1])
        trace = along(self.system, moves(self.ground, told[::-1], bad, lambda state: state))
        if trace.depth != wanted:
            raise InternalError(f"{self.system.model.name}, {bad.property}: the set-based engine finds a violation at depth {wanted} and tells a run of {trace.depth} steps")
        return Violation(bad.property, bad.clause, (), wanted, trace)

    def _before(self, state: State, rounds: Sequence[Diagram], *, cost: int) -> tuple[State, int]:
        """A state of the first of ``rounds`` that has one from which a row of that cost leads to ``state``; and which round."""
        for n, states in enumerate(rounds):
            for row in self._leading_to(state, cost):
                touched = {c for part in row.parts for when, then in part for c in (*when, *then)}
                free = {c: x for c, x in enumerate(state) if c not in row.assign and c not in touched}
                if any(free.get(c, x) != x for c, x in row.guard.items()):
                    continue
                mine = states & self.cube(free | row.guard)
                for part in row.parts:
                    mine &= reduce(lambda a, b: a | b, (self._came(state, row, when, then, part) for when, then in part))
                if mine.satisfiable():
                    return self.state_of(mine), n
        raise InternalError("the set-based engine cannot rebuild a run that it found")

    def _came(self, state: State, row: Row, when: Cube, then: Cube, part: Part) -> Diagram:
        """Where one case of a part of a row leads to what ``state`` has of its entry."""
        kept = {c: state[c] for other in part for cube in other for c in cube if c not in then and c not in row.assign}
        if any(state[c] != x for c, x in then.items()) or any(kept.get(c, x) != x for c, x in when.items()):
            return self.false
        return self.cube(kept | when)

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
            starts=frozenset(s.step for s in self.ground.starts),
        )


def _sorted(cube: Cube) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(cube.items()))
