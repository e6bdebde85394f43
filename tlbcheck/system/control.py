"""Where a symbolic execution stands: frames, positions in procedures, paths and activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import TRUE, Expr
from tlbcheck.lang.model import Event, Interrupt
from tlbcheck.lang.types import Type
from tlbcheck.system.transition_system import Bad, Check, Parameter


@dataclass(frozen=True, eq=False)
class Frame:
    """One call on the stack: where it was called, and the prefix of its locals.

    The frame of a shared procedure has no parent: who called is known at run time only.
    """

    procedure: p.Procedure
    path: str
    call_place: Place | None
    parent: Frame | None
    target: str | None
    shared: Shared | None = None
    around: tuple[str, ...] = ()
    """The roles, of those that rules ask for, under which a shared procedure was called."""
    interrupt: Interrupt | None = None
    """Of a handler, where it matters: whose it is."""

    def roles(self) -> tuple[str, ...]:
        above = self.parent.roles() if self.parent else self.around
        return (*above, self.procedure.role) if self.procedure.role else above


@dataclass(eq=False)
class Shared:
    """A procedure called from several places, compiled once: a local remembers where to return."""

    path: str
    result: Type | None
    sites: list[Site] = field(default_factory=list)
    returns: list[tuple[Path, Expr | None]] = field(default_factory=list)

    @property
    def variable(self) -> str:
        return f"{self.path}:%return"


@dataclass(frozen=True, eq=False)
class Site:
    """Where a shared procedure returns to, and what takes its value."""

    after: Position
    target: str | None
    place: Place


@dataclass(frozen=True, eq=False)
class Position:
    """The rest of a statement list; ``kind`` says what happens at its end.

    ``stuck`` is where an activation waits for ever (REQ-2).
    """

    statements: Sequence[p.Statement]
    position: int
    frame: Frame
    kind: str  # "block", "body" of a procedure, "atomic", "require", "stuck"
    below: Position | None

    def key(self) -> tuple[object, ...]:
        if self.kind == "stuck":
            return (self.kind,)
        mine = (id(self.statements), self.position, self.frame.path)
        return mine if self.below is None else (*mine, *self.below.key())

    def at(self, position: int) -> Position:
        return replace(self, position=position)


@dataclass(eq=False)
class Path:
    """A symbolic execution under way: what one step does so far."""

    cpu: int | None
    level: str
    here: Position | None
    guard: list[Expr] = field(default_factory=list)
    store: dict[str, Expr] = field(default_factory=dict)
    locals: dict[str, Expr] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    bads: list[Bad] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    performed: bool = False
    atomic: int = 0
    """How many indivisible blocks it is in."""
    action: str = ""
    text: str = ""
    operands: dict[str, Expr] = field(default_factory=dict)
    place: p.Statement | None = None
    frame: Frame | None = None
    exception: str = ""
    rounds: int = 0
    source: int = 0
    entered: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    fair: str | None = None
    delivers: bool = False
    used: tuple[Expr, ...] = ()
    under: Expr = TRUE
    """What the branches of a computation that is under way ask for."""
    awaited: bool = False
    """It made the one access that a ``require`` waits at."""
    waits: bool = False
    """It ends where a ``require`` begins again."""
    error: Check | None = None
    """The run is one of a model that is wrong, and ends here."""
    ended: Frame | None = None
    """The procedure of the activation, once that is over."""

    def leave_atomic(self) -> None:
        self.atomic -= 1
        self.performed = self.atomic == 0

    def fork(self, condition: Expr) -> Path:
        return replace(
            self,
            guard=[*self.guard, condition],
            store=dict(self.store),
            locals=dict(self.locals),
            parameters=list(self.parameters),
            bads=list(self.bads),
            events=list(self.events),
            operands=dict(self.operands),
            entered=dict(self.entered),
            returned=dict(self.returned),
        )

    def callers_before(self, after: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]] | None:
        """Who must have called before this step where it is ``after`` that must have afterwards; None if that cannot be."""
        before = set()
        for variable, k in after:
            now = self.locals.get(variable)
            known = now.value if now is not None and now.op == "const" else None if now is not None else self.returned.get(variable)
            if known is not None and known != k:
                return None
            if now is None:
                before.add((variable, k))
        return frozenset(before)


@dataclass(eq=False)
class Draft:
    """A step whose locals are still symbolic; liveness decides which are kept."""

    run: Path
    source: int
    target: int


@dataclass(eq=False)
class Activation:
    """The locations of one (CPU, level): 0 is idle or finished."""

    name: str
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    waiting: list[Position] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)

    @property
    def pc(self) -> str:
        return f"{self.name}.pc"

    def location(self, here: Position | None) -> int:
        if here is None:
            return 0
        key = here.key()
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers) + 1
            self.waiting.append(here)
        return self.numbers[key]
