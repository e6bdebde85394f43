"""A violation told again by replay: what its caches can hold, and what becomes of the entries that it is about.

Replay knows nothing of the transition system; so each event that it tells is held here against the steps and fills of that
system, as a trace is held against the procedures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlbcheck.engines.run import story
from tlbcheck.engines.trace import Trace, Violation
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import Expr, evaluate, variables
from tlbcheck.replay.check import ReplayError, Story
from tlbcheck.replay.contents import Contents, contents
from tlbcheck.replay.history import DROPPED, FILLED, History, Where, as_told, history, judgement
from tlbcheck.replay.interpreter import Entry
from tlbcheck.replay.judgement import STATE, Judgement
from tlbcheck.system.slots import slot_name
from tlbcheck.system.transition_system import TransitionSystem


@dataclass(frozen=True)
class Retelling:
    """``contents`` is None where there are no caches, or the run goes on for ever; ``history`` where the violation is about no entry.

    ``about``: the entries that the violation speaks of. ``judged``: how it comes about; None where the run goes on for ever.
    """

    story: Story
    contents: Contents | None = None
    about: tuple[Entry, ...] = ()
    history: History | None = None
    judged: Judgement | None = None


def retell(system: TransitionSystem, violation: Violation) -> Retelling:
    """Run the trace of ``violation`` again on literal caches. Raises ``InternalError`` where that does not agree with the trace."""
    told, trace, cache = story(system, violation), violation.trace, system.cache
    assert trace is not None
    if trace.loop is not None:
        return Retelling(told)
    try:
        if told.walks is not None:
            found = contents(system.model, system.properties, told)
            alone = as_told(told, found)
            return Retelling(told, found, alone.watched, alone, _judged_last(violation, trace))
        if cache is None:
            return Retelling(told, judged=judgement(system.model, system.properties, told))
        found = contents(system.model, system.properties, told)
        about = [e for e in found.broken[:1] if e is not None]
        if about and trace.tracked:
            about = [tuple(trace.tracked[slot_name(f"entry.{n}", slot)] for n, _, _ in cache.fields) for slot in range(1, system.slots + 1)]
        happens = history(system.model, system.properties, told, about) if about else None
        judged = happens.judged if happens is not None else judgement(system.model, system.properties, told)
    except ReplayError as error:
        raise InternalError(f"{system.model.name}, {violation.property}: the trace does not replay with full caches: {error}") from None
    if happens is not None:
        _agree(system, trace, happens)
    return Retelling(told, found, tuple(about), happens, judged)


def _judged_last(violation: Violation, trace: Trace) -> Judgement:
    """What breaks the property where walks are told one by one: an event of the last step, or a state."""
    last = trace.steps[-1].step if trace.steps else None
    cpu = last.cpu if last is not None and last.cpu is not None else 0
    if last is not None and last.events and any((b.property, b.clause) == (violation.property, violation.clause) for b in last.bads):
        return Judgement(last.events[0].kind, last.events[0].name, cpu, cpu)
    return Judgement(STATE, "", cpu, cpu)


def _agree(system: TransitionSystem, trace: Trace, told: History) -> None:
    """Hold each event of ``told`` against the transition system. Raises ``InternalError`` at the first that is none of its steps or fills."""
    assert system.cache is not None
    names = [f"entry.{n}" for n, _, _ in system.cache.fields]
    states = [trace.initial, *(s.after for s in trace.steps)]
    held: set[Where] = set()
    for number, events in enumerate(told.points):
        gone = {(e.cpu, e.entry) for e in events if e.what == DROPPED}
        for cpu, entry in held:  # nothing, at the start
            step = trace.steps[number - 1]
            scope = {**states[number - 1].control, **step.choices, **dict(zip(names, entry, strict=True)), system.cached[cpu]: 1}
            kept = _value(step.step.entry_updates.get(system.cached[cpu]), scope)
            if kept is not None and kept is ((cpu, entry) in gone):
                raise InternalError(f"{system.model.name}: step {number} {'keeps' if kept else 'drops'} entry {entry} of CPU{cpu} as it was lowered, and not as it is replayed")
        for e in events:
            if e.what == FILLED:
                scope = {**states[number].control, **dict(zip(names, e.entry, strict=True))}
                walks = [_value(f.when, scope) for f in system.fills if f.cpu == e.cpu]
                if walks and None not in walks and not any(walks):
                    raise InternalError(f"{system.model.name}: after step {number} a walk caches entry {e.entry} on CPU{e.cpu} as it is replayed, and not as it was lowered")
        held = held - gone | {(e.cpu, e.entry) for e in events if e.what != DROPPED}


def _value(e: Expr | None, scope: Mapping[str, int]) -> bool | None:
    """What a rule says of an entry that is alone; None where it speaks of others, or of what was cut away. What no rule changes is kept."""
    if e is None:
        return True
    return bool(evaluate(e, scope)) if all(n in scope for n in variables(e)) else None

