"""How the cost of cr3race grows with pages, PCIDs and CPUs, as one SVG drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
PANELS = {"pages": "pages", "pcids": "PCIDs", "cpus": "CPUs"}
COLOURS = {
    "tlbcheck full": "#1b6ca8",
    "tlbcheck full, symmetry": "#58a6d8",
    "tlbcheck sets": "#1a7f37",
    "tlbcheck tracked": "#8250df",
    "Rumur": "#bc4c00",
    "SPIN": "#9a6700",
}
WIDTH, HEIGHT, LEFT, TOP, SIDE, TALL, GAP = 980, 400, 64, 44, 270, 240, 34
LOW, HIGH = -1, 3
"""Powers of ten of CPU seconds at the ends of the axis."""


def _points(rows: Sequence[Row], tool: str, parameter: str) -> list[tuple[int, float]]:
    mine = {}
    for r in rows:
        name, equals, value = r["size"].partition("=")
        if r["tool"] == tool and equals and name == parameter and r["verdict"] == "proved":
            mine[int(value)] = float(r["cpu_seconds"])
    return sorted(mine.items())


def _y(seconds: float) -> float:
    at = (math.log10(max(seconds, 10**LOW)) - LOW) / (HIGH - LOW)
    return TOP + TALL * (1 - min(at, 1))


def _panel(rows: Sequence[Row], n: int, parameter: str, title: str) -> Iterator[str]:
    left = LEFT + n * (SIDE + GAP)
    values = sorted({v for tool in COLOURS for v, _ in _points(rows, tool, parameter)}) or [1]

    def x(value: int) -> float:
        return left + 20 + (SIDE - 40) * (value - values[0]) / max(1, values[-1] - values[0])

    yield f'<rect x="{left}" y="{TOP}" width="{SIDE}" height="{TALL}" fill="none" stroke="#8c959f"/>'
    for power in range(LOW, HIGH + 1):
        y = _y(10**power)
        yield f'<line x1="{left}" y1="{y:.1f}" x2="{left + SIDE}" y2="{y:.1f}" stroke="#d0d7de"/>'
        if n == 0:
            yield f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:g} s</text>'
    for value in values:
        yield f'<text x="{x(value):.1f}" y="{TOP + TALL + 18}" text-anchor="middle">{value}</text>'
    yield f'<text x="{left + SIDE / 2}" y="{TOP + TALL + 38}" text-anchor="middle" font-weight="bold">{title}</text>'
    for tool, colour in COLOURS.items():
        points = _points(rows, tool, parameter)
        if points:
            path = " ".join(f"{x(v):.1f},{_y(s):.1f}" for v, s in points)
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            yield from (f'<circle cx="{x(v):.1f}" cy="{_y(s):.1f}" r="3.5" fill="{colour}"><title>{tool}: {s:g} s</title></circle>' for v, s in points)


def draw(rows: Sequence[Row]) -> str:
    """The drawing, from rows of results.json whose size names one parameter (``pages=3``)."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">CPU seconds of a whole run of cr3race as one number grows (1 page, 2 PCIDs, 2 CPUs)</text>',
    ]
    for n, (parameter, title) in enumerate(PANELS.items()):
        parts += _panel(rows, n, parameter, title)
    shown = [t for t in COLOURS if any(_points(rows, t, p) for p in PANELS)]
    for i, tool in enumerate(shown):
        x, y = LEFT + (i % 3) * (SIDE + GAP), TOP + TALL + 66 + (i // 3) * 22
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" stroke="{COLOURS[tool]}" stroke-width="3"/><text x="{x + 32}" y="{y}">{tool}</text>')
    return "\n".join([*parts, "</svg>", ""])
