"""From the steps that an engine took to the trace that people and replay read.

The engines of the literal caches follow every entry at once; a trace follows the one that the
violation speaks of, with saturated fills, as the tracked engine tells it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.engines.ground import BadCube, Ground, after, enabled
from tlbcheck.engines.trace import State, Trace, TraceStep
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import evaluate
from tlbcheck.system.transition_system import Step, TransitionSystem


@dataclass(frozen=True)
class Move:
    """One step with its choices; of the start, the first of all, ``values`` give what is rigid.

    ``entry`` of the last one is what is violated by; its ``step`` is None if no step is.
    """

    step: int | None
    chosen: tuple[int, ...]
    values: Mapping[str, int]
    entry: Mapping[str, int] = field(default_factory=dict)


def moves(ground: Ground, told: Sequence[Hashable], bad: BadCube, key: Callable[[tuple[int, ...]], Hashable]) -> list[Move]:
    """A run of the ground system whose states have the keys ``told``, and that ends in what ``bad`` says.

    A key may stand for an orbit of states: then the run goes from each state by any row into the
    next orbit, and ends in some cube of the same clause.
    """
    start, state = next((s, state) for s in ground.starts if key(state := ground.closed(s.state)) == told[0])
    made = [Move(start.step, start.chosen, ground.values(state))]
    # What a cache does by itself comes first: a step may lead to the same state, and would count.
    rows = sorted(ground.rows, key=lambda row: row.step is not None)
    for wanted in told[1:]:
        for row in rows:
            if enabled(row.guard, state) and key(reached := ground.closed(after(row, state))) == wanted:
                state = reached
                if row.step is not None:
                    made.append(Move(row.step, row.chosen, ground.values(state)))
                break
        else:
            raise InternalError("a run that an engine found cannot be followed")
    kind = (bad.property, bad.clause, bad.step is None)
    mine = next(b for b in ground.bads if (b.property, b.clause, b.step is None) == kind and enabled(b.guard, state))
    return [*made, Move(mine.step, mine.chosen, ground.values(state), ground.entries[mine.entry] if mine.entry is not None else {})]


def along(system: TransitionSystem, moves: Sequence[Move]) -> Trace:
    """The trace of a run from its start through ``moves``."""
    # Where entries depend on each other one alone cannot be followed; replay then takes all of them.
    first, entry = moves[0], {} if system.meeting else dict(moves[-1].entry)
    start = system.initial[first.step or 0]
    chosen = _named(start, first.chosen)
    control = _started(system, start, chosen, first.values)
    # Without an entry there is nothing that its variables are about.
    own = {v.name: int(evaluate(system.entry_start(v, cached=True), control | entry)) if entry else v.initial for v in system.entry_variables}
    state = saturated(system, control, own, entry)
    trace = [state]
    steps = []
    for move in moves[1:]:
        if move.step is None:
            continue
        step, before = system.steps[move.step], trace[-1]
        choices = _named(step, move.chosen)
        scope = {**before.control, **before.entry, **entry, **choices}
        moved = {**before.entry, **{n: int(evaluate(e, scope)) for n, e in step.entry_updates.items() if entry and n in before.entry}}
        trace.append(saturated(system, advanced(step, before.control, choices), moved, entry))
        steps.append(TraceStep(step, choices, trace[-1]))
    return Trace(start, chosen, trace[0], entry, tuple(steps))


def _started(system: TransitionSystem, start: Step, chosen: Mapping[str, int], values: Mapping[str, int]) -> dict[str, int]:
    """The first state: ``values`` are known, and what no later step reads is as the start needs it."""
    rigid = [v for v in system.control if v.name in system.rigid]
    domains = [(values[v.name],) if v.name in values else v.domain or v.type.values() for v in rigid]
    fixed = {v.name: v.initial for v in system.control}
    for given in itertools.product(*domains):
        control = fixed | {v.name: x for v, x in zip(rigid, given, strict=True)}
        if evaluate(start.guard, {**control, **chosen}):
            after = advanced(start, control, chosen)
            if all(after[n] == x for n, x in values.items() if n in after):
                return after
    raise InternalError("a run that an engine found has no start")


def _named(step: Step, chosen: Sequence[int]) -> dict[str, int]:
    return dict(zip((q.name for q in step.parameters), chosen, strict=True))


def advanced(step: Step, control: Mapping[str, int], choices: Mapping[str, int]) -> dict[str, int]:
    """The control variables after a step with these choices."""
    scope = {**control, **choices}
    return {**control, **{n: int(evaluate(e, scope)) for n, e in step.updates.items() if n in control}}


def saturated(system: TransitionSystem, control: Mapping[str, int], bits: Mapping[str, int], entry: Mapping[str, int]) -> State:
    """The state with what walks add to the one entry; none is followed without fields."""
    now = dict(bits)
    for fill in system.fills if entry else ():
        scope = {**control, **now, **entry}
        if evaluate(fill.when, scope):
            now |= {n: int(evaluate(e, scope)) for n, e in fill.updates.items() if n in now}
    return State(control, now)
