"""The state graph of the explicit engine for networkx: path, component and reachability questions, export.

Nodes are control states, numbered in the order of discovery; edges are steps. A node knows how
many entries can be cached there and which properties a state or an incoming step violates.
"""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.trace import Trace, Violation
from tlbcheck.errors import InputError
from tlbcheck.files import replacing, write_text
from tlbcheck.report.result import plain
from tlbcheck.system.transition_system import Step

if TYPE_CHECKING:
    import networkx

FORMATS = {".graphml": "GraphML", ".dot": "DOT", ".gv": "DOT", ".json": "node-link JSON", ".svg": "SVG"}
_BRIEF = 28
"""Characters of an edge's label that come from a sentence."""
SMALL = 40
"""Control states that a drawing shows one by one; above, it shows positions in procedures."""


def state_graph(search: Tracked) -> networkx.MultiDiGraph[int]:
    """The graph of a finished exploration: ``MultiDiGraph`` with ``label`` on nodes and edges."""
    import networkx

    graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph(model=search.system.model.name)
    bad = _violated(search)
    for (s, number), values in zip(search.order.items(), _values(search), strict=True):
        known = search.reached[s]
        cached = [search.compiled.entry_variables.index(n) for n in search.system.cached.values()]
        entries = 0
        for bits, mask in known.items():
            if any(bits[i] for i in cached):
                entries |= mask
        graph.add_node(number, label=_label(values), start=s in search.starts, entries=entries.bit_count(), violates=" ".join(sorted(bad.get(number, ()))), **values)
    for s, edges in search.edges.items():
        for index, _, t in edges:
            step = search.system.steps[index]
            place = step.places[0] if step.places else None
            graph.add_edge(search.order[s], search.order[t], label=step.action, actor=step.actor, step=index, line=place.line if place else 0)
    return graph


def _values(search: Tracked) -> Iterable[dict[str, Any]]:
    """Of each control state the variables that are not the same in all, in the order of discovery."""
    names = search.compiled.variables
    types = {v.name: v.type for v in search.system.control}
    varying = [i for i in range(len(names)) if len({s[i] for s in search.reached}) > 1]
    return ({names[i]: plain(types[names[i]], int(s[i])) for i in varying} for s in search.order)


def _label(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{n}={v}" for n, v in values.items() if v not in (0, False, "none"))


def _violated(search: Tracked) -> dict[int, set[str]]:
    """The properties that are violated on reaching a control state."""
    bad: dict[int, set[str]] = {}
    for (name, _, _), found in search.found.items():
        bad.setdefault(search.order[found[-1]], set()).add(name)
    return bad


def picture(search: Tracked, violations: Mapping[str, Sequence[Violation]]) -> dict[str, Any]:
    """The graph as a person can look at it, as JSON for ``tlbcheck.report.drawing``.

    Up to ``SMALL`` control states are nodes themselves (``kind`` "states"). Otherwise a node is
    where one activation stands in its procedures, whatever the rest of the state is
    ("positions"): the quotient by procedure position, all CPUs laid over each other. ``paths``
    gives, for each violation of a property, the two nodes of each step.
    """
    small = len(search.reached) <= SMALL
    nodes, edges, path = _every_state(search) if small else _by_position(search)
    paths = {name: [path(v.trace) for v in found if v.trace is not None] for name, found in violations.items()}
    return {"kind": "states" if small else "positions", "states": len(search.reached), "nodes": nodes, "edges": edges, "paths": {n: p for n, p in paths.items() if p}}


_Picture = tuple[list[dict[str, Any]], list[list[Any]], Callable[[Trace], list[list[int]]]]


def _every_state(search: Tracked) -> _Picture:
    bad, steps = _violated(search), search.system.steps
    leaving: dict[State, set[Step]] = {s: {steps[index] for index, _, _ in found} for s, found in search.edges.items()}
    nodes = []
    for (s, number), values in zip(search.order.items(), _values(search), strict=True):
        detail = _label({n: v for n, v in values.items() if not n.endswith(".pc")})
        nodes.append({"label": _standing(search, leaving.get(s, set())), "detail": detail, "start": s in search.starts, "violates": sorted(bad.get(number, ()))})
    edges = sorted({(search.order[s], search.order[t], _named(steps[index])) for s, found in search.edges.items() for index, _, t in found})
    variables = search.compiled.variables

    def path(trace: Trace) -> list[list[int]]:
        passed = [search.order[tuple(at.control[n] for n in variables)] for at in (trace.initial, *(s.after for s in trace.steps))]
        return [[a, b] for a, b in itertools.pairwise(passed)]

    return nodes, [list(e) for e in edges], path


def _by_position(search: Tracked) -> _Picture:
    """Positions of each level of activation; see ``picture``."""
    steps = search.system.steps
    numbers: dict[tuple[str, int], int] = {}
    left_by: list[set[Step]] = []
    bad: dict[int, set[str]] = {}

    def node(level: str, pc: int) -> int:
        if (level, pc) not in numbers:
            numbers[level, pc] = len(left_by)
            left_by.append(set())
        return numbers[level, pc]

    def ends(step: Step, before: Mapping[str, int], after: Mapping[str, int]) -> list[int]:
        pc = f"cpu{step.cpu}.{step.level}.pc"
        return [node(step.level, before.get(pc, 0)), node(step.level, after.get(pc, 0))]

    names = [v.name for v in search.system.control if v.name.endswith(".pc")]
    at = [search.compiled.position[n] for n in names]
    where = [search.compiled.position.get(f"cpu{step.cpu}.{step.level}.pc") for step in steps]
    # Few pairs of positions in many states, in the order in which they come up.
    moves: dict[tuple[int, int, int], None] = {}
    for s, found in search.edges.items():
        for index, _, t in found:
            i = where[index]
            moves[(index, 0, 0) if i is None else (index, s[i], t[i])] = None
    edges: dict[tuple[int, int, str], None] = {}
    for index, before, after in moves:
        step = steps[index]
        a, b = node(step.level, int(before)), node(step.level, int(after))
        left_by[a].add(step)
        edges[a, b, _named(step)] = None
    for (name, _, _), (_, source, _, _, taken, _, t) in search.found.items():
        if source is not None and taken is not None:
            bad.setdefault(ends(steps[taken], search.values(source), search.values(t))[1], set()).add(name)
    model = search.system.model
    roots = {"task": model.task.name} if model.task else {}
    starts = {node(v.partition(".")[2].removesuffix(".pc"), int(s[i])) for s in search.starts for v, i in zip(names, at, strict=True)}
    nodes = []
    for ((level, pc), n), leaving in zip(numbers.items(), left_by, strict=True):
        label = _where(leaving, roots.get(level, level)) if pc else f"no {level} here"
        nodes.append({"label": label, "detail": "" if level == "task" else level, "start": n in starts, "violates": sorted(bad.get(n, ()))})

    def path(trace: Trace) -> list[list[int]]:
        passed = [trace.initial, *(s.after for s in trace.steps)]
        return [ends(s.step, before.control, s.after.control) for s, before in zip(trace.steps, passed, strict=False)]

    return nodes, [list(e) for e in sorted(edges)], path


def _named(step: Step) -> str:
    """An edge's label: the operation, or the beginning of what an atomic block says it does."""
    return step.action if step.action != "atomic" else textwrap.shorten(re.split("[.:;(]", step.text)[0], _BRIEF, placeholder="…")


def _standing(search: Tracked, leaving: set[Step]) -> str:
    """A state by where each activation that can go on stands, the environment aside."""
    several = search.system.model.cpus > 1
    by_activation: dict[tuple[int, str], set[Step]] = {}
    for s in leaving:
        if s.cpu is not None:
            by_activation.setdefault((s.cpu, s.level), set()).add(s)
    model = search.system.model
    roots = {"task": model.task.name} if model.task else {}
    parts = [f"{f'CPU{cpu} ' if several else ''}{_where(mine, roots.get(level, level))}" for (cpu, level), mine in sorted(by_activation.items())]
    return "; ".join(parts) or "the end"


def _where(leaving: set[Step], root: str) -> str:
    """A position by the lines that can come next; by the activation's ``root`` where these are in many procedures."""
    if not leaving:
        return "the end"
    actors = {s.actor for s in leaving}
    if len(actors) > 1:
        return root
    lines = sorted({s.places[0].line for s in leaving if s.places})
    return f"{actors.pop()}:{','.join(map(str, lines))}" if lines else actors.pop()


def draw(search: Tracked, path: Path) -> None:
    """Write a drawing (SVG) with the shortest violation of all highlighted."""
    from tlbcheck.report.drawing import svg

    shortest = min(search.result(0, 0).violations, key=lambda v: v.depth, default=None)
    found = [] if shortest is None else [replace(shortest, trace=search.trace(shortest))]
    graph = picture(search, {"shortest": found})
    name = search.system.model.name
    write_text(path, svg(graph, graph["paths"].get("shortest", [[]])[0], title=f"{name}: {graph['kind']}", standalone=True) + "\n")


def write(graph: networkx.MultiDiGraph[int], path: Path) -> None:
    """Write a graph in the format that the ending names. Raises ``InputError`` for another ending."""
    import networkx

    match FORMATS.get(path.suffix):
        case "GraphML":
            with replacing(path) as beside:
                networkx.write_graphml(graph, beside)
        case "DOT":
            write_text(path, _dot(graph))
        case "node-link JSON":
            write_text(path, json.dumps(networkx.node_link_data(graph, edges="edges"), default=_plain))
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
