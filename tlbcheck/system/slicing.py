"""Leaving out what no verdict depends on, such as the ghosts that only name a violation's case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import Expr, variables
from tlbcheck.system.transition_system import Step, TransitionSystem


def needed(system: TransitionSystem) -> set[str]:
    """The variables that guards, fills and what is bad depend on, however indirectly."""
    wanted: set[str] = set()

    def want(e: Expr) -> None:
        wanted.update(variables(e))

    for s in (*system.initial, *system.steps):
        want(s.guard)
        for b in s.bads:
            want(b.when)
        for c in s.checks:
            want(c.holds)
    for b in (*system.invariants, *system.liveness):
        want(b.when)
    for f in system.fills:
        want(f.when)
    for e in system.entry_initial.values():
        want(e)
    for e in system.entry_marked.values():
        want(e)
    wanted.update(system.entry_initial)  # whether each tracked entry is cached
    while True:
        before = len(wanted)
        for s in (*system.initial, *system.steps):
            for name, e in (*s.updates.items(), *s.entry_updates.items()):
                if name in wanted:
                    want(e)
        for f in system.fills:
            for name, e in f.updates.items():
                if name in wanted:
                    want(e)
        if len(wanted) == before:
            return wanted


def slice_system(system: TransitionSystem) -> TransitionSystem:
    """The same system without the variables that nothing needs; verdicts and depths are the same."""
    wanted = needed(system)
    removed = {v.name for v in (*system.control, *system.entry_variables)} - wanted

    def cut(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(
            replace(
                s,
                updates={n: e for n, e in s.updates.items() if n in wanted},
                entry_updates={n: e for n, e in s.entry_updates.items() if n in wanted},
                # What a trace shows of an operand may rest on what is left out.
                operands={n: e for n, e in s.operands.items() if not removed.intersection(variables(e))},
            )
            for s in steps
        )

    made = replace(
        system,
        control=tuple(v for v in system.control if v.name in wanted),
        entry_variables=tuple(v for v in system.entry_variables if v.name in wanted),
        rigid=tuple(n for n in system.rigid if n in wanted),
        initial=cut(system.initial),
        steps=cut(system.steps),
        fills=tuple(replace(f, updates={n: e for n, e in f.updates.items() if n in wanted}) for f in system.fills),
        case_variables={n: v for n, v in system.case_variables.items() if v in wanted},
        case_frames={level: names for level, names in system.case_frames.items() if set(names.values()) <= wanted},
    )
    confirm_slice(system, made)
    return made


def confirm_slice(whole: TransitionSystem, small: TransitionSystem) -> None:
    """Raise ``InternalError`` unless ``small`` is ``whole`` seen through its own variables.

    All engines may share a slice, so that they would agree on what a wrong one loses. It is right
    if nothing in it reads a variable that it left out, and if it changed nothing else.
    """
    kept = {v.name for v in (*small.control, *small.entry_variables)}
    gone = {v.name for v in (*whole.control, *whole.entry_variables)} - kept

    def same(before: Mapping[str, Expr], after: Mapping[str, Expr]) -> bool:
        left = {n: e for n, e in before.items() if n in kept}
        return left.keys() == after.keys() and all(left[n] is e for n, e in after.items())

    def fine() -> Iterator[bool]:
        for all_before, all_after in ((whole.initial, small.initial), (whole.steps, small.steps)):
            yield len(all_before) == len(all_after)
            for a, b in zip(all_before, all_after, strict=False):
                yield a.guard is b.guard and a.bads is b.bads and a.checks is b.checks and a.used is b.used and a.parameters is b.parameters
                yield same(a.updates, b.updates) and same(a.entry_updates, b.entry_updates)
                yield gone.isdisjoint(n for e in (b.guard, *b.updates.values(), *b.entry_updates.values(), *(x.when for x in b.bads), *(x.holds for x in b.checks)) for n in variables(e))
        yield len(whole.fills) == len(small.fills) and whole.invariants is small.invariants
        for f, g in zip(whole.fills, small.fills, strict=False):
            yield f.when is g.when and same(f.updates, g.updates)
            yield gone.isdisjoint(n for e in (g.when, *g.updates.values()) for n in variables(e))
        yield gone.isdisjoint(n for e in (*(b.when for b in (*small.invariants, *small.liveness)), *small.entry_initial.values(), *small.entry_marked.values()) for n in variables(e))
        yield same(whole.entry_initial, small.entry_initial) and whole.entry_marked is small.entry_marked and gone.isdisjoint(small.cached.values())

    if not all(fine()):
        raise InternalError(f"{whole.model.name}: the slice leaves out something that it needs")
