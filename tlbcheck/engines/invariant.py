"""An inductive invariant as plain data: what is never reached together, or the set of all that is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

Bit = tuple[str, int, int]
"""A bit of a variable (its name, the position in the whole word) and its value."""
Never = tuple[Bit, ...]
"""No reachable state has all of these."""


@dataclass(frozen=True)
class Invariant:
    """``constant``: for each variable a mask and what its bits under the mask always are; ``equal``: masks of bits that are always equal."""

    constant: tuple[tuple[str, int, int], ...]
    equal: tuple[tuple[str, int], ...]
    never: tuple[Never, ...]


@dataclass(frozen=True)
class StateSet:
    """A set of states as a decision diagram.

    ``values``: each variable with the values that it may have; a bit of it that ``nodes`` ask for is a
    bit of the value's position there. A node is a variable, the number of that bit, and the nodes to go on with
    where it is 1 and where it is 0. They are counted from 2, each behind those that it leads to; 0 is nothing, 1 everything.
    """

    values: tuple[tuple[str, tuple[int, ...]], ...]
    nodes: tuple[tuple[str, int, int, int], ...]
    root: int

    def holds(self, state: Mapping[str, int]) -> bool:
        """Whether the set has the state that gives all variables these values."""
        position = {}
        for name, values in self.values:
            if state[name] not in values:
                return False
            position[name] = values.index(state[name])
        at = self.root
        while at > 1:
            name, bit, yes, no = self.nodes[at - 2]
            at = yes if position[name] >> bit & 1 else no
        return at == 1


def system_for(system: TransitionSystem, goals: frozenset[str]) -> TransitionSystem:
    """The system as far as ``goals`` depend on it: the bads of other properties and what only they need are gone."""
    steps = tuple(replace(s, bads=tuple(b for b in s.bads if b.property in goals)) for s in system.steps)
    return slice_system(replace(system, steps=steps, invariants=tuple(b for b in system.invariants if b.property in goals)))
