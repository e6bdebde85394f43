"""What the literal caches can hold at each point of a run, and which of it is stale by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tlbcheck.lang.model import Model, Property
from tlbcheck.replay.check import Story, Walk, replay
from tlbcheck.replay.interpreter import Entry, Run
from tlbcheck.replay.staleness import Staleness


@dataclass(frozen=True)
class Contents:
    """``held`` gives for the start and after each step, CPU by CPU, the cached entries and whether each is stale.

    ``broken`` are the entries that break the property at the end; None in it is a violation that is about no entry. ``at_last`` is that of the run.
    """

    held: tuple[tuple[Mapping[Entry, bool], ...], ...]
    broken: tuple[Entry | None, ...]
    at_last: tuple[Walk, ...] = ()


def contents(model: Model, properties: Sequence[Property], story: Story) -> Contents:
    """Run ``story`` again with all that the caches can hold; only of the entry that it follows, what it says.

    An entry is stale on a CPU where it means something that the model's ``may`` rules out in the entry's own context. Raises ``ReplayError``.
    """
    held: list[tuple[Mapping[Entry, bool], ...]] = []
    staleness = Staleness(model)

    def look(run: Run) -> None:
        for cpu, tlb in enumerate(held[-1] if held else ()):
            for e in tlb:
                if e not in run.tlb[cpu]:
                    staleness.forget(cpu, e)
        held.append(tuple({e: bool(staleness.look(run, cpu, e)) for e in run.universe if e in tlb} for cpu, tlb in enumerate(run.tlb)))

    # Nothing says that the other entries break the property no earlier.
    run = replay(model, properties, replace(story, first=False), others=story.walks is None, seen=look)
    return Contents(tuple(held), tuple(dict.fromkeys(e for name, clause, e in run.broken if (name, clause) == (story.property, story.clause))), run.at_last)

