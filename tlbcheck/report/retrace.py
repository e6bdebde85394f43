"""A saved violation as the run that it tells of: its steps and choices are followed through the transition system again.

What a result says of a run is all made of the run (``report.result.Teller``). So a saved violation is believed where
its own choices, followed again, give the same words; and whatever else its file says in their place is refused.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlbcheck.engines.path import advanced, saturated
from tlbcheck.engines.trace import State, Trace, TraceStep, Violation
from tlbcheck.lang.expr import evaluate
from tlbcheck.replay.check import ReplayError
from tlbcheck.report.result import Teller
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import Step, TransitionSystem

_FOLLOWED = 2_000
"""Ways to take the told steps that are tried at most: more than one fits only where steps look alike."""


def followed(systems: Sequence[TransitionSystem], property_name: str, said: Mapping[str, Any]) -> tuple[TransitionSystem, Violation, Any]:
    """The run that ``said`` (one of ``violations`` in JSON) tells of, in the system in which it can be told so, and all that is to be said of it.

    ``systems``: those in which engines may have found it. Raises ``ReplayError`` at the first field that says something else than the run.
    """
    differing = ""
    # Where only verdicts were wanted, what none depends on was cut away.
    for system in (*systems, *map(slice_system, systems)):
        for trace in itertools.islice(_traces(system, said), _FOLLOWED):
            for case in _cases(system, trace):
                violation = Violation(property_name, said["clause"], case, trace.depth, trace)
                again = json.loads(json.dumps(Teller(system).violation(violation)))
                found = difference(again, {**said, "blame": None, "tried": ""})
                if not found:
                    return system, violation, again
                differing = differing or found
    raise ReplayError(differing or "its steps cannot be taken one after the other")


def difference(run: Any, said: Any, where: str = "") -> str:
    """The first place at which two JSON values differ, in words; empty if none. ``run``: what was computed again."""
    if isinstance(run, dict) and isinstance(said, dict):
        for name in [*run, *(n for n in said if n not in run)]:
            if name not in said:
                return f"{where}{name} is missing"
            if name not in run:
                return f"{where}{name} has no place there"
            if found := difference(run[name], said[name], f"{where}{name}."):
                return found
        return ""
    if isinstance(run, list) and isinstance(said, list) and len(run) == len(said):
        return next((d for i, (a, b) in enumerate(zip(run, said, strict=True), 1) if (d := difference(a, b, f"{where}{i}."))), "")
    alike = type(run) is type(said) and run == said
    return "" if alike else f"{where.rstrip('.')} is {_short(said)}, where it has to be {_short(run)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _cases(system: TransitionSystem, trace: Trace) -> list[tuple[tuple[str, int], ...]]:
    """What the case of a violation at the end of ``trace`` can be: as it is on each level there or just before, or none."""
    states = [trace.last, *([trace.steps[-2].after if len(trace.steps) > 1 else trace.initial] if trace.steps else [])]
    frames = [*reversed(list(system.case_frames.values())), system.case_variables]
    found = [tuple((n, s.control[v]) for n, v in names.items()) for s in states for names in frames if names and all(v in s.control for v in names.values())]
    return list(dict.fromkeys([*found, ()]))


def _traces(system: TransitionSystem, told: Mapping[str, Any]) -> Iterator[Trace]:
    """The runs that begin as ``told`` does and take steps of its names and choices."""
    tracked = {str(n): int(x) for n, x in told["tracked"]["fields"].items()} if told["tracked"] else {}
    loop = None if told["loop"] is None else int(told["loop"])
    for start, choices, initial in _starts(system, told["initial"], tracked):
        for steps in _followed(system, initial, tracked, told["steps"]):
            yield Trace(start, choices, initial, tracked, tuple(steps), loop)


def _starts(system: TransitionSystem, told: Mapping[str, Any], tracked: Mapping[str, int]) -> Iterator[tuple[Step, dict[str, int], State]]:
    values = {str(n): int(x) for n, x in told["variables"].items()}
    fixed = {v.name: v.initial for v in system.control} | {n: x for n, x in values.items() if n in system.rigid}
    for start in system.initial:
        for choices in _choices(start, fixed, told["chosen"]):
            control = advanced(start, fixed, choices)
            if all(control[n] == x for n, x in values.items() if n in control):
                # A run that is about no entry may begin with none cached.
                for cached in (True, False) if tracked else (False,):
                    bits = {v.name: int(evaluate(system.entry_start(v, cached=cached), {**control, **tracked})) for v in system.entry_variables}
                    yield start, choices, saturated(system, control, bits, tracked)


def _followed(system: TransitionSystem, state: State, tracked: Mapping[str, int], told: Sequence[Mapping[str, Any]]) -> Iterator[list[TraceStep]]:
    if not told:
        yield []
        return
    for step in system.steps:
        if (step.cpu, step.level, step.action, step.actor) != tuple(told[0][n] for n in ("cpu", "level", "action", "actor")):
            continue
        scope: dict[str, int] = {**state.control, **state.entry, **tracked}
        for choices in _choices(step, scope, told[0]["chosen"]):
            moved = {**state.entry, **{n: int(evaluate(e, {**scope, **choices})) for n, e in step.entry_updates.items() if tracked and n in state.entry}}
            after = saturated(system, advanced(step, state.control, choices), moved, tracked)
            if any(after.control[n] != x[0] for n, x in told[0]["after"].items() if n in after.control):
                continue
            for rest in _followed(system, after, tracked, told[1:]):
                yield [TraceStep(step, choices, after), *rest]


def _choices(step: Step, scope: Mapping[str, int], chosen: Sequence[Any]) -> Iterator[dict[str, int]]:
    """The parameters with which a step is possible and chooses what is told."""
    for values in itertools.product(*(q.domain for q in step.parameters)):
        parameters = dict(zip((q.name for q in step.parameters), values, strict=True))
        over = {**scope, **parameters}
        if evaluate(step.guard, over) and [int(evaluate(e, over)) for _, _, e in step.choices] == list(chosen):
            yield parameters
