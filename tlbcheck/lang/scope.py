"""What a scope counts besides cached entries, as data: ``system.names`` decides whether it may say "any".

A model names a few root tables, domains or PCIDs and means that they stand for any others. That is so
only if software and rules treat them as names. What a model declares here is looked into; a scope that
says "any" by itself is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlbcheck.lang.types import Type

_LISTED = 8


@dataclass(frozen=True, eq=False)
class Names:
    """Numbers that are names: what matters is whether two of them are the same, never which bits they have.

    ``mask`` is the field of a word in which one stands, ``values`` gives those of the model with what people
    call them. Wherever a word holds one of ``values`` in that field, it holds a name; so does each of
    ``registers`` (a register, or a field of an entry such as ``entry.tag``), and whatever is copied into one.
    A register's number says by how many bits the field stands further down there. 0 is no name: a word may hold
    it instead of one.

    ``chosen``: software chooses these numbers itself (PCIDs), so that it may compare with each of ``values``, 0
    among them; then only ``registers`` say which words hold one.
    """

    mask: int
    values: Mapping[int, str]
    registers: Mapping[str, int]
    chosen: bool = False

    def shown(self) -> tuple[str, ...]:
        """The values for people."""
        return tuple(name if self.chosen else f"{name} ({value:#x})" for value, name in self.values.items())


@dataclass(frozen=True, eq=False)
class Kinds:
    """Things of which a model has one or two of each kind, that stand for any number: domains, vCPUs.

    ``types`` are the enumerations whose members are such kinds, or things of them; the first is the one to name.
    Things that have ``names``, such as root tables, may be told apart by these as well; the model may give
    several things of one kind the same.
    """

    types: tuple[Type, ...]
    names: tuple[Names, ...] = ()

    def shown(self) -> tuple[str, ...]:
        """The kinds for people; how many, where a list would tell nobody anything."""
        values = self.types[0].values()
        return tuple(self.types[0].show(x) for x in values) if len(values) <= _LISTED else (f"one of each of {len(values)} kinds",)


@dataclass(frozen=True, eq=False)
class Alone:
    """CPUs of which each has to do with itself and the environment only, so that one stands for any number."""
