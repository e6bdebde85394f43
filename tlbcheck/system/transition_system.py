"""The transition system, as plain data.

A state gives every control variable a value, and every entry variable one for each cache entry.
Guards and control never read entries, except that a step may need the entry that it uses to be
cached (``Step.used``). Where a cache's rules let entries meet (``entry2``), or a step uses one, an
engine that tracks one arbitrary entry does not see everything: ``engines.sufficiency`` decides.

After each step, and at the start, entries for which a fill rule holds may appear: at once and
always (saturated), or freely, in which case entries may also be evicted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, evaluate
from tlbcheck.lang.model import CacheKind, Event, Model, Property
from tlbcheck.lang.program import Procedure
from tlbcheck.lang.types import Type
from tlbcheck.system.slots import in_slot


@dataclass(frozen=True, slots=True)
class Variable:
    """``initial`` is its value before ``init`` runs; a rigid variable keeps what the start chose."""

    name: str
    type: Type
    initial: int = 0
    domain: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A free choice made in a step."""

    name: str
    type: Type
    domain: tuple[int, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Bad:
    """``when`` must not hold at this point: a violation of ``clause`` of the property.

    ``place`` and ``text`` tell, of an assertion that fails and of a call that breaks a precondition, where
    it is and which; ``event`` is then ``assert`` or ``requires``.
    """

    property: str
    clause: str
    when: Expr
    place: Place | None = None
    text: str = ""
    event: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on the model itself, such as an assignment in range; on a ghost of the property ``judging``, if that is one."""

    holds: Expr
    place: Place
    message: str
    judging: str = ""


@dataclass(frozen=True, eq=False)
class ReturnTo:
    """Who called a shared procedure: ``known``, or what ``variable`` says in the state before.

    ``caller`` gives, for its value, the places and procedures above, and what is above them.
    """

    variable: str
    known: int | None
    caller: Callable[[int], tuple[tuple[Place, ...], tuple[str, ...], ReturnTo | None]]


@dataclass(frozen=True, eq=False)
class Step:
    """A guarded atomic step. All right-hand sides read the state before the step.

    ``updates`` changes control, ``entry_updates`` (over the entry's fields) the entry variables
    before any fill. ``operands`` are for the trace, ``choices`` lists
    every free choice in the order in which it is made. Costs one in depth.

    A step with ``used`` goes through the CPU's cache: it is possible only where the entry whose
    fields have these values (over the step's parameters) is cached.

    Steps of the same ``fair`` are one demand of fairness (the software of a CPU; with ``delivers``, the delivery
    of an interrupt), see ``engines.liveness``.
    """

    index: int
    action: str
    text: str
    cpu: int | None
    level: str
    actor: str
    places: tuple[Place, ...]
    procedures: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    guard: Expr
    updates: Mapping[str, Expr]
    entry_updates: Mapping[str, Expr]
    bads: tuple[Bad, ...]
    events: tuple[Event, ...]
    operands: Mapping[str, Expr] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    roles: tuple[str, ...] = ()
    exception: str = ""
    returns: ReturnTo | None = None
    choices: tuple[tuple[str, Type, Expr], ...] = ()
    used: tuple[Expr, ...] = ()
    fair: str = ""
    delivers: bool = False

    def stack(self, before: Mapping[str, int]) -> tuple[tuple[Place, ...], tuple[str, ...]]:
        """Places and procedures, innermost first, in the state ``before`` the step."""
        places, names, above = self.places, self.procedures, self.returns
        while above is not None:
            k = above.known if above.known is not None else before.get(above.variable, 0)
            more, outer, above = above.caller(k)
            places, names = places + more, names + outer
        return places, names


@dataclass(frozen=True, eq=False)
class Fill:
    """When an entry may appear in a CPU's cache, and what changes with it.

    ``when`` may name entry2: it then holds if it holds for some entry of the same cache.
    """

    cpu: int
    when: Expr
    updates: Mapping[str, Expr]
    reads: frozenset[str]


@dataclass(frozen=True, eq=False)
class TransitionSystem:
    """See the module. ``initial`` are steps from the state in which every variable is initial.

    ``liveness``: what must not hold for ever in a fair run. With ``slots`` above 1 what is tracked is a tuple of entries, see ``system.slots``. ``meeting``: a
    rule names entry2 or a step goes through the cache, so that one entry may not be enough; ``written``
    is then the system as the model says it, whatever engines were given.
    ``opened`` are the procedures that the most general caller calls, and how general it is.
    ``unjudged`` has, by property, the clauses that attach to no step, each with what no step does; ``looked_at_by``, for a
    property that looks at cached entries in steps of the task alone, these.
    ``case_variables`` name a violation's case; while ``case_frames[level]`` has its first field
    set, a switch is under way on that level and the case is there.
    """

    model: Model
    properties: tuple[Property, ...]
    control: tuple[Variable, ...]
    rigid: tuple[str, ...]
    entry_fields: tuple[Variable, ...]
    entry_variables: tuple[Variable, ...]
    initial: tuple[Step, ...]
    entry_initial: Mapping[str, Expr]
    """What may be cached at the start."""
    steps: tuple[Step, ...]
    fills: tuple[Fill, ...]
    invariants: tuple[Bad, ...]
    case_variables: Mapping[str, str]
    case_frames: Mapping[str, Mapping[str, str]]
    not_applicable: Mapping[str, str]
    cached: Mapping[int, str]
    meanings: Mapping[str, Expr] = field(default_factory=dict)
    liveness: tuple[Bad, ...] = ()
    slots: int = 1
    meeting: bool = False
    written: TransitionSystem | None = None
    opened: Mapping[Procedure, str] = field(default_factory=dict)
    entry_marked: Mapping[str, Expr] = field(default_factory=dict)
    """What properties say of entries at the start, where ``init`` changed it; over the entry's fields and what is rigid."""
    unjudged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    looked_at_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    free_walks: Mapping[int, Expr] = field(default_factory=dict)
    """By CPU what a walk may cache, where walks and evictions are choices of the steps (``system.walks``) and no fill happens by itself."""

    @property
    def cache(self) -> CacheKind | None:
        return self.model.cache

    def entries(self) -> Iterator[dict[str, int]]:
        """Every entry that could exist, as the values of its fields; with several slots, every tuple of entries."""
        if self.cache is None:
            return
        names = [v.name for v in self.entry_fields]
        possible = self.possible
        for values in itertools.product(*(v.domain or v.type.values() for v in self.entry_fields)):
            entry = dict(zip(names, values, strict=True))
            if evaluate(possible, entry):
                yield entry

    def entry_start(self, v: Variable, *, cached: bool = True) -> Expr:
        """What a variable of an entry is before any fill: whether it is cached, as the machine allows or not at all; what a property says of it, as ``init`` left it."""
        if v.name not in self.entry_initial:
            return self.entry_marked.get(v.name, const(v.initial, v.type))
        return self.entry_initial[v.name] if cached else FALSE

    def require_apart(self) -> None:
        """Raise ``InputError`` where entries may meet: what called this follows one tuple of entries."""
        if self.meeting:
            raise InputError(f"{self.model.name}: its entries depend on each other, and this looks at one", hint="'tlbcheck verify' decides how many entries it needs")

    @property
    def possible(self) -> Expr:
        """Which values of the fields an entry could have, in every slot."""
        return and_(*(in_slot(self.cache.possible, slot) for slot in range(1, self.slots + 1))) if self.cache else TRUE
