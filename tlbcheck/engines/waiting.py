"""Who waits for whom in a run that goes on for ever, and why what each waits for never comes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tlbcheck.engines.account import changed
from tlbcheck.engines.run import is_shared
from tlbcheck.engines.trace import Trace, TraceStep, Violation
from tlbcheck.lang.expr import conjuncts, evaluate, variables
from tlbcheck.system.transition_system import Step, TransitionSystem

Values = Mapping[str, int]


@dataclass(frozen=True)
class Wait:
    """A CPU goes on only once ``variable`` has another value, which CPU ``awaited`` would have to give it (None: nobody ever did).

    ``since`` is the step that gave it the value that it has, 0 for the start; ``masked`` the one since which the awaited CPU's
    interrupts are off, where only an interrupt's handler there would change it; else None. ``taken``: in the part that repeats it does have
    another value, and the awaited CPU gives it the old one again, with that step, before the waiting CPU goes on; else None.
    """

    cpu: int
    variable: str
    awaited: int | None
    since: int
    masked: int | None
    taken: int | None


def waits(system: TransitionSystem, trace: Trace) -> list[Wait]:
    """What each CPU that gets nowhere while the run repeats waits for: a value that its steps there read, or that keeps it from any."""
    assert trace.loop is not None
    made: dict[tuple[int, str], Wait] = {}
    for cpu in range(system.model.cpus):
        for name in _deciding(system, trace, cpu):
            made.setdefault((cpu, name), _wait(system, trace, cpu, name))
    return list(made.values())


def pending(system: TransitionSystem, violation: Violation) -> list[str]:
    """The variables by whose values something is pending for ever."""
    assert violation.trace is not None
    states = _repeating(violation.trace)
    held = [b.when for b in system.liveness if (b.property, b.clause) == (violation.property, violation.clause) and all(evaluate(b.when, x) for x in states)]
    return [n for n in variables(held[0]) if is_shared(n, system)]


def _repeating(trace: Trace) -> list[Values]:
    """The states of the part that repeats."""
    return [x.control for x in (trace.initial, *(s.after for s in trace.steps))][trace.loop or 0 :]


def _deciding(system: TransitionSystem, trace: Trace, cpu: int) -> Iterator[str]:
    """The shared variables that, with another value, would let ``cpu`` go on, where it does not.

    It only looks again and again, on some level, or does nothing there at all.
    """
    states = _repeating(trace)
    taken = [(before, s) for before, s in zip(states, trace.steps[trace.loop or 0 :], strict=False) if s.step.cpu == cpu]
    for level in system.model.levels:
        own = [(before, s) for before, s in taken if s.step.level == level]
        if own and not any(_changes(system, before, s) for before, s in own):
            for before, s in own:
                yield from (n for n in _shared(system, s.step, cpu) if not all(_taken(s, {**before, n: x}) for x in _values(system, n)))
        if not own:
            for step in system.steps:
                if (step.cpu, step.level) == (cpu, level) and not step.delivers:
                    for now in states:
                        yield from _blocking(system, step, now)


def _changes(system: TransitionSystem, before: Values, s: TraceStep) -> bool:
    """Whether a step changes anything that others see."""
    return any(x != before[n] and is_shared(n, system) for n, x in s.after.control.items())


def _taken(s: TraceStep, before: Values) -> bool:
    return bool(evaluate(s.step.guard, {**before, **s.choices}))


def _blocking(system: TransitionSystem, step: Step, now: Values) -> Iterator[str]:
    """The shared variables without whose values a CPU could take ``step``, where it waits to take it."""
    for chosen in itertools.product(*(q.domain for q in step.parameters)):
        scope = {**now, **dict(zip((q.name for q in step.parameters), chosen, strict=True))}
        false = [e for e in conjuncts(step.guard) if not evaluate(e, scope)]
        names = [n for e in false for n in variables(e)]
        if names and all(is_shared(n, system) for n in names):
            yield from dict.fromkeys(n for n in names if not n.startswith("case."))


def _shared(system: TransitionSystem, step: Step, cpu: int) -> list[str]:
    return [n for n in variables(step.guard) if is_shared(n, system) and not n.startswith(("case.", f"cpu{cpu}."))]


def _values(system: TransitionSystem, name: str) -> tuple[int, ...]:
    v = next(v for v in system.control if v.name == name)
    return v.domain or v.type.values()


def _wait(system: TransitionSystem, trace: Trace, cpu: int, name: str) -> Wait:
    since, loop = changed(trace, name), trace.loop or 0
    if since > loop:  # it does change while the run repeats: what counts is who changes it back, with the last change by another CPU
        back = [i for i in range(loop + 1, len(trace.steps) + 1) if trace.steps[i - 1].step.cpu != cpu and _keeps_out(system, trace, cpu, name, i)]
        if back:
            return Wait(cpu, name, trace.steps[back[-1] - 1].step.cpu, back[-1], None, back[-1])
    owner = name.partition(".")[0].removeprefix("cpu")
    awaited = int(owner) if "." in name and owner.isdigit() else trace.steps[since - 1].step.cpu if since else None
    return Wait(cpu, name, awaited, since, _masked(system, trace, awaited, name) if awaited is not None else None, None)


def _keeps_out(system: TransitionSystem, trace: Trace, cpu: int, name: str, i: int) -> bool:
    """Whether step ``i`` gives a variable a value with which ``cpu`` cannot go on."""
    before, after = (trace.initial if i == 1 else trace.steps[i - 2].after).control, trace.steps[i - 1].after.control
    steps = (s for s in system.steps if s.cpu == cpu and not s.delivers)
    return before[name] != after[name] and any(name in _blocking(system, s, after) for s in steps)


def _masked(system: TransitionSystem, trace: Trace, cpu: int, name: str) -> int | None:
    """The step since which ``cpu`` takes no interrupt, if only a handler of its would change the variable."""
    levels = {s.level for s in system.steps if s.cpu == cpu and name in s.updates}
    for interrupt in system.model.interrupts:
        if levels == {interrupt.level} and interrupt.flag is not None:
            flag = f"cpu{cpu}.{interrupt.flag.name}"
            if not trace.last.control[flag]:
                return changed(trace, flag)
    return None
