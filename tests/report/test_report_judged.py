"""A failed assertion and a broken precondition are told by their own words and place, in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli

Json = dict[str, Any]

PAGER = '''"""A pager that installs over what is there, and counts."""

from tlbcheck import Model, most_general_caller, procedure, requires, shared
from tlbcheck.machine.x86 import MOV_TO_CR0

present = shared("present", bool)
ready = shared("ready", bool)


@procedure
def start() -> None:
    ready.set(True)


@procedure
def install() -> None:
    requires(not present.get())
    present.set(True)


@procedure
def count() -> None:
    assert ready.get()
    assert present.get() or not ready.get()  # the one that fails
    MOV_TO_CR0(0)


@procedure
def pager() -> None:
    install()
    install()  # the call that breaks it


TWICE = Model(name="pager/twice", title="installs twice", init=start, task=pager, about=("requires",))
EARLY = Model(name="pager/early", title="counts too early", init=start, task=count, about=("no-fault",))
MODELS = [TWICE, EARLY]
'''
SAID = {
    "pager/twice": ("requires", "pager() calls install(), which requires not present.get()", "# the call that breaks it"),
    "pager/early": ("no-fault", "count() asserts present.get() or not ready.get()", "# the one that fails"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "pager.py").write_text(PAGER)
    outputs = [x for e in ("html", "json", "sarif", "md", "xml") for x in ("-o", str(folder / f"all.{e}"))]
    result = CliRunner().invoke(cli, ["verify", str(folder / "pager.py"), "--engine", "explicit", *outputs])
    assert result.exit_code == 1, result.output
    (folder / "text").write_text(result.stdout)
    return folder


def line_of(comment: str) -> int:
    return next(n for n, line in enumerate(PAGER.split("\n"), 1) if comment in line)


@pytest.mark.parametrize("model", SAID)
def test_the_sentence_says_which_and_where(made: Path, model: str) -> None:
    name, text, comment = SAID[model]
    entry = next(e for e in json.loads((made / "all.json").read_text())["results"] if (e["model"], e["property"]) == (model, name))
    (violation,) = entry["violations"]
    key, other = ("call", "assertion") if name == "requires" else ("assertion", "call")
    assert (violation[key]["text"], violation[key]["line"], violation[other]) == (text, line_of(comment), None)
    where = f"{text} (pager.py:{line_of(comment)})"
    assert violation["summary"].endswith(where)
    for form in ("text", "all.md", "all.xml", "all.html"):
        assert where in " ".join((made / form).read_text().split()), form


@pytest.mark.parametrize("model", SAID)
def test_code_scanning_is_led_to_the_place(made: Path, model: str) -> None:
    """The result itself, where nothing better is known than what is broken, and its related location."""
    name, text, comment = SAID[model]
    results = json.loads((made / "all.sarif").read_text())["runs"][0]["results"]
    (result,) = [r for r in results if r["ruleId"] == name]
    (related,) = result["relatedLocations"]
    assert related["message"] == {"text": text}
    for at in (result["locations"][0], related):
        assert at["physicalLocation"]["artifactLocation"]["uri"] == "pager.py"
        assert at["physicalLocation"]["region"]["startLine"] == line_of(comment)


def test_the_line_of_blame_says_it(made: Path) -> None:
    """Among what changed, what was missing and the use: the assertion with its place."""
    page = " ".join((made / "all.html").read_text().split())
    for _, text, comment in SAID.values():
        before, _, _ = page.partition(f"{text} (pager.py:{line_of(comment)})</")
        assert before.rfind('<ol class="blame"') > before.rfind("</ol>"), text
