"""A counterexample as lanes: one for each CPU and one for memory, time downwards, one row a step.

What the HTML page and the terminal both draw; made from the JSON of a violation alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlbcheck.report.events import notes, told
from tlbcheck.report.wording import place, what, yes_no

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


def lanes(v: Mapping[str, Any], variables: Mapping[str, Any]) -> Lanes:
    """The rows of a violation; ``variables`` are those of its model's facts."""
    used = {s["cpu"] for s in v["steps"] if s["cpu"] is not None} | {c for n in v["initial"]["shown"] if (c := owner(n)[0]) is not None}
    life = _life(v)
    start = Row(0, None, "", "", "", "", tuple(notes(0, v)), (), life[0], "", not v["steps"], again=False)
    rows = []
    for i, s in enumerate(v["steps"], 1):
        after = s.get("after", {})
        memory = tuple(f"{n} := {yes_no(after[n][1])}" for n in after if kind_of(n, variables) == "memory")
        again = v["loop"] is not None and i > v["loop"]
        last = i == len(v["steps"])
        rows.append(Row(i, s["cpu"], s["level"], s["actor"], what(s), place(s), tuple(notes(i, v)), memory, life[i], s.get("exception") or "", last, again))
    return Lanes(max(used, default=0) + 1, start, tuple(rows))


def _life(v: Mapping[str, Any]) -> list[dict[int, str]]:
    """At the start and after each step, the CPUs that cache a watched entry."""
    stale: dict[tuple[int, int], bool] = {}
    made = []
    for events in told(v):
        for e in events:
            if e["what"] in ("dropped", "evicted"):
                del stale[e["cpu"], e["entry"]]
            else:
                stale[e["cpu"], e["entry"]] = e["what"] == "stale"
        made.append({cpu: "stale" if any(x for (c, _), x in stale.items() if c == cpu) else "cached" for cpu, _ in stale})
    return made
