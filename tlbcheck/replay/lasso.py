"""Replaying a run that goes on for ever: its loop closes, is fair, and the condition holds all along.

By the procedures' own configurations, without caches where no operation goes through one (CACHE-6): then control does not
depend on them, and what is cached need not be the same each time round.
"""

from __future__ import annotations

from dataclasses import replace

from tlbcheck.lang.expr import Expr, variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.program import Do, walk
from tlbcheck.replay.check import ReplayError, Story, Told, compare
from tlbcheck.replay.interpreter import Blocked, Scope, WrongChoice, arrival, value_of
from tlbcheck.replay.recheck import Machine, Move, after_move, moves, start_machine


def replay_lasso(model: Model, judged: Property, story: Story, pending: Expr, loop: int) -> None:
    """Run ``story`` and confirm that from step ``loop`` on ``pending``, a clause of ``judged``, holds for some CPU, for ever, in a fair run.

    Raises ``ReplayError``.
    """
    if not any(isinstance(s, Do) and s.operation.uses is not None for procedure in model.reachable() for s in walk(procedure.body)):
        model = replace(model, cache=None)
    try:
        machine = start_machine(model, [_noting(judged, pending)], story.case, story.start_choices)
    except (Blocked, WrongChoice, KeyError) as error:
        raise ReplayError(f"the start is not possible: {error}") from None
    compare(machine, story.initial, "at the start")
    passed: list[Machine] = []
    taken: list[Move] = []
    once = len(story.steps)
    # The second time round, what the start left behind is gone too.
    for i, told in enumerate([*story.steps, *story.steps[loop:]]):
        passed.append(machine)
        move, machine = _step(machine, told, i)
        taken.append(move)
    passed.append(machine)
    if machine.key() != passed[once].key():
        raise ReplayError(f"after the last step the run is not where it was before step {loop + 1}")
    going_on = passed[once:]
    copies = list(machine.copies(pending))
    if not any(all(value_of(pending, Scope(m, cpu, level, args=args)) for m in going_on) for cpu in range(model.cpus) for level, args in copies):
        raise ReplayError("what is said to hold for ever does not")
    met = {_demand(model, move) for move in taken[once:]}
    for move in moves_of(model):
        demand = _demand(model, move)
        if demand in met or not demand:
            continue
        possible = [any(True for m in moves(machine) if _demand(model, m) == demand for _ in after_move(machine, m)) for machine in going_on]
        if any(possible) if move[3] is not None else all(possible):
            raise ReplayError(f"the run is not fair: {demand} could go on and never does")


def _noting(judged: Property, pending: Expr) -> Property:
    """``judged`` with those ghosts alone that ``pending`` depends on: what else it notes need not come round with the run."""
    asked, known = set(variables(pending)), -1
    while known < len(asked):
        known = len(asked)
        asked |= {n for rule in judged.rules for ghost, value in rule.updates if ghost.name in asked for n in variables(value)}
    rules = [replace(rule, updates=tuple((g, e) for g, e in rule.updates if g.name in asked), bad=()) for rule in judged.rules]
    return replace(judged, ghosts=[g for g in judged.ghosts if g.name in asked], rules=[rule for rule in rules if rule.updates], invariants=[])


def _step(machine: Machine, told: Told, i: int) -> tuple[Move, Machine]:
    """The move that is told, and what it leads to."""
    for move in moves(machine):
        cpu, level, action, interrupt = move
        arriving = arrival(machine.model, interrupt) if interrupt is not None else ""
        if (cpu, level or "environment") == (told.cpu, told.level) and (arriving or action or told.action) == told.action:
            for after in after_move(machine, move, told.choices):
                if all(after.memory.get(n, v) == v for n, v in told.after.items()):
                    return move, after
    raise ReplayError(f"step {i + 1} ({told.action}) is not possible")


def moves_of(model: Model) -> list[Move]:
    """Everything that fairness asks for, whether it is possible now or not."""
    software: list[Move] = [(c, "task", "", None) for c in range(model.cpus)]
    return software + [(c, i.level, "", i) for c in range(model.cpus) for i in model.interrupts]


def _demand(model: Model, move: Move) -> str:
    cpu, _, _, interrupt = move
    if cpu is None or (interrupt is not None and interrupt.flag is None):
        return ""
    return f"CPU{cpu}" + (f"'s {arrival(model, interrupt)}" if interrupt is not None else "")
