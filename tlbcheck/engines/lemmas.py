"""Invariants proposed by enumeration: clauses that hold in every state that the explicit engine visited.

From a bad state, and then from every state that steps out of what is claimed, a clause is made
that excludes it and no visited state, with as few literals as possible. Where no such state is
left, the clauses are inductive, which the SAT solver has then decided; nothing is taken on trust
from the explicit engine. If it had missed a state, the clauses that exclude it cannot be closed:
sooner or later a visited state steps out of them, which is an internal error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from tlbcheck.engines.circuit import SystemCircuit
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.pdr import Cube, Relation, literal
from tlbcheck.errors import InternalError

MOST_GROUPS = 200_000
"""Groups of visited states that are looked at; above, masks of all states cost too much memory."""


class Visited:
    """The states of a complete search as one mask for each literal of a circuit's latches.

    A group is a control state with values of the entry variables; the entries in it are
    neighbouring bits.
    """

    def __init__(self, search: Tracked, circuit: SystemCircuit) -> None:
        compiled, place = search.compiled, circuit.place
        latches = circuit.circuit.latches
        entries = compiled.entries
        size = (len(entries) + 7) // 8
        control = [(i, compiled.position[place[n][0]], place[n][1]) for i, n in enumerate(latches) if n in place and place[n][0] in compiled.position]
        own = [(i, compiled.entry_variables.index(place[n][0])) for i, n in enumerate(latches) if n in place and place[n][0] in compiled.entry_variables]
        fields = [
            (i, sum(1 << j for j, e in enumerate(entries) if e[place[n][0]] >> place[n][1] & 1))
            for i, n in enumerate(latches)
            if n in place and place[n][0] not in compiled.position and place[n][0] not in compiled.entry_variables
        ]
        groups: dict[tuple[int, ...], int] = {}
        for state, known in search.reached.items():
            key = tuple([state[p] >> b & 1 for _, p, b in control])
            for bits, mask in known.items():
                whole = (*key, *[bits[j] for _, j in own])
                groups[whole] = groups.get(whole, 0) | mask
        self.all = int.from_bytes(b"".join([m.to_bytes(size, "little") for m in groups.values()]), "little")
        none, full = bytes(size), b"\xff" * size
        self.masks: dict[int, int] = {}

        def note(latch: int, where: int) -> None:
            v = literal(circuit.circuit.latch(latch))
            self.masks[v] = self.all & where
            self.masks[-v] = self.all & ~where

        for column, i in enumerate([i for i, *_ in (*control, *own)]):
            note(i, int.from_bytes(b"".join([full if g[column] else none for g in groups]), "little"))
        for i, pattern in fields:
            note(i, int.from_bytes(pattern.to_bytes(size, "little") * len(groups), "little"))
        for i, n in enumerate(latches):
            if n not in place:
                # A run has started, and its property was not violated: that is what is visited.
                note(i, self.all if n == "started" else 0)

    def cut(self, cube: Iterable[int], order: Callable[[int], object]) -> Cube | None:
        """A part of ``cube`` that no visited state is in, least wanted literals first left out; None if one is."""
        wanted = sorted(cube, key=order)  # type: ignore[arg-type]
        rest = [self.all]
        for x in reversed(wanted):
            rest.append(rest[-1] & self.masks[x])
        rest.reverse()
        if rest[0]:
            return None
        kept, within = [], self.all
        for i, x in enumerate(wanted):
            if within & rest[i + 1]:
                kept.append(x)
                within &= self.masks[x]
                if not within:
                    break
        return tuple(sorted(kept))


class Reachable(Exception):
    """A visited state, or a step from one, is bad: there is nothing to prove."""


def close(relation: Relation, visited: Visited, proposed: Iterable[Cube]) -> list[Cube]:
    """Cubes, ``proposed`` ones first, whose negations are inductive and exclude what is bad.

    Raises ``Reachable`` if a visited state is bad, or can take a bad step.
    """
    useful: dict[int, int] = {}
    cubes = list(proposed)
    for cube in cubes:
        relation.exclude(cube)
    todo = deque(cubes)

    def exclude(target: list[int]) -> bool:
        state, inputs = relation.found()
        # Literals that earlier clauses have are kept: that makes clauses alike, and few.
        small = visited.cut(relation.lift(state, inputs, target), lambda x: (x == relation.started, useful.get(x, 0)))
        if small is None:
            return False
        if not any(x > 0 for x in small):
            small = tuple(sorted((*small, relation.started)))
        for x in small:
            useful[x] = useful.get(x, 0) + 1
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
                raise InternalError("a state that the explicit engine visited has a successor that it did not visit")
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
