"""Memory, caches and the monitors of properties: what a step changes, and what is judged as it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr
from tlbcheck.lang.model import LEVELS, Event, Ghost, Model, Property, Rule
from tlbcheck.lang.types import BOOL, IntType, Type
from tlbcheck.reference.rules import Find, names_in, worth
from tlbcheck.reference.syntax import Function, GeneralCall, indexed, is_set

Entry = tuple[int, ...]
_PROFILES = {"common": {"intel", "amd"}, "intel": {"intel"}, "amd": {"amd"}}


class Blocked(Exception):
    """The step is not possible."""


class ChoiceNeeded(Exception):
    """The step makes a choice more than it was given."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self.domain = domain


class Crashed(Exception):
    """An operation raised an exception of the processor."""


class State(NamedTuple):
    """A state, as a value; ``stacks`` are those of each CPU and level on which something runs."""

    memory: tuple[int, ...]
    ghosts: tuple[int, ...]
    caches: tuple[frozenset[Entry], ...]
    stacks: tuple[tuple[Any, ...], ...]
    crashed: bool


class Context(NamedTuple):
    """Where something happens: on which CPU (None: in the environment), on which level, within which roles."""

    cpu: int | None
    level: str
    roles: frozenset[str] = frozenset()


class Copy(NamedTuple):
    """A copy of a ghost: of which CPU; on which level, for which acting CPU and which entry, where there is one for
    each.
    """

    ghost: str
    cpu: int
    level: str
    acting: int
    entry: Entry | None


def copy_of(g: Ghost, cpu: int, level: str, acting: int, entry: Entry | None) -> Copy:
    """The copy that a rule means."""
    return Copy(g.name, cpu, level if g.frame else "", acting if g.by_cpu else -1, entry if g.per_entry else None)


class World:
    """What never changes in the runs of a model: its functions, the names of its variables, the entries that there can
    be.
    """

    def __init__(self, model: Model, properties: Sequence[Property]) -> None:
        self.model = model
        if not 1 <= model.cpus <= 16:
            raise InputError(f"{model.name} has {model.cpus} CPUs", hint="1 to 16")
        for i in model.interrupts:
            if i.flag is not None and not (i.flag.per_cpu and i.flag.type == BOOL):
                raise InputError(
                    f"the flag {i.flag.name} is not one Boolean for each CPU",
                    place=i.handler.place,
                    hint="declare it with per_cpu(name, bool)",
                )
        self.replaced = {**{c.procedure: c.stand_in for c in model.contracts}, **model.procedures}
        self.functions: dict[p.Procedure, Function] = {}
        self.variables: dict[str, p.StateVar] = {i.flag.name: i.flag for i in model.interrupts if i.flag is not None}
        for procedure in (
            model.init,
            *([model.task] if model.task else []),
            *(i.handler for i in model.interrupts),
            *model.actions,
        ):
            self._read(procedure)
        roles = {self.chain(q)[-1].role for q in self.functions}
        self.monitors = [q for q in properties if roles.issuperset(q.needs)]
        self.ghosts = {g.name: g for m in self.monitors for g in m.ghosts}
        self.cases = {f"case.{c.name}": c for c in model.cases}
        self.memory = dict.fromkeys(self.cases, 0) | {
            name: first(v.type) for v in self.variables.values() for name in self.cells(v)
        }
        self.fields = {name: i for i, (name, _, _) in enumerate(model.cache.fields)} if model.cache else {}
        self.entries: list[Entry] = []
        if model.cache is not None:
            possible = model.cache.possible
            every = itertools.product(*(values for _, _, values in model.cache.fields))
            self.entries = [e for e in every if worth(possible, self._field_of(e))]
        self.unmarked = {
            key: g.initial for g in self.ghosts.values() for cpu in range(model.cpus) for key in self.copies(g, cpu)
        }
        self._subjects: dict[Expr, frozenset[str]] = {}
        self._apart: dict[tuple[p.Procedure, str], bool] = {}

    def _field_of(self, entry: Entry) -> Find:
        return lambda v: entry[self.fields[v.value.removeprefix("entry.")]]

    def _read(self, procedure: p.Procedure) -> None:
        """Read a procedure, what stands in its place, and all that these name."""
        for q in self.chain(procedure):
            if q in self.functions:
                continue
            function = self.functions[q] = Function(q)
            for found in function.objects():
                match found:
                    case p.StateVar():
                        self.variables.setdefault(found.name, found)
                    case p.Operation():
                        self.variables |= {v.name: v for v, _ in found.effects if v.name not in self.variables}
                    case p.Procedure():
                        self._read(found)

    def chain(self, procedure: p.Procedure) -> list[p.Procedure]:
        """The procedure that is named, what stands in its place, and so on to what runs."""
        found = [procedure]
        while (other := self.replaced.get(found[-1])) is not None and other not in found:
            found.append(other)
        return found

    def statements(self, root: p.Procedure, seen: set[p.Procedure] | None = None) -> Iterator[tuple[Any, Any]]:
        """The calls that an activation of ``root`` can come to, preconditions left out."""
        seen = set() if seen is None else seen
        runs = self.chain(root)[-1]
        if runs not in seen:
            seen.add(runs)
            for part in self.functions[runs].body:
                calls: list[tuple[Any, Any]] = (
                    [(part, part.callee)] if isinstance(part, GeneralCall) else list(self.functions[runs].calls(part))
                )
                for node, found in calls:
                    yield node, found
                    if isinstance(found, p.Procedure):
                        yield from self.statements(found, seen)

    def is_step(self, node: Any, found: Any) -> bool:
        """Whether a call makes an access or an operation, itself or in what it calls."""
        if isinstance(found, p.Procedure):
            return any(self.is_step(*inner) for inner in self.statements(found))
        return isinstance(found, p.StateVar | p.Operation)

    def writes(self, root: p.Procedure, v: p.StateVar, *, any_cpu: bool) -> bool:
        """Whether an activation of ``root`` can write ``v``; with ``any_cpu``, another CPU's copy of it."""
        for node, found in self.statements(root):
            if isinstance(found, p.Operation) and any(e is v for e, _ in found.effects) and not any_cpu:
                return True
            if found is v and is_set(node) and (not any_cpu or indexed(node)):
                return True
        return False

    def judged_apart(self, procedure: p.Procedure, level: str) -> bool:
        """CALL-4: whether a precondition reads what something else may write than the activation on ``level`` that
        calls.
        """
        key = procedure, level
        if key not in self._apart:
            owners = [self.functions[q] for q in self.chain(procedure)]
            reads = [
                (found, indexed(node))
                for f in owners
                for r in f.requires
                for node, found in f.calls(r.args[0])
                if isinstance(found, p.StateVar)
            ]
            self._apart[key] = any(self._shared(v, at, level) for v, at in reads)
        return self._apart[key]

    def _shared(self, v: p.StateVar, at: bool, level: str) -> bool:
        model = self.model
        software = [*([model.task] if model.task else []), *(i.handler for i in model.interrupts)]
        above = [i for i in model.interrupts if LEVELS.index(i.level) > LEVELS.index(level)]
        elsewhere = model.cpus > 1 and any(self.writes(root, v, any_cpu=v.per_cpu and not at) for root in software)
        return (
            elsewhere
            or any(self.writes(a, v, any_cpu=False) for a in model.actions)
            or any(self.writes(i.handler, v, any_cpu=False) for i in above if i.flag is not v)
        )

    def cells(self, v: p.StateVar) -> list[str]:
        """The names of a variable's copies or elements in rules and reports."""
        if v.per_cpu:
            return [f"cpu{c}.{v.name}" for c in range(self.model.cpus)]
        return [v.name] if v.index is None else [f"{v.name}[{v.index.show(i)}]" for i in v.index.values()]

    def copies(self, g: Ghost, cpu: int) -> Iterator[Copy]:
        """All copies that a CPU has of a ghost."""
        levels = self.model.levels if g.frame else ("",)
        others = range(self.model.cpus) if g.by_cpu else (-1,)
        entries = self.entries if g.per_entry else (None,)
        return (Copy(g.name, cpu, *rest) for rest in itertools.product(levels, others, entries))

    def every_copy(self, e: Expr) -> Iterator[tuple[int, str, Mapping[str, int]]]:
        """The CPUs and the copies of ghosts for which something that is no event's is judged (GHOST-5)."""
        subjects = self.subjects(e)
        levels = self.model.levels if "level" in subjects else ("task",)
        copies = range(self.model.cpus) if "acting" in subjects else (0,)
        return ((cpu, level, {"copy": copy}) for cpu in range(self.model.cpus) for level in levels for copy in copies)

    def subjects(self, e: Expr) -> frozenset[str]:
        """What a rule speaks of, itself or by a meaning: ``entry``, ``entry2``, the ghosts of each ``level`` or of
        each ``acting`` CPU.
        """
        if e not in self._subjects:
            found: set[str] = set()
            for name in names_in(e):
                head, _, rest = name.partition(".")
                if head == "meaning":
                    found |= self.subjects(self.model.meanings[rest])
                elif head in ("entry", "entry2"):
                    found.add(head)
                elif head == "ghost":
                    g = self.ghosts[name]
                    found |= {
                        what
                        for what, is_so in (("entry", g.per_entry), ("level", g.frame), ("acting", g.by_cpu))
                        if is_so
                    }
            self._subjects[e] = frozenset(found)
        return self._subjects[e]


class Machine:
    """A state that can be changed. ``bad`` collects what it breaks: property and clause."""

    def __init__(self, world: World) -> None:
        self.world, self.model = world, world.model
        self.memory = dict(world.memory)
        self.ghosts = dict(world.unmarked)
        self.caches: list[set[Entry]] = [set() for _ in range(self.model.cpus)]
        self.crashed = False
        self.stacks: dict[tuple[int, str], tuple[int, tuple[Any, ...]]] = {}
        """For each CPU and level on which something runs, the number of its interrupt (-1: none) and its frames, as a
        value.
        """
        self.bad: dict[tuple[str, str], None] = {}
        self.triggered: set[str] = set()
        self.opened: set[str] = set()
        self.errors: dict[str, str] = {}
        self.choices: Sequence[int] = ()
        self.chosen = 0

    def value(self) -> tuple[object, ...]:
        """What it holds now, but for what is under way."""
        return (tuple(self.memory.items()), tuple(self.ghosts.items()), tuple(map(frozenset, self.caches)))

    def choose(self, domain: Sequence[int]) -> int:
        if self.chosen == len(self.choices):
            raise ChoiceNeeded(domain)
        self.chosen += 1
        return self.choices[self.chosen - 1]

    # -- what rules look at

    def look(
        self, cpu: int | None, level: str, entry: Entry | None, args: Mapping[str, int], *, entry2: Entry | None = None
    ) -> Find:
        """What names stand for in a rule about a CPU and an entry; ``args`` are the operands of the event and what
        else it fixes.
        """
        world = self.world

        def find(v: Expr) -> int:
            name: str = v.value
            head, _, rest = name.partition(".")
            if name in args:
                return args[name]
            match head:
                case "entry" | "entry2":
                    mine = entry if head == "entry" else entry2
                    if rest == "cached":
                        return int(mine in self.caches[cpu or 0])
                    return mine[world.fields[rest]]  # type: ignore[index]  # of an entry, where a rule may name one
                case "case":
                    return self.memory[name]
                case "flag":
                    flag = next(f for f in self.model.flags if f.name == rest)
                    return int(self.model.flags[flag])
                case "setting":
                    return worth(self.model.settings[name], find) if name in self.model.settings else 1
                case "meaning":
                    return worth(self.model.meanings[rest], find)
                case "ghost":
                    return self.ghosts[
                        copy_of(
                            world.ghosts[name],
                            cpu or 0,
                            level,
                            args.get("copy", args.get("cpu.acting", cpu or 0)),
                            entry,
                        )
                    ]
                case "cpu" if rest in ("self", "acting"):
                    return cpu or 0
            own = f"cpu{cpu}.{name}"
            return self.memory[own] if own in self.memory else self.memory.get(name, first(v.type))

        return find

    def holds(self, e: Expr, cpu: int, level: str, args: Mapping[str, int], entry: Entry | None = None) -> bool:
        """Whether ``e`` is so: of ``entry``, or without one of some entry that there can be; and of some entry2."""
        subjects = self.world.subjects(e)
        if entry is not None and "entry" not in subjects:
            return worth(e, self.look(cpu, level, entry, args, entry2=entry)) != 0  # EVENT-4
        entries = self.world.entries if entry is None and "entry" in subjects else [entry]
        others = self.world.entries if "entry2" in subjects else [None]
        return any(worth(e, self.look(cpu, level, one, args, entry2=other)) for one in entries for other in others)

    # -- events

    def event(
        self,
        kind: str,
        name: str,
        args: Mapping[str, int],
        at: Context,
        positional: Sequence[int] = (),
        entry: Entry | None = None,
    ) -> None:
        """What happened; each rule that asks for it is judged, and then changes its ghosts."""
        for monitor in self.world.monitors:
            for rule in monitor.rules:
                if _means(rule.event, kind, name, at):
                    named = {f"arg.{n}": a for n, a in zip(rule.event.parameters, positional, strict=False)}
                    self.apply(monitor, rule, name, {**args, **named}, at, entry)
        self.occurred(kind, name, at)

    def occurred(self, kind: str, name: str, at: Context) -> None:
        """Note whose trigger it is, or whose assertion."""
        self.triggered |= {m.name for m in self.world.monitors if m.trigger is not None and _means(m.trigger, kind, name, at)}
        self.triggered |= {m.name for m in self.world.monitors if kind == "assert" and any(r.bad and _means(r.event, kind, name, at) for r in m.rules)}

    def accessed(self) -> None:
        """An access of memory is what a trigger asks for that names no operation (EVENT-7)."""
        self.triggered |= {m.name for m in self.world.monitors if m.trigger == Event("operation")}

    def apply(
        self, monitor: Property, rule: Rule, name: str, args: Mapping[str, int], at: Context, entry: Entry | None
    ) -> None:
        """A rule, on each CPU that it is about: all is judged and computed before any ghost changes."""
        everyone = rule.every_cpu or at.cpu is None
        args = {**args, "cpu.acting": -1 if at.cpu is None else at.cpu} if everyone else args
        by_copy = not everyone and any(
            "acting" in self.world.subjects(e) for e in (*(e for _, e in rule.bad), *(g.expr for g, _ in rule.updates))
        )
        if at.cpu is None and any(
            "acting" in self.world.subjects(e)
            for e in (*(e for _, e in (*rule.bad, *rule.updates)), *(g.expr for g, _ in rule.updates))
        ):
            raise InputError(
                f"{monitor.name}: no CPU makes {name}, and a rule needs the one that does",
                hint="ask for events that the environment does not make",
            )
        later: dict[Copy, int] = {}
        for cpu in range(self.model.cpus) if everyone else (at.cpu or 0,):
            for copy in range(self.model.cpus) if by_copy else (args.get("cpu.acting", cpu),):
                known = {**args, "copy": copy}
                self.bad |= {
                    (monitor.name, clause.replace("{}", name)): None
                    for clause, bad in rule.bad
                    if self.holds(bad, cpu, at.level, known, entry)
                }
                for g, e in rule.updates:
                    for one in self.world.entries if g.per_entry and entry is None else [entry]:
                        value = worth(e, self.look(cpu, at.level, one, known))
                        if isinstance(g.type, IntType) and not g.type.low <= value <= g.type.high:
                            self.errors.setdefault(monitor.name, f"{value} is outside of the range of {g.name}")
                        else:
                            later[copy_of(g, cpu, at.level, copy, one)] = value
        self.ghosts |= later

    def judge(self) -> None:
        """What must be false in every state, on every CPU, of every copy of a ghost."""
        for monitor in self.world.monitors:
            for clause, bad in monitor.invariants:
                if any(self.holds(bad, *copy) for copy in self.world.every_copy(bad)):
                    self.bad[monitor.name, clause] = None

    # -- the machine's operations

    def operate(self, operation: p.Operation, args: Sequence[int], at: Context, place: Place) -> int | None:
        """An operation of the machine; returns its result."""
        cpu = at.cpu or 0  # a marker of the environment, which has no CPU, does no more than to be an event
        known = {f"arg.{name}": a for (name, _), a in zip(operation.operands, args, strict=True)}
        if operation.uses is not None:
            usable = [
                e
                for e in self.world.entries
                if e in self.caches[cpu]
                and worth(operation.uses, self.look(cpu, at.level, None, known | self._used(e)))
            ]
            if not usable:
                raise Blocked
            known |= self._used(usable[self.choose(range(len(usable)))])
        self.event("operation", operation.name, known, at)
        here = self.look(cpu, at.level, None, known)
        for clause in operation.faults:
            if all(worth(part, here) for part in clause.parts):
                self.event("fault", clause.exception, known, at)
                raise Crashed
        promised = [c for c in operation.drops if _PROFILES[self.model.profile] <= c.vendors]
        dropped = [
            e
            for e in self.world.entries
            if promised
            and any(all(worth(part, self.look(cpu, at.level, e, known)) for part in c.parts) for c in promised)
        ]
        result = None if operation.result is None else worth(operation.result, here)
        effects = {(v, f"cpu{cpu}.{v.name}" if v.per_cpu else v.name): worth(e, here) for v, e in operation.effects}
        for (v, cell), value in effects.items():
            check(v.type, value, place, v.name)
            self.memory[cell] = value
        for e in dropped:
            self.evict(cpu, e)
        return result

    def _used(self, entry: Entry) -> dict[str, int]:
        return {f"used.{name}": entry[i] for name, i in self.world.fields.items()}

    # -- caches

    def fillable(self, cpu: int, entry: Entry) -> bool:
        """Whether a walk may make the entry now."""
        cache = self.model.cache
        if cache is None:
            return False
        others = self.world.entries if "entry2" in self.world.subjects(cache.fill) else [None]
        return any(worth(cache.fill, self.look(cpu, "task", entry, {}, entry2=other)) for other in others)

    def fill(self, cpu: int, entry: Entry) -> None:
        self.caches[cpu].add(entry)
        self.event("fill", "", {}, Context(cpu, "task"), entry=entry)

    def evict(self, cpu: int, entry: Entry) -> None:
        """The entry goes, and with it what properties remembered of it."""
        self.caches[cpu].discard(entry)
        for g in self.world.ghosts.values():
            if g.per_entry:
                self.ghosts |= {key: g.initial for key in self.world.copies(g, cpu) if key.entry == entry}


def _means(asked: Event, kind: str, name: str, at: Context) -> bool:
    """Whether an event is one that a rule or a trigger asks for."""
    return asked.kind == kind and asked.name in ("", name) and (not asked.within or asked.within in at.roles)


def first(type_: Type | None) -> int:
    """What a variable is before ``init`` (RUN-3)."""
    return min(max(type_.low, 0), type_.high) if isinstance(type_, IntType) else 0


def check(type_: Type, value: int, place: Place | None, what: str) -> None:
    """Refuse a value that a bounded integer cannot hold."""
    if isinstance(type_, IntType) and not type_.low <= value <= type_.high:
        raise InputError(
            f"an assignment of {value} to {what} leaves its range {type_.low}..{type_.high}",
            place=place,
            hint="widen the type, or guard the assignment",
        )
