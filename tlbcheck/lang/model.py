"""Models, caches and properties: what a check is made of, still independent of any engine.

Expressions of caches, properties and meanings use these names:

- registers and variables by their own name (the acting CPU's where there is one for each)
- ``entry.FIELD`` and ``entry.cached``: the entry that is looked at
- ``entry2.FIELD`` and ``entry2.cached``: any entry of the same CPU's cache, in what a property calls
  bad and in a cache's ``fill``: it holds if it holds for some entry2
- ``used.FIELD``: the cached entry that an operation went through, see ``Operation.uses``
- ``arg.NAME``: operands of the event; ``ghost.PROPERTY.NAME``: a property's own variables
- ``meaning.NAME``: what the model says about its address spaces; ``case.NAME``: case variables
- ``setting.NAME``: what the processor supports, see ``Model.settings``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.expr import TRUE, Expr, lift, var, variables
from tlbcheck.lang.fields import check_fields
from tlbcheck.lang.guarded import guarded
from tlbcheck.lang.program import Call, CaseVar, Do, Flag, Operation, Procedure, Read, Requires, Statement, StateVar, Write, walk
from tlbcheck.lang.scope import Names
from tlbcheck.lang.spelling import hint
from tlbcheck.lang.types import BOOL, Type, type_of
from tlbcheck.lang.where import here

PROFILES = ("common", "intel", "amd")
LEVELS = ("task", "irq", "nmi")
"""What a CPU can be doing, each interrupting those before it."""
EVENTS = ("enter", "leave", "operation", "fill", "fault", "assert", "requires")
"""The kinds of ``Event``."""
VERDICTS = ("violated", "proved", "bounded", "unknown", "not-applicable")
"""What can become of a property, and what a model can expect of it."""


@dataclass(frozen=True, eq=False)
class CacheKind:
    """A cache of translations as data: the TLB; later paging-structure caches and other machines'.

    ``fields`` gives each field's type and the values that entries of a model may have there.
    ``possible`` (over the fields) leaves out entries that nothing could create; ``fill`` says when
    a walk may create the entry now, ``initial`` which content a run may start with. A fill that names
    ``entry2`` needs another cached entry, as a walk from a paging-structure cache does.

    ``scope`` gives the words by which a verdict's scope counts the values of a field ("pages"). A name
    in it that no field has says that nothing in the model ranges over such things (frames, where an
    entry leads to what its page and root say). ``tag`` is the field whose values software hands out; ``names`` says
    of a field where else such values stand, so that software which looks at their bits is told. ``repairs``: what the processor has to
    drop entries with, for blame to try where software does not.
    """

    name: str
    fields: tuple[tuple[str, Type, tuple[int, ...]], ...]
    possible: Expr
    fill: Expr
    initial: Expr
    describe: Callable[[Mapping[str, int]], str]
    scope: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    names: Mapping[str, Names] = field(default_factory=dict)
    repairs: tuple[Repair | Amendment, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, f"the cache {self.name}")
        for name, _, _ in self.fields:
            if not re.fullmatch(r"\w+", name) or name == "cached":
                raise InputError(f"a field of {self.name} cannot be called '{name}'", hint="use letters, digits and _; 'cached' says that an entry is")
        object.__setattr__(self, "describe", guarded(self.describe, f"the words for entries of {self.name}"))


@dataclass(frozen=True)
class Event:
    """Something that a property reacts to.

    ``kind``: ``enter``/``leave`` of a role's procedure, ``operation`` by name (before its effect),
    ``fill`` of an entry, ``fault`` by exception, ``assert`` (a failed software assertion),
    ``requires`` (a call whose precondition is false; a trigger of any call that has one). The trigger
    ``Event("operation")``, without a name, is any operation or access.
    ``within``: only while a procedure of that role is active on the same interrupt level.
    ``parameters`` names the procedure's arguments by position.
    """

    kind: str
    name: str = ""
    within: str = ""
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "an event")

    def happens(self, kind: str, name: str, roles: Sequence[str]) -> bool:
        """Whether this is what happens, while procedures of ``roles`` are active."""
        return self.kind == kind and self.name in ("", name) and (not self.within or self.within in roles)

    def __str__(self) -> str:
        """What a step does with which it happens."""
        match self.kind:
            case "enter" | "leave":
                does = f"{'enters' if self.kind == 'enter' else 'returns from'} a procedure{f' of role {self.name}' if self.name else ' with a role'}"
            case "operation":
                does = f"performs {f'{self.name!r}' if self.name else 'an operation'}"
            case "fill":
                does = "can fill a cache"
            case "fault":
                does = f"can raise {self.name or 'an exception'}"
            case "assert":
                does = f"asserts {self.name or 'anything'}"
            case "requires":
                does = f"calls {f'{self.name}()' if self.name else 'a procedure'} that requires something"
            case _:
                does = self.kind
        return f"{does} within a procedure of role {self.within}" if self.within else does


def enter(role: str, *parameters: str) -> Event:
    return Event("enter", role, parameters=parameters)


def leave(role: str) -> Event:
    return Event("leave", role)


def operation(name: str, *, within: str = "") -> Event:
    return Event("operation", name, within)


@dataclass(frozen=True, eq=False)
class Ghost:
    """A variable of a property. ``per_entry``: one for each cached entry, reset when it goes.

    ``frame``: one for each activation (CPU and interrupt level), so that nested calls do not mix.
    ``by_cpu``: one for each CPU on which the event of a rule about every CPU may happen, so that
    concurrent calls do not mix; a rule about the acting CPU alone sets all of its copies.
    """

    name: str
    type: Type
    initial: int
    per_entry: bool
    frame: bool
    by_cpu: bool = False

    @property
    def expr(self) -> Expr:
        return var(self.name, self.type)


@dataclass(frozen=True, eq=False)
class Rule:
    """What happens to ghosts on an event, and what must not be then; ``place`` is where a property says so."""

    event: Event
    updates: tuple[tuple[Ghost, Expr], ...]
    bad: tuple[tuple[str, Expr], ...]
    every_cpu: bool = False
    place: Place | None = None

    def __post_init__(self) -> None:
        check_fields(self, "a rule", self.place)


@dataclass(eq=False)
class Property:
    """A monitor: ghost variables, updates on events, and what must never be.

    ``needs`` lists the roles without which it is not applicable; ``trigger`` is the event whose
    absence makes a verdict vacuous (without one: that nothing in the model is judged). ``clauses`` explains each
    clause that ``bad`` and ``invariant`` name: one sentence, shown with a violation. ``change`` is the event that a story takes for the
    change of page tables, where a model has none that could say it. ``place``: where it is declared.
    """

    name: str
    title: str
    source: str
    needs: tuple[str, ...] = ()
    trigger: Event | None = None
    clauses: dict[str, str] = field(default_factory=dict)
    change: Event | None = None
    ghosts: list[Ghost] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    invariants: list[tuple[str, Expr]] = field(default_factory=list)
    liveness: list[tuple[str, Expr]] = field(default_factory=list)
    place: Place | None = field(default_factory=here)

    def __post_init__(self) -> None:
        check_fields(self, f"property {self.name}", self.place)

    def ghost(self, name: str, type_: Any = bool, initial: int = 0, *, per_entry: bool = False, frame: bool = False, by_cpu: bool = False) -> Ghost:
        """Declare a ghost variable; its ``expr`` stands in rules."""
        if any(g.name == f"ghost.{self.name}.{name}" for g in self.ghosts):
            raise InputError(f"property {self.name} has two ghosts called '{name}'", place=here(), hint="rename one")
        made = Ghost(f"ghost.{self.name}.{name}", type_of(type_), initial, per_entry, frame, by_cpu)
        check_fields(made, f"ghost {name}")
        self.ghosts.append(made)
        return made

    def on(self, event: Event, updates: Mapping[Ghost, Any] | None = None, *, bad: Mapping[str, Expr] | None = None, every_cpu: bool = False) -> None:
        """When ``event`` happens: ghosts change, and each clause of ``bad`` must be false.

        With ``every_cpu`` the rule is applied to each CPU in turn: its registers, its entries, its
        ghosts; ``cpu.self`` is that CPU's number and ``cpu.acting`` that of the one that acts.
        """
        for clause in bad or {}:
            self._known(clause)
        changes = tuple((g, lift(v, g.type)) for g, v in (updates or {}).items())
        self.rules.append(Rule(event, changes, tuple((clause, lift(e, BOOL)) for clause, e in (bad or {}).items()), every_cpu, here()))

    def never(self, clause: str, bad: Expr) -> None:
        """``bad`` must be false in every state."""
        self._known(clause)
        self.invariants.append((clause, lift(bad, BOOL)))

    def eventually_not(self, clause: str, pending: Expr) -> None:
        """``pending`` (about one CPU, not its cache) must not hold for ever.

        Only fair runs count: a CPU whose software can go on all the time does so in the end, and
        an interrupt that can be delivered again and again is (``engines.liveness``).
        """
        self._known(clause)
        self.liveness.append((clause, lift(pending, BOOL)))

    def _known(self, clause: str) -> None:
        if clause not in self.clauses:
            raise InputError(f"property {self.name} has no clause '{clause}'", place=here(), hint=hint(clause, self.clauses, "explain it in clauses={...}"))


CACHED = var("entry.cached", BOOL)


@dataclass(frozen=True, eq=False)
class Interrupt:
    """An interrupt: ``handler`` may start at any step at which ``flag`` (IF) is set and ``when`` holds.

    One without ``flag`` cannot be masked (NMI) and leaves IF alone. Only one handler runs on each
    level: the level ``nmi`` interrupts ``irq``, never the other way round, and NMIs stay blocked until
    their handler returns.
    """

    handler: Procedure
    flag: StateVar | None
    when: Expr = TRUE
    level: str = "irq"

    def __post_init__(self) -> None:
        check_fields(self, "an interrupt")
        if self.level not in LEVELS[1:]:
            raise InputError(f"an interrupt cannot run on level '{self.level}'", hint=f"levels of interrupts are {' and '.join(LEVELS[1:])}")


@dataclass(frozen=True)
class Repair:
    """Something that blame may try to insert: text for people, the operation or procedure, its operands.

    ``args`` may name the parameters of the procedure that it is inserted into.
    """

    text: str
    what: Operation | Procedure
    args: tuple[Expr, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "a repair")


@dataclass(frozen=True)
class Amendment:
    """An operand of an operation that blame may try to change: ``value`` is over ``arg.NAME``.

    ``fault`` continues "line N ...", ``fix`` is what to do there.
    """

    operation: Operation
    operand: str
    value: Expr
    fault: str
    fix: str

    def __post_init__(self) -> None:
        check_fields(self, "an amendment")


def walk_from(register: str) -> str:
    """``from the ROOT under TAG`` for a register that is shown as ``ROOT, TAG``; nothing for one that is not shown."""
    root, _, tag = register.partition(", ")
    article = "" if root.partition(" ")[0] in ("the", "its", "another") or "'s " in root else "the "
    return f"from {article}{root}{f' under {tag}' if tag else ''}" if root else ""


@dataclass(frozen=True)
class Notation:
    """How people read a machine's values; engines never see it.

    ``values`` formats a variable (``cr3``) or an operand (``MOV to CR3.value``), ``fields`` splits
    words into named masks, ``steps`` abbreviates an operation with its operands (None: not shown). ``walks`` says
    where a walk of the tables starts, after "speculation caches it, ", by a CPU's registers as they are shown.
    """

    values: Mapping[str, Callable[[int], str]] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    steps: Callable[[str, Mapping[str, int]], str | None] = lambda action, operands: None
    walks: Callable[[Mapping[str, str]], str] = lambda registers: ""

    def __post_init__(self) -> None:
        check_fields(self, "a notation")
        object.__setattr__(self, "values", {n: guarded(f, f"how {n} is shown") for n, f in self.values.items()})
        object.__setattr__(self, "steps", guarded(self.steps, "the notation of steps"))
        object.__setattr__(self, "walks", guarded(self.walks, "the notation of walks"))


@dataclass(frozen=True, eq=False)
class Variant:
    """The lines that differ: flags set, procedures replaced; and what is then expected."""

    doc: str
    flags: Mapping[Flag, bool] = field(default_factory=dict)
    procedures: Mapping[Procedure, Procedure] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "a variant")


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """Everything that a check needs, as data.

    ``task`` is what each CPU does, for ever; ``actions`` are guarded atomic steps of the
    environment. ``procedures`` replaces procedures by name wherever they are called, and so do ``contracts``,
    by what another model shows of them. ``case`` is a
    monitor whose non-entry ghosts name a violation's case (properties.md 1); ``options`` gives,
    for a case, the boot options under which it can happen. ``open_cases`` lists (field, value) of
    cases in which an environment more general than the real one acts; a trace without them is
    shown too where there is one. ``vacuous`` declares properties that do not apply, or whose
    trigger never occurs, so that they count as decided; and, as ``PROPERTY/CLAUSE``, clauses that judge nothing here. ``about``: the properties that the model was made for,
    and is checked for where none are named, with those that it declares something of (default: all). ``matrix_case`` fixes case variables in the rows of ``matrix``.
    ``depth`` is z3's bound. ``expected`` is never read by an engine. ``numbers`` are the sizes that the model
    was made with, and ``resized`` makes it with others: ``NAME:cpus=3`` on the command line. ``origin`` says of
    a model that was made of somebody else's source how to make it again (``tlbcheck.fit``).
    """

    name: str
    title: str
    source: str = ""
    doc: str = ""
    cpus: int = 1
    init: Procedure
    task: Procedure | None = None
    interrupts: tuple[Interrupt, ...] = ()
    actions: tuple[Procedure, ...] = ()
    cache: CacheKind | None = None
    cases: tuple[CaseVar, ...] = ()
    settings: Mapping[str, Expr] = field(default_factory=dict)
    meanings: Mapping[str, Expr] = field(default_factory=dict)
    procedures: Mapping[Procedure, Procedure] = field(default_factory=dict)
    contracts: tuple[Contract, ...] = ()
    flags: Mapping[Flag, bool] = field(default_factory=dict)
    profile: str = "common"
    case: Property | None = None
    options: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None
    open_cases: frozenset[tuple[str, int]] = frozenset()
    matrix_case: Mapping[CaseVar, int] = field(default_factory=dict)
    notation: Notation = field(default_factory=Notation)
    repairs: tuple[Repair | Amendment, ...] = ()
    variants: Mapping[str, Variant] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    expected_source: str = ""
    assumptions: tuple[str, ...] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 24
    vacuous: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    resized: Callable[..., Model] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    place: Place | None = field(default_factory=here)

    def __post_init__(self) -> None:
        check_fields(self, self.name, self.place)
        if self.options is not None:
            object.__setattr__(self, "options", guarded(self.options, f"the options of {self.name}"))
        if self.resized is not None:
            object.__setattr__(self, "resized", guarded(self.resized, f"another size of {self.name}"))

    def with_numbers(self, numbers: Mapping[str, int]) -> Model:
        """``MODEL:NAME=NUMBER,...``. Raises ``InputError`` for a number that the model does not have, or below one."""
        for name, value in numbers.items():
            if self.resized is None or name not in self.numbers:
                raise InputError(f"{self.name} has no number '{name}'", hint=f"it has: {', '.join(self.numbers) or 'none'}")
            if value < 1:
                raise InputError(f"{name}={value} is too small for {self.name}", hint="give at least 1")
        if self.resized is None:
            return self
        changed = {n: v for n, v in numbers.items() if v != self.numbers[n]}
        made = self.resized(**{**self.numbers, **changed})
        return replace(made, name=f"{self.name}:{','.join(f'{n}={v}' for n, v in changed.items())}") if changed else made

    def variant(self, name: str) -> Model:
        """``MODEL@NAME``. Raises ``InputError`` if there is none of that name."""
        found = self.variants.get(name)
        if found is None:
            known = ", ".join(sorted(self.variants)) or "none"
            raise InputError(f"{self.name} has no variant '{name}'", hint=f"it has: {known}")
        return replace(
            self,
            name=f"{self.name}@{name}",
            doc=found.doc,
            source=found.source or self.source,
            flags={**self.flags, **found.flags},
            procedures={**self.procedures, **found.procedures},
            expected=found.expected,
            variants={},
        )

    @property
    def levels(self) -> tuple[str, ...]:
        """The interrupt levels on which something of the model can run, the lowest first."""
        used = {i.level for i in self.interrupts}
        return tuple(level for level in LEVELS if level == "task" or level in used)

    @cached_property
    def _replaced(self) -> Mapping[Procedure, Procedure]:
        return {**{c.procedure: c.stand_in for c in self.contracts}, **self.procedures}

    @cached_property
    def _requirements(self) -> dict[Procedure, list[tuple[Procedure, Requires]]]:
        return {}

    def resolve(self, procedure: Procedure) -> Procedure:
        """The procedure that is called where ``procedure`` is written."""
        return self.resolution(procedure)[-1]

    def resolution(self, procedure: Procedure) -> list[Procedure]:
        """``procedure``, what takes its place, what takes the place of that, and so on to what is called."""
        made = [procedure]
        while (other := self._replaced.get(made[-1])) is not None and other not in made:
            made.append(other)
        return made

    def requirements(self, procedure: Procedure) -> list[tuple[Procedure, Requires]]:
        """What a call of ``procedure`` owes, with whose parameters it names.

        The contract of the name that is called counts, whatever takes its place: so a procedure read from
        C has that of the place which it is put into.
        """
        known = self._requirements.get(procedure)
        if known is None:
            known = self._requirements[procedure] = list({id(r): (q, r) for q in self.resolution(procedure) for r in q.requires}.values())
        return known

    def relied_on(self) -> list[Contract]:
        """The contracts of procedures whose stand-ins can run."""
        running = self.reachable()
        return [c for c in self.contracts if c.stand_in in running]

    def reachable(self) -> list[Procedure]:
        """Every procedure that can run, callers before what they call, as it is resolved."""
        found: dict[Procedure, None] = {}

        def visit(procedure: Procedure) -> None:
            procedure = self.resolve(procedure)
            if procedure not in found:
                found[procedure] = None
                for s in walk(procedure.body):
                    if isinstance(s, Call):
                        visit(s.procedure)
                        for _, required in self.requirements(s.procedure):
                            for t in walk(required.before):
                                if isinstance(t, Call):
                                    visit(t.procedure)

        for root in (self.init, *([self.task] if self.task else []), *(i.handler for i in self.interrupts), *self.actions):
            visit(root)
        return list(found)

    def state_variables(self) -> list[StateVar]:
        """The state variables that procedures read or write, each once."""
        found: dict[str, StateVar] = {}
        for procedure in self.reachable():
            for s in walk(procedure.body):
                match s:
                    case Call():
                        for _, required in self.requirements(s.procedure):
                            found |= {t.variable.name: t.variable for t in walk(required.before) if isinstance(t, Read) and t.variable.name not in found}
                    case Read() | Write():
                        found.setdefault(s.variable.name, s.variable)
                    case Do():
                        for v, _ in s.operation.effects:
                            found.setdefault(v.name, v)
        for i in self.interrupts:
            if i.flag is not None:
                found.setdefault(i.flag.name, i.flag)
        return list(found.values())

    def acts(self, statements: Sequence[Statement]) -> bool:
        """Whether ``statements``, or what they call, can change anything that others see."""
        return any(
            isinstance(s, Write)
            or (isinstance(s, Do) and bool(s.operation.effects or s.operation.drops))
            or (isinstance(s, Call) and self.acts(self.resolve(s.procedure).body))
            for s in walk(list(statements))
        )

    def names(self) -> set[str]:
        """The names of variables that a property may speak of: those of the model, and what its operations read. Of an array each element has one."""
        found = {name for v in self.state_variables() for name in (v.name, *v.elements())}
        for procedure in self.reachable():
            for s in walk(procedure.body):
                if isinstance(s, Do):
                    parts = [s.operation.result] if s.operation.result is not None else []
                    parts += [s.operation.uses] if s.operation.uses is not None else []
                    parts += [x for c in (*s.operation.faults, *s.operation.drops) for x in c.parts]
                    found |= {n for e in parts for n in variables(e) if "." not in n}
        return found
