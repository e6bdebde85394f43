"""The engine ``pdr``: for each property an inductive invariant, or a shortest run that violates it.

Where a complete enumeration is at hand it proposes the clauses of an invariant (``lemmas``), which
makes the difference between minutes and a fraction of a second; what is left is decided by
property-directed reachability. An invariant counts only when z3 has shown the three obligations
(``obligations``), which are written from the transition system anew.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence

from tlbcheck.engines.circuit import RANGE, SystemCircuit
from tlbcheck.engines.encoding import bits_of
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.invariant import Never
from tlbcheck.engines.lemmas import Outside, Reachable, TooMany, Visited, close, needed, within
from tlbcheck.engines.obligations import SystemText, decide
from tlbcheck.engines.pdr import Cube, Pdr, Relation
from tlbcheck.engines.trace import EngineResult, State, Trace, TraceStep, Violation, check_failed, clause_of, start_of
from tlbcheck.errors import InternalError
from tlbcheck.lang.types import IntType, Type
from tlbcheck.system.equal_bits import lowest
from tlbcheck.system.known_bits import width
from tlbcheck.system.transition_system import TransitionSystem

NAME = "pdr"


def unbounded(system: TransitionSystem, search: Tracked | None, seconds: float) -> EngineResult:
    """Decide every property of ``system``; ``search`` is a finished enumeration of it, if there is one."""
    began = time.perf_counter()
    until = began + seconds
    result = EngineResult(NAME, complete=True, bound=0)
    circuit = SystemCircuit(system)
    relations = {g: Relation(circuit.circuit, g) for g in circuit.goals}
    visited = visited_states(search, circuit)
    known: list[Cube] = []
    in_range: list[Cube] = []
    left = []
    # That assignments stay in range is a part of what has to be shown for every property, so it comes first.
    for goal in sorted(relations, key=lambda g: (g != RANGE, len(relations[g].latches), g)):
        try:
            if visited is None:
                raise Reachable
            known = close(relations[goal], visited, within(relations[goal], known))
        except Reachable:
            left.append(goal)
        else:
            cubes = needed(relations[goal], known)
            in_range = cubes if goal == RANGE else in_range
            prove(result, system, circuit, goal, [*cubes, *in_range], until)
    depths = {name: found[0] for (name, _, _), found in sorted(search.found.items(), key=lambda f: -f[1][0])} if search is not None else {}
    left.sort(key=lambda g: depths.get(g, 0))  # what is learnt of the frames serves deeper goals too
    # What is left is violated, if the enumeration is right: that it is, and no earlier, is shown with its layers for frames.
    layers = visited_states(search, circuit, max((depths.get(g, 0) for g in left), default=0)) if left else None
    frames: Sequence[Iterable[Cube]] = ()
    for goal in left:
        relation = Relation(circuit.circuit, goal)
        # What was closed for the last goal is never left by any run, whatever the goal.
        pdr = Pdr(relation, within(relation, known), None if layers is None else Outside(relation, layers), [within(relation, f) for f in frames])
        outcome = pdr.run(until)
        frames = pdr.frames if layers is not None else ()  # a frame of another goal is none to find an invariant with
        if outcome is None:
            longer = len(pdr.frames) - 2
            result.undecided[goal] = f"neither an invariant nor a run found in {seconds:g} s" + (f", only that a run needs {longer} steps or more" if longer > 0 else "")
        elif outcome.run is not None:
            refute(result, circuit, goal, outcome.run)
        else:
            cubes = list(outcome.never or [])
            in_range = cubes if goal == RANGE else in_range
            prove(result, system, circuit, goal, [*cubes, *in_range], until)
    if RANGE in result.undecided:
        result.reason = result.undecided.pop(RANGE)
    result.seconds = time.perf_counter() - began
    return result


def visited_states(search: Tracked | None, circuit: SystemCircuit, depth: int | None = None) -> Visited | None:
    """What a finished enumeration visited, up to ``depth`` if one is given; None if there is none, or it is too much."""
    if search is None or not search.finished or not search.reached:
        return None
    try:
        return Visited(search, circuit, depth)
    except TooMany:
        return None


def prove(result: EngineResult, system: TransitionSystem, circuit: SystemCircuit, goal: str, cubes: Iterable[Cube], until: float) -> None:
    """Note the invariant if z3 shows that it is one. Raises ``InternalError`` if z3 refutes it."""
    if goal == RANGE:
        return  # each property's obligations include it
    text = SystemText(system, goal)
    invariant = text.invariant(never_of(circuit, cubes))
    failed = decide(text, invariant, max(1.0, until - time.perf_counter()))
    if failed is None:
        result.invariants[goal] = invariant
    elif failed[1] == "sat":
        raise InternalError(f"{system.model.name}, {goal}: what engine {result.engine} takes for an invariant is none: z3 refutes obligation '{failed[0]}'")
    else:
        result.undecided[goal] = f"z3 does not decide obligation '{failed[0]}' of the invariant: {failed[1]}"


def never_of(circuit: SystemCircuit, cubes: Iterable[Cube]) -> tuple[Never, ...]:
    """Cubes over latches in terms of the variables of a run that has begun and was not bad yet."""
    first = 1 + len(circuit.circuit.inputs)
    found: dict[Never, None] = {}
    for cube in cubes:
        said = []
        for x in cube:
            latch = circuit.circuit.latches[abs(x) - 1 - first]
            at = circuit.place.get(latch)
            if at is not None:
                said.append((at[0], lowest(at[1]), int(x > 0)))
            elif (x > 0) is not (latch == "started"):
                break  # holds of no such state
        else:
            found[tuple(said)] = None
    return tuple(sorted(found))


def refute(result: EngineResult, circuit: SystemCircuit, goal: str, run: Sequence[Sequence[int]]) -> None:
    """Note the violation that a run given by its inputs leads to. Raises ``InternalError`` if it does not."""
    trace = trace_of(circuit, circuit_run(circuit, goal, run))
    if goal == RANGE:
        raise check_failed(trace.steps[-1].step.checks[0])
    result.violations.append(Violation(goal, clause_of(circuit.system, goal, trace), (), trace.depth, trace))


def circuit_run(circuit: SystemCircuit, goal: str, run: Sequence[Sequence[int]]) -> list[tuple[list[int], list[int]]]:
    """Latches before and inputs of each transition, then the latches at the end; by the circuit alone."""
    c = circuit.circuit
    latches = [0] * len(c.latches)
    made = []
    for inputs in run:
        chosen = {abs(x) - 1: int(x > 0) for x in inputs}
        taken = [chosen.get(1 + i, 0) for i in range(len(c.inputs))]
        made.append((latches, taken))
        values = c.values(latches, taken)
        latches = [values[x >> 1] ^ x & 1 for x in c.following]
    made.append((latches, []))
    values = c.values(latches, [0] * len(c.inputs))
    if not values[c.bads[goal] >> 1] ^ c.bads[goal] & 1:
        raise InternalError(f"the run that a solver found for {goal} does not violate it")
    return made


def trace_of(circuit: SystemCircuit, run: Sequence[tuple[list[int], list[int]]]) -> Trace:
    """A run of the circuit in terms of the transition system."""
    c, e, system = circuit.circuit, circuit.encoding, circuit.system

    def state(latches: Sequence[int]) -> tuple[State, dict[str, int]]:
        values = {v.name: e.known(v).ones & ~e.known(v).varying for v in (*e.variables, *system.entry_fields)}
        for n, bit in zip(c.latches, latches, strict=True):
            if n in circuit.place and bit:
                name, mask = circuit.place[n]
                values[name] |= mask
        for v in (*e.variables, *system.entry_fields):
            values[v.name] = _signed(values[v.name], v.type)
        return State({v.name: values[v.name] for v in system.control}, {v.name: values[v.name] for v in system.entry_variables}), {v.name: values[v.name] for v in system.entry_fields}

    initial, tracked = state(run[1][0])
    steps = []
    for (_, inputs), (after, _) in itertools.pairwise(run[1:]):
        given = dict(zip(c.inputs, inputs, strict=True))
        step = system.steps[sum(given[b.decl().name()] << i for i, b in enumerate(bits_of(e.act)))]
        choices = {q.name: _signed(sum(given[b.decl().name()] << i for i, b in enumerate(bits_of(e.parameter(q)))), q.type) for q in step.parameters}
        steps.append(TraceStep(step, choices, state(after)[0]))
    start, choices = start_of(system, initial)
    return Trace(start, choices, initial, tracked, tuple(steps))


def _signed(bits: int, type_: Type) -> int:
    """The number that the bits of a variable stand for."""
    negative = isinstance(type_, IntType) and type_.low < 0 and bits >> width(type_) - 1
    return bits - (1 << width(type_)) if negative else bits
