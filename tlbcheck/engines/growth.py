"""Whether what is judged only grows with what is cached, so that evictions and walks that do not happen may be left out.

Two runs make the same steps. In the one every walk happens at once and no entry ever goes; in the other walks happen
or not and entries are evicted, as on any machine. Whatever is cached in the second is cached in the first. Of the marks that
a property keeps for an entry that need not be so: what was not cached at a step is marked so in the second alone. So for
each mark an order is looked for, up or down, that every step keeps, and that an eviction, which sets it to its
initial value in the second run alone, keeps as well. What a property calls bad in the second run then has to be
bad in the first. Where it is not, that property needs walks and evictions as free choices (``system.free_walks``).

This is H1, H2 and H5 of x86-tlb.md 7.3, with marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import z3

from tlbcheck.engines.query import Query, Term, domains
from tlbcheck.lang.expr import TRUE, Expr, and_, apply, const, eq, implies, not_, substitute, var, variables
from tlbcheck.lang.types import BOOL, BoolType, EnumType, IntType, WordType
from tlbcheck.system.slots import first_name, of_entry
from tlbcheck.system.transition_system import Bad, Fill, Parameter, Step, TransitionSystem, Variable

UP, DOWN = "up", "down"


@dataclass(frozen=True, slots=True)
class _Update:
    """Something that happens to a mark, ``mine`` in the run in which entries come and go, ``theirs`` in the other; and the order in question."""

    variable: str
    order: str
    mine: Expr
    theirs: Expr
    when: Expr
    parameters: tuple[Parameter, ...] = ()


class Growth:
    """Decides for a system's properties, one by one."""

    def __init__(self, system: TransitionSystem, query: Query) -> None:
        self.system, self.query = system, query
        cached = set(system.cached.values())
        # A mark that nothing changes has its initial value in both runs, after an eviction too.
        self.orders = {
            v.name: {UP} if v.name in cached else {UP, DOWN} if self.constant(v) else _after_eviction(v)
            for v in system.entry_variables
        }
        updates = [u for u in self._updates() if u.order in self.orders[u.variable]]
        anywhere = {(u.variable, u.order, u.mine, u.theirs): replace(u, when=TRUE) for u in updates}
        if not self.query.satisfiable(z3.Or([self.broken(u) for u in anywhere.values()])):
            return
        while True:
            open_ = [u for u in updates if u.order in self.orders[u.variable]]
            if not self.query.satisfiable(z3.Or([self.broken(u) for u in open_])):
                return
            # Where z3 finds no single one that is lost, all are taken for lost.
            for u in [u for u in open_ if self.query.satisfiable(self.broken(u))] or open_:
                self.orders[u.variable].discard(u.order)

    def constant(self, v: Variable) -> bool:
        """Whether a mark always has its initial value."""
        if v.name in self.system.entry_marked:
            return False
        initial = eq(var(v.name, v.type), const(v.initial, v.type))
        updates = [(and_(s.guard, domains(s.parameters)), s.entry_updates[v.name], s.parameters) for s in self.system.steps if v.name in s.entry_updates]
        updates += [(f.when, e, ()) for f in self.system.fills for n, e in self.marks_of_walks(f).items() if n == v.name]
        changes = [self.query.holds(and_(initial, when, not_(eq(e, const(v.initial, v.type)))), of=of) for when, e, of in updates]
        return not changes or not self.query.satisfiable(z3.Or(changes))

    def _updates(self) -> Iterator[_Update]:
        for order in (UP, DOWN):
            for s in self.system.steps:
                possible = and_(s.guard, domains(s.parameters))
                yield from (_Update(n, order, e, e, possible, s.parameters) for n, e in s.entry_updates.items())
            for f in self.system.fills:
                for n, e in self.marks_of_walks(f).items():
                    # The walk happens in both, or in one alone.
                    yield _Update(n, order, e, e, f.when)
                    yield _Update(n, order, var(n, e.type), e, f.when)

    def marks_of_walks(self, f: Fill) -> dict[str, Expr]:
        """What a walk changes but that the entry is cached."""
        return {n: e for n, e in f.updates.items() if n != self.system.cached[f.cpu]}

    def broken(self, u: _Update) -> Term:
        """The order holds before, and not afterwards."""
        low, high = (u.mine, self.other(u.theirs)) if u.order == UP else (self.other(u.theirs), u.mine)
        return self.query.holds(and_(self.related((u.mine, u.theirs)), not_(_at_most(low, high)), u.when), of=u.parameters)

    def other(self, e: Expr) -> Expr:
        """The same in the run in which every walk happens."""
        return substitute(e, {n: var(f"{n}'", v.type) for n, v in variables(e).items() if self.mark(n) is not None})

    def mark(self, name: str) -> str | None:
        """The mark of the first entry that ``name`` is, of whichever entry."""
        for slot in (1, 2):
            if of_entry(name, slot) and name.endswith("]"):
                return name if slot == 1 else first_name(name)
        return None

    def related(self, parts: Iterable[Expr]) -> Expr:
        """How the two runs stand to each other in what ``parts`` read."""
        made = []
        for n, v in {n: v for e in parts for n, v in variables(e).items()}.items():
            mine, other = v, var(f"{n}'", v.type)
            for order in self.orders.get(self.mark(n) or "", ()):
                made.append(_at_most(mine, other) if order == UP else _at_most(other, mine))
        return and_(*made)

    def shrinks(self) -> Mapping[str, str]:
        """The properties that need free walks, each with what in it does."""
        judged: list[tuple[Bad, Step | None]] = [(b, None) for b in self.system.invariants]
        judged += [(b, s) for s in self.system.steps for b in s.bads]
        about = [(b, s) for b, s in judged if any(self.mark(n) for n in variables(b.when))]
        anywhere = {b.when: self.lost(b.when, None) for b, _ in about}
        if not about or not self.query.satisfiable(z3.Or(list(anywhere.values()))):
            return {}
        found: dict[str, str] = {}
        for b, term in ((b, self.lost(b.when, s)) for b, s in about):
            if b.property not in found and self.query.satisfiable(term):
                found[b.property] = f"{b.property} ({b.clause}) asks that something is not cached"
        return found

    def remembers(self) -> str:
        """A property that keeps other marks of an entry besides those that walks make, in words; empty if there is none.

        An entry that was cached all the time has not been walked since its other marks were made; that it may as well have gone
        and come back is of no use then, since they went with it.
        """
        walked = {n for f in self.system.fills for n in self.marks_of_walks(f)}
        for q in self.system.properties:
            own = {v.name for v in self.system.entry_variables if v.name.partition(".")[2].startswith(f"{q.name}.")}
            if own & walked and own - walked:
                return f"{q.name} marks what walks cache, and keeps other marks of an entry besides"
        for f in self.system.fills:
            if any(self.mark(n) in walked for e in self.marks_of_walks(f).values() for n in variables(e)):
                return "what a walk marks depends on what it marked before"
        return ""

    def lost(self, bad: Expr, step: Step | None) -> Term:
        """Bad in the run in which entries come and go, and not in the other."""
        parameters: Sequence[Parameter] = step.parameters if step else ()
        possible = and_(step.guard, domains(parameters)) if step else TRUE
        return self.query.holds(and_(self.related((bad,)), bad, not_(self.other(bad)), possible), of=parameters)

    def walks(self) -> str:
        """What a walk does only while something is not cached, in words; empty if nothing."""
        for f in self.system.fills:
            lost = and_(self.related((f.when,)), f.when, not_(self.other(f.when)))
            if any(self.mark(n) for n in variables(f.when)) and self.query.satisfiable(self.query.holds(lost)):
                return "what a walk caches asks that something is not cached"
        return ""


def _at_most(a: Expr, b: Expr) -> Expr:
    return implies(a, b) if a.type == BOOL else apply("le", (a, b), BOOL)


def _after_eviction(v: Variable) -> set[str]:
    """The orders in which an entry that is evicted has its mark below (above) that of one which is not."""
    match v.type:
        case BoolType():
            low, high = 0, 1
        case EnumType():
            low, high = 0, len(v.type.members) - 1
        case IntType():
            low, high = v.type.low, v.type.high
        case WordType():
            low, high = 0, v.type.mask
    return {order for order, end in ((UP, low), (DOWN, high)) if v.initial == end}
