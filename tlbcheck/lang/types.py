"""Finite types of the language.

Every value is a Python ``int`` or ``bool`` at run time: an enum value is its position among the
members, a machine word is its unsigned bit pattern.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from tlbcheck.errors import InputError


@dataclass(frozen=True, slots=True)
class BoolType:
    def values(self) -> tuple[int, ...]:
        return (0, 1)

    def show(self, value: int) -> str:
        return "yes" if value else "no"

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class EnumType:
    name: str
    members: tuple[str, ...]

    def values(self) -> tuple[int, ...]:
        return tuple(range(len(self.members)))

    def show(self, value: int) -> str:
        return self.members[value] if 0 <= value < len(self.members) else f"#{value}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class IntType:
    """A bounded integer, ``low`` and ``high`` included; an assignment outside is a model error (NUM-3).

    Of an expression it is the exact range of what that can give: sums do not wrap.
    """

    low: int
    high: int

    @property
    def nearest_to_zero(self) -> int:
        """What a variable holds before anything is written to it (RUN-3)."""
        return max(self.low, min(0, self.high))

    def has(self, other: IntType) -> bool:
        """Every value of ``other`` is one of this."""
        return self.low <= other.low and other.high <= self.high

    def hull(self, other: IntType) -> IntType:
        """The smallest range that has the values of both."""
        return IntType(min(self.low, other.low), max(self.high, other.high))

    def values(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1))

    def show(self, value: int) -> str:
        return str(value)

    def __str__(self) -> str:
        return f"int {self.low}..{self.high}"


@dataclass(frozen=True, slots=True)
class WordType:
    """A machine word: arithmetic wraps at ``width`` bits, ``signed`` decides how words compare."""

    width: int
    signed: bool = False

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    def values(self) -> tuple[int, ...]:
        raise InputError(
            f"a {self} has too many values to enumerate",
            hint="choose from an enum, a Range or an explicit tuple of values",
        )

    def show(self, value: int) -> str:
        return hex(value)

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.width}"


Type = BoolType | EnumType | IntType | WordType

BOOL = BoolType()
U64 = WordType(64)
U32 = WordType(32)

# Annotations for parameters of procedures; type checkers see plain ``int``.
u64 = Annotated[int, U64]
u32 = Annotated[int, U32]


LARGEST = (1 << 31) - 1
"""The highest bound of a declared range; the lowest is its negative, less one (NUM-1)."""


def Range(low: int, high: int) -> Any:
    """The annotation of a bounded integer: ``n: Range(0, 3)``."""
    return Annotated[int, IntType(low, high)]


def require_range(type_: Type) -> None:
    """Raise ``InputError`` for a range that is empty or too large (NUM-1)."""
    if isinstance(type_, IntType):
        if any(not isinstance(x, int) or isinstance(x, bool) for x in (type_.low, type_.high)) or type_.low > type_.high:
            raise InputError(f"a range from {type_.low!r} to {type_.high!r} has no values", hint="give two integers, the lower one first")
        if type_.low < -LARGEST - 1 or type_.high > LARGEST:
            raise InputError(f"the range {type_.low}..{type_.high} goes beyond {-LARGEST - 1}..{LARGEST}", hint="use u32 or u64 for large numbers")


CPU = IntType(0, 15)
"""A CPU's number."""
Cpu = Annotated[int, CPU]


def enum_type(cls: type[enum.Enum]) -> EnumType:
    """The language's type of a Python enum; values are positions, not ``.value``."""
    return EnumType(cls.__name__, tuple(member.name for member in cls))


def ordinal(member: enum.Enum) -> int:
    """Position of ``member`` among the members of its class."""
    return list(type(member)).index(member)


def type_of(annotation: Any) -> Type:
    """The language's type for a Python annotation, an enum class or a type of this module.

    Raises ``InputError`` for anything else.
    """
    if isinstance(annotation, BoolType | EnumType | IntType | WordType):
        return annotation
    if annotation is bool:
        return BOOL
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return enum_type(annotation)
    if typing.get_origin(annotation) is Annotated:
        for extra in annotation.__metadata__:
            if isinstance(extra, BoolType | EnumType | IntType | WordType):
                return extra
    raise InputError(
        f"{annotation!r} is not a type of the language",
        hint="use bool, an enum class, u64, u32 or Range(low, high)",
    )
