"""The state graph answers path, component and reachability questions in networkx."""

from __future__ import annotations

import networkx
import pytest

from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.graph import state_graph


@pytest.fixture(scope="module")
def result() -> ModelEvidence:
    return explore("xen/before-pcid@cr4-not-restored", engines=("explicit",))


def test_a_shortest_path_is_as_long_as_the_trace(result: ModelEvidence) -> None:
    """The graph's shortest path from a start to a violating state has the depth that the engines report."""
    assert result.search is not None
    graph = state_graph(result.search)
    starts = [n for n, data in graph.nodes(data=True) if data["start"]]
    bad = [n for n, data in graph.nodes(data=True) if "switch-lands" in data["violates"]]
    lengths = networkx.multi_source_dijkstra_path_length(graph, set(starts), weight=None)
    assert min(lengths[n] for n in bad) == result["switch-lands"].violations[0].depth


def test_everything_is_reachable_and_labelled(result: ModelEvidence) -> None:
    assert result.search is not None
    graph = state_graph(result.search)
    starts = {n for n, data in graph.nodes(data=True) if data["start"]}
    reached = starts.union(*(networkx.descendants(graph, n) for n in starts))
    assert len(reached) == graph.number_of_nodes() == len(result.search.reached)
    assert all(data["label"] and data["actor"] for _, _, data in graph.edges(data=True))


def test_the_cpu_can_always_go_on(result: ModelEvidence) -> None:
    """No dead end without a fault; and for each choice of the case variables the CPU can run for ever."""
    assert result.search is not None
    graph = state_graph(result.search)
    assert all(graph.out_degree(n) for n in graph)
    loops = [c for c in networkx.strongly_connected_components(graph) if len(c) > 1]
    cases = {data["case.observed_kind"] for _, data in graph.nodes(data=True)}
    assert {graph.nodes[n]["case.observed_kind"] for c in loops for n in c} == cases == {"hvm", "pv", "nopcid"}
