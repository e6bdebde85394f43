"""The literal caches as a transition system of their own, for what knows of no caches.

Each entry's variables become variables of the state; a fill or an eviction of one entry is a step.
Whatever reads a transition system can then be asked about the literal caches: the obligations of a
certificate, above all, which so stand on the same encoding as those of one tracked entry. Depths
mean nothing here, since a fill counts as a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tlbcheck.engines.compile import content_bit
from tlbcheck.engines.full import literal
from tlbcheck.lang.expr import Expr, and_, const, eq, not_, or_, substitute, var, variables
from tlbcheck.lang.types import BOOL
from tlbcheck.system.transition_system import Bad, Parameter, Step, TransitionSystem


def unrolled(system: TransitionSystem) -> TransitionSystem:
    """``system`` without a cache: the entries' variables are named by ``content_bit``."""
    return _Unrolling(literal(system)).made() if system.cache is not None else system


class _Unrolling:
    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.entries = list(system.entries())
        types = {v.name: v.type for v in system.entry_fields}
        self.names: list[Mapping[str, Expr]] = [
            {n: const(x, types[n]) for n, x in entry.items()} | {v.name: var(content_bit(v.name, i), v.type) for v in system.entry_variables} for i, entry in enumerate(self.entries)
        ]
        self.memos: list[dict[Expr, Expr]] = [{} for _ in self.entries]

    def made(self) -> TransitionSystem:
        system = self.system
        steps = [self.step(s) for s in system.steps]
        for index, (name, cpu, guard, updates) in enumerate(self.by_themselves(), len(steps)):
            steps.append(Step(index, name, name, cpu, "task", "cache", (), (), (), guard, updates, {}, (), ()))
        return replace(
            system,
            model=replace(system.model, cache=None),
            control=(*system.control, *(replace(v, name=content_bit(v.name, i)) for i in range(len(self.entries)) for v in system.entry_variables)),
            entry_fields=(),
            entry_variables=(),
            entry_initial={},
            entry_marked={},
            initial=tuple(self.start(s) for s in system.initial),
            steps=tuple(steps),
            fills=(),
            invariants=tuple(self.bad(b) for b in system.invariants),
            cached={},
            meanings={},
            meeting=False,
        )

    def own(self, e: Expr, i: int) -> Expr:
        """A rule about an entry, of entry ``i``."""
        return substitute(e, self.names[i], self.memos[i])

    def bad(self, b: Bad) -> Bad:
        """Bad if it is of some entry."""
        return replace(b, when=or_(*(self.own(b.when, i) for i in range(len(self.entries)))) if self.of_entries(b.when) else b.when)

    def of_entries(self, e: Expr) -> bool:
        mine = {v.name for v in (*self.system.entry_fields, *self.system.entry_variables)}
        return not mine.isdisjoint(variables(e))

    def step(self, s: Step) -> Step:
        guard = s.guard
        if s.used:
            assert s.cpu is not None
            cached = self.system.cached[s.cpu]
            through = (
                and_(*(eq(e, const(entry[f.name], f.type)) for e, f in zip(s.used, self.system.entry_fields, strict=True)), var(content_bit(cached, i), BOOL)) for i, entry in enumerate(self.entries)
            )
            guard = and_(guard, or_(*through))
        content = {content_bit(n, i): self.own(e, i) for n, e in s.entry_updates.items() for i in range(len(self.entries))}
        return replace(s, guard=guard, updates={**s.updates, **content}, entry_updates={}, bads=tuple(self.bad(b) for b in s.bads), used=())

    def start(self, s: Step) -> Step:
        """A start with any content that it allows."""
        fixed = {v.name: const(v.initial, v.type) for v in self.system.control if v.name not in self.system.rigid} | dict(s.updates)
        content: dict[str, Expr] = {}
        chosen: list[Parameter] = []
        for name, allowed in self.system.entry_initial.items():
            for i in range(len(self.entries)):
                bit = content_bit(name, i)
                may = substitute(self.own(allowed, i), fixed)
                q = Parameter(f"content{len(chosen)}", BOOL, (0, 1), "")
                content[bit] = and_(var(q.name, BOOL), may)
                chosen.append(q)
        for name, marked in self.system.entry_marked.items():
            content |= {content_bit(name, i): substitute(self.own(marked, i), fixed) for i in range(len(self.entries))}
        return replace(s, parameters=(*s.parameters, *chosen), updates={**s.updates, **content})

    def by_themselves(self) -> Iterator[tuple[str, int, Expr, dict[str, Expr]]]:
        """What caches do: any entry that a walk can make now may come, and any may go."""
        for f in self.system.fills:
            cached, prefix = self.system.cached[f.cpu], f"cpu{f.cpu}."
            for i in range(len(self.entries)):
                bit = var(content_bit(cached, i), BOOL)
                yield f"fill {i}", f.cpu, and_(self.own(f.when, i), not_(bit)), {content_bit(n, i): self.own(e, i) for n, e in f.updates.items()}
                yield f"eviction {i}", f.cpu, bit, {content_bit(v.name, i): const(v.initial, v.type) for v in self.system.entry_variables if v.name.startswith(prefix)}
