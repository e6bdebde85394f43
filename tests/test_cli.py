"""The command line as a user meets it: output, JSON contract, exit status, errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from remembered import remember_searches

from tlbcheck.cli import cli
from tlbcheck.result import worst


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


@pytest.fixture(scope="module")
def v5() -> dict[str, Any]:
    """The JSON result of the real case, explicit engine only."""
    result = run("verify", "xen/pcid-v5", "--json", "--engine", "explicit", "-p", "missing-flush", "-p", "no-fault")
    assert result.exit_code == 1
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def entry(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(r for r in document["results"] if r["property"] == name)


def test_the_json_contract(v5: dict[str, Any]) -> None:
    """design.md 5: the fields of verify's JSON and their values."""
    assert (v5["schema"], v5["command"]) == ("tlbcheck/1", "verify")
    assert {"tlbcheck", "z3-solver"} <= set(v5["tool"])
    stale = entry(v5, "missing-flush")
    assert (stale["model"], stale["verdict"], stale["vacuous"], stale["expected"]) == ("xen/pcid-v5", "violated", False, "violated")
    assert stale["scope"]["representation"] == "tracked(1)"
    assert stale["scope"]["profile"] == "common"
    assert stale["assumptions"]
    assert stale["engines"]["explicit"]["depth"] == stale["violations"][0]["depth"]
    violation = stale["violations"][0]
    assert {"caller", "old", "left", "new", "other_cr4", "interrupted", "options"} <= set(violation["case"])
    assert violation["loop"] is None
    assert len(violation["steps"]) == violation["depth"]
    step = next(s for s in violation["steps"] if s["action"] == "MOV to CR3")
    assert {"cpu", "level", "actor", "action", "text", "source", "choices", "changes"} <= set(step)
    assert step["actor"] == "write_cr3_cr4"
    assert step["source"][0]["file"].endswith("switch.py")
    assert any(name.startswith("cpu0.cr3.") for name in step["changes"])


def test_a_case_says_under_which_options_it_can_happen(v5: dict[str, Any]) -> None:
    """The #GP needs a domain with XPTI but without PCID beside one with PCID: pcid=no-xpti, or a change at run time."""
    options = entry(v5, "no-fault")["violations"][0]["case"]["options"]
    assert "no-xpti" in options["pcid"]
    assert "xpti" not in options["pcid"]
    assert options["invpcid"] == ["1"]


def test_blame_was_tried(v5: dict[str, Any]) -> None:
    """A named repair is one that was applied, after which the case held."""
    blame = entry(v5, "missing-flush")["violations"][-1]["blame"]
    assert blame["kind"] == "amended"
    assert "this case holds" in blame["text"]


def test_replay_confirms_a_result(v5: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember_searches(monkeypatch)
    file = tmp_path / "v5.json"
    file.write_text(json.dumps(v5))
    result = run("replay", str(file))
    assert result.exit_code == 1, result.output
    assert "confirmed" in result.output


def _edits(v5: dict[str, Any]) -> dict[str, str]:
    """Ways to spoil a result, as text."""

    def edited(change: Any) -> str:
        document = json.loads(json.dumps(v5))
        document["results"] = [entry(document, "missing-flush")]
        change(entry(document, "missing-flush"))
        return json.dumps(document)

    def violation(r: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = r["violations"][0]
        return found

    return {
        "not JSON": json.dumps(v5)[:-40],
        "no result": json.dumps({"schema": "tlbcheck/1", "command": "matrix"}),
        "a list": "[]",
        "step removed": edited(lambda r: violation(r)["steps"].pop(4)),
        "depth changed": edited(lambda r: violation(r).update(depth=3)),
        "step removed and depth changed": edited(lambda r: (violation(r)["steps"].pop(), violation(r).update(depth=violation(r)["depth"] - 1))),
        "value changed": edited(lambda r: violation(r)["steps"][5]["changes"].update({"cpu0.cr4.PGE": [0, 1]})),
        "choice changed": edited(lambda r: violation(r)["initial"].update(chosen=[3])),
        "other property": edited(lambda r: r.update(property="switch-lands")),
        "other model": edited(lambda r: r.update(model="xen/flush-once")),
        "unknown model": edited(lambda r: r.update(model="xen/nothing")),
        "field missing": edited(lambda r: violation(r).pop("tracked")),
        "field of a wrong kind": edited(lambda r: violation(r).update(steps=7)),
        "entry changed": edited(lambda r: violation(r)["tracked"]["fields"].update({"entry.tag": 3})),
    }


def test_replay_refuses_what_was_broken_or_edited(v5: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line, status 2, whatever was spoilt."""
    remember_searches(monkeypatch)
    for name, text in _edits(v5).items():
        file = tmp_path / "edited.json"
        file.write_text(text)
        result = run("replay", str(file))
        assert result.exit_code == 2, (name, result.output)
        assert len(result.stderr.splitlines()) == 1, name
        assert "Traceback" not in result.output


@pytest.mark.long
def test_all_lists_each_distinct_case() -> None:
    """--all: one shortest trace for each property, clause, caller and contexts."""
    document = json.loads(run("verify", "xen/xsa-292", "--all", "--json", "--engine", "explicit", "-p", "no-fault").stdout)
    violations = entry(document, "no-fault")["violations"]
    keys = [(v["clause"], *(str(v["case"][k]) for k in ("caller", "old", "left", "new", "other_cr4"))) for v in violations]
    assert len(keys) == len(set(keys)) > 1
    assert {(k[2], k[4]) for k in keys} == {("nopcid", "user")}


def test_expect_succeeds_where_verdicts_are_as_declared() -> None:
    violated = ("verify", "linux/deferred-flush@no-pending-mark", "--engine", "explicit")
    assert run(*violated, "--expect").exit_code == 0
    assert run(*violated).exit_code == 1
    assert run("verify", "linux/deferred-flush", "--engine", "explicit").exit_code == 0


def test_one_engine_alone_that_only_bounds_is_undecided() -> None:
    """z3's search alone proves nothing: status 3."""
    result = run("verify", "linux/deferred-flush", "--engine", "bmc", "--depth", "4")
    assert result.exit_code == 3
    assert "bounded" in result.stdout


def test_the_worst_status_decides() -> None:
    assert worst([0, 3, 1]) == 1
    assert worst([1, 2, 3]) == 2
    assert worst([2, 4]) == 4
    assert worst([0, 3]) == 3
    assert worst([]) == 0


def test_the_text_tells_the_story() -> None:
    """One line a step with CPU, procedure and source line; the call path first; blame last."""
    text = run("verify", "xen/pcid-v5", "--engine", "explicit", "-p", "missing-flush").stdout
    assert "called from new_guest_cr3 with interrupts on" in text
    assert "CPU0 task write_cr3_cr4" in text
    assert "NOFLUSH" in text
    assert "Why: " in text
    assert "assumes: " in text


@pytest.mark.long
def test_matrix_exit_status_and_json() -> None:
    clean = run("matrix", "xen/before-pcid", "--json")
    assert clean.exit_code == 0
    document = json.loads(clean.stdout)
    assert document["command"] == "matrix"
    assert len(document["rows"]) == 8
    assert "cannot be reached" in document["note"]
    assert set(document["rows"][0]) == {"old", "new", "other_cr4", "steps", "verdict", "detail"}
    assert run("matrix", "xen/xsa-292").exit_code == 1


def test_list_names_models_variants_and_properties() -> None:
    text = run("list").stdout
    for name in ("xen/pcid-v5", "@only-cr3-read-early", "missing-flush", "xen/flush-once"):
        assert name in text
    assert {m["model"] for m in json.loads(run("list", "--json").stdout)["models"]} >= {"xen/gp-fix"}


@pytest.mark.parametrize("ending", ["graphml", "json", "dot"])
def test_graph_formats(ending: str, tmp_path: Path) -> None:
    """The state graph in each format; readable by networkx where it has a reader."""
    import networkx

    file = tmp_path / f"g.{ending}"
    result = run("graph", "linux/deferred-flush", "-o", str(file))
    assert result.exit_code == 0, result.output
    if ending == "graphml":
        assert networkx.read_graphml(file).number_of_nodes() > 100
    elif ending == "json":
        graph = networkx.node_link_graph(json.loads(file.read_text()), edges="edges")
        assert all("label" in data for _, _, data in graph.edges(data=True))
    else:
        assert file.read_text().startswith("digraph")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["verify", "xen/pcid-v6"], "did you mean xen/pcid-v"),
        (["verify", "xen/pcid-v5@nothing"], "it has: "),
        (["verify", "xen/pcid-v5", "-p", "nothing"], "there are: missing-flush"),
        (["matrix", "nothing"], "unknown model"),
        (["graph", "xen/before-pcid", "-o", "x.png"], "use one of"),
        (["replay", "no-such-file.json"], "cannot be read"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(args: list[str], says: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr


def test_help_shows_an_example_for_each_command() -> None:
    for command in ("verify", "matrix", "list", "graph", "replay"):
        assert f"Example: tlbcheck {command}" in run(command, "--help").stdout


@pytest.mark.parametrize("module", ["tlbcheck.cli", "tlbcheck.pytest_plugin"])
def test_help_and_the_plugin_import_nothing_heavy(module: str) -> None:
    """design.md 7: neither --help nor the plugin loads z3, networkx or numba."""
    code = f"import sys, {module}; print([m for m in ('z3', 'networkx', 'numba', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("limit", [("--timeout", "0.02"), ("--max-memory", "16")], ids=["time", "memory"])
def test_a_solver_that_comes_to_no_end_leaves_the_verdict_open(limit: tuple[str, str]) -> None:
    """Out of time or memory: unknown, with the reason, exit status 3.

    In an interpreter of its own: memory that other tests have freed would be there for the solver.
    """
    command = (sys.executable, "-m", "tlbcheck.cli", "verify", "xen/before-pcid", "-p", "no-fault", "--engine", "pdr", "--json", *limit)
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 3, result.stderr
    made = entry(json.loads(result.stdout), "no-fault")
    assert made["verdict"] == "unknown" and made["engines"]["pdr"]["reason"]
