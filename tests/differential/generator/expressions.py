"""Expressions of procedures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .declarations import Declarations
from .kinds import BOOL, ENUMS, MEMBERS, U32, Kind, Scope, Var


class Expressions(Declarations):
    """Writes expressions over what is in scope."""

    def expr(self, kind: Kind, s: Scope, depth: int = 1) -> str:
        r = self.r
        leaves = [n for n, k in s.locals.items() if k == kind] * 2
        leaves += [n for n, k in self.cases if k == kind]
        if kind is BOOL:
            leaves += self.flags
        if kind.is_range:
            leaves += [n for n, k in s.locals.items() if k.is_range and kind.low <= k.low and k.high <= kind.high]
        if s.steps:
            leaves += [text for text in (self.read(v, s) for v in self.vars if v.kind == kind) if text] * 2
        if self.names_only(kind) and leaves:
            return r.choice(leaves)
        if depth <= 0 or self.chance(0.35):
            return r.choice([*leaves, self.constant(kind)]) if self.chance(0.75) else self.constant(kind)
        options: list[Callable[[], str]] = [
            lambda: f"({self.expr(kind, s, depth - 1)} if {self.expr(BOOL, s, depth - 1)} else {self.expr(kind, s, 0)})"
        ]
        if kind is BOOL:
            options = [lambda: self.condition(s, depth - 1)] * 4 + options
        if kind.is_word:
            options += [lambda: self.word(kind, s, depth - 1)] * 3
        if kind.is_range:
            options += [lambda: self.sum(kind, s)] * 2
        for name, index, value in self.tables:
            at = self.indexing(index, s) if value == kind else None
            if at is not None:
                options += [partial(f"{name}({{}})".format, at)] * 4
        if s.steps and s.calls:
            for p in self.procs:
                if p.result == kind:
                    options += [partial(self.called, p.name, p.parameters, s)] * 2
        if s.steps and s.cpu:
            for op in self.ops:
                if op.result == kind:
                    options.append(partial(self.called, op.name, op.operands, s))
        return r.choice(options)()

    def indexing(self, index: Kind, s: Scope) -> str | None:
        """Something whose type is the table's index type; a bare number has none."""
        found = [n for n, k in s.locals.items() if k == index]
        if index.is_range:
            if s.steps:
                found += [text for v in self.vars if v.kind == index and (text := self.read(v, s))]
            return self.r.choice(found) if found else None
        return self.expr(index, s, 0)

    def sum(self, kind: Kind, s: Scope) -> str:
        names = [(n, k) for n, k in s.locals.items() if k.is_range]
        if not names:
            return self.constant(kind)
        name, k = self.r.choice(names)
        step = self.r.choice((1, 1, 2, -1))
        text = f"{name} + {step}" if step > 0 else f"{name} - {-step}"
        if k.low + step >= kind.low and k.high + step <= kind.high:
            return f"({text})"
        if self.chance(0.04):
            return f"({text})"  # it may leave the range
        inside = [str(x) for x in range(k.low, k.high + 1) if kind.low <= x + step <= kind.high]
        return f"({text} if {name} in ({', '.join([*inside, '90', '91'])}) else {self.constant(kind)})"

    def word(self, kind: Kind, s: Scope, depth: int) -> str:
        a = self.expr(kind, s, depth)
        if a.lstrip("(-").startswith("0x") or a[0].isdigit():
            names = [n for n, k in s.locals.items() if k == kind]
            if not names:
                return a
            a = self.r.choice(names)
        if self.chance(0.4):
            return self.one(f"(~{a})", f"({a} << {self.r.choice((1, 2, 8))})", f"({a} >> {self.r.choice((1, 2, 8))})")
        return f"({a} {self.one('&', '|', '^', '+', '-')} {self.expr(kind, s, 0)})"

    def condition(self, s: Scope, depth: int) -> str:
        r = self.r
        locals_ = list(s.locals.items())
        kinds = [k for _, k in locals_ if k is not BOOL] or [ENUMS[0]]
        what = r.choice(("not", "and", "or", "compare", "compare", "in", "chain", "cpu", "truth"))
        if what == "cpu" and s.cpu and self.cpus > 1 and not self.alike:
            return f"this_cpu() == {r.choice((0, 1))}"
        if what == "not":
            return f"(not {self.expr(BOOL, s, depth)})"
        if what in ("and", "or"):
            return f"({self.expr(BOOL, s, depth)} {what} {self.expr(BOOL, s, depth)})"
        if what == "truth":
            words = [n for n, k in locals_ if k.is_word]
            return f"({r.choice(words)} & {self.constant(U32)} != 0)" if words else self.expr(BOOL, s, 0)
        kind = r.choice(kinds)
        left = self.operand(kind, s)
        if left is None:
            return self.expr(BOOL, s, 0)
        if what == "in" and not self.names_only(kind):
            return f"({left} {self.one('in', 'not in')} ({self.constant(kind)}, {self.constant(kind)}))"
        if what == "chain" and kind.is_range:
            return f"({self.constant(kind)} <= {left} {self.one('<', '<=')} {self.expr(kind, s, 0)})"
        numbers = kind.is_range or kind.is_word or kind.note == "Cpu"
        signs = ("==", "!=", "<", "<=", ">", ">=") if numbers else ("==", "!=", "is", "is not")
        return f"({left} {r.choice(signs)} {self.expr(kind, s, 0)})"

    def operand(self, kind: Kind, s: Scope) -> str | None:
        """Something that has a type by itself, which a bare number has not."""
        found = [n for n, k in s.locals.items() if k == kind]
        if s.steps:
            found += [text for v in self.vars if v.kind == kind and (text := self.read(v, s))]
        if kind.note in MEMBERS and not self.names_only(kind):
            found += MEMBERS[kind.note]
        return self.r.choice(found) if found else None

    def place(self, v: Var, s: Scope) -> str | None:
        """The variable, or an element of it; None where there is none to be had."""
        if v.place == "cpu":
            if s.cpu and (self.alike or self.chance(0.7)):
                return v.name
            cpus = [n for n, k in s.locals.items() if k.note == "Cpu"]
            return f"{v.name}.at({self.r.choice([*cpus, str(self.r.randrange(self.cpus))])})"
        if v.index is not None:
            inner = s.copy(steps=s.steps and self.chance(0.3))
            return f"{v.name}.at({self.expr(v.index, inner, 0 if self.chance(0.7) else 1)})"
        return v.name

    def read(self, v: Var, s: Scope) -> str | None:
        if v.place == "array" and not self.chance(0.5):
            return None
        place = self.place(v, s)
        return f"{place}.get()" if place else None

    def called(self, name: str, parameters: Sequence[tuple[str, Kind]], s: Scope) -> str:
        return f"{name}({self.arguments(parameters, s)})"

    def arguments(self, parameters: Sequence[tuple[str, Kind]], s: Scope) -> str:
        inner = s.copy(steps=s.steps and self.chance(0.3))
        texts = [(name, self.expr(kind, inner, 0 if self.chance(0.6) else 1)) for name, kind in parameters]
        if self.chance(0.2) and texts:
            named = [f"{name}={text}" for name, text in texts]
            self.r.shuffle(named)
            return ", ".join(named)
        return ", ".join(text for _, text in texts)
