"""What a report shows of a model besides its verdicts: source text, variables, cache, state graph.

One object for each model in ``models`` of a JSON result, so that a report needs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlbcheck.engines.run import ModelEvidence
from tlbcheck.errors import InputError
from tlbcheck.lang.program import Procedure, walk
from tlbcheck.lang.source import Source, SourceLine, read_text
from tlbcheck.lang.types import BoolType, EnumType, Type
from tlbcheck.report.result import plain, relative
from tlbcheck.system.transition_system import TransitionSystem

_TAIL = 3
"""Lines after the last statement that may still belong to it, such as closing brackets."""


def model_facts(result: ModelEvidence, *, drawn: bool = True, source: Source | None = None) -> dict[str, Any]:
    """Everything about one model that its reports show; the state graph only if it is to be ``drawn``.

    ``source`` is the text of a procedure that no file holds as it is: one with a patch applied.
    """
    return {
        "title": result.model.title,
        "variant": result.model.doc if "@" in result.model.name else "",
        "source": result.model.source,
        "cpus": result.model.cpus,
        "properties": {r.property.name: {"title": r.property.title, "source": r.property.source, "clauses": dict(r.property.clauses)} for r in result.results},
        "variables": _variables(result.system),
        "cache": _cache(result.system),
        "procedures": _procedures(result, source),
        "graph": _graph(result) if drawn else None,
    }


def _variables(system: TransitionSystem) -> dict[str, Any]:
    """Kind and type of each variable that a trace tells: ``register``, ``memory`` or ``case``."""
    registers = {v.name for v in system.model.state_variables() if v.register}
    told = {v.name for v in system.model.state_variables()}
    made = {}
    for v in system.control:
        own = v.name.startswith("cpu") and "." in v.name
        base = v.name.partition(".")[2] if own else v.name.partition("[")[0]
        if v.name.startswith("case.") or base in told:
            kind = "case" if v.name.startswith("case.") else "register" if base in registers else "memory"
            made[v.name] = {"kind": kind, "type": _type(v.type)}
    return made


def _type(type_: Type) -> str:
    return "bool" if isinstance(type_, BoolType) else "enum" if isinstance(type_, EnumType) else "int"


def _cache(system: TransitionSystem) -> dict[str, Any] | None:
    """The cache's name and, for each field of its entries, the values that occur."""
    if system.cache is None:
        return None
    return {"name": system.cache.name, "fields": {n: [plain(type_, v) for v in values] for n, type_, values in system.cache.fields}}


def _procedures(result: ModelEvidence, source: Source | None) -> list[dict[str, Any]]:
    """The text of every procedure, and which of its lines were executed; None where that is not known.

    Where lines come from several places, ``places`` names the file and line of each; ``steps`` and ``executed`` then count them from the first.
    """
    explicit = result.explicit
    executed: dict[str, set[int]] = {}
    steps: dict[str, set[int]] = {}
    for s in result.system.steps:
        if s.places:
            steps.setdefault(s.places[0].file, set()).add(s.places[0].line)
            if explicit is not None and s.index in explicit.steps_fired:
                executed.setdefault(s.places[0].file, set()).add(s.places[0].line)
    texts: dict[str, list[str]] = {}
    made = []
    for procedure in result.model.reachable():
        patched = _patched(procedure, source) if source is not None else []
        if patched:
            first, numbers = procedure.place.line, {(x.place.file, x.place.line): n for n, x in enumerate(patched, procedure.place.line)}
            found, ran = (sorted(numbers[f, n] for f in among for n in among[f] if (f, n) in numbers) for among in (steps, executed))
            made.append(
                {
                    "procedure": procedure.name,
                    "file": relative(procedure.place)["file"],
                    "line": first,
                    "text": [x.text for x in patched],
                    "places": [[relative(x.place)["file"], x.place.line] for x in patched],
                    "steps": found,
                    "executed": None if explicit is None or not explicit.complete else ran,
                }
            )
            continue
        file = procedure.place.file
        if file not in texts:
            texts[file] = _lines(file)
        first, last = _extent(procedure, texts[file])
        inside = [n for n in sorted(steps.get(file, ())) if first <= n <= last]
        made.append(
            {
                "procedure": procedure.name,
                "file": relative(procedure.place)["file"],
                "line": first,
                "text": texts[file][first - 1 : last],
                "steps": inside,
                "executed": None if explicit is None or not explicit.complete else [n for n in inside if n in executed.get(file, ())],
            }
        )
    return made


def _patched(procedure: Procedure, source: Source) -> list[SourceLine]:
    """The lines of a procedure in ``source``; none if it is not there."""
    at = {(x.place.file, x.place.line): i for i, x in enumerate(source.lines)}
    first = at.get((procedure.place.file, procedure.place.line))
    if first is None:
        return []
    last = max((at.get((s.place.file, s.place.line), first) for s in walk(procedure.body)), default=first) + 1
    return list(source.lines[first : last + _closing([x.text for x in source.lines[last : last + _TAIL]])])


def _closing(following: Sequence[str]) -> int:
    """How many of the lines that follow a last statement belong to it still."""
    return next((i for i, text in enumerate(following) if not text.strip(" \t+>")), len(following))


def _lines(file: str) -> list[str]:
    try:
        return read_text(Path(file)).splitlines()
    except InputError:
        return []  # a model made in memory has no text to show


def _extent(procedure: Procedure, lines: Sequence[str]) -> tuple[int, int]:
    """First and last line of a procedure; what closes it may follow its last statement."""
    first = procedure.place.line
    last = max((s.place.line for s in walk(procedure.body) if s.place.file == procedure.place.file), default=first)
    return first, last + _closing(lines[last : last + _TAIL])


def _graph(result: ModelEvidence) -> Mapping[str, Any] | None:
    if result.search is None or not result.search.finished:
        return None
    from tlbcheck.graph import picture

    return picture(result.search, {r.property.name: [v for v in r.violations if v.trace is not None] for r in result.results})
