"""Who waits for whom in a run that goes on for ever, and why what each waits for never comes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tlbcheck.engines.account import changed
from tlbcheck.engines.run import is_shared
from tlbcheck.engines.trace import Trace, TraceStep
from tlbcheck.lang.expr import conjuncts, evaluate, variables
from tlbcheck.system.transition_system import Step, TransitionSystem

Values = Mapping[str, int]


@dataclass(frozen=True)
class Wait:
    """A CPU goes on only once ``variable`` has another value, which CPU ``awaited`` would have to give it (None: nobody ever did).

    ``since`` is the step that gave it the value that it has, 0 for the start; ``masked`` the one since which the awaited CPU's
    interrupts are off, where only an interrupt's handler there would change it; else None.
    """

    cpu: int
    variable: str
    awaited: int | None
    since: int
    masked: int | None


def waits(system: TransitionSystem, trace: Trace) -> list[Wait]:
    """What each CPU waits for while the run repeats: a value that its steps there read, or that keeps it from any."""
    assert trace.loop is not None
    made: dict[tuple[int, str], Wait] = {}
    for cpu in range(system.model.cpus):
        for name in _deciding(system, trace, cpu):
            made.setdefault((cpu, name), _wait(system, trace, cpu, name))
    return [w for w in made.values() if w.awaited != w.cpu]


def _deciding(system: TransitionSystem, trace: Trace, cpu: int) -> Iterator[str]:
    """The shared variables that, with another value, would let ``cpu`` leave the part that repeats."""
    states = [trace.initial, *(s.after for s in trace.steps)]
    repeated = [(states[i].control, s) for i, s in enumerate(trace.steps) if i >= (trace.loop or 0) and s.step.cpu == cpu]
    for before, s in repeated:
        yield from (n for n in _shared(system, s.step, cpu) if not all(_taken(s, {**before, n: x}) for x in _values(system, n)))
    if not repeated:
        now = trace.last.control
        for step in system.steps:
            if step.cpu == cpu and step.level == "task":
                yield from _blocking(system, step, now)


def _taken(s: TraceStep, before: Values) -> bool:
    return bool(evaluate(s.step.guard, {**before, **s.choices}))


def _blocking(system: TransitionSystem, step: Step, now: Values) -> Iterator[str]:
    """The shared variables without whose values a CPU could take ``step``, where it waits to take it."""
    for chosen in itertools.product(*(q.domain for q in step.parameters)):
        scope = {**now, **dict(zip((q.name for q in step.parameters), chosen, strict=True))}
        false = [e for e in conjuncts(step.guard) if not evaluate(e, scope)]
        names = [n for e in false for n in variables(e)]
        if names and all(is_shared(n, system) for n in names):
            yield from dict.fromkeys(names)


def _shared(system: TransitionSystem, step: Step, cpu: int) -> list[str]:
    return [n for n in variables(step.guard) if is_shared(n, system) and not n.startswith(("case.", f"cpu{cpu}."))]


def _values(system: TransitionSystem, name: str) -> tuple[int, ...]:
    v = next(v for v in system.control if v.name == name)
    return v.domain or v.type.values()


def _wait(system: TransitionSystem, trace: Trace, cpu: int, name: str) -> Wait:
    since = changed(trace, name)
    owner = name.partition(".")[0].removeprefix("cpu")
    awaited = int(owner) if "." in name and owner.isdigit() else trace.steps[since - 1].step.cpu if since else None
    return Wait(cpu, name, awaited, since, _masked(system, trace, awaited, name) if awaited is not None else None)


def _masked(system: TransitionSystem, trace: Trace, cpu: int, name: str) -> int | None:
    """The step since which ``cpu`` takes no interrupt, if only a handler of its would change the variable."""
    levels = {s.level for s in system.steps if s.cpu == cpu and name in s.updates}
    for interrupt in system.model.interrupts:
        if levels == {interrupt.level} and interrupt.flag is not None:
            flag = f"cpu{cpu}.{interrupt.flag.name}"
            if not trace.last.control[flag]:
                return changed(trace, flag)
    return None

