"""What must not go on for ever: fair runs that do, among the states that the explicit engine reached.

A run is fair if the software of each CPU, where it can go on all the time, goes on infinitely
often (weak fairness), and each interrupt that can be delivered infinitely often is (strong fairness:
a processor takes a pending interrupt as soon as IF allows, and code that opens a window again
and again does not miss it for ever). Such a run in which a condition holds for ever ends in a strongly
connected part of the states in which it holds; a state in which nothing demanded is possible
is one too. Caches play no part: control does not depend on them.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from tlbcheck.engines.compile import State
from tlbcheck.engines.explicit import Edge, Tracked
from tlbcheck.engines.trace import State as TraceState
from tlbcheck.engines.trace import Trace, TraceStep, Violation
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import evaluate
from tlbcheck.system.execution import HALTED
from tlbcheck.system.transition_system import Bad

_Taken = tuple[State, Edge]


def lassos(search: Tracked) -> list[Violation]:
    """For each clause the first fair run, by the depth of its loop, in which its condition holds for ever."""
    found: dict[tuple[str, str], Violation] = {}
    for bad in search.system.liveness:
        violation = _Lasso(search, bad).find()
        if violation is not None:
            known = found.get((bad.property, bad.clause))
            if known is None or violation.depth < known.depth:
                found[bad.property, bad.clause] = violation
    return list(found.values())


class _Lasso:
    """The search for one condition."""

    def __init__(self, search: Tracked, bad: Bad) -> None:
        self.search, self.bad = search, bad
        self.fair = [s.fair for s in search.system.steps]
        self.strong = {s.fair for s in search.system.steps if s.delivers} - {""}
        self.weak = set(self.fair) - self.strong - {""}
        halted = search.compiled.position.get(HALTED)
        # A run that ended in a fault does not go on: no-fault speaks of it.
        self.holding = {s for s in search.reached if not (halted is not None and s[halted]) and evaluate(bad.when, search.values(s))}

    def find(self) -> Violation | None:
        parts = list(self.fair_parts(self.holding))
        if not parts:
            return None
        order = self.search.order
        start, part = min(((min(p, key=order.__getitem__), p) for p in parts), key=lambda x: order[x[0]])
        stem, loop = self.stem(start), self.loop(start, part)
        return Violation(self.bad.property, self.bad.clause, (), len(stem) + len(loop), self.trace(stem, loop))

    def fair_parts(self, states: set[State]) -> Iterator[set[State]]:
        """The strongly connected parts of ``states`` in which a fair run can stay."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(states)
        graph.add_edges_from((s, t) for s in states for _, _, t in self.search.edges[s] if t in states)
        for part in nx.strongly_connected_components(graph):
            met = self.met(part)
            missed = {s for s in part if self.possible(s) & self.strong - met}
            if missed:
                yield from self.fair_parts(part - missed)
            elif not self.missed(part, met):
                yield part

    def met(self, part: set[State]) -> set[str]:
        return {self.fair[index] for s in part for index, _, t in self.search.edges[s] if t in part}

    def possible(self, s: State) -> set[str]:
        """The demands that could be met in ``s``."""
        return {self.fair[index] for index, _, _ in self.search.edges[s]} - {""}

    def missed(self, part: set[State], met: set[str]) -> set[str]:
        """The software that could go on in every state of ``part``, and does not."""
        waiting = self.weak - met
        for s in part:
            waiting &= self.possible(s)
        return waiting

    def stem(self, goal: State) -> list[_Taken]:
        """A shortest run to ``goal``."""
        came: dict[State, _Taken | None] = dict.fromkeys(sorted(self.search.starts, key=self.search.order.__getitem__))
        queue = deque(came)
        while queue and goal not in came:
            s = queue.popleft()
            for edge in self.search.edges[s]:
                if edge[2] not in came:
                    came[edge[2]] = (s, edge)
                    queue.append(edge[2])
        made: list[_Taken] = []
        here = goal
        while (taken := came[here]) is not None:
            made.append(taken)
            here = taken[0]
        self.first = here
        return made[::-1]

    def loop(self, start: State, part: set[State]) -> list[_Taken]:
        """A way round from ``start`` that meets every demand, or passes where it cannot be met."""
        made: list[_Taken] = []
        here = start
        waiting = (self.weak & self.possible(start)) | (self.strong & self.met(part))
        while waiting:
            way = self.way(here, part, functools.partial(self.meets, frozenset(waiting)))
            made += way
            here = way[-1][1][2]
            for _, edge in way:
                waiting -= {self.fair[edge[0]]} | (self.weak - self.possible(edge[2]))
        return made + (self.way(here, part, lambda _, e: e[2] == start) if here != start else [])

    def meets(self, waiting: frozenset[str], s: State, edge: Edge) -> bool:
        """Whether ``edge`` meets a demand of ``waiting``, or leads to where software cannot go on."""
        return self.fair[edge[0]] in waiting or bool((waiting & self.weak) - self.possible(edge[2]))

    def way(self, start: State, part: set[State], wanted: Callable[[State, Edge], bool]) -> list[_Taken]:
        """The shortest way inside ``part`` whose last edge is ``wanted``."""
        came: dict[State, _Taken | None] = {start: None}
        queue = deque([start])
        while queue:
            s = queue.popleft()
            for edge in self.search.edges[s]:
                if edge[2] not in part:
                    continue
                if wanted(s, edge):
                    made = [(s, edge)]
                    before = came[s]
                    while before is not None:
                        made.append(before)
                        before = came[before[0]]
                    return made[::-1]
                if edge[2] not in came:
                    came[edge[2]] = (s, edge)
                    queue.append(edge[2])
        raise InternalError(f"{self.bad.property}: a fair loop cannot be closed")

    def trace(self, stem: list[_Taken], loop: list[_Taken]) -> Trace:
        search = self.search
        index, chosen = search.starts[self.first]
        start = search.system.initial[index]
        named = dict(zip((q.name for q in start.parameters), map(int, chosen), strict=True))
        nothing: Mapping[str, int] = dict.fromkeys(search.compiled.entry_variables, 0)

        def step(edge: Edge) -> TraceStep:
            taken = search.system.steps[edge[0]]
            return TraceStep(taken, dict(zip((q.name for q in taken.parameters), map(int, edge[1]), strict=True)), TraceState(search.values(edge[2]), nothing))

        return Trace(start, named, TraceState(search.values(self.first), nothing), {}, tuple(step(e) for _, e in (*stem, *loop)), loop=len(stem))
