"""Grounding: a transition system as rows over small finite components, for engines that need no expressions.

A state gives each component one of its values: control variables the values that they can ever
have, and each (cache, entry, entry variable) a bit. A row is a guard (components with the values
that they must have) and an assignment. Rows of one step and choice exclude each other, so that
enabled rows are enabled instances of steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tlbcheck.engines.compile import content_bit
from tlbcheck.engines.full import literal
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, conjuncts, const, eq, evaluate, not_, or_, substitute, var, variables
from tlbcheck.lang.types import BOOL
from tlbcheck.system.transition_system import Step, TransitionSystem

_VALUES = 512
"""Values of one variable: a counter may have no end."""

Cube = dict[int, int]
"""Values of some components, by position in ``Ground.components``."""
Case = dict[str, int]


class TooLarge(Exception):
    """Rows or values past the limit; the message says of what."""


@dataclass(frozen=True, slots=True)
class Component:
    """A variable of the ground system; ``owner`` is the CPU that it belongs to, None if all share it."""

    name: str
    values: tuple[int, ...]
    owner: int | None
    entry: int | None


Part = tuple[tuple[Cube, Cube], ...]
"""What becomes of one entry: guards that exclude each other, each with an assignment."""


@dataclass(frozen=True, slots=True)
class Row:
    """``step`` is None for what caches do by themselves, which costs nothing. ``parts`` of it happen besides, each to an entry that no other part reads."""

    guard: Cube
    assign: Cube
    step: int | None
    chosen: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class BadCube:
    """States in which ``clause`` of the property is violated, or is by taking ``step``, by ``entry`` if by one."""

    property: str
    clause: str
    guard: Cube
    entry: int | None
    step: int | None = None
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Start:
    state: tuple[int, ...]
    step: int
    chosen: tuple[int, ...]


@dataclass
class Ground:
    """See the module. With saturated fills ``closure`` rows are applied to every state that is reached, until none changes it."""

    system: TransitionSystem
    fills: Literal["free", "saturated"]
    components: list[Component] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    closure: list[Row] = field(default_factory=list)
    bads: list[BadCube] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    entries: list[dict[str, int]] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)
    """Control variables that are no components, since they have the one value that they start with."""

    def values(self, state: Sequence[int]) -> dict[str, int]:
        """The values of a state by name."""
        return {c.name: c.values[i] for c, i in zip(self.components, state, strict=True)}

    def closed(self, state: tuple[int, ...]) -> tuple[int, ...]:
        """``state`` with every fill that it allows; itself where fills are free."""
        before = None
        while self.closure and state != before:
            before = state
            for row in self.closure:
                if enabled(row.guard, state):
                    state = applied(row.assign, state)
        return state


def enabled(guard: Cube, state: Sequence[int]) -> bool:
    return all(state[i] == x for i, x in guard.items())


def after(row: Row, state: Sequence[int]) -> tuple[int, ...]:
    """The state to which a row that is enabled leads."""
    assign = dict(row.assign)
    for part in row.parts:
        assign |= next((then for when, then in part if enabled(when, state)), {})
    return applied(assign, state)


def applied(assign: Cube, state: Sequence[int]) -> tuple[int, ...]:
    changed = list(state)
    for i, x in assign.items():
        changed[i] = x
    return tuple(changed)


def ground(system: TransitionSystem, fills: Literal["free", "saturated"], *, tracked: Mapping[str, int] | None = None, parts: bool = False, limit: int = 50_000) -> Ground:
    """The rows of ``system`` with its caches as they are; or with nothing but one ``tracked`` entry, cached at the start or not.

    With ``parts`` what becomes of entries is left in the parts of a row; else a row is made for each way in which they go together.

    Raises ``TooLarge`` if more than ``limit`` rows, or as many cases of one step, are needed, and
    ``InputError`` if an assignment of the model can leave its range.
    """
    return _Grounding(system, fills, tracked, parts, limit).run()


class _Grounding:
    def __init__(self, system: TransitionSystem, fills: Literal["free", "saturated"], tracked: Mapping[str, int] | None, parts: bool, limit: int) -> None:
        self.system, self.limit, self.tracked, self.parts = literal(system) if tracked is None else system, limit, tracked is not None, parts
        self.ground = Ground(self.system, fills)
        self.entries = self.ground.entries = list(system.entries()) if tracked is None else [dict(tracked)] if tracked else []
        self.domains: dict[str, dict[int, None]] = {}
        self.position: dict[str, int] = {}
        self.code: dict[str, dict[int, int]] = {}
        self.entry_names = {v.name for v in system.entry_variables}
        types = {v.name: v.type for v in system.entry_fields}
        self.own_names = [{n: const(x, types[n]) for n, x in entry.items()} | {n: var(content_bit(n, i), BOOL) for n in self.entry_names} for i, entry in enumerate(self.entries)]
        self.own_memos: list[dict[Expr, Expr]] = [{} for _ in self.entries]
        self.put_memos: dict[tuple[str, int], dict[Expr, Expr]] = {}
        self.reads_memo: dict[Expr, tuple[str, ...]] = {}
        self.possible: list[Expr] = []

    # -- which values control variables can have

    def run(self) -> Ground:
        starts = list(self.starts())
        for state, _, _ in starts:
            for name, value in state.items():
                self.domains.setdefault(name, {})[value] = None
        self.find_values()
        self.declare()
        # Two starts may be one state: the first is told.
        found: dict[tuple[int, ...], Start] = {}
        for control, step, chosen in starts:
            for content in (True, False) if self.tracked else (True,):
                state_ = self.start_state(control, content)
                found.setdefault(state_, Start(state_, step, chosen))
        self.ground.starts = list(found.values())
        for s in self.system.steps:
            self.step_rows(s)
        self.cache_rows()
        for bad in self.system.invariants:
            self.bad(bad.property, bad.clause, bad.when, None)
        return self.ground

    def starts(self) -> Iterator[tuple[Case, int, tuple[int, ...]]]:
        """Control values with which a run may start, by which step and choices."""
        rigid = [v for v in self.system.control if v.name in self.system.rigid]
        base = {v.name: v.initial for v in self.system.control}
        for values in itertools.product(*(v.domain or v.type.values() for v in rigid)):
            before = base | {v.name: x for v, x in zip(rigid, values, strict=True)}
            for step in self.system.initial:
                for chosen in itertools.product(*(q.domain for q in step.parameters)):
                    scope = before | {q.name: x for q, x in zip(step.parameters, chosen, strict=True)}
                    if evaluate(step.guard, scope):
                        yield before | {n: int(evaluate(e, scope)) for n, e in step.updates.items() if n in base}, step.index, chosen

    def find_values(self) -> None:
        """The values that each control variable can have.

        A fixpoint over sets of values, each variable by itself: it may find more than can happen,
        never less.
        """
        steps = self.system.steps
        self.possible = [self.possible_when(s) for s in steps]
        reads = [{n for e in (self.possible[s.index], *s.updates.values()) for n in self.reads(e) if n in self.domains} for s in steps]
        sizes: list[tuple[int, ...] | None] = [None] * len(steps)
        changed = True
        while changed:
            changed = False
            for i, step in enumerate(steps):
                now = tuple(len(self.domains[n]) for n in reads[i])
                if now != sizes[i]:
                    sizes[i] = now
                    changed = True
                    for _, results in self.cases(self.possible[step.index], step.updates, step):
                        for name, e in results.items():
                            if e.op == "const":  # anything else leaves the variable as it is
                                self.domains[name].setdefault(e.value)
                                if len(self.domains[name]) > _VALUES:
                                    raise TooLarge(f"more than {_VALUES:,} values of {name}")

    def taken_when(self, step: Step) -> Expr:
        """When a step can be taken; what it goes through, if anything, is cached."""
        if not step.used:
            return step.guard
        assert step.cpu is not None
        cached, fields = self.system.cached[step.cpu], self.system.entry_fields
        through = (and_(*(eq(e, const(entry[f.name], f.type)) for e, f in zip(step.used, fields, strict=True)), var(content_bit(cached, i), BOOL)) for i, entry in enumerate(self.entries))
        return and_(step.guard, or_(*through))

    def possible_when(self, step: Step) -> Expr:
        """The same, where it leaves all variables in their ranges."""
        return and_(self.taken_when(step), *(c.holds for c in step.checks))

    def cases(self, guard: Expr, results: Mapping[str, Expr], step: Step | None, *, bits: bool = False) -> list[tuple[Case, dict[str, Expr]]]:
        """Cases that exclude each other, in which ``guard`` holds and each result is known.

        Choices of ``step`` have a value in each; of variables only those on which it depends are
        told apart, one after the other, so that a choice folds away what was not chosen. A result
        is known if it is a constant or the variable's own value; it may read entries' bits, unless
        ``bits`` tells these apart too.
        """
        made: list[tuple[Case, dict[str, Expr]]] = []
        given = {q.name: q.domain for q in step.parameters} if step is not None else {}

        def split(guard: Expr, results: Mapping[str, Expr], case: Case) -> None:
            if guard is FALSE:
                return
            name = next((n for n in given if n not in case), None) or self.next_variable(guard, results, bits)
            if name is None:
                made.append((case, dict(results)))
                if len(made) > self.limit:
                    raise TooLarge(f"more than {self.limit:,} cases of '{step.action if step else 'a fill'}'")
                return
            for value in given[name] if name in given else self.domain(name):
                split(self.put(guard, name, value), {n: self.put(e, name, value) for n, e in results.items()}, {**case, name: value})

        split(guard, results, {})
        return made

    def next_variable(self, guard: Expr, results: Mapping[str, Expr], bits: bool) -> str | None:
        """What to tell apart next: what the guard asks for with the fewest others, then what results read."""
        if guard is not TRUE:
            return min((self.reads(c) for c in conjuncts(guard)), key=len)[0]
        for name, e in results.items():
            if not _is_own(name, e):
                for n in self.reads(e):
                    if bits or "#" not in n:
                        return n
        return None

    def domain(self, name: str) -> tuple[int, ...]:
        return (0, 1) if "#" in name else tuple(self.domains[name])

    def reads(self, e: Expr) -> tuple[str, ...]:
        found = self.reads_memo.get(e)
        if found is None:
            found = self.reads_memo[e] = tuple(variables(e))
        return found

    def put(self, e: Expr, name: str, value: int) -> Expr:
        """``e`` with a value for a variable, folded."""
        if name not in self.reads(e):
            return e
        memo = self.put_memos.setdefault((name, value), {})
        found = memo.get(e)
        if found is None:
            # A choice's name may stand for another type in another step; no node has both.
            found = substitute(e, {name: const(value, variables(e)[name].type)}, memo)
        return found

    # -- components

    def declare(self) -> None:
        """Control variables with more than one value, then the entries' bits."""
        for v in self.system.control:
            if len(self.domains[v.name]) > 1:
                self.add(v.name, tuple(self.domains[v.name]), None)
            else:
                (self.ground.constants[v.name],) = self.domains[v.name]
        for i in range(len(self.entries)):
            for v in self.system.entry_variables:
                self.add(content_bit(v.name, i), (0, 1), i)

    def add(self, name: str, values: tuple[int, ...], entry: int | None) -> None:
        head = name.partition(".")[0]
        owner = int(head[3:]) if head.startswith("cpu") and head[3:].isdecimal() else None
        self.position[name] = len(self.ground.components)
        self.code[name] = {x: k for k, x in enumerate(values)}
        self.ground.components.append(Component(name, values, owner, entry))

    def cube(self, case: Case) -> Cube:
        return {self.position[n]: self.code[n][x] for n, x in case.items() if n in self.position}

    def start_state(self, control: Case, content: bool) -> tuple[int, ...]:
        """With the largest ``content`` that the start allows (evictions, where there are any, reach every smaller one), or none."""
        case = dict(control)
        for i, entry in enumerate(self.entries):
            for v in self.system.entry_variables:
                case[content_bit(v.name, i)] = int(evaluate(self.system.entry_start(v, cached=content), control | entry))
        cube = self.cube(case)
        return tuple(cube[i] for i in range(len(self.ground.components)))

    # -- rows

    def own(self, e: Expr, i: int) -> Expr:
        """An expression over entry ``i``: its fields are constants, its variables bits of the state."""
        return substitute(e, self.own_names[i], self.own_memos[i])

    def add_row(self, rows: list[Row], row: Row) -> None:
        rows.append(row)
        if len(rows) > self.limit:
            raise TooLarge(f"more than {self.limit:,} rows")

    def step_rows(self, step: Step) -> None:
        """Rows of one step, and what it violates."""
        changes = {content_bit(n, i): self.own(e, i) for n, e in step.entry_updates.items() if n in self.entry_names for i in range(len(self.entries))}
        for case, results in self.cases(self.possible[step.index], {**step.updates, **changes}, step):
            chosen = tuple(case[q.name] for q in step.parameters)
            fixed = self.cube(_constants(results))
            parts = self.entry_cases({n: e for n, e in results.items() if e.op != "const" and not _is_own(n, e)})
            for when, then, left in self.together(parts):
                self.add_row(self.ground.rows, Row(self.cube(case) | when, fixed | then, step.index, chosen, left))
        for bad in step.bads:
            self.bad(bad.property, bad.clause, bad.when, step)
        for c in step.checks:
            self.bad("", c.message, not_(c.holds), step)

    def entry_cases(self, bits: Mapping[str, Expr]) -> list[Part]:
        """What entries' bits become where that depends on them; told apart entry by entry."""
        made = []
        for _, group in itertools.groupby(sorted(bits, key=_entry), key=_entry):
            cases = self.cases(TRUE, {n: bits[n] for n in group}, None, bits=True)
            made.append(tuple((self.cube(case), self.cube(_constants(results))) for case, results in cases))
        return made

    def together(self, parts: Sequence[Part]) -> list[tuple[Cube, Cube, tuple[Part, ...]]]:
        """The ways in which parts happen together; one, with the parts left in it, if that is asked for and no part reads what another one changes."""
        touched = [{c for when, then in part for c in (*when, *then)} for part in parts]
        if self.parts and sum(map(len, touched)) == len(set().union(*touched)):
            return [({}, {}, tuple(parts))]
        made: list[tuple[Cube, Cube, tuple[Part, ...]]] = [({}, {}, ())]
        for part in parts:
            if len(part) * len(made) > self.limit:
                raise TooLarge(f"more than {self.limit:,} cases of what becomes of entries")
            made = [(before | when, changes | then, ()) for before, changes, _ in made for when, then in part]
        return made

    def cache_rows(self) -> None:
        """What caches do by themselves: fills, and where these are free, evictions."""
        free = self.ground.fills == "free"
        for fill in self.system.fills:
            cached, prefix = self.system.cached[fill.cpu], f"cpu{fill.cpu}."
            own = [v for v in self.system.entry_variables if v.name.startswith(prefix)]
            for i in range(len(self.entries)):
                when = and_(self.own(fill.when, i), not_(var(content_bit(cached, i), BOOL)) if free else TRUE)
                updates = {content_bit(n, i): self.own(e, i) for n, e in fill.updates.items() if n in self.entry_names}
                for case, results in self.cases(when, updates, None, bits=True):
                    self.add_row(self.ground.rows if free else self.ground.closure, Row(self.cube(case), self.cube(_constants(results)), None))
                if free:
                    self.add_row(self.ground.rows, Row(self.cube({content_bit(cached, i): 1}), self.cube({content_bit(v.name, i): v.initial for v in own}), None))

    def bad(self, name: str, clause: str, when: Expr, step: Step | None) -> None:
        """What must not be, in a state or on taking ``step``; for each entry, if it speaks of one."""
        mine = any(n in self.entry_names or n.startswith("entry.") for n in self.reads(when))
        for i in range(len(self.entries)) if mine else (None,):
            condition = when if i is None else self.own(when, i)
            for case, _ in self.cases(and_(condition, self.taken_when(step)) if step is not None else condition, {}, step, bits=True):
                chosen = tuple(case[q.name] for q in step.parameters) if step is not None else ()
                self.ground.bads.append(BadCube(name, clause, self.cube(case), i, None if step is None else step.index, chosen))
                if len(self.ground.bads) > self.limit:
                    raise TooLarge(f"more than {self.limit:,} ways to violate {name or 'a check of the model'}")


def _is_own(name: str, e: Expr) -> bool:
    return e.op == "var" and bool(e.value == name)


def _constants(results: Mapping[str, Expr]) -> Case:
    return {n: e.value for n, e in results.items() if e.op == "const"}


def _entry(bit: str) -> str:
    return bit.rpartition("#")[2]
