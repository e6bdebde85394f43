"""Models, caches and properties: what a check is made of, still independent of any engine.

Expressions of caches, properties and meanings use these names:

- registers and variables by their own name (the acting CPU's where there is one for each)
- ``entry.FIELD`` and ``entry.cached``: the entry that is looked at
- ``arg.NAME``: operands of the event; ``ghost.PROPERTY.NAME``: a property's own variables
- ``meaning.NAME``: what the model says about its address spaces; ``case.NAME``: case variables
- ``setting.NAME``: what the processor supports, see ``Model.settings``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.lang.expr import TRUE, Expr, lift, var, variables
from tlbcheck.lang.program import Call, CaseVar, Do, Flag, Operation, Procedure, Read, StateVar, Write, walk
from tlbcheck.lang.types import BOOL, Type, type_of

PROFILES = ("common", "intel", "amd")
LEVELS = ("task", "irq")


@dataclass(frozen=True, eq=False)
class CacheKind:
    """A cache of translations as data: the TLB; later paging-structure caches and other machines'.

    ``fields`` gives each field's type and the values that entries of a model may have there.
    ``possible`` (over the fields) leaves out entries that nothing could create; ``fill`` says when
    a walk may create the entry now, ``initial`` which content a run may start with.
    """

    name: str
    fields: tuple[tuple[str, Type, tuple[int, ...]], ...]
    possible: Expr
    fill: Expr
    initial: Expr
    describe: Callable[[Mapping[str, int]], str]


@dataclass(frozen=True)
class Event:
    """Something that a property reacts to.

    ``kind``: ``enter``/``leave`` of a role's procedure, ``operation`` by name (before its effect),
    ``fill`` of an entry, ``fault`` by exception, ``assert`` (a failed software assertion).
    ``within``: only while a procedure of that role is active on the same interrupt level.
    ``parameters`` names the procedure's arguments by position.
    """

    kind: str
    name: str = ""
    within: str = ""
    parameters: tuple[str, ...] = ()


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
    """

    name: str
    type: Type
    initial: int
    per_entry: bool
    frame: bool

    @property
    def expr(self) -> Expr:
        return var(self.name, self.type)


@dataclass(frozen=True, eq=False)
class Rule:
    event: Event
    updates: tuple[tuple[Ghost, Expr], ...]
    bad: tuple[tuple[str, Expr], ...]


@dataclass(eq=False)
class Property:
    """A monitor: ghost variables, updates on events, and what must never be.

    ``needs`` lists the roles without which it is not applicable; ``trigger`` is the event whose
    absence makes a verdict vacuous. ``clauses`` explains each clause that ``bad`` and
    ``invariant`` name: one sentence, shown with a violation.
    """

    name: str
    title: str
    source: str
    needs: tuple[str, ...] = ()
    trigger: Event | None = None
    clauses: dict[str, str] = field(default_factory=dict)
    ghosts: list[Ghost] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    invariants: list[tuple[str, Expr]] = field(default_factory=list)

    def ghost(self, name: str, type_: Any = bool, initial: int = 0, *, per_entry: bool = False, frame: bool = False) -> Ghost:
        """Declare a ghost variable; its ``expr`` stands in rules."""
        made = Ghost(f"ghost.{self.name}.{name}", type_of(type_), initial, per_entry, frame)
        self.ghosts.append(made)
        return made

    def on(self, event: Event, updates: Mapping[Ghost, Any] | None = None, *, bad: Mapping[str, Expr] | None = None) -> None:
        """When ``event`` happens: ghosts change, and each clause of ``bad`` must be false."""
        for clause in bad or {}:
            self._known(clause)
        self.rules.append(Rule(event, tuple((g, lift(v, g.type)) for g, v in (updates or {}).items()), tuple((bad or {}).items())))

    def never(self, clause: str, bad: Expr) -> None:
        """``bad`` must be false in every state."""
        self._known(clause)
        self.invariants.append((clause, bad))

    def _known(self, clause: str) -> None:
        if clause not in self.clauses:
            raise InputError(f"property {self.name} has no clause '{clause}'", hint="explain it in clauses={...}")


CACHED = var("entry.cached", BOOL)


@dataclass(frozen=True, eq=False)
class Interrupt:
    """A maskable interrupt: ``handler`` may start at any step at which ``flag`` (IF) is set."""

    handler: Procedure
    flag: StateVar
    when: Expr = TRUE


@dataclass(frozen=True)
class Repair:
    """An operation that blame may try to insert: text for people, and its operands.

    ``args`` may name the parameters of the procedure that it is inserted into.
    """

    text: str
    operation: Operation
    args: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Notation:
    """How people read a machine's values; engines never see it.

    ``values`` formats a variable (``cr3``) or an operand (``MOV to CR3.value``), ``fields`` splits
    words into named masks, ``steps`` abbreviates an operation with its operands (None: not shown).
    """

    values: Mapping[str, Callable[[int], str]] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    steps: Callable[[str, Mapping[str, int]], str | None] = lambda action, operands: None


@dataclass(frozen=True, eq=False)
class Variant:
    """The lines that differ: flags set, procedures replaced; and what is then expected."""

    doc: str
    flags: Mapping[Flag, bool] = field(default_factory=dict)
    procedures: Mapping[Procedure, Procedure] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """Everything that a check needs, as data.

    ``task`` is what each CPU does, for ever; ``actions`` are guarded atomic steps of the
    environment. ``procedures`` replaces procedures by name wherever they are called. ``case`` is a
    monitor whose non-entry ghosts name a violation's case (properties.md 1); ``options`` gives,
    for a case, the boot options under which it can happen. ``open_cases`` lists (field, value) of
    cases in which an environment more general than the real one acts; a trace without them is
    shown too where there is one. ``vacuous`` declares properties that do not apply, or whose
    trigger never occurs, so that they count as decided. ``matrix_case`` fixes case variables in the rows of ``matrix``.
    ``depth`` is z3's bound. ``expected`` is never read by an engine.
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
    flags: Mapping[Flag, bool] = field(default_factory=dict)
    profile: str = "common"
    case: Property | None = None
    options: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None
    open_cases: frozenset[tuple[str, int]] = frozenset()
    matrix_case: Mapping[CaseVar, int] = field(default_factory=dict)
    notation: Notation = field(default_factory=Notation)
    repairs: tuple[Repair, ...] = ()
    variants: Mapping[str, Variant] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    expected_source: str = ""
    assumptions: tuple[str, ...] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 24
    vacuous: tuple[str, ...] = ()

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

    def resolve(self, procedure: Procedure) -> Procedure:
        """The procedure that is called where ``procedure`` is written."""
        seen = set()
        while procedure in self.procedures and procedure not in seen:
            seen.add(procedure)
            procedure = self.procedures[procedure]
        return procedure

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

        for root in (self.init, *([self.task] if self.task else []), *(i.handler for i in self.interrupts), *self.actions):
            visit(root)
        return list(found)

    def state_variables(self) -> list[StateVar]:
        """The state variables that procedures read or write, each once."""
        found: dict[str, StateVar] = {}
        for procedure in self.reachable():
            for s in walk(procedure.body):
                match s:
                    case Read() | Write():
                        found.setdefault(s.variable.name, s.variable)
                    case Do():
                        for v, _ in s.operation.effects:
                            found.setdefault(v.name, v)
        for i in self.interrupts:
            found.setdefault(i.flag.name, i.flag)
        return list(found.values())

    def names(self) -> set[str]:
        """The names of variables that a property may speak of: those of the model, and what its operations read."""
        found = {v.name for v in self.state_variables()}
        for procedure in self.reachable():
            for s in walk(procedure.body):
                if isinstance(s, Do):
                    parts = [s.operation.result] if s.operation.result is not None else []
                    parts += [x for c in (*s.operation.faults, *s.operation.drops) for x in c.parts]
                    found |= {n for e in parts for n in variables(e) if "." not in n}
        return found
