"""C functions as models: a function of a file is put into the environment that waits for its role."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlbcheck.c import CUnit, load_profile, read_unit
from tlbcheck.c.elsewhere import NOWHERE, Elsewhere
from tlbcheck.c.headers import Files, Headers
from tlbcheck.c.preprocess import Dependency, Macro
from tlbcheck.c.profile import Profile
from tlbcheck.c.settle import Settled, settle
from tlbcheck.c.text import Text, tokens_of
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.harness import Harness, Reading, Subject
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Procedure
from tlbcheck.lang.source import Source, read_source, read_text, source_of
from tlbcheck.library import harnesses
from tlbcheck.patch.tree import Tree


@dataclass(frozen=True)
class Around:
    """The tree around a C file: ``start`` is the file's name in it, empty if it has none; ``called`` is for messages."""

    tree: Files
    start: str
    called: str


def harness_for(role: str) -> Harness:
    """The environment for functions of ``role``. Raises ``InputError`` naming the roles that there are."""
    known = harnesses()
    for harness in known:
        if harness.role == role:
            return harness
    raise InputError(f"nothing waits for a function of role '{role}'", hint=f"there are: {', '.join(sorted({h.role for h in known})) or 'none'}")


def unit_of(source: Source, harness: Harness, reading: Reading, hypotheses: Mapping[str, bool] | None = None, settled: Settled = (), elsewhere: Elsewhere = NOWHERE) -> CUnit:
    return read_unit(
        source,
        harness_profile(harness, reading),
        _defines(harness, reading),
        reading.assume_no_tlb_effect,
        undefines=reading.undefines,
        hypotheses=hypotheses,
        settled=settled,
        elsewhere=elsewhere,
    )


def usual_headers(files: Files, harness: Harness) -> list[Source]:
    """The headers of a tree in which the code base usually defines what its profile names."""
    return [replace(s, name=f) for f in harness.helpers if (s := files.read(f)) is not None]


def harness_profile(harness: Harness, reading: Reading) -> Profile:
    return load_profile([harness.profile, *reading.profiles], harness.vocabulary)


def _looked_up(source: Source, harness: Harness, reading: Reading, around: Around, name: str, use: Place, settled: Settled) -> tuple[Macro, frozenset[Dependency]]:
    """The definition of a macro in a tree's headers. Raises ``InputError`` if they have none, or none that is sure to hold."""
    before = harness_profile(harness, reading).headers
    headers = Headers(around.tree, around.called, source, around.start, before, _defines(harness, reading), frozenset(reading.undefines), settled, harness.forced)
    found = headers.find(name, use)
    value = " ".join(t.text for t in found.macro.body)
    return found.macro, frozenset({Dependency(name, value, use, origin=found.said)})


def _defines(harness: Harness, reading: Reading) -> dict[str, str]:
    return {n: v for n, v in {**harness.defines, **reading.defines}.items() if n not in reading.undefines}


def roles_functions(harness: Harness, reading: Reading) -> list[str]:
    """The names of the function that is judged, the latest first: the one asked for, or those that the profile knows for the role."""
    return [reading.function] if reading.function else list(harness_profile(harness, reading).roles[harness.role].functions)


def function_in(unit: CUnit, harness: Harness, reading: Reading) -> str | None:
    """The name of the function of the role that ``unit`` defines, the latest name first."""
    return next((n for n in roles_functions(harness, reading) if n in unit.functions), None)


def fit(
    source: Source,
    reading: Reading,
    *,
    name: str = "",
    evidence: Sequence[Source] = (),
    facts: frozenset[str] = frozenset(),
    origin: Mapping[str, Any] | None = None,
    around: Around | None = None,
    elsewhere: Elsewhere = NOWHERE,
) -> Model:
    """The model of the function of ``source`` that has the role.

    ``evidence`` is other text of the same code base; ``facts`` holds whatever the text says. Macros that
    decide what the function does and that ``source`` does not define are looked up ``around`` it, functions
    that other files define are read ``elsewhere``.
    Raises ``InputError`` if there is no such function, or for what cannot be read in it.
    """
    harness = harness_for(reading.role)
    names = roles_functions(harness, reading)
    wanted = " or ".join(names)

    def taken(unit: CUnit) -> Procedure:
        function = function_in(unit, harness, reading)
        if function is None:
            raise InputError(f"defines no {wanted}", place=Place(source.name), hint=f"say which function has the role '{reading.role}': --function NAME")
        return unit.procedure(function, reading.role)

    def look_up(name: str, use: Place, settled: Settled) -> tuple[Macro, frozenset[Dependency]]:
        if around is None:
            raise InputError("there is no tree to look it up in")
        return _looked_up(source, harness, reading, around, name, use, settled)

    unit, procedure = settle(names, lambda hypotheses, settled: unit_of(source, harness, reading, hypotheses, settled, elsewhere), taken, look_up)
    function = procedure.name
    subject = Subject(
        name=f"{name or source.name}:{function}",
        title=f"{function} as {name or source.name} has it",
        procedure=procedure,
        facts=_facts(harness, source, evidence, reading) | facts,
        assumptions=(*unit.assumptions(procedure), *unit.taken(procedure)),
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
    wanted = frozenset[str]().union(*(f.identifiers | f.own for f in harness.facts))
    own = _named([source] if source is not None else [], wanted)
    words = own | _named(evidence, wanted)
    defined = _defines(harness, reading)
    return frozenset(f.name for f in harness.facts if reading.facts.get(f.name, f.define in defined or bool(words & f.identifiers or own & f.own)))


def _named(sources: Sequence[Source], names: frozenset[str]) -> frozenset[str]:
    """Which of ``names`` occur in code. Only files that hold one of them at all are taken apart."""
    there = [s for s in sources if any(n in s.text.replace("\\\n", "") for n in names)]
    return names & {t.text for s in there for line in tokens_of(Text(s)) for t in line if t.kind == "name"}


def fit_file(path: Path, reading: Reading) -> Model:
    """The model of a function in a C file; what stands around the file in its tree is evidence about the code base."""
    harness = harness_for(reading.role)
    folder, inside = _tree_around(path.resolve(), harness)
    folder = folder and _as_given(folder, path)
    evidence = [read_source(folder / f, f) for f in harness.files[1:] if (folder / f).is_file()] if folder else []
    around = _around(path, reading, harness)
    tree = Tree(folder) if folder else around.tree if around is not None else None
    elsewhere = Elsewhere(usual_headers(tree, harness)) if tree is not None else NOWHERE
    source = source_of(read_text(path), str(path), inside or str(path))
    origin = {"kind": "file", "file": str(path), "reading": reading.as_json()}
    return fit(source, reading, name=str(path), evidence=evidence, origin=origin, around=around, elsewhere=elsewhere)


def _around(path: Path, reading: Reading, harness: Harness) -> Around | None:
    """The tree that was given, else the files around ``path`` under its nearest ``.git``, which is looked at no further."""
    here = path.absolute()
    if reading.tree:
        tree, called = Tree(Path(reading.tree)), reading.tree
        tree.check()
    else:
        top = next((folder for folder in here.parents if (folder / ".git").exists()), None)
        if top is None:
            return None
        tree, called = Tree(_as_given(top, path)), f"the tree around {path}"
    root = tree.path.absolute()
    return Around(tree, here.relative_to(root).as_posix() if here.is_relative_to(root) else _usual(tree, harness), called)


def _as_given(folder: Path, path: Path) -> Path:
    """``folder``, absolute only where ``path`` is: what is printed names no place of this machine that nobody gave."""
    return folder if path.is_absolute() else Path(os.path.relpath(folder))


def _usual(tree: Tree, harness: Harness) -> str:
    """Where the project has the function's file, if this tree has one there."""
    return next((f for f in harness.files[:1] if tree.read(f) is not None), "")


def _tree_around(path: Path, harness: Harness) -> tuple[Path | None, str]:
    """The root of the project's tree if ``path`` stands where the project has it, and its name there."""
    for f in harness.files[:1]:
        if path.as_posix().endswith("/" + f):
            return Path(path.as_posix()[: -len(f) - 1] or "/"), f
    return None, ""
