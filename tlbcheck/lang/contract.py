"""Contracts of procedures: their most general caller, and what may stand in their place elsewhere."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, const, lift, var
from tlbcheck.lang.types import BoolType, EnumType, IntType, Type, WordType


@dataclass(frozen=True, eq=False)
class Contract:
    """``stand_in`` takes the place of ``procedure`` in a model, which so relies on what that ensures.

    ``shown_by`` names the model that shows it: one in which the most general caller calls the procedure
    itself, with the flags and procedures of the relying model wherever that goes; a version that it puts in
    the procedure's own place is the one that is relied on. A stand-in should do no more than the promise: what it drops besides, its callers' models
    would take for granted.
    """

    procedure: p.Procedure
    stand_in: p.Procedure
    shown_by: str


def most_general_caller(procedure: p.Procedure, *, domains: Mapping[str, Any] | None = None, role: str = "", name: str = "any_caller") -> p.Procedure:
    """A procedure that calls ``procedure`` once, with any arguments and in any state in which what it requires holds.

    ``domains`` gives the values of parameters that are words, and may narrow others: an enum class or
    a sequence of values. The state is whatever the model lets it be. Raises ``InputError`` for
    a domain that is missing, or has values that its parameter cannot take.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    place = Place(caller.f_code.co_filename, caller.f_lineno) if caller is not None else procedure.place
    given = dict(domains or {})
    values = {q.name: _values(procedure, q, given.pop(q.name, None), place) for q in procedure.parameters}
    if given:
        raise InputError(f"{procedure.name}() has no parameter '{next(iter(given))}'", place=place, hint=f"it takes ({', '.join(values)})")
    narrowed = [f"{q.name} one of {len(values[q.name])} values" for q in procedure.parameters if not _is_whole(q.type, values[q.name])]
    general = f"with {', '.join(narrowed)}" if narrowed else "with any arguments" if values else "at any time"

    def body() -> list[p.Statement]:
        chosen = [p.Choose(place=place, target=q.name, domain=values[q.name], type=q.type, label=q.name) for q in procedure.parameters]
        args = tuple(var(q.name, q.type) for q in procedure.parameters)
        return [*chosen, p.Call(place=place, procedure=procedure, args=args, target=None if procedure.result is None else "%result", general=general)]

    return p.Procedure(name, (), place, body, None, role, f"The most general caller of {procedure.name}().")


def _is_whole(type_: Type, values: Sequence[int]) -> bool:
    return not isinstance(type_, WordType) and set(values) == set(type_.values())


def _values(procedure: p.Procedure, q: p.Parameter, domain: Any, place: Place) -> tuple[int, ...]:
    """What the most general caller passes for a parameter."""
    if domain is None:
        if isinstance(q.type, BoolType | EnumType | IntType):
            return q.type.values()
        raise InputError(f"'{q.name}' of {procedure.name}() is a {q.type}: too many values to try them all", place=place, hint=f"say which: domains={{'{q.name}': (...)}}")
    listed = list(domain) if isinstance(domain, Sequence) or (isinstance(domain, type) and issubclass(domain, enum.Enum)) else None
    if not listed:
        raise InputError(f"the domain of '{q.name}' lists no values", place=place, hint="give an enum class or a sequence of values")
    return tuple(dict.fromkeys(_value(procedure, q, x, place) for x in listed))


def _value(procedure: p.Procedure, q: p.Parameter, x: Any, place: Place) -> int:
    try:
        value: Expr | None = lift(x, None if isinstance(q.type, EnumType) else q.type)
    except TypeError:
        value = None
    fits = value is not None and value.op == "const" and value.type == q.type
    if fits and isinstance(q.type, IntType) and value is not None:
        fits = q.type.low <= value.value <= q.type.high
    if fits and isinstance(q.type, WordType):
        fits = not isinstance(x, int) or const(x, q.type).value == x
    if not fits or value is None:
        raise InputError(f"'{q.name}' of {procedure.name}() is a {q.type} and cannot be {x!r}", place=place, hint="give values of the parameter's type")
    return int(value.value)
