"""What declarations are made of: types, variables, procedures, operations; and what may be written where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

RANGES = ((0, 2), (1, 3), (-2, 0), (-3, -2), (0, 1), (2, 4), (-1, 1), (0, 3))
WORDS = (0, 1, 2, 3, 0x80, 0xFF, 1 << 31, (1 << 32) - 1)
EQUAL = (0, 0x0F, 0xF0, 0xFF)
"""Words of two times four bits that are always the same."""


@dataclass(frozen=True)
class Kind:
    """A type as the text writes it: ``note`` as an annotation, ``data`` as the type of an expression."""

    note: str
    data: str
    low: int = 0
    high: int = 0

    @property
    def is_range(self) -> bool:
        return self.note.startswith("Range")

    @property
    def is_word(self) -> bool:
        return self.note in ("u32", "u64")


BOOL = Kind("bool", "BOOL")
ENUMS = (Kind("E", "enum_type(E)", 0, 2), Kind("F", "enum_type(F)", 0, 1))
U32, U64 = Kind("u32", "U32"), Kind("u64", "U64")
MEMBERS = {"E": ("E.a", "E.b", "E.c"), "F": ("F.p", "F.q")}


def ranged(low: int, high: int) -> Kind:
    return Kind(f"Range({low}, {high})", f"IntType({low}, {high})", low, high)


@dataclass(frozen=True)
class Var:
    name: str
    kind: Kind
    place: str  # shared, cpu, array
    index: Kind | None = None
    register: bool = False


@dataclass(frozen=True)
class Proc:
    name: str
    parameters: tuple[tuple[str, Kind], ...]
    result: Kind | None
    role: str


@dataclass(frozen=True)
class Op:
    name: str
    operands: tuple[tuple[str, Kind], ...]
    result: Kind | None


@dataclass
class Scope:
    """What may be written here: which locals there are, whether steps are made, and on which CPU."""

    locals: dict[str, Kind]
    steps: bool = True
    cpu: bool = True
    calls: bool = True
    result: Kind | None = None
    atomic: bool = False
    temporaries: list[int] = field(default_factory=lambda: [0])

    def copy(self, **changes: object) -> Scope:
        made = Scope(dict(self.locals), self.steps, self.cpu, self.calls, self.result, self.atomic, self.temporaries)
        for name, value in changes.items():
            setattr(made, name, value)
        return made


def eq_text(name: str, kind: Kind, values: Sequence[int]) -> str:
    return f"eq(var('entry.{name}', {kind.data}), const({values[0]}, {kind.data}))"


def element(v: Var, index: int) -> str:
    """The name of an array's element in rules."""
    assert v.index is not None
    if v.index is BOOL:
        return f"{v.name}[{'yes' if index else 'no'}]"
    if v.index.note in MEMBERS:
        return f"{v.name}[{MEMBERS[v.index.note][index].partition('.')[2]}]"
    return f"{v.name}[{index}]"


def indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
