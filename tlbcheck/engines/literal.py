"""The engines of the literal caches, which assume nothing about entries: by name, within limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tlbcheck.engines.full import explore_full
from tlbcheck.engines.packed import Packed, Progress
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import InternalError
from tlbcheck.system.transition_system import TransitionSystem

LITERAL = ("full", "sets")
_SMALL = 20_000
"""Up to so many states the search in Python has ended before tables would be made."""
_FEW = 16
LARGE = 10_000
"""Control states after which tables are tried instead of Python, where an entry is tracked and no cases are told apart."""


def suits_tables(system: TransitionSystem) -> bool:
    """Whether a tracked entry may be searched by tables, and is better off: cases and infinite runs need the graph, and each entry is searched anew."""
    return system.model.case is None and not system.liveness and len(list(itertools.islice(system.entries(), _FEW + 1))) <= _FEW


def explore_literally(
    engine: str,
    system: TransitionSystem,
    *,
    max_states: int | None,
    max_bytes: int,
    threads: int,
    symmetry: bool,
    progress: Callable[[Progress], None] | None = None,
) -> EngineResult:
    """Every state of ``system`` with free fills and evictions, by the engine of that name."""
    if engine == "full":
        return Packed(system, max_states=max_states, max_bytes=max_bytes, threads=threads, symmetry=symmetry, progress=progress).run()
    from tlbcheck.engines.sets import Sets

    return Sets(system, max_bytes=max_bytes, progress=progress).run()


def explore_saturated(system: TransitionSystem, *, max_states: int | None, max_bytes: int, threads: int) -> EngineResult:
    """Every state with saturated fills: in Python where that ends soon, else by tables where these can be made."""
    found = explore_full(system, fills="saturated", limit=min(_SMALL, max_states or _SMALL))
    if found.complete or (max_states is not None and max_states <= _SMALL):
        return found
    packed = Packed(system, fills="saturated", max_states=max_states, max_bytes=max_bytes, threads=threads, to_the_end=True)
    result = packed.run()
    return result if packed.grounded else explore_full(system, fills="saturated", limit=max_states)


def explore_tracked(system: TransitionSystem, *, max_states: int | None, max_bytes: int, threads: int, symmetry: bool, progress: Callable[[Progress], None] | None = None) -> EngineResult | None:
    """What ``engines.explicit`` finds, by tables: entry after entry, each with saturated fills. None if there are no tables for it.

    For control states by the hundred thousand, where Python takes minutes; no cases are told apart.
    """
    system.require_apart()
    whole = EngineResult("explicit", complete=True, bound=0, states=0, transitions=0, cached_entries=None)
    shortest: dict[tuple[str, str], Violation] = {}
    for entry in list(system.entries()) or [{}]:
        left = None if max_states is None else max(1, max_states - (whole.states or 0))
        search = Packed(system, fills="saturated", tracked=entry, max_states=left, max_bytes=max_bytes, threads=threads, symmetry=symmetry, to_the_end=True, progress=progress)
        found = search.run()
        if not search.grounded:
            return None
        whole.states = (whole.states or 0) + (found.states or 0)
        whole.transitions = (whole.transitions or 0) + (found.transitions or 0)
        whole.bound = max(whole.bound, found.bound)
        whole.steps_fired |= found.steps_fired
        for event, n in found.fired.items():
            whole.fired[event] = whole.fired.get(event, 0) + n
        for v in found.violations:
            known = shortest.setdefault((v.property, v.clause), v)
            if v.depth < known.depth:
                shortest[v.property, v.clause] = v
        if found.reason:
            whole.complete, whole.reason = False, found.reason
            break
    whole.violations = list(shortest.values())
    return whole


def agree(model: str, results: list[EngineResult]) -> None:
    """Raises ``InternalError`` naming both sides if two finished searches differ in a verdict or a depth."""
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            for name in {v.property for r in (one, other) for v in r.violations}:
                a, b = one.shortest(name), other.shortest(name)
                if a and b and a.depth != b.depth:
                    raise InternalError(f"{model}, {name}: {one.engine} finds a violation at depth {a.depth}, {other.engine} at depth {b.depth}")
                for found, r in ((a, other), (b, one)):
                    if found and not r.shortest(name) and r.verdict(name) != "unknown" and (r.complete or r.bound >= found.depth):
                        raise InternalError(f"{model}, {name}: a violation at depth {found.depth} is found by one engine, {r.engine} finds none")
