"""Proofs re-checked: every reachable configuration of the procedures, with the literal TLB.

This knows nothing of lowering, of the transition system or of the engines: it takes the replay
interpreter's steps, all of them, from every start. Only activations are its own, since those of
the interpreter cannot be copied: here they are stacks of frames. It starts from the largest TLB
content that the machine may hold and fills eagerly, as replay does: a larger content has every
violation that a smaller one has.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, conjuncts, variables
from tlbcheck.lang.model import Interrupt, Model, Property
from tlbcheck.replay.interpreter import Activity, Blocked, Entry, Faulted, OutsideTable, Run, Scope, Values, WrongChoice, value_of

Tlbs = tuple[frozenset[Entry], ...]
Inside = Callable[[Mapping[str, int], Tlbs], bool]
Names = frozenset[str]
Key = tuple[object, ...]
Move = tuple[int | None, str, str, Interrupt | None]

_LOCAL_LIMIT = 100_000
_STOPS = (p.Choose, p.AtomicBlock, p.Read, p.Write, p.Do)


@dataclass(frozen=True)
class Configuration:
    """What can be seen of a configuration: shared variables, and what each CPU's TLB holds."""

    memory: Mapping[str, int]
    tlb: Tlbs


@dataclass(frozen=True)
class Recheck:
    """``violated`` holds (property, clause); ``outside`` is a configuration that was not allowed."""

    configurations: int
    complete: bool
    violated: frozenset[tuple[str, str]]
    outside: Configuration | None = None

    @property
    def holds(self) -> bool:
        """Everything was visited, and nothing bad or unexpected was there."""
        return self.complete and not self.violated and self.outside is None


def recheck(model: Model, properties: Sequence[Property], *, limit: int | None = None, inside: Inside | None = None, free: bool = False) -> Recheck:
    """Visit every reachable configuration; see the module.

    ``free``: walks and evictions happen or not, one by one, where a larger content need not have every violation.

    ``properties`` are those that apply to the model. ``limit`` stops after so many configurations.
    ``inside`` is asked for each one, by shared variables and TLB contents; at the first False the
    visit ends with that one as ``outside``.
    """
    plan = _Plan(model)
    seen: set[Key] = set()
    violated: set[tuple[str, str]] = set()
    waiting: deque[Machine] = deque()
    arrivals = itertools.chain(_starts(plan, properties, free=free), (after for before in _taken(waiting) for after in (*_successors(before), *(_by_themselves(before) if free else ()))))
    for machine in arrivals:
        violated.update((name, clause) for name, clause, _ in machine.broken)
        key = machine.key()
        if key in seen:
            continue
        if limit is not None and len(seen) >= limit:
            return Recheck(len(seen), False, frozenset(violated))
        seen.add(key)
        waiting.append(machine)
        if inside is not None:
            shown = Configuration(machine.memory, tuple(map(frozenset, machine.tlb)))
            if not inside(shown.memory, shown.tlb):
                return Recheck(len(seen), False, frozenset(violated), shown)
    return Recheck(len(seen), True, frozenset(violated))


def _taken(waiting: deque[Machine]) -> Iterator[Machine]:
    while waiting:
        yield waiting.popleft()


# -- every start and every step


class _NeedsChoice(Exception):
    """A step that asks for a choice more than it was given."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self.domain = domain


def _every_choice(attempt: Callable[[tuple[int, ...]], Machine]) -> Iterator[Machine]:
    """What ``attempt`` leads to with all choices that it asks for, where it is possible."""
    untried: list[tuple[int, ...]] = [()]
    while untried:
        choices = untried.pop()
        try:
            yield attempt(choices)
        except Blocked:
            pass
        except _NeedsChoice as asked:
            untried += [(*choices, value) for value in reversed(asked.domain)]


def _by_themselves(before: Machine) -> Iterator[Machine]:
    """One entry that comes or goes."""
    for cpu, entry in itertools.product(range(before.model.cpus), before.universe):
        machine = before.copy()
        machine.broken = []
        with contextlib.suppress(Blocked):
            (machine.goes if entry in machine.tlb[cpu] else machine.comes)(cpu, entry)
            yield machine


def _starts(plan: _Plan, properties: Sequence[Property], *, free: bool) -> Iterator[Machine]:
    cases = plan.model.cases
    for values in itertools.product(*(c.domain for c in cases)):
        case = {f"case.{c.name}": value for c, value in zip(cases, values, strict=True)}

        def start(choices: tuple[int, ...], case: Values = case) -> Machine:
            machine = Machine(plan, properties, case)
            machine.told = free
            machine.start(choices, dict.fromkeys(range(plan.model.cpus), machine.universe))
            return machine

        yield from _every_choice(start)


def moves(machine: Machine) -> Iterator[Move]:
    """Whatever may be next: an action, an activation that goes on, an interrupt that arrives."""
    model = machine.model
    for action in model.actions:
        yield None, "", model.resolve(action).name, None
    for cpu in range(model.cpus):
        for level in model.levels:
            if machine.active.get((cpu, level)) is not None:
                yield cpu, level, "", None
        for interrupt in model.interrupts:
            if machine.active.get((cpu, interrupt.level)) is None:
                yield cpu, interrupt.level, "", interrupt


def after_move(before: Machine, move: Move, choices: Sequence[int] | None = None) -> Iterator[Machine]:
    """What a move leads to, with ``choices`` or with every one that it asks for; nothing if it is not possible."""

    def step(chosen: tuple[int, ...]) -> Machine:
        machine = before.copy()
        cpu, level, action, machine.arriving = move
        machine.step(cpu, level, action, chosen)
        return machine

    if choices is None:
        yield from _every_choice(step)
        return
    with contextlib.suppress(Blocked, WrongChoice, _NeedsChoice):
        yield step(tuple(choices))


def _successors(before: Machine) -> Iterator[Machine]:
    for move in moves(before):
        yield from after_move(before, move)


def start_machine(model: Model, properties: Sequence[Property], case: Values, choices: Sequence[int]) -> Machine:
    """A run of ``model`` at its start, with nothing cached. Raises as ``Run.start`` does."""
    machine = Machine(_Plan(model), properties, case)
    machine.start(choices)
    return machine


# -- an activation that can be copied


@dataclass(slots=True)
class _Frame:
    """A procedure under way: ``blocks`` are statement lists, outer first, with the position in each.

    The position of a block around others is where it goes on: after a branch, at a loop again.
    ``target`` takes the result, in the frame below. A block is that of an ``AtomicBlock`` or a ``Require``,
    or of nothing that matters at its end.
    """

    procedure: p.Procedure
    blocks: list[tuple[Sequence[p.Statement], int, p.Statement | None]]
    names: dict[str, int]
    roles: Mapping[str, None]
    target: str | None

    def copy(self) -> _Frame:
        return _Frame(self.procedure, self.blocks[:], dict(self.names), self.roles, self.target)

    def enter(self, statements: Sequence[p.Statement], of: p.Statement | None = None) -> None:
        self.blocks.append((statements, 0, of))

    def advance(self) -> None:
        statements, position, of = self.blocks[-1]
        self.blocks[-1] = (statements, position + 1, of)


class _Stack:
    """The activation of one CPU and level; ``next`` takes it to where it waits again."""

    def __init__(self, machine: Machine, cpu: int, level: str, frames: list[_Frame]) -> None:
        self.machine, self.cpu, self.level, self.frames = machine, cpu, level, frames
        self.begun, self.stuck, self.waits = bool(frames), False, False

    def copy(self, machine: Machine) -> _Stack:
        made = _Stack(machine, self.cpu, self.level, [f.copy() for f in self.frames])
        made.begun, made.stuck = self.begun, self.stuck
        return made

    def __iter__(self) -> _Stack:
        return self

    def __next__(self) -> None:
        machine, self.waits = self.machine, False
        if self.stuck:
            raise Blocked("it waits for ever")
        if not self.begun:
            self.begun = True
            self._enter(self.frames[-1], ())
        for _ in range(_LOCAL_LIMIT):
            if self.waits:
                return
            if not self.frames:
                raise StopIteration
            frame = self.frames[-1]
            if not frame.blocks:
                self._finish(None)
                continue
            statements, position, _ = frame.blocks[-1]
            if position == len(statements):
                self._leave(frame)
                continue
            s = statements[position]
            if machine.performed and not machine.atomic and (isinstance(s, _STOPS) or (isinstance(s, p.Call) and machine.judged_apart(s, self.level))):
                return
            self._execute(s, frame)
        raise InputError("a loop without a step", place=self.frames[-1].procedure.place, hint="every way round a loop needs an operation or an access to shared state")

    def begin(self, procedure: p.Procedure) -> None:
        """The procedure that nobody calls: it is entered with the first step."""
        self._push(procedure, (), None)

    def call(self, procedure: p.Procedure, args: Sequence[int], target: str | None) -> None:
        self._push(procedure, args, target)
        self._enter(self.frames[-1], args)

    def _push(self, procedure: p.Procedure, args: Sequence[int], target: str | None) -> None:
        roles = self.frames[-1].roles if self.frames else {}
        if procedure.role:
            roles = {**roles, procedure.role: None}
        names = {q.name: a for q, a in zip(procedure.parameters, args, strict=True)}
        self.frames.append(_Frame(procedure, [(procedure.body, 0, None)], names, roles, target))

    def _enter(self, frame: _Frame, args: Sequence[int]) -> None:
        if frame.procedure.role:
            self.machine._event("enter", frame.procedure.role, {f"arg.{n}": a for n, a in frame.names.items()}, self.cpu, self.level, frame.roles, args)

    def _leave(self, frame: _Frame) -> None:
        """The end of a statement list."""
        _, _, of = frame.blocks.pop()
        if isinstance(of, p.AtomicBlock):
            self.machine.atomic -= 1
            self.machine.performed, self.machine.latest = True, of
        elif isinstance(of, p.Require):
            self._required(of, frame)

    def _required(self, s: p.Require, frame: _Frame) -> None:
        """The condition of a ``require`` is there: go on, or wait (REQ-2)."""
        machine = self.machine
        if self._value(s.condition, frame, s.place):
            frame.advance()
            return
        accesses = machine.stops(s)
        if machine.atomic or not machine.performed or machine._waits_at(s, accesses):
            raise Blocked(f"{s.place}: a requirement does not hold")
        self.waits, self.stuck = True, not accesses

    def _finish(self, value: int | None) -> None:
        """The end of a procedure, with what it returns."""
        frame = self.frames.pop()
        if frame.procedure.role:
            self.machine._event("leave", frame.procedure.role, {}, self.cpu, self.level, frame.roles)
        if value is None and frame.procedure.result is not None:
            raise InputError(f"{frame.procedure.name} can end without returning a value", place=frame.procedure.place, hint="return a value on every path")
        if value is not None:
            self.machine._fits(frame.procedure.result, value, frame.procedure.place, f"the result of {frame.procedure.name}()")
        if value is not None and frame.target is not None:
            self.frames[-1].names[frame.target] = value

    def _value(self, e: Expr, frame: _Frame, place: Place) -> int:
        try:
            return self.machine.local_value(e, frame.names, self.cpu)
        except OutsideTable:
            raise InputError("the index of a table is outside of it", place=place) from None

    def _execute(self, s: p.Statement, frame: _Frame) -> None:
        machine = self.machine
        match s:
            case p.Assign():
                value = self._value(s.value, frame, s.place)
                machine._fits(s.type, value, s.place, s.target)
                frame.names[s.target] = value
            case p.If():
                frame.advance()
                frame.enter(s.then if self._value(s.condition, frame, s.place) else s.orelse)
                return
            case p.While():
                if self._value(s.condition, frame, s.place):
                    frame.enter(s.body)
                    return
            case p.ForCpus():
                frame.advance()
                frame.enter(s.unrolled(machine.model.cpus))
                return
            case p.Call():
                apart = not machine.atomic and machine.judged_apart(s, self.level)
                args = [self._value(a, frame, s.place) for a in s.args]
                for q in machine.model.resolution(s.procedure):
                    for parameter, a in zip(q.parameters, args, strict=True):
                        machine._fits(parameter.type, a, s.place, f"parameter '{parameter.name}' of {q.name}()")
                if not machine._owed(s, args, self.cpu, self.level, frame.roles):
                    if machine.atomic or not machine.performed:
                        raise Blocked(f"{s.place}: no call keeps to what is required")
                    self.waits = self.stuck = True
                    return
                frame.advance()
                machine.performed |= apart
                self.call(machine.model.resolve(s.procedure), args, s.target)
                return
            case p.Return():
                returned = None if s.value is None else self._value(s.value, frame, s.place)
                while frame.blocks:
                    self._leave(frame)
                self._finish(returned)
                return
            case p.Assert():
                if not self._value(s.condition, frame, s.place):
                    machine._event("assert", s.text, {}, self.cpu, self.level, frame.roles)
            case p.Require():
                if machine.stops(s):
                    machine.latest = None
                frame.enter(s.before, s)
                return
            case p.Choose():
                frame.names[s.target] = machine._next_choice(s.domain)
            case p.AtomicBlock():
                frame.advance()
                frame.enter(s.body, s)
                machine.atomic += 1
                return
            case p.Read() | p.Write() | p.Do():
                machine.performed, machine.latest = True, s
                machine._perform(s, frame.names, self.cpu, self.level, frame.roles)
            case _:
                raise AssertionError(s)
        frame.advance()

    def key(self) -> Key:
        """Where each frame is, and the locals that it may still read."""
        made: list[object] = [self.begun, self.stuck]
        if self.stuck:
            return tuple(made)
        plan = self.machine.plan
        above: _Frame | None = None
        for frame in reversed(self.frames):
            where = tuple((id(statements), position) for statements, position, _ in frame.blocks)
            awaited = above.target if above is not None and above.procedure.result is not None else None
            readable = plan.readable(where, frame)
            made.append((id(frame.procedure), where, tuple(frame.names.get(n) for n in readable if n != awaited)))
            above = frame
        return tuple(made)


# -- the interpreter, able to be copied, and remembering what it computed


class _Plan:
    """What is the same in every configuration: which locals are readable where, and results by what they depend on."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._readable: dict[Key, tuple[str, ...]] = {}
        self._leaves: dict[Expr, tuple[str, ...]] = {}
        self.values: dict[Expr, dict[tuple[int, ...], int]] = {}
        self.parts: dict[tuple[Expr, ...], _Parts] = {}
        self.apart: dict[tuple[p.Call, str], bool] = {}
        self.stops: dict[p.Require, list[p.Statement]] = {}

    def leaves(self, e: Expr) -> tuple[str, ...]:
        """The variables that an expression reads, also by what the model says of meanings and settings."""
        found = self._leaves.get(e)
        if found is None:
            names: dict[str, None] = {}
            for name in variables(e):
                defined = self.model.settings.get(name) if name.startswith("setting.") else None
                if name.startswith("meaning."):
                    defined = self.model.meanings[name.removeprefix("meaning.")]
                names.update(dict.fromkeys(self.leaves(defined) if defined is not None else (name,)))
            found = self._leaves[e] = tuple(names)
        return found

    def readable(self, where: Key, frame: _Frame) -> tuple[str, ...]:
        """The locals of ``frame``, which is at ``where``, that it may still read."""
        found = self._readable.get(where)
        if found is None:
            live: Names = frozenset()
            for statements, position, of in frame.blocks:
                if isinstance(of, p.Require):
                    live |= self._reads(of.condition)
                live = self.live(statements[position:], live)
            found = self._readable[where] = tuple(sorted(live))
        return found

    def live(self, statements: Sequence[p.Statement], after: Names) -> Names:
        """The locals that are read, here or ``after``, before they are written."""
        for s in reversed(statements):
            after = self._live(s, after)
        return after

    def _live(self, s: p.Statement, after: Names) -> Names:
        match s:
            case p.Assign():
                return after - {s.target} | self._reads(s.value)
            case p.If():
                return self._reads(s.condition) | self.live(s.then, after) | self.live(s.orelse, after)
            case p.While():
                again = after | self._reads(s.condition)
                while (more := again | self.live(s.body, again)) != again:
                    again = more
                return again
            case p.ForCpus():
                return self.live(s.unrolled(self.model.cpus), after)
            case p.Call():
                written = {s.target} if self.model.resolve(s.procedure).result is not None else set()
                return after - written | self._reads(*s.args)
            case p.Return():
                return self._reads(s.value)
            case p.Assert():
                return after | self._reads(s.condition)
            case p.Require():
                once = self.live(s.before, after | self._reads(s.condition))
                return once | self.live(s.before, once | after | self._reads(s.condition))
            case p.Choose():
                return after - {s.target}
            case p.AtomicBlock():
                return self.live(s.body, after)
            case p.Read():
                return after - {s.target} | self._reads(s.at)
            case p.Write():
                return after | self._reads(s.at, s.value)
            case p.Do():
                return after - ({s.target} if s.operation.result is not None else set()) | self._reads(*s.args)
        raise AssertionError(s)

    def _reads(self, *expressions: Expr | None) -> Names:
        return frozenset(n for e in expressions if e is not None for n in variables(e))


@dataclass(slots=True)
class _Parts:
    """A conjunction over entries: ``by`` decides ``fixed`` for all of them; ``open`` also reads what is cached and marked."""

    fixed: tuple[Expr, ...]
    open: tuple[Expr, ...]
    by: tuple[str, ...]
    known: dict[tuple[int, ...], tuple[Entry, ...]]


class Machine(Run):
    """A run that can be copied; it raises ``_NeedsChoice`` where a choice is missing."""

    def __init__(self, plan: _Plan, properties: Sequence[Property], case: Values) -> None:
        super().__init__(plan.model, properties, case)
        self.plan = plan
        self.arriving: Interrupt | None = None
        self.per_entry = {"entry.cached"} | {name for name, g in self.ghosts.items() if g.per_entry}

    def copy(self) -> Machine:
        """Another run in the same configuration, which shares nothing that changes."""
        made = object.__new__(Machine)
        made.__dict__.update(self.__dict__)
        made.memory = dict(self.memory)
        made.tlb = [set(entries) for entries in self.tlb]
        made.marks = {key: set(marked) for key, marked in self.marks.items()}
        made.numbers = dict(self.numbers)
        made.flags = dict(self.flags)
        made.active = {where: activity.copy(made) if isinstance(activity, _Stack) else None for where, activity in self.active.items()}
        return made

    def key(self) -> Key:
        """What decides everything that can still happen."""
        stacks = tuple((where, activity.key()) for where, activity in sorted(self.active.items()) if isinstance(activity, _Stack))
        marks = frozenset((key, frozenset(marked)) for key, marked in self.marks.items() if marked)
        numbers = frozenset((key, value) for key, value in self.numbers.items() if value != self.ghosts[key[0]].initial)
        return (stacks, self.halted, frozenset(self.flags.items()), frozenset(self.memory.items()), tuple(map(frozenset, self.tlb)), marks, numbers)

    # -- what differs from the interpreter

    def step(self, cpu: int | None, level: str, action: str, choices: Sequence[int]) -> None:
        try:
            super().step(cpu, level, action, choices)
        except Faulted as fault:
            raise InputError(f"{action} of the environment raises {fault}", hint="an action cannot fault") from None

    def _activity(self, procedure: p.Procedure, cpu: int, level: str) -> Activity:
        stack = _Stack(self, cpu, level, [])
        stack.begin(self.model.resolve(procedure))
        return stack

    def judged_apart(self, s: p.Call, level: str) -> bool:
        """The same as ``_judged_apart``, found once."""
        found = self.plan.apart.get((s, level))
        if found is None:
            found = self.plan.apart[s, level] = self._judged_apart(s, level)
        return found

    def stops(self, s: p.Require) -> list[p.Statement]:
        """Where the condition of a ``require`` stops, found once."""
        found = self.plan.stops.get(s)
        if found is None:
            found = self.plan.stops[s] = self._stops(s.before)
        return found

    def _deliver(self, cpu: int, action: str) -> None:
        assert self.arriving is not None
        self._interrupt(cpu, self.arriving)

    def _next_choice(self, domain: Sequence[int]) -> int:
        chosen = next(self.choices, None)
        if chosen is None:
            raise _NeedsChoice(domain)
        return chosen

    # -- the same as the interpreter computes, once for the same values

    def local_value(self, e: Expr, names: Values, cpu: int) -> int:
        """An expression of a procedure: over locals, case variables, flags and the CPU's number."""
        if e.op == "const":
            return int(e.value)
        by = tuple([names[n] if n in names else cpu if n == "cpu.self" else self.memory.get(n, 0) for n in self.plan.leaves(e)])
        known = self.plan.values.setdefault(e, {})
        found = known.get(by)
        if found is None:
            found = known[by] = value_of(e, Scope(self, cpu, "task", locals=names))
        return found

    def _holding(self, parts: Sequence[Expr], cpu: int, level: str, args: Values) -> Sequence[Entry]:
        if any(n.startswith("entry2.") for part in parts for n in self.plan.leaves(part)):
            return super()._holding(parts, cpu, level, args)
        split = self._split(tuple(parts))
        scope = Scope(self, cpu, level, None, args)
        by = tuple([scope.find(n) for n in split.by])
        found = split.known.get(by)
        if found is None:
            found = split.known[by] = tuple(super()._holding(split.fixed, cpu, level, args))
        if not split.open:
            return found
        return [e for e in found if all(value_of(part, Scope(self, cpu, level, e, args)) for part in split.open)]

    def _split(self, parts: tuple[Expr, ...]) -> _Parts:
        """What ``parts`` depend on, with what is known of them."""
        found = self.plan.parts.get(parts)
        if found is None:
            every = [c for part in parts for c in conjuncts(part)]
            fixed = tuple(e for e in every if self.per_entry.isdisjoint(self.plan.leaves(e)))
            open_ = tuple(e for e in every if not self.per_entry.isdisjoint(self.plan.leaves(e)))
            by = {n for e in fixed for n in self.plan.leaves(e) if not n.startswith("entry.")}
            found = self.plan.parts[parts] = _Parts(fixed, open_, tuple(sorted(by)), {})
        return found
