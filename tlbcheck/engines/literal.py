"""The engines of the literal caches, which assume nothing about entries: by name, within limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from operator import itemgetter

from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.ground import TooLarge
from tlbcheck.engines.packed import Packed, Progress, events, steps_of
from tlbcheck.engines.symmetry import Renaming, isomorphism
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import InternalError
from tlbcheck.system.transition_system import TransitionSystem

_SMALL = 20_000
"""Up to so many states the search in Python has ended before tables would be made."""
_FEW = 16
LARGE = 10_000
"""Control states after which tables are tried instead of Python, where an entry is tracked and no cases are told apart."""


_LOCAL = 256
"""States of one CPU's own, among ``LARGE`` ones, from which on tables are not tried: they would be too large."""


def combines_few(search: Tracked) -> bool:
    """Whether what was visited are combinations of few states of each CPU: only then are tables small."""
    own: dict[str, list[int]] = {}
    for i, name in enumerate(search.compiled.variables):
        head, dot, _ = name.partition(".")
        own.setdefault(head if dot and head.startswith("cpu") else "", []).append(i)
    return all(len(set(map(itemgetter(*places), search.reached))) <= _LOCAL for cpu, places in own.items() if cpu)


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
    certify: float = 0.0,
) -> EngineResult:
    """Every state of ``system`` with free fills and evictions, by the engine of that name.

    ``certify``: seconds in which z3 may show that the reachable set of engine sets is one; 0: it is not asked.
    """
    if engine == "full":
        return Packed(system, max_states=max_states, max_bytes=max_bytes, threads=threads, symmetry=symmetry, progress=progress).run()
    from tlbcheck.engines.sets import Sets

    sets = Sets(system, max_bytes=max_bytes, progress=progress)
    found = sets.run()
    if certify and found.complete:
        sets.certify(found, seconds=certify, memory=max_bytes)
    return found


def explore_saturated(system: TransitionSystem, *, max_states: int | None, max_bytes: int, threads: int, symmetry: bool) -> EngineResult:
    """Every state with saturated fills: in Python where that ends soon, else by tables where these can be made."""
    found = explore_full(system, fills="saturated", limit=min(_SMALL, max_states or _SMALL), max_bytes=max_bytes)
    if found.complete or (max_states is not None and max_states <= _SMALL):
        return found
    packed = Packed(system, fills="saturated", max_states=max_states, max_bytes=max_bytes, threads=threads, symmetry=symmetry, to_the_end=True)
    result = packed.run()
    return result if packed.grounded else explore_full(system, fills="saturated", limit=max_states, max_bytes=max_bytes)


def explore_tracked(system: TransitionSystem, *, max_states: int | None, max_bytes: int, threads: int, symmetry: bool, progress: Callable[[Progress], None] | None = None) -> EngineResult | None:
    """What ``engines.explicit`` finds, by tables: entry after entry, each with saturated fills. None if there are no tables for it.

    For control states by the hundred thousand, where Python takes minutes; no cases are told apart. With ``symmetry`` an entry is not
    searched if the system with one that was is the same but for names: a renaming of the one to the other maps runs to runs, with
    what they cost and violate.
    """
    system.require_apart()
    whole = EngineResult("explicit", complete=True, bound=0, states=0, transitions=0, cached_entries=None)
    shortest: dict[tuple[str, str], Violation] = {}
    searched: list[tuple[Packed, EngineResult]] = []
    for entry in list(system.entries()) or [{}]:
        left = None if max_states is None else max(1, max_states - (whole.states or 0))
        search = Packed(system, fills="saturated", tracked=entry, max_states=left, max_bytes=max_bytes, threads=threads, symmetry=symmetry, to_the_end=True, progress=progress)
        same = next(_alike(searched, search), None) if symmetry else None
        if same is not None:
            known, found, renaming = same
            whole.steps_fired |= steps_of(search.ground, (renaming.rows[i] for i in known.taken))
        else:
            found = search.run()
            if not search.grounded:
                return None
            searched.append((search, found))
            whole.steps_fired |= found.steps_fired
        whole.starts |= found.starts
        whole.states = (whole.states or 0) + (found.states or 0)
        whole.transitions = (whole.transitions or 0) + (found.transitions or 0)
        whole.bound = max(whole.bound, found.bound)
        for v in found.violations:
            least = shortest.setdefault((v.property, v.clause), v)
            if v.depth < least.depth:
                shortest[v.property, v.clause] = v
        if found.reason:
            whole.complete, whole.reason = False, found.reason
            break
    whole.violations, whole.fired = list(shortest.values()), events(system, whole.steps_fired)
    return whole


def _alike(searched: list[tuple[Packed, EngineResult]], search: Packed) -> Iterator[tuple[Packed, EngineResult, Renaming]]:
    """Searches of which ``search`` would be a copy, what they found, and the renaming."""
    for known, found in searched:
        try:
            renaming = isomorphism(known.ground, search.ground)
        except TooLarge:
            return
        if renaming is not None:
            yield known, found, renaming


def agree(model: str, results: list[EngineResult], endless: frozenset[str] = frozenset()) -> None:
    """Raises ``InternalError`` naming both sides if two finished searches differ in a verdict or a depth.

    ``endless`` are properties of runs that go on for ever, of which there is no shortest one.
    """
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            for name in {v.property for r in (one, other) for v in r.violations}:
                a, b = one.shortest(name), other.shortest(name)
                if a and b and a.depth != b.depth and name not in endless:
                    raise InternalError(f"{model}, {name}: {one.engine} finds a violation at depth {a.depth}, {other.engine} at depth {b.depth}")
                for found, r in ((a, other), (b, one)):
                    if found and not r.shortest(name) and r.verdict(name) != "unknown" and (r.complete or r.bound >= found.depth):
                        raise InternalError(f"{model}, {name}: a violation at depth {found.depth} is found by one engine, {r.engine} finds none")
