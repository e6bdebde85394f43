"""Statements and procedures."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from .expressions import Expressions
from .kinds import BOOL, ENUMS, Kind, Proc, Scope, Var, indented, ranged


class Procedures(Expressions):
    """Writes statements and procedures."""

    def fresh(self, s: Scope) -> str:
        s.temporaries[0] += 1
        return f"x{s.temporaries[0]}"

    def block(self, s: Scope, count: int, depth: int) -> list[str]:
        """Statements, without indentation; at least one."""
        lines: list[str] = []
        for _ in range(count):
            lines += self.statement(s, depth)
        return lines or ["pass"]

    def step(self, s: Scope) -> list[str]:
        """One statement that is certainly a step."""
        writable = [v for v in self.vars if not v.register]
        if writable and self.chance(0.5):
            return self.assignment(s, writable)
        if not s.cpu:
            return ["mark()"]
        op = self.r.choice([*self.ops, self.ops[0]])
        return [f"{op.name}({self.arguments(op.operands, s)})"]

    def assignment(self, s: Scope, writable: Sequence[Var]) -> list[str]:
        v = self.r.choice(writable)
        place = self.place(v, s)
        return [f"{place}.set({self.expr(v.kind, s)})"]

    def statement(self, s: Scope, depth: int) -> list[str]:
        r = self.r
        weights = {
            "step": 8.0,
            "local": 3,
            "choose": 5 if self.alike else 2,
            "if": 4 if depth else 0,
            "loop": 0.7 if depth else 0,
            "cpus": 0.5 if depth and s.cpu else 0,
            "call": 4 if s.calls else 0,
            "assert": 0.7,
            "require": 0.8,
            "atomic": 0 if not depth else 0.2 if s.atomic else 1.5,
            "augment": 1,
            "return": 0.5 if s.result is not None else 0,
        }
        what = r.choices(list(weights), list(weights.values()))[0]
        match what:
            case "local":
                kind = self.some_kind()
                if kind.is_word or self.chance(0.5):
                    text = self.expr(kind, s)
                    name = self.fresh(s)
                    s.locals[name] = kind
                    return [f"{name}: {kind.note} = {text}"]
                operand = self.operand(kind, s)
                if operand is None:
                    return self.step(s)
                known = [n for n, k in s.locals.items() if k == kind]
                name = r.choice(known) if known and self.chance(0.5) else self.fresh(s)
                s.locals[name] = kind
                return [f"{name} = {operand}"]
            case "choose":
                name = self.fresh(s)
                kind = ENUMS[0] if self.alike else r.choice([BOOL, r.choice(ENUMS), self.some_range()])
                if kind.is_range:
                    numbers = sorted({self.number(kind), self.number(kind)})
                    s.locals[name] = kind
                    return [f"{name}: {kind.note} = choose(({', '.join(map(str, numbers))},))"]
                s.locals[name] = kind
                return [f"{name} = choose({kind.note})"]
            case "if":
                lines = [f"if {self.expr(BOOL, s)}:"]
                lines += indented(self.block(s.copy(), r.choice((1, 1, 2)), depth - 1))
                if self.chance(0.5):
                    lines += ["else:", *indented(self.block(s.copy(), 1, depth - 1))]
                return lines
            case "loop":
                name, last = self.fresh(s), r.choice((1, 2))
                inner = s.copy()
                body = self.block(inner, 1, depth - 1)
                s.locals[name] = ranged(0, last)
                return [
                    f"{name}: Range(0, {last}) = 0",
                    f"while {name} < {last}:",
                    *indented([*body, *self.step(inner), f"{name} = {name} + 1"]),
                ]
            case "cpus":
                name = self.fresh(s)
                inner = s.copy()
                inner.locals[name] = Kind("Cpu", "CPU", 0, 15)
                return [f"for {name} in cpus():", *indented(self.block(inner, 1, depth - 1))]
            case "call":
                if not self.procs:
                    return self.step(s)
                p = r.choice(self.procs)
                call = f"{p.name}({self.arguments(p.parameters, s)})"
                if p.result is None or self.chance(0.3):
                    return [call]
                name = self.fresh(s)
                s.locals[name] = p.result
                return [f"{name} = {call}"]
            case "assert":
                return [f"assert {self.expr(BOOL, s.copy(calls=False))}"]
            case "require":
                if self.chance(0.6):
                    reads = [access for v in self.vars if v.kind is BOOL and (access := self.read(v, s))]
                    if reads:
                        return [f"require({self.one('', 'not ')}{r.choice(reads)})"]
                return [f"require({self.expr(BOOL, s.copy(steps=self.chance(0.4), calls=False))})"]
            case "atomic":
                inner = s.copy(atomic=True, result=None)
                inside = self.block(inner, r.choice((1, 2, 2, 3)), depth - 1)
                if self.chance(0.3):
                    flat = all(not x.startswith(" ") and not x.endswith(":") for x in inside)
                    inside.insert(
                        r.randrange(len(inside) + 1) if flat else 0,
                        f"require({self.expr(BOOL, s.copy(calls=False), 0)})",
                    )
                return [self.one("with atomic:", "with atomic('together'):"), *indented(inside)]
            case "augment":
                words = [(n, k) for n, k in s.locals.items() if k.is_word]
                if not words:
                    return self.step(s)
                name, kind = r.choice(words)
                return [f"{name} {self.one('+', '&', '|')}= {self.expr(kind, s, 0)}"]
            case "return":
                assert s.result is not None
                return [f"if {self.expr(BOOL, s)}:", f"    return {self.expr(s.result, s)}"]
        return self.step(s)

    def define(
        self,
        name: str,
        parameters: Sequence[tuple[str, Kind]],
        result: Kind | None,
        lines: Sequence[str],
        role: str = "",
        ensures: str = "",
    ) -> None:
        # A local that nothing reads begins with "_", or it is taken for a slip.
        text = "\n".join(lines)
        nodes = list(ast.walk(ast.parse(text)))
        read = {x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)}
        read |= {x.target.id for x in nodes if isinstance(x, ast.AugAssign) and isinstance(x.target, ast.Name)}
        for local in set(re.findall(r"\bx\d+\b", text)) - read:
            text = re.sub(rf"\b{local}\b", f"_{local}", text)
        lines = text.split("\n")
        decoration = ", ".join(x for x in (f"role={role!r}" if role else "", ensures) if x)
        self.emit(
            f"@procedure({decoration})" if decoration else "@procedure",
            f"def {name}({', '.join(f'{n}: {k.note}' for n, k in parameters)}) -> {result.note if result else 'None'}:",
            *indented(lines),
            "",
            "",
        )

    def helper(self, n: int) -> None:
        r = self.r
        parameters = tuple((f"p{i}", self.some_kind()) for i in range(r.choice((0, 1, 1, 2))))
        result = r.choice([None, None, self.some_kind()])
        role = self.one("", "", "outer", "inner")
        s = Scope(dict(parameters), result=result)
        lines = []
        if self.chance(0.3):
            reads = [v for v in self.vars if v.kind is BOOL and v.index is None]
            if reads and self.chance(0.6):
                lines.append(f"requires({self.one('', 'not ')}{r.choice(reads).name}.get())")
            else:
                lines.append(f"requires({self.expr(BOOL, s.copy(steps=False))})")
        lines += self.block(s, r.choice((1, 1, 2, 3)), 1)
        if self.chance(0.9):
            lines += self.step(s)
        if result is not None:
            lines.append(f"return {self.expr(result, s)}")
        self.define(f"h{n}", parameters, result, lines, role)
        self.procs.append(Proc(f"h{n}", parameters, result, role))

    def start(self) -> None:
        s = Scope({}, calls=False, atomic=True)
        lines = []
        for v in self.vars:
            if self.chance(0.35):
                for c in range(self.cpus) if v.place == "cpu" else (0,):
                    place = (
                        f"{v.name}.at({c})"
                        if v.place == "cpu"
                        else f"{v.name}.at({self.constant(v.index)})"
                        if v.index
                        else v.name
                    )
                    if self.names_only(v.kind):
                        name = self.fresh(s)
                        lines += [f"{name} = choose({v.kind.note})", f"{place}.set({name})"]
                        s.locals[name] = v.kind
                    elif self.chance(0.2) and not v.kind.is_word:
                        name = self.fresh(s)
                        values = sorted({self.constant(v.kind), self.constant(v.kind)})
                        lines += [f"{name}: {v.kind.note} = choose(({', '.join(values)},))", f"{place}.set({name})"]
                        s.locals[name] = v.kind
                    else:
                        lines.append(f"{place}.set({self.constant(v.kind)})")
            else:  # a rule may only speak of what procedures use
                place = f"{v.name}.at({self.constant(v.index)})" if v.index else v.name
                lines.append(f"{self.fresh(s)}: {v.kind.note} = {place}.get()")
        if self.chance(0.1):
            lines.append(self.one("mark()", "use()"))
        if self.chance(0.08):
            lines.append(f"require({self.expr(BOOL, s, 0)})")
        self.define("start", (), None, lines or ["pass"])
