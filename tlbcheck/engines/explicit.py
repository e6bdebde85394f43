"""The explicit engine: breadth first over all reachable states, complete.

With one tracked entry, states that differ only in the entry are kept together: a control state
holds, for each value of the entry variables, the mask of entries that reach it. That is the
set of states (control, entry, its variables), written compactly; what is counted are those states.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from tlbcheck.collecting import paused
from tlbcheck.engines.compile import Compiled, Masks, State
from tlbcheck.engines.memory import Budget
from tlbcheck.engines.trace import EngineResult, Trace, TraceStep, Violation, check_failed, most_values, values_of
from tlbcheck.engines.trace import State as TraceState
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import variables
from tlbcheck.lang.model import LEVELS
from tlbcheck.system.transition_system import Bad, Step, TransitionSystem

Bits = tuple[int, ...]
Edge = tuple[int, tuple[int, ...], State]
CaseKey = tuple[str, str, tuple[int, ...]]
Frontier = dict[State, dict[Bits, int]]


def _first(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


@dataclass(frozen=True, slots=True)
class _Plan:
    """A step as the search needs it."""

    step: Step
    moved: Callable[[State, tuple[int, ...], Masks], Masks] | None
    refills: bool
    moves: bool
    bads: tuple[tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]], ...]


class Tracked:
    """Exploration with one arbitrary entry, fills saturated.

    ``restrict`` leaves out states in which a variable has another value than these, as blame does
    to look at one case; ``limit`` stops after so many control states with verdict ``unknown``, ``max_bytes``
    when the search has taken so much memory.
    """

    def __init__(
        self,
        system: TransitionSystem,
        *,
        restrict: Mapping[str, frozenset[int]] | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        system.require_apart()
        self.system = system
        self.compiled = Compiled(system)
        self.compiled.on_check(self._check_failed)
        self.limit, self.max_bytes, self.progress = limit, max_bytes, progress
        self.allowed = [(self.compiled.position[n], values) for n, values in (restrict or {}).items()]
        self.reached: dict[State, dict[Bits, int]] = {}
        self.history: dict[State, list[tuple[int, Bits, int]]] = {}
        self.edges: dict[State, list[Edge]] = {}
        self.order: dict[State, int] = {}
        self.starts: dict[State, tuple[int, tuple[int, ...]]] = {}
        self.found: dict[CaseKey, tuple[int, State | None, Bits, int, int | None, tuple[int, ...], State]] = {}
        self.bad_at: dict[State, dict[int, dict[Bits, int]]] = {}
        """For each state and invariant (by its number) the entries for which it is violated."""
        self.fired_steps: dict[int, int] = {}
        position = self.compiled.position
        self._case = [position[n] for n in system.case_variables.values()]
        self._frames = [[position[n] for n in system.case_frames[level].values()] for level in reversed(LEVELS) if level in system.case_frames]
        self._plans: dict[int, _Plan] = {}
        self._spread: dict[Bits, Masks] = {}
        self._pieces: dict[tuple[bool, object, Masks], tuple[tuple[Bits, int], ...]] = {}
        reads = {n for f in system.fills for e in (f.when, *f.updates.values()) for n in variables(e)}
        asked = [position[n] for n in reads if n in position]
        self._fill_reads: Callable[[State], object] = itemgetter(*asked) if asked else lambda s: ()
        self.transitions = 0
        self.finished, self.interrupted, self.depth, self.stopped = True, False, 0, ""
        self._seconds = 0.0
        self._layer: Iterator[tuple[State, dict[Bits, int]]] = iter(())
        self._following: Frontier = {}
        self._reverse: dict[State, list[State]] = {}
        self._reversed: Iterator[tuple[State, list[Edge]]] | None = None
        self._pending: tuple[State, list[Edge]] | None = None

    def _check_failed(self, index: int) -> None:
        raise check_failed(self.system.steps[index].checks[0])

    # -- search

    def run(self, *, interruptible: bool = False) -> EngineResult:
        """Visit everything that is reachable; if ``interruptible``, after Ctrl-C, tell what was visited so far.

        A search that stopped at a limit goes on from there if it is run again with another one.
        """
        began = time.perf_counter()
        with paused():
            try:
                return self._run()
            except KeyboardInterrupt:
                if not interruptible:
                    raise
                self.finished, self.interrupted, self.stopped = False, True, f"interrupted with {len(self.reached):,} control states at depth {self.depth}"
                return self.result(time.perf_counter() - began, self.depth)

    def _run(self) -> EngineResult:
        reported = time.perf_counter()
        began = reported - self._seconds
        memory = Budget(self.max_bytes)
        c, spread, bad_at = self.compiled, self.spread, self.bad_at
        reached, order, history = self.reached, self.order, self.history
        state_bads = c.state_bads()
        plans = [self.plan(step) for step in self.system.steps]

        def arrive(s: State, news: Mapping[Bits, int], depth: int, into: Frontier) -> None:
            known = reached.get(s)
            if known is None:
                known = reached[s] = {}
                order[s] = len(order)
                history[s] = []
            waiting: dict[Bits, int] | None = None
            for bits, mask in news.items():
                had = known.get(bits, 0)
                new = mask & ~had
                if not new:
                    continue
                known[bits] = had | new
                if waiting is None:
                    records = history[s]
                    waiting = into.setdefault(s, {})
                records.append((depth, bits, new))
                waiting[bits] = waiting.get(bits, 0) | new
                for i, (_, test) in enumerate(state_bads):
                    hit = test(s, (), spread(bits)) & new
                    if hit:
                        at = bad_at.setdefault(s, {}).setdefault(i, {})
                        at[bits] = at.get(bits, 0) | hit

        def newly_bad(s: State, moved: Mapping[Bits, int], before: Sequence[int], depth: int) -> None:
            """Note entries that are bad in ``s`` and were not before."""
            for i, at in sorted(bad_at.get(s, {}).items()):
                for bits, hits in at.items():
                    hit = hits & moved.get(bits, 0) & ~before[i]
                    if hit:
                        bad = state_bads[i][0]
                        self.note(bad.property, bad.clause, self.case_of(s), depth, None, bits, _first(hit), None, (), s)

        good = [0] * len(state_bads)
        if self.interrupted:
            raise InternalError("a search that was interrupted cannot go on")
        if not self.finished:
            self.finished, self.stopped = True, ""
        else:
            frontier: Frontier = {}
            for index, chosen, s in c.initial_states():
                if not self.allows(s):
                    continue
                self.starts.setdefault(s, (index, chosen))
                arrive(s, self.initial_bits(s), 0, frontier)
                newly_bad(s, reached[s], good, 0)
            self._layer, self._following = iter(frontier.items()), {}
        while True:
            following, depth = self._following, self.depth
            for s, news in self._layer:
                edges = self.edges.get(s)
                if edges is None:
                    edges = c.successors(s)
                    if self.allowed:
                        edges = [e for e in edges if self.allows(e[2])]
                    self.edges[s] = edges
                    for index, _, _ in edges:
                        self.fired_steps[index] = self.fired_steps.get(index, 0) + 1
                bad_before = good
                if bad_at and s in bad_at:
                    # What is bad already is noted where it became so.
                    bad_before = list(good)
                    for i, at in bad_at[s].items():
                        for bits, hits in at.items():
                            bad_before[i] |= hits & news.get(bits, 0)
                weight = 0
                for mask in news.values():
                    weight += mask.bit_count()
                self.transitions += weight * len(edges)
                for index, chosen, t in edges:
                    plan = plans[index]
                    moved = self.move(plan, s, chosen, t, news) if plan.moves else news
                    for bad, test in plan.bads:
                        for bits, mask in news.items():
                            hit = test(s, chosen, spread(bits)) & mask
                            if hit:
                                self.note(bad.property, bad.clause, self.case_of(t), depth + 1, s, bits, _first(hit), index, chosen, t)
                    arrive(t, moved, depth + 1, following)
                    if bad_at:
                        newly_bad(t, moved, bad_before, depth + 1)
                if self.progress is not None and time.perf_counter() - reported > 0.2:
                    reported = time.perf_counter()
                    self.progress(len(reached), depth)
                if self.limit is not None and len(reached) > self.limit:
                    self.stopped = f"stopped at the limit of {self.limit} control states"
                elif memory.spent():
                    self.stopped = f"stopped at the limit of {memory.told()} with {len(reached):,} control states at depth {depth}"
                if self.stopped:
                    self.stopped += most_values(values_of(c.variables, reached))
                    self.finished, self._seconds = False, time.perf_counter() - began
                    return self.result(self._seconds, depth + 1)
            self.depth += 1
            if not following:
                return self.result(time.perf_counter() - began, self.depth)
            self._layer, self._following = iter(following.items()), {}

    def note(self, name: str, clause: str, case: tuple[int, ...], depth: int, s: State | None, bits: Bits, entry: int, index: int | None, chosen: tuple[int, ...], t: State) -> None:
        """Keep the first (hence shallowest) violation of each property, clause and case."""
        self.found.setdefault((name, clause, case), (depth, s, bits, entry, index, chosen, t))

    def allows(self, s: State) -> bool:
        return all(s[i] in values for i, values in self.allowed)

    def case_of(self, s: State) -> tuple[int, ...]:
        """The case that a violation in ``s`` belongs to: of the switch under way, else of the last one."""
        for where in self._frames:
            if where and s[where[0]]:
                return tuple(s[i] for i in where)
        return tuple(s[i] for i in self._case)

    def values(self, s: State) -> dict[str, int]:
        return dict(zip(self.compiled.variables, map(int, s), strict=True))

    def spread(self, bits: Bits) -> Masks:
        found = self._spread.get(bits)
        if found is None:
            every = self.compiled.all
            found = self._spread[bits] = tuple(every if b else 0 for b in bits)
        return found

    def split(self, masks: Masks, mask: int) -> dict[Bits, int]:
        """The entries of ``mask`` by the values that their variables have in ``masks``."""
        parts: list[tuple[Bits, int]] = [((), mask)]
        for m in masks:
            following: list[tuple[Bits, int]] = []
            for bits, p in parts:
                yes = p & m
                if yes != p:
                    following.append(((*bits, 0), p ^ yes))
                if yes:
                    following.append(((*bits, 1), yes))
            parts = following
        return dict(parts)

    def initial_bits(self, s: State) -> dict[Bits, int]:
        """Any content that the machine can hold: each entry cached or not, then saturated."""
        c = self.compiled
        news: dict[Bits, int] = {}
        for cached in (True, False):
            for bits, mask in self.split(c.fill(s, c.initial_content(s, cached=cached)), c.all).items():
                news[bits] = news.get(bits, 0) | mask
        return news

    def plan(self, step: Step) -> _Plan:
        found = self._plans.get(step.index)
        if found is None:
            c = self.compiled
            moved, refills = c.moved(step), c.refills(step)
            found = self._plans[step.index] = _Plan(step, moved, refills, moved is not None or refills, tuple(c.step_bads(step)))
        return found

    def move(self, plan: _Plan, s: State, chosen: tuple[int, ...], t: State, news: Mapping[Bits, int]) -> Mapping[Bits, int]:
        """Where the entries of ``news`` are after a step: dropped, then refilled."""
        moved, refills = plan.moved, plan.refills
        if moved is None and not refills:
            return news
        made: dict[Bits, int] = {}
        seen = self._fill_reads(t) if refills else ()
        for bits, mask in news.items():
            masks = self.spread(bits)
            if moved is not None:
                masks = moved(s, chosen, masks)
            # What becomes of every entry depends on little, and comes again and again.
            pieces = self._pieces.get((refills, seen, masks))
            if pieces is None:
                filled = self.compiled.fill(t, masks) if refills else masks
                pieces = self._pieces[refills, seen, masks] = tuple(self.split(filled, self.compiled.all).items())
            for after, piece in pieces:
                part = piece & mask
                if part:
                    made[after] = made.get(after, 0) | part
        return made

    def result(self, seconds: float, depth: int) -> EngineResult:
        names = tuple(self.system.case_variables)
        violations = [Violation(name, clause, tuple(zip(names, case, strict=True)), found[0]) for (name, clause, case), found in self.found.items()]
        fired: dict[tuple[str, str], int] = {}
        for index, count in self.fired_steps.items():
            for event in self.system.steps[index].events:
                fired[event.kind, event.name] = fired.get((event.kind, event.name), 0) + count
        ever = 0
        for known in self.reached.values():
            for bits, mask in known.items():
                if any(bits[self.compiled.entry_variables.index(n)] for n in self.system.cached.values()):
                    ever |= mask
        return EngineResult(
            engine="explicit",
            complete=self.finished,
            bound=depth,
            violations=violations,
            states=sum(m.bit_count() for known in self.reached.values() for m in known.values()),
            transitions=self.transitions,
            seconds=seconds,
            fired=fired,
            steps_fired=frozenset(self.fired_steps),
            starts=frozenset(index for index, _ in self.starts.values()),
            reason=self.stopped,
            cached_entries=ever.bit_count() if self.system.cached else None,
        )

    # -- traces

    def trace(self, violation: Violation) -> Trace:
        """The first shortest run to ``violation``: least start, then least step at each point."""
        case = tuple(v for _, v in violation.case)
        depth, s, bits, entry, index, chosen, t = self.found[violation.property, violation.clause, case]
        one = 1 << entry
        goal: State = t if s is None else s
        length = depth if s is None else depth - 1
        sources = self._sources(length)
        layers: list[set[tuple[State, Bits]]] = [{(goal, bits)}]
        for at in range(length - 1, -1, -1):
            layer: set[tuple[State, Bits]] = set()
            for after, after_bits in layers[-1]:
                for before in sources.get(after, ()):
                    for when, before_bits, mask in self.history[before]:
                        if when == at and mask & one and (before, before_bits) not in layer:
                            for step_index, taken, to in self.edges[before]:
                                if to == after and after_bits in self.move(self.plan(self.system.steps[step_index]), before, taken, after, {before_bits: one}):
                                    layer.add((before, before_bits))
                                    break
            if not layer:
                raise InternalError("the explicit engine cannot rebuild a trace that it found")
            layers.append(layer)
        layers.reverse()
        here, here_bits = min(layers[0], key=lambda x: (self.order[x[0]], x[1]))
        start_index, start_chosen = self.starts[here]
        start = self.system.initial[start_index]
        initial = self._state(here, here_bits)
        steps: list[TraceStep] = []
        for layer in layers[1:]:
            for step_index, taken, after in self.edges[here]:
                moved = self.move(self.plan(self.system.steps[step_index]), here, taken, after, {here_bits: one})
                following = next(((after, b) for b in moved if (after, b) in layer), None)
                if following is not None:
                    here, here_bits = following
                    steps.append(self._trace_step(step_index, taken, here, here_bits))
                    break
            else:
                raise InternalError("the explicit engine cannot follow a trace that it found")
        if index is not None:
            moved = self.move(self.plan(self.system.steps[index]), here, chosen, t, {here_bits: one})
            steps.append(self._trace_step(index, chosen, t, next(iter(moved))))
        fields = self.compiled.entries[entry]
        named = dict(zip((q.name for q in start.parameters), map(int, start_chosen), strict=True))
        return Trace(start, named, initial, dict(fields), tuple(steps))

    def _sources(self, depth: int) -> dict[State, list[State]]:
        """Where one can come from to each state, of what was reached in less than ``depth`` steps: states are in that order."""
        if self._reversed is None:
            self._reversed = iter(self.edges.items())
            self._pending = next(self._reversed, None)
        with paused():
            while self._pending is not None and self.history[self._pending[0]][0][0] < depth:
                s, edges = self._pending
                for _, _, t in edges:
                    known = self._reverse.setdefault(t, [])
                    if not known or known[-1] is not s:
                        known.append(s)
                self._pending = next(self._reversed, None)
        return self._reverse

    def _state(self, s: State, bits: Bits) -> TraceState:
        return TraceState(self.values(s), dict(zip(self.compiled.entry_variables, bits, strict=True)))

    def _trace_step(self, index: int, chosen: Iterable[int], s: State, bits: Bits) -> TraceStep:
        step = self.system.steps[index]
        return TraceStep(step, dict(zip((q.name for q in step.parameters), map(int, chosen), strict=True)), self._state(s, bits))
