"""Random models over the whole language, as the text of a model file: the same seed gives the same model.

They are small, so that the reference interpreter visits every state in a fraction of a second, and meant to be
well-formed but for a few that leave a range. ``TAGS`` names the constructs that a text is
searched for, to see that none is missing.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

HEAD = """import enum

from tlbcheck import *
from tlbcheck.lang.expr import FALSE, TRUE, and_, bit, const, eq, lookup, not_, or_
from tlbcheck.lang.program import CPU_ACTING, CPU_SELF, Clause, StateVar
from tlbcheck.lang.types import BOOL, CPU, U32, U64, IntType, WordType, enum_type


class E(enum.Enum):
    a = enum.auto()
    b = enum.auto()
    c = enum.auto()


class F(enum.Enum):
    p = enum.auto()
    q = enum.auto()


"""

RANGES = ((0, 2), (1, 3), (-2, 0), (-3, -2), (0, 1), (2, 4), (-1, 1), (0, 3))
WORDS = (0, 1, 2, 3, 0x80, 0xFF, 1 << 31, (1 << 32) - 1)

TAGS: dict[str, str] = {
    "array": "index=", "array from below 0": r"index=(Range|IntType)\(-", "array from above 0": r"index=Range\([1-9]",
    "array over an enum": r"index=[EF]\b", "array over bool": "index=bool", "table": r"TAB\d?\(",
    "table over a range": r"Table\('\w+', IntType", "table over an enum": r"Table\('\w+', enum_type",
    "range below 0": r"Range\(-", "range above 0": r"Range\([1-9]", "word of 32 bits": r"\bu32\b|U32",
    "word of 64 bits": r"\bu64\b|U64", "shift": "<<|>>", "invert": "~", "sum": r" \+ | - ",
    "conditional expression": " if .+ else ", "chain of comparisons": r"<=? \w+ <", "membership": r" in \(",
    "loop": "while (?!True)", "endless loop": "while True", "loop over CPUs": r"in cpus\(\)", "call": r"\bh\d\(",
    "call for a value": r"= h\d\(|\(h\d\(", "return": "return", "choice": r"choose\(",
    "choice from a tuple": r"choose\(\(", "require": r"require\(",
    "require in atomic": r"with atomic[^@]*?\n        +require\(", "require of a read": r"require\(.*get\(\)",
    "atomic": "with atomic", "assertion": r"\bassert ", "precondition": r"requires\(",
    "precondition that reads": r"requires\(.*get\(\)", "contract": r"Contract\(",
    "most general caller": r"most_general_caller\(", "per-CPU variable": r"per_cpu\(", "access by CPU": r"P\d\.at\(",
    "two CPUs": "cpus=2", "this_cpu": r"this_cpu\(", "interrupt": r"Interrupt\(",
    "interrupt without a flag": r"Interrupt\(\w+, None", "two interrupts": r"Interrupt\(.*Interrupt\(", "nmi": "nmi",
    "action": r"actions=\(a", "action with parameters": r"def a\d\(\w", "ghost": r"\.ghost\(",
    "ghost per entry": "per_entry=True", "ghost per frame": "frame=True", "ghost by CPU": "by_cpu=True",
    "enter": r"enter\(", "leave": r"leave\(", "operation event": r"operation\(", "fill event": r"Event\('fill'",
    "fault event": r"Event\('fault'", "assert event": r"Event\('assert'", "requires event": r"Event\('requires'",
    "within": "within=", "every CPU": "every_cpu=True", "never": r"\.never\(",
    "eventually not": r"\.eventually_not\(", "entry2": "entry2", "case variable": r"case_variable\(",
    "setting": r"setting\.", "flag": r"Flag\(", "fault": "faults=", "effect": "effects=", "drop": "drops=",
    "result": "result=", "uses": "uses=", "meaning": r"meaning\.", "cache": r"CacheKind\(", "no cache": "cache=None",
    "init requires": r"def start[^@]*?\brequire\(", "by name": r"\((p|o)\d=", "augmented assignment": r"\w [+&|]= ",
    "local declared": r"\w: (Range|bool|E|u64|u32)", "role of the task": r"role='\w+'\)\ndef task",
    "role of a handler": r"role='\w+'\)\ndef i\d", "handler of two": r"Interrupt\((i\d).*Interrupt\(\1",
}  # fmt: skip


def tags(text: str) -> set[str]:
    """The constructs that occur in a model's text."""
    return {name for name, pattern in TAGS.items() if re.search(pattern, text)}


@dataclass(frozen=True)
class Kind:
    """A type as the text writes it: ``note`` as an annotation, ``data`` as the type of an expression."""

    note: str
    data: str
    low: int = 0
    high: int = 0

    @property
    def is_range(self) -> bool:
        return self.note.startswith("Range")

    @property
    def is_word(self) -> bool:
        return self.note in ("u32", "u64")


BOOL = Kind("bool", "BOOL")
ENUMS = (Kind("E", "enum_type(E)", 0, 2), Kind("F", "enum_type(F)", 0, 1))
U32, U64 = Kind("u32", "U32"), Kind("u64", "U64")
MEMBERS = {"E": ("E.a", "E.b", "E.c"), "F": ("F.p", "F.q")}


def ranged(low: int, high: int) -> Kind:
    return Kind(f"Range({low}, {high})", f"IntType({low}, {high})", low, high)


@dataclass(frozen=True)
class Var:
    name: str
    kind: Kind
    place: str  # shared, cpu, array
    index: Kind | None = None
    register: bool = False


@dataclass(frozen=True)
class Proc:
    name: str
    parameters: tuple[tuple[str, Kind], ...]
    result: Kind | None
    role: str


@dataclass(frozen=True)
class Op:
    name: str
    operands: tuple[tuple[str, Kind], ...]
    result: Kind | None


@dataclass
class Scope:
    """What may be written here: which locals there are, whether steps are made, and on which CPU."""

    locals: dict[str, Kind]
    steps: bool = True
    cpu: bool = True
    calls: bool = True
    result: Kind | None = None
    atomic: bool = False
    temporaries: list[int] = field(default_factory=lambda: [0])

    def copy(self, **changes: object) -> Scope:
        made = Scope(dict(self.locals), self.steps, self.cpu, self.calls, self.result, self.atomic, self.temporaries)
        for name, value in changes.items():
            setattr(made, name, value)
        return made


class Generator:
    """Writes one model. ``r`` decides everything."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.name = f"random/{seed}"
        self.out: list[str] = []
        self.cpus = 2 if self.chance(0.3) else 1
        self.vars: list[Var] = []
        self.tables: list[tuple[str, Kind, Kind]] = []
        self.procs: list[Proc] = []
        self.ops: list[Op] = [Op("mark", (), None), Op("use", (), None)]
        self.cases: list[tuple[str, Kind]] = []
        self.flags: list[str] = []
        self.settings: list[str] = []
        self.roles = ["outer", "inner"]
        self.fields: list[tuple[str, Kind, tuple[int, ...]]] = []
        self.meanings: list[str] = []
        self.acts = False

    # -- chance

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    def one(self, *options: str) -> str:
        return self.r.choice(options)

    def some_range(self) -> Kind:
        return ranged(*self.r.choice(RANGES))

    def some_kind(self, *, small: bool = False) -> Kind:
        kinds = [BOOL, BOOL, BOOL, self.r.choice(ENUMS), self.some_range(), self.some_range()]
        return self.r.choice(kinds if small or self.chance(0.8) else [U32, U64])

    def emit(self, *lines: str) -> None:
        self.out += lines

    # -- declarations

    def write(self) -> str:
        self.declare_variables()
        self.declare_operations()
        self.emit("", "")
        helpers = self.r.choice((0, 1, 1, 2, 2, 3))
        for n in range(helpers):
            self.helper(n)
        self.start()
        tail = self.model_parts()
        properties = [self.property(n) for n in range(self.r.choice((1, 1, 2, 3)))]
        if not any("setting.s" in line for line in self.out if line.startswith("Q")):
            # A setting that only what is never asked speaks of is refused.
            self.out = [line.replace("var('setting.s', BOOL)", "TRUE") for line in self.out]
            tail = tail.replace("var('setting.s', BOOL)", "TRUE")
        else:
            tail += f", settings={{'setting.s': {self.one('TRUE', 'FALSE')}}}"
        self.emit(
            f"model = Model(name={self.name!r}, title='random', init=start, task=task, cpus={self.cpus}, {tail})",
            f"PROPERTIES = [{', '.join(properties)}]",
        )
        return HEAD + "\n".join(self.out) + "\n"

    def declare_variables(self) -> None:
        r = self.r
        for n in range(r.choice((1, 2, 2, 3))):
            self.vars.append(Var(f"V{n}", self.some_kind(), "shared"))
        if self.chance(0.4):
            index = r.choice([BOOL, r.choice(ENUMS), self.some_range(), self.some_range()])
            self.vars.append(Var("A0", r.choice([BOOL, BOOL, self.some_range(), r.choice(ENUMS)]), "array", index))
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

    def number(self, kind: Kind) -> int:
        """A value as data."""
        if kind.is_word:
            return self.r.choice(WORDS)
        if kind is BOOL:
            return self.r.choice((0, 1))
        return self.r.randint(kind.low, kind.high)

    def declare_operations(self) -> None:
        r = self.r
        self.emit("mark = marker('mark', 'marks')", "use = marker('use', 'uses')")
        if self.chance(0.75):
            fields: list[tuple[str, Kind, tuple[int, ...]]] = []
            if self.cpus == 2 or self.chance(0.4):
                fields.append(("page", BOOL, (0,) if self.chance(0.6) or self.cpus == 2 else (0, 1)))
            else:
                kind = r.choice([ranged(1, 3), ENUMS[0], ranged(-1, 1)])
                fields.append(
                    ("page", kind, tuple(sorted(r.sample(range(kind.low, kind.high + 1), r.choice((1, 2, 2, 3))))))
                )
            if self.chance(0.3) and len(fields[0][2]) == 1 and self.cpus == 1:
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
            possible = self.one(
                "TRUE", "TRUE", f"or_({first}, {self.rule(BOOL, 1, [], only_entry=True)})"
            )  # some entry there can be
            fill = self.rule(BOOL, 2, [], entry=True, entry2=entry2, own=False)
            self.emit(
                f"CACHE = CacheKind(name='TLB', fields=({fields_text}), possible={possible}, fill={fill}, "
                f"initial={self.one('FALSE', 'FALSE', self.rule(BOOL, 1, [], entry=True, own=False))}, describe=str)"
            )

    # -- rules: expressions as data

    def rule(
        self,
        kind: Kind,
        depth: int,
        args: Sequence[tuple[str, Kind]] = (),
        *,
        entry: bool = False,
        entry2: bool = False,
        only_entry: bool = False,
        own: bool = True,
        ghosts: Sequence[tuple[str, Kind]] = (),
    ) -> str:
        """An expression over variables, operands ``args`` and, if allowed, the entry. ``own``: also whether it is
        cached.
        """
        r = self.r
        leaves: list[tuple[str, Kind]] = [(f"var({n!r}, {k.data})", k) for n, k in args]
        if not only_entry:
            for v in self.vars:
                if v.index is None:
                    leaves.append((f"{v.name}.expr", v.kind))
                else:
                    leaves.append((f"var({element(v, self.number(v.index))!r}, {v.kind.data})", v.kind))
            leaves += [(f"{n}.expr", k) for n, k in self.cases]
            leaves += [(f"{n}.expr", BOOL) for n in self.flags]
            leaves += [(f"var({n!r}, BOOL)", BOOL) for n in self.settings]
        leaves += [(f"{n}.expr", k) for n, k in ghosts] * 2
        if entry or only_entry:
            fields = [(f"var('entry.{n}', {k.data})", k) for n, k, _ in self.fields]
            leaves += fields * 2
        if entry and own:
            leaves += [("CACHED", BOOL)] * 3
        if entry and own and self.meanings:
            leaves += [(f"var('meaning.{n}', BOOL)", BOOL) for n in self.meanings]
        if entry2:
            leaves += [(f"var('entry2.{n}', {k.data})", k) for n, k, _ in self.fields] + [
                ("var('entry2.cached', BOOL)", BOOL)
            ] * 2

        def same(k: Kind) -> list[str]:
            return [text for text, other in leaves if other == k]

        def write(k: Kind, d: int) -> str:
            if k is not BOOL:
                if d > 0 and k.is_word and self.chance(0.5):
                    return f"({write(k, d - 1)} {self.one('&', '|', '+', '^', '-')} {write(k, 0)})"
                if d > 0 and self.chance(0.3):
                    return f"ite({write(BOOL, d - 1)}, {write(k, 0)}, {write(k, 0)})"
                return r.choice([*same(k), self.data(k)]) if self.chance(0.7) and same(k) else self.data(k)
            if d <= 0 or self.chance(0.25):
                found = same(BOOL)
                if found and self.chance(0.75):
                    return r.choice(found)
                others = [(text, other) for text, other in leaves if other is not BOOL]
                if others:
                    text, other = r.choice(others)
                    return compare(text, other, 0)
                return self.one("TRUE", "FALSE", "TRUE")
            match r.choice(("and", "or", "not", "compare", "ite", "and", "or")):
                case "not":
                    return f"not_({write(BOOL, d - 1)})"
                case "compare":
                    others = [(text, other) for text, other in leaves if other is not BOOL]
                    if others:
                        text, other = r.choice(others)
                        return compare(text, other, d - 1)
                    return write(BOOL, d - 1)
                case "ite":
                    return f"ite({write(BOOL, d - 1)}, {write(BOOL, d - 1)}, {write(BOOL, 0)})"
                case junction:
                    return f"{junction}_({write(BOOL, d - 1)}, {write(BOOL, d - 1)})"

        def compare(text: str, k: Kind, d: int) -> str:
            other = write(k, d)
            if k.is_range or k.is_word:
                return self.one(
                    f"eq({text}, {other})", f"({text} < {other})", f"({other} <= {text})", f"not_(eq({text}, {other}))"
                )
            return self.one(f"eq({text}, {other})", f"not_(eq({text}, {other}))")

        return write(kind, depth)

    def data(self, kind: Kind) -> str:
        if kind is BOOL:
            return self.one("TRUE", "FALSE")
        return f"const({self.number(kind)}, {kind.data})"

    # -- expressions of procedures

    def constant(self, kind: Kind) -> str:
        if kind is BOOL:
            return self.one("True", "False")
        if kind.note in MEMBERS:
            return self.r.choice(MEMBERS[kind.note])
        number = self.number(kind)
        return f"{number:#x}" if kind.is_word else str(number)

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
                options += [lambda name=name, at=at: f"{name}({at})"] * 4  # type: ignore[misc]
        if s.steps and s.calls:
            for p in self.procs:
                if p.result == kind:
                    options += [lambda p=p: f"{p.name}({self.arguments(p.parameters, s)})"] * 2  # type: ignore[misc]
        if s.steps and s.cpu:
            for op in self.ops:
                if op.result == kind:
                    options.append(lambda op=op: f"{op.name}({self.arguments(op.operands, s)})")  # type: ignore[misc]
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
        if what == "cpu" and s.cpu and self.cpus > 1:
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
        if what == "in":
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
        if kind.note in MEMBERS:
            found += MEMBERS[kind.note]
        return self.r.choice(found) if found else None

    def place(self, v: Var, s: Scope) -> str | None:
        """The variable, or an element of it; None where there is none to be had."""
        if v.place == "cpu":
            if s.cpu and self.chance(0.7):
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

    def arguments(self, parameters: Sequence[tuple[str, Kind]], s: Scope) -> str:
        inner = s.copy(steps=s.steps and self.chance(0.3))
        texts = [(name, self.expr(kind, inner, 0 if self.chance(0.6) else 1)) for name, kind in parameters]
        if self.chance(0.2) and texts:
            named = [f"{name}={text}" for name, text in texts]
            self.r.shuffle(named)
            return ", ".join(named)
        return ", ".join(text for _, text in texts)

    # -- statements

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
            "choose": 2,
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
                kind = r.choice([BOOL, r.choice(ENUMS), self.some_range()])
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

    # -- procedures

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
                    if self.chance(0.2) and not v.kind.is_word:
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

    def model_parts(self) -> str:
        """The task, what interrupts it, and the environment; returns what the model says of them."""
        r = self.r
        parts = [f"cache={'CACHE' if self.fields else 'None'}"]
        if self.chance(0.12) and self.procs:
            p = r.choice(self.procs)
            domains = {
                n: f"({', '.join(sorted({self.constant(k), self.constant(k)}))},)"
                for n, k in p.parameters
                if k.is_word or self.chance(0.5)
            }
            narrowed = ", ".join(f"{n!r}: {v}" for n, v in domains.items())
            self.emit(
                f"general = most_general_caller({p.name}, domains={{{narrowed}}})",
                "",
                "",
            )
            self.define("task", (), None, ["while True:", "    general()", "    mark()"])
        else:
            s = Scope({})
            lines = self.block(s, r.choice((0, 1, 1, 2)), 2)
            count = r.choice((1, 2, 2, 3)) if self.cpus == 1 else r.choice((1, 1, 2))
            if self.chance(0.6):
                inner = s.copy()
                lines += ["while True:", *indented([*self.block(inner, count, 2), *self.step(inner)])]
            else:
                lines += [*self.block(s, count + 1, 2), *self.step(s)]
            self.define("task", (), None, lines, self.one(*[""] * 8, "outer"))
        if self.chance(0.15) and self.procs:
            p = r.choice(self.procs)
            s = Scope(dict(p.parameters), result=p.result, calls=False)
            lines = self.step(s)
            if p.result is not None:
                lines.append(f"return {self.expr(p.result, s)}")
            self.define("stand_in", p.parameters, p.result, lines, p.role)
            parts.append(
                f"contracts=(Contract({p.name}, stand_in, 'random/other'),)"
                if self.chance(0.5)
                else f"procedures={{{p.name}: stand_in}}"
            )
        flags = [v for v in self.vars if v.place == "cpu" and v.kind is BOOL]
        interrupts = []
        if self.chance(0.3):
            handlers = r.choice((1, 1, 2))
            for n in range(handlers):
                s = Scope({}, calls=self.chance(0.5))
                self.define(
                    f"i{n}",
                    (),
                    None,
                    [*self.block(s, r.choice((0, 1, 1)), 1), *self.step(s)],
                    self.one("", "", "", "inner"),
                )
            for n in range(handlers if self.chance(0.8) else 2):
                flag = r.choice(flags).name if flags and self.chance(0.75) else "None"
                when = f", when={self.rule(BOOL, 1)}" if flag == "None" or self.chance(0.5) else ""
                level = self.one("", "", ", level='nmi'")
                interrupts.append(f"Interrupt(i{n % handlers}, {flag}{when}{level})")
            parts.append(f"interrupts=({', '.join(interrupts)},)")
        if self.chance(0.25):
            self.acts = True
            names = []
            for n in range(r.choice((1, 1, 2))):
                parameters = tuple((f"p{i}", self.some_kind(small=True)) for i in range(r.choice((0, 1))))
                s = Scope(dict(parameters), cpu=False, calls=False, atomic=True)
                lines = self.block(s, r.choice((1, 1, 2)), 1)
                if self.chance(0.4):
                    lines.insert(0, f"require({self.expr(BOOL, s, 0)})")
                self.define(f"a{n}", parameters, None, lines)
                names.append(f"a{n}")
            parts.append(f"actions=({', '.join(names)},)")
        if self.cases:
            parts.append("cases=(CASE,)")
        if self.flags:
            parts.append(f"flags={{FLAG: {self.chance(0.5)}}}")
        if self.fields and self.meanings:
            parts.append(f"meanings={{'m0': {self.rule(BOOL, 1, entry=True, own=False)}}}")
        if self.chance(0.3):
            parts.append(f"profile={self.one('intel', 'amd')!r}")
        return ", ".join(parts)

    # -- properties

    def property(self, n: int) -> str:
        r, name = self.r, f"Q{n}"
        entries = bool(self.fields) and self.chance(0.75)
        head = len(self.out)
        ghosts: list[tuple[str, Kind]] = []
        per_entry: list[tuple[str, Kind]] = []
        by_cpu = False
        for i in range(r.choice((0, 1, 1, 2))):
            each = entries and self.chance(0.5)
            kind = BOOL if each or self.chance(0.6) else self.some_range()
            frame, acting = self.chance(0.2), self.chance(0.15) and not self.acts  # ENV-3
            by_cpu = by_cpu or acting
            options = [
                x for x, is_so in (("per_entry=True", each), ("frame=True", frame), ("by_cpu=True", acting)) if is_so
            ]
            initial = self.number(kind) if kind is not BOOL or self.chance(0.2) else 0
            self.emit(f"g{n}_{i} = {name}.ghost('g{i}', {', '.join([kind.note, str(initial), *options])})")
            (per_entry if each else ghosts).append((f"g{n}_{i}", kind))
        entry2 = entries and self.chance(0.12)

        def bad(args: Sequence[tuple[str, Kind]] = (), *, about: bool = True) -> str:
            text = self.rule(
                BOOL,
                2,
                args,
                entry=about and entries,
                entry2=about and entry2,
                ghosts=[*ghosts, *(per_entry if about else [])],
            )
            return f"and_(CACHED, {text})" if about and entries and self.chance(0.6) else text

        for _ in range(r.choice((1, 1, 2, 3))):
            event, args = self.event()
            every = self.chance(0.25)
            updates = []
            for g, k in [*ghosts, *per_entry]:
                if self.chance(0.6):
                    mine = (g, k) in per_entry
                    # A ghost of its CPU's own is not changed by what is said of one entry.
                    updates.append(
                        f"{g}: {self.rule(k, 1, args, entry=mine, ghosts=[*ghosts, *(per_entry if mine else [])])}"
                    )
            judged = f", bad={{'c0': {bad(args)}}}" if self.chance(0.6) or not updates else ""
            self.emit(f"{name}.on({event}, {{{', '.join(updates)}}}{judged}{', every_cpu=True' if every else ''})")
        if self.chance(0.4):
            self.emit(f"{name}.never('c1', {bad()})")
        if not any("'c" in line for line in self.out[head:]):
            self.emit(f"{name}.never('c1', {bad()})")
        if self.chance(0.12):
            self.emit(f"{name}.eventually_not('c2', {self.rule(BOOL, 1, ghosts=ghosts)})")
        clauses = ", ".join(f"{c}: {c}" for c in ("'c0'", "'c1'", "'c2'") if any(c in line for line in self.out[head:]))
        self.out.insert(
            head,
            f"{name} = Property('q{n}', 'random', source='here', trigger=Event('operation'), clauses={{{clauses}}})",
        )
        self.emit("", "")
        return name

    def event(self) -> tuple[str, list[tuple[str, Kind]]]:
        within = f", within={self.one('outer', 'inner')!r}" if self.chance(0.2) else ""
        roles = [p.role for p in self.procs if p.role]
        match self.r.choice(
            (
                "operation",
                "operation",
                "operation",
                "any",
                "enter",
                "leave",
                "fill",
                "fault",
                "assert",
                "requires",
                "handler",
            )
        ):
            case "any":
                return f"Event('operation'{within})", []
            case "enter" if roles:
                role = self.r.choice(roles)
                takers = [p for p in self.procs if p.role == role]
                if len(takers) == 1 and takers[0].parameters and self.chance(0.5):
                    return f"enter({role!r}, {', '.join(repr(x) for x, _ in takers[0].parameters)})", [
                        (f"arg.{x}", k) for x, k in takers[0].parameters
                    ]
                return f"enter({role!r})", []
            case "leave" if roles:
                return f"leave({self.r.choice(roles)!r})", []
            case "fill" if self.fields:
                return "Event('fill')", []
            case "fault":
                return f"Event('fault', {self.one('', '#GP', '#UD')!r})", []
            case "assert":
                return f"Event('assert'{within})", []
            case "requires":
                return f"Event('requires'{within})", []
        op = self.r.choice(self.ops)
        return f"operation({op.name!r}{within})", [(f"arg.{x}", k) for x, k in op.operands]


def eq_text(name: str, kind: Kind, values: Sequence[int]) -> str:
    return f"eq(var('entry.{name}', {kind.data}), const({values[0]}, {kind.data}))"


def element(v: Var, index: int) -> str:
    """The name of an array's element in rules."""
    assert v.index is not None
    if v.index is BOOL:
        return f"{v.name}[{'yes' if index else 'no'}]"
    if v.index.note in MEMBERS:
        return f"{v.name}[{MEMBERS[v.index.note][index].partition('.')[2]}]"
    return f"{v.name}[{index}]"


def indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def generate(seed: int) -> str:
    """The text of a model file that defines ``model`` and ``PROPERTIES``."""
    return Generator(seed).write()
