"""C's types (LP64) and the values that the front end knows something about.

Where the IR has a boolean and C an ``int`` that is 0 or 1, the boolean is kept until arithmetic
needs a word. A value that is not understood has no expression: it may be passed around, and says
why when something is to depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tlbcheck.c.literals import integer
from tlbcheck.lang.expr import Expr, const, ite, resize, truth, word_op
from tlbcheck.lang.types import BOOL, Type, WordType


@dataclass(frozen=True)
class Integer:
    """An integer type; ``boolean`` is C's _Bool, whose conversion asks whether a value is not 0."""

    width: int
    signed: bool
    boolean: bool = False

    @property
    def word(self) -> WordType:
        return WordType(self.width, self.signed)

    @property
    def type(self) -> Type:
        """The type in the IR of a local of this type."""
        return BOOL if self.boolean else self.word


@dataclass(frozen=True)
class Other:
    """A pointer, structure or other type of which only the text is known; ``void`` among them."""

    text: str


CType = Integer | Other

INT = Integer(32, True)
UNSIGNED_INT = Integer(32, False)
LONG = Integer(64, True)
UNSIGNED_LONG = Integer(64, False)
CBOOL = Integer(8, False, boolean=True)
VOID = Other("void")

_SIZES = {"char": 8, "short": 16, "int": 32, "long": 64}
SIZE_WORDS = frozenset({"signed", "unsigned", "__signed__", *_SIZES})
"""Words of which several name one type."""
_FIXED = {f"{sign}int{width}_t": Integer(width, not sign) for sign in ("", "u") for width in (8, 16, 32, 64)}
_NAMED: dict[str, CType] = {**_FIXED, "bool": CBOOL, "_Bool": CBOOL, "size_t": UNSIGNED_LONG, "ssize_t": LONG, "ptrdiff_t": LONG, "intptr_t": LONG, "uintptr_t": UNSIGNED_LONG, "void": VOID}
SPELLINGS = {t: name for name, t in _FIXED.items()} | {CBOOL: "bool"}
"""A word for each integer type that C's grammar cannot take for a value."""
NOISE = frozenset({"const", "volatile", "register", "static", "inline", "extern", "auto", "__inline", "__inline__", "__const", "__volatile__"})


def integer_type(words: Iterable[str]) -> CType | None:
    """The type that ``words`` (in any order) name, or None."""
    kept = [w for w in words if w not in NOISE]
    if len(kept) == 1 and kept[0] in _NAMED:
        return _NAMED[kept[0]]
    if not kept or not SIZE_WORDS.issuperset(kept):
        return None
    sizes = [w for w in kept if w in _SIZES]
    size = next((_SIZES[w] for w in ("char", "short", "long") if w in sizes), 32)
    return Integer(size, "unsigned" not in kept)


@dataclass(frozen=True, eq=False)
class Value:
    """``expr`` is None where nothing is known, and ``why`` then says so as the end of a sentence.

    A type ``Other`` with an expression is a token of the machine, such as saved flags.
    """

    type: CType
    expr: Expr | None
    why: str = ""

    def same(self, other: Value) -> bool:
        return self.expr is other.expr and self.type == other.type


def unknown(why: str, type_: CType = VOID) -> Value:
    return Value(type_, None, why)


def number(value: int, type_: Integer = INT) -> Value:
    return Value(type_, const(value, type_.word))


def signed(value: int, type_: Integer) -> int:
    """The number that a word of ``type_`` with the bits ``value`` stands for."""
    return value - (1 << type_.width) if type_.signed and value >> (type_.width - 1) else value


def literal(text: str) -> Value | None:
    found = integer(text)
    return None if found is None else number(found.value, Integer(found.width, found.signed))


def boolean(condition: Expr) -> Value:
    """C's ``int`` that is 1 if ``condition`` holds and else 0."""
    return Value(INT, condition)


def convert(value: Value, type_: Integer) -> Value:
    """C's conversion of an integer to an integer type."""
    if value.expr is None or not isinstance(value.type, Integer):
        return Value(type_, value.expr if isinstance(value.type, Integer) else None, value.why)
    if type_.boolean:
        return Value(type_, truth(value.expr))
    if value.expr.type == BOOL:
        return Value(type_, ite(value.expr, const(1, type_.word), const(0, type_.word)))
    return Value(type_, resize(value.expr, type_.word))


def promoted(type_: Integer) -> Integer:
    """The integer promotions."""
    return INT if type_.width < 32 else type_


def common(a: Integer, b: Integer) -> Integer:
    """The usual arithmetic conversions: of equal width, unsigned wins."""
    a, b = promoted(a), promoted(b)
    if a.width != b.width:
        return a if a.width > b.width else b
    return a if not a.signed else b


def shifted_right(value: Expr, type_: Integer, count: Expr) -> Expr | None:
    """``value >> count``: arithmetic for signed words, for which ``count`` has to be a constant."""
    if not type_.signed:
        return word_op("shr", value, resize(count, type_.word))
    if count.op != "const":
        return None
    bare = WordType(type_.width)
    logical = word_op("shr", resize(value, bare), const(count.value, bare))
    sign = const(1 << (type_.width - 1 - count.value), bare)
    return resize(word_op("sub", word_op("bxor", logical, sign), sign), type_.word)
