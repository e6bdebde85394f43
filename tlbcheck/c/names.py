"""What the names in a function mean: what a reader of its body asks the unit that the function belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tlbcheck.c.preprocess import Dependency
from tlbcheck.c.profile import CallEntry, PlaceEntry
from tlbcheck.c.syntax import Syntax
from tlbcheck.c.text import Token
from tlbcheck.c.values import CType, Value
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.source import Source
from tlbcheck.lang.types import Type


class UnknownName(InputError):
    """``name``, a plain identifier, is not known: no local, no constant, no macro that was read, nothing of the profile."""

    def __init__(self, name: str, message: str, *, place: Place, hint: str) -> None:
        super().__init__(message, place=place, hint=hint)
        self.name = name


@dataclass(frozen=True)
class Signature:
    """What a declaration says of a function."""

    name: str
    result: CType
    parameters: tuple[tuple[str, CType], ...]


@dataclass(frozen=True)
class Followed:
    """A function that was read; ``given`` if the profile defines it and not the file, ``outside`` if another file does."""

    procedure: p.Procedure
    given: bool
    outside: bool = False


@dataclass(frozen=True)
class Constant:
    """The value of an enumeration constant, and what it depends on."""

    value: Value
    depends: frozenset[Dependency]


class Names(Protocol):
    """The unit of a function."""

    assumed: frozenset[str]

    def call(self, name: str) -> CallEntry | None: ...
    def variable(self, name: str) -> PlaceEntry | None: ...
    def constant(self, name: str) -> Constant | None: ...
    def copy_of(self, operation: p.Operation) -> PlaceEntry | None: ...
    def defines(self, name: str) -> bool: ...
    def is_changed(self, name: str) -> bool: ...
    def unreadable(self, name: str, place: Place) -> InputError | None: ...

    def stands_for(self, name: str, entry: CallEntry) -> None: ...
    def signature(self, name: str, place: Place) -> Signature: ...
    def declaration(self, source: Source, what: str) -> Signature: ...
    def fragment(self, text: str, what: str, at: Token, origin: Place) -> Syntax: ...
    def follow(self, name: str, kinds: tuple[Type | None, ...], place: Place) -> Followed: ...
