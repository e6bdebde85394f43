"""Whatever form a result takes, it answers what a reader asks: what the text says, every other report says too."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli
from tlbcheck.report.answers import answers, in_short, why
from tlbcheck.report.wording import sentence

FOR_EVER = '''
"""Two CPUs that take two locks in different orders; one that fails an assertion."""

from tlbcheck import Model, Property, atomic, per_cpu, procedure, require, shared, this_cpu

one, other = shared("one", bool), shared("other", bool)
wants = per_cpu("wants", bool)


@procedure
def start() -> None:
    one.set(False)


@procedure
def both() -> None:
    wants.set(True)
    if this_cpu() == 0:
        with atomic("takes one"):
            require(not one.get())
            one.set(True)
        with atomic("takes the other"):
            require(not other.get())
            other.set(True)
    else:
        with atomic("takes the other"):
            require(not other.get())
            other.set(True)
        with atomic("takes one"):
            require(not one.get())
            one.set(True)
    wants.set(False)


@procedure
def run() -> None:
    both()
    while True:
        with atomic("is done"):
            pass


@procedure
def forgets() -> None:
    while True:
        one.set(not one.get())
        if not one.get():
            other.set(True)
        assert not other.get()


for_ever = Model(name="mine/for-ever", title="two locks", init=start, task=run, cpus=2, about=("gets-on",))
forgetful = Model(name="mine/forgetful", title="an assertion", init=start, task=forgets, about=("no-fault",))
'''
GETS_ON = """
from tlbcheck import Property, var
from tlbcheck.lang.types import BOOL

PROPERTY = Property("gets-on", "whoever wants locks gets them", source="here", clauses={"waits": "a CPU wants its locks for ever"})
PROPERTY.eventually_not("waits", var("wants", BOOL))
"""
NAMES = {"entry": "linux/deferred-flush@no-pending-mark", "rule": "mine/forgetful", "wait": "mine/for-ever"}
ENDINGS = (".json", ".sarif", ".xml", ".md", ".html", ".itf.json")


@pytest.fixture(scope="module", params=NAMES)
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, dict[str, Path]]:
    """A violation of each kind: as JSON, as printed, and the reports of it."""
    folder = tmp_path_factory.mktemp(request.param)
    for name, text in (("models/mine.py", FOR_EVER), ("properties/mine.py", GETS_ON)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    files = {ending: folder / f"report{ending}" for ending in ENDINGS}
    options = ["--engine", "explicit", "--models", str(folder), *(x for f in files.values() for x in ("-o", str(f)))]
    printed = CliRunner().invoke(cli, ["verify", NAMES[request.param], *options])
    assert printed.exit_code == 1, printed.output
    (violation,) = (v for e in json.loads(files[".json"].read_text())["results"] for v in e["violations"])
    assert violation["account"]["kind"] == request.param
    files[".itf.json"] = next(folder.glob("report*.itf.json"))
    return violation, printed.stdout, files


def of_suite(text: str) -> str:
    return "".join(ElementTree.fromstring(text).itertext())


READ: dict[str, Callable[[str], str]] = {
    ".sarif": lambda text: json.loads(text)["runs"][0]["results"][0]["message"]["text"],
    ".xml": of_suite,
    ".md": lambda text: text,
    ".itf.json": lambda text: "\n".join(json.loads(text)["#meta"]["answers"]),
}


@pytest.mark.parametrize("ending", READ)
def test_each_report_has_each_answer(reports: tuple[dict[str, Any], str, dict[str, Path]], ending: str) -> None:
    violation, printed, files = reports
    said = READ[ending](files[ending].read_text())
    assert len(in_short(violation)) >= 3 and why(violation)
    for line in in_short(violation):
        assert line in printed and line in said
    assert f"Why: {why(violation)}" in printed and why(violation) in said
    for a in answers(violation):
        assert a.text in said or sentence(a.text) in said


def test_the_page_has_each_answer(reports: tuple[dict[str, Any], str, dict[str, Path]]) -> None:
    violation, _, files = reports
    page = html.unescape(files[".html"].read_text()).replace("\\u003e", ">").replace("\\u003c", "<").replace('\\"', '"')
    for a in answers(violation):
        assert a.head in page and a.text in page
