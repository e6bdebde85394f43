"""An inductive invariant as plain data: what is never reached together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

Bit = tuple[str, int, int]
"""A bit of a variable (its name, the position in the whole word) and its value."""
Never = tuple[Bit, ...]
"""No reachable state has all of these."""


@dataclass(frozen=True)
class Invariant:
    """``constant``: for each variable a mask and what its bits under the mask always are."""

    constant: tuple[tuple[str, int, int], ...]
    never: tuple[Never, ...]


def system_for(system: TransitionSystem, goals: frozenset[str]) -> TransitionSystem:
    """The system as far as ``goals`` depend on it: the bads of other properties and what only they need are gone."""
    steps = tuple(replace(s, bads=tuple(b for b in s.bads if b.property in goals)) for s in system.steps)
    return slice_system(replace(system, steps=steps, invariants=tuple(b for b in system.invariants if b.property in goals)))
