"""What a violation comes down to: of an entry what made it stale and what did not remove it, of anything else what broke it; all in numbers of steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tlbcheck.engines.retelling import Retelling
from tlbcheck.engines.trace import Trace, Violation
from tlbcheck.lang.expr import evaluate, variables
from tlbcheck.replay.history import DROPPED, FILLED, STALE, VALID, History
from tlbcheck.replay.interpreter import Entry
from tlbcheck.replay.judgement import STATE, Judgement
from tlbcheck.system.transition_system import TransitionSystem

_SEEN_LATER = ("leave", STATE)
"""Kinds of judgement about what earlier steps may have made so; any other, the step itself breaks."""


@dataclass(frozen=True)
class EntryAccount:
    """``change`` is the step from which on the entry is one that must go, 0 for the start; ``by_tables``: it changes what page tables say.

    ``early`` are steps that drop it before, ``elsewhere`` those (with the CPU) that drop it later on other CPUs (or would: of these, the last on each), and ``missed``
    those that invalidate something on its CPU, and not it.
    """

    cpu: int
    entry: Entry
    change: int
    by_tables: bool
    early: tuple[int, ...]
    elsewhere: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]


def entry_account(system: TransitionSystem, violation: Violation, retold: Retelling) -> EntryAccount:
    """Of a violation about an entry that ``retold`` tells of."""
    told, trace, judged = retold.history, violation.trace, retold.judged
    assert told is not None and trace is not None and judged is not None
    entry, cpu = told.watched[0], judged.cpu
    mine = [(i, e) for i, point in enumerate(told.points) for e in point if (e.cpu, e.entry) == (cpu, entry)]
    stale = _stale_since(told, cpu, entry)
    change, by_tables = (stale, True) if stale is not None else _change(system, violation, judged)
    drops = [i for i, e in mine if e.what == DROPPED]
    since = max((i for i, e in mine if e.what == FILLED), default=0)
    others = {(i, e.cpu) for i, point in enumerate(told.points) for e in point if e.entry == entry and e.cpu != cpu and e.what == DROPPED and i >= change}
    would = {on: (i, on) for i, on in _would_drop(system, trace, entry) if on != cpu and i >= change}
    others |= {x for on, x in would.items() if on not in {c for _, c in others}}
    touching = [i for i, s in enumerate(trace.steps, 1) if s.step.cpu == cpu and system.cached[cpu] in s.step.entry_updates]
    return EntryAccount(cpu, entry, change, by_tables, tuple(i for i in drops if i < change), tuple(sorted(others)), tuple(i for i in touching if i >= max(change, since + 1) and i not in drops))


def _would_drop(system: TransitionSystem, trace: Trace, entry: Entry) -> Iterator[tuple[int, int]]:
    """The steps, with their CPUs, that drop ``entry`` there if it is cached."""
    names = [f"entry.{n}" for n, _, _ in system.cache.fields] if system.cache is not None else []
    states = [trace.initial, *(s.after for s in trace.steps)]
    for i, s in enumerate(trace.steps, 1):
        if s.step.cpu is not None and (kept := s.step.entry_updates.get(system.cached[s.step.cpu])) is not None:
            scope = {**states[i - 1].control, **s.choices, **dict(zip(names, entry, strict=True)), system.cached[s.step.cpu]: 1}
            if all(n in scope for n in variables(kept)) and not evaluate(kept, scope):
                yield i, s.step.cpu


def _stale_since(told: History, cpu: int, entry: Entry) -> int | None:
    since = None
    for i, point in enumerate(told.points):
        for e in point:
            if (e.cpu, e.entry) == (cpu, entry):
                since = (i if e.since is None else e.since) if e.what == STALE else None if e.what in (VALID, DROPPED) else since
    return since


def _change(system: TransitionSystem, violation: Violation, judged: Judgement) -> tuple[int, bool]:
    """Where a model's page tables do not say it: the event that the property takes for their change, or the step from which on its clause holds."""
    assert violation.trace is not None
    since = since_when(system, violation)
    steps, last = violation.trace.steps, violation.depth if since is None else since
    change = next(q.change for q in system.properties if q.name == violation.property)
    if change is not None:
        marked = [i for i, s in enumerate(steps[:last], 1) if s.step.cpu == judged.acting and any((e.kind, e.name) == (change.kind, change.name) for e in s.step.events)]
        if marked:
            return marked[-1], True
    return last, False


def broken_by(system: TransitionSystem, violation: Violation, judged: Judgement) -> int:
    """The step that breaks a property which is about no entry: of what holds or not at a return or in a state, the one that made it so."""
    since = since_when(system, violation) if judged.kind in _SEEN_LATER else None
    return since or violation.depth


def changed(trace: Trace, name: str) -> int:
    """The last step that changes a variable, 0 if none does."""
    states = [trace.initial, *(s.after for s in trace.steps)]
    return max((i for i in range(1, len(states)) if name in states[i].control and states[i].control[name] != states[i - 1].control[name]), default=0)


def since_when(system: TransitionSystem, violation: Violation) -> int | None:
    """The step from which on the run is in the state that the clause forbids where it ends, 0 for the start; None if that is not known.

    A clause judged in a step is taken as if that step came at each earlier state.
    """
    trace = violation.trace
    assert trace is not None
    if not trace.steps or trace.loop is not None:
        return None
    last, key = trace.steps[-1], (violation.property, violation.clause)
    scopes = [{**x.control, **x.entry, **trace.tracked} for x in (trace.initial, *(s.after for s in trace.steps))]
    judged = [(b.when, scopes) for b in system.invariants if (b.property, b.clause) == key]
    judged += [(b.when, [{**x, **last.choices} for x in scopes[:-1]]) for b in last.step.bads if (b.property, b.clause) == key]
    for when, over in judged:
        if all(n in over[-1] for n in variables(when)) and evaluate(when, over[-1]):
            return max((i for i, x in enumerate(over, 1) if not evaluate(when, x)), default=0)
    return None
