"""The kinds of input that are fuzzed: where each starts, how it is mutated, when it is past its parser, and what reads it.

Those that are cheap to judge come oftener: a C file costs half a second, a JSON result a tenth of that.
"""

from __future__ import annotations

import difflib
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
from tlbcheck.library import find_models, find_properties
from tlbcheck.patch.read import read_patches
from tlbcheck.report.reread import load as load_result
from tlbcheck.system.lower import lower

HERE = Path(__file__).resolve()
C_NAME = "xen/arch/x86/flushtlb.c"
SWITCH = (HERE.parent / "switch.c").read_text()
EXAMPLE = (HERE.parents[1] / "example" / "models" / "remap.py").read_text()
MODEL = EXAMPLE.replace('about=("fresh-use", "no-fault")', 'about=("no-fault",)').replace('"fresh-use": "violated"', '"no-fault": "proved"').replace('"fresh-use"', '"no-fault"')
"""The example, of which the library's property alone is asked: it stands in a folder without the example's own."""


@dataclass(frozen=True)
class Command:
    """What is run on an input; ``FILE`` stands for it, ``SWITCH`` for a good C file, and ``OUT`` for a file to be written.

    ``share``: how often it is chosen beside the others. ``brief``: with a search of a few states (``campaign.brief``).
    """

    words: tuple[str, ...]
    share: int = 1
    brief: bool = False


@dataclass(frozen=True)
class Kind:
    """``bases``: the texts that are mutated. ``read`` raises ``InputError`` where the parser refuses a file.

    ``batch``: so many inputs are judged in a round, as many as there are of the other kinds.
    """

    name: str
    ending: str
    batch: int
    bases: Callable[[], list[str]]
    mutate: Callable[[Random, str], str]
    read: Callable[[Path], object]
    commands: tuple[Command, ...]


def _printed(*words: str) -> str:
    printed = CliRunner().invoke(cli, list(words))
    assert printed.exit_code in (0, 1), printed.output
    return printed.stdout


def _diff(old: str, new: str, context: int) -> str:
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{C_NAME}", f"b/{C_NAME}", n=context)
    return f"diff --git a/{C_NAME} b/{C_NAME}\n" + "".join(lines)


CHANGED = SWITCH.replace("    if ( cr4 != old_cr4 )\n", "    if ( cr4 )\n")
HEAD = "From: Ann Author <ann@example.org>\nSubject: [PATCH] x86: tidy the switch\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nIt is simpler.\n\n---\n"


@cache
def _mails() -> list[str]:
    return [HEAD + _diff(SWITCH, CHANGED, lines) + "-- \n2.47.0\n" for lines in (60, 3, 3)]


@cache
def _diffs() -> list[str]:
    return [_diff(SWITCH, CHANGED, lines) for lines in (60, 3, 3)]


@cache
def _results() -> list[str]:
    small = ("verify", "linux/deferred-flush@no-pending-mark", "-p", "stale-use", "--engine", "explicit", "--json")
    asked = (
        ("verify", "linux/deferred-flush@no-pending-mark", "--engine", "explicit", "--json"),
        ("verify", "xen/before-pcid@cr4-not-restored", "-p", "missing-flush", "--engine", "explicit", "--json"),
        ("matrix", "xen/before-pcid", "--json"),
        ("list", "--json"),
    )
    return [*[_printed(*small)] * 5, *(_printed(*words) for words in asked)]


_KEPT = tempfile.TemporaryDirectory(prefix="fuzzed-reviews-")
"""Holds the mail that the reviews are of as long as they are replayed."""


@cache
def _reviews() -> list[str]:
    patch = Path(_KEPT.name) / "patch.diff"
    patch.write_text(_diffs()[0])
    return [_printed("review", str(patch), "--engine", "explicit", "--json")]


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


def _model_read(path: Path) -> object:
    """Its procedures too, which are read where the model is lowered."""
    return [lower(m, find_properties(["no-fault"], m)) for m in find_models(str(path))]


@cache
def _models() -> list[str]:
    return [MODEL, *((HERE.parents[2] / "models" / "linux" / name).read_text() for name in ("svm_asid.py", "riscv_asid.py", "deferred_flush.py"))]


_REPORTS = ("-o", "OUT.html", "-o", "OUT.sarif", "-o", "OUT.md", "-o", "OUT.xml")
_BRIEFLY = ("--engine", "explicit", "-p", "no-fault")
_REPLAYS = (Command(("replay", "FILE"), 4), Command(("replay", "FILE", *_REPORTS)))
_REVIEWS = (
    Command(("review", "FILE", "--engine", "explicit"), 40, brief=True),
    Command(("review", "FILE", "--engine", "explicit", "--json"), 40, brief=True),
    Command(("review", "FILE", "--engine", "explicit", "--format", "mail", *_REPORTS), 20, brief=True),
    Command(("review", "FILE", "--engine", "explicit")),
)

KINDS = (
    Kind("c", ".c", 24, lambda: [SWITCH], mutate.c, _read_c, (Command(("verify", "FILE", *_BRIEFLY), 40, brief=True), Command(("matrix", "FILE")))),
    Kind("mail", ".eml", 12, _mails, mutate.mail, _mails_read, _REVIEWS),
    Kind("diff", ".diff", 12, _diffs, mutate.mail, _mails_read, _REVIEWS),
    Kind("result", ".json", 200, _results, mutate.json_text, load_result, _REPLAYS),
    Kind("review", ".json", 2, _reviews, mutate.json_text, load_result, _REPLAYS),
    Kind(
        "certificate",
        ".smt2",
        60,
        _certificates,
        mutate.certificate,
        load_certificate,
        (Command(("certify", "FILE", "--timeout", "2")), Command(("certify", "FILE", "--timeout", "2", "--model", "linux/deferred-flush"))),
    ),
    Kind(
        "profile",
        ".toml",
        12,
        lambda: [harness_for("switch").profile.read_text()],
        _profile,
        _load_profile,
        (Command(("verify", "SWITCH", "--profile", "FILE", *_BRIEFLY), 40, brief=True), Command(("matrix", "SWITCH", "--profile", "FILE"))),
    ),
    Kind("model", ".py", 200, _models, mutate.model, _model_read, (Command(("verify", "FILE", "--engine", "explicit", "-p", "no-fault"), brief=True),)),
)

__all__ = ["KINDS", "SWITCH", "Command", "InputError", "Kind"]
