"""Decides with z3 whether tracking one arbitrary entry is exact, and which numbers in a scope are "any".

Every query is about one operation, fill or property clause at a time (``engines.query``). An answer other
than "unsat" counts as "does not hold".

**Representation** (design.md 2). One tracked entry has the runs of the literal caches if

- T1: a fill has the same truth value for any two contents of the rest of the cache;
- T2: ``bad(e, e2)`` implies ``bad(e, e)`` or ``bad(e2, e2)``: two entries are bad only if one alone is;
- H5: what is bad, and what a fill or step leaves cached, only grows with what is cached, so that
  evictions and fills that do not happen may be left out (``engines.growth``); else they are free choices of each
  step (``system.free_walks``);
- T3: a step that goes through the cache leads to the same state whichever entry it uses, and a walk
  makes one that it may use wherever it may use any.

If only T2 fails, pairs of entries are tracked. If only T1 fails, an entry with those that enable
it: n links of "e is filled only because e2 is cached" between distinct entries, each link in a state
of its own, are unsatisfiable, so that n entries are a whole chain. Control does not see the cache,
hence only the latest fill of each entry matters. In all other cases the caches are searched literally.

**Numbers.** Let D be the values of an entry's field that the model declares.

- A number (a word or bounded integer). A value v outside D is covered if some d in D is like it:
  every rule about entries (what is possible and cached at the start, fills, drops, property clauses
  and marks) has the same truth value for v and for d, in all states and whatever the other fields
  are. Then entries with v have the runs of those with d. For the field whose values software
  hands out (``CacheKind.tag``) v is also covered if no fill creates an entry with v: since
  processors start with empty caches, none ever holds one.
- An enumeration: its values are kinds. Any number of members of each kind is covered if all kinds
  are declared and nothing tells two members of a kind apart, that is if no truth value of a rule
  about that field depends on an operand, a variable or a choice which holds such a member.
- What neither entries nor, as the model says, anything else ranges over, such as frames where an entry
  leads to what its page and root say, may be there in any number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import z3

from tlbcheck.engines.growth import Growth
from tlbcheck.engines.query import Query, Term, domain, domains
from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, Expr, and_, const, eq, nodes, not_, or_, rebuild, substitute, var, variables
from tlbcheck.lang.types import LARGEST, EnumType, IntType, Type, WordType
from tlbcheck.system.names import Software
from tlbcheck.system.slots import in_slot, mentions, of_entry, slot_name
from tlbcheck.system.sufficiency import FULL, Condition, Dimension, Sufficiency, fillable, named_by_software, named_values, of_the_model, other_choices, without_entries
from tlbcheck.system.transition_system import Parameter, Step, TransitionSystem, Variable

_CHAIN = 3
"""The longest chain of entries, each enabling the next, that is tracked."""
_NEVER = "no walk creates an entry"
_ENTRIES = 4096
"""Entries (or choices of one) that are gone through one by one."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """An expression about entries: what it is for, in words, and the step that it belongs to."""

    e: Expr
    what: str
    step: Step | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.step.parameters if self.step else ()


def decide(system: TransitionSystem, *, seconds: float = 5.0) -> Sufficiency:
    """Decide everything about ``system``; ``seconds`` bound each query, and one that takes longer decides nothing."""
    return _Decision(system, seconds).run()


class _Decision:
    def __init__(self, system: TransitionSystem, seconds: float) -> None:
        self.system = system
        self.query = Query(system, seconds)
        self.software = Software(system)
        self.possible = system.possible
        self.declared = and_(*(domain(v.name, v.type, v.domain or v.type.values()) for v in system.entry_fields), self.possible)

    def run(self) -> Sufficiency:
        if self.system.cache is None:
            return without_entries(self.system)
        if not self.query.satisfiable(self.query.holds(self.declared)):
            # Every lemma would hold of entries that cannot be.
            if any(True for _ in self.system.entries()):
                raise InternalError(f"{self.system.model.name}: z3 says that no entry can exist")
            raise InputError(f"{self.system.model.name}: its cache can hold no entry", hint="check what its kind says is possible")
        t1, t2, t3 = self.fills(), self.properties(), self.steps()
        conditions = (t1, t2, t3, self.growing())
        entries = 1
        if not t3.holds or not (t1.holds or t2.holds):
            entries = FULL
        elif not t2.holds:
            entries = 2
        elif not t1.holds:
            entries = self.chain()
        software = self.software
        fields = (named_by_software(software, d) for d in self.dimensions(one=entries == 1))
        return Sufficiency(entries, conditions, (*fields, *of_the_model(software)))

    # -- T1 to T3

    def among(self, rule: _Rule, mark: str = "", **marks: str) -> list[Term]:
        """The choices of a rule's step are in their domains, and its guard holds."""
        if rule.step is None:
            return []
        return [self.query.holds(and_(domains(rule.parameters), rule.step.guard), of=rule.parameters, choice=mark, **marks)]

    def fills(self) -> Condition:
        for f in self.system.fills:
            if not mentions(f.when, 2):
                continue
            one, other = (substitute(f.when, {n: var(f"{n}{mark}", v.type) for n, v in variables(f.when).items() if of_entry(n, 2)}) for mark in ("", "'"))
            if self.query.satisfiable(self.query.holds(and_(self.declared, one, not_(other)))):
                return Condition("T1", False, f"the fill of an entry on CPU {f.cpu} depends on what else is cached")
        return Condition("T1", True)

    def properties(self) -> Condition:
        for rule in self.bads():
            if mentions(rule.e, 2):
                alone = [in_slot(rule.e, slot, slot) for slot in (1, 2)]
                both = and_(self.declared, in_slot(self.declared, 2), rule.e, *(not_(e) for e in alone))
                if self.query.satisfiable(self.query.holds(both, of=rule.parameters), *self.among(rule)):
                    return Condition("T2", False, f"{rule.what} is about two entries that are cached at once")
        return Condition("T2", True)

    def steps(self) -> Condition:
        for s in self.system.steps:
            if s.used and (reason := self.use_matters(s)):
                return Condition("T3", False, f"{s.action}{_at(*s.places[:1])} {reason}")
        return Condition("T3", True)

    def use_matters(self, s: Step) -> str:
        """How what follows ``s`` depends on the cached entry that it uses; empty if it does not."""
        rule = _Rule(s.guard, s.action, s)
        renamed = other_choices(s, "'")
        possible = and_(domains(s.parameters), s.guard)
        both = and_(possible, substitute(possible, renamed))
        for e in (*s.updates.values(), *s.entry_updates.values(), *(b.when for b in s.bads)):
            if self.query.satisfiable(self.query.holds(and_(both, not_(eq(e, substitute(e, renamed)))), of=rule.parameters)):
                return "goes on with what the cached entry says that it uses"
        # Some entry that a walk makes has to do wherever any does.
        names = list(renamed)
        choices = {q.name: q.domain for q in s.parameters if q.name in names}
        every = list(itertools.islice(itertools.product(*choices.values()), _ENTRIES + 1))
        walked = and_(s.guard, fillable(self.system, s))
        types = {q.name: q.type for q in s.parameters}
        none = and_(*(not_(substitute(walked, {n: const(x, types[n]) for n, x in zip(choices, values, strict=True)})) for values in every))
        if len(every) > _ENTRIES or self.query.satisfiable(self.query.holds(and_(possible, none), of=rule.parameters)):
            return "happens or not depending on what is cached"
        return ""

    def growing(self) -> Condition:
        """H1, H2 and H5 of x86-tlb.md 7.3: what happens with all that can be cached happens with less, too."""
        growth = Growth(self.system, self.query)
        if reason := growth.walks():
            raise InputError(f"{self.system.model.name}: {reason}", hint="entries may go at any time: say what lets a walk cache one")
        reasons = [*growth.shrinks().values(), *filter(None, [growth.remembers()])]
        return Condition("H5", not reasons, "; ".join(reasons))

    def chain(self) -> int:
        """How many entries enable each other at most, where fills depend on what else is cached."""
        if any(set(f.updates) - {self.system.cached[f.cpu]} for f in self.system.fills):
            return FULL  # marks that fills make: not only the latest fill matters
        longest = 1
        for f in self.system.fills:
            links, entries = [], [self.declared]
            for n in range(1, _CHAIN + 1):
                when = in_slot(f.when, n, n + 1)
                content = {name: v for name, v in variables(when).items() if of_entry(name, n + 1) and name.endswith("]")}
                links.append(self.query.holds(and_(when, *content.values(), not_(substitute(when, dict.fromkeys(content, FALSE)))), state=f"link{n}"))
                entries.append(in_slot(self.declared, n + 1))
                if not self.query.satisfiable(*links, self.query.holds(and_(*entries, *(self.differ(i, j) for i, j in itertools.combinations(range(1, n + 2), 2))))):
                    longest = max(longest, n)
                    break
            else:
                return FULL
        return longest if longest > 1 else FULL

    def differ(self, slot: int, other: int) -> Expr:
        """The entries of two slots are not the same."""
        return or_(*(not_(eq(var(slot_name(v.name, slot), v.type), var(slot_name(v.name, other), v.type))) for v in self.system.entry_fields))

    # -- rules

    def bads(self) -> Iterator[_Rule]:
        for b in self.system.invariants:
            yield _Rule(b.when, f"{b.property} ({b.clause})")
        for s in self.system.steps:
            for b in s.bads:
                yield _Rule(b.when, f"{b.property} ({b.clause})", s)

    def rules(self) -> list[_Rule]:
        """Everything that is said about entries, each once."""
        found = [_Rule(self.possible, "which entries there can be")]
        found += [_Rule(e, "what can be cached at the start") for e in self.system.entry_initial.values()]
        found += [_Rule(e, "what init marks") for e in self.system.entry_marked.values()]
        for f in self.system.fills:
            found += [_Rule(f.when, "what a walk caches"), *(_Rule(e, "what a walk marks") for e in f.updates.values())]
        for s in (*self.system.initial, *self.system.steps):
            found += [_Rule(e, f"what {s.action} does to entries{_at(*s.places[:1])}", s) for e in s.entry_updates.values()]
        found += self.bads()
        return list({(r.e, tuple((q.name, q.domain) for q in r.parameters if q.name in variables(r.e))): r for r in reversed(found)}.values())

    # -- numbers

    def dimensions(self, *, one: bool) -> Iterator[Dimension]:
        cache = self.system.cache
        assert cache is not None
        fields = {v.name.removeprefix("entry."): v for v in self.system.entry_fields}
        for name, counted in cache.scope.items():
            v = fields.get(name)
            if v is None:
                holder = next((n for n, t in self.held() if any(word.startswith(name) for word in (t, *re.split(r"[^a-z]+", n.lower())))), "")
                why = f"{holder} holds one, and no entry does" if holder else f"no entry and nothing else in the model holds a {name}"
                yield Dimension(name, counted, not holder, "not counted" if holder else "any", why, told=bool(holder))
                continue
            values, declared = v.domain or v.type.values(), named_values(v)
            if not one or self.system.meeting:
                yield Dimension(name, counted, False, declared, "entries may depend on each other")
            else:
                tag = name == cache.tag
                any_, why = self.kinds(v, values) if isinstance(v.type, EnumType) else self.numbers(v, values, tag=tag)
                named = f"any (named: {', '.join(map(str, declared))})" if tag else "any"
                empty = f"nothing is cached at the start for other {counted} than those named: processors start with empty caches, and no walk here makes such an entry"
                yield Dimension(name, counted, any_, named if any_ else declared, why, empty if any_ and why.startswith(_NEVER) else "")

    def held(self) -> Iterator[tuple[str, str]]:
        """What the model's variables and the fields of entries are called, and their types."""
        for name, type_ in (*((v.name, v.type) for v in (*self.system.control, *self.system.entry_fields)), *((q.label, q.type) for s in self.system.steps for q in s.parameters)):
            yield name, str(type_).lower()

    def numbers(self, v: Variable, declared: Sequence[int], *, tag: bool) -> tuple[bool, str]:
        """Whether every value that is not declared is covered by those that are, and why (not)."""
        field = v.name.removeprefix("entry.")
        if why := self.ranked(v):
            return False, f"{why} tells one {field} from another"
        whole = [f.name for f in self.system.entry_fields if isinstance(f.type, WordType | IntType)]
        others = and_(*(domain(f.name, f.type, f.domain or f.type.values()) for f in self.system.entry_fields if f.name not in whole))
        # There may be more than a bounded integer can number here.
        type_ = IntType(-LARGEST - 1, LARGEST) if isinstance(v.type, IntType) else v.type
        value = var(f"{v.name}'" if isinstance(v.type, IntType) else v.name, type_)
        rules = [replace(r, e=substitute(r.e, {v.name: value})) for r in self.rules() if v.name in variables(r.e)]
        outside = [self.query.holds(not_(domain(value.value, type_, declared)), whole=whole)]
        if tag:
            filled = substitute(or_(*(f.when for f in self.system.fills)), {v.name: value})
            outside.append(self.query.holds(and_(filled, others), state="filled", whole=whole))
            if not self.query.satisfiable(*outside):
                return True, f"{_NEVER} with another {field}"

        def unlike(r: _Rule, d: int) -> Term:
            there = const(d, v.type)
            chosen = domains([q for q in r.parameters if q.name in variables(r.e)])
            return self.query.holds(and_(chosen, others, not_(eq(r.e, substitute(r.e, {value.value: there})))), state=f"like {d}", whole=whole, of=r.parameters)

        differences = {d: [(r, unlike(r, d)) for r in rules] for d in declared}
        if not self.query.satisfiable(*outside, *(z3.Or([term for _, term in terms]) for terms in differences.values())):
            return True, "every other value is like a declared one in every rule"
        told = next((r.what for r, term in differences[declared[0]] if self.query.satisfiable(*outside, term)), "")
        return False, f"{told} tells another {field} from {declared[0]}"

    def ranked(self, v: Variable) -> str:
        """What has something for each declared value of a field, or compares it by order with what software holds: other values have none, or come between."""
        arrays = [x for x in self.system.model.state_variables() if x.index == v.type]
        for r in self.rules():
            names = variables(r.e)
            if v.name not in names:
                continue
            if any(not names.keys().isdisjoint(x.elements()) for x in arrays):
                return r.what
            for e in nodes(r.e):
                read = [variables(a) for a in e.args]
                if any(v.name in x for x in read) and (e.op == "table" or (e.op in ("lt", "le") and len(read[0] | read[1]) > 1)):
                    return r.what
        return ""

    def kinds(self, v: Variable, declared: Sequence[int]) -> tuple[bool, str]:
        """Whether each kind may have any number of members, and why (not)."""
        field, types = v.name.removeprefix("entry."), self.software.members((v.type,)).types
        missing = [x for x in v.type.values() if x not in declared]
        for x in missing:
            if self.query.satisfiable(self.query.holds(and_(eq(var(v.name, v.type), const(x, v.type)), self.possible), whole=[v.name])):
                return False, f"{v.type.show(x)} is not among the kinds of {field} that are looked at"
        for r in self.rules():
            if v.name not in variables(r.e):
                continue
            held = _holders(r.e, v, types)
            one, other = (_replaced(r.e, {h: var(f"{field} {i}{mark}", h.type) for i, h in enumerate(held)}) for mark in ("", "'"))
            if held and self.query.satisfiable(self.query.holds(not_(eq(one, other)), of=r.parameters)):
                return False, f"{r.what} names one {field}: a second one of that kind is not looked at"
        told = self.operands(v, field, types) or self.monitors(v, field, types)
        return not told, told or f"no rule tells two of a kind apart by {field}"

    def operands(self, v: Variable, field: str, types: Collection[Type]) -> str:
        """An operation of the machine that names one member by an operand (which lowering may have made a constant)."""
        for procedure in self.system.model.reachable():
            for s in p.walk(procedure.body):
                if not isinstance(s, p.Do):
                    continue
                for (name, _), a in zip(s.operation.operands, s.args, strict=True):
                    dropped = or_(*(and_(*c.parts) for c in s.operation.drops))
                    if a.type not in types or f"arg.{name}" not in variables(dropped):
                        continue
                    typed = {f.name: var(f.name, f.type) for f in self.system.entry_fields}
                    one, other = (substitute(dropped, {**typed, f"arg.{name}": var(f"arg.{name}{mark}", a.type)}) for mark in ("", "'"))
                    if self.query.satisfiable(self.query.holds(not_(eq(one, other)))):
                        return f"{s.operation.name}{_at(s.place)} names one {field}: a second one of that kind is not looked at"
        return ""

    def monitors(self, v: Variable, field: str, types: Collection[Type]) -> str:
        """A property that compares the field with an argument of an event."""
        applicable = [q for q in self.system.properties if q.name not in self.system.not_applicable]
        for monitor in applicable:
            for r in monitor.rules:
                for e in (*(bad for _, bad in r.bad), *(value for _, value in r.updates)):
                    names = variables(e)
                    if v.name in names and any(n.startswith("arg.") and (x.type is None or x.type in types) for n, x in names.items()):
                        return f"{monitor.name} names one {field}: a second one of that kind is not looked at"
        return ""


def _at(*place: Place) -> str:
    return "".join(f" at {Path(q.file).name}:{q.line}" for q in place)


def _holders(e: Expr, field: Variable, types: Collection[Type]) -> list[Expr]:
    """The parts of ``e`` that hold a member of the field's type, or of one that names such members, and are neither constant nor the field's."""
    if e.type in types and e.op != "const" and field.name not in variables(e):
        return [e]
    return list(dict.fromkeys(h for a in e.args for h in _holders(a, field, types)))


def _replaced(e: Expr, parts: Mapping[Expr, Expr]) -> Expr:
    found = parts.get(e)
    if found is not None:
        return found
    return rebuild(e, tuple(_replaced(a, parts) for a in e.args)) if e.args else e
