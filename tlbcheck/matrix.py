"""Every pair of contexts: which operations the switch executes, and whether it is clean.

Rows are read off the runs of the transition system: a switch that is not interrupted is followed
from its call to its return or fault, and judged by ``missing-flush`` in the same exploration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Edge, Tracked
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import evaluate
from tlbcheck.lang.model import Model, Property
from tlbcheck.report.result import plain
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import TransitionSystem

_ROLE = "switch"
_KEY = ("old", "new", "other_cr4")


@dataclass(frozen=True)
class Row:
    """One pair of contexts; ``verdict`` is ``clean``, ``stale`` (missing-flush fails) or ``fault``."""

    old: str
    new: str
    other_cr4: str
    steps: tuple[str, ...]
    verdict: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        return {"old": self.old, "new": self.new, "other_cr4": self.other_cr4, "steps": list(self.steps), "verdict": self.verdict, "detail": self.detail}


def matrix(model: Model, missing_flush: Property) -> list[Row]:
    """The rows that ``model`` can reach, in a fixed order.

    Raises ``InputError`` if the model has no switch or does not say what a case is.
    """
    if model.case is None:
        raise InputError(f"{model.name} does not name the contexts of a switch", hint="give it a case monitor with old, new and other_cr4")
    system = lower(model, [missing_flush])
    if missing_flush.name in system.not_applicable:
        raise InputError(f"{model.name}: {system.not_applicable[missing_flush.name]}", hint="matrix needs a procedure of role switch")
    fixed = {f"case.{c.name}": frozenset({value}) for c, value in model.matrix_case.items()}
    search = Tracked(system, restrict={n: values for n, values in fixed.items() if n in system.rigid})
    search.run()
    walked = _walk(search, system)
    stale = _stale(search, system)
    rows = []
    for key in sorted(walked, key=lambda k: _order(system, k)):
        sequences = walked[key]
        faulting = [s for s in sequences if s[1]]
        steps, exception = min(faulting or sequences)
        clauses = stale.get(key, set())
        verdict = "fault" if exception else "stale" if clauses else "clean"
        detail = exception or ", ".join(sorted(clauses))
        if len(sequences) > 1:
            detail += f"{'; ' if detail else ''}{len(sequences)} step sequences"
        old, new, other = (str(v) for v in _named(system, key))
        rows.append(Row(old, new, other, steps, verdict, detail))
    return rows


def _positions(search: Tracked, system: TransitionSystem, level: str) -> dict[str, int]:
    return {n: search.compiled.position[v] for n, v in system.case_frames[level].items()}


def _order(system: TransitionSystem, key: tuple[int, ...]) -> tuple[int, ...]:
    return (key[2], key[0], key[1])


def _named(system: TransitionSystem, key: tuple[int, ...]) -> list[Any]:
    types = {v.name: v.type for v in system.control}
    return [plain(types[system.case_variables[n]], v) for n, v in zip(_KEY, key, strict=True)]


def _stale(search: Tracked, system: TransitionSystem) -> dict[tuple[int, ...], set[str]]:
    """Clauses violated by switches that nothing interrupted, by row."""
    names = list(system.case_variables)
    made: dict[tuple[int, ...], set[str]] = {}
    for _, clause, values in search.found:
        case = dict(zip(names, values, strict=True))
        if case["left"] == case["old"] and not case["interrupted"]:
            made.setdefault(tuple(case[n] for n in _KEY), set()).add(clause)
    return made


def _walk(search: Tracked, system: TransitionSystem) -> dict[tuple[int, ...], set[tuple[tuple[str, ...], str]]]:
    """For each row, the operations of every switch that is not interrupted, and how it ends."""
    made: dict[tuple[int, ...], set[tuple[tuple[str, ...], str]]] = {}
    for edges in search.edges.values():
        for edge in edges:
            step = system.steps[edge[0]]
            if any(e.kind == "enter" and e.name == _ROLE for e in step.events):
                at = _positions(search, system, step.level)
                key = tuple(edge[2][at[n]] for n in _KEY)
                made.setdefault(key, set()).update(_follow(search, system, edge, step.level))
    return made


def _follow(search: Tracked, system: TransitionSystem, first: Edge, level: str) -> set[tuple[tuple[str, ...], str]]:
    """The operations from the call of the switch on, on every path without interrupts."""
    found: set[tuple[tuple[str, ...], str]] = set()
    start = system.steps[first[0]]
    opening: tuple[str, ...] = ()
    if _ROLE in start.roles and not start.action.startswith("interrupt "):
        opening = _noted(system, search, None, first)
    work: list[tuple[State, tuple[str, ...]]] = [(first[2], opening)]
    while work:
        s, done = work.pop()
        for edge in search.edges.get(s, ()):
            step = system.steps[edge[0]]
            if step.level != level or step.action.startswith("interrupt "):
                continue
            steps = done + _noted(system, search, s, edge)
            if step.exception:
                found.add((steps, step.exception))
            elif any(e.kind == "leave" and e.name == _ROLE for e in step.events):
                found.add((steps, ""))
            else:
                work.append((edge[2], steps))
    return found


def _noted(system: TransitionSystem, search: Tracked, before: State | None, edge: Edge) -> tuple[str, ...]:
    step = system.steps[edge[0]]
    scope: Mapping[str, int] = {} if before is None else search.values(before)
    scope = {**scope, **dict(zip((q.name for q in step.parameters), map(int, edge[1]), strict=True))}
    try:
        operands = {n: evaluate(e, scope) for n, e in step.operands.items()}
    except KeyError:
        operands = {}
    note = system.model.notation.steps(step.action, operands)
    return () if note is None else (note,)
