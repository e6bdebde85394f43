"""Leaving out what no verdict depends on, such as the ghosts that only name a violation's case."""

from __future__ import annotations

from dataclasses import replace

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
    for b in system.invariants:
        want(b.when)
    for f in system.fills:
        want(f.when)
    for e in system.entry_initial.values():
        want(e)
    wanted.update(system.cached.values())
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

    def cut(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(
            replace(
                s,
                updates={n: e for n, e in s.updates.items() if n in wanted},
                entry_updates={n: e for n, e in s.entry_updates.items() if n in wanted},
            )
            for s in steps
        )

    return replace(
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
