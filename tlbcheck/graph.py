"""The state graph of the explicit engine for networkx: path, component and reachability questions, export.

Nodes are control states, numbered in the order of discovery; edges are steps. A node knows how
many entries can be cached there and which properties a state or an incoming step violates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbcheck.engines.explicit import Tracked
from tlbcheck.errors import InputError
from tlbcheck.report.result import plain

if TYPE_CHECKING:
    import networkx

FORMATS = {".graphml": "GraphML", ".dot": "DOT", ".gv": "DOT", ".json": "node-link JSON"}


def state_graph(search: Tracked) -> networkx.MultiDiGraph[int]:
    """The graph of a finished exploration: ``MultiDiGraph`` with ``label`` on nodes and edges."""
    import networkx

    graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph(model=search.system.model.name)
    types = {v.name: v.type for v in search.system.control}
    varying = [i for i, name in enumerate(search.compiled.variables) if len({s[i] for s in search.reached}) > 1]
    bad: dict[int, set[str]] = {}
    for (name, _, _), (_, _, _, _, _, _, t) in search.found.items():
        bad.setdefault(search.order[t], set()).add(name)
    for s, number in search.order.items():
        names = search.compiled.variables
        values = {names[i]: plain(types[names[i]], int(s[i])) for i in varying}
        known = search.reached[s]
        cached = [search.compiled.entry_variables.index(n) for n in search.system.cached.values()]
        entries = 0
        for bits, mask in known.items():
            if any(bits[i] for i in cached):
                entries |= mask
        label = ", ".join(f"{n}={v}" for n, v in values.items() if v not in (0, False, "none"))
        graph.add_node(number, label=label, start=s in search.starts, entries=entries.bit_count(), violates=" ".join(sorted(bad.get(number, ()))), **values)
    for s, edges in search.edges.items():
        for index, _, t in edges:
            step = search.system.steps[index]
            place = step.places[0] if step.places else None
            graph.add_edge(search.order[s], search.order[t], label=step.action, actor=step.actor, step=index, line=place.line if place else 0)
    return graph


def write(graph: networkx.MultiDiGraph[int], path: Path) -> None:
    """Write a graph in the format that the ending names. Raises ``InputError`` for another ending."""
    import networkx

    match FORMATS.get(path.suffix):
        case "GraphML":
            networkx.write_graphml(graph, path)
        case "DOT":
            path.write_text(_dot(graph))
        case "node-link JSON":
            path.write_text(json.dumps(networkx.node_link_data(graph, edges="edges"), default=_plain))
        case _:
            raise InputError(f"no graph format is called '{path.suffix}'", hint=f"use one of {', '.join(FORMATS)}")


def _plain(value: Any) -> Any:
    return str(value)


def _dot(graph: networkx.MultiDiGraph[int]) -> str:
    lines = [f"digraph {json.dumps(graph.graph['model'])} {{", "  node [shape=box];"]
    for n, data in graph.nodes(data=True):
        style = ", color=red" if data["violates"] else ""
        lines.append(f"  {n} [label={json.dumps(data['label'])}{style}];")
    lines += [f"  {a} -> {b} [label={json.dumps(data['label'])}];" for a, b, data in graph.edges(data=True)]
    return "\n".join([*lines, "}"]) + "\n"
