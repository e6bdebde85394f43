"""Procedures as data: what a front end produces, what lowering compiles and what replay interprets.

Expressions inside a procedure refer to locals and parameters by bare name, to case variables as
``case.NAME`` and to flags as ``flag.NAME``. Everything that can be seen from outside an
activation (registers, memory, other CPUs) is read and written by statements of its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn, cast

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.expr import Expr, const, var
from tlbcheck.lang.fields import check_fields
from tlbcheck.lang.types import BOOL, CPU, Type, WordType, require_range, type_of
from tlbcheck.lang.where import here


def _not_run(what: str) -> NoReturn:
    raise InputError(f"{what} is part of a model and cannot be called from ordinary Python", hint="use it inside a @procedure, which is read and never run")


REGISTERS: dict[str, StateVar] = {}
"""The registers of the machines that are loaded, by name: rules may read them in any model."""
SETTINGS: set[str] = set()
"""What processors of the machines that are loaded may support, by name (``setting``)."""
RESERVED = ("arg", "case", "cpu", "entry", "ghost", "meaning", "setting", "used")
"""What names in rules begin with, before the dot, and so no name of a model's own; numbers may follow."""


def own_name(name: str, what: str) -> None:
    """Raise ``InputError`` if a model may not call anything so: a name of its own is one word, and not reserved."""
    if not re.fullmatch(r"\w+", name):
        raise InputError(f"{what} cannot be called '{name}'", hint="use letters, digits and _ only")
    if re.sub(r"\d+$", "", name) in RESERVED:
        raise InputError(f"{what} cannot be called '{name}': the name is reserved", hint=f"call it {name}_ or the like")


@dataclass(eq=False)
class StateVar:
    """A variable that other activations can see: a register, shared memory, or one copy per CPU.

    ``get``, ``set`` and ``at`` are read by the front end; each is one step. ``index`` makes an
    array over that type. A ``register`` is written by machine operations only (and by ``init``).
    """

    name: str
    type: Type
    per_cpu: bool = False
    index: Type | None = None
    register: bool = False

    def __post_init__(self) -> None:
        own_name(self.name, "a variable")
        if self.register:
            REGISTERS[self.name] = self

    @property
    def expr(self) -> Expr:
        """The variable (of the acting CPU, if there is one for each) in a rule."""
        return var(self.name, self.type)

    def elements(self) -> list[str]:
        """What rules call the elements of an array; none of another variable."""
        return [] if self.index is None else [f"{self.name}[{self.index.show(i)}]" for i in self.index.values()]

    def get(self) -> Any:
        _not_run(f"{self.name}.get()")

    def set(self, value: Any) -> None:
        _not_run(f"{self.name}.set()")

    def at(self, index: Any) -> StateVar:
        """The element ``index`` of an array, or CPU ``index``'s copy."""
        _not_run(f"{self.name}.at()")


def shared(name: str, type_: Any, *, index: Any = None) -> StateVar:
    """A variable in memory that every CPU sees; with ``index``, an array."""
    return StateVar(name, type_of(type_), index=None if index is None else type_of(index))


def per_cpu(name: str, type_: Any) -> StateVar:
    """One variable for each CPU; ``get`` and ``set`` mean the acting CPU's."""
    return StateVar(name, type_of(type_), per_cpu=True)


def setting(name: str, type_: Type) -> Expr:
    """What a processor may support, as machines name it in their rules; a model says what is so in ``Model.settings``."""
    SETTINGS.add(name)
    return var(f"setting.{name}", type_)


@dataclass(eq=False)
class CaseVar:
    """Chosen at the start of a run and never changed; read in expressions like a constant."""

    name: str
    type: Type
    domain: tuple[int, ...]

    def __post_init__(self) -> None:
        own_name(self.name, "a case variable")

    @property
    def expr(self) -> Expr:
        return var(f"case.{self.name}", self.type)

    def __bool__(self) -> bool:
        _not_run(self.name)


def case_variable(name: str, type_: Any, domain: tuple[int, ...] | None = None) -> Any:
    """A case variable over all values of ``type_``, or over ``domain``."""
    resolved = type_of(type_)
    require_range(resolved)
    return CaseVar(name, resolved, resolved.values() if domain is None else domain)


@dataclass(eq=False)
class Flag:
    """A constant that a variant of a model may set: the language's ``#ifdef``."""

    name: str
    default: bool

    @property
    def expr(self) -> Expr:
        return var(f"flag.{self.name}", BOOL)

    def __bool__(self) -> bool:
        _not_run(self.name)


@dataclass(eq=False)
class Table:
    """An attribute of an enum's members, given for every member: ``mode(context)``.

    Raises ``InputError`` for one that gives another number of values than its index has, or other kinds of things.
    """

    name: str
    index: Type
    values: tuple[int, ...]
    type: Type

    def __post_init__(self) -> None:
        check_fields(self, f"table {self.name}")
        if isinstance(self.index, WordType):
            raise InputError(f"table {self.name} has one value for each {self.index}", place=here(), hint="give it an enum or a Range for an index")
        if len(self.values) != len(self.index.values()):
            raise InputError(f"table {self.name} has {len(self.values)} for the {len(self.index.values())} values of {self.index}", place=here(), hint="give one for each")

    def __call__(self, member: Any) -> Any:
        _not_run(f"{self.name}()")


@dataclass(frozen=True, eq=False)
class Clause:
    """One sentence of a rule: it applies if all ``parts`` hold. Data, so that it can be mutated.

    ``vendors`` names whose manuals promise it; ``rule`` is its number in the reference.
    """

    rule: str
    parts: tuple[Expr, ...]
    vendors: frozenset[str] = frozenset({"intel", "amd"})
    exception: str = ""


@dataclass(frozen=True, eq=False)
class Operation:
    """A step of the machine: when it faults, what it does to registers, which entries it drops.

    Operands are ``arg.NAME``, registers their bare names, the entry's fields ``entry.FIELD``.
    All right-hand sides read the registers as they were before the operation.

    An operation that goes through the cache, such as a load, has ``uses``: which cached entry it may
    use, over ``used.FIELD``. It happens once for each of them, and its result may name ``used.FIELD``.
    A walk of the tables is among them, since whatever a walk finds may be cached before. Without one
    that it could use the operation does not happen.
    """

    name: str
    operands: tuple[tuple[str, Type | None], ...] = ()
    result: Expr | None = None
    faults: tuple[Clause, ...] = ()
    effects: tuple[tuple[StateVar, Expr], ...] = ()
    drops: tuple[Clause, ...] = ()
    text: str = ""
    uses: Expr | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _not_run(self.name)


def marker(event: str, text: str) -> Operation:
    """A step that only marks a moment of the protocol, such as a tick of a clock."""
    return Operation(event, text=text)


def choose(domain: Any) -> Any:
    """Any value of an enum class, a type of the language or a tuple: a free choice."""
    _not_run("choose()")


CPU_SELF = var("cpu.self", CPU)
"""The number of the CPU that runs a procedure, or that a rule is about."""
CPU_ACTING = var("cpu.acting", CPU)
"""In a rule about every CPU: the number of the one on which the event happens."""


def this_cpu() -> Any:
    """The number of the CPU that runs this."""
    _not_run("this_cpu()")


def cpus() -> Any:
    """All CPUs, for a loop: ``for cpu in cpus():``."""
    _not_run("cpus()")


def require(condition: Any) -> None:
    """Go on only if ``condition`` holds; inside ``atomic`` it is a guard, elsewhere the CPU waits (REQ in docs/semantics.md)."""
    _not_run("require()")


def requires(condition: Any) -> None:
    """At the head of a procedure: what its callers owe it, over its parameters and, with ``get()``, shared state.

    It is no step, unless somebody else may change what it reads (CALL-4). An ordinary call for which it is false violates the property ``requires`` at the
    call; the most general caller (``most_general_caller``) makes no such call.
    """
    _not_run("requires()")


class Atomic:
    """``with atomic:`` makes everything inside one indivisible step, such as a locked RMW.

    ``with atomic("takes the lock"):`` says what a trace calls it; else the procedure's summary does.
    """

    def __call__(self, text: str) -> Atomic:
        _not_run("atomic")

    def __enter__(self) -> None:
        _not_run("atomic")

    def __exit__(self, *args: object) -> None:
        _not_run("atomic")


atomic = Atomic()


@dataclass(eq=False, kw_only=True)
class Statement:
    place: Place


@dataclass(eq=False, kw_only=True)
class Assign(Statement):
    """``type`` is the target's, where it is declared or known: a bounded integer's range must not be left."""

    target: str
    value: Expr
    type: Type | None = None


@dataclass(eq=False, kw_only=True)
class Do(Statement):
    operation: Operation
    args: tuple[Expr, ...]
    target: str | None = None


@dataclass(eq=False, kw_only=True)
class Read(Statement):
    variable: StateVar
    at: Expr | None
    target: str


@dataclass(eq=False, kw_only=True)
class Write(Statement):
    variable: StateVar
    at: Expr | None
    value: Expr


@dataclass(eq=False, kw_only=True)
class If(Statement):
    condition: Expr
    then: list[Statement]
    orelse: list[Statement]


@dataclass(eq=False, kw_only=True)
class While(Statement):
    condition: Expr
    body: list[Statement]


@dataclass(eq=False, kw_only=True)
class ForCpus(Statement):
    """``body`` for each CPU in turn, with its number in ``target``."""

    target: str
    body: list[Statement]
    _unrolled: dict[int, list[Statement]] = field(init=False, default_factory=dict, repr=False)

    def unrolled(self, cpus: int) -> list[Statement]:
        """The same without a loop; always the same list for the same number."""
        if cpus not in self._unrolled:
            self._unrolled[cpus] = [s for c in range(cpus) for s in (Assign(place=self.place, target=self.target, value=const(c, CPU), type=CPU), *self.body)]
        return self._unrolled[cpus]


@dataclass(eq=False, kw_only=True)
class Call(Statement):
    """``general`` says in words how general a caller is that makes every call which keeps to what is required; empty for any other."""

    procedure: Procedure
    args: tuple[Expr, ...]
    target: str | None = None
    general: str = ""


@dataclass(eq=False, kw_only=True)
class Return(Statement):
    value: Expr | None


@dataclass(eq=False, kw_only=True)
class Assert(Statement):
    condition: Expr
    text: str


@dataclass(eq=False, kw_only=True)
class Require(Statement):
    """``condition`` once ``before``, its accesses and operations, has run: a guard in one step with others, else see REQ-2."""

    condition: Expr
    before: list[Statement] = field(default_factory=list)


@dataclass(eq=False, kw_only=True)
class Requires(Statement):
    """A precondition: ``condition`` once ``before``, which reads shared state and computes, has run. Not a step."""

    condition: Expr
    before: list[Statement]
    text: str


@dataclass(eq=False, kw_only=True)
class Choose(Statement):
    target: str
    domain: tuple[int, ...]
    type: Type
    label: str = ""


@dataclass(eq=False, kw_only=True)
class AtomicBlock(Statement):
    body: list[Statement]
    text: str = ""


@dataclass(frozen=True)
class Parameter:
    name: str
    type: Type


@dataclass(eq=False)
class Procedure:
    """A procedure; ``parse`` gives its preconditions and body on first use, so that they may name later ones.

    ``role`` says what it is to the properties (``switch``, ``caller``, ...). ``result`` is None
    where nothing is returned. ``requires`` and ``ensures`` (names of properties) are its contract: what
    stands in its place in a model is called and relied on under the same one.
    """

    name: str
    parameters: tuple[Parameter, ...]
    place: Place
    parse: Callable[[], list[Statement]]
    result: Type | None = None
    role: str = ""
    doc: str = ""
    ensures: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    """The Python function that it was read from, for ``tlbcheck.reference``, which reads that itself."""
    _parsed: tuple[tuple[Requires, ...], list[Statement]] | None = field(default=None, repr=False)

    def _read(self) -> tuple[tuple[Requires, ...], list[Statement]]:
        if self._parsed is None:
            statements = self.parse()
            head = tuple(itertools.takewhile(lambda s: isinstance(s, Requires), statements))
            self._parsed = cast("tuple[Requires, ...]", head), statements[len(head) :]
        return self._parsed

    @property
    def requires(self) -> tuple[Requires, ...]:
        return self._read()[0]

    @property
    def body(self) -> list[Statement]:
        return self._read()[1]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _not_run(f"{self.name}()")

    def with_body(self, body: list[Statement]) -> Procedure:
        """The same procedure with other statements: how mutants and repairs are made."""
        return Procedure(self.name, self.parameters, self.place, lambda: [*self.requires, *body], self.result, self.role, self.doc, self.ensures)


def walk(statements: list[Statement]) -> Iterator[Statement]:
    """Every statement, outer before inner, in source order."""
    for s in statements:
        yield s
        match s:
            case If():
                yield from walk(s.then)
                yield from walk(s.orelse)
            case While() | AtomicBlock() | ForCpus():
                yield from walk(s.body)
            case Require():
                yield from walk(s.before)


def expressions(s: Statement) -> Iterator[Expr]:
    """The expressions of a statement itself, and of the operation that it performs."""
    parts: list[Any] = [getattr(s, f.name) for f in fields(s)]
    if isinstance(s, Do):
        o = s.operation
        parts += [o.result, o.uses, tuple(e for _, e in o.effects), *(clause.parts for clause in (*o.faults, *o.drops))]
    for part in parts:
        yield from (x for x in (part if isinstance(part, tuple) else (part,)) if isinstance(x, Expr))
