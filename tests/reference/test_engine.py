"""``--engine reference`` on models of the library: the others' verdicts, and nothing that is not written in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli
from tlbcheck.engines.run import check
from tlbcheck.errors import InputError
from tlbcheck.lang.program import Procedure
from tlbcheck.library import find_models, models_in, properties_in
from tlbcheck.options import REFERENCE
from tlbcheck.reference.syntax import Function

EXAMPLE = Path(__file__).resolve().parents[1] / "example"


def test_a_violation_is_told_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    answer = CliRunner().invoke(cli, ["verify", "mine/remap@forgotten", "-p", "fresh-use", "--engine", "reference"])
    assert answer.exit_code == 1, answer.output
    assert "shortest run: 2 steps (reference)" in answer.output
    assert "1. CPU0 task: remap pte := 1 (models/remap.py:" in answer.output


def test_it_has_to_agree_with_the_engines_that_are_asked_too() -> None:
    model = models_in(EXAMPLE / "models")["mine/remap"]
    result = check(model, [properties_in(EXAMPLE / "properties")["fresh-use"]], engines=("explicit", REFERENCE))
    assert {name: a.verdict for name, a in result["fresh-use"].engines.items()} == {
        "explicit": "proved",
        REFERENCE: "proved",
    }


def test_a_procedure_that_is_no_python_function_is_refused_by_name() -> None:
    remap = find_models(str(EXAMPLE / "models" / "remap.py"))[0].init
    read_from_c = Procedure("write_cr3", (), remap.place, list)
    with pytest.raises(InputError, match=r"write_cr3\(\) is no Python function"):
        Function(read_from_c)


WAITS_FOR_CHANCE = """\
from tlbcheck import Model, choose, marker, procedure

mark = marker("mark", "marks")


@procedure
def start() -> None:
    pass


@procedure
def task() -> None:
    mark()
    while True:
        left = choose(bool)


model = Model(name="m", title="m", init=start, task=task)
"""


@pytest.mark.parametrize("engine", ["explicit", "reference"])
def test_a_loop_that_only_chooses_is_refused_at_once(tmp_path: Path, engine: str) -> None:
    """Not after every sequence of choices has been tried."""
    file = tmp_path / "m.py"
    file.write_text(WAITS_FOR_CHANCE)
    answer = CliRunner().invoke(cli, ["verify", str(file), "-p", "no-fault", "--engine", engine])
    assert answer.exit_code == 2 and "m.py:14:5: a loop without a step" in answer.stderr, answer.output
