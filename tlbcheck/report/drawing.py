"""The state graph as SVG: layers from the start down, what is violated and one run to it highlighted."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
.graph .label{paint-order:stroke;stroke:var(--g-back,#fff);stroke-width:4px;stroke-linejoin:round}
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
    taken: dict[tuple[int, int], list[str]] = {}
    for i, (a, b) in enumerate(path, 1):
        taken.setdefault((a, b), []).append(str(i))
    passed = {n for edge in taken for n in edge}
    numbers = {e: ",".join(order) for e, order in taken.items()}
    labels = _labels(graph["edges"])
    nodes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(at, sizes, strict=True)]
    places = _labelled(routes, labels, numbers, nodes)
    drawn = [*nodes, *(p.box for p in places.values()), *((x, y, x, y) for r in routes.values() for x, y in r)]
    left, top = (min((box[i] for box in drawn), default=0) - _GAP for i in (0, 1))
    right, bottom = (max((box[i] for box in drawn), default=0) + _GAP for i in (2, 3))
    width, height = right - left, bottom - top
    frame = f'viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" aria-label={quoteattr(title)} {frame}>',
        f"<title>{escape(title)}</title>",
    ]
    if standalone:
        parts.append(f'<style>{STYLE}</style><rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>')
    for on in (False, True):  # the run on top
        parts += [_edge(routes[e], e in taken) for e in labels if (e in taken) is on and e in routes]
    parts += [_node(n, boxes[i], at[i], sizes[i], on=i in passed) for i, n in enumerate(graph["nodes"])]
    parts += [_text(p, labels[e], numbers.get(e, "")) for e, p in places.items()]
    return "\n".join([*parts, "</svg>"])


def _lines(node: Mapping[str, Any]) -> list[str]:
    return [_cut(t) for t in (xml_text(node["label"]), xml_text(node["detail"])) if t]


def _labels(edges: Sequence[Sequence[Any]]) -> dict[tuple[int, int], str]:
    """One label for all edges between the same two nodes."""
    made: dict[tuple[int, int], list[str]] = {}
    for a, b, label in edges:
        made.setdefault((a, b), []).append(xml_text(label))
    return {k: _cut(", ".join(sorted(set(v)))) for k, v in made.items()}


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _node(node: Mapping[str, Any], lines: Sequence[str], at: tuple[float, float], size: tuple[float, float], *, on: bool) -> str:
    (x, y), (w, h) = at, size
    kind = " ".join(["node", *(["on"] if on else []), *(["bad"] if node["violates"] else []), *(["start"] if node["start"] else [])])
    told = [node["label"], node["detail"], *(["a run starts here"] if node["start"] else []), *([f"violates {', '.join(node['violates'])}"] if node["violates"] else [])]
    made = [f'<g class="{kind}"><title>{escape(xml_text("; ".join(t for t in told if t)))}</title><rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="4"/>']
    for i, line in enumerate(lines):
        made.append(f'<text x="{x:.1f}" y="{y - h / 2 + _PADDING / 2 + (i + 0.78) * _LINE:.1f}" text-anchor="middle"{" class=" + chr(34) + "detail" + chr(34) if i else ""}>{escape(line)}</text>')
    return "".join([*made, "</g>"])


def _edge(route: Sequence[tuple[float, float]], on: bool) -> str:
    kind = ' class="on"' if on else ""
    points = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(route))
    (x0, y0), (x1, y1) = route[-2], route[-1]
    length = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 0.01)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    head = f"M{x1:.1f} {y1:.1f}L{x1 - 8 * ux - 3.5 * uy:.1f} {y1 - 8 * uy + 3.5 * ux:.1f}L{x1 - 8 * ux + 3.5 * uy:.1f} {y1 - 8 * uy - 3.5 * ux:.1f}Z"
    return f'<path{kind} d="{points}"/><path class="head{" on" if on else ""}" d="{head}"/>'


_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class _Label:
    """A label at a point that it begins or ``ends`` at."""

    x: float
    y: float
    ends: bool
    box: _Box


def _labelled(
    routes: Mapping[tuple[int, int], Sequence[tuple[float, float]]], labels: Mapping[tuple[int, int], str], numbers: Mapping[tuple[int, int], str], nodes: Sequence[_Box]
) -> dict[tuple[int, int], _Label]:
    """Where each edge's label stands: beside its middle if nothing is in the way, else elsewhere along it; those of the run come first."""
    made: dict[tuple[int, int], _Label] = {}
    taken = list(nodes)
    for e in sorted(labels, key=lambda e: e not in numbers):
        if e in routes:
            width = (len(labels[e]) + len(numbers.get(e, "")) + bool(e in numbers)) * _CHARACTER
            found = list(_candidates(routes[e], width))
            made[e] = next((x for x in found if not any(_overlap(x.box, other) for other in taken)), found[0])
            taken.append(made[e].box)
    return made


def _candidates(route: Sequence[tuple[float, float]], width: float) -> Iterator[_Label]:
    (x0, y0), (x1, y1) = route[len(route) // 2 - 1], route[len(route) // 2]
    leans_left = x1 < x0 - 8 and y1 > y0
    for t in (0.5, 0.35, 0.65, 0.2, 0.8):
        for ends in (leans_left, not leans_left):
            x, y = x0 + (x1 - x0) * t + (-5 if ends else 5), y0 + (y1 - y0) * t + 3
            yield _Label(x, y, ends, (x - width if ends else x, y - 10, x if ends else x + width, y + 3))


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _text(at: _Label, label: str, number: str) -> str:
    if not label and not number:
        return ""
    mark = f'<tspan class="order">{number} </tspan>' if number else ""
    anchor = ' text-anchor="end"' if at.ends else ""
    return f'<text class="label detail" x="{at.x:.1f}" y="{at.y:.1f}"{anchor}>{mark}{escape(label)}</text>'


@functools.lru_cache(maxsize=32)
def _layout(sizes: tuple[tuple[float, float], ...], edges: tuple[tuple[int, int], ...]) -> tuple[list[tuple[float, float]], dict[tuple[int, int], list[tuple[float, float]]]]:
    """Middle of each node and the corners of each edge: Sugiyama's layers, by grandalf."""
    from grandalf.graphs import Edge, Graph, Vertex
    from grandalf.layouts import SugiyamaLayout

    # Grandalf goes through sets of its objects; their hashes are made the same in each run, so that drawings are.
    # It has no types, which a type checker wants of a base class.
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
        layout.xspace, layout.yspace = 56, 44
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
    for (a, b), route in routes.items():
        if (b, a) in routes and len(route) == 2:
            routes[a, b] = _beside(route)
    for a, b in edges:
        if a == b:
            (cx, cy), (w, h) = at[a], sizes[a]
            routes[a, a] = [(cx + w / 2, cy - h / 4), (cx + w / 2 + 18, cy - h / 4), (cx + w / 2 + 18, cy + h / 4), (cx + w / 2, cy + h / 4)]
    return at, routes


_APART = 6
"""Half the distance of two edges that go both ways."""


def _beside(route: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The edge a little to its own left, so that one the other way does not cover it."""
    (x0, y0), (x1, y1) = route
    length = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 0.01)
    dx, dy = (y1 - y0) / length * _APART, -(x1 - x0) / length * _APART
    return [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy)]


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
