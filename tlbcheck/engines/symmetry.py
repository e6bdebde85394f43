"""Which CPUs of a ground system are interchangeable.

Argument. Let p exchange two CPUs' components. If p maps the set of rows onto itself (with what they
cost), and the starts, the saturated fills and the cubes of each clause too, then p is an automorphism
of the transition graph that keeps costs and clauses: s and p(s) are reached at the same depth and
violate the same clauses. So do all states of an orbit under the group that such exchanges generate,
and a search that keeps one state of each orbit finds every violation at its depth; the orbit's size
says how many states it stands for. A run of representatives is made one of the system itself by
taking, from each state, a row that leads into the next orbit: there is one, since every row from the
representative has an image. That p is an automorphism is checked on the rows, not assumed: a CPU
with a part of its own in the protocol is not interchangeable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tlbcheck.engines.ground import Cube, Ground

Renaming = dict[int, tuple[int, dict[int, int]]]
"""For each component that moves: where to, and what its values are called there."""


def interchangeable(ground: Ground) -> list[int]:
    """The CPUs any two of which may be exchanged; empty if there are no two such."""
    owners = sorted({c.owner for c in ground.components if c.owner is not None})
    if len(owners) < 2:
        return []
    first = owners[0]
    # Exchanges with the first generate every permutation.
    found = [owner for owner in owners[1:] if (renaming := exchange(ground, first, owner)) is not None and _is_automorphism(ground, renaming)]
    return [first, *found] if found else []


def exchange(ground: Ground, one: int, other: int) -> Renaming | None:
    """The exchange of two CPUs by name; None if their components do not correspond."""
    position = {c.name: i for i, c in enumerate(ground.components)}
    made: Renaming = {}
    for i, c in enumerate(ground.components):
        if c.owner not in (one, other):
            continue
        tail = c.name.partition(".")[2]
        j = position.get(f"cpu{other if c.owner == one else one}.{tail}")
        if j is None or set(ground.components[j].values) != set(c.values):
            return None
        code = {x: k for k, x in enumerate(ground.components[j].values)}
        made[i] = (j, {k: code[x] for k, x in enumerate(c.values)})
    return made


def renamed(cube: Cube, renaming: Renaming) -> frozenset[tuple[int, int]]:
    return frozenset((renaming[c][0], renaming[c][1][x]) if c in renaming else (c, x) for c, x in cube.items())


def _is_automorphism(ground: Ground, renaming: Renaming) -> bool:
    def same(cubes: Iterable[tuple[object, ...]]) -> bool:
        """Whether these, each some cubes among other things, are mapped onto themselves."""
        before: Counter[tuple[object, ...]] = Counter()
        after: Counter[tuple[object, ...]] = Counter()
        for parts in cubes:
            before[tuple(frozenset(x.items()) if isinstance(x, dict) else x for x in parts)] += 1
            after[tuple(renamed(x, renaming) if isinstance(x, dict) else x for x in parts)] += 1
        return before == after

    # The order of saturated fills does not matter to where they end: they are repeated until nothing changes.
    return (
        same((r.guard, r.assign, r.step is None) for r in ground.rows)
        and same((r.guard, r.assign) for r in ground.closure)
        and same((b.property, b.clause, b.guard, b.step is None) for b in ground.bads)
        and same((dict(enumerate(s.state)),) for s in ground.starts)
    )
