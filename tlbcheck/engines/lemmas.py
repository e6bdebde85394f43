"""Invariants proposed by enumeration: clauses that hold in every state that the explicit engine visited.

From a bad state, and then from every state that steps out of what is claimed, a clause is made
that excludes it and no visited state, with as few literals as possible. Where no such state is
left, the clauses are inductive, which the SAT solver has then decided; nothing is taken on trust
from the explicit engine. If it had missed a state, the clauses that exclude it cannot be closed:
sooner or later a visited state steps out of them, which is an internal error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from tlbcheck.engines.circuit import SystemCircuit
from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Bits, Tracked
from tlbcheck.engines.pdr import MISSED, Cube, Relation, literal
from tlbcheck.errors import InternalError
from tlbcheck.system.equal_bits import lowest

MOST_BYTES = 1 << 29
"""What the masks of all visited states may take of memory."""


class Visited:
    """The states of a complete search as one mask for each literal of a circuit's latches.

    A group is a control state with values of the entry variables; the entries in it are
    neighbouring bits. With ``depth`` only states count that so many steps reach, and groups are
    apart by depth, shallow ones first. Raises ``TooMany`` where the masks would take more than ``MOST_BYTES``.
    """

    def __init__(self, search: Tracked, circuit: SystemCircuit, depth: int | None = None) -> None:
        compiled, place = search.compiled, circuit.place
        latches = circuit.circuit.latches
        entries = compiled.entries
        size = (len(entries) + 7) // 8
        control: dict[int, list[tuple[int, int]]] = {}
        own: dict[int, list[tuple[int, int]]] = {}
        fields = []
        for i, n in enumerate(latches):
            if n in place:
                name, position = place[n][0], lowest(place[n][1])
                if name in compiled.position:
                    control.setdefault(compiled.position[name], []).append((i, position))
                elif name in compiled.entry_variables:
                    own.setdefault(compiled.entry_variables.index(name), []).append((i, position))
                else:
                    fields.append((i, sum(1 << j for j, e in enumerate(entries) if e[name] >> position & 1)))
        most = MOST_BYTES // (size * 2 * len(latches))
        # At least two, so that it gives a tuple; a state without variables is one itself.
        values: Callable[[State], tuple[int, ...]] = itemgetter(*control, 0, 0) if compiled.variables else tuple
        groups: dict[tuple[int, tuple[int, ...], Bits], int] = {}
        ends = [0]
        for at, records in enumerate([_at_any_depth(search)] if depth is None else _by_depth(search, depth)):
            for state, bits, mask in records:
                key = (at, values(state), tuple([bits[j] for j in own]))
                groups[key] = groups.get(key, 0) | mask
            ends.append(len(groups))
            if len(groups) > most:
                raise TooMany
        self._within = [(1 << 8 * size * end) - 1 for end in ends]
        self.all = int.from_bytes(b"".join([m.to_bytes(size, "little") for m in groups.values()]), "little")
        self.masks: dict[int, int] = {}

        def note(latch: int, where: int) -> None:
            v = literal(circuit.circuit.latch(latch))
            self.masks[v] = self.all & where
            self.masks[-v] = self.all & ~where

        def column(numbers: Sequence[int], bit: int) -> int:
            """A mask of all entries of the groups whose number has the bit."""
            spread = bytearray(len(numbers) * size)
            spread[::size] = bytes([x >> bit & 1 for x in numbers])
            return int.from_bytes(spread, "little") * ((1 << 8 * size) - 1)

        states, contents = zip(*((s, b) for _, s, b in groups), strict=True)
        for variables, rows in ((control, states), (own, contents)):
            for positions, numbers in zip(variables.values(), zip(*rows, strict=True), strict=False):
                for i, bit in positions:
                    note(i, column(numbers, bit))
        for i, pattern in fields:
            note(i, int.from_bytes(pattern.to_bytes(size, "little") * len(groups), "little"))
        for i, n in enumerate(latches):
            if n not in place:
                # A run has started, and its property was not violated: that is what is visited.
                note(i, self.all if n == "started" else 0)

    def cut(self, cube: Iterable[int], order: Callable[[int], Any], transitions: int | None = None) -> Cube | None:
        """A part of ``cube`` that no visited state is in, least wanted literals first left out; None if one is.

        With ``transitions`` only states count that the circuit reaches with so many: the first one begins a run.
        """
        wanted = sorted(cube, key=order)
        rest = [self.all if transitions is None else self.all & self._within[min(transitions, len(self._within) - 1)]]
        for x in reversed(wanted):
            rest.append(rest[-1] & self.masks[x])
        rest.reverse()
        if rest[0]:
            return None
        kept, within = [], rest[-1]
        for i, x in enumerate(wanted):
            if within & rest[i + 1]:
                kept.append(x)
                within &= self.masks[x]
                if not within:
                    break
        return tuple(sorted(kept))


def _at_any_depth(search: Tracked) -> Iterable[tuple[State, Bits, int]]:
    return ((state, bits, mask) for state, known in search.reached.items() for bits, mask in known.items())


def _by_depth(search: Tracked, most: int) -> list[list[tuple[State, Bits, int]]]:
    layers: list[list[tuple[State, Bits, int]]] = [[] for _ in range(most + 1)]
    for state, records in search.history.items():
        for depth, bits, mask in records:
            if depth <= most:
                layers[depth].append((state, bits, mask))
    return layers


class TooMany(Exception):
    """There are more visited states than can be looked at."""


class Reachable(Exception):
    """A visited state, or a step from one, is bad: there is nothing to prove."""


class Outside:
    """Cuts cubes down to as few literals as keep them apart from what was visited, and remembers which were of use."""

    def __init__(self, relation: Relation, visited: Visited) -> None:
        self.relation, self.visited = relation, visited
        self._useful: dict[int, int] = {}

    def __call__(self, cube: Cube, transitions: int | None = None) -> Cube | None:
        """A part of ``cube`` that no visited state is in, as ``Visited.cut`` has it, and the circuit's first state neither."""
        started = self.relation.started
        # Literals that earlier clauses have are kept: that makes clauses alike, and few.
        small = self.visited.cut(cube, lambda x: (x == started, self._useful.get(x, 0)), transitions)
        if small is None:
            return None
        if not any(x > 0 for x in small):
            small = tuple(sorted((*small, started)))
        for x in small:
            self._useful[x] = self._useful.get(x, 0) + 1
        return small


def close(relation: Relation, visited: Visited, proposed: Iterable[Cube]) -> list[Cube]:
    """Cubes, ``proposed`` ones first, whose negations are inductive and exclude what is bad.

    Raises ``Reachable`` if a visited state is bad, or can take a bad step.
    """
    outside = Outside(relation, visited)
    cubes = list(proposed)
    for cube in cubes:
        relation.exclude(cube)
    todo = deque(cubes)

    def exclude(target: list[int]) -> bool:
        state, inputs = relation.found()
        small = outside(relation.lift(state, inputs, target))
        if small is None:
            return False
        cubes.append(small)
        todo.append(small)
        relation.exclude(small)
        return True

    while relation.ask(relation.bad):
        if not exclude([relation.bad]):
            raise Reachable
    while todo:
        cube = todo.popleft()
        after = relation.primed(cube)
        while relation.ask(*after):
            if not exclude(after):
                if relation.hit in cube:
                    raise Reachable  # the step violates the property
                raise InternalError(MISSED)
    return cubes


def needed(relation: Relation, cubes: Iterable[Cube]) -> list[Cube]:
    """The cubes that the proof rests on, by the solver's reasons: what excludes the bad states, and what keeps that inductive."""
    solver = relation.fresh_solver()
    selector = {relation.fresh(): c for c in cubes}
    for s, cube in selector.items():
        solver.add_clause([-s, *(-x for x in cube)])
    kept: dict[int, None] = {}
    todo: deque[list[int]] = deque([[relation.bad]])
    try:
        while todo:
            target = todo.popleft()
            if not solver.solve([*kept, *target]):
                continue
            if solver.solve([*kept, *(s for s in selector if s not in kept), *target]):
                raise InternalError("clauses that were inductive are not any more")
            for s in solver.get_core() or ():
                if s in selector and s not in kept:
                    kept[s] = None
                    todo.append(relation.primed(selector[s]))
    finally:
        solver.delete()
    return [cube for s, cube in selector.items() if s in kept]


def within(relation: Relation, cubes: Iterable[Cube]) -> list[Cube]:
    """Those cubes that say nothing of latches outside the relation."""
    mine = set(relation.now)
    return [c for c in cubes if all(abs(x) in mine for x in c)]
