"""The state graph as a picture: every state of a small one, positions in procedures of a large one, the run highlighted."""

from __future__ import annotations

import json
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest
import report_samples as samples
from click.testing import CliRunner

from tlbcheck.check import explore
from tlbcheck.cli import cli
from tlbcheck.report.drawing import svg
from tlbcheck.report.facts import model_facts
from tlbcheck.report.result import model_result

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
SVG = "{http://www.w3.org/2000/svg}"


def _drawn(text: str) -> tuple[list[str], list[str]]:
    """Titles of the nodes, and the steps written at highlighted edges, in the order drawn."""
    root = tree.fromstring(text)
    nodes = [g.findtext(f"{SVG}title", "") for g in root.iter(f"{SVG}g")]
    return nodes, [x.text.strip() for x in root.iter(f"{SVG}tspan") if x.text and x.get("class") == "order"]


def test_a_small_graph_shows_every_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(EXAMPLE)
    assert CliRunner().invoke(cli, ["graph", "mine/remap@forgotten", "-o", str(tmp_path / "g.json")]).exit_code == 0
    assert CliRunner().invoke(cli, ["graph", "mine/remap@forgotten", "-o", str(tmp_path / "g.svg")]).exit_code == 0
    states = json.loads((tmp_path / "g.json").read_text())["nodes"]
    nodes, order = _drawn((tmp_path / "g.svg").read_text())
    assert len(nodes) == len(states)
    assert sorted(order) == ["1", "2"]
    assert sum("a run starts here" in n for n in nodes) == sum(n["start"] for n in states)


def test_a_large_graph_is_a_quotient_by_position(tmp_path: Path) -> None:
    """Thousands of states become some dozens of positions; a run goes along its edges from a start."""
    found = explore("xen/before-pcid@cr4-not-restored", engines=("explicit",))
    facts = model_facts(found)
    graph = facts["graph"]
    assert graph["kind"] == "positions"
    assert graph["states"] > 1000 > 100 > len(graph["nodes"])
    edges = {(a, b) for a, b, _ in graph["edges"]}
    result = model_result(found)["switch-lands"]
    for path, v in zip(graph["paths"]["switch-lands"], result.violations, strict=True):
        assert len(path) == v.depth
        assert all((a, b) in edges for a, b in path)
        assert graph["nodes"][path[0][0]]["start"]
        nodes, order = _drawn(svg(graph, path, title="t"))
        assert len(nodes) == len(graph["nodes"])
        assert sorted(int(i) for x in order for i in x.split(",")) == list(range(1, v.depth + 1))


def test_facts_say_which_lines_were_executed() -> None:
    """The procedures' text is that of the file, line by line; what no run executes is told apart."""
    found = explore("xen/before-pcid", engines=("explicit",))
    facts = model_facts(found)
    root = Path(__file__).resolve().parents[2]
    for p in facts["procedures"]:
        lines = (root / p["file"]).read_text().splitlines()
        assert p["text"] == lines[p["line"] - 1 : p["line"] - 1 + len(p["text"])]
        assert p["text"][0].startswith((f"def {p['procedure']}(", f"{p['procedure']} = "))
    never = {f"{p['file']}:{n}" for p in facts["procedures"] for n in set(p["steps"]) - set(p["executed"])}
    assert never == {x.partition(" ")[0] for x in model_result(found).results[0].unreached}


def test_a_hostile_label_stays_text_and_layouts_are_stable() -> None:
    verified = samples.hostile()[0]
    graph = verified["models"][samples.HOSTILE]["graph"]
    text = svg(graph, [[0, 1]], title=graph["nodes"][0]["label"])
    assert "script" not in {e.tag.removeprefix(SVG) for e in tree.fromstring(text).iter()}
    assert svg(graph, [[0, 1]], title=graph["nodes"][0]["label"]) == text
