"""C functions as models: a function of a file is put into the environment that waits for its role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlbcheck.c import CUnit, load_profile, read_unit
from tlbcheck.c.text import Text, tokens_of
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.harness import Harness, Reading, Subject
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import Source, read_source, read_text, source_of
from tlbcheck.library import harnesses


def harness_for(role: str) -> Harness:
    """The environment for functions of ``role``. Raises ``InputError`` naming the roles that there are."""
    known = harnesses()
    for harness in known:
        if harness.role == role:
            return harness
    raise InputError(f"nothing waits for a function of role '{role}'", hint=f"there are: {', '.join(sorted({h.role for h in known})) or 'none'}")


def unit_of(source: Source, harness: Harness, reading: Reading) -> CUnit:
    profile = load_profile([harness.profile, *reading.profiles], harness.vocabulary)
    return read_unit(source, profile, _defines(harness, reading), reading.assume_no_tlb_effect)


def _defines(harness: Harness, reading: Reading) -> dict[str, str]:
    return {n: v for n, v in {**harness.defines, **reading.defines}.items() if n not in reading.undefines}


def function_in(unit: CUnit, harness: Harness, reading: Reading) -> str | None:
    """The name of the function of the role that ``unit`` defines, the latest name first."""
    names = [reading.function] if reading.function else list(unit.profile.roles[harness.role].functions)
    return next((n for n in names if n in unit.functions), None)


def fit(source: Source, reading: Reading, *, name: str = "", evidence: Sequence[Source] = (), facts: frozenset[str] = frozenset(), origin: Mapping[str, Any] | None = None) -> Model:
    """The model of the function of ``source`` that has the role.

    ``evidence`` is other text of the same code base; ``facts`` holds whatever the text says.
    Raises ``InputError`` if there is no such function, or for what cannot be read in it.
    """
    harness = harness_for(reading.role)
    unit = unit_of(source, harness, reading)
    function = function_in(unit, harness, reading)
    if function is None:
        wanted = reading.function or " or ".join(unit.profile.roles[harness.role].functions)
        raise InputError(f"defines no {wanted}", place=Place(source.name), hint=f"say which function has the role '{reading.role}': --function NAME")
    procedure = unit.procedure(function, reading.role)
    subject = Subject(
        name=f"{name or source.name}:{function}",
        title=f"{function} as {name or source.name} has it",
        procedure=procedure,
        facts=_facts(harness, source, evidence, reading) | facts,
        assumptions=unit.assumptions(procedure),
        unseen=next((g.place for g in unit.gaps(procedure)), None),
        unseen_end=next((g.place for g in source.gaps if g.end_of == function), None),
        ignores=unit.ignores(procedure),
    )
    return replace(harness.build(subject), origin=origin or {})


def facts_of(source: Source | None, evidence: Sequence[Source], reading: Reading) -> frozenset[str]:
    """The facts about a code base that its text shows: the file of the function, and others."""
    return _facts(harness_for(reading.role), source, evidence, reading)


def _facts(harness: Harness, source: Source | None, evidence: Sequence[Source], reading: Reading) -> frozenset[str]:
    unknown = [n for n in reading.facts if n not in {f.name for f in harness.facts}]
    if unknown:
        raise InputError(f"the environment has no fact '{unknown[0]}'", hint=f"it has: {', '.join(f.name for f in harness.facts)}")
    own = _names([source] if source is not None else [])
    words = own | _names(evidence)
    defined = _defines(harness, reading)
    return frozenset(f.name for f in harness.facts if reading.facts.get(f.name, f.define in defined or bool(words & f.identifiers or own & f.own)))


def _names(sources: Sequence[Source]) -> set[str]:
    return {t.text for s in sources for line in tokens_of(Text(s)) for t in line if t.kind == "name"}


def fit_file(path: Path, reading: Reading) -> Model:
    """The model of a function in a C file; what stands around the file in its tree is evidence about the code base."""
    harness = harness_for(reading.role)
    tree, inside = _tree_around(path.resolve(), harness)
    evidence = [read_source(tree / f, f) for f in harness.files[1:] if (tree / f).is_file()] if tree else []
    source = source_of(read_text(path), str(path), inside or str(path))
    return fit(source, reading, name=str(path), evidence=evidence, origin={"kind": "file", "file": str(path), "reading": reading.as_json()})


def _tree_around(path: Path, harness: Harness) -> tuple[Path | None, str]:
    """The root of the project's tree if ``path`` stands where the project has it, and its name there."""
    for f in harness.files[:1]:
        if path.as_posix().endswith("/" + f):
            return Path(path.as_posix()[: -len(f) - 1] or "/"), f
    return None, ""
