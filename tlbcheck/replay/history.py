"""What becomes of the entries that a violation is about: where each is cached, dropped, and cached again.

Engines, and the replay of all that caches can hold, let every walk happen as soon as it can. So a step
that drops an entry which speculation caches again at once leaves no trace there, although that may be the
whole story. Here the run is told once more on literal caches that hold nothing but those entries. A step that
would drop one finds it cached, if it can be. A walk caches one as late as the run allows: before the step that drops
it, and at last so that the violation still comes about. What the run may start with is taken before any walk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tlbcheck.lang.model import Model, Property
from tlbcheck.replay.check import ReplayError, Story
from tlbcheck.replay.contents import Contents
from tlbcheck.replay.interpreter import Blocked, Entry, Scope, Values, WrongChoice, value_of
from tlbcheck.replay.judgement import Judgement, Witness
from tlbcheck.replay.staleness import Staleness

CACHED, FILLED, DROPPED, EVICTED, STALE, VALID = "cached", "filled", "dropped", "evicted", "stale", "valid"
"""What happens to an entry: it is there as the run starts, a walk caches it, a step drops it, it goes by itself, it begins and ceases to contradict the page tables."""

START = "start"
"""What makes an entry stale that is so as the run starts."""
Where = tuple[int, Entry]
"""A CPU, and an entry that it may have cached."""


@dataclass(frozen=True)
class Event:
    """``by`` tells of a stale entry what made it so: ``START``, ``LOADED`` (what the CPU has loaded) or ``MEMORY``.

    ``since``: the earlier step from which on a walk makes nothing but a stale entry of it, where a walk has just done so.
    """

    cpu: int
    entry: Entry
    what: str
    by: str = ""
    since: int | None = None


@dataclass(frozen=True)
class History:
    """``points`` gives for the start and for each step what happens to the entries ``watched``, in order.

    Walks come last: speculation caches an entry after the step, before the next one. ``judged`` is how the violation came about.
    """

    watched: tuple[Entry, ...]
    points: tuple[tuple[Event, ...], ...]
    judged: Judgement | None = None


def history(model: Model, properties: Sequence[Property], story: Story, watched: Sequence[Entry]) -> History:
    """Tell what becomes of ``watched`` in ``story``, whose violation is about the first of them, perhaps with the others' help.

    Raises ``ReplayError`` if the run is not possible, or is no violation.
    """
    first, *helping = watched
    for helper in helping:  # what plays no part is not told
        rest = [e for e in helping if e is not helper]
        if _Search(model, properties, story, (first, *rest)).possible():
            helping = rest
    return _Search(model, properties, story, (first, *helping)).run()


def judgement(model: Model, properties: Sequence[Property], story: Story) -> Judgement:
    """How a violation that is about no entry comes about. Raises ``ReplayError`` if it does not."""
    for alone in (True, False):  # a step may go through the cache
        run = _Search(model, properties, story, ()).follow(None, alone=alone)
        for j, (name, clause, _) in zip(run.judged, run.broken, strict=True) if run is not None else ():
            if (name, clause) == (story.property, story.clause):
                return j
    raise ReplayError(f"{story.property} ({story.clause}) is not violated at the end")


def as_told(story: Story, found: Contents) -> History:
    """What becomes of the entries that come or go by themselves in a run whose walks are told one by one."""
    assert story.walks is not None
    walks = [*story.walks, *[()] * (len(story.steps) + 1 - len(story.walks))]
    walks[-1] = (*walks[-1], *found.at_last)
    watched = tuple(dict.fromkeys(entry for moves in walks for _, entry, _ in moves))
    points: list[tuple[Event, ...]] = []
    there: set[Where] = set()
    for moves, held in zip(walks, found.held, strict=True):
        now = {(cpu, entry) for cpu, entries in enumerate(held) for entry in entries if entry in watched}
        events = [Event(cpu, entry, DROPPED) for cpu, entry in sorted(there - now)]
        events += [Event(cpu, entry, CACHED) for cpu, entry in sorted(now)] if not points else []
        events += [Event(cpu, entry, FILLED if comes else EVICTED) for cpu, entry, comes in moves]
        points.append(tuple(events))
        there = now
        for cpu, entry, comes in moves:
            there = there | {(cpu, entry)} if comes else there - {(cpu, entry)}
    return History(watched, tuple(points))


@dataclass(frozen=True)
class _Stay:
    """One stretch of an entry on a CPU, from a drop or the start (``first`` is 0) to the next drop at step ``end``.

    ``end`` is None for the last one. ``walks`` are the points after which a walk can cache it.
    """

    where: Where
    first: int
    end: int | None
    initial: bool
    walks: tuple[int, ...]


@dataclass(frozen=True)
class _Way:
    """How an entry comes to be cached in a stay: it is there ``at_start``, and by walks at ``fills``."""

    at_start: bool = False
    fills: tuple[int, ...] = ()


class _Search:
    """Looks for the way of each stay, one after the other, while all others are as they are."""

    def __init__(self, model: Model, properties: Sequence[Property], story: Story, watched: tuple[Entry, ...]) -> None:
        self.model, self.properties, self.story, self.watched = model, properties, story, watched
        self.goal: int | None = None

    def run(self) -> History:
        plan, alone = self._eager()
        assert self.goal is not None
        target = (self.goal, self.watched[0])
        drops = _drops(self.follow(plan, alone=alone))
        for stay in sorted(plan, key=lambda s: (s.where != target, s.end is not None, -s.first)):
            for way in _ways(stay, needed=stay.where == target):
                tried = {**plan, stay: way}
                if way == plan[stay] or self._holds(tried, drops, alone=alone):
                    plan = tried
                    break
        run = self.follow(plan, alone=alone)
        assert run is not None
        wanted = (self.story.property, self.story.clause, self.watched[0])
        judged = next(j for j, broken in zip(run.judged, run.broken, strict=True) if broken == wanted and j.cpu == self.goal)
        return History(self.watched, tuple(map(tuple, run.points)), judged)

    def possible(self) -> bool:
        """Whether the violation comes about with no entries but the watched ones."""
        run = self.follow(None, alone=True)
        return run is not None and bool(self._judged(run))

    def _eager(self) -> tuple[dict[_Stay, _Way], bool]:
        """Each stay with all that can cache the entry in it; and whether the watched entries need no others."""
        for alone in (True, False):
            run = self.follow(None, alone=alone)
            if run is not None and self._judged(run):
                self.goal = min(self._judged(run))
                return {s: _Way(s.initial and not s.first, s.walks) for s in self._stays(run)}, alone
        raise ReplayError(f"{self.story.property} ({self.story.clause}) is not violated by the entry that the story is about")

    def _judged(self, run: _Told) -> set[int]:
        """The CPUs on which the first entry breaks the property as told, at the end."""
        wanted = (self.story.property, self.story.clause, self.watched[0])
        return {j.cpu for j, broken in zip(run.judged, run.broken, strict=True) if broken == wanted}

    def _stays(self, run: _Told) -> Iterator[_Stay]:
        for cpu, entry in itertools.product(range(self.model.cpus), self.watched):
            ends = [*(i for i, point in enumerate(run.points) for e in point if (e.cpu, e.entry, e.what) == (cpu, entry, DROPPED)), None]
            first = 0
            for end in ends:
                last = len(run.points) if end is None else end
                walks = tuple(i for i in run.walks.get((cpu, entry), ()) if first <= i < last)
                yield _Stay((cpu, entry), first, end, (cpu, entry) in run.initial, walks)
                first = last

    def _holds(self, plan: Mapping[_Stay, _Way], drops: Set[tuple[int, Where]], *, alone: bool) -> bool:
        """Whether the run is as told by ``plan``, drops what it is to drop, and is the violation."""
        run = self.follow(plan, alone=alone)
        return run is not None and _drops(run) == drops and self.goal in self._judged(run)

    def follow(self, plan: Mapping[_Stay, _Way] | None, *, alone: bool) -> _Told | None:
        """The run with the entries cached as planned (None: whenever they can be); None if that is not possible."""
        fills: dict[Where, set[int]] | None = None
        start: set[Where] | None = None
        if plan is not None:
            fills, start = {}, {s.where for s, way in plan.items() if way.at_start}
            for stay, way in plan.items():
                fills.setdefault(stay.where, set()).update(way.fills)
        run = _Told(self.model, self.properties, self.story.case, self.watched, fills, alone=alone)
        content = {c: [e for e in run.universe if start is None or e not in self.watched or (c, e) in start] for c in range(self.model.cpus)}
        try:
            run.start(self.story.start_choices, content)
            for told in self.story.steps:
                run.step(told.cpu, told.level, told.action, told.choices)
        except (Blocked, WrongChoice):
            return None
        return run


def _drops(run: _Told | None) -> frozenset[tuple[int, Where]]:
    assert run is not None
    return frozenset((i, (e.cpu, e.entry)) for i, point in enumerate(run.points) for e in point if e.what == DROPPED)


def _ways(stay: _Stay, *, needed: bool) -> Iterator[_Way]:
    """How the entry may come to be cached in a stay, the plainest first; of walks, the latest."""
    if stay.end is None and not needed:
        yield _Way()
    at_start = stay.initial and not stay.first
    if at_start:
        yield _Way(at_start=True)
    for walk in reversed(stay.walks):
        yield _Way(fills=(walk,))
    if at_start:  # a property may ask of an entry that is there that it was walked, too
        for walk in reversed(stay.walks):
            yield _Way(at_start=True, fills=(walk,))


class _Told(Witness):
    """A run in which walks cache the watched entries at the points ``fills`` only (None: whenever they can).

    ``alone``: no other entry is ever cached. ``points`` collects what happens, ``walks`` when a walk could
    cache an entry, ``initial`` what the run can start with.
    """

    def __init__(self, model: Model, properties: Sequence[Property], case: Values, watched: Sequence[Entry], fills: Mapping[Where, Set[int]] | None, *, alone: bool) -> None:
        self.watched, self.fills, self.alone = watched, fills, alone
        self.points: list[list[Event]] = [[]]
        self.walks: dict[Where, list[int]] = {}
        self.initial: set[Where] = set()
        self.staleness = Staleness(model)
        self._stale: dict[Where, bool] = {}
        self._memories: list[dict[str, int]] = []
        self._had: set[Where] = set()
        super().__init__(model, properties, case)

    def step(self, cpu: int | None, level: str, action: str, choices: Sequence[int]) -> None:
        self.points.append([])
        super().step(cpu, level, action, choices)

    def _universe(self) -> Iterator[Entry]:
        cache = self.model.cache
        if not self.alone:
            yield from super()._universe()
        elif cache is not None:
            yield from (e for e in self.watched if value_of(cache.possible, Scope(self, 0, "task", e)))

    def _settle(self) -> None:
        number, events = len(self.points) - 1, self.points[-1]
        cached = {(cpu, e) for cpu, tlb in enumerate(self.tlb) for e in self.watched if e in tlb}
        if not number:
            self.initial = cached
            events += [Event(*where, CACHED) for where in sorted(cached)]
        for cpu, entry in sorted(self._had - cached):
            events.append(Event(cpu, entry, DROPPED))
            self.staleness.forget(cpu, entry)
            self._stale.pop((cpu, entry), None)
        self._memories.append(dict(self.memory))
        self._look(cached)
        super()._settle()
        self._had = {(cpu, e) for cpu, tlb in enumerate(self.tlb) for e in self.watched if e in tlb}
        for cpu, entry in sorted(self._had - cached):
            events.append(Event(cpu, entry, FILLED))
        self._look(self._had - cached, walked=True)
        missed = {where for where, at in (self.fills or {}).items() if number in at} - self._had
        if missed:
            raise Blocked("no walk caches the entry here")

    def _look(self, cached: Set[Where], *, walked: bool = False) -> None:
        """Note which of ``cached``, perhaps just ``walked``, begin or cease to be stale."""
        for cpu, entry in sorted(cached):
            by = self.staleness.look(self, cpu, entry)
            by = by and (by if len(self.points) > 1 else START)
            if bool(by) is not self._stale.get((cpu, entry), False):
                since = self._stale_before(cpu, entry) if by and walked else None
                self.points[-1].append(Event(cpu, entry, STALE, by, since) if by else Event(cpu, entry, VALID))
            self._stale[cpu, entry] = bool(by)

    def _stale_before(self, cpu: int, entry: Entry) -> int | None:
        """Since when the entry would have been as stale as it is; None if that is since now."""
        now = self.memory
        own = {n: x for n, x in now.items() if n.startswith(f"cpu{cpu}.") and n.partition(".")[2] in self.staleness.registers}
        since = len(self._memories)
        for memory in reversed(self._memories):
            self.memory = {**memory, **own}
            if not self.staleness.contradicts(self, cpu, entry):
                break
            since -= 1
        self.memory = now
        return since if since < len(self._memories) - 1 else None

    def _walks(self, cpu: int) -> Sequence[Entry]:
        found = super()._walks(cpu)
        number = len(self.points) - 1
        for entry in self.watched:
            if entry in found:
                at = self.walks.setdefault((cpu, entry), [])
                at += [number] if not at or at[-1] != number else []
        if self.fills is None:
            return found
        return [e for e in found if e not in self.watched or number in self.fills.get((cpu, e), ())]
