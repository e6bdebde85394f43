"""The literal caches, enumerated: every state packed in a key, successors by table lookup.

For models too large for ``engines.full``, which it agrees with in every state and depth. No
assumption about entries is made: fills are free choices and evictions happen.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tlbcheck.engines import packed_search
from tlbcheck.engines.ground import Ground, TooLarge, ground
from tlbcheck.engines.orbits import Orbits
from tlbcheck.engines.packed_search import DONE, OUT_OF_MEMORY, STATE_LIMIT, TOO_DEEP, VIOLATED, Native, Plain, Search
from tlbcheck.engines.packed_tables import Tables
from tlbcheck.engines.path import along, moves
from tlbcheck.engines.symmetry import Renaming, symmetries
from tlbcheck.engines.trace import EngineResult, Trace, Violation, check_failed, most_values
from tlbcheck.errors import InternalError
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

_SLICE = 0.2
"""Seconds between two looks at the keyboard."""
UNREDUCED = {Native: 100_000, Plain: 1_000}
"""Up to so many states a search has ended before symmetries would be found."""


@dataclass(frozen=True)
class Progress:
    """How far a search is: ``queue`` states wait for their steps, ``bytes`` are what it takes. Sets have neither depth nor queue."""

    states: int
    depth: int | None
    queue: int | None
    seconds: float
    bytes: int
    beforehand: str = ""
    """What the search will take, said before it begins."""

    @property
    def rate(self) -> float:
        """States a second."""
        return self.states / self.seconds if self.seconds else 0.0


class Packed:
    """Exploration of the literal caches of ``system``.

    ``fills``: ``free`` or ``saturated``, as in ``engines.full``. With ``tracked``, of one entry alone. ``max_states`` and ``max_bytes`` stop it with verdict
    ``unknown``; so does Ctrl-C. ``grounded`` says afterwards whether tables could be made at all, ``taken`` which rows some run takes. ``symmetry`` keeps one
    state of each orbit of ``engines.symmetry``, once there are so many states that this pays. Unless ``to_the_end``, it is over when all properties are
    violated. ``compiled=False`` asks for the loop in Python.
    """

    def __init__(
        self,
        system: TransitionSystem,
        *,
        fills: Literal["free", "saturated"] = "free",
        tracked: Mapping[str, int] | None = None,
        max_states: int | None = None,
        max_bytes: int = 8 << 30,
        threads: int = 1,
        symmetry: bool = True,
        to_the_end: bool = False,
        compiled: bool = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.system, self.fills, self.tracked, self.symmetry, self.progress = system, fills, tracked, symmetry, progress
        self.max_states, self.max_bytes, self.threads, self.to_the_end = max_states, max_bytes, threads, to_the_end
        self.limit = max_states or 1 << 62
        self.loop = Native if compiled and packed_search.library() is not None else Plain
        self.began = time.perf_counter()
        self.grounded = False
        self.ended = packed_search.AGAIN
        self.renamings: list[Renaming] = []
        self.taken: set[int] = set()
        self.orbits: Orbits | None = None

    @cached_property
    def ground(self) -> Ground:
        """The rows of the model. Raises ``TooLarge``."""
        return ground(slice_system(self.system), self.fills, tracked=self.tracked)

    def run(self) -> EngineResult:
        """Visit every state, or stop at a limit and say so. Raises ``InputError`` for a model that leaves its ranges."""
        try:
            self.tables = Tables(self.ground)
        except TooLarge as error:
            return EngineResult("full", complete=False, bound=-1, reason=f"the model is too large to be written as a table: {error}", seconds=time.perf_counter() - self.began)
        self.grounded = True
        self._begin(min(self.limit, UNREDUCED[self.loop]) if self.symmetry else self.limit)
        try:
            reason = self._search()
            return self._result(self.ground, reason)
        finally:
            self.search.close()

    def _begin(self, max_states: int) -> None:
        bads = self.ground.bads
        goals = sorted({b.property for b in bads if b.property})
        # The search may end when all properties are violated: none is left of which anything else is asked.
        early = not self.to_the_end and len(goals) < 64 and set(goals) >= {q.name for q in self.system.properties if q.name not in self.system.not_applicable}
        self.search: Search = self.loop(
            self.tables,
            [self.tables.key(s.state) for s in self.ground.starts],
            max_states=max_states,
            max_bytes=self.max_bytes,
            threads=self.threads,
            properties=[1 << goals.index(b.property) if early and b.property else 0 for b in bads],
            orbits=self.orbits,
        )

    def _tell(self, beforehand: str = "") -> None:
        if self.progress is not None:
            search = self.search
            self.progress(Progress(search.count, search.depth, search.count - search.passes[-1][0], time.perf_counter() - self.began, search.bytes, beforehand))

    def _reduce(self) -> None:
        """Begin anew with one state of each orbit; or go on, if every orbit is one state."""
        self.renamings = symmetries(self.ground)
        orbits = Orbits(self.tables, self.renamings)
        if orbits.order:
            self.search.close()
            self.orbits = orbits
            self._begin(self.limit)
            self._tell(self.search.beforehand)
        else:
            self.search.allow(self.limit)

    def _widest(self) -> str:
        return most_values({c.name: len(c.values) for c in self.ground.components if c.entry is None})

    def _search(self) -> str:
        """Search to the end; else why not."""
        reducible = self.symmetry
        try:
            self._tell(self.search.beforehand)
            while True:
                search = self.search
                ended = search.run(_SLICE)
                self._tell()
                self.ended = ended
                if ended in (DONE, VIOLATED):
                    return ""
                if ended == OUT_OF_MEMORY:
                    return f"stopped at the limit of {self.max_bytes >> 20:,} MiB with {search.count:,} states at depth {search.depth}{self._widest()}"
                if ended == STATE_LIMIT and reducible and search.count <= self.limit:
                    reducible = False
                    self._reduce()
                elif ended == STATE_LIMIT:
                    return f"stopped at the limit of {self.max_states:,} states at depth {search.depth}{self._widest()}"
                if ended == TOO_DEEP:
                    return f"stopped at depth {search.depth}"
        except KeyboardInterrupt:
            return f"interrupted with {self.search.count:,} states at depth {self.search.depth}"

    def _result(self, g: Ground, reason: str) -> EngineResult:
        search = self.search
        self.taken = self._taken()
        steps = steps_of(g, self.taken)
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for i, (cube, depth) in enumerate(zip(g.bads, search.bad_depths, strict=True)):
            if depth is not None:
                key = (cube.property, cube.clause)
                found[key] = min(found.get(key, (depth, i)), (depth, i))
        for (name, clause), (_, i) in found.items():
            if not name:
                step = g.bads[i].step
                assert step is not None
                raise check_failed(next(c for c in self.system.steps[step].checks if c.message == clause))
        states, transitions = search.whole
        return EngineResult(
            engine="full",
            complete=not reason and self.ended == DONE,
            bound=search.depth,
            violations=[Violation(name, clause, (), depth, self._trace(g, i, depth)) for (name, clause), (depth, i) in sorted(found.items(), key=lambda f: f[1])],
            states=states,
            kept=search.count if self.orbits else None,
            transitions=transitions,
            seconds=time.perf_counter() - self.began,
            fired=events(self.system, steps),
            steps_fired=steps,
            starts=frozenset(s.step for s in g.starts),
            reason=reason,
        )

    def _taken(self) -> set[int]:
        """Rows that some run takes: those of the search, and what they are renamed to."""
        found = self.search.used_rows()
        waiting = list(found)
        while waiting:
            i = waiting.pop()
            for renaming in self.renamings:
                if renaming.rows[i] not in found:
                    found.add(renaming.rows[i])
                    waiting.append(renaming.rows[i])
        return found

    # -- traces

    def _trace(self, g: Ground, bad: int, depth: int) -> Trace:
        """A shortest run to ``bad``: the least state of the last layer, then the least before it, back to a start."""
        cube = g.bads[bad]
        first, last = self._layer(depth - (cube.step is not None))
        key = self.search.least_bad(first, last, bad)
        if key is None:
            raise InternalError("the packed search lost a violation that it found")
        keys = [key, *self._back(g, key, depth - (cube.step is not None))]
        return along(self.system, moves(g, keys[::-1], cube, lambda state: self.canonical(self.tables.key(state))))

    def _layer(self, depth: int) -> tuple[int, int]:
        passes = [*self.search.passes, (self.search.closed, -1)]
        mine = [i for i, (_, d) in enumerate(passes) if d == depth]
        return passes[mine[0]][0], passes[mine[-1] + 1][0]

    def _back(self, g: Ground, key: int, depth: int) -> Iterator[int]:
        """The states before ``key``, last first: through its layer to one that a step made, and so on."""
        starts = {self.canonical(self.tables.key(g.closed(s.state))) for s in g.starts}
        passes = [*self.search.passes, (self.search.closed, -1)]
        while True:
            if depth == 0 and key in starts:
                return
            before = self.search.least_before(*self._layer(depth - 1), 1, key) if depth else None
            if before is not None:
                depth -= 1
            else:
                rounds = ((a, passes[i + 1][0]) for i, (a, d) in enumerate(passes) if d == depth)
                before = next((k for a, b in rounds if (k := self.search.least_before(a, b, 0, key)) is not None), None)
            if before is None:
                raise InternalError("the packed search cannot rebuild a run that it found")
            yield before
            key = before

    def canonical(self, key: int) -> int:
        """The representative of a state's orbit."""
        return self.orbits.look(key)[0] if self.orbits else key


def steps_of(g: Ground, rows: Iterable[int]) -> frozenset[int]:
    """The steps of some rows."""
    return frozenset(step for i in rows if (step := g.rows[i].step) is not None)


def events(system: TransitionSystem, steps: Iterable[int]) -> dict[tuple[str, str], int]:
    """The events of some steps, by kind and name: in how many of them."""
    return dict(Counter((event.kind, event.name) for index in steps for event in system.steps[index].events))
