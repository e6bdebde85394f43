"""A small interpreter of procedures: registers are numbers, a TLB is a set of entries.

Each CPU and interrupt level that is active is a Python generator, which stops before every
operation, access to shared state and free choice. Fills are eager: after each step every entry
that a walk could make is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import TRUE, Expr, variables
from tlbcheck.lang.model import LEVELS, Event, Ghost, Interrupt, Model, Property
from tlbcheck.lang.types import IntType, Type, WordType

Entry = tuple[int, ...]
Values = Mapping[str, int]


class Blocked(Exception):
    """A ``require`` does not hold: this run goes no further."""


class Faulted(Exception):
    """A privileged instruction raised an exception."""


class WrongChoice(Exception):
    """A choice that is missing, or outside its domain."""


class OutsideTable(Exception):
    """An index for which a table has nothing."""


def value_of(e: Expr, scope: Scope) -> int:
    """What an expression is worth; written anew here, apart from the engines' translations."""
    match e.op:
        case "const":
            return int(e.value)
        case "var":
            return scope.find(e.value)
        case "and":
            return 1 if all(value_of(a, scope) for a in e.args) else 0
        case "or":
            return 1 if any(value_of(a, scope) for a in e.args) else 0
        case "ite":
            return value_of(e.args[1 if value_of(e.args[0], scope) else 2], scope)
    v = [value_of(a, scope) for a in e.args]
    width = e.type.width if isinstance(e.type, WordType) else None
    match e.op:
        case "not":
            return 1 - v[0]
        case "eq":
            return 1 if v[0] == v[1] else 0
        case "table":
            if not 0 <= v[0] < len(e.value):
                raise OutsideTable
            return int(e.value[v[0]])
        case "lt" | "le":
            type_ = e.args[0].type
            if isinstance(type_, WordType) and type_.signed:
                half = 1 << (type_.width - 1)
                v = [x - 2 * half if x >= half else x for x in v]
            return 1 if v[0] < v[1] or (e.op == "le" and v[0] == v[1]) else 0
        case "band":
            made = v[0] & v[1]
        case "bor":
            made = v[0] | v[1]
        case "bxor":
            made = v[0] ^ v[1]
        case "bnot":
            made = ~v[0]
        case "add":
            made = v[0] + v[1]
        case "sub":
            made = v[0] - v[1]
        case "shl":
            made = v[0] << v[1] if width is None or v[1] < width else 0
        case "shr":
            made = v[0] >> v[1]
        case "resize":
            made = v[0]
        case _:
            raise AssertionError(e.op)
    return made % (1 << width) if width is not None else made


@dataclass
class Scope:
    """Where names in an expression are looked up: one CPU, one level, perhaps one entry and an event."""

    run: Run
    cpu: int
    level: str
    entry: Entry | None = None
    args: Values = field(default_factory=dict)
    locals: Values = field(default_factory=dict)
    entry2: Entry | None = None

    def find(self, name: str) -> int:
        run = self.run
        if name in self.locals:
            return self.locals[name]
        head, dot, rest = name.partition(".")
        match head if dot else "":
            case "arg" | "used":
                return self.args[name]
            case "entry" | "entry2":
                entry = self.entry if head == "entry" else self.entry2
                if rest == "cached":
                    return int(entry in run.tlb[self.cpu])
                assert entry is not None
                return entry[run.fields[rest]]
            case "case":
                return run.memory[name]
            case "flag":
                flag = next(f for f in run.model.flags if f.name == rest)
                return int(run.model.flags[flag])
            case "setting":
                return value_of(run.model.settings[name], self) if name in run.model.settings else 1
            case "meaning":
                return value_of(run.model.meanings[rest], self)
            case "ghost":
                return run.ghost(run.ghosts[name], self.cpu, self.level, self.entry, self.args)
            case "cpu" if rest in ("self", "acting"):
                return self.args.get(name, self.cpu)
        own = f"cpu{self.cpu}.{name}"
        # A register that nothing writes is 0, as after reset.
        return run.memory[own] if own in run.memory else run.memory.get(name, 0)


Activity = Iterator[None]
NOBODY = -1
"""The CPU that acts where the environment does."""
Copy = tuple[str, Values]
"""A level and the arguments of a rule, by which it finds one copy of its ghosts."""


@dataclass(frozen=True)
class Reason:
    """What the machine or the software requires where it is not met, in its words, with the ``parts`` that were judged.

    ``operands`` are arguments and locals by name, ``types`` what is known of theirs; ``memory`` was read of state for it.
    ``asserted`` is the assertion, where it is one.
    """

    text: str = ""
    parts: tuple[Expr, ...] = ()
    operands: Values = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)
    memory: Values = field(default_factory=dict)
    asserted: p.Assert | None = None


def _copy_of(g: Ghost, cpu: int, level: str, args: Values) -> tuple[str, int, str]:
    """Which of a ghost's copies a rule means: the CPU's, and perhaps the level's and the acting CPU's."""
    acting = f"by {args.get('copy', args.get('cpu.acting', cpu))}" if g.by_cpu else ""
    return g.name, cpu, (level if g.frame else "") + acting


class Run:
    """One run of a model, step by step. ``broken`` collects the violations of the latest step."""

    def __init__(self, model: Model, properties: Sequence[Property], case: Values) -> None:
        self.model = model
        roles = {procedure.role for procedure in model.reachable()}
        # A property that lacks a role does not apply; it may speak of what the model does not have.
        self.monitors = [q for q in properties if roles.issuperset(q.needs)]
        self.ghosts = {g.name: g for m in self.monitors for g in m.ghosts}
        cache = model.cache
        self.judges_walks = any(rule.bad and rule.event.kind == "fill" for m in self.monitors for rule in m.rules)
        self.fields = {name: i for i, (name, _, _) in enumerate(cache.fields)} if cache else {}
        self.memory: dict[str, int] = {f"case.{c.name}": case[f"case.{c.name}"] for c in model.cases}
        self.halted = False
        for v in model.state_variables():
            for name in self.names(v):
                self.memory[name] = min(max(v.type.low, 0), v.type.high) if isinstance(v.type, IntType) else 0
        self.tlb: list[set[Entry]] = [set() for _ in range(model.cpus)]
        self.marks: dict[tuple[str, int, str], set[Entry]] = {}
        self.numbers: dict[tuple[str, int, str], int] = {}
        self.active: dict[tuple[int, str], Activity | None] = {}
        self.flags: dict[tuple[int, str], str] = {}
        """For each handler under way the flag that its return sets."""
        self.broken: list[tuple[str, str, Entry | None]] = []
        self.choices: Iterator[int] = iter(())
        self.performed = False
        self.latest: p.Statement | None = None
        """The access, operation or block that the step made."""
        self.atomic = 0
        self.exception = ""
        self.told = False
        """Entries come and go only as somebody says (``comes``, ``goes``)."""
        self.at_last: tuple[tuple[int, Entry, bool], ...] = ()
        """What an entry did by itself (on which CPU, which one, whether it came) that broke a property after the last step."""
        self.reason = Reason()
        self.heads: dict[Expr, frozenset[str]] = {}
        self.universe = list(self._universe())

    def names(self, v: p.StateVar) -> list[str]:
        if v.per_cpu:
            return [f"cpu{c}.{v.name}" for c in range(self.model.cpus)]
        if v.index is not None:
            return [f"{v.name}[{v.index.show(i)}]" for i in v.index.values()]
        return [v.name]

    # -- the outside

    def start(self, choices: Sequence[int], content: Mapping[int, Sequence[Entry]] | None = None) -> None:
        """Run ``init``; ``content`` is what each CPU's cache holds, as far as the machine can."""
        self.choices = iter(choices)
        self.atomic = 1
        try:
            for _ in self._call(self.model.resolve(self.model.init), (), 0, "init", {}):
                raise AssertionError("init stops nowhere")
        except Faulted:
            self.halted = True
        self.atomic = 0
        for c in range(self.model.cpus):
            if self.model.task is not None:
                self.active[c, "task"] = self._activity(self.model.task, c, "task")
        cache = self.model.cache
        if cache is not None:
            for c, entries in (content or {}).items():
                self.tlb[c] = {e for e in entries if value_of(cache.initial, Scope(self, c, "task", e))}
        self._settle()

    def step(self, cpu: int | None, level: str, action: str, choices: Sequence[int]) -> None:
        """One step of one activation, or one action of the environment.

        Raises ``Blocked`` if it is not possible, ``WrongChoice`` if a choice is not.
        """
        self.broken = []
        self.choices = iter(choices)
        self.performed, self.latest = False, None
        if self.halted:
            raise Blocked("after a fault nothing happens")
        if cpu is None:
            procedure = next((self.model.resolve(a) for a in self.model.actions if self.model.resolve(a).name == action), None)
            if procedure is None:
                raise Blocked(f"there is no action {action}")
            args = [self._next_choice(q.type.values()) for q in procedure.parameters]
            self.atomic = 1
            for _ in self._call(procedure, args, 0, "environment", {}):
                raise AssertionError("an action stops nowhere")
            self.atomic = 0
        elif any(self.active.get((cpu, other)) is not None for other in LEVELS[LEVELS.index(level) + 1 :]):
            raise Blocked("an interrupt handler is running")
        elif level != "task" and self.active.get((cpu, level)) is None:
            self._deliver(cpu, action)
        else:
            activity = self.active.get((cpu, level))
            if activity is None:
                raise Blocked(f"{level} of CPU {cpu} has ended")
            self._advance(cpu, level, activity)
        if next(self.choices, None) is not None:
            raise WrongChoice("a choice that nobody asks for")
        self._settle()

    def _advance(self, cpu: int, level: str, activity: Activity) -> None:
        try:
            next(activity)
        except StopIteration:
            self.active[cpu, level] = None
            if flag := self.flags.pop((cpu, level), ""):
                self.memory[flag] = 1
        except Faulted:
            self.halted = True

    def _deliver(self, cpu: int, action: str) -> None:
        named = [i for i in self.model.interrupts if action == arrival(self.model, i)]
        if not named:
            raise Blocked(f"there is no {action}")
        self._interrupt(cpu, named[0])

    def _interrupt(self, cpu: int, interrupt: Interrupt) -> None:
        level = interrupt.level
        flag = f"cpu{cpu}.{interrupt.flag.name}" if interrupt.flag is not None else None
        if (flag is not None and not self.memory[flag]) or not value_of(interrupt.when, Scope(self, cpu, level)):
            raise Blocked("the interrupt cannot be delivered")
        if flag is not None:
            self.memory[flag] = 0
            self.flags[cpu, level] = flag
        self.performed = True
        self.active[cpu, level] = activity = self._activity(interrupt.handler, cpu, level)
        self._advance(cpu, level, activity)

    def _activity(self, procedure: p.Procedure, cpu: int, level: str) -> Activity:
        yield from self._call(self.model.resolve(procedure), (), cpu, level, {})

    # -- procedures

    def _call(self, procedure: p.Procedure, args: Sequence[int], cpu: int, level: str, roles: Mapping[str, None]) -> Generator[None, None, int | None]:
        names = {q.name: a for q, a in zip(procedure.parameters, args, strict=True)}
        inside = {**roles, procedure.role: None} if procedure.role else roles
        if procedure.role:
            self._event("enter", procedure.role, {f"arg.{n}": a for n, a in names.items()}, cpu, level, inside, args)
        returned = yield from self._block(procedure.body, dict(names), cpu, level, inside)
        if returned and returned[0] is not None:
            self._fits(procedure.result, returned[0], procedure.place, f"the result of {procedure.name}()")
        if procedure.role:
            self._event("leave", procedure.role, {}, cpu, level, inside)
        return returned[0] if returned else None

    def _owed(self, s: p.Call, args: Sequence[int], cpu: int, level: str, roles: Mapping[str, None]) -> bool:
        """What the callee requires holds here, or is reported; false where the most general caller does not make the call."""
        for owner, requirement in self.model.requirements(s.procedure):
            names = {q.name: a for q, a in zip(owner.parameters, args, strict=True)}
            performed, latest, self.performed = self.performed, self.latest, False
            self.atomic += 1  # reading the state is no step
            for _ in self._block(requirement.before, names, cpu, level, roles):
                raise AssertionError("a precondition stops nowhere")
            self.atomic -= 1
            self.performed, self.latest = performed, latest
            if self._here(requirement.condition, requirement.place, cpu, level, names):
                continue
            if s.general:
                return False
            scope = Scope(self, cpu, level, locals=names)
            cells = [self._cell(t.variable, t.at, t.place, scope) for t in requirement.before if isinstance(t, p.Read)]
            given, types = {q.name: names[q.name] for q in owner.parameters}, {q.name: q.type for q in owner.parameters}
            self.reason = Reason(f"{owner.name}() requires {requirement.text}", (), given, types, {c: self.memory[c] for c in cells})
            self._event("requires", owner.name, {}, cpu, level, roles)
        return True

    def _fits(self, type_: object, value: int, place: Place, what: str) -> None:
        """Raise ``InputError`` where a value leaves its declared range."""
        if isinstance(type_, IntType) and not type_.low <= value <= type_.high:
            raise InputError(f"an assignment to {what} leaves its range {type_.low}..{type_.high}", place=place)

    def _here(self, e: Expr, place: Place, cpu: int, level: str, names: Values) -> int:
        """An expression of a procedure at ``place``."""
        try:
            return value_of(e, Scope(self, cpu, level, locals=names))
        except OutsideTable:
            raise InputError("the index of a table is outside of it", place=place) from None

    # -- where an activation stops

    def _stops(self, statements: Sequence[p.Statement]) -> list[p.Statement]:
        """Everything in ``statements`` and in what they call that makes an access, an operation or a choice."""
        found: list[p.Statement] = []
        for s in p.walk(list(statements)):
            if isinstance(s, p.Call):
                found += self._stops(self.model.resolve(s.procedure).body)
            elif isinstance(s, p.Read | p.Write | p.Do | p.Choose | p.AtomicBlock):
                found.append(s)
        return found

    def _judged_apart(self, s: p.Call, level: str) -> bool:
        """Something else may change what a precondition of the call reads, so that it is judged in a step of its own."""
        reads = [t for _, owed in self.model.requirements(s.procedure) for t in p.walk(owed.before) if isinstance(t, p.Read)]
        return level in LEVELS and any(self._changed_by_others(t, level) for t in reads)

    def _changed_by_others(self, read: p.Read, level: str) -> bool:
        v, model = read.variable, self.model
        above = LEVELS[LEVELS.index(level) + 1 :]
        if any(v in self._written(i.handler) and i.flag is not v for i in model.interrupts if i.level in above):
            return True
        if any(v in self._written(action) for action in model.actions):
            return True
        others = [*([model.task] if model.task is not None else []), *(i.handler for i in model.interrupts)]
        named_only = v.per_cpu and read.at is None
        return model.cpus > 1 and any(v in self._written(q, named_only=named_only) for q in others)

    def _written(self, procedure: p.Procedure, *, named_only: bool = False) -> set[p.StateVar]:
        """What a procedure writes with all that it calls; ``named_only``: as a variable of a CPU that it names."""
        found: set[p.StateVar] = set()
        for s in p.walk(self.model.resolve(procedure).body):
            if isinstance(s, p.Call):
                found |= self._written(s.procedure, named_only=named_only)
            elif isinstance(s, p.Write) and (s.at is not None or not named_only):
                found.add(s.variable)
            elif isinstance(s, p.Do) and not named_only:
                found |= {v for v, _ in s.operation.effects}
        return found

    def _waits_at(self, s: p.Require, accesses: Sequence[p.Statement]) -> bool:
        """What the step made is the one access of the condition, which is not made in vain."""
        return isinstance(self.latest, p.Read) and accesses == [self.latest] and self.latest in list(p.walk(s.before))

    def _wait(self, s: p.Require, names: dict[str, int], cpu: int, level: str, roles: Mapping[str, None]) -> Generator[None, None, None]:
        """``require``: a guard in one step with others; else the activation waits, see REQ-2 of docs/semantics.md."""
        accesses = self._stops(s.before)
        while True:
            self.latest = None if accesses else self.latest
            yield from self._block(s.before, names, cpu, level, roles)
            if self._here(s.condition, s.place, cpu, level, names):
                return
            if self.atomic or not self.performed or self._waits_at(s, accesses):
                raise Blocked(f"{s.place}: a requirement does not hold")
            yield
            if not accesses:
                raise Blocked(f"{s.place}: a requirement never holds")

    def _block(self, statements: Sequence[p.Statement], names: dict[str, int], cpu: int, level: str, roles: Mapping[str, None]) -> Generator[None, None, tuple[int | None] | None]:
        """Runs statements; a tuple says that they returned."""

        def value(e: Expr) -> int:
            return self._here(e, s.place, cpu, level, names)

        for s in statements:
            match s:
                case p.Assign():
                    names[s.target] = made = value(s.value)
                    self._fits(s.type, made, s.place, s.target)
                case p.If():
                    returned = yield from self._block(s.then if value(s.condition) else s.orelse, names, cpu, level, roles)
                    if returned:
                        return returned
                case p.While():
                    while value(s.condition):
                        returned = yield from self._block(s.body, names, cpu, level, roles)
                        if returned:
                            return returned
                case p.ForCpus():
                    returned = yield from self._block(s.unrolled(self.model.cpus), names, cpu, level, roles)
                    if returned:
                        return returned
                case p.Call():
                    apart = not self.atomic and self._judged_apart(s, level)
                    if apart and self.performed:
                        yield
                    args = [value(a) for a in s.args]
                    for q in self.model.resolution(s.procedure):
                        for parameter, a in zip(q.parameters, args, strict=True):
                            self._fits(parameter.type, a, s.place, f"parameter '{parameter.name}' of {q.name}()")
                    if not self._owed(s, args, cpu, level, roles):
                        if self.performed and not self.atomic:
                            yield
                        raise Blocked(f"{s.place}: no call of {s.procedure.name} keeps to what it requires")
                    self.performed |= apart
                    result = yield from self._call(self.model.resolve(s.procedure), args, cpu, level, roles)
                    if s.target is not None and result is not None:
                        names[s.target] = result
                case p.Return():
                    return (None if s.value is None else value(s.value),)
                case p.Assert():
                    if not value(s.condition):
                        self.reason = Reason(s.text, (s.condition,), names, asserted=s)
                        self._event("assert", s.text, {}, cpu, level, roles)
                case p.Require():
                    yield from self._wait(s, names, cpu, level, roles)
                case p.Choose():
                    if self.performed and not self.atomic:
                        yield
                    names[s.target] = self._next_choice(s.domain)
                case p.AtomicBlock():
                    if self.performed and not self.atomic:
                        yield
                    self.atomic += 1
                    returned = yield from self._block(s.body, names, cpu, level, roles)
                    self.atomic -= 1
                    self.performed, self.latest = True, s
                    if returned:
                        return returned
                case p.Read() | p.Write() | p.Do():
                    if self.performed and not self.atomic:
                        yield
                    self.performed, self.latest = True, s
                    self._perform(s, names, cpu, level, roles)
        return None

    def _next_choice(self, domain: Sequence[int]) -> int:
        chosen = next(self.choices, None)
        if chosen is None or chosen not in domain:
            raise WrongChoice("a choice is missing" if chosen is None else f"{chosen} cannot be chosen here")
        return chosen

    def _perform(self, s: p.Read | p.Write | p.Do, names: dict[str, int], cpu: int, level: str, roles: Mapping[str, None]) -> None:
        scope = Scope(self, cpu, level, locals=names)
        match s:
            case p.Read():
                names[s.target] = self.memory[self._cell(s.variable, s.at, s.place, scope)]
            case p.Write():
                value = self._here(s.value, s.place, cpu, level, names)
                cell = self._cell(s.variable, s.at, s.place, scope)
                self._fits(s.variable.type, value, s.place, s.variable.name)
                self.memory[cell] = value
            case p.Do():
                self._operate(s, scope, names, roles)

    def _cell(self, v: p.StateVar, at: Expr | None, place: Place, scope: Scope) -> str:
        if at is None:
            return f"cpu{scope.cpu}.{v.name}" if v.per_cpu else v.name
        index = self._here(at, place, scope.cpu, scope.level, scope.locals)
        there = range(self.model.cpus) if v.index is None else v.index.values()
        if index not in there:
            raise InputError(f"the index of {v.name} is outside of {there[0]}..{there[-1]}", place=place)
        return f"cpu{index}.{v.name}" if v.index is None else f"{v.name}[{v.index.show(index)}]"

    def _operate(self, s: p.Do, scope: Scope, names: dict[str, int], roles: Mapping[str, None]) -> None:
        operation, cpu, level = s.operation, scope.cpu, scope.level
        args = {}
        for (name, type_), a in zip(operation.operands, s.args, strict=True):
            args[f"arg.{name}"] = operand = self._here(a, s.place, cpu, level, scope.locals)
            self._fits(type_, operand, s.place, f"operand '{name}' of {operation.name}")
        if operation.uses is not None:
            args |= self._use(operation.uses, cpu, level, args)
        self._event("operation", operation.name, args, cpu, level, roles)
        here = Scope(self, cpu, level, args=args)
        for clause in operation.faults:
            if all(value_of(part, here) for part in clause.parts):
                self.reason = Reason(clause.rule, clause.parts)
                self._event("fault", clause.exception, args, cpu, level, roles)
                self.exception = clause.exception
                raise Faulted(clause.exception)
        vendors = {"common": {"intel", "amd"}, "intel": {"intel"}, "amd": {"amd"}}[self.model.profile]
        promised = [c for c in operation.drops if vendors <= c.vendors]
        gone = {e for c in promised for e in self._holding(c.parts, cpu, level, args)} if self.tlb[cpu] or self.marks else set()  # marks go with what is not there, too (GHOST-2)
        result = None if operation.result is None else value_of(operation.result, here)
        new = {f"cpu{cpu}.{v.name}" if v.per_cpu else v.name: value_of(e, here) for v, e in operation.effects}
        for v, _ in operation.effects:
            self._fits(v.type, new[f"cpu{cpu}.{v.name}" if v.per_cpu else v.name], s.place, v.name)
        self.memory.update(new)
        self.tlb[cpu] -= gone
        for (_, owner, _), marked in self.marks.items():
            if owner == cpu:
                marked -= gone
        if s.target is not None and result is not None:
            names[s.target] = result

    # -- entries

    def _universe(self) -> Iterator[Entry]:
        cache = self.model.cache
        if cache is None:
            return
        for entry in itertools.product(*(values for _, _, values in cache.fields)):
            if value_of(cache.possible, Scope(self, 0, "task", entry)):
                yield entry

    def _use(self, uses: Expr, cpu: int, level: str, args: Values) -> dict[str, int]:
        """The cached entry that an operation goes through, chosen field by field."""
        assert self.model.cache is not None
        entry = tuple(self._next_choice(values) for _, _, values in self.model.cache.fields)
        chosen = {f"used.{name}": entry[i] for name, i in self.fields.items()}
        if entry not in self.tlb[cpu] or not value_of(uses, Scope(self, cpu, level, args={**args, **chosen})):
            raise Blocked("the operation cannot use that entry")
        return chosen

    def _holding(self, parts: Sequence[Expr], cpu: int, level: str, args: Values) -> Sequence[Entry]:
        """The entries for which all ``parts`` hold (with some entry2, if they name one), in the universe's order."""
        if any(self._mentions(part, "entry2") for part in parts):
            if not any(self._mentions(part, "entry") for part in parts):
                # Any entry is as good as any second one.
                return [o for o in self.universe if all(value_of(part, Scope(self, cpu, level, None, args, entry2=o)) for part in parts)]
            return [e for e in self.universe if any(all(value_of(part, Scope(self, cpu, level, e, args, entry2=o)) for part in parts) for o in self.universe)]
        return [e for e in self.universe if all(value_of(part, Scope(self, cpu, level, e, args)) for part in parts)]

    def comes(self, cpu: int, entry: Entry) -> None:
        """A walk caches an entry that is not there. Raises ``Blocked`` where none can."""
        if entry in self.tlb[cpu] or entry not in self._walks(cpu):
            raise Blocked("no walk caches the entry here")
        self.tlb[cpu].add(entry)
        self._event("fill", "", {}, cpu, "task", {}, entry=entry)
        self._judge_state(cpu)

    def goes(self, cpu: int, entry: Entry) -> None:
        """An entry is evicted, and its marks with it. Raises ``Blocked`` where it is not there."""
        if entry not in self.tlb[cpu]:
            raise Blocked("the entry is not cached")
        self.tlb[cpu].discard(entry)
        self.marks = {key: marked - {entry} if key[1] == cpu else marked for key, marked in self.marks.items()}
        self._judge_state(cpu)

    def _settle(self) -> None:
        """Every walk that could happen has happened, unless walks are ``told``; then what must hold in every state."""
        cache = self.model.cache
        for cpu in range(self.model.cpus):
            before = -1
            while cache is not None and not self.told and before < len(self.tlb[cpu]):
                # An entry may enable others.
                before = len(self.tlb[cpu])
                for entry in self._walks(cpu):
                    self.tlb[cpu].add(entry)
                    self._event("fill", "", {}, cpu, "task", {}, entry=entry)
                if not self._mentions(cache.fill, "entry2"):
                    break
            if self.judges_walks and not self.told:
                self._judge_walks(cpu)
            self._judge_state(cpu)

    def _judge_state(self, cpu: int) -> None:
        """What must hold in every state, of one CPU."""
        for monitor in self.monitors:
            for clause, bad in monitor.invariants:
                for level, copy in self.copies(bad):
                    self._judge(monitor.name, clause, bad, cpu, level, copy, None)

    def _judge_walks(self, cpu: int) -> None:
        """Any entry may go, and its marks on the CPU with it, and come back while all others are cached (CACHE-4, CACHE-7, GHOST-2)."""
        marks = self.marks
        for entry in self._walks(cpu):
            self.marks = {key: marked - {entry} if key[1] == cpu else set(marked) for key, marked in marks.items()}
            self._event("fill", "", {}, cpu, "task", {}, entry=entry)
        self.marks = marks

    def copies(self, e: Expr) -> Iterator[Copy]:
        """For each copy that a CPU has of the ghosts in ``e``: the level, and what tells it apart besides."""
        named = [self.ghosts[n] for n in variables(e) if n in self.ghosts]
        for level in self.model.levels if any(g.frame for g in named) else ("task",):
            for copy in range(self.model.cpus) if any(g.by_cpu for g in named) else (None,):
                yield level, {} if copy is None else {"copy": copy}

    def _walks(self, cpu: int) -> Sequence[Entry]:
        """The entries that walks can make now, each while it is not cached itself (CACHE-7)."""
        if self.model.cache is None:
            return ()
        fill = self.model.cache.fill
        if not self._mentions(fill, "entry2"):
            return self._holding((fill,), cpu, "task", {})
        cached, coming = self.tlb[cpu], []
        for entry in self.universe:
            self.tlb[cpu] = cached - {entry}
            scopes = (Scope(self, cpu, "task", entry, {}, entry2=other) for other in self.universe)
            coming += [entry] if any(value_of(fill, scope) for scope in scopes) else []
        self.tlb[cpu] = cached
        return coming

    def ghost(self, g: Ghost, cpu: int, level: str, entry: Entry | None, args: Values) -> int:
        key = _copy_of(g, cpu, level, args)
        if g.per_entry:
            return int(entry in self.marks.get(key, ())) if not g.initial else int(entry not in self.marks.get(key, ()))
        return self.numbers.get(key, g.initial)

    def _event(self, kind: str, name: str, args: Values, cpu: int, level: str, roles: Mapping[str, None], positional: Sequence[int] = (), entry: Entry | None = None) -> None:
        for monitor in self.monitors:
            for rule in monitor.rules:
                e: Event = rule.event
                if e.kind != kind or (e.name and e.name != name) or (e.within and e.within not in roles):
                    continue
                named = dict(args) | {f"arg.{n}": a for n, a in zip(e.parameters, positional, strict=False)}
                asked = [x for _, x in (*rule.bad, *rule.updates)]
                ghosts = [self.ghosts[n] for x in asked for n in variables(x) if n in self.ghosts] + [g for g, _ in rule.updates]
                # (the CPU that the rule is about, what it knows of the one that acts or of the copy that is meant)
                about: list[tuple[int, dict[str, int]]]
                if level == "environment":
                    if any(g.by_cpu for g in ghosts):
                        raise InputError(f"a rule of {monitor.name} for '{name}' asks for a ghost of the CPU that acts, and the environment is none")
                    about = [(c, {"cpu.acting": NOBODY}) for c in range(self.model.cpus)]
                elif rule.every_cpu:
                    about = [(c, {"cpu.acting": cpu}) for c in range(self.model.cpus)]
                elif any(g.by_cpu for g in ghosts):
                    about = [(cpu, {"copy": c}) for c in range(self.model.cpus)]
                else:
                    about = [(cpu, {})]
                mine = level if level in LEVELS else "task"
                for c, more in about:
                    for clause, bad in rule.bad:
                        self._judge(monitor.name, clause, bad, c, mine, {**named, **more}, entry)
                changes = [change for c, more in about for change in self._changes(rule.updates, c, mine, {**named, **more}, entry)]
                for _, key, value in changes:
                    if isinstance(value, set):
                        self.marks[key] = value
                    else:
                        self.numbers[key] = value

    def _changes(self, updates: Sequence[tuple[Ghost, Expr]], cpu: int, level: str, args: Values, entry: Entry | None) -> list[tuple[Ghost, tuple[str, int, str], int | set[Entry]]]:
        """What a rule makes of its ghosts."""
        later: list[tuple[Ghost, tuple[str, int, str], int | set[Entry]]] = []
        for g, e in updates:
            key = _copy_of(g, cpu, level, args)
            if not g.per_entry:
                value = value_of(e, Scope(self, cpu, level, entry, args))
                self._fits(g.type, value, self.latest.place if self.latest is not None else self.model.init.place, g.name.removeprefix("ghost."))
                later.append((g, key, value))
                continue
            marked = self.marks.setdefault(key, set())
            domain = [entry] if entry is not None else self.universe
            on = {x for x in domain if value_of(e, Scope(self, cpu, level, x, args)) != g.initial}
            later.append((g, key, (marked - set(domain)) | on))
        return later

    def _judge(self, name: str, clause: str, bad: Expr, cpu: int, level: str, args: Values, entry: Entry | None) -> None:
        if entry is None and self._about_entries(bad):
            self.broken += [(name, clause, e) for e in self._holding((bad,), cpu, level, args)]
        else:
            seconds: Sequence[Entry | None] = self.universe if self._mentions(bad, "entry2") else (None,)
            if any(value_of(bad, Scope(self, cpu, level, entry, args, entry2=o)) for o in seconds):
                self.broken.append((name, clause, entry))

    def _about_entries(self, e: Expr) -> bool:
        return self._mentions(e, "entry") or self._mentions(e, "entry2")

    def _mentions(self, e: Expr, what: str) -> bool:
        """Whether ``e`` names ``entry`` or ``entry2``, also by what the model says of meanings."""
        found = self.heads.get(e)
        if found is None:
            found = self.heads[e] = frozenset(self._heads(e))
        return what in found

    def _heads(self, e: Expr) -> Iterator[str]:
        for name in variables(e):
            head, dot, rest = name.partition(".")
            if dot and head == "meaning":
                # A property that does not apply to the model may ask for one that it lacks.
                yield from self._heads(self.model.meanings.get(rest, TRUE))
            else:
                yield "entry" if head == "ghost" and self.ghosts[name].per_entry else head


def arrival(model: Model, interrupt: Interrupt) -> str:
    """What a trace calls the delivery: interrupts whose handlers have one name are numbered."""
    alike = [i for i in model.interrupts if i.handler.name == interrupt.handler.name]
    return f"interrupt {interrupt.handler.name}" + (f" #{1 + alike.index(interrupt)}" if alike[1:] else "")
