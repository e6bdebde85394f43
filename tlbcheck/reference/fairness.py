"""What must not hold for ever (LIVE): fair runs within a set of states."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import networkx as nx

from tlbcheck.reference.machine import State

Edge = tuple[State, Hashable]
"""Where a move leads, and whose it is: a CPU's software, an interrupt's delivery, or None for what nothing demands."""


def fair_part(
    states: Iterable[State], edges: Mapping[State, Sequence[Edge]], delivers: frozenset[Hashable]
) -> frozenset[State] | None:
    """States among which a fair run can stay for ever; None if there are none. ``delivers``: the demands that are
    deliveries of interrupts.
    """
    waiting = [frozenset(states)]
    while waiting:
        allowed = waiting.pop()
        graph = nx.DiGraph()
        graph.add_nodes_from(allowed)
        graph.add_edges_from((s, t) for s in allowed for t, _ in edges[s] if t in allowed)
        for part in nx.strongly_connected_components(graph):
            taken = {whose for s in part for t, whose in edges[s] if t in part}
            possible = [{whose for _, whose in edges[s]} - {None} for s in part]
            if any(whose not in taken and whose not in delivers for whose in set.intersection(*possible)):
                continue  # software that could go on all the time never does, whatever part of this is looked at
            missed = {whose for p in possible for whose in p if whose in delivers} - taken
            if not missed:
                return frozenset(part)
            waiting.append(frozenset(s for s in part if not missed & {whose for _, whose in edges[s]}))
    return None
