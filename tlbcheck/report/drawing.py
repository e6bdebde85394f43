"""The state graph as SVG: layers from the start down, what is violated and one run to it highlighted."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tlbcheck.report.escape import xml_text

_CHARACTER, _LINE, _PADDING, _GAP = 6.7, 15, 10, 26
_WIDEST = 44
"""Characters of a node's line; the rest is in its tooltip."""

STYLE = """
.graph{font:11px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;max-width:100%;height:auto}
.graph rect{fill:var(--g-node,#f6f7f9);stroke:var(--g-line,#8b95a1)}
.graph text{fill:var(--g-ink,#1b1f24)}
.graph .detail{fill:var(--g-muted,#57606a)}
.graph path{fill:none;stroke:var(--g-line,#8b95a1)}
.graph .head{fill:var(--g-line,#8b95a1);stroke:none}
.graph .on rect{stroke:var(--g-path,#b3261e);stroke-width:2}
.graph path.on{stroke:var(--g-path,#b3261e);stroke-width:2.2}
.graph .head.on{fill:var(--g-path,#b3261e)}
.graph .bad rect{fill:var(--g-bad,#fde7e5)}
.graph .start rect{stroke-dasharray:5 3}
.graph .order{fill:var(--g-path,#b3261e);font-weight:bold}
"""


def svg(graph: Mapping[str, Any], path: Sequence[Sequence[int]] = (), *, title: str, standalone: bool = False) -> str:
    """Draw ``graph`` (see ``tlbcheck.graph.picture``) with ``path`` highlighted; ``standalone`` brings its own colours."""
    title = xml_text(title)
    boxes = [_lines(n) for n in graph["nodes"]]
    sizes = [(max(len(t) for t in lines) * _CHARACTER + 2 * _PADDING, len(lines) * _LINE + _PADDING) for lines in boxes]
    at, routes = _layout(tuple(sizes), tuple((a, b) for a, b, _ in graph["edges"]))
    left = min((x - w / 2 for (x, _), (w, _) in zip(at, sizes, strict=True)), default=0) - _GAP
    right = max([*(x + w / 2 for (x, _), (w, _) in zip(at, sizes, strict=True)), *(x for r in routes.values() for x, _ in r)], default=0) + _GAP
    left = min([left, *(x - _GAP for r in routes.values() for x, _ in r)])
    top = min((y - h / 2 for (_, y), (_, h) in zip(at, sizes, strict=True)), default=0) - _GAP
    bottom = max((y + h / 2 for (_, y), (_, h) in zip(at, sizes, strict=True)), default=0) + _GAP
    width, height = right - left, bottom - top
    taken: dict[tuple[int, int], list[str]] = {}
    for i, (a, b) in enumerate(path, 1):
        taken.setdefault((a, b), []).append(str(i))
    passed = {n for edge in taken for n in edge}
    frame = f'viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" aria-label={quoteattr(title)} {frame}>',
        f"<title>{escape(title)}</title>",
    ]
    if standalone:
        parts.append(f'<style>{STYLE}</style><rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>')
    for on in (False, True):  # the run on top
        parts += [_edge(routes[e], label, taken.get(e, [])) for e, label in _labels(graph["edges"]).items() if (e in taken) is on and e in routes]
    parts += [_node(n, boxes[i], at[i], sizes[i], on=i in passed) for i, n in enumerate(graph["nodes"])]
    return "\n".join([*parts, "</svg>"])


def _lines(node: Mapping[str, Any]) -> list[str]:
    return [t if len(t) <= _WIDEST else t[: _WIDEST - 1] + "…" for t in (xml_text(node["label"]), xml_text(node["detail"])) if t]


def _labels(edges: Sequence[Sequence[Any]]) -> dict[tuple[int, int], str]:
    """One label for all edges between the same two nodes."""
    made: dict[tuple[int, int], list[str]] = {}
    for a, b, label in edges:
        made.setdefault((a, b), []).append(xml_text(label))
    return {k: ", ".join(sorted(set(v))) for k, v in made.items()}


def _node(node: Mapping[str, Any], lines: Sequence[str], at: tuple[float, float], size: tuple[float, float], *, on: bool) -> str:
    (x, y), (w, h) = at, size
    kind = " ".join(["node", *(["on"] if on else []), *(["bad"] if node["violates"] else []), *(["start"] if node["start"] else [])])
    told = [node["label"], node["detail"], *(["a run starts here"] if node["start"] else []), *([f"violates {', '.join(node['violates'])}"] if node["violates"] else [])]
    made = [f'<g class="{kind}"><title>{escape(xml_text("; ".join(t for t in told if t)))}</title><rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="4"/>']
    for i, line in enumerate(lines):
        made.append(f'<text x="{x:.1f}" y="{y - h / 2 + _PADDING / 2 + (i + 0.78) * _LINE:.1f}" text-anchor="middle"{" class=" + chr(34) + "detail" + chr(34) if i else ""}>{escape(line)}</text>')
    return "".join([*made, "</g>"])


def _edge(route: Sequence[tuple[float, float]], label: str, order: Sequence[str]) -> str:
    on = bool(order)
    kind = ' class="on"' if on else ""
    points = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(route))
    (x0, y0), (x1, y1) = route[-2], route[-1]
    length = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 0.01)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    head = f"M{x1:.1f} {y1:.1f}L{x1 - 8 * ux - 3.5 * uy:.1f} {y1 - 8 * uy + 3.5 * ux:.1f}L{x1 - 8 * ux + 3.5 * uy:.1f} {y1 - 8 * uy - 3.5 * ux:.1f}Z"
    mark = f'<path class="head{" on" if on else ""}" d="{head}"/>'
    middle = route[len(route) // 2]
    before = route[len(route) // 2 - 1]
    number = f'<tspan class="order">{",".join(order)} </tspan>' if order else ""
    text = f'<text class="detail" x="{(middle[0] + before[0]) / 2 + 4:.1f}" y="{(middle[1] + before[1]) / 2:.1f}">{number}{escape(label)}</text>' if label or order else ""
    return f'<path{kind} d="{points}"/>{mark}{text}'


@functools.lru_cache(maxsize=32)
def _layout(sizes: tuple[tuple[float, float], ...], edges: tuple[tuple[int, int], ...]) -> tuple[list[tuple[float, float]], dict[tuple[int, int], list[tuple[float, float]]]]:
    """Middle of each node and the corners of each edge: Sugiyama's layers, by grandalf."""
    from grandalf.graphs import Edge, Graph, Vertex
    from grandalf.layouts import SugiyamaLayout

    # Grandalf goes through sets of its objects; their hashes are made the same in each run, so that drawings are.
    class Node(Vertex):  # type: ignore[misc]
        def __hash__(self) -> int:
            return int(self.data)

    class Arrow(Edge):  # type: ignore[misc]
        def __hash__(self) -> int:
            return int(self.data)

    class View:
        def __init__(self, w: float, h: float) -> None:
            self.w, self.h, self.xy = w, h, (0.0, 0.0)

    class Route:
        def setpath(self, points: list[tuple[float, float]]) -> None:
            self.points = points

    vertices = [Node(i) for i in range(len(sizes))]
    for v, (w, h) in zip(vertices, sizes, strict=True):
        v.view = View(w, h)
    made: dict[tuple[int, int], Any] = {}
    for a, b in dict.fromkeys(edges):
        if a != b:
            made[a, b] = Arrow(vertices[a], vertices[b], data=len(made))
            made[a, b].view = Route()
    x = 0.0
    for component in Graph(vertices, list(made.values())).C:
        layout = SugiyamaLayout(component)
        layout.xspace, layout.yspace = 24, 34
        layout.init_all()
        layout.draw(4)
        members = list(component.V())
        left = min([*(v.view.xy[0] - v.view.w / 2 for v in members), *(px for e in component.E() for px, _ in getattr(e.view, "points", []))])
        for v in members:
            v.view.xy = (v.view.xy[0] - left + x, v.view.xy[1])
        for e in component.E():
            e.view.points = [(px - left + x, py) for px, py in getattr(e.view, "points", [])]
        x = max([*(v.view.xy[0] + v.view.w / 2 for v in members), *(px for e in component.E() for px, _ in e.view.points)]) + 6 * _GAP
    at = [v.view.xy for v in vertices]
    routes = {key: _clipped(list(e.view.points), at[key[0]], sizes[key[0]], at[key[1]], sizes[key[1]]) for key, e in made.items() if e.view.points}
    for a, b in edges:
        if a == b:
            (cx, cy), (w, h) = at[a], sizes[a]
            routes[a, a] = [(cx + w / 2, cy - h / 4), (cx + w / 2 + 18, cy - h / 4), (cx + w / 2 + 18, cy + h / 4), (cx + w / 2, cy + h / 4)]
    return at, routes


def _clipped(points: list[tuple[float, float]], a: tuple[float, float], a_size: tuple[float, float], b: tuple[float, float], b_size: tuple[float, float]) -> list[tuple[float, float]]:
    """The corners with both ends on the borders of their nodes."""
    points[0], points[-1] = a, b
    points[0] = _border(a, a_size, points[1])
    points[-1] = _border(b, b_size, points[-2])
    return points


def _border(centre: tuple[float, float], size: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min((size[0] / 2 / abs(dx)) if dx else float("inf"), (size[1] / 2 / abs(dy)) if dy else float("inf"))
    return (centre[0] + dx * scale, centre[1] + dy * scale) if scale < float("inf") else centre
