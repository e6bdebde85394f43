"""What names in rules and procedures are called in the transition system, and what events do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, ite, substitute, var, variables
from tlbcheck.lang.model import Event, Ghost, Model, Property
from tlbcheck.lang.types import BOOL, CPU, Type
from tlbcheck.system.control import Activation, Path, Shared
from tlbcheck.system.slots import both_entries
from tlbcheck.system.transition_system import Bad


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
        self.renamed: dict[tuple[int | None, str, int | None], dict[Expr, Expr]] = {}
        self.ghosts = {g.name: g for m in self.monitors for g in m.ghosts}
        self.shared: dict[str, Shared] = {}
        self.call_sites: dict[tuple[str, p.Procedure], int] = {}
        self.roles_asked = {r.event.within for m in self.monitors for r in m.rules}
        self.work: list[Path] = []
        self.flag_objects: dict[str, p.Flag] = {f.name: f for f in model.flags}
        self.judges_calls = False
        self.opened: dict[p.Procedure, str] = {}

    # -- names

    def variable(self, v: p.StateVar, cpu: int | None) -> str:
        name = f"cpu{cpu}.{v.name}" if v.per_cpu else v.name
        self.types.setdefault(name, v.type)
        return name

    def declare(self) -> None:
        """Give the types of all shared variables: rules may read them before a step does."""
        for v in self.model.state_variables():
            if v.index is not None:
                self.elements(v)
            else:
                for cpu in range(self.model.cpus):
                    self.variable(v, cpu)

    def elements(self, v: p.StateVar) -> list[str]:
        if v.per_cpu:
            return [self.variable(v, c) for c in range(self.model.cpus)]
        assert v.index is not None
        names = [f"{v.name}[{v.index.show(i)}]" for i in v.index.values()]
        for n in names:
            self.types.setdefault(n, v.type)
        return names

    def ghost_name(self, g: Ghost, cpu: int | None, level: str, acting: int | None = None) -> str:
        base = g.name.removeprefix("ghost.")
        name = f"cpu{cpu}.{base}"
        if g.by_cpu:
            name += f".by_cpu{cpu if acting is None else acting}"
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
        levels = self.model.levels if g.frame else ("task",)
        return [self.ghost_name(g, cpu, level, acting) for level in levels for acting in (range(self.model.cpus) if g.by_cpu else (None,))]

    def cached_name(self, cpu: int | None) -> str:
        return f"cpu{cpu}.cached[entry]"

    def resolve(self, e: Expr, cpu: int | None, level: str, acting: int | None = None) -> Expr:
        """An expression of a rule over the names of the transition system; ``arg.*`` stay.

        ``acting``: the CPU on which the event of a rule about every CPU happens.
        """
        memo = self.renamed.setdefault((cpu, level, acting), {})
        found = memo.get(e)
        if found is None:
            names: dict[str, Expr] = {}
            for name, v in variables(e).items():
                head, _, rest = name.partition(".")
                if head == "setting":
                    setting = self.model.settings.get(name, const(1, v.type or BOOL))
                    names[name] = self.resolve(setting, cpu, level, acting)
                elif head == "meaning":
                    if rest not in self.model.meanings:
                        raise InputError(f"{self.model.name} does not say what '{rest}' means", hint=f"add it to meanings={{'{rest}': ...}}")
                    names[name] = self.resolve(self.model.meanings[rest], cpu, level, acting)
                elif head == "ghost":
                    g = self.ghosts[name]
                    names[name] = var(self.ghost_name(g, cpu, level, acting), g.type)
                elif name in ("entry.cached", "entry2.cached"):
                    names[name] = var(self.cached_name(cpu).replace("entry", head), BOOL)
                elif head == "flag":
                    names[name] = self.flag(name)
                elif head == "cpu":
                    number = {"cpu.self": cpu, "cpu.acting": cpu if acting is None else acting}[name]
                    names[name] = const(number or 0, CPU)
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
        per_cpu = f"cpu{cpu}.{name}"
        if name not in self.types and v.type is not None:
            self.types.setdefault(per_cpu, v.type)
            return var(per_cpu, v.type)
        return var(name, v.type)

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
        event = Event(kind, name)
        run.events.append(event)
        for monitor in self.monitors:
            for rule in monitor.rules:
                e = rule.event
                if e.kind != kind or (e.name and e.name != name) or (e.within and e.within not in roles):
                    continue
                operands = dict(args) | {f"arg.{n}": a for n, a in zip(e.parameters, positional, strict=False)}
                values = run.store | operands
                made: dict[str, Expr] = {}
                for cpu in range(self.model.cpus) if rule.every_cpu else (run.cpu,):
                    acting = run.cpu if rule.every_cpu else None
                    for clause, bad in rule.bad:
                        condition = substitute(self.resolve(bad, cpu, run.level, acting), both_entries(values))
                        run.bads.append(Bad(monitor.name, clause.replace("{}", name), and_(when, condition), place, text, kind if place is not None else ""))
                    for ghost, value in rule.updates:
                        # A rule about the acting CPU alone changes all the copies that this CPU has.
                        targets = self.ghost_names(ghost, cpu) if ghost.by_cpu and not rule.every_cpu else [self.ghost_name(ghost, cpu, run.level, acting)]
                        new = substitute(self.resolve(value, cpu, run.level, acting), values)
                        made |= {target: ite(when, new, run.store.get(target, var(target, ghost.type))) for target in targets}
                run.store.update(made)
