"""The transition system as z3 formulas: the one translation of expressions, for every engine that uses solvers.

z3 is imported here; nothing that is loaded by ``tlbcheck --help`` may import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import z3

from tlbcheck.lang.expr import Expr, and_, const, nodes, not_, or_
from tlbcheck.lang.types import BoolType, IntType, Type, WordType
from tlbcheck.system.equal_bits import EqualBits, lowest, positions
from tlbcheck.system.known_bits import Bits, computed_in, width
from tlbcheck.system.transition_system import Parameter, Step, TransitionSystem, Variable

Term = Any
Names = Mapping[str, Term]


def _wider(term: Term, size: int, type_: Type | None) -> Term:
    """A value in at least ``size`` bits: bounded integers with their sign."""
    more = size - term.size()
    return term if more <= 0 else z3.SignExt(more, term) if isinstance(type_, IntType) else z3.ZeroExt(more, term)


def _integer(own: Term, type_: IntType) -> Term:
    """A variable as a term: one that is never negative is kept without its sign."""
    more = computed_in(type_) - own.size()
    return z3.ZeroExt(more, own) if more > 0 else own


def value_of(term: Term, type_: Type) -> int:
    """The number that a constant term stands for."""
    if z3.is_bool(term):
        return int(z3.is_true(term))
    return int(term.as_signed_long() if isinstance(type_, IntType) and type_.low < 0 else term.as_long())


def every(*parts: Term) -> Term:
    """A conjunction of any number of formulas, none and one included, as other solvers want it written."""
    return parts[0] if len(parts) == 1 else z3.And(parts) if parts else z3.BoolVal(True)


def some(*parts: Term) -> Term:
    """A disjunction, likewise."""
    return parts[0] if len(parts) == 1 else z3.Or(parts) if parts else z3.BoolVal(False)


class Translator:
    """Expressions as z3 terms over a given naming of variables; BoolType as Bool, all else as BitVec."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.memo: dict[Expr, Term] = {}

    def __call__(self, e: Expr) -> Term:
        if e not in self.memo:
            for node in nodes(e, self.memo):
                self.memo[node] = self._translate(node)
        return self.memo[e]

    def _translate(self, e: Expr) -> Term:
        assert e.type is not None, e
        match e.op:
            case "const":
                return z3.BoolVal(bool(e.value)) if isinstance(e.type, BoolType) else z3.BitVecVal(e.value, computed_in(e.type))
            case "var":
                return _integer(self.names[e.value], e.type) if isinstance(e.type, IntType) else self.names[e.value]
            case "table":
                index, size = self(e.args[0]), computed_in(e.type)
                values = [x if z3.is_bool(x) else _wider(x, size, e.type) for x in (self(_value(e, v)) for v in e.value)]
                made = values[-1]
                for i in range(len(e.value) - 2, -1, -1):
                    here = (index if i else z3.Not(index)) if z3.is_bool(index) else index == i
                    made = z3.If(here, values[i], made)
                return made
        args = [self(a) for a in e.args]
        match e.op:
            case "not":
                return z3.Not(args[0])
            case "and":
                return every(*args)
            case "or":
                return some(*args)
            case "ite":
                return z3.If(args[0], *self._same_width(args[1:], e.args[1:]))
            case "eq":
                a, b = self._same_width(args, e.args)
                return a == b
            case "lt" | "le":
                a, b = self._same_width(args, e.args)
                type_ = e.args[0].type
                if isinstance(type_, IntType) or (isinstance(type_, WordType) and type_.signed):
                    return a < b if e.op == "lt" else a <= b
                return z3.ULT(a, b) if e.op == "lt" else z3.ULE(a, b)
            case "resize":
                have, want = args[0].size(), width(e.type)
                return z3.Extract(want - 1, 0, args[0]) if want <= have else z3.ZeroExt(want - have, args[0])
            case "bnot":
                return ~args[0]
        size = computed_in(e.type)
        if isinstance(e.type, IntType):
            args = [_wider(x, size, y.type) for x, y in zip(args, e.args, strict=True)]
        a, b = self._same_width(args, e.args)
        made = {"band": lambda: a & b, "bor": lambda: a | b, "bxor": lambda: a ^ b, "add": lambda: a + b, "sub": lambda: a - b, "shl": lambda: a << b, "shr": lambda: z3.LShR(a, b)}[e.op]()
        return z3.Extract(size - 1, 0, made) if made.size() > size else _wider(made, size, e.type)

    def _same_width(self, args: Sequence[Term], of: Sequence[Expr]) -> tuple[Term, Term]:
        a, b = args
        if z3.is_bool(a) or a.size() == b.size():
            return a, b
        size = max(a.size(), b.size())
        return _wider(a, size, of[0].type), _wider(b, size, of[1].type)


def _value(table: Expr, value: int) -> Expr:
    return const(value, table.type)


def _among(term: Term, v: Variable) -> Term:
    """``term`` is one of the values that ``v`` may have."""
    if v.domain is None and isinstance(v.type, IntType):
        if v.type.low < 0:
            return every(v.type.low <= term, term <= v.type.high)
        return z3.ULE(term, v.type.high) if v.type.low == 0 else every(z3.ULE(v.type.low, term), z3.ULE(term, v.type.high))
    return some(*((term if x else z3.Not(term)) if z3.is_bool(term) else term == x for x in v.domain or v.type.values()))


def bits_of(term: Term) -> list[Term]:
    """The Boolean constants that a bitwise encoding made a constant of, lowest first."""
    if z3.is_bool(term):
        return [term]
    if z3.is_app_of(term, z3.Z3_OP_CONCAT):
        return [b for part in reversed(term.children()) for b in bits_of(part)]
    return [term.arg(0)]


class Encoding:
    """The transition system as z3 formulas over vectors of small variables.

    A word is carried by one bit for each class of bits that are always equal, and none for those
    that never vary. ``whole_words`` gives variables all of their bits: nothing is taken from an
    analysis. ``bitwise`` makes each bit a Boolean constant of its own.
    """

    def __init__(self, system: TransitionSystem, *, whole_words: bool = False, bitwise: bool = False) -> None:
        self.system = system
        self.bitwise = bitwise
        self.equal = None if whole_words else EqualBits(system)
        self.variables = [*system.control, *system.entry_variables]
        self.act = self._word("act", max(1, len(system.steps).bit_length()))
        self.parameters: dict[tuple[str, int], Term] = {}
        self.contents: dict[str, Term] = {}
        self._scoped: list[tuple[Step, Term, Translator]] = []
        self.now = {v.name: self._own(v, "now") for v in self.variables if self.carried(v)}
        self.next = {v.name: self._own(v, "next") for v in self.variables if self.carried(v)}
        self.fields = {v.name: self._own(v, "field") for v in system.entry_fields if self.carried(v)}
        self.now_terms = self.terms(self.now)
        self.next_terms = self.terms(self.next)
        self.goals = sorted({b.property for s in system.steps for b in s.bads} | {b.property for b in system.invariants})

    def known(self, v: Variable) -> Bits:
        """Which bits of a variable can be 1, and which can be 0."""
        full = (1 << width(v.type)) - 1
        return Bits(full, full) if self.equal is None else self.equal.known.of(v)

    def carried(self, v: Variable) -> tuple[int, ...]:
        """For each bit that stands for a variable, lowest first: the mask of the bits of it that it stands for."""
        return tuple(1 << i for i in range(width(v.type))) if self.equal is None else self.equal.of(v)

    def _word(self, name: str, size: int) -> Term:
        if not self.bitwise:
            return z3.BitVec(name, size)
        one, zero = z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)
        parts = [z3.If(z3.Bool(f"{name}[{i}]"), one, zero) for i in reversed(range(size))]
        return z3.Concat(*parts) if size > 1 else parts[0]

    def _own(self, v: Variable, vector: str) -> Term:
        if isinstance(v.type, BoolType):
            return z3.Bool(f"{vector}:{v.name}")
        return self._word(f"{vector}:{v.name}", len(self.carried(v)))

    def whole(self, v: Variable, own: Term | None) -> Term:
        """The variable at its full width: the bits that stand for it, each wherever it does, among the constant ones."""
        bits, carried, size = self.known(v), self.carried(v), width(v.type)
        if isinstance(v.type, BoolType):
            return own if own is not None else z3.BoolVal(bool(bits.ones))
        if own is None:
            return z3.BitVecVal(bits.ones, size)
        if len(carried) == size and not self.bitwise:
            return own
        parts: list[Term] = [z3.BitVecVal(bits.ones >> i & 1, 1) for i in range(size)]
        for n, mask in enumerate(carried):
            for i in positions(mask):
                parts[i] = z3.Extract(n, n, own)
        return z3.simplify(z3.Concat(*reversed(parts))) if size > 1 else parts[0]

    def narrow(self, v: Variable, term: Term) -> Term:
        """The bits that stand for a full-width term."""
        carried = self.carried(v)
        if isinstance(v.type, BoolType) or len(carried) == width(v.type):
            return term
        parts = [z3.Extract(i, i, term) for i in map(lowest, carried)]
        return z3.simplify(z3.Concat(*reversed(parts))) if len(parts) > 1 else z3.simplify(parts[0])

    def terms(self, vector: Mapping[str, Term]) -> dict[str, Term]:
        made = {v.name: self.whole(v, vector.get(v.name)) for v in self.variables}
        made |= {v.name: self.whole(v, self.fields.get(v.name)) for v in self.system.entry_fields}
        return made

    def parameter(self, q: Parameter) -> Term:
        key = (q.name, 0 if isinstance(q.type, BoolType) else width(q.type))
        if key not in self.parameters:
            name = f"{q.name}:{key[1]}"
            self.parameters[key] = z3.Bool(name) if isinstance(q.type, BoolType) else self._word(name, key[1])
        return self.parameters[key]

    def scope(self, step: Step, terms: Mapping[str, Term]) -> Translator:
        return Translator({**terms, **{q.name: self.parameter(q) for q in step.parameters}})

    def in_domain(self, q: Parameter) -> Term:
        p = self.parameter(q)
        if isinstance(q.type, BoolType):
            return some(*(p if value else z3.Not(p) for value in q.domain))
        if len(q.domain) == 1 << p.size():
            return z3.BoolVal(True)
        return some(*(p == value for value in q.domain))

    def filled(self, terms: Mapping[str, Term], before: Mapping[str, Term]) -> dict[str, Term]:
        """Entry variables after the fills that state ``terms`` allows."""
        made = dict(before)
        for fill in self.system.fills:
            to = Translator({**terms, **made})
            when = to(fill.when)
            made |= {name: z3.If(when, to(e), made[name]) for name, e in fill.updates.items()}
        return made

    def entries(self) -> Term:
        """The tracked entry is one that could exist."""
        if self.system.cache is None:
            return z3.BoolVal(True)
        domains = [_among(self.whole(v, self.fields.get(v.name)), v) for v in self.system.entry_fields]
        return every(*domains, Translator(self.now_terms)(self.system.possible))

    def initial(self) -> Term:
        """The states in which a run may start, over the vector ``now``."""
        choices = []
        rigid = set(self.system.rigid)
        base = {v.name: self.now_terms[v.name] if v.name in rigid else self.whole_constant(v) for v in self.system.control}
        domains = [_among(self.now_terms[v.name], v) for v in self.system.control if v.name in rigid]
        for step in self.system.initial:
            to = self.scope(step, {**self.now_terms, **base})
            parts = [to(step.guard), *(self.in_domain(q) for q in step.parameters)]
            for v in self.system.control:
                value = to(step.updates[v.name]) if v.name in step.updates else base[v.name]
                parts.append(self.now_terms[v.name] == self._fit(v, value))
            choices.append(every(*parts))
        content = self.initial_entries()
        return every(*domains, some(*choices), content, self.entries())

    def initial_entries(self) -> Term:
        """Each entry cached or not as the cache allows, then what a walk adds."""
        to = Translator(self.now_terms)
        parts = []
        free = {}
        for v in self.system.entry_variables:
            free[v.name] = to(self.system.entry_start(v))
            if v.name in self.system.entry_initial:
                content = self.contents.setdefault(v.name, z3.Bool(f"content:{v.name}"))
                free[v.name] = every(content, free[v.name])
        for name, value in self.filled(self.now_terms, free).items():
            parts.append(self.now_terms[name] == value)
        return every(*parts)

    def whole_constant(self, v: Variable) -> Term:
        return z3.BoolVal(bool(v.initial)) if isinstance(v.type, BoolType) else z3.BitVecVal(v.initial, width(v.type))

    def _fit(self, v: Variable, term: Term) -> Term:
        if isinstance(v.type, BoolType) or term.size() == width(v.type):
            return term
        size = width(v.type)
        return z3.Extract(size - 1, 0, term) if term.size() > size else _wider(term, size, v.type)

    def _scopes(self) -> list[tuple[Step, Term, Translator]]:
        if not self._scoped:
            self._scoped = [(s, self.act == s.index, self.scope(s, self.now_terms)) for s in self.system.steps]
        return self._scoped

    def enabled(self) -> Term:
        """``act`` chooses a step whose guard holds, with parameters in their domains."""
        parts = [z3.ULT(self.act, len(self.system.steps))] if len(self.system.steps) < 1 << self.act.size() else []
        for s, chosen, to in self._scopes():
            parts.append(z3.Implies(chosen, every(to(s.guard), *(self.in_domain(q) for q in s.parameters))))
        return every(*parts)

    def control_after(self) -> dict[str, Term]:
        """Control variables at their full width after the step that ``act`` chooses."""
        scopes = self._scopes()
        made = {}
        for v in self.system.control:
            value = self.now_terms[v.name]
            for s, chosen, to in reversed(scopes):
                if v.name in s.updates:
                    value = z3.If(chosen, self._fit(v, to(s.updates[v.name])), value)
            made[v.name] = value
        return made

    def entry_moved(self) -> dict[str, Term]:
        """Entry variables after that step, before any fill."""
        scopes = self._scopes()
        moved = {}
        for v in self.system.entry_variables:
            value = self.now_terms[v.name]
            for s, chosen, to in reversed(scopes):
                if v.name in s.entry_updates:
                    value = z3.If(chosen, to(s.entry_updates[v.name]), value)
            moved[v.name] = value
        return moved

    def after(self) -> dict[str, Term]:
        """The state after the step as a function of ``now``, at full width."""
        control = self.control_after()
        fields = {v.name: self.now_terms[v.name] for v in self.system.entry_fields}
        return control | self.filled(control | fields, self.entry_moved())

    def transition(self) -> Term:
        """One step, chosen by ``act``, from ``now`` to ``next``."""
        self.system.require_apart()
        control = self.control_after()
        parts = [self.enabled()]
        parts += [self.next[v.name] == self.narrow(v, control[v.name]) for v in self.system.control if v.name in self.next]
        parts += [self.next_terms[name] == value for name, value in self.filled(self.next_terms, self.entry_moved()).items()]
        return every(*parts)

    def step_bad(self, goal: str) -> Term:
        """The step that ``act`` chooses violates ``goal``."""
        parts = []
        for s in self.system.steps:
            whens = [b.when for b in s.bads if b.property == goal]
            if whens:
                parts.append(every(self.act == s.index, self.scope(s, self.now_terms)(or_(*whens))))
        return some(*parts)

    def state_bad(self, goal: str) -> Term:
        """The state ``now`` violates ``goal``."""
        to = Translator(self.now_terms)
        return some(*(to(b.when) for b in self.system.invariants if b.property == goal))

    def out_of_range(self) -> Term:
        """The step that ``act`` chooses breaks a condition on the model itself."""
        checked = [(s, and_(*(c.holds for c in s.checks))) for s in self.system.steps if s.checks]
        return some(*(every(self.act == s.index, self.scope(s, self.now_terms)(not_(holds))) for s, holds in checked))
