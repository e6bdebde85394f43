"""What the caches can hold along a run, as ``caches`` of a violation tells it: written and read here.

``entries`` are all that occur, with their fields and a sentence; ``about`` the numbers of those that the
violation speaks of. ``start`` and each of ``steps`` are lists of changes ``[cpu, entry, what]``, where
what is ``filled``, ``dropped``, ``stale`` (it contradicts the page tables, see ``replay.staleness``) or ``valid``.
A step that drops an entry which speculation can cache again at once changes nothing here: ``report.events``
has what happens to the entries that the violation is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlbcheck.replay.contents import Contents
    from tlbcheck.replay.interpreter import Entry


@dataclass(frozen=True)
class Cell:
    """An entry that a CPU can have cached at some point; ``stale_since`` is the step that made it stale, 0 the start."""

    cpu: int
    entry: int
    stale_since: int | None


def numbered(found: Contents, about: Sequence[Entry]) -> dict[Entry, int]:
    """The number of each entry that occurs, those that the violation is ``about`` first."""
    return {e: i for i, e in enumerate(dict.fromkeys([*about, *(e for point in found.held for tlb in point for e in tlb)]))}


def write(found: Contents, numbers: Mapping[Entry, int], about: Sequence[Entry], describe: Callable[[Entry], Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON of what replay found; ``about``: the entries that the violation speaks of; ``describe`` gives ``text`` and ``shown`` of one."""
    points: list[list[list[Any]]] = []
    before: Sequence[Mapping[Entry, bool]] = [{} for _ in found.held[0]]
    for point in found.held:
        points.append([[cpu, numbers[e], what] for cpu, tlb in enumerate(point) for e, what in _changes(before[cpu], tlb)])
        before = point
    return {"entries": [describe(e) for e in numbers], "about": [numbers[e] for e in about], "start": points[0], "steps": points[1:]}


def _changes(before: Mapping[Entry, bool], after: Mapping[Entry, bool]) -> Iterator[tuple[Entry, str]]:
    yield from ((e, "dropped") for e in before if e not in after)
    for e, stale in after.items():
        if e not in before:
            yield e, "filled"
        if stale is not before.get(e, False):
            yield e, "stale" if stale else "valid"


def points(caches: Mapping[str, Any] | None, steps: int) -> list[list[Cell]]:
    """What is cached at the start and after each of ``steps``; nothing where the result does not tell."""
    if not caches:
        return [[] for _ in range(steps + 1)]
    held: dict[tuple[int, int], int | None] = {}
    made = []
    for i, changes in enumerate((caches["start"], *caches["steps"])):
        for cpu, entry, what in changes:
            if what == "dropped":
                del held[cpu, entry]
            else:
                held[cpu, entry] = i if what == "stale" else None
        made.append([Cell(cpu, entry, since) for (cpu, entry), since in sorted(held.items())])
    return made
