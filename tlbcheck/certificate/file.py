"""A certificate as a file: a head that says what it is of, the system, the invariant, and the three obligations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tlbcheck import __version__
from tlbcheck.engines.invariant import Invariant
from tlbcheck.engines.obligations import SystemText
from tlbcheck.errors import InputError
from tlbcheck.report.result import digest
from tlbcheck.system.transition_system import TransitionSystem

FORMAT = "1"


def head(text: SystemText, scope: Mapping[str, object]) -> dict[str, str]:
    """What the head says, by the name that it has there."""
    model = text.system.model
    return {
        "tlbcheck-certificate": FORMAT,
        "tlbcheck-version": __version__,
        "tlbcheck-model": model.name,
        "tlbcheck-model-digest": digest(text.system),
        "tlbcheck-profile": model.profile,
        "tlbcheck-property": text.property,
        "tlbcheck-properties": " ".join(p.name for p in text.system.properties),
        "tlbcheck-scope": ", ".join(f"{n}: {v}" for n, v in scope.items()),
    }


def certificate(text: SystemText, invariant: Invariant, about: Mapping[str, str]) -> str:
    """The whole file; the same model and invariant give the same text."""
    lines = ["(set-info :smt-lib-version 2.6)", *(f"(set-info :{name} |{value.replace('|', '/')}|)" for name, value in about.items()), "(set-logic QF_BV)"]
    lines += [*text.declarations, *text.definitions, text.definition(invariant)]
    for name, parts in text.obligations.items():
        lines += [f"; {name}: must be unsat", "(push 1)", *(f"(assert {p})" for p in parts), "(check-sat)", "(pop 1)"]
    return "\n".join([*lines, "(exit)"]) + "\n"


def file_name(model: str, property_name: str) -> str:
    return re.sub(r"[^\w.@+-]+", "-", f"{model}.{property_name}").strip("-") + ".smt2"


def write(folder: Path, system: TransitionSystem, property_name: str, invariant: Invariant, scope: Mapping[str, object]) -> Path:
    """Write the certificate of one proof into ``folder``; its path."""
    path = folder / file_name(system.model.name, property_name)
    text = SystemText(system, property_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(certificate(text, invariant, head(text, scope)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="name a folder that can be written to") from None
    return path
