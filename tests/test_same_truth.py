"""Whoever is asked says the same of a verdict: Python, JSON, text, terminal, JUnit, SARIF, Markdown, the page and
pytest.

The engines' findings are kept between the ways, so that each model is explored once: what they agree on is what is
made of these.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as tree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import html5lib
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from pager import PAGER, PROPERTY
from tiny_models import PAIRED, TINY

from tlbcheck import Status, Verdict, verify, verify_all
from tlbcheck.cli import BRIEFLY, cli
from tlbcheck.engines import run as engines
from tlbcheck.library import find_models, models
from tlbcheck.options import Limits
from tlbcheck.reliance import unsettled
from tlbcheck.report import terminal
from tlbcheck.report.schema import run_json, run_of
from tlbcheck.report.story import render
from tlbcheck.result import ModelResult, PropertyResult, RunResult, Standing


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A user's folder as the working directory, with models of every kind of verdict."""
    for folder in ("models", "properties"):
        (pytester.path / folder).mkdir()
    (pytester.path / "models" / "pager.py").write_text(PAGER)
    (pytester.path / "properties" / "pager.py").write_text(PROPERTY.format(str(pytester.path / "models" / "pager.py")))
    (pytester.path / "models" / "tiny.py").write_text(TINY)
    (pytester.path / "properties" / "paired.py").write_text(PAIRED)
    return pytester.path


SAMPLE = (
    "linux/riscv-asid",
    "xen/cr3-values",
    "xen/switch-contract",
    "tiny/as-declared",
    "tiny/empty-as-declared",
    "tiny/undeclared",
    "tiny/otherwise",
    "tiny/held",
    "tiny/failing",
    "pager/opened",
    "pager/a-relying",
    "pager/deep-opened",
    "pager/deep-relying",
)
"""As declared and not, vacuous and not applicable, declared so or not, relying on what is shown, broken or open, and
one that cannot be told.
"""


@pytest.fixture
def explored_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each model is explored once for the same question, whoever asks."""
    known: dict[Any, engines.ModelEvidence] = {}
    check = engines.check

    def kept(model: Any, properties: Any, **options: Any) -> engines.ModelEvidence:
        key = (model.name, model.profile, tuple(q.name for q in properties), options["engines"], options["cases"])
        if key not in known:
            known[key] = check(model, properties, **options)
        return known[key]

    monkeypatch.setattr(engines, "check", kept)
    yield


# -- what each says


def asked(*args: str) -> Any:
    return CliRunner().invoke(cli, ["verify", "-j", "1", "--engine", "explicit", *args], catch_exceptions=False)


def by_text(output: str, run: RunResult) -> None:
    """Each verdict on its line below its model; scope and assumptions where they are asked for."""
    for m in run.models:
        if m.failure is not None:
            continue
        head = f"{m.name}: {m.title}\n"
        section = output.partition(head)[2]
        for other in run.models:
            if other.name != m.name:
                section = section.partition(f"\n{other.name}: {other.title}\n")[0]
        lines = section.splitlines()
        for r in m:
            note = f"   UNEXPECTED: {r.surprise}" if run.expect and r.surprise else ""
            at = lines.index(f"  {r.name:<18} {r.words:<14} {r.reason}{note}") + 1
            assert [line.strip() for line in lines[at : at + len(r.beside)]] == list(r.beside)
            if not run.expect:
                assert all(
                    any(line.startswith("  assumes") and line.endswith(f": {a}") for line in lines)
                    for a in r.assumptions
                    if r.verdict is not Verdict.NOT_APPLICABLE
                )
                assert r.verdict is Verdict.NOT_APPLICABLE or any(
                    line.startswith("  scope") and line.endswith(f": {r.scope}") for line in lines
                )
        if run.expect and unsettled(m.results):
            assert f"  {unsettled(m.results)}" in lines
    assert run.counted in output


def by_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: RunResult) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    for m in run.models:
        if m.failure is None:
            terminal.show(m, expect=run.expect, stories=False, full=True)
            lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
            for r in m:
                note = f" UNEXPECTED: {r.surprise}" if run.expect and r.surprise else ""
                at = lines.index(" ".join(f"{r.name} {r.words} {r.reason}{note}".split())) + 1
                assert lines[at : at + len(r.beside)] == list(r.beside)


def by_junit(file: Path, run: RunResult) -> None:
    """A case each: failed where violated or not as declared, in error where undecided."""
    cases = {(c.get("classname"), c.get("name")): c for c in tree.parse(file).getroot().iter("testcase")}
    assert set(cases) == {(r.model, r.name) for r in run.results} | {
        (m.name, "check") for m in run.models if m.failure is not None
    }
    for m in run.models:
        if m.failure is not None:
            [error] = cases[m.name, "check"].iter("error")
            assert error.get("message") == m.failure.message
    for r in run.results:
        case = cases[r.model, r.name]
        properties = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        assert ("verdict", r.verdict) in properties
        assert [v for n, v in properties if n == "relies"] == [x.assumption for x in r.relies]
        assert [v for n, v in properties if n == "note"] == list(r.beside)
        tags = {tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None}
        match r.status(run.expect):
            case Status.UNDECIDED:
                assert tags == {"error"}
                assert [str(e.get("message")).endswith(r.reason) for e in case.iter("error")] == [True]
            case Status.VIOLATED:
                assert tags == {"failure"}
            case _:
                assert tags == ({"skipped"} if r.verdict is Verdict.NOT_APPLICABLE else set())


def by_sarif(file: Path, run: RunResult) -> None:
    [log] = json.loads(file.read_text())["runs"]
    results = [(x["properties"]["model"], x["ruleId"], x["properties"]["clause"]) for x in log["results"]]
    assert results == [
        (r.model, r.name, v.clause) for r in run.results if r.status(run.expect) is not Status.HOLDS for v in r.told
    ]
    told = log["invocations"][0]["toolExecutionNotifications"]
    beside = [x["message"]["text"] for x in told if x["level"] == "note"]
    assert beside == [f"{r.model}: {r.name}: {n}" for r in run.results for n in r.beside]
    notes = [x["message"]["text"] for x in told if x["level"] != "note"]
    undecided = [
        f"{r.model}: {r.name} is undecided ({r.verdict}): {r.reason}"
        for r in run.results
        if r.status(run.expect) is Status.UNDECIDED
    ]
    held = [
        f"{r.model}: {r.name} is {r.verdict}, {r.surprise}: {r.reason}"
        for r in run.results
        if r.status(run.expect) is Status.VIOLATED and not r.violations
    ]
    assert sorted(notes) == sorted(
        [*undecided, *held, *(f"{m.name}: {m.failure.message}" for m in run.models if m.failure is not None)]
    )


def by_markdown(file: Path, run: RunResult) -> None:
    rows: list[tuple[str, ...]] = []
    row: list[str] = []
    items: list[str] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(file.read_text()):
        if token.type == "tr_open":
            row = []
        if token.type == "inline":
            row.append("".join(child.content for child in token.children or ()))
            items.append(row[-1])
        if token.type == "tr_close":
            rows.append(tuple(row))

    def shown(r: PropertyResult) -> str:
        if r.verdict is not Verdict.VIOLATED or not run.expect:
            return r.words
        return f"VIOLATED, {r.surprise}" if r.surprise else "violated, as declared"

    assert rows[1:] == [(r.model, r.name, shown(r), r.reason) for r in run.results]
    assert {f"{r.model}: {r.name}: {n}" for r in run.results for n in r.beside} <= set(items)


def by_page(file: Path, run: RunResult) -> None:
    page = html5lib.parse(file.read_text(), namespaceHTMLElements=False)
    at = {e.get("id"): " ".join("".join(e.itertext()).split()) for e in page.iter() if e.get("id")}
    told: dict[tuple[str, str], tuple[str, str]] = {}
    for nav in page.iter("nav"):
        if nav.get("class") == "verdicts":
            model = nav.get("aria-label").removeprefix("Verdicts on ")
            told |= {
                (model, li.find("a").text): (li.find("span").text, at[li.find("a").get("href")[1:]])
                for li in nav.iter("li")
            }
    assert set(told) == {(r.model, r.name) for r in run.results}
    for r in run.results:
        words, text = told[r.model, r.name]
        assert words == r.words
        assert " ".join(r.reason.split())[1:] in text
        assert all(" ".join(n.split())[1:] in text for n in r.beside)
        assert ("Unexpected: " in text) is bool(r.surprise and (run.expect or r.expectation.verdict is not None))


def by_pytest(pytester: pytest.Pytester, run: RunResult, names: Sequence[str]) -> None:
    """A test passes where the property is proved of something that happens, and all it relies on is shown."""
    pytester.makepyfile(
        test_models=f"import pytest\n@pytest.mark.tlbcheck(model={list(names)!r})\ndef test_model(): ...\n"
    )
    record = pytester.inline_run("-p", "no:cacheprovider", "-p", "no:xdist", "test_models.py")
    reports = {
        r.nodeid.partition("[")[2].removesuffix("]"): r
        for r in record.getreports("pytest_runtest_logreport")
        if r.when == "call"
    }
    assert set(reports) >= {f"{r.model}-{r.name}" for r in run.results}
    for r in run.results:
        report = reports[f"{r.model}-{r.name}"]
        beside = [line for _, text in report.sections for line in text.splitlines()]
        assert [x for x in beside if x.startswith(f"{r.model}: {r.name}: ")] == [
            f"{r.model}: {r.name}: {n}" for n in r.beside
        ]
        assert report.passed is (
            r.verdict is Verdict.PROVED and not r.undecided and all(x.standing is Standing.SHOWN for x in r.relies)
        ), report.longrepr
        if r.verdict is Verdict.VIOLATED:
            assert str(report.longrepr).startswith(
                render(r.model, r.name, {**r.violations[0].told, "blame": None}).partition("\n  Why")[0]
            )
        elif r.verdict is not Verdict.PROVED:
            assert f"{r.model}: {r.name} is {r.verdict}, not proved ({r.reason})" in str(report.longrepr)


# -- that it is the same


def undrawn(document: Mapping[str, Any]) -> dict[str, Any]:
    """JSON without the graphs that only reports ask for."""
    plain: dict[str, Any] = json.loads(json.dumps(document))
    for facts in plain["models"].values():
        facts["graph"] = None
    return plain


def alike(
    names: Sequence[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    expect: bool,
) -> RunResult:
    """Ask the command line and Python about ``names``, and hold all that they say against each other; gives what they
    say.
    """
    files = {ending: folder / f"report{ending}" for ending in (".xml", ".sarif", ".md", ".html")}
    options = ["--expect"] if expect else []
    printed = asked(*names, *options, *(x for f in files.values() for x in ("-o", str(f))))
    as_json = asked(*names, *options, "--json")
    document = json.loads(as_json.stdout)
    chosen = [x for n in names for m in find_models(n) for x in ((m, *map(m.variant, m.variants)) if expect else (m,))]
    limits = Limits(confirming=BRIEFLY) if expect else Limits()
    run = verify_all(chosen, engines=("explicit",), cases=not expect, blame=not expect, limits=limits, expect=expect)
    assert undrawn(run_json(run)) == undrawn(document)
    assert undrawn(run_json(run_of(document))) == undrawn(document)
    assert printed.exit_code == as_json.exit_code == document["status"] == run.status
    failures = [f"tlbcheck: {m.failure.message}" for m in run.models if m.failure is not None]
    assert [line for line in printed.stderr.splitlines() if line.startswith("tlbcheck: ")] == failures
    by_text(printed.stdout, run)
    by_terminal(capsys, monkeypatch, run)
    by_junit(files[".xml"], run)
    by_sarif(files[".sarif"], run)
    by_markdown(files[".md"], run)
    by_page(files[".html"], run)
    return run


def kinds(run: RunResult) -> set[tuple[str, Status, bool]]:
    return {(r.words, r.status(run.expect), bool(r.relies)) for r in run.results}


def test_all_ways_say_the_same(
    explored_once: None,
    project: Path,
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On models of the library and on small ones of every kind of verdict."""
    run = alike(SAMPLE, project, capsys, monkeypatch, expect=False)
    assert {words for words, _, _ in kinds(run)} == {"VIOLATED", "proved", "proved (vacuous)", "not applicable"}
    assert {r.standing for x in run.results for r in x.relies} == {Standing.SHOWN}
    assert [m.name for m in run.models if m.failure is not None] == ["tiny/failing"]
    assert any(r.beside for r in run.results)
    by_pytest(pytester, run, [n for n in SAMPLE if n != "tiny/failing"])


@pytest.mark.long
def test_all_ways_say_the_same_of_what_is_declared(
    explored_once: None, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model that relies on one that is not asked for, and variants, of which some rest on what is not shown."""
    small = [n for n in SAMPLE if n.startswith(("tiny/", "pager/"))]
    run = alike([*small, "pager/deep-top"], project, capsys, monkeypatch, expect=True)
    assert {words for words, _, _ in kinds(run)} == {
        "VIOLATED",
        "UNKNOWN",
        "proved",
        "proved (vacuous)",
        "not applicable",
    }
    assert {r.standing for x in run.results for r in x.relies} == set(Standing)
    surprises = {(r.model, r.name): (r.surprise, r.status(True)) for r in run.results if r.surprise}
    assert surprises["tiny/undeclared", "paired"] == ("not declared", Status.VIOLATED)
    assert surprises["tiny/held", "paired"] == ("the model declares violated", Status.VIOLATED)
    assert surprises["tiny/otherwise", "paired"] == ("the model declares proved", Status.VIOLATED)


@pytest.mark.long
def test_python_alone_says_what_the_command_line_says(explored_once: None) -> None:
    """``verify("xen/shootdown", ["shootdown"])`` said proved and nothing more, where the command line said what that
    relies on.
    """
    result = verify("xen/shootdown", ["shootdown"], engines=("explicit",))
    printed = asked("xen/shootdown", "-p", "shootdown")
    assert f"  {'shootdown':<18} {'proved':<14} {result['shootdown'].reason}\n" in printed.stdout
    assert result["shootdown"].reason.startswith(
        "relies on do_tlb_flush(), flush_one_page() and switch_cr3_cr4() (not checked in this run); "
    )
    assert result.status() == printed.exit_code == 0


@pytest.mark.long
def test_all_ways_say_the_same_of_the_whole_library(
    explored_once: None, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [x for n, m in models().items() for x in (n, *(f"{n}@{v}" for v in m.variants))]
    run = alike(names, pytester.path, capsys, monkeypatch, expect=False)
    by_pytest(pytester, run, names)
    assert alike(list(models()), pytester.path, capsys, monkeypatch, expect=True).status is Status.HOLDS


def test_the_page_about_python_is_true() -> None:
    """The example of docs/python.md is run as it stands."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "python.md").read_text()
    exec(page.partition("```python\n")[2].partition("```")[0], {})


def test_a_result_is_found_by_name() -> None:
    run = RunResult((ModelResult("a", results=(PropertyResult(model="a", name="p", found=Verdict.PROVED),)),))
    assert run["a"]["p"].verdict is Verdict.PROVED
    for missing in ("b", "q"):
        with pytest.raises(KeyError):
            run[missing]
    with pytest.raises(KeyError):
        run["a"]["q"]
