"""Immutable, hash-consed expression trees: the one form in which rules reach every engine.

Constructors fold constants, so that a tree built from constants is a constant. Boolean operands
combine with ``&``, ``|``, ``~`` logically and words bitwise; ``==`` builds an equality.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

from tlbcheck.lang.types import BOOL, U64, BoolType, EnumType, IntType, Type, WordType, enum_type, ordinal


class Expr:
    """One node. ``op`` is ``const``, ``var`` or an operator of ``OPERATORS``.

    ``value`` holds the constant, the variable's name, or the table of a ``table`` node. ``depth`` counts
    nodes from here down to the furthest leaf.
    """

    __slots__ = ("__weakref__", "args", "depth", "op", "type", "value")

    op: str
    args: tuple[Expr, ...]
    depth: int
    type: Type | None
    value: Any

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value of its own; combine with &, |, ~ instead of and, or, not")

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return eq(self, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return not_(eq(self, other))

    def __and__(self, other: Any) -> Expr:
        other = lift(other, self.type)
        return and_(self, other) if self.type == BOOL else word_op("band", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Expr:
        other = lift(other, self.type)
        return or_(self, other) if self.type == BOOL else word_op("bor", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Expr:
        other = lift(other, self.type)
        return not_(eq(self, other)) if self.type == BOOL else word_op("bxor", self, other)

    def __invert__(self) -> Expr:
        return not_(self) if self.type == BOOL else apply("bnot", (self,), self.type)

    def __add__(self, other: Any) -> Expr:
        return word_op("add", self, lift(other, self.type))

    def __sub__(self, other: Any) -> Expr:
        return word_op("sub", self, lift(other, self.type))

    def __rshift__(self, other: int) -> Expr:
        return word_op("shr", self, lift(other, self.type))

    def __lshift__(self, other: int) -> Expr:
        return word_op("shl", self, lift(other, self.type))

    def __lt__(self, other: Any) -> Expr:
        return apply("lt", (self, lift(other, self.type)), BOOL)

    def __le__(self, other: Any) -> Expr:
        return apply("le", (self, lift(other, self.type)), BOOL)

    def __repr__(self) -> str:
        return show(self)


_nodes: weakref.WeakValueDictionary[tuple[Any, ...], Expr] = weakref.WeakValueDictionary()


def _node(op: str, args: tuple[Expr, ...], type_: Type | None, value: Any) -> Expr:
    key = (op, tuple(map(id, args)), type_, value)
    found = _nodes.get(key)
    if found is None:
        found = object.__new__(Expr)
        found.op, found.args, found.type, found.value = op, args, type_, value
        found.depth = 1 + max([a.depth for a in args], default=0)
        _nodes[key] = found
    return found


def const(value: int, type_: Type | None) -> Expr:
    """A constant; words are reduced to their width, and a number outside of a range has one of its own."""
    if isinstance(type_, WordType):
        value = value & type_.mask
    elif isinstance(type_, IntType) and not type_.low <= value <= type_.high:
        type_ = IntType(int(value), int(value))
    return _node("const", (), type_, int(value))


TRUE = const(1, BOOL)
FALSE = const(0, BOOL)


def var(name: str, type_: Type | None) -> Expr:
    """A variable; ``type_`` None marks a placeholder that a model gives a type when it is put in."""
    return _node("var", (), type_, name)


def lift(value: Any, like: Type | None = None) -> Expr:
    """An expression for a Python value; bare integers take the type ``like``."""
    if isinstance(value, Expr):
        if value.op == "const" and value.type is None and like is not None:
            return const(value.value, like)
        return value
    if isinstance(value, bool):
        if isinstance(like, WordType | IntType):
            return const(int(value), like)
        return TRUE if value else FALSE
    if isinstance(value, enum.Enum):
        return const(ordinal(value), enum_type(type(value)))
    if isinstance(value, int):
        if like == BOOL:
            return TRUE if value else FALSE
        return const(value, like)
    raise TypeError(f"{value!r} is no value of the language")


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def _compare(name: str) -> Callable[[Expr, list[int]], int]:
    def run(node: Expr, values: list[int]) -> int:
        left, right = values
        type_ = node.args[0].type
        if isinstance(type_, WordType) and type_.signed:
            left, right = _signed(left, type_.width), _signed(right, type_.width)
        return int(left < right if name == "lt" else left <= right)

    return run


def _wrap(node: Expr, value: int) -> int:
    return value & node.type.mask if isinstance(node.type, WordType) else value


# What each operator computes on values; and the only place in the package that says so, except for
# the translations in engines/ and the replay interpreter, which are held against it by the tests.
OPERATORS: Mapping[str, Callable[[Expr, list[int]], int]] = {
    "not": lambda n, v: 1 - v[0],
    "and": lambda n, v: int(all(v)),
    "or": lambda n, v: int(any(v)),
    "eq": lambda n, v: int(v[0] == v[1]),
    "ite": lambda n, v: v[1] if v[0] else v[2],
    "band": lambda n, v: v[0] & v[1],
    "bor": lambda n, v: v[0] | v[1],
    "bxor": lambda n, v: v[0] ^ v[1],
    "bnot": lambda n, v: _wrap(n, ~v[0]),
    "add": lambda n, v: _wrap(n, v[0] + v[1]),
    "sub": lambda n, v: _wrap(n, v[0] - v[1]),
    "shl": lambda n, v: _wrap(n, v[0] << v[1]) if not isinstance(n.type, WordType) or v[1] < n.type.width else 0,
    "shr": lambda n, v: v[0] >> v[1],
    "lt": _compare("lt"),
    "le": _compare("le"),
    "table": lambda n, v: n.value[min(max(v[0], 0), len(n.value) - 1)],  # beyond its ends is an error of the model
    "resize": lambda n, v: _wrap(n, v[0]),
}


def apply(op: str, args: tuple[Expr, ...], type_: Type | None, value: Any = None) -> Expr:
    """A node of operator ``op``, folded if all operands are constants."""
    if all(a.op == "const" for a in args):
        node = _node(op, args, type_, value)
        return const(OPERATORS[op](node, [a.value for a in args]), type_)
    return _node(op, args, type_, value)


def not_(a: Expr) -> Expr:
    if a.op == "not":
        return a.args[0]
    return apply("not", (a,), BOOL)


def _junction(op: str, unit: Expr, zero: Expr, parts: Iterable[Expr]) -> Expr:
    flat: dict[int, Expr] = {}
    for part in parts:
        for p in part.args if part.op == op else (part,):
            if p is zero:
                return zero
            if p is not unit:
                flat[id(p)] = p
    for p in flat.values():
        if p.op == "not" and id(p.args[0]) in flat:
            return zero
    if not flat:
        return unit
    if len(flat) == 1:
        return next(iter(flat.values()))
    return _node(op, tuple(flat.values()), BOOL, None)


def and_(*parts: Expr) -> Expr:
    return _junction("and", TRUE, FALSE, parts)


def or_(*parts: Expr) -> Expr:
    return _junction("or", FALSE, TRUE, parts)


def implies(a: Expr, b: Expr) -> Expr:
    return or_(not_(a), b)


def eq(a: Any, b: Any) -> Expr:
    left = lift(a, b.type if isinstance(b, Expr) else None)
    right = lift(b, left.type)
    left = lift(left, right.type)
    if left is right:
        return TRUE
    if left.type == BOOL and right.type == BOOL:
        for one, other in ((left, right), (right, left)):
            if one.op == "const":
                return other if one.value else not_(other)
    if left.op == "const" and right.op != "const":
        left, right = right, left
    # Equality with a constant passes through a choice: keeps path conditions small.
    if right.op == "const" and left.op == "ite":
        cond, then, other = left.args
        if then.op == "const" or other.op == "const":
            return ite(cond, eq(then, right), eq(other, right))
    return apply("eq", (left, right), BOOL)


def ite(cond: Expr, then: Any, other: Any) -> Expr:
    yes: Expr = lift(then, other.type if isinstance(other, Expr) else None)
    no: Expr = lift(other, yes.type)
    if cond.op == "const":
        return yes if cond.value else no
    if yes is no:
        return yes
    if yes.type == BOOL:
        if yes.op == "const":
            return or_(cond, no) if yes.value else and_(not_(cond), no)
        if no.op == "const":
            return or_(not_(cond), yes) if no.value else and_(cond, yes)
    type_: Type | None = yes.type
    if isinstance(yes.type, IntType) and isinstance(no.type, IntType):
        type_ = range_of(yes).hull(range_of(no))
    if cond.op == "not":
        return apply("ite", (cond.args[0], no, yes), type_)
    return apply("ite", (cond, yes, no), type_)


def range_of(e: Expr) -> IntType:
    """The values that an expression over bounded integers can have (NUM-2)."""
    assert isinstance(e.type, IntType)
    return IntType(e.value, e.value) if e.op == "const" else e.type


def word_op(op: str, a: Expr, b: Expr) -> Expr:
    """A word or integer operator with the identities that masks produce folded away."""
    b = lift(b, a.type)
    a = lift(a, b.type)
    if op in ("band", "bor") and a.op == "const":
        a, b = b, a
    if b.op == "const" and isinstance(a.type, WordType):
        if op == "band":
            if b.value == 0:
                return const(0, a.type)
            if b.value == a.type.mask:
                return a
            if a.op == "band" and a.args[1].op == "const":
                return word_op("band", a.args[0], const(a.args[1].value & b.value, a.type))
            if a.op == "bor" and a.args[1].op == "const" and not a.args[1].value & b.value:
                return word_op("band", a.args[0], b)
        if op in ("bor", "bxor", "add", "sub", "shl", "shr") and b.value == 0:
            return a
    if op in ("add", "sub") and isinstance(a.type, IntType) and isinstance(b.type, IntType):
        left, right = range_of(a), range_of(b)
        exact = IntType(left.low + right.low, left.high + right.high) if op == "add" else IntType(left.low - right.high, left.high - right.low)
        return apply(op, (a, b), exact)
    return apply(op, (a, b), a.type if a.type is not None else b.type)


def lookup(index: Expr, values: tuple[int, ...], type_: Type) -> Expr:
    """``values[index]``, counted from 0: an attribute of an enum, such as the mode of a context."""
    if len(set(values)) == 1:
        return const(values[0], type_)
    return apply("table", (index,), type_, values)


def bit(word: Expr, position: int) -> Expr:
    """Whether bit ``position`` of ``word`` is set."""
    return not_(eq(word_op("band", word, const(1 << position, word.type)), const(0, word.type)))


def truth(a: Expr) -> Expr:
    """C's and Python's reading of a value as a condition."""
    if a.type == BOOL:
        return a
    return not_(eq(a, const(0, a.type)))


def resize(a: Expr, type_: WordType) -> Expr:
    """C's conversion between word types: truncation, or extension by the sign of the source."""
    if a.type == type_:
        return a
    if isinstance(a.type, WordType) and a.type.signed and type_.width > a.type.width:
        sign = word_op("band", apply("resize", (a,), type_), const(1 << (a.type.width - 1), type_))
        return word_op("sub", word_op("bxor", apply("resize", (a,), type_), sign), sign)
    return apply("resize", (a,), type_)


def conjuncts(a: Expr) -> tuple[Expr, ...]:
    return a.args if a.op == "and" else (() if a is TRUE else (a,))


def substitute(a: Expr, values: Mapping[str, Expr], memo: dict[Expr, Expr] | None = None) -> Expr:
    """``a`` with variables replaced, folded again on the way up.

    Trees are as deep as a procedure's longest chain of assignments, so nothing here recurs.
    """
    memo = {} if memo is None else memo
    if a.op == "var":
        return values.get(a.value, a)
    waiting = [a] if a.args else []
    if not waiting:
        return a
    while waiting:
        e = waiting[-1]
        if e not in memo:
            todo = [x for x in e.args if x not in memo]
            if todo:
                waiting += reversed(todo)
                continue
            if e.op == "var":
                memo[e] = values.get(e.value, e)
            else:
                args = tuple([memo[x] for x in e.args])
                memo[e] = e if all(x is y for x, y in zip(args, e.args, strict=True)) else rebuild(e, args)
        waiting.pop()
    return memo[a]


def rebuild(a: Expr, args: tuple[Expr, ...]) -> Expr:
    """The node ``a`` over other operands, through the folding constructors."""
    match a.op:
        case "not":
            return not_(args[0])
        case "and":
            return and_(*args)
        case "or":
            return or_(*args)
        case "eq":
            return eq(args[0], args[1])
        case "ite":
            return ite(args[0], args[1], args[2])
        case "band" | "bor" | "bxor" | "add" | "sub" | "shl" | "shr":
            return word_op(a.op, args[0], args[1])
        case "table":
            return lookup(args[0], a.value, a.type)  # type: ignore[arg-type]
        case "bnot":
            return apply("bnot", args, args[0].type)
        case _:
            return apply(a.op, args, a.type, a.value)


def nodes(a: Expr, known: Container[Expr] = ()) -> list[Expr]:
    """Every node of ``a`` that is not ``known``, once each: operands before what they are in, and without recursion."""
    made: dict[Expr, None] = {}
    waiting = [a]
    while waiting:
        e = waiting[-1]
        todo = [x for x in e.args if x not in made and x not in known]
        if todo:
            waiting += reversed(todo)
        else:
            made.setdefault(e)
            waiting.pop()
    return list(made)


_NESTED, _SIZE = 40, 200
"""How deep and how large a part of an expression may be that is written in one piece; Python reads 200 nested brackets."""


def spell(a: Expr, one: Callable[[Expr, Mapping[Expr, str]], str]) -> tuple[list[tuple[str, str]], str]:
    """The text of ``a``, made by ``one`` of each node from the texts of those below it.

    What is nested deeply, or would be written very often, is named: the names come first, in order, each with its text.
    """
    named: list[tuple[str, str]] = []
    texts: dict[Expr, str] = {}
    measures: dict[Expr, tuple[int, int]] = {}
    for e in nodes(a):
        text = one(e, texts)
        depth = 1 + max((measures[x][0] for x in e.args), default=0)
        size = 1 + sum(measures[x][1] for x in e.args)
        if e is not a and (depth > _NESTED or size > _SIZE):
            named.append((f"t{len(named)}", text))
            text, depth, size = named[-1][0], 0, 1
        texts[e], measures[e] = text, (depth, size)
    return named, texts[a]


def variables(a: Expr, found: dict[str, Expr] | None = None, seen: set[Expr] | None = None) -> dict[str, Expr]:
    """The variables in ``a`` by name, in order of first occurrence."""
    found = {} if found is None else found
    seen = set() if seen is None else seen
    waiting = [a]
    while waiting:
        e = waiting.pop()
        if e not in seen:
            seen.add(e)
            if e.op == "var":
                found.setdefault(e.value, e)
            waiting += reversed(e.args)
    return found


def conditions(a: Expr) -> Iterator[Expr]:
    """What ``a`` asks whether it holds: the parts of ``and``, ``or`` and ``not``, and what choices go by."""
    seen: set[Expr] = set()
    waiting = [a]
    while waiting:
        e = waiting.pop()
        if e not in seen:
            seen.add(e)
            yield from e.args[: 1 if e.op == "ite" else None] if e.op in ("and", "or", "not", "ite") else ()
            waiting += reversed(e.args)


def evaluate(a: Expr, values: Mapping[str, int]) -> int:
    """The value of ``a`` where every variable has one."""
    if a.depth > _DEEP:
        known: dict[Expr, int] = {}
        for e in nodes(a):
            known[e] = values[e.value] if e.op == "var" else int(e.value) if e.op == "const" else OPERATORS[e.op](e, [known[x] for x in e.args])
        return known[a]
    match a.op:
        case "const":
            return int(a.value)
        case "var":
            return values[a.value]
        case "ite":
            return evaluate(a.args[1] if evaluate(a.args[0], values) else a.args[2], values)
        case "and":
            return int(all(evaluate(x, values) for x in a.args))
        case "or":
            return int(any(evaluate(x, values) for x in a.args))
        case _:
            return OPERATORS[a.op](a, [evaluate(x, values) for x in a.args])


_DEEP = 100
"""Nesting beyond which recursion would not do."""
_INFIX = {"band": "&", "bor": "|", "bxor": "^", "add": "+", "sub": "-", "shl": "<<", "shr": ">>", "eq": "==", "lt": "<", "le": "<="}


def show(a: Expr) -> str:
    """Readable text of an expression."""
    named, text = spell(a, _shown)
    return "; ".join([*(f"{name} = {part}" for name, part in named), text])


def _shown(a: Expr, texts: Mapping[Expr, str]) -> str:
    match a.op:
        case "const":
            return a.type.show(a.value) if isinstance(a.type, BoolType | EnumType) else (hex(a.value) if a.value > 9 else str(a.value))
        case "var":
            return str(a.value)
        case "not" if a.args[0].op == "eq":
            return f"{texts[a.args[0].args[0]]} != {texts[a.args[0].args[1]]}"
        case "not":
            return f"not ({texts[a.args[0]]})"
        case "and" | "or":
            return "(" + f" {a.op} ".join(texts[x] for x in a.args) + ")"
        case "ite":
            return f"({texts[a.args[1]]} if {texts[a.args[0]]} else {texts[a.args[2]]})"
        case "bnot":
            return f"~{texts[a.args[0]]}"
        case "table":
            return f"table[{texts[a.args[0]]}]"
        case "resize":
            return f"{a.type}({texts[a.args[0]]})"
        case _:
            return f"({texts[a.args[0]]} {_INFIX[a.op]} {texts[a.args[1]]})"


__all__ = [
    "BOOL", "FALSE", "OPERATORS", "TRUE", "U64", "Expr", "and_", "apply", "bit", "conjuncts", "const", "eq", "evaluate",
    "implies", "ite", "lift", "lookup", "nodes", "not_", "or_", "range_of", "resize", "show", "spell", "substitute", "truth", "var", "variables", "word_op",
]  # fmt: skip
