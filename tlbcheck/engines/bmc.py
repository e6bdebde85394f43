"""The z3 engine: bounded search, incremental in depth, for a shortest violation of each property.

The tracked entry is symbolic; fills are saturated. Words are cut down to the bits that can vary.
z3 is imported here only, and this runs in a child process (see ``engines.run``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import z3

from tlbcheck.engines.trace import EngineResult, State, Trace, TraceStep, Violation
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import Expr, const, evaluate, or_
from tlbcheck.lang.types import BoolType, IntType, WordType
from tlbcheck.system.known_bits import KnownBits, width
from tlbcheck.system.transition_system import Parameter, Step, TransitionSystem, Variable

Term = Any
Names = Mapping[str, Term]


_INTEGER = 32
"""Bits in which bounded integers are computed: they do not wrap."""


def _integer(own: Term) -> Term:
    return z3.ZeroExt(_INTEGER - own.size(), own) if own.size() < _INTEGER else own


class Translator:
    """Expressions as z3 terms over a given naming of variables; BoolType as Bool, all else as BitVec."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.memo: dict[Expr, Term] = {}

    def __call__(self, e: Expr) -> Term:
        found = self.memo.get(e)
        if found is None:
            found = self.memo[e] = self._translate(e)
        return found

    def _translate(self, e: Expr) -> Term:
        assert e.type is not None, e
        match e.op:
            case "const":
                return z3.BoolVal(bool(e.value)) if isinstance(e.type, BoolType) else z3.BitVecVal(e.value, _INTEGER if isinstance(e.type, IntType) else width(e.type))
            case "var":
                return _integer(self.names[e.value]) if isinstance(e.type, IntType) else self.names[e.value]
            case "table":
                index = self(e.args[0])
                made = self(_value(e, e.value[-1]))
                for i in range(len(e.value) - 2, -1, -1):
                    made = z3.If(index == i, self(_value(e, e.value[i])), made)
                return made
        args = [self(a) for a in e.args]
        match e.op:
            case "not":
                return z3.Not(args[0])
            case "and":
                return z3.And(args)
            case "or":
                return z3.Or(args)
            case "ite":
                return z3.If(*args)
            case "eq":
                a, b = self._same_width(args)
                return a == b
            case "lt" | "le":
                a, b = self._same_width(args)
                type_ = e.args[0].type
                if isinstance(type_, IntType) or (isinstance(type_, WordType) and type_.signed):
                    return a < b if e.op == "lt" else a <= b
                return z3.ULT(a, b) if e.op == "lt" else z3.ULE(a, b)
            case "resize":
                have, want = args[0].size(), width(e.type)
                return z3.Extract(want - 1, 0, args[0]) if want <= have else z3.ZeroExt(want - have, args[0])
            case "bnot":
                return ~args[0]
        a, b = self._same_width(args)
        size = _INTEGER if isinstance(e.type, IntType) else width(e.type)
        made = {"band": lambda: a & b, "bor": lambda: a | b, "bxor": lambda: a ^ b, "add": lambda: a + b, "sub": lambda: a - b, "shl": lambda: a << b, "shr": lambda: z3.LShR(a, b)}[e.op]()
        return made if made.size() == size else z3.Extract(size - 1, 0, made) if made.size() > size else z3.ZeroExt(size - made.size(), made)

    def _same_width(self, args: list[Term]) -> tuple[Term, Term]:
        a, b = args
        if z3.is_bool(a) or a.size() == b.size():
            return a, b
        size = max(a.size(), b.size())
        a, b = (z3.ZeroExt(size - x.size(), x) if x.size() < size else x for x in (a, b))
        return a, b


def _value(table: Expr, value: int) -> Expr:
    return const(value, table.type)


class Encoding:
    """The transition system as z3 formulas over vectors of small variables."""

    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.bits = KnownBits(system)
        self.variables = [*system.control, *system.entry_variables]
        self.act = z3.BitVec("act", max(1, len(system.steps).bit_length()))
        self.parameters: dict[tuple[str, int], Term] = {}
        self.now = {v.name: self._own(v, "now") for v in self.variables if self.varying(v)}
        self.next = {v.name: self._own(v, "next") for v in self.variables if self.varying(v)}
        self.fields = {v.name: self._own(v, "field") for v in system.entry_fields if self.varying(v)}
        self.now_terms = self.terms(self.now)
        self.next_terms = self.terms(self.next)
        self.goals = sorted({b.property for s in system.steps for b in s.bads} | {b.property for b in system.invariants})

    def varying(self, v: Variable) -> int:
        return self.bits.of(v).varying

    def _own(self, v: Variable, vector: str) -> Term:
        if isinstance(v.type, BoolType):
            return z3.Bool(f"{vector}:{v.name}")
        return z3.BitVec(f"{vector}:{v.name}", self.varying(v).bit_count())

    def whole(self, v: Variable, own: Term | None) -> Term:
        """The variable at its full width: its varying bits among the constant ones."""
        bits, size = self.bits.of(v), width(v.type)
        if isinstance(v.type, BoolType):
            return own if own is not None else z3.BoolVal(bool(bits.ones))
        if own is None:
            return z3.BitVecVal(bits.ones, size)
        parts: list[Term] = []
        taken = 0
        for i in range(size):
            if bits.varying >> i & 1:
                parts.append(z3.Extract(taken, taken, own))
                taken += 1
            else:
                parts.append(z3.BitVecVal(bits.ones >> i & 1, 1))
        return z3.simplify(z3.Concat(*reversed(parts))) if size > 1 else parts[0]

    def narrow(self, v: Variable, term: Term) -> Term:
        """The varying bits of a full-width term."""
        if isinstance(v.type, BoolType):
            return term
        parts = [z3.Extract(i, i, term) for i in range(width(v.type)) if self.varying(v) >> i & 1]
        return z3.simplify(z3.Concat(*reversed(parts))) if len(parts) > 1 else z3.simplify(parts[0])

    def terms(self, vector: Mapping[str, Term]) -> dict[str, Term]:
        made = {v.name: self.whole(v, vector.get(v.name)) for v in self.variables}
        made |= {v.name: self.whole(v, self.fields.get(v.name)) for v in self.system.entry_fields}
        return made

    def parameter(self, q: Parameter) -> Term:
        key = (q.name, 0 if isinstance(q.type, BoolType) else width(q.type))
        if key not in self.parameters:
            name = f"{q.name}:{key[1]}"
            self.parameters[key] = z3.Bool(name) if isinstance(q.type, BoolType) else z3.BitVec(name, key[1])
        return self.parameters[key]

    def scope(self, step: Step, terms: Mapping[str, Term]) -> Translator:
        return Translator({**terms, **{q.name: self.parameter(q) for q in step.parameters}})

    def in_domain(self, q: Parameter) -> Term:
        p = self.parameter(q)
        if isinstance(q.type, BoolType):
            return z3.Or([p if value else z3.Not(p) for value in q.domain])
        if len(q.domain) == 1 << p.size():
            return z3.BoolVal(True)
        return z3.Or([p == value for value in q.domain])

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
        domains = [
            z3.Or([self.whole(v, self.fields.get(v.name)) == (z3.BoolVal(bool(x)) if isinstance(v.type, BoolType) else x) for x in v.domain or v.type.values()]) for v in self.system.entry_fields
        ]
        return z3.And(*domains, Translator(self.now_terms)(self.system.cache.possible))

    def initial(self) -> Term:
        """The states in which a run may start, over the vector ``now``."""
        choices = []
        rigid = set(self.system.rigid)
        base = {v.name: self.now_terms[v.name] if v.name in rigid else self.whole_constant(v) for v in self.system.control}
        domains = [z3.Or([self.now_terms[v.name] == (z3.BoolVal(bool(x)) if isinstance(v.type, BoolType) else x) for x in v.domain or v.type.values()]) for v in self.system.control if v.name in rigid]
        for step in self.system.initial:
            to = self.scope(step, {**self.now_terms, **base})
            parts = [to(step.guard), *(self.in_domain(q) for q in step.parameters)]
            for v in self.system.control:
                value = to(step.updates[v.name]) if v.name in step.updates else base[v.name]
                parts.append(self.now_terms[v.name] == self._fit(v, value))
            choices.append(z3.And(parts))
        content = self.initial_entries()
        return z3.And(*domains, z3.Or(choices), content, self.entries())

    def initial_entries(self) -> Term:
        """Each entry cached or not as the cache allows, then what a walk adds."""
        to = Translator(self.now_terms)
        parts = []
        free = {}
        for v in self.system.entry_variables:
            if v.name in self.system.entry_initial:
                free[v.name] = z3.And(z3.Bool(f"content:{v.name}"), to(self.system.entry_initial[v.name]))
            else:
                free[v.name] = z3.BoolVal(bool(v.initial))
        for name, value in self.filled(self.now_terms, free).items():
            parts.append(self.now_terms[name] == value)
        return z3.And(parts)

    def whole_constant(self, v: Variable) -> Term:
        return z3.BoolVal(bool(v.initial)) if isinstance(v.type, BoolType) else z3.BitVecVal(v.initial, width(v.type))

    def _fit(self, v: Variable, term: Term) -> Term:
        if isinstance(v.type, BoolType) or term.size() == width(v.type):
            return term
        size = width(v.type)
        return z3.Extract(size - 1, 0, term) if term.size() > size else z3.ZeroExt(size - term.size(), term)

    def transition(self) -> Term:
        """One step, chosen by ``act``, from ``now`` to ``next``."""
        steps = [(s, self.act == s.index, self.scope(s, self.now_terms)) for s in self.system.steps]
        parts = [z3.ULT(self.act, len(self.system.steps))] if len(self.system.steps) < 1 << self.act.size() else []
        for s, chosen, to in steps:
            parts.append(z3.Implies(chosen, z3.And(to(s.guard), *(self.in_domain(q) for q in s.parameters))))
        for v in self.system.control:
            if v.name in self.next:
                value = self.now[v.name]
                for s, chosen, to in reversed(steps):
                    if v.name in s.updates:
                        value = z3.If(chosen, self.narrow(v, self._fit(v, to(s.updates[v.name]))), value)
                parts.append(self.next[v.name] == value)
        moved = {}
        for v in self.system.entry_variables:
            value = self.now_terms[v.name]
            for s, chosen, to in reversed(steps):
                if v.name in s.entry_updates:
                    value = z3.If(chosen, to(s.entry_updates[v.name]), value)
            moved[v.name] = value
        parts += [self.next_terms[name] == value for name, value in self.filled(self.next_terms, moved).items()]
        return z3.And(parts)

    def step_bad(self, goal: str) -> Term:
        """The step that ``act`` chooses violates ``goal``."""
        parts = []
        for s in self.system.steps:
            whens = [b.when for b in s.bads if b.property == goal]
            if whens:
                parts.append(z3.And(self.act == s.index, self.scope(s, self.now_terms)(or_(*whens))))
        return z3.Or(parts)

    def state_bad(self, goal: str) -> Term:
        """The state ``now`` violates ``goal``."""
        to = Translator(self.now_terms)
        return z3.Or([to(b.when) for b in self.system.invariants if b.property == goal])


class Bounded:
    """Unrolls the transition relation step by step."""

    def __init__(self, system: TransitionSystem) -> None:
        self.encoding = Encoding(system)
        self.system = system
        self.solver = z3.SolverFor("QF_FD")
        e = self.encoding
        self.transition = z3.simplify(e.transition())
        self.step_bads = {g: e.step_bad(g) for g in e.goals}
        self.state_bads = {g: e.state_bad(g) for g in e.goals}
        self.inputs = [e.act, *e.parameters.values()]

    def at(self, term: Term, frame: int) -> Term:
        """``term`` over the vectors of one unrolled step."""
        e = self.encoding
        now = [(x, self._named(x, frame)) for x in (*e.now.values(), *self.inputs)]
        after = [(x, self._named(e.now[name], frame + 1)) for name, x in e.next.items()]
        return z3.substitute(term, *now, *after)

    def _started(self, initial: Term) -> Term:
        """``initial`` with choices of its own, apart from those of the first step."""
        return z3.substitute(initial, *((x, z3.Const(f"start:{x.decl().name()}", x.sort())) for x in self.encoding.parameters.values()))

    def _named(self, x: Term, frame: int) -> Term:
        return z3.Const(f"{x.decl().name()}@{frame}", x.sort())

    def run(self, bound: int, progress: Callable[[int], None] | None = None, stop: Callable[[], int] | None = None) -> EngineResult:
        """Search up to ``bound`` steps; each property is dropped once violated.

        ``stop`` may lower the bound while the search runs.
        """
        began = time.perf_counter()
        result = EngineResult("bmc", complete=False, bound=bound)
        open_goals = list(self.encoding.goals)
        self.solver.add(self.at(self._started(self.encoding.initial()), 0))
        for depth in range(bound + 1):
            if depth:
                self.solver.add(self.at(self.transition, depth - 1))
            reached: dict[str, Term] = {}
            bads: dict[str, Term] = {}
            for goal in open_goals:
                literal = z3.Bool(f"bad:{goal}@{depth}")
                bad = self.at(self.state_bads[goal], depth)
                if depth:
                    bad = z3.Or(bad, self.at(self.step_bads[goal], depth - 1))
                self.solver.add(z3.Implies(literal, bad))
                reached[goal], bads[goal] = literal, bad
            if progress is not None:
                progress(depth)
            while open_goals:
                some = z3.Bool(f"any@{depth}:{len(open_goals)}")
                self.solver.add(z3.Implies(some, z3.Or([reached[g] for g in open_goals])))
                answer = self.solver.check(some)
                if answer == z3.unknown:
                    result.reason = f"z3: {self.solver.reason_unknown()} at depth {depth}"
                    result.bound = depth - 1
                    result.seconds = time.perf_counter() - began
                    return result
                if answer == z3.unsat:
                    break
                model = self.solver.model()
                trace = self._trace(model, depth)
                hit = [g for g in open_goals if z3.is_true(model.eval(reached[g], model_completion=True))]
                if not hit:
                    raise InternalError("z3 claims a violation that its model does not have")
                for goal in hit:
                    result.violations.append(Violation(goal, self._clause(goal, trace), (), depth, trace))
                    open_goals.remove(goal)
            if not open_goals or (stop is not None and depth >= stop()):
                result.bound = depth
                break
            # What was just shown never to happen at this depth helps the deeper queries.
            self.solver.add(z3.Not(z3.Or([bads[g] for g in open_goals])))
        result.seconds = time.perf_counter() - began
        return result

    def _clause(self, goal: str, trace: Trace) -> str:
        state = dict(trace.last.control) | dict(trace.last.entry) | dict(trace.tracked)
        for b in self.system.invariants:
            if b.property == goal and evaluate(b.when, state):
                return b.clause
        if trace.steps:
            before = trace.steps[-2].after if len(trace.steps) > 1 else trace.initial
            step = trace.steps[-1]
            values = {**before.control, **before.entry, **trace.tracked, **step.choices}
            for b in step.step.bads:
                if b.property == goal and evaluate(b.when, values):
                    return b.clause
        raise InternalError(f"z3's run does not violate {goal}")

    def _trace(self, model: Any, depth: int) -> Trace:
        e = self.encoding
        fields = {v.name: self._value(model, e.whole(v, e.fields.get(v.name))) for v in self.system.entry_fields}

        def state(frame: int) -> State:
            values = {v.name: self._value(model, self.at(e.now_terms[v.name], frame)) for v in e.variables}
            return State({v.name: values[v.name] for v in self.system.control}, {v.name: values[v.name] for v in self.system.entry_variables})

        steps = []
        for frame in range(depth):
            step = self.system.steps[self._value(model, self._named(e.act, frame))]
            choices = {q.name: self._value(model, self._named(e.parameter(q), frame)) for q in step.parameters}
            steps.append(TraceStep(step, choices, state(frame + 1)))
        initial = state(0)
        start, start_choices = self._start(initial)
        return Trace(start, start_choices, initial, fields, tuple(steps))

    def _value(self, model: Any, term: Term) -> int:
        value = model.eval(term, model_completion=True)
        return int(z3.is_true(value)) if z3.is_bool(value) else int(value.as_long())

    def _start(self, initial: State) -> tuple[Step, dict[str, int]]:
        """The way in which ``init`` can have made this state."""
        import itertools

        rigid = {n: initial.control[n] for n in self.system.rigid}
        base = {v.name: v.initial for v in self.system.control} | rigid
        for step in self.system.initial:
            for values in itertools.product(*(q.domain for q in step.parameters)):
                scope = base | dict(zip((q.name for q in step.parameters), values, strict=True))
                if evaluate(step.guard, scope):
                    after = base | {n: evaluate(x, scope) for n, x in step.updates.items() if n in base}
                    if all(after[n] == initial.control[n] for n in after):
                        return step, dict(zip((q.name for q in step.parameters), values, strict=True))
        raise InternalError("z3's run starts where no run can start")
