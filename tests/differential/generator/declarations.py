"""Variables, tables, operations and the cache."""

from __future__ import annotations

from .kinds import BOOL, ENUMS, U32, U64, Kind, Op, Var, eq_text, ranged
from .rules import Rules


class Declarations(Rules):
    """Declares what procedures and properties speak of."""

    def declare_variables(self) -> None:
        r = self.r
        for n in range(r.choice((1, 2, 2, 3))):
            self.vars.append(Var(f"V{n}", self.some_kind(), "shared"))
        for name, p in (("A0", 0.4), ("A1", 0.1)):
            if self.chance(p):
                index = (
                    ENUMS[0] if self.alike else r.choice([BOOL, r.choice(ENUMS), self.some_range(), self.some_range()])
                )
                kind = r.choice([BOOL, BOOL, self.some_range(), r.choice(ENUMS), U32])
                self.vars.append(Var(name, kind, "array", index))
        for n in range(r.choice((0, 1, 1, 2))):
            self.vars.append(Var(f"P{n}", self.some_kind(small=True), "cpu"))
        if self.chance(0.5):
            self.vars.append(Var("R0", r.choice([BOOL, self.some_range(), U64]), "cpu", register=True))
        for v in self.vars:
            if v.register:
                self.emit(f"{v.name} = StateVar('{v.name}', {v.kind.data}, per_cpu=True, register=True)")
            else:
                over = f", index={v.index.note}" if v.index else ""
                self.emit(f"{v.name} = {'per_cpu' if v.place == 'cpu' else 'shared'}('{v.name}', {v.kind.note}{over})")
        if self.chance(0.35):
            index = r.choice([r.choice(ENUMS), self.some_range(), self.some_range()])
            kind = self.some_kind()
            values = [self.number(kind) for _ in range(index.high - index.low + 1)]
            self.tables.append(("TAB", index, kind))
            self.emit(f"TAB = Table('tab', {index.data}, ({', '.join(map(str, values))},), {kind.data})")
        if self.chance(0.12):
            kind = self.some_kind()
            self.tables.append(("TAB1", BOOL, kind))
            self.emit(f"TAB1 = Table('tab1', BOOL, ({self.number(kind)}, {self.number(kind)}), {kind.data})")
        if self.chance(0.25):
            kind = self.some_kind(small=True)
            domain = sorted({self.number(kind), self.number(kind)}) if self.chance(0.5) else None
            self.cases.append(("CASE", kind))
            self.emit(f"CASE = case_variable('c', {kind.note}{f', {tuple(domain)}' if domain else ''})")
        if self.chance(0.25):
            self.flags.append("FLAG")
            self.emit("FLAG = Flag('FLAG', False)")
        if self.chance(0.25):
            self.settings.append("setting.s")

    def declare_operations(self) -> None:
        r = self.r
        self.emit("mark = marker('mark', 'marks')", "use = marker('use', 'uses')")
        if self.chance(0.75):
            fields: list[tuple[str, Kind, tuple[int, ...]]] = []
            if self.alike:
                fields.append(("page", ENUMS[0], (0, 1, 2) if self.cpus == 1 else (0, 1)))
            elif self.cpus == 2 or self.chance(0.4):
                fields.append(("page", BOOL, (0,) if self.chance(0.6) or self.cpus == 2 else (0, 1)))
            else:
                kind = r.choice([ranged(1, 3), ENUMS[0], ranged(-1, 1)])
                fields.append(
                    ("page", kind, tuple(sorted(r.sample(range(kind.low, kind.high + 1), r.choice((1, 2, 2, 3))))))
                )
            if self.chance(0.3) and len(fields[0][2]) <= 2 and self.cpus == 1:
                fields.append(("root", ENUMS[1], (0, 1)))
            self.fields = fields
            self.meanings = ["m0"] if self.chance(0.5) else []
        for n in range(r.choice((0, 1, 1, 2))):
            operands = tuple((f"o{i}", self.some_kind(small=self.chance(0.8))) for i in range(r.choice((0, 1, 1, 2))))
            args = [(f"arg.{x}", k) for x, k in operands]
            registers = [v for v in self.vars if v.register or v.place == "shared"]
            parts = [f"operands=({''.join(f'({x!r}, {k.data}), ' for x, k in operands)})"] if operands else []
            uses = self.fields and self.chance(0.15)
            result = r.choice([None, None, self.some_kind(small=True)])
            if self.chance(0.6) and registers:
                v = r.choice(registers)
                parts.append(f"effects=(({v.name}, {self.rule(v.kind, 1, args)}),)")
            if self.chance(0.2):
                parts.append(
                    f"faults=(Clause('f', ({self.rule(BOOL, 1, args)},), exception={self.one('#GP', '#UD')!r}),)"
                )
            if self.fields and self.chance(0.7):
                vendors = ("", "", ", frozenset({'intel'})")
                clauses = [
                    f"Clause('d', ({self.rule(BOOL, 1, args, entry=True)},){self.one(*vendors)})"
                    for _ in range(r.choice((1, 1, 2)))
                ]
                parts.append(f"drops=({', '.join(clauses)},)")
            if uses:
                name, kind, _ = r.choice(self.fields)
                parts.append(f"uses={self.rule(BOOL, 1, [*args, (f'used.{name}', kind)])}")
                if result is not None:
                    result = kind
                    parts.append(f"result=var('used.{name}', {kind.data})")
            elif result is not None:
                parts.append(f"result={self.rule(result, 1, args)}")
            self.ops.append(Op(f"op{n}", operands, result))
            self.emit(f"op{n} = Operation('op{n}', {', '.join(parts)})")
        if self.fields:
            entry2 = self.chance(0.15)
            fields_text = "".join(f"({name!r}, {kind.data}, {tuple(values)}), " for name, kind, values in self.fields)
            first = eq_text(*fields[0])
            possible = (
                "TRUE"
                if self.alike
                else self.one("TRUE", "TRUE", f"or_({first}, {self.rule(BOOL, 1, [], only_entry=True)})")
            )  # some entry there can be
            fill = self.rule(BOOL, 2, [], entry=True, entry2=entry2, own=False)
            self.emit(
                f"CACHE = CacheKind(name='TLB', fields=({fields_text}), possible={possible}, fill={fill}, "
                f"initial={self.one('FALSE', 'FALSE', self.rule(BOOL, 1, [], entry=True, own=False))}, describe=str)"
            )
