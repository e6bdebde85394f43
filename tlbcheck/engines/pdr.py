"""Property-directed reachability (IC3) on a circuit: proves without a bound, and refutes.

The frames F_0 (the initial state), F_1, ... over-approximate what is reachable in at most so many
transitions: F_i is the conjunction of the clauses learnt at level i and above. Obligations are not
carried to higher levels, so that a counterexample found with N frames has N transitions, and no
shorter one exists. (Bradley, "SAT-based model checking without unrolling", 2011.)

The SAT solver is trusted in nothing that is reported: an invariant goes through the certificate's
obligations (by z3, over whole words), a counterexample through the circuit itself and through replay.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pysat.solvers import Solver

from tlbcheck.engines.circuit import Circuit
from tlbcheck.errors import InternalError

MISSED = "a state that the explicit engine visited has a successor that it did not visit"
Cube = tuple[int, ...]
"""Literals of the SAT solver over latches, positive where the latch is 1; a learnt clause is the negation of one."""

_SOLVER = "minisat22"
_PATIENCE = 12
"""How many literals may in vain be tried to be dropped from one cube."""


def literal(x: int) -> int:
    """The SAT solver's literal for one of the circuit's."""
    v = (x >> 1) + 1
    return -v if x & 1 else v


def clauses_of(circuit: Circuit, roots: Iterable[int]) -> list[list[int]]:
    """Clauses that define the gates below ``roots``; a tree of gates that are used once is one gate."""
    first = circuit.first_gate
    made = [[-literal(0)]]
    stack = [r >> 1 for r in roots]
    uses = dict.fromkeys(stack, 2)
    wanted: set[int] = set()
    while stack:
        n = stack.pop()
        if n in wanted or n < first:
            continue
        wanted.add(n)
        for x in circuit.gates[n - first]:
            # A tree goes on through what is used once and not negated.
            uses[x >> 1] = uses.get(x >> 1, 0) + (2 if x & 1 else 1)
            stack.append(x >> 1)
    for n in sorted(wanted):
        if uses[n] == 1:
            continue
        leaves: list[int] = []
        inside = [n]
        while inside:
            for x in circuit.gates[inside.pop() - first]:
                if not x & 1 and x >> 1 in wanted and uses[x >> 1] == 1:
                    inside.append(x >> 1)
                else:
                    leaves.append(literal(x))
        made += [[-literal(2 * n), x] for x in leaves]
        made.append([literal(2 * n), *(-x for x in leaves)])
    return made


class Relation:
    """The transition relation of the part of a circuit that one goal depends on, in a SAT solver."""

    def __init__(self, circuit: Circuit, goal: str) -> None:
        self.circuit = circuit
        first = 1 + len(circuit.inputs)
        cone = circuit.cone([circuit.bads[goal], circuit.following[0]])
        self.latches = [i for i in range(len(circuit.latches)) if first + i in cone]
        self.now = [literal(circuit.latch(i)) for i in self.latches]
        self.started = self.now[0]
        self.hit = literal(circuit.latch(circuit.latches.index(f"hit:{goal}")))
        self.inputs = [literal(circuit.input(i)) for i in range(len(circuit.inputs)) if 1 + i in cone]
        self.following = dict(zip(self.now, (literal(circuit.following[i]) for i in self.latches), strict=True))
        self.bad = literal(circuit.bads[goal])
        self.clauses = clauses_of(circuit, [circuit.bads[goal], *(circuit.following[i] for i in self.latches)])
        self.top = 2 + circuit.first_gate + len(circuit.gates)
        self.solver = self.fresh_solver()
        self.lifter = self.fresh_solver()
        self.queries = 0

    def fresh_solver(self) -> Any:
        return Solver(name=_SOLVER, bootstrap_with=self.clauses)

    def close(self) -> None:
        self.solver.delete()
        self.lifter.delete()

    def fresh(self) -> int:
        """A variable that nothing uses yet."""
        self.top += 1
        return self.top

    def ask(self, *assumptions: int) -> bool:
        self.queries += 1
        return bool(self.solver.solve(assumptions))

    def exclude(self, cube: Cube, *unless: int) -> None:
        self.solver.add_clause([*unless, *(-x for x in cube)])

    def primed(self, cube: Iterable[int]) -> list[int]:
        """The cube in the state after the transition."""
        return [self.following[x] if x > 0 else -self.following[-x] for x in cube]

    def found(self) -> tuple[list[int], list[int]]:
        """State and inputs of the last answer."""
        model = self.solver.get_model()
        return [model[v - 1] for v in self.now], [model[v - 1] for v in self.inputs]

    def lift(self, state: list[int], inputs: list[int], target: list[int]) -> Cube:
        """A cube around ``state`` all of which gets to ``target`` with the same inputs."""
        self.queries += 1
        off = self.fresh()
        self.lifter.add_clause([-off, *(-t for t in target)])
        if self.lifter.solve([*inputs, off, *state]):
            raise InternalError("in the circuit a state and inputs do not determine what follows")
        core = set(self.lifter.get_core() or ())
        self.lifter.add_clause([-off])
        return tuple(x for x in state if x in core)


@dataclass
class Outcome:
    """Either ``run``, the inputs of each transition to a violation, or ``never``, an inductive invariant."""

    run: list[list[int]] | None = None
    never: list[Cube] | None = None
    frames: int = 0


class Pdr:
    """See the module. ``lemmas`` are cubes known to be unreachable, ``earlier`` what was learnt of each frame for another goal.

    ``outside`` may say of a cube which part of it is not reached in so many transitions: what it
    says is checked like any other obligation, and spares the search for what to generalise to.
    """

    def __init__(self, relation: Relation, lemmas: Iterable[Cube] = (), outside: Callable[[Cube, int], Cube | None] | None = None, earlier: Sequence[Iterable[Cube]] = ()) -> None:
        self.relation = relation
        self.outside, self.earlier = outside, earlier
        self.activation: list[int] = []
        self.frames: list[set[Cube]] = []
        self.lemmas = list(lemmas)
        self.activity: dict[int, int] = {}
        self._new_frame()
        for v in relation.now:
            relation.exclude((v,), -self.activation[0])
        for cube in self.lemmas:
            relation.exclude(cube)
        self._new_frame()

    def run(self, until: float) -> Outcome | None:
        """Decide the goal; None if it is still open at the time ``until`` (``time.perf_counter``)."""
        r = self.relation
        while True:
            top = len(self.frames) - 1
            while self._ask(top, [r.bad]):
                state, inputs = r.found()
                run = self._block(r.lift(state, inputs, [r.bad]), top, until)
                if run is not None:
                    return Outcome(run, None, top)
                if time.perf_counter() > until:
                    return None
            self._new_frame()
            if self._propagate():
                return Outcome(None, self.lemmas, top)

    def _new_frame(self) -> None:
        self.activation.append(self.relation.fresh())
        level = len(self.frames)
        self.frames.append(set())
        for cube in self.earlier[level] if level < len(self.earlier) else ():
            self._learn(cube, level)

    def _ask(self, level: int, assumptions: Sequence[int]) -> bool:
        return self.relation.ask(*self.activation[level:], *assumptions)

    def _blocked(self, level: int, cube: Cube) -> Cube | None:
        """What is needed of ``cube`` for F_level, outside of it, not to step into it; None if it can."""
        if self._reaches(level, cube):
            return None
        return self._needed(cube)

    def _reaches(self, level: int, cube: Cube) -> bool:
        off = self.relation.fresh()
        self.relation.exclude(cube, -off)
        found = self._ask(level, [off, *self.relation.primed(cube)])
        self._answer = self.relation.found() if found else None
        self._core = set() if found else set(self.relation.solver.get_core() or ())
        self.relation.solver.add_clause([-off])
        return found

    def _needed(self, cube: Cube) -> Cube:
        kept = tuple(x for x, p in zip(cube, self.relation.primed(cube), strict=True) if p in self._core)
        # The initial state has every latch 0: a cube is apart from it by a latch that is 1.
        return kept if any(x > 0 for x in kept) else tuple(sorted((*kept, max(cube))))

    def _generalise(self, level: int, cube: Cube) -> Cube:
        """Drop literals, as long as what is left is still unreachable, relative to F_level."""
        in_vain = 0
        for x in sorted(cube, key=lambda x: self.activity.get(x, 0)):
            smaller = tuple(y for y in cube if y != x)
            if len(smaller) == len(cube) or not any(y > 0 for y in smaller):
                continue
            needed = self._blocked(level, smaller)
            if needed is not None:
                cube = needed
            else:
                in_vain += 1
                if in_vain > _PATIENCE:
                    break
        for x in cube:
            self.activity[x] = self.activity.get(x, 0) + 1
        return cube

    def _learn(self, cube: Cube, level: int) -> None:
        mine = set(cube)
        for i in range(1, level + 1):
            self.frames[i] = {c for c in self.frames[i] if not mine.issubset(c)}
        self.frames[level].add(cube)
        self.relation.exclude(cube, -self.activation[level])

    def _block(self, cube: Cube, level: int, until: float) -> list[list[int]] | None:
        """Show that ``cube`` is unreachable in ``level`` transitions; or the inputs of a run that reaches it.

        Raises ``InternalError`` if a run reaches what is said to be ``outside``.
        """
        count = 0
        heap: list[tuple[int, int, Cube, Any, bool]] = [(level, count, cube, None, False)]
        while heap and time.perf_counter() <= until:
            at, _, cube, then, said = heap[0]
            if at == 0:
                if said:
                    raise InternalError(MISSED)
                run = []
                while then is not None:
                    inputs, then = then
                    run.append(inputs)
                return run
            if self._known(cube, at):
                heapq.heappop(heap)
                continue
            part = self.outside(cube, at) if self.outside is not None and self.relation.hit not in cube else None
            if part is not None:
                cube, said = part, True
            if self._reaches(at - 1, cube):
                assert self._answer is not None
                state, inputs = self._answer
                before = tuple(state) if at == 1 else self.relation.lift(state, inputs, self.relation.primed(cube))
                count += 1
                heapq.heappush(heap, (at - 1, count, before, (inputs, then), said))
                continue
            heapq.heappop(heap)
            smaller = self._needed(cube) if part is not None else self._generalise(at - 1, self._needed(cube))
            while at < len(self.frames) - 1 and not self._reaches(at, smaller):
                at += 1
            self._learn(smaller, at)
        return None

    def _known(self, cube: Cube, level: int) -> bool:
        mine = set(cube)
        return any(mine.issuperset(c) for f in self.frames[level:] for c in f)

    def _propagate(self) -> bool:
        """Move clauses up as far as they hold; true if a frame is equal to the next, which is then inductive."""
        for i in range(1, len(self.frames) - 1):
            for cube in sorted(self.frames[i]):
                if cube in self.frames[i] and not self._ask(i, self.relation.primed(cube)):
                    self._learn(cube, i + 1)
                    self.frames[i].discard(cube)
            if not self.frames[i]:
                self.lemmas += sorted(c for f in self.frames[i + 1 :] for c in f)
                return True
        return False
