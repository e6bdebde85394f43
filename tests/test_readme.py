"""The README's claims: its model and property work as shown, and the seed's story is what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "tests" / "example"


@pytest.mark.parametrize("file", ["models/remap.py", "properties/fresh_use.py"])
def test_the_example_in_the_readme_is_the_one_that_is_tested(file: str) -> None:
    assert (EXAMPLE / file).read_text().strip() in README


def test_the_example_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's own model and property: proved, and violated in two steps without the flush."""
    monkeypatch.chdir(EXAMPLE)
    proved = CliRunner().invoke(cli, ["verify", "mine/remap"])
    assert proved.exit_code == 0, proved.output
    assert "fresh-use          proved" in proved.output
    violated = CliRunner().invoke(cli, ["verify", "mine/remap@forgotten"])
    assert violated.exit_code == 1
    assert "fresh-use (old) is violated after 2 steps" in violated.output


def test_the_seeds_story_is_real_output() -> None:
    """Every line of the story in the README is printed by the command that is given beside it.

    Which engines confirm it in their seconds depends on how busy the machine is.
    """
    shown = README.split("-p missing-flush`):\n\n```\n")[1].split("\n```")[0].splitlines()
    printed = CliRunner().invoke(cli, ["verify", "xen/pcid-v5", "-p", "missing-flush"]).output.splitlines()
    printed = [re.sub(r"\(explicit.*", "(explicit, bmc and pdr)", line) for line in printed]
    assert [line for line in shown if line not in printed] == []
    assert len(shown) > 10


def test_the_plugin_example_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlbcheck.testing import assert_holds, assert_violated

    monkeypatch.chdir(EXAMPLE)
    assert_holds("mine/remap", "fresh-use")
    assert_violated("mine/remap@forgotten", "fresh-use", depth=2)
