"""What names in rules and procedures are called in the transition system, and what events do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, ite, not_, or_, range_of, substitute, var, variables
from tlbcheck.lang.model import Event, Ghost, Model, Property, Rule
from tlbcheck.lang.types import BOOL, CPU, IntType, Type
from tlbcheck.system.control import Activation, Path, Shared
from tlbcheck.system.slots import both_entries, in_slot, mentions
from tlbcheck.system.transition_system import Bad, Check

NOBODY = -1
"""What ``cpu.acting`` is where the environment acts (ENV-3)."""


class Naming:
    """The variables of one model and its monitors, and the tables that lowering fills."""

    def __init__(self, model: Model, properties: Sequence[Property]) -> None:
        self.model = model
        self.monitors = [*properties, *([model.case] if model.case else [])]
        self.properties = tuple(properties)
        self.types: dict[str, Type] = {}
        self.initials: dict[str, int] = {}
        self.roles: set[str] = set()
        self.activations: dict[tuple[int, str], Activation] = {}
        self.renamed: dict[tuple[int | None, str, int | None, int | None], dict[Expr, Expr]] = {}
        self.ghosts = {g.name: g for m in self.monitors for g in m.ghosts}
        self.shared: dict[str, Shared] = {}
        self.call_sites: dict[tuple[str, p.Procedure], int] = {}
        self.roles_asked = {e.within for m in self.monitors for e in (*(r.event for r in m.rules), *([m.trigger] if m.trigger else []))}
        self.work: list[Path] = []
        self.failed: list[Path] = []
        self.waiting: list[Path] = []
        self.writes: dict[p.Procedure, set[p.StateVar]] = {}
        self.flag_objects: dict[str, p.Flag] = {f.name: f for f in model.flags}
        self.judges_calls = False
        self.opened: dict[p.Procedure, str] = {}
        self.attached: dict[tuple[str, str], set[tuple[Event, str]]] = {}
        """For each clause (property, name) the events that it is judged on, each with the interrupt level."""

    # -- names

    def variable(self, v: p.StateVar, cpu: int | None) -> str:
        name = f"cpu{cpu}.{v.name}" if v.per_cpu else v.name
        self.types.setdefault(name, v.type)
        return name

    def declare(self) -> None:
        """Give the types of all shared variables: rules may read them before a step does."""
        for v in self.model.state_variables():
            self.settle(v)
            if v.index is not None:
                self.elements(v)
            else:
                for cpu in range(self.model.cpus):
                    self.variable(v, cpu)

    def settle(self, v: p.StateVar) -> None:
        """What each copy and element of ``v`` holds before ``init``."""
        if isinstance(v.type, IntType):
            names = self.elements(v) if v.index is not None or v.per_cpu else [v.name]
            self.initials.update(dict.fromkeys(names, v.type.nearest_to_zero))

    def elements(self, v: p.StateVar) -> list[str]:
        if v.per_cpu:
            return [self.variable(v, c) for c in range(self.model.cpus)]
        names = v.elements()
        for n in names:
            self.types.setdefault(n, v.type)
        return names

    def ghost_name(self, g: Ghost, cpu: int | None, level: str, copy: int | None = None) -> str:
        """One copy of a ghost (GHOST-1); ``copy``: for a CPU on which the event may happen."""
        base = g.name.removeprefix("ghost.")
        name = f"cpu{cpu}.{base}"
        if g.by_cpu:
            name += f".by_cpu{cpu if copy is None else copy}"
        if g.frame:
            name += f".{level}"
        if g.per_entry:
            name += "[entry]"
        else:
            self.types.setdefault(name, g.type)
            self.initials.setdefault(name, g.initial)
        return name

    def ghost_names(self, g: Ghost, cpu: int | None) -> list[str]:
        """All copies that one CPU has of a ghost."""
        return [self.ghost_name(g, cpu, level, copy) for level in (self.model.levels if g.frame else ("task",)) for copy in (range(self.model.cpus) if g.by_cpu else (None,))]

    def ghosts_in(self, *expressions: Expr) -> list[Ghost]:
        """The ghosts that rules name."""
        return [self.ghosts[n] for e in expressions for n in variables(e) if n in self.ghosts]

    def everywhere(self, e: Expr) -> Iterator[Expr]:
        """A condition on states, on each CPU and for each copy of the ghosts that it names (EVENT-5, GHOST-5)."""
        named = self.ghosts_in(e)
        levels = self.model.levels if any(g.frame for g in named) else ("task",)
        copies = range(self.model.cpus) if any(g.by_cpu for g in named) else (None,)
        if mentions(e, 2) and not self.about_entry(e):
            e = in_slot(e, 1, 1)  # any entry is as good as any second one (EVENT-4)
        for cpu in range(self.model.cpus):
            for level in levels:
                for copy in copies:
                    yield self.resolve(e, cpu, level, copy=copy)

    def cached_name(self, cpu: int | None) -> str:
        return f"cpu{cpu}.cached[entry]"

    def resolve(self, e: Expr, cpu: int | None, level: str, acting: int | None = None, copy: int | None = None) -> Expr:
        """An expression of a rule over the names of the transition system; ``arg.*`` stay.

        ``acting``: the CPU on which the event of a rule about every CPU happens. ``copy``: the copy of ghosts of which there
        is one for each such CPU.
        """
        copy = acting if copy is None else copy
        memo = self.renamed.setdefault((cpu, level, acting, copy), {})
        found = memo.get(e)
        if found is None:
            names: dict[str, Expr] = {}
            for name, v in variables(e).items():
                head, dot, rest = name.partition(".")
                if not dot:
                    names[name] = self.state_variable(name, v, cpu)
                elif head == "setting":
                    setting = self.model.settings.get(name, const(1, v.type or BOOL))
                    names[name] = self.resolve(setting, cpu, level, acting, copy)
                elif head == "meaning":
                    if rest not in self.model.meanings:
                        raise InputError(f"{self.model.name} does not say what '{rest}' means", hint=f"add it to meanings={{'{rest}': ...}}")
                    names[name] = self.resolve(self.model.meanings[rest], cpu, level, acting, copy)
                elif head == "ghost":
                    g = self.ghosts[name]
                    names[name] = var(self.ghost_name(g, cpu, level, copy), g.type)
                elif name in ("entry.cached", "entry2.cached"):
                    names[name] = var(self.cached_name(cpu).replace("entry", head), BOOL)
                elif head == "flag":
                    names[name] = self.flag(name)
                elif name == "cpu.self":
                    names[name] = const(cpu or 0, CPU)
                elif name == "cpu.acting":
                    names[name] = const((cpu or 0) if acting is None else acting, CPU)
                elif head in ("entry", "entry2", "used", "arg", "case"):
                    if head in ("entry", "entry2", "used"):
                        names[name] = var(name, self.field_type(rest))
                else:
                    names[name] = self.state_variable(name, v, cpu)
            found = substitute(e, names)
            memo[e] = found
        return found

    def flag(self, name: str) -> Expr:
        f = self.flag_objects.get(name.removeprefix("flag."))
        if f is None:
            raise InputError(f"{self.model.name} uses a flag that it does not set: {name}", hint="list it in flags={...}")
        return TRUE if self.model.flags.get(f, f.default) else FALSE

    def field_type(self, name: str) -> Type | None:
        cache = self.model.cache
        for field_name, type_, _ in cache.fields if cache else ():
            if name == field_name:
                return type_
        raise InputError(f"{self.model.name}'s cache has no field '{name}'", hint="add it to the cache's fields")

    def state_variable(self, name: str, v: Expr, cpu: int | None) -> Expr:
        if name in self.types or v.type is None:
            return var(name, self.declared(name, v))
        per_cpu = f"cpu{cpu}.{name}"
        self.types.setdefault(per_cpu, v.type)
        return var(per_cpu, self.declared(per_cpu, v))

    def declared(self, name: str, v: Expr) -> Type | None:
        """The type of a variable, which a rule has to name it with."""
        type_ = self.types.get(name)
        if type_ is None or v.type is None:
            return v.type
        if type(type_) is not type(v.type):
            raise InputError(f"a rule takes '{v.value}' for a {v.type}, and it is a {type_}", hint="name variables in rules by their expr")
        return type_

    # -- events

    def raise_event(
        self,
        run: Path,
        kind: str,
        name: str,
        args: Mapping[str, Expr],
        roles: tuple[str, ...],
        when: Expr = TRUE,
        positional: tuple[Expr, ...] = (),
        *,
        place: Place | None = None,
        text: str = "",
    ) -> None:
        """Apply every rule for an event of which ``when`` says if it happens; ``place`` and ``text`` are told with what it breaks."""
        run.events += [Event(kind, name), *(Event(kind, name, role) for role in dict.fromkeys(roles) if role in self.roles_asked)]
        level = run.level if run.level in self.model.levels else "task"
        for monitor in self.monitors:
            for rule in monitor.rules:
                e = rule.event
                if not e.happens(kind, name, roles):
                    continue
                for clause, _ in rule.bad:
                    self.attached.setdefault((monitor.name, clause), set()).add((Event(kind, name), run.level))
                operands = dict(args) | {f"arg.{n}": a for n, a in zip(e.parameters, positional, strict=False)}
                values = run.store | operands
                made: dict[str, Expr] = {}
                for cpu, acting, copy in self.applied(run, rule, name):
                    for clause, bad in rule.bad:
                        bad = in_slot(bad, 1, 1) if mentions(bad, 2) and not self.about_entry(bad) else bad
                        if kind == "fill":
                            # One entry comes in, and it may be the second as well (EVENT-4, CACHE-7).
                            which = (bad, in_slot(bad, 1, 1)) if mentions(bad, 2) else (bad,)
                            condition = or_(*(substitute(self.resolve(b, cpu, level, acting, copy), values) for b in which))
                        else:
                            condition = substitute(self.resolve(bad, cpu, level, acting, copy), both_entries(values))
                        run.bads.append(Bad(monitor.name, clause.replace("{}", name), and_(when, condition), place, text, kind if place is not None else ""))
                    for ghost, value in rule.updates:
                        target = self.ghost_name(ghost, cpu, level, copy)
                        new = substitute(self.resolve(value, cpu, level, acting, copy), values)
                        self.ghost_in_range(run, monitor.name if monitor in self.properties else "", ghost, when, new)
                        made[target] = ite(when, new, run.store.get(target, var(target, ghost.type)))
                run.store.update(made)

    def applied(self, run: Path, rule: Rule, name: str) -> Iterator[tuple[int | None, int | None, int | None]]:
        """To which CPUs a rule is applied, with the CPU that acts and the copy of its ghosts (EVENT-3, GHOST-4, ENV-2)."""
        named = self.ghosts_in(*(e for _, e in (*rule.bad, *rule.updates))) + [g for g, _ in rule.updates]
        if run.level == "environment":
            if wrong := next((g for g in named if g.by_cpu), None):
                place = run.frame.procedure.place if run.frame is not None else None
                raise InputError(f"{wrong.name.removeprefix('ghost.')} is a ghost of the CPU that acts, and '{name}' is an event of the environment here", place=place, hint="do without by_cpu")
            for cpu in range(self.model.cpus):
                yield cpu, NOBODY, None
        elif rule.every_cpu:
            for cpu in range(self.model.cpus):
                yield cpu, run.cpu, run.cpu
        else:
            for copy in range(self.model.cpus) if any(g.by_cpu for g in named) else (None,):
                yield run.cpu, None, copy

    def about_entry(self, e: Expr) -> bool:
        """The first entry is named, by its fields or by a ghost that it has."""
        return mentions(e, 1) or any(g.per_entry for g in self.ghosts_in(e)) or any(self.about_entry(self.model.meanings[n.partition(".")[2]]) for n in variables(e) if n.startswith("meaning."))

    # -- errors of the model (ERR)

    def fail(self, run: Path, holds: Expr, place: Place, message: str, judging: str = "") -> None:
        """Where ``holds`` is false the model, or what the property ``judging`` keeps of it, is wrong: a step of its own, since nothing that comes later undoes it (ERR-2)."""
        wrong = and_(run.under, not_(holds))
        if wrong is not FALSE:
            other = run.fork(wrong)
            other.error, other.here, other.performed = Check(FALSE, place, message, judging), None, True
            self.failed.append(other)
            run.guard.append(not_(wrong))

    def in_range(self, run: Path, value: Expr, type_: Type, place: Place, what: str) -> None:
        """NUM-3."""
        if isinstance(type_, IntType) and isinstance(value.type, IntType) and not type_.has(range_of(value)):
            holds = and_(const(type_.low, value.type) <= value, value <= const(type_.high, value.type))
            self.fail(run, holds, place, f"an assignment to {what} leaves its range {type_.low}..{type_.high}")

    def ghost_in_range(self, run: Path, judging: str, ghost: Ghost, when: Expr, value: Expr) -> None:
        """NUM-3, of what a rule gives a ghost where ``when`` holds."""
        type_ = ghost.type
        if isinstance(type_, IntType) and isinstance(value.type, IntType) and not type_.has(range_of(value)):
            fits = and_(const(type_.low, value.type) <= value, value <= const(type_.high, value.type))
            place = run.place.place if run.place is not None else run.frame.procedure.place if run.frame is not None else None
            if place is None:
                raise InputError(f"a walk may take {ghost.name.removeprefix('ghost.')} out of its range {type_}", hint="widen its range", judging=judging)
            self.fail(run, or_(not_(when), fits), place, f"a rule takes {ghost.name.removeprefix('ghost.')} out of its range {type_.low}..{type_.high}", judging)
