"""What the fields of a declaration may hold, by the annotations of its class: a model is data that somebody else wrote."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.where import here

_TYPE = "type of the language"
_TYPES = ("BoolType", "EnumType", "IntType", "WordType")
_HINTS = {
    _TYPE: "write BOOL, U64, enum_type(...) or IntType(low, high)",
    "Event": "write enter(role), leave(role), operation(name) or Event(kind, name)",
    "Flag": "give the Flag itself",
    "bool": "write True or False",
    "tuple": "write (x,), with a comma",
}


def check_fields(declared: Any, name: str, place: Place | None = None) -> None:
    """Refuse a dataclass whose field holds another kind of thing than its annotation says.

    Raises ``InputError``, which calls ``declared`` by ``name``, at ``place`` or where it is declared.
    """
    kinds = _kinds(type(declared))
    for field in fields(declared):
        if (found := _misfit(getattr(declared, field.name), kinds[field.name])) is not None:
            value, kind = found
            kind = _TYPE if kind in _TYPES else kind
            shown = next((n for a in ("__name__", "name") if isinstance(n := getattr(value, a, None), str)), "")
            shown = shown or (f"one {type(value).__name__}" if is_dataclass(value) else repr(value))
            raise InputError(f"'{field.name}' of {name} holds {shown}, which is no {kind}", place=place or here(), hint=_HINTS.get(kind, ""))


_known: dict[type, dict[str, Any]] = {}


def _kinds(cls: type) -> dict[str, Any]:
    if cls not in _known:
        _known[cls] = typing.get_type_hints(cls)
    return _known[cls]


def _misfit(value: Any, kind: Any) -> tuple[Any, str] | None:
    """The part of ``value`` that is not of this kind, and what it should be; None if all is."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if origin in (typing.Union, types.UnionType):
        return _of_one(value, parts)
    if origin is Callable or kind is Callable:
        return None if callable(value) else (value, "function")
    if origin is None:
        return None if _is(value, kind) else (value, kind.__name__)
    if not _is(value, origin):
        return value, origin.__name__.lower()
    if issubclass(origin, Mapping):
        return _first((x, part) for pair in value.items() for x, part in zip(pair, parts, strict=True))
    if origin is tuple and parts[-1] is not Ellipsis:
        if len(value) != len(parts):
            return value, f"tuple of {len(parts)}"
        return _first(zip(value, parts, strict=True))
    return _first((x, parts[0]) for x in value)


def _of_one(value: Any, kinds: Sequence[Any]) -> tuple[Any, str] | None:
    found = [_misfit(value, k) for k in kinds]
    if None in found:
        return None
    # Of an optional field the fault within what was given says more than that it is not None.
    return next(f for f, k in zip(found, kinds, strict=True) if f is not None and k is not type(None))


def _first(parts: typing.Iterable[tuple[Any, Any]]) -> tuple[Any, str] | None:
    return next((found for x, kind in parts if (found := _misfit(x, kind)) is not None), None)


def _is(value: Any, kind: type) -> bool:
    """``True`` and ``False`` are numbers to Python; as a number of CPUs they are a slip."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
