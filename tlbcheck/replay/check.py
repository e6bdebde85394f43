"""Replaying a run that an engine found: it happens as told, and breaks what it is said to break."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tlbcheck.lang.model import Model, Property
from tlbcheck.replay.interpreter import Blocked, Entry, Run, WrongChoice

Walk = tuple[int, Entry, bool]
"""On a CPU an entry comes (True) or goes by itself."""


@dataclass(frozen=True)
class Told:
    """A step as a trace tells it; ``after`` holds the variables that it names."""

    cpu: int | None
    level: str
    action: str
    choices: tuple[int, ...]
    after: Mapping[str, int]
    tracked_in: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Story:
    """A trace, in values only: ``tracked`` is the entry that it follows, with the CPUs caching it at first.

    ``first``: the property is not broken before the last step. ``everything``: the run starts with
    all that the caches can hold, since it may be about more than one entry. ``walks``: what the caches do by themselves
    before each step, and after the last one if that is known; None: every walk happens, and no entry goes.
    """

    property: str
    clause: str
    case: Mapping[str, int]
    start_choices: tuple[int, ...]
    initial: Mapping[str, int]
    tracked: tuple[int, ...] | None
    tracked_at_start: tuple[int, ...]
    steps: tuple[Told, ...]
    first: bool = True
    everything: bool = False
    walks: tuple[tuple[Walk, ...], ...] | None = None


class ReplayError(Exception):
    """The story is not what happens; the message says where they part."""


def replay(model: Model, properties: Sequence[Property], story: Story, *, others: bool = False, seen: Callable[[Run], None] | None = None) -> Run:
    """Run ``story`` and confirm its violation at the last step.

    ``others``: every entry is cached at the start besides the one that the story follows. ``seen``
    looks at the run at the start and after each step. Raises ``ReplayError``.
    """
    run = Run(model, properties, story.case)
    run.told = story.walks is not None
    walks = story.walks or ()
    content = {c: [e for e in run.universe if _at_start(story, c, e, others=others)] for c in range(model.cpus)}
    try:
        run.start(story.start_choices, content)
    except (Blocked, WrongChoice, KeyError) as error:
        raise ReplayError(f"the start is not possible: {error}") from None
    compare(run, story.initial, "at the start")
    if seen is not None:
        seen(run)
    wanted = (story.property, story.clause)
    for i, told in enumerate(story.steps):
        _by_itself(run, walks[i : i + 1], f"before step {i + 1}")
        if story.first and any(name == story.property for name, _, _ in run.broken):
            raise ReplayError(f"{story.property} is violated before step {i + 1} already")
        try:
            run.step(told.cpu, told.level, told.action, told.choices)
        except (Blocked, WrongChoice) as error:
            raise ReplayError(f"step {i + 1} ({told.action}) is not possible: {error}") from None
        compare(run, told.after, f"after step {i + 1} ({told.action})")
        if seen is not None:
            seen(run)
        if told.tracked_in is not None and story.tracked is not None:
            cached = tuple(c for c, tlb in enumerate(run.tlb) if story.tracked in tlb)
            if cached != told.tracked_in:
                raise ReplayError(f"after step {i + 1} ({told.action}) the entry is cached on CPUs {cached}, not {told.tracked_in}")
    _by_itself(run, walks[len(story.steps) :], "at the end")
    if story.walks is not None:
        for entry in run.universe if story.tracked is None else [story.tracked]:
            _whatever_it_does(run, entry, wanted)
    if not _breaks(run, wanted):
        raise ReplayError(f"{story.property} ({story.clause}) is not violated at the end")
    return run


def _by_itself(run: Run, walks: Sequence[Sequence[Walk]], where: str) -> None:
    """What entries do by themselves at one point, as told. Raises ``ReplayError`` where they cannot."""
    try:
        for cpu, entry, comes in itertools.chain(*walks):
            (run.comes if comes else run.goes)(cpu, entry)
    except Blocked as error:
        raise ReplayError(f"{where}: {error}") from None


_ALONE = ((), (True,), (False,), (False, True), (True, False), (True, False, True))
"""What an entry may do on a CPU between two steps: come, go, and come back."""


def _breaks(run: Run, wanted: tuple[str, str]) -> bool:
    return any((name, clause) == wanted for name, clause, _ in run.broken)


def _whatever_it_does(run: Run, entry: Entry, wanted: tuple[str, str]) -> None:
    """Let the entry do by itself on each CPU what breaks what is ``wanted``, if that is not broken yet and anything does."""
    for each in itertools.product(_ALONE, repeat=run.model.cpus):
        if _breaks(run, wanted):
            return
        tlb, marks = [set(entries) for entries in run.tlb], {key: set(marked) for key, marked in run.marks.items()}
        with contextlib.suppress(Blocked):
            for cpu, moves in enumerate(each):
                for comes in moves:
                    (run.comes if comes else run.goes)(cpu, entry)
        if _breaks(run, wanted):
            run.at_last = tuple((cpu, entry, comes) for cpu, moves in enumerate(each) for comes in moves)
        else:
            run.tlb, run.marks = tlb, marks


def _at_start(story: Story, cpu: int, entry: tuple[int, ...], *, others: bool) -> bool:
    if story.everything:
        return True
    return cpu in story.tracked_at_start if entry == story.tracked else others


def compare(run: Run, told: Mapping[str, int], where: str) -> None:
    """Raises ``ReplayError`` if a variable of ``run`` is not as told."""
    for name, value in told.items():
        if name in run.memory and run.memory[name] != value:
            raise ReplayError(f"{name} is {run.memory[name]:#x} {where}, not {value:#x}")
