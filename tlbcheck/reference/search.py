"""Every state of a model, breadth first: what an engine without an idea would do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.lang.model import LEVELS, Model, Property
from tlbcheck.lang.program import Procedure
from tlbcheck.reference.fairness import Edge, fair_part
from tlbcheck.reference.machine import Blocked, ChoiceNeeded, Crashed, Entry, Machine, State, World
from tlbcheck.reference.procedures import Activation, frames_of, waiting
from tlbcheck.reference.rules import worth

Tell = Callable[[], str]
"""A move in words, which are put together only if they are asked for."""


@dataclass
class Found:
    """What a search found. ``bad``: for each property and clause the least number of steps, and the run.

    ``states`` counts memory, caches, ghosts and where each activation stands with all its locals. ``moved``: a step was
    possible. ``reason``: why it is not complete.
    """

    complete: bool
    states: int
    depth: int
    bad: Mapping[tuple[str, str], tuple[int, list[str]]]
    triggered: frozenset[str]
    opened: frozenset[str]
    errors: Mapping[str, str]
    moved: bool
    reason: str = ""
    reached: Mapping[State, int] = field(default_factory=dict)

    def shortest(self, name: str) -> int | None:
        """The least number of steps to a violation of a property; None if none was found."""
        return min((depth for (q, _), (depth, _) in self.bad.items() if q == name), default=None)


class Search:
    """The states of ``model``, with the monitors of ``properties`` that apply to it."""

    def __init__(self, model: Model, properties: Sequence[Property]) -> None:
        self.world = World(model, properties)
        self.model = model
        self.came: dict[State, tuple[State | None, Tell]] = {}
        self.depths: dict[State, int] = {}
        self.bad: dict[tuple[str, str], tuple[int, State | None, Tell]] = {}
        self.live = [(m.name, clause, e) for m in self.world.monitors for clause, e in m.liveness]
        self.edges: dict[State, list[Edge]] = {}
        self.triggered: set[str] = set()
        self.opened: set[str] = set()
        self.errors: dict[str, str] = {}

    def run(self, *, max_states: int | None = None, seconds: float = float("inf")) -> Found:
        """Visit everything. Raises ``InputError`` for what is wrong with the model, when it comes to it."""
        until, reason, depth, moved = time.monotonic() + seconds, "", 0, False
        layer = [s for told, m in self.starts() if (s := self.arrive(m, None, told, 0, None)) is not None]
        if not self.depths:
            reason = "init has no way to its end: there is no run"
        while layer and not reason:
            # What costs nothing belongs to the same layer, and may go on from there.
            for state in layer:
                layer += [
                    s
                    for told, m in self.free_moves(state)
                    if (s := self.arrive(m, state, told, depth, None)) is not None
                ]
            depth += 1
            following = []
            for state in layer:
                for told, m, whose in self.steps(state):
                    moved = True
                    if (s := self.arrive(m, state, told, depth, whose)) is not None:
                        following.append(s)
                if max_states is not None and len(self.depths) > max_states:
                    reason = f"stopped at the limit of {max_states} states"
                elif time.monotonic() > until:
                    reason = f"did not finish in {seconds:g} s"
                if reason:
                    break
            layer = following
        bad = {clause: (at, [*self.way(before), told()]) for clause, (at, before, told) in self.bad.items()}
        if self.live and not reason:
            bad |= self.for_ever()
        return Found(
            not reason,
            len(self.depths),
            depth,
            bad,
            frozenset(self.triggered),
            frozenset(self.opened),
            self.errors,
            moved,
            reason,
            self.depths,
        )

    def for_ever(self) -> dict[tuple[str, str], tuple[int, list[str]]]:
        """What a fair run lets hold for ever: where that begins, and the run to there."""
        bad = {}
        for name, clause, pending in self.live:
            delivers = frozenset(
                whose for edges in self.edges.values() for _, whose in edges if isinstance(whose, tuple)
            )
            for copy in self.world.every_copy(pending):
                holding = [s for s in self.depths if not s.crashed and self.machine(s).holds(pending, *copy)]
                part = fair_part(holding, self.edges, delivers)
                if part is not None:
                    begins = min(part, key=self.depths.__getitem__)
                    bad[name, clause] = (self.depths[begins], [*self.way(begins), "and so it stays for ever"])
                    break
        return bad

    def arrive(self, machine: Machine, before: State | None, told: Tell, depth: int, whose: Hashable) -> State | None:
        """Note what a move broke, and the state that it led to; that state if it is new. ``whose`` move it was: see
        ``fairness``.
        """
        machine.judge()
        for clause in machine.bad:
            self.bad.setdefault(clause, (depth, before, told))
        self.triggered |= machine.triggered
        self.opened |= machine.opened
        self.errors |= machine.errors
        state = self.frozen(machine)
        if self.live:
            self.edges.setdefault(state, [])
            if before is not None:
                self.edges[before].append((state, whose))
        if state in self.depths:
            return None
        self.depths[state] = depth
        self.came[state] = (before, told)
        return state

    def way(self, state: State | None) -> list[str]:
        """The run to a state, a line for each move."""
        lines: list[str] = []
        while state is not None:
            state, told = self.came[state]
            lines.append(told())
        return lines[::-1]

    # -- states as values

    def frozen(self, m: Machine) -> State:
        stacks = tuple((*key, *m.stacks[key]) for key in sorted(m.stacks))
        return State(
            tuple(m.memory.values()), tuple(m.ghosts.values()), tuple(map(frozenset, m.caches)), stacks, m.crashed
        )

    def machine(self, state: State) -> Machine:
        m = Machine(self.world)
        m.memory = dict(zip(m.memory, state.memory, strict=True))
        m.ghosts = dict(zip(m.ghosts, state.ghosts, strict=True))
        m.caches = [set(c) for c in state.caches]
        m.crashed = state.crashed
        m.stacks = {(cpu, level): (which, frames) for cpu, level, which, frames in state.stacks}
        return m

    def every(self, act: Callable[[Machine], Tell], state: State | None = None) -> Iterator[tuple[Tell, Machine]]:
        """What ``act`` leads to from a state, or from none, with all choices that it asks for, where it is possible."""
        untried: list[tuple[int, ...]] = [()]
        while untried:
            choices = untried.pop()
            m = Machine(self.world) if state is None else self.machine(state)
            m.choices = choices
            try:
                yield act(m), m
            except Blocked:
                self.errors |= m.errors  # ERR-2: what is not possible in the end undoes none
            except ChoiceNeeded as asked:
                untried += [(*choices, value) for value in reversed(asked.domain)]

    # -- moves

    def starts(self) -> Iterator[tuple[Tell, Machine]]:
        """Every start: of cases, of what ``init`` chooses, of what the caches hold."""
        for values in itertools.product(*(c.domain for c in self.world.cases.values())):
            case = dict(zip(self.world.cases, values, strict=True))

            def init(m: Machine, case: Mapping[str, int] = case) -> Tell:
                m.memory |= case
                self.whole(self.model.init, (), 0, "init", m)
                if self.model.task is not None:
                    m.stacks = {
                        (cpu, "task"): (-1, self.started(m, cpu, self.model.task)) for cpu in range(self.model.cpus)
                    }
                return lambda: "start"

            for told, m in self.every(init):
                for caches in itertools.product(*(contents(m, cpu) for cpu in range(self.model.cpus))):
                    m.caches = [set(c) for c in caches]
                    yield told, m

    def started(self, m: Machine, cpu: int, task: Procedure) -> tuple[Any, ...]:
        activation = Activation(m, cpu, "task", [])
        activation.start(task, ())
        return waiting(activation.frames)

    def whole(self, procedure: Procedure, args: Sequence[int], cpu: int | None, level: str, m: Machine) -> Tell:
        """A procedure from its beginning to its end, as one step."""
        activation = Activation(m, cpu, level, [])
        activation.atomic = 1
        activation.start(procedure, args)
        try:
            activation.go()
        except Crashed:
            m.crashed = True
        return activation.told

    def free_moves(self, state: State) -> Iterator[tuple[Tell, Machine]]:
        """One walk, or one eviction, of one entry."""
        describe = self.model.cache.describe if self.model.cache is not None else str
        for cpu in range(self.model.cpus):
            for entry in self.world.entries:
                shown = describe({f"entry.{name}": entry[i] for name, i in self.world.fields.items()})
                m = self.machine(state)
                if entry in m.caches[cpu]:
                    m.evict(cpu, entry)
                    yield partial(f"CPU{cpu} evicts {{}}".format, shown), m
                elif m.fillable(cpu, entry):
                    m.fill(cpu, entry)
                    yield partial(f"CPU{cpu} fills {{}}".format, shown), m

    def steps(self, state: State) -> Iterator[tuple[Tell, Machine, Hashable]]:
        """One step of the environment, or of a CPU's highest activation, or the delivery of an interrupt."""
        if state.crashed:
            return
        for action in self.model.actions:
            for args in itertools.product(*(q.type.values() for q in action.parameters)):
                yield from (
                    (*x, None) for x in self.every(partial(self.whole, action, args, None, "environment"), state)
                )
        for cpu in range(self.model.cpus):
            highest = max((LEVELS.index(level) for c, level, *_ in state.stacks if c == cpu), default=-1)
            if highest >= 0:
                yield from ((*x, cpu) for x in self.every(partial(self.advance, cpu, LEVELS[highest]), state))
            for which, interrupt in enumerate(self.model.interrupts):
                if LEVELS.index(interrupt.level) > highest:
                    whose = None if interrupt.flag is None else (cpu, which)
                    yield from ((*x, whose) for x in self.every(partial(self.deliver, cpu, which), state))

    def advance(self, cpu: int, level: str, m: Machine) -> Tell:
        which, frames = m.stacks[cpu, level]
        activation = Activation(m, cpu, level, frames_of(frames))
        self.go(m, activation, which)
        if not activation.performed:
            raise InputError(
                f"{level} of CPU {cpu} can end without a step", place=self.model.init.place, hint="add an operation"
            )
        return activation.told

    def deliver(self, cpu: int, which: int, m: Machine) -> Tell:
        interrupt = self.model.interrupts[which]
        flag = f"cpu{cpu}.{interrupt.flag.name}" if interrupt.flag is not None else ""
        if (flag and not m.memory[flag]) or not worth(interrupt.when, m.look(cpu, interrupt.level, None, {})):
            raise Blocked
        if flag:
            m.memory[flag] = 0
        activation = Activation(m, cpu, interrupt.level, [])
        activation.performed = True
        activation.start(interrupt.handler, ())
        self.go(m, activation, which)
        return lambda: f"CPU{cpu} {interrupt.level}: {interrupt.handler.name} starts"

    def go(self, m: Machine, activation: Activation, which: int) -> None:
        """Let an activation take its step; a handler that has returned gives back the flag of its interrupt."""
        cpu, level = activation.cpu, activation.level
        assert cpu is not None
        try:
            if activation.go():
                m.stacks[cpu, level] = (which, waiting(activation.frames))
                return
        except Crashed:
            m.crashed = True
            return
        m.stacks.pop((cpu, level), None)
        flag = self.model.interrupts[which].flag if which >= 0 else None
        if flag is not None:
            m.memory[f"cpu{cpu}.{flag.name}"] = 1


def contents(m: Machine, cpu: int) -> list[tuple[Entry, ...]]:
    """What a cache may hold at the start: any of the entries of which its rule says so."""
    cache = m.model.cache
    allowed = [e for e in m.world.entries if cache is not None and m.holds(cache.initial, cpu, "task", {}, e)]
    return [some for n in range(len(allowed) + 1) for some in itertools.combinations(allowed, n)]
