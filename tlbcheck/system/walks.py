"""Walks and evictions as free choices of each step, for properties that ask that something is not cached.

Engines let every walk happen at once and no entry go (``engines.growth``): of what only grows with what is cached that is
enough. Of anything else it is not: an entry that was not there at one step may be there at the next, or the other way round. So
here the tracked entry does what it likes on each CPU before each step, and all that is judged in a state is judged after it
did so once more. What an entry can do between two steps comes to four things, whatever the order (CACHE-3, CACHE-4, GHOST-2):
it stays as it is; it comes, if it is not there; it goes, perhaps having come for that, and its marks with it; it goes and comes back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, eq, ite, not_, or_, substitute, var, variables
from tlbcheck.lang.types import BOOL, IntType
from tlbcheck.system.transition_system import Bad, Fill, Parameter, Step, TransitionSystem

STAYS, COMES, GOES, RETURNS = range(4)
_CHOICE = IntType(STAYS, RETURNS)
_CPUS = 2
"""Of more CPUs each step would have too many choices."""


def choice_name(cpu: int) -> str:
    """The parameter of a step that says what the entry does on a CPU before it."""
    return f"%walk{cpu}"


def not_freely(system: TransitionSystem) -> str:
    """Why walks cannot be made free choices, in words; empty if they can."""
    if system.meeting or system.slots > 1:
        return "entries may depend on each other"
    if len(system.fills) > _CPUS:
        return f"there are more than {_CPUS} CPUs"
    if system.entry_marked:
        return "init marks entries"
    if any(name not in _own(system, f.cpu) for f in system.fills for name in f.updates):
        return "a walk on one CPU marks an entry of another"
    return ""


def freely(system: TransitionSystem) -> TransitionSystem:
    """``system`` with what the tracked entry does by itself in parameters of its steps; ``not_freely`` has to be empty."""
    chosen = {f.cpu: var(choice_name(f.cpu), _CHOICE) for f in system.fills}
    parameters = tuple(Parameter(choice_name(cpu), _CHOICE, tuple(range(RETURNS + 1)), choice_name(cpu)) for cpu in chosen)
    before: dict[str, Expr] = {}
    for f in system.fills:
        before |= _after(system, f, chosen[f.cpu])

    def step(s: Step) -> Step:
        entries = {v.name: substitute(s.entry_updates.get(v.name, var(v.name, v.type)), before) for v in system.entry_variables}
        bads = tuple(replace(b, when=substitute(b.when, before)) for b in s.bads)
        return replace(s, entry_updates=entries, bads=bads, parameters=(*s.parameters, *parameters))

    return replace(
        system,
        steps=tuple(s if s.checks else step(s) for s in system.steps),
        invariants=tuple(replace(b, when=or_(*_whatever_it_does(system, b))) for b in system.invariants),
        fills=tuple(replace(f, when=FALSE, reads=frozenset()) for f in system.fills),
        free_walks={f.cpu: f.when for f in system.fills},
    )


def _own(system: TransitionSystem, cpu: int) -> dict[str, Expr]:
    """The entry's variables on a CPU, with what they are when it went."""
    return {v.name: const(v.initial, v.type) for v in system.entry_variables if v.name.startswith(f"cpu{cpu}.")}


def _after(system: TransitionSystem, f: Fill, choice: Expr) -> Mapping[str, Expr]:
    """The entry's variables on a CPU, after it did what ``choice`` says; what is not possible changes nothing."""
    cached, gone = var(system.cached[f.cpu], BOOL), _own(system, f.cpu) | {system.cached[f.cpu]: FALSE}

    def when(what: int, *conditions: Expr) -> Expr:
        return and_(eq(choice, const(what, _CHOICE)), *conditions)

    comes, goes, returns = when(COMES, not_(cached), f.when), when(GOES, or_(cached, f.when)), when(RETURNS, f.when)
    after = {}
    for name, at_first in gone.items():
        now = var(name, at_first.type)
        walked = TRUE if name == cached.value else f.updates.get(name, now)
        after[name] = ite(comes, walked, ite(goes, at_first, ite(returns, substitute(walked, gone), now)))
    return after


def _whatever_it_does(system: TransitionSystem, b: Bad) -> Iterator[Expr]:
    """What is bad in a state, after each thing that the entry can do on the CPUs that are looked at."""
    asked = [f for f in system.fills if not _own(system, f.cpu).keys().isdisjoint(variables(b.when))]
    for choices in itertools.product(range(RETURNS + 1), repeat=len(asked)):
        after: dict[str, Expr] = {}
        for f, choice in zip(asked, choices, strict=True):
            after |= _after(system, f, const(choice, _CHOICE))
        yield substitute(b.when, after)
