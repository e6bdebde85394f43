"""A word that a step chooses is written as the model writes such a word, else in hexadecimal; in the fields for programs it stays a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tlbcheck.cli import cli

MODEL = '''"""A procedure that anything may call."""

from tlbcheck import Model, most_general_caller, procedure, shared, u64
from tlbcheck.machine.x86 import MOV_TO_CR0, NOTATION

at = shared("at", u64)


@procedure
def start() -> None:
    at.set(0)


@procedure
def load(cr3: u64, mask: u64, few: u64, ready: bool) -> None:
    at.set(cr3 + mask + few)
    assert not ready
    MOV_TO_CR0(0)


anybody = most_general_caller(load, domains={"cr3": (0x5002,), "mask": (0x12345000,), "few": (7,)})
WORDS = Model(name="my/words", title="words", init=start, task=anybody, about=("no-fault",), notation=NOTATION)
'''


def test_a_chosen_word_is_written_for_people(tmp_path: Path) -> None:
    file = tmp_path / "words.py"
    file.write_text(MODEL)
    result = CliRunner().invoke(cli, ["verify", str(file), "--engine", "explicit", "-o", str(tmp_path / "all.json"), "-o", str(tmp_path / "all.html")])
    assert result.exit_code == 1, result.output
    (entry,) = [e for e in json.loads((tmp_path / "all.json").read_text())["results"] if e["property"] == "no-fault"]
    (chosen,) = [s for v in entry["violations"] for s in v["steps"] if s["choices"]]
    numbers: dict[str, Any] = {"cr3": 0x5002, "mask": 0x12345000, "few": 7, "ready": True}
    assert chosen["choices"] == numbers
    shown = "[cr3 = root 0x5000 PCID 2, mask = 0x12345000, few = 7, ready = yes]"
    assert shown in result.output
    assert shown in (tmp_path / "all.html").read_text()
