"""Every place in which a system computes something, with words for it: what software does, and what rules say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tlbcheck.lang.expr import Expr, nodes
from tlbcheck.system.transition_system import Step, TransitionSystem


@dataclass(frozen=True)
class Site:
    """Expressions that are evaluated together: ``updates`` of variables, what is ``judged`` of the state, and ``checks`` of the model; ``what`` says where."""

    what: str
    step: Step | None
    updates: Mapping[str, Expr]
    judged: tuple[Expr, ...]
    checks: tuple[Expr, ...] = ()

    @property
    def expressions(self) -> tuple[Expr, ...]:
        return (*self.updates.values(), *self.judged, *self.checks)

    @property
    def control(self) -> tuple[Expr, ...]:
        """What software does."""
        return (*self.updates.values(), self.step.guard) if self.step else ()

    @cached_property
    def parts(self) -> tuple[Expr, ...]:
        """Every part of what is updated and judged, once: operands before what they are in."""
        found: dict[Expr, None] = {}
        for e in (*self.updates.values(), *self.judged):
            found.update(dict.fromkeys(nodes(e, found)))
        return tuple(found)

    @cached_property
    def needed(self) -> frozenset[Expr]:
        """Conditions under which the step happens, as opposed to those under which it does not."""
        return frozenset(_needed(self.step.guard)) if self.step else frozenset()


def sites(system: TransitionSystem, *, control: bool = False) -> Iterator[Site]:
    """Everything that is computed; of ``control`` alone, what software does and what is judged, not which entries come and go."""
    for s in (*system.initial, *system.steps):
        place = f" at {Path(s.places[0].file).name}:{s.places[0].line}" if s.places else ""
        what = f"the step '{s.action}'{place}"
        if control:
            yield Site(what, s, s.updates, (s.guard, *(b.when for b in s.bads)))
        else:
            yield Site(what, s, s.updates, (s.guard, *s.entry_updates.values(), *(b.when for b in s.bads), *s.used), tuple(c.holds for c in s.checks))
    if not control:
        for f in system.fills:
            yield Site("what a walk caches", None, {}, (f.when, *f.updates.values()))
        yield Site("what can be cached at the start", None, {}, tuple(system.entry_initial.values()))
        yield Site("what init marks", None, {}, tuple(system.entry_marked.values()))
        yield Site("which entries there can be", None, {}, (system.possible,))
    for b in (*system.invariants, *system.liveness):
        yield Site(f"{b.property} ({b.clause})", None, {}, (b.when,))


def _needed(e: Expr) -> Iterator[Expr]:
    """The conditions that make ``e`` true, if anything, by holding."""
    if e.op in ("and", "or"):
        for a in e.args:
            yield from _needed(a)
    else:
        yield e
