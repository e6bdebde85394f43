"""A certificate as a file: a head that says what it is of, the system, the invariant, and the three obligations.

There are two kinds. Of tracked entries: the system follows one arbitrary entry, or as many as are
enough, and the invariant is a list of clauses. Of the literal caches: every entry is a bit of the state, fills and evictions
are steps, and the invariant is the set of reachable states itself, a decision diagram.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tlbcheck import __version__
from tlbcheck.engines.invariant import Invariant, StateSet
from tlbcheck.engines.obligations import SystemText
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.errors import InputError
from tlbcheck.files import write_text
from tlbcheck.reliance import rests_on
from tlbcheck.report.result import covered, digest
from tlbcheck.result import Scope
from tlbcheck.system.sufficiency import as_they_are
from tlbcheck.system.transition_system import TransitionSystem

FORMAT = "2"
KIND, TRACKED, LITERAL = "tlbcheck-kind", "tracked entries", "literal caches"
RELIES = "tlbcheck-relies"
READING = "tlbcheck-reading"
"""How the C was read: the options that the proof rests on, as JSON (``lang.harness.Reading``)."""


def head(text: SystemText, scope: Scope, kind: str = TRACKED) -> dict[str, str]:
    """What the head says, by the name that it has there; ``scope`` as ``report.result.covered`` gives it."""
    model = text.system.model
    relies = rests_on(model)
    reading = model.origin.get("reading")
    return {
        "tlbcheck-certificate": FORMAT,
        KIND: kind,
        "tlbcheck-version": __version__,
        "tlbcheck-model": model.name,
        "tlbcheck-model-digest": digest(text.system),
        "tlbcheck-profile": model.profile,
        "tlbcheck-property": text.property,
        "tlbcheck-properties": " ".join(p.name for p in text.system.properties),
        "tlbcheck-scope": str(scope),
        **({RELIES: relies} if relies else {}),
        **({READING: json.dumps(reading, sort_keys=True)} if reading else {}),
    }


def certificate(text: SystemText, invariant: Invariant | StateSet, about: Mapping[str, str]) -> str:
    """The whole file; the same model and invariant give the same text."""
    lines = ["(set-info :smt-lib-version 2.6)", *(f"(set-info :{name} |{value.replace('|', '/')}|)" for name, value in about.items()), "(set-logic QF_BV)"]
    lines += [*text.declarations, *text.definitions, text.definition(invariant)]
    for name, parts in text.obligations.items():
        lines += [f"; {name}: must be unsat", "(push 1)", *(f"(assert {p})" for p in parts), "(check-sat)", "(pop 1)"]
    return "\n".join([*lines, "(exit)"]) + "\n"


def without_an_end(system: TransitionSystem, property_name: str) -> str:
    """A clause of the property that is about runs that never end; empty if it has none."""
    return next((clause for p in system.properties if p.name == property_name for clause, _ in p.liveness), "")


def file_name(model: str, property_name: str, kind: str = TRACKED) -> str:
    return re.sub(r"[^\w.@+-]+", "-", f"{model}.{property_name}").strip("-") + (".literal" if kind == LITERAL else "") + ".smt2"


def write(folder: Path, result: ModelEvidence, property_name: str) -> list[Path]:
    """Write what z3 has shown of one proof into ``folder``: a certificate of tracked entries, one of the literal caches, both or none.

    None for a property that is about runs without an end as well: an invariant shows half of it.
    """
    made: list[Path] = []
    if without_an_end(result.system, property_name):
        return made
    tracking = result.beside or result
    invariant = next((r.invariants[property_name] for r in tracking.proofs if property_name in r.invariants), None)
    if invariant is not None:
        text = SystemText(tracking.system, property_name)
        made.append(_write(folder, text, invariant, head(text, covered(result.model, tracking.decided))))
    reached = next((r.sets[property_name] for r in result.literal if property_name in r.sets), None)
    if reached is not None:
        text = SystemText(unrolled(result.system), property_name)
        made.append(_write(folder, text, reached, head(text, covered(result.model, as_they_are(result.system)), LITERAL)))
    return made


def _write(folder: Path, text: SystemText, invariant: Invariant | StateSet, about: Mapping[str, str]) -> Path:
    path = folder / file_name(text.system.model.name, text.property, about[KIND])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="name a folder that can be written to") from None
    write_text(path, certificate(text, invariant, about))
    return path
