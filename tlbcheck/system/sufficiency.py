"""What was decided about a transition system: how many entries are enough, and which numbers are any number.

``engines.sufficiency`` decides; here is what it says, and the system that engines then search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.lang.expr import FALSE, Expr, and_, substitute, var, variables
from tlbcheck.lang.scope import Alone, Kinds, Names
from tlbcheck.lang.types import EnumType
from tlbcheck.system.names import Software
from tlbcheck.system.slots import in_slot, of_entry, track
from tlbcheck.system.transition_system import Fill, Step, TransitionSystem, Variable
from tlbcheck.system.walks import freely, not_freely

FULL = 0
_ANY = re.compile(r"\b(any|all|every|arbitrary|unbounded|unlimited|infinite)", re.IGNORECASE)
"""Words by which a model says that a number covers them all."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of T1 to T3: whether it holds, and if not, what breaks it and where."""

    name: str
    holds: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Dimension:
    """How many values of an entry's field a verdict covers.

    ``any``: however many there are; ``why`` says by what, or why not, and ``assumes`` what it rests on. ``told``: a
    scope says why not, since the model means it to be any.
    """

    field: str
    name: str
    any: bool
    covers: str | tuple[int | str, ...]
    why: str
    assumes: str = ""
    told: bool = False


@dataclass(frozen=True, slots=True)
class Sufficiency:
    """``entries`` that have to be tracked together; ``FULL`` if no number of them is known to be enough."""

    entries: int
    conditions: tuple[Condition, ...]
    dimensions: tuple[Dimension, ...]

    @property
    def representation(self) -> str:
        return f"tracked({self.entries})" if self.entries != FULL else "full"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why more than one entry is needed; empty if one is enough."""
        return tuple(f"{c.name} fails: {c.reason}" for c in self.conditions if not c.holds)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What has to be said with a proof besides what the model says."""
        return tuple(d.assumes for d in self.dimensions if d.assumes)

    def scope(self) -> dict[str, Any]:
        """The part of a result's scope that is decided here."""
        made: dict[str, Any] = {d.name: d.covers if isinstance(d.covers, str) else list(d.covers) for d in self.dimensions}
        made["representation"] = self.representation
        reasons = (*self.reasons, *(f"{d.name}: {d.why}" for d in self.dimensions if d.told))
        if reasons:
            made["why"] = "; ".join(reasons)
        return made


def represented(system: TransitionSystem, decided: Sufficiency) -> TransitionSystem:
    """The system that engines search: conditions that hold are made use of, else several entries are tracked.

    With ``FULL`` only those are written out that hold; ``engines.full`` searches it. Raises
    ``InputError`` for a model that no engine searches rightly.
    """
    holds, written = {c.name: c.holds for c in decided.conditions}, system if system.meeting else None
    for c in decided.conditions:
        if c.name == "H5" and not c.holds and (why := not_freely(system)):
            raise InputError(f"{system.model.name}: {c.reason}, and {why}", hint="entries may vanish at any time; say what is wrong about an entry that is cached")
    if holds.get("T1", True):
        system = replace(system, fills=tuple(_alone(f) for f in system.fills))
    if holds.get("T2", True):
        system = replace(
            system,
            steps=tuple(replace(s, bads=tuple(replace(b, when=in_slot(b.when, 1, 1)) for b in s.bads)) for s in system.steps),
            invariants=tuple(replace(b, when=in_slot(b.when, 1, 1)) for b in system.invariants),
        )
    if holds.get("T3", True):
        system = replace(system, steps=tuple(_by_a_walk(system, s) for s in system.steps))
    if not holds.get("H5", True):
        return freely(system)
    made = track(system, decided.entries) if decided.entries > 1 else system
    return replace(made, meeting=written is not None and decided.entries == FULL, written=written)


def undecided(system: TransitionSystem, reason: str) -> Sufficiency:
    """What is true without z3: where no rule can make entries meet one is enough, and a scope is what the model declares."""
    if system.cache is None:
        return without_entries(system)
    conditions = tuple(Condition(name, not system.meeting, reason if system.meeting else "") for name in ("T1", "T2", "T3"))
    return Sufficiency(FULL if system.meeting else 1, conditions, (*declared(system, reason), *of_the_model(Software(system))))


def without_entries(system: TransitionSystem) -> Sufficiency:
    """What a verdict covers that is about control alone."""
    return Sufficiency(1, (), of_the_model(Software(system)))


def of_the_model(software: Software) -> tuple[Dimension, ...]:
    """What the model's own scope may say of what is no entry: each word that it wants to be "any", and whether it is."""
    made = []
    model = software.whole.model
    for word, given in model.scope.items():
        if claimed := _claimed(given):
            made.append(Dimension(word, word, False, f"{claimed}, as the model says", "nothing says what would tell one from another", told=True))
        elif isinstance(given, Alone):
            why = software.depends_on_others()
            reason = f"{why} has to do with another CPU" if why else "no CPU has to do with another"
            made.append(Dimension(word, word, not why, (model.cpus,) if why else "any", reason, told=bool(why)))
        elif isinstance(given, Names):
            why = software.looks_into(given)
            made.append(Dimension(word, word, not why, given.shown() if why else "any", _asked(why, word), told=bool(why)))
        elif isinstance(given, Kinds):
            answers = (f for n in given.names for f in (software.looks_into(n), software.compares_names(n)))
            why = next(filter(None, answers), "") or software.members(given.types, given.names).told()
            made.append(Dimension(word, word, not why, given.shown() if why else "any", _asked(why, word), told=bool(why)))
    return tuple(made)


def _claimed(given: Any) -> str:
    """What a model's own word for a scope says of any number, if it does."""
    said = given if isinstance(given, str) else ", ".join(x for x in given if isinstance(x, str)) if isinstance(given, tuple | list) else ""
    return said if _ANY.search(said) else ""


def named_by_software(software: Software, d: Dimension) -> Dimension:
    """``d``, an entry's field, as it is where software or rules ask more of such values than whether two are the same."""
    cache = software.whole.cache
    v = next((v for v in software.whole.entry_fields if v.name == f"entry.{d.field}"), None)
    if cache is None or v is None or not d.any:
        return d
    names = cache.names.get(d.field)
    covers = named_values(v)
    if isinstance(v.type, EnumType):
        why = software.members((v.type,)).told(fields=(v.name,))
    elif names is not None:
        why, covers = software.looks_into(names, control=True), names.shown()
    else:
        why = software.looks_into_tag(v) if d.field == cache.tag else ""
    return replace(d, any=False, covers=covers, why=_asked(why, d.name), assumes="", told=True) if why else d


def _asked(why: str, word: str) -> str:
    return f"{why} asks more of {word} than whether two are the same" if why else f"nothing asks more of {word} than whether two are the same"


def declared(system: TransitionSystem, why: str) -> tuple[Dimension, ...]:
    """The values of each counted field, as the model declares them, and why that is all that is covered."""
    cache = system.cache
    assert cache is not None
    fields = {v.name.removeprefix("entry."): v for v in system.entry_fields}
    return tuple(Dimension(name, counted, False, named_values(fields[name]), why) for name, counted in cache.scope.items() if name in fields)


def as_they_are(system: TransitionSystem) -> Sufficiency:
    """What a verdict covers that rests on the literal caches: nothing is decided about entries, since nothing is assumed of them."""
    entries = declared(system, "the caches are searched as they are") if system.cache else ()
    return Sufficiency(FULL, (), (*entries, *of_the_model(Software(system))))


def named_values(v: Variable) -> tuple[int | str, ...]:
    """The declared values of a field for people: members by name, numbers as they are."""
    return tuple(v.type.show(x) if isinstance(v.type, EnumType) else x for x in v.domain or v.type.values())


def _alone(f: Fill) -> Fill:
    """A fill that no other entry changes, without them."""
    nobody = {n: FALSE for n in variables(f.when) if of_entry(n, 2) and n.endswith("]")}
    when = in_slot(substitute(f.when, nobody), 1, 1)
    return replace(f, when=when, reads=frozenset(variables(when)))


def _by_a_walk(system: TransitionSystem, s: Step) -> Step:
    """A step for which any usable entry will do: it takes one that a walk makes now, which is cached for certain."""
    return replace(s, guard=and_(s.guard, fillable(system, s)), used=()) if s.used else s


def fillable(system: TransitionSystem, s: Step) -> Expr:
    """A walk makes the entry that ``s`` uses, by itself, before the step."""
    fill = next(f for f in system.fills if f.cpu == s.cpu)
    return used_as_entry(system, s, _alone(fill).when)


def used_as_entry(system: TransitionSystem, s: Step, e: Expr) -> Expr:
    """A rule about an entry, of the one that ``s`` uses."""
    return substitute(e, dict(zip((v.name for v in system.entry_fields), s.used, strict=True)))


def other_choices(s: Step, mark: str) -> Mapping[str, Expr]:
    """The parameters by which ``s`` chooses the entry that it uses, under other names."""
    names = {n: v for e in s.used for n, v in variables(e).items()}
    return {n: var(f"{n}{mark}", v.type) for n, v in names.items()}
