"""The kinds of input that are fuzzed: where each starts, how it is mutated, when it is past its parser, and what reads it."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import mutate
from click.testing import CliRunner

from tlbcheck.c import load_profile, read_unit
from tlbcheck.certificate.read import load as load_certificate
from tlbcheck.cli import cli
from tlbcheck.errors import InputError
from tlbcheck.fit import harness_for
from tlbcheck.lang.source import read_source, read_text
from tlbcheck.library import load_file
from tlbcheck.patch.read import read_patches
from tlbcheck.report.reread import load as load_result

HERE = Path(__file__).resolve()
C_NAME = "xen/arch/x86/flushtlb.c"
SWITCH = (HERE.parent / "switch.c").read_text()
MODEL = HERE.parents[1] / "example" / "models" / "remap.py"


@dataclass(frozen=True)
class Kind:
    """``bases``: the texts that are mutated. ``read`` raises ``InputError`` where the parser refuses a file.

    ``commands``: what is run on the file, one of them chosen for each input; ``FILE`` stands for it.
    """

    name: str
    ending: str
    bases: Callable[[], list[str]]
    mutate: Callable[[Random, str], str]
    read: Callable[[Path], object]
    commands: tuple[tuple[str, ...], ...]


def _printed(*words: str) -> str:
    printed = CliRunner().invoke(cli, list(words))
    assert printed.exit_code in (0, 1), printed.output
    return printed.stdout


def _diff(old: str, new: str, context: int) -> str:
    import difflib

    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{C_NAME}", f"b/{C_NAME}", n=context)
    return f"diff --git a/{C_NAME} b/{C_NAME}\n" + "".join(lines)


@cache
def _mails() -> list[str]:
    changed = SWITCH.replace("    if ( cr4 != old_cr4 )\n", "    if ( cr4 )\n")
    head = "From: Ann Author <ann@example.org>\nSubject: [PATCH] x86: tidy the switch\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nIt is simpler.\n\n---\n"
    return [_diff(SWITCH, changed, 60), head + _diff(SWITCH, changed, 60) + "-- \n2.47.0\n", _diff(SWITCH, changed, 3)]


@cache
def _results() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        patch = Path(folder) / "patch.eml"
        patch.write_text(_mails()[0])
        asked = (
            ("verify", "linux/deferred-flush@no-pending-mark", "--engine", "explicit", "--json"),
            ("verify", "xen/before-pcid@cr4-not-restored", "--engine", "explicit", "--json"),
            ("review", str(patch), "--engine", "explicit", "--json"),
            ("matrix", "xen/before-pcid", "--json"),
            ("list", "--json"),
        )
        return [_printed(*words) for words in asked]


@cache
def _certificates() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        _printed("verify", "linux/deferred-flush", "-p", "no-fault", "-p", "stale-use", "--certificates", folder)
        return [p.read_text() for p in sorted(Path(folder).glob("*.smt2"))]


def _read_c(path: Path) -> object:
    harness = harness_for("switch")
    unit = read_unit(read_source(path), load_profile([harness.profile], harness.vocabulary), harness.defines)
    return unit.procedure("switch_cr3_cr4", "switch")


def _profile(random: Random, text: str) -> str:
    return mutate.toml(mutate.leaves(random, tomllib.loads(text)))


def _load_profile(path: Path) -> object:
    harness = harness_for("switch")
    return load_profile([harness.profile, path], harness.vocabulary)


def _mails_read(path: Path) -> object:
    return read_patches(read_text(path), str(path))


KINDS = (
    Kind("c", ".c", lambda: [SWITCH], mutate.c, _read_c, (("matrix", "FILE"), ("verify", "FILE", "--engine", "explicit", "-p", "no-fault", "--max-states", "3000"))),
    Kind("mail", ".eml", _mails, mutate.mail, _mails_read, (("review", "FILE", "--engine", "explicit"), ("review", "FILE", "--engine", "explicit", "--json"))),
    Kind("result", ".json", _results, mutate.json_text, load_result, (("replay", "FILE"), ("replay", "FILE", "-o", "OUT.html", "-o", "OUT.sarif", "-o", "OUT.md", "-o", "OUT.xml"))),
    Kind(
        "certificate",
        ".smt2",
        _certificates,
        mutate.certificate,
        load_certificate,
        (("certify", "FILE", "--timeout", "2"), ("certify", "FILE", "--timeout", "2", "--model", "linux/deferred-flush")),
    ),
    Kind("profile", ".toml", lambda: [harness_for("switch").profile.read_text()], _profile, _load_profile, (("matrix", "SWITCH", "--profile", "FILE"),)),
    Kind("model", ".py", lambda: [MODEL.read_text()], mutate.model, load_file, (("verify", "FILE", "--engine", "explicit", "--max-states", "3000"),)),
)

__all__ = ["KINDS", "SWITCH", "InputError", "Kind"]
