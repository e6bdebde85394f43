"""Every pair of contexts: which operations the switch executes, and whether it is clean.

Rows are read off the runs of the transition system: a switch that is not interrupted is followed
from its call to its return or fault, and judged by ``missing-flush`` in the same exploration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Edge, Tracked
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import evaluate, variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.library import find_properties
from tlbcheck.report.result import document, plain
from tlbcheck.system.lower import lower
from tlbcheck.system.names import Software
from tlbcheck.system.sufficiency import of_the_model
from tlbcheck.system.transition_system import TransitionSystem

_ROLE = "switch"
_KEY = ("old", "new", "other_cr4")
_PAIRS = 32
"""Four contexts before, four after, and other CR4 bits that differ or do not."""


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


def matrix_json(model: Model) -> dict[str, Any]:
    """The document of ``tlbcheck matrix --json``; the same errors."""
    question = find_properties(["missing-flush"], model)[0]
    rows = matrix(model, question)
    missing = _PAIRS - len(rows)
    notes = [f"{missing} of {_PAIRS} rows are missing: their contexts cannot be reached in this version"] if missing else []
    return document(
        "matrix",
        model=model.name,
        title=model.title,
        rows=[r.as_json() for r in rows],
        note="; ".join([*notes, *narrowed(model, question)]),
        clauses=dict(question.clauses),
        origin=dict(model.origin),
    )


def narrowed(model: Model, missing_flush: Property) -> list[str]:
    """For which values alone the rows hold, and why, where software looks at more of them than which they are."""
    return [f"{d.name}: {', '.join(map(str, d.covers))} only ({d.why})" for d in of_the_model(Software(lower(model, [missing_flush]))) if d.told]


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
    notes = _Notes(search)
    calls: dict[tuple[tuple[int, ...], str], set[_Point]] = {}
    frames = {level: [search.compiled.position[names[n]] for n in _KEY] for level, names in system.case_frames.items()}
    enters = {step.index for step in system.steps if any(e.kind == "enter" and e.name == _ROLE for e in step.events)}
    for edges in search.edges.values():
        for edge in edges:
            if edge[0] in enters:
                step = system.steps[edge[0]]
                key = tuple([edge[2][i] for i in frames[step.level]])
                inside = _ROLE in step.roles and not step.action.startswith("interrupt ")
                calls.setdefault((key, step.level), set()).add((edge[2], notes.of(None, edge) if inside else ()))
    made: dict[tuple[int, ...], set[tuple[tuple[str, ...], str]]] = {}
    for (key, level), points in calls.items():
        made.setdefault(key, set()).update(_follow(search, notes, points, level))
    return made


_Point = tuple[State, tuple[str, ...]]
"""Where a switch is, and its operations so far."""


def _follow(search: Tracked, notes: _Notes, points: set[_Point], level: str) -> set[tuple[tuple[str, ...], str]]:
    """The operations from the calls of the switch on, on every path without interrupts, and how it ends."""
    found: set[tuple[tuple[str, ...], str]] = set()
    steps = search.system.steps
    own = {s.index for s in steps if s.level == level and not s.action.startswith("interrupt ")}
    leaves = {s.index for s in steps if any(e.kind == "leave" and e.name == _ROLE for e in s.events)}
    work, seen = list(points), set(points)
    while work:
        s, done = work.pop()
        for edge in search.edges.get(s, ()):
            if edge[0] not in own:
                continue
            noted = done + notes.of(s, edge)
            exception = steps[edge[0]].exception
            if exception or edge[0] in leaves:
                found.add((noted, exception))
            elif (edge[2], noted) not in seen:
                seen.add((edge[2], noted))
                work.append((edge[2], noted))
    return found


class _Notes:
    """The notation of each edge, worked out once for each step and the values that its operands depend on."""

    def __init__(self, search: Tracked) -> None:
        self.system = search.system
        position = search.compiled.position
        self.reads = [[(n, position[n]) for n in {n for e in step.operands.values() for n in variables(e)} if n in position] for step in self.system.steps]
        self.known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], tuple[str, ...]] = {}

    def of(self, before: State | None, edge: Edge) -> tuple[str, ...]:
        index, chosen, _ = edge
        values = () if before is None else tuple([before[i] for _, i in self.reads[index]])
        key = (index, chosen, values)
        found = self.known.get(key)
        if found is None:
            step = self.system.steps[index]
            scope = dict(zip((n for n, _ in self.reads[index]), values, strict=False)) | dict(zip((q.name for q in step.parameters), map(int, chosen), strict=True))
            try:
                operands = {n: evaluate(e, scope) for n, e in step.operands.items()}
            except KeyError:
                operands = {}
            note = self.system.model.notation.steps(step.action, operands)
            found = self.known[key] = () if note is None else (note,)
        return found
