"""Whether software and rules ask of a thing only of which kind it is.

A model has one thing of each kind, a member of an enumeration, that stands for any number. Two things of one kind are
one member, so that a model takes them for the same. Which kind a thing is of may decide anything. This is told:

- Two that are held are compared. That a step needs them to be the same only adds runs (but where waiting is judged, as
  liveness does); a step that needs them to differ, or a value that is computed from whether they do, loses some.
- A thing has a number, by a table or by a choice with another number for each: another thing of its kind would have another.
- An array has one element for each kind: two of a kind would share it.

A table that takes each member to another one gives it a second name, and one that takes something to a member names it by
that: such types are looked at in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tlbcheck.lang.expr import Expr, evaluate, variables
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import EnumType, Type
from tlbcheck.system.same import is_number
from tlbcheck.system.sites import Site
from tlbcheck.system.slots import of_entry
from tlbcheck.system.transition_system import TransitionSystem


class Members:
    """The members of ``types`` in a system. Words that hold one of ``names`` are no numbers, since those are looked into themselves."""

    def __init__(self, system: TransitionSystem, sites: Sequence[Site], types: Iterable[Type], names: Sequence[Names] = ()) -> None:
        self.system, self.sites, self.names = system, sites, names
        self.tables = {e for site in sites for e in site.parts if e.op == "table"}
        self.types = set(types)
        before = 0
        while before != len(self.types):
            before = len(self.types)
            for e in self.tables:
                index = e.args[0].type
                if index in self.types and isinstance(e.type, EnumType) and len(set(e.value)) == len(e.value):
                    self.types.add(e.type)
                elif e.type in self.types and isinstance(index, EnumType):
                    self.types.add(index)

    def told(self, *, fields: Collection[str] = ()) -> str:
        """What asks more; empty if nothing does. Comparisons with a field of an entry among ``fields`` are left to others."""
        read = {v.name for v in self.system.control}
        for v in self.system.model.state_variables():
            if v.index in self.types and not read.isdisjoint(v.elements()):
                return f"{v.name}, which has one element for all of a kind,"
        for site in self.sites:
            needed = frozenset() if self.system.liveness else site.needed
            choices: set[Expr] = set()
            for e in site.parts:
                if self.is_choice(e, choices):
                    choices.add(e)
                if self.gives_number(e, choices) or (e not in needed and self.compares(e, fields)):
                    return site.what
        return ""

    def compares(self, e: Expr, fields: Collection[str]) -> bool:
        """Two held members are compared; or something is done with one that no model can do today."""
        held = [a for a in e.args if a.type in self.types and a.op != "const"]
        if not held or e.op in ("table", "ite") or (e.op == "eq" and len(held) == 1):
            return False
        return fields_of(e).isdisjoint(fields) if fields else True

    def gives_number(self, e: Expr, choices: Collection[Expr]) -> bool:
        """A number for each member: of a table, or of a choice; or a member for each number."""
        if e.op == "table":
            index = e.args[0].type
            return (index in self.types and is_number(e.type) and not self.are_names(e)) or (is_number(index) and e.type in self.types)
        if e not in choices:
            return False
        held = variables(e)
        (name, member), *others = held.items()
        if others or member.type not in self.types:
            return False
        assert member.type is not None
        values = member.type.values()
        return len({evaluate(e, {name: value}) for value in values}) == len(values) > 1

    def is_choice(self, e: Expr, choices: Collection[Expr]) -> bool:
        """Only constant numbers are chosen between."""
        return e.op == "ite" and is_number(e.type) and all(a.op == "const" or a in choices for a in e.args[1:])

    def are_names(self, table: Expr) -> bool:
        """Every value is one of the names, and all other bits are the same."""
        return any(len({v & ~n.mask for v in table.value}) == 1 and all(v & n.mask in n.values for v in table.value) for n in self.names)


def fields_of(e: Expr) -> set[str]:
    """The fields of entries in an expression, by the name that the first entry has for each."""
    return {f"entry.{n.partition('.')[2]}" for n in variables(e) if of_entry(n) and not n.endswith("]")}
