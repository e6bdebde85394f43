"""What the caches can hold along a run, as ``caches`` of a violation tells it: written and read here.

``entries`` are all that occur, with their fields and a sentence; ``about`` the numbers of those that the
violation speaks of. ``start`` and each of ``steps`` are lists of changes ``[cpu, entry, what]``, where
what is ``filled``, ``dropped``, ``stale`` (it contradicts the page tables in force on that CPU) or ``valid``.
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


def write(found: Contents, about: Sequence[Entry], describe: Callable[[Entry], Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON of what replay found; ``about``: the entries that the violation speaks of; ``describe`` gives ``text`` and ``shown`` of one."""
    numbers = {e: i for i, e in enumerate(dict.fromkeys([*about, *(e for point in found.held for tlb in point for e in tlb)]))}
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


def watched(caches: Mapping[str, Any] | None) -> list[int]:
    """The entries that the violation is about."""
    return list(caches["about"]) if caches else []


def watched_text(caches: Mapping[str, Any] | None) -> str:
    """What those entries are, for people; empty if there is none."""
    return " and ".join(caches["entries"][n]["text"] for n in caches["about"]) if caches else ""


def started_on(caches: Mapping[str, Any] | None) -> list[int]:
    """The CPUs that have a watched entry cached at the start."""
    return sorted({cpu for cpu, entry, _ in caches["start"] if entry in caches["about"]}) if caches else []


def events(caches: Mapping[str, Any] | None, number: int) -> dict[str, list[int]]:
    """What step ``number`` does to the watched entries: for each kind of change the CPUs on which it happens."""
    made: dict[str, list[int]] = {}
    about = watched(caches)
    for cpu, entry, what in caches["steps"][number - 1] if caches else ():
        if entry in about and cpu not in made.setdefault(what, []):
            made[what].append(cpu)
    return made
