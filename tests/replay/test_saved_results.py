"""A saved result is believed where its own choices, followed again, give what it says: every other field is held against that."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from quick import sampled
from remembered import remember_searches

from tlbcheck.cli import cli
from tlbcheck.errors import InputError
from tlbcheck.library import models
from tlbcheck.report.reread import replay_document

Json = dict[str, Any]
FREE = ("tool", "seconds", "certificate", "certificates")
"""What the file alone can tell: replay says so."""


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def saved(*words: str) -> Json:
    result = run("verify", *words, "--engine", "explicit", "--json")
    assert result.exit_code in (0, 1), result.output
    document: Json = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def reclaim() -> Json:
    return saved("linux/deferred-flush@no-pending-mark", "-p", "stale-use")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        for k, x in value.items():
            yield from leaves(x, (*path, k))
    elif isinstance(value, list) and value:
        for i, x in enumerate(value):
            yield from leaves(x, (*path, i))
    else:
        yield path


def other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case None:
            return "x"
    return ["x"] if isinstance(value, list) else {"x": "x"}


def edited(document: Json, path: tuple[Any, ...]) -> Json:
    changed = copy.deepcopy(document)
    at: Any = changed
    for k in path[:-1]:
        at = at[k]
    at[path[-1]] = other(at[path[-1]])
    return changed


@pytest.fixture(autouse=True)
def searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_searches(monkeypatch)


def refused(document: Json) -> bool:
    try:
        replay_document(document, Path("file.json"))
    except InputError:
        return True
    return False


def accepted(document: Json, every: int) -> list[str]:
    """The one-field edits of a result that are believed; one of ``every`` edits is tried."""
    believed = []
    paths = [p for p in leaves(document) if not {p[0], p[-1]} & {*FREE}]
    for path in paths[::every]:
        if not refused(edited(document, path)):
            believed.append(".".join(map(str, path)))
    assert len(paths) > 10 * every
    return believed


def test_no_edit_of_one_field_is_believed(reclaim: Json) -> None:
    assert accepted(reclaim, 43) == []


@pytest.mark.long
def test_no_edit_of_one_field_of_any_kind_of_violation_is_believed(reclaim: Json) -> None:
    assert accepted(reclaim, 1) == []
    for name in ("xen/shootdown@wait-irqs-off", "xen/before-pcid@cr4-not-restored", "linux/svm-asid@migration-keeps-generation", "xen/toggle@toggle-noflush-shadow"):
        assert accepted(saved(name), 11) == []


def test_what_a_result_leaves_out_is_missed(reclaim: Json) -> None:
    """A field of each kind that is taken away, at every level."""
    assert not refused(reclaim)
    for path in [("models",), ("status",), ("results", 0, "found"), ("results", 0, "unreached"), ("results", 0, "violations", 0, "blame"), ("results", 0, "engines", "explicit")]:
        changed = copy.deepcopy(reclaim)
        at: Any = changed
        for k in path[:-1]:
            at = at[k]
        del at[path[-1]]
        assert refused(changed), path


def test_what_was_found_to_mend_a_run_cannot_be_taken_away(reclaim: Json) -> None:
    changed = copy.deepcopy(reclaim)
    violation = changed["results"][0]["violations"][0]
    assert violation["blame"]
    violation["blame"], violation["tried"] = None, ""
    assert refused(changed)


@pytest.mark.parametrize("engines", [("bmc",), ("pdr",), ("full",), ("reference",), ("bmc", "pdr")], ids="-".join)
def test_a_result_of_other_engines_is_found_again_by_them(tmp_path: Path, engines: tuple[str, ...]) -> None:
    """What they prove, find, or leave open; and nobody makes another verdict of it."""
    words = [x for e in engines for x in ("--engine", e)]
    for name, status in (("linux/deferred-flush", 0), ("linux/deferred-flush@no-pending-mark", 1)):
        document = json.loads(run("verify", name, "-p", "stale-use", *words, "--json").stdout)
        (tmp_path / "file.json").write_text(json.dumps(document))
        result = run("replay", str(tmp_path / "file.json"))
        assert result.exit_code == status, result.output
        entry = document["results"][0]
        for verdict in {"proved", "bounded", "unknown"} - {entry["found"]}:
            entry["verdict"] = entry["found"] = verdict
            assert refused(document), verdict


@pytest.mark.parametrize("words", [("matrix", "xen/before-pcid"), ("list",)], ids=["matrix", "list"])
def test_a_table_is_made_again(words: tuple[str, ...]) -> None:
    document = json.loads(run(*words, "--json").stdout)
    assert not refused(document)
    paths = [p for p in leaves(document) if p[0] != "tool"]
    for path in paths[:: len(paths) // 4]:
        assert refused(edited(document, path)), path


def test_two_steps_that_changed_places_are_refused(reclaim: Json, tmp_path: Path) -> None:
    steps = reclaim["results"][0]["violations"][0]["steps"]
    for i in range(len(steps) - 1):
        changed = copy.deepcopy(reclaim)
        told = changed["results"][0]["violations"][0]["steps"]
        told[i], told[i + 1] = told[i + 1], told[i]
        (tmp_path / "file.json").write_text(json.dumps(changed))
        assert run("replay", str(tmp_path / "file.json")).exit_code == 2


@pytest.mark.parametrize(("verdict", "keep"), [("proved", True), ("proved", False), ("violated", False), ("unknown", True)])
def test_a_verdict_that_contradicts_its_runs_is_refused(reclaim: Json, tmp_path: Path, verdict: str, keep: bool) -> None:
    changed = copy.deepcopy(reclaim)
    entry = changed["results"][0]
    entry["verdict"] = entry["found"] = verdict
    if not keep:
        entry["violations"] = []
    (tmp_path / "file.json").write_text(json.dumps(changed))
    assert run("replay", str(tmp_path / "file.json")).exit_code == 2


NO_RESULTS = (
    "9" * 5000,
    "[" * 100_000,
    '{"schema": "tlbcheck/1", "command": "verify", "results": [' + "9" * 5000 + "]}",
    '{"schema": "tlbcheck/1", "command": ["verify"]}',
    "{}",
    "null",
    "",
)


@pytest.mark.parametrize("text", NO_RESULTS)
def test_what_is_no_result_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.json").write_text(text)
    result = run("replay", str(tmp_path / "file.json"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.exception


@pytest.mark.parametrize("value", [[], [10**30], None, "x", [None], {}])
def test_choices_that_are_none_are_refused_in_one_line(reclaim: Json, tmp_path: Path, value: Any) -> None:
    for place in ("start", "step"):
        changed = copy.deepcopy(reclaim)
        violation = changed["results"][0]["violations"][0]
        told = violation["initial"] if place == "start" else next(s for s in violation["steps"] if s["chosen"])
        if told["chosen"] == value:
            continue
        told["chosen"] = value
        (tmp_path / "file.json").write_text(json.dumps(changed))
        result = run("replay", str(tmp_path / "file.json"))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.exception


@pytest.mark.parametrize(
    ("words",), sampled([(("--expect",),), ((),), (("--all",),)], keep=1), ids=["expect", "plain", "all"]
)
def test_an_unedited_result_is_confirmed(tmp_path: Path, words: tuple[str, ...]) -> None:
    document = saved("linux/svm-asid@migration-keeps-generation", "xen/before-pcid@cr4-not-restored", *words)
    (tmp_path / "file.json").write_text(json.dumps(document))
    result = run("replay", str(tmp_path / "file.json"))
    assert result.exit_code == 1, result.stderr
    told = sum(len(r["violations"]) for r in document["results"])
    assert f"{told} violation(s) confirmed" in result.stdout


@pytest.mark.long
@pytest.mark.parametrize("words", [(), ("--expect",), ("--all",)], ids=["plain", "expect", "all"])
def test_every_violation_of_the_library_is_confirmed(tmp_path: Path, words: tuple[str, ...]) -> None:
    names = [x for m in models().values() for x in (m.name, *(f"{m.name}@{v}" for v in m.variants))]
    document = saved(*names, *words)
    (tmp_path / "file.json").write_text(json.dumps(document))
    result = run("replay", str(tmp_path / "file.json"))
    assert result.exit_code == 1, result.stderr
    assert f"{sum(len(r['violations']) for r in document['results'])} violation(s) confirmed" in result.stdout
