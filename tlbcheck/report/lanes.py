"""A counterexample as lanes: one for each CPU and one for memory, time downwards, one row a step.

What the HTML page and the terminal both draw; made from the JSON of a violation alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlbcheck.report.story import notes, place, what, yes_no

_OWN = re.compile(r"cpu(\d+)\.(.+)")


@dataclass(frozen=True)
class Row:
    """One step. ``cpu`` is None for the environment; ``again``: it repeats for ever.

    ``life`` says, for each CPU that caches a watched entry, whether it is ``stale`` or ``cached``.
    """

    number: int
    cpu: int | None
    level: str
    actor: str
    text: str
    place: str
    notes: tuple[tuple[str, str], ...]
    memory: tuple[str, ...]
    life: Mapping[int, str]
    exception: str
    last: bool
    again: bool


@dataclass(frozen=True)
class Lanes:
    cpus: int
    start: Row
    rows: tuple[Row, ...]


def owner(name: str) -> tuple[int | None, str]:
    """The CPU that a variable belongs to, None for shared ones, and its name there."""
    found = _OWN.fullmatch(name)
    return (int(found[1]), found[2]) if found else (None, name)


def kind_of(name: str, variables: Mapping[str, Any]) -> str:
    """``register``, ``memory`` or ``case``; where a result does not say, by the name."""
    if name in variables:
        return str(variables[name]["kind"])
    return "case" if name.startswith("case.") else "memory" if owner(name)[0] is None else "register"


def cells_at(v: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """The cache entries that are known to be cached after a step, 0 for the start: ``cpu``, ``shown`` fields, ``stale_since``.

    A result with the full representation tells all (``cells``); otherwise it is the one that is watched.
    """
    at = v["steps"][number - 1] if number else v["initial"]
    if "cells" in at:
        return list(at["cells"])
    tracked = v["tracked"]
    if not tracked or not tracked["about"]:
        return []
    on = at["on"] if number == 0 else at["entry"]["on"]
    return [{"cpu": int(c), "shown": tracked["shown"], "stale_since": since} for c, since in on.items()]


def lanes(v: Mapping[str, Any], variables: Mapping[str, Any]) -> Lanes:
    """The rows of a violation; ``variables`` are those of its model's facts."""
    used = {s["cpu"] for s in v["steps"] if s["cpu"] is not None} | {c for n in v["initial"]["shown"] if (c := owner(n)[0]) is not None}
    start = Row(0, None, "", "", "", "", (), (), _life(v, 0), "", not v["steps"], again=False)
    rows = []
    for i, s in enumerate(v["steps"], 1):
        after = s.get("after", {})
        memory = tuple(f"{n} := {yes_no(after[n][1])}" for n in after if kind_of(n, variables) == "memory")
        again = v["loop"] is not None and i > v["loop"]
        last = i == len(v["steps"])
        rows.append(Row(i, s["cpu"], s["level"], s["actor"], what(s), place(s), tuple(notes(i, s, v)), memory, _life(v, i), s.get("exception") or "", last, again))
    return Lanes(max(used, default=0) + 1, start, tuple(rows))


def _life(v: Mapping[str, Any], number: int) -> dict[int, str]:
    made: dict[int, str] = {}
    for cell in cells_at(v, number):
        stale = cell["stale_since"] is not None
        made[cell["cpu"]] = "stale" if stale or made.get(cell["cpu"]) == "stale" else "cached"
    return made
