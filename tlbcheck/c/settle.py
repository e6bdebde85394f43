"""What nothing that was read answers, and whether the answer matters to a function.

A name that nothing defines may be defined in a header. A function is read under every answer to what is
open; where all readings do the same, nothing hangs on it. Where they do not, the name is looked up, and
refused where that fails: it never decides unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from tlbcheck.c.names import UnknownName
from tlbcheck.c.preprocess import Dependency, Macro
from tlbcheck.c.unit import CUnit
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.expr import Expr
from tlbcheck.lang.program import CaseVar, Flag, Operation, Procedure, StateVar

_READINGS = 64
"""So many readings of one function are compared at most."""
_NAMES = 24
"""So many names are looked up for one function at most."""

Settled = tuple[tuple[Macro, frozenset[Dependency]], ...]
Read = Callable[[Mapping[str, bool], Settled], CUnit]
Ask = Callable[[CUnit], Procedure]
LookUp = Callable[[str, Place, Settled], tuple[Macro, frozenset[Dependency]]]


def settle(names: Sequence[str], read: Read, ask: Ask, look_up: LookUp) -> tuple[CUnit, Procedure]:
    """The unit that ``read`` gives and the procedure that ``ask`` takes out of it, once nothing unknown decides what the function does, which is one of ``names``.

    ``look_up`` finds the definition of a name that decides at a place, or raises ``InputError`` with the
    reason why not. Raises ``InputError`` naming what decides and cannot be found, and what else ``ask`` raises.
    """
    settled: Settled = ()
    while True:
        readings = _Readings(names, read, ask, settled)
        try:
            readings.same({})
            unit = readings.unit({})
            return unit, ask(unit)
        except _Decides as decides:
            name, place = decides.open.name, decides.open.place
            if len(settled) >= _NAMES:
                raise _refused(readings.function, decides.open, "too many names would have to be looked up") from None
            try:
                settled = (*settled, look_up(name, place, settled))
            except InputError as error:
                raise _refused(readings.function, decides.open, error.message) from None
        except UnknownName as error:
            if error.place is None or len(settled) >= _NAMES:
                raise
            try:
                settled = (*settled, look_up(error.name, error.place, settled))
            except InputError:
                raise error from None


def _refused(function: str, open_: Dependency, why: str) -> InputError:
    asked = f"whether {open_.name} is defined" if open_.question == open_.name else f"the value of {open_.name} ('{open_.question}')"
    return InputError(f"{asked} decides what {function} does, and nothing that was read says so: {why}", place=open_.place, hint=_ways_out(open_))


def _ways_out(open_: Dependency) -> str:
    value = "" if open_.question == open_.name else "=VALUE"
    return f"give -D {open_.name}{value} or -U {open_.name}, or the tree with the header that defines it (--tree DIR)"


class _Decides(Exception):
    """The answer to ``open`` decides what the function does."""

    def __init__(self, open_: Dependency) -> None:
        self.open = open_


@dataclass(eq=False)
class _Readings:
    """What a function does under each answer to what is open."""

    names: Sequence[str]
    read: Read
    ask: Ask
    settled: Settled
    known: dict[frozenset[tuple[str, bool]], tuple[CUnit, Any]] = field(default_factory=dict)

    @property
    def function(self) -> str:
        unit = self.unit({})
        return next((n for n in self.names if n in unit.functions), " or ".join(self.names))

    def unit(self, answers: Mapping[str, bool]) -> CUnit:
        return self.reading(answers)[0]

    def reading(self, answers: Mapping[str, bool]) -> tuple[CUnit, Any]:
        """The unit, and what the function does: a value that is equal for equal doings, an error among them."""
        key = frozenset((question, True) for question, answer in answers.items() if answer)  # not so is how it is read anyway
        if key not in self.known:
            unit = self.read({question: True for question, _ in key}, self.settled)
            try:
                does: Any = fingerprint(self.ask(unit))
            except InputError as error:
                does = str(error)
            self.known[key] = unit, does
        return self.known[key]

    def same(self, answers: Mapping[str, bool]) -> Any:
        """What the function does whatever the answers are that are still open. Raises ``_Decides`` where that differs."""
        unit, does = self.reading(answers)
        open_ = next((d for d in unit.open(self.names) if d.question not in answers), None)
        if open_ is None:
            return does
        if len(self.known) >= _READINGS:
            raise InputError(f"too many names of which nothing is known may decide what {self.function} does, {open_.name} among them", place=open_.place, hint=_ways_out(open_))
        no = self.same({**answers, open_.question: False})
        yes = self.same({**answers, open_.question: True})
        if no != yes:
            raise _Decides(open_)
        return no


@dataclass(frozen=True, eq=False)
class _Expression:
    expr: Expr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Expression) and self.expr is other.expr

    def __hash__(self) -> int:
        return id(self.expr)


def fingerprint(procedure: Procedure) -> Any:
    """What a procedure does, without the places where it is written: equal for procedures that do the same."""
    known: dict[Procedure, Any] = {}

    def of(value: Any) -> Any:
        match value:
            case Procedure():
                if value not in known:
                    known[value] = (value.name, value.parameters, value.result, value.role, value.ensures, of([*value.requires, *value.body]))
                return known[value]
            case Expr():  # there is one object for each expression, and its == makes another one
                return _Expression(value)
            case Operation() | StateVar() | CaseVar() | Flag() | Place():
                return value
            case list() | tuple():
                return tuple(of(v) for v in value)
            case _ if is_dataclass(value) and not isinstance(value, type):
                return (type(value).__name__, *(of(getattr(value, f.name)) for f in fields(value) if f.init and f.name != "place"))
        return value

    return of(procedure)
