"""The expression constructors fold without changing a value, and every translation agrees.

Hypothesis makes random trees. Each is built through the folding constructors and, apart from
them, worked out here by plain Python; then evaluate(), the generated Python, z3 and the replay
interpreter have to give the same.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbcheck import Model, Property, Range, marker, operation, procedure, shared
from tlbcheck.check import explore
from tlbcheck.engines.compile import code
from tlbcheck.engines.encoding import Translator
from tlbcheck.lang.expr import (
    FALSE,
    TRUE,
    Expr,
    and_,
    apply,
    bit,
    conjuncts,
    const,
    eq,
    evaluate,
    implies,
    ite,
    lookup,
    not_,
    or_,
    rebuild,
    resize,
    show,
    substitute,
    truth,
    var,
    variables,
    word_op,
)  # fmt: skip
from tlbcheck.lang.types import BOOL, BoolType, IntType, Type, WordType, enum_type
from tlbcheck.replay.interpreter import Run, Scope, value_of
from tlbcheck.system.known_bits import width


class Colour(enum.Enum):
    red = enum.auto()
    green = enum.auto()
    blue = enum.auto()


COLOUR = enum_type(Colour)
U8, S8, U16, S16 = WordType(8), WordType(8, signed=True), WordType(16), WordType(16, signed=True)
WORDS: tuple[Type, ...] = (U8, S8, U16, S16)
ALL_TYPES: tuple[Type, ...] = (*WORDS, BOOL, COLOUR)
VARIABLES: Mapping[str, Type] = {
    "p": BOOL, "q": BOOL, "c": COLOUR, "d": COLOUR,
    "u8": U8, "v8": U8, "s8": S8, "t8": S8, "u16": U16, "s16": S16,
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A tree that nothing has folded."""

    op: str
    type: Type
    args: tuple[Node, ...] = ()
    value: Any = None


def _values_of(t: Type) -> st.SearchStrategy[int]:
    """Values of a type, the corners of words more often than not."""
    if isinstance(t, WordType):
        return st.sampled_from([0, 1, 2, t.mask, t.mask >> 1, (t.mask >> 1) + 1, 0xF0 & t.mask]) | st.integers(0, t.mask)
    return st.sampled_from(t.values())


def _leaf(draw: st.DrawFn, t: Type) -> Node:
    if draw(st.booleans()):
        return Node("var", t, (), draw(st.sampled_from([n for n, own in VARIABLES.items() if own == t])))
    return Node("const", t, (), draw(_values_of(t)))


@st.composite
def trees(draw: st.DrawFn, t: Type, depth: int = 3) -> Node:
    def sub(of: Type) -> Node:
        return draw(trees(of, depth - 1))

    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return _leaf(draw, t)
    if draw(st.integers(0, 5)) == 0:
        return Node("ite", t, (sub(BOOL), sub(t), sub(t)))
    if draw(st.integers(0, 7)) == 0:
        values = tuple(draw(st.lists(_values_of(t), min_size=len(Colour), max_size=len(Colour))))
        return Node("table", t, (sub(COLOUR),), values)
    if isinstance(t, BoolType):
        op = draw(st.sampled_from(["not", "and", "or", "implies", "xor", "eq", "lt", "le", "bit", "truth"]))
        if op in ("and", "or"):
            return Node(op, t, tuple(sub(BOOL) for _ in range(draw(st.integers(0, 3)))))
        if op in ("not", "implies", "xor"):
            return Node(op, t, tuple(sub(BOOL) for _ in range(1 if op == "not" else 2)))
        of = draw(st.sampled_from(WORDS if op != "eq" else ALL_TYPES))
        if op == "bit":
            assert isinstance(of, WordType)
            return Node(op, t, (sub(of),), draw(st.integers(0, of.width - 1)))
        return Node(op, t, tuple(sub(of) for _ in range(1 if op == "truth" else 2)))
    if isinstance(t, WordType):
        op = draw(st.sampled_from(["band", "band", "bor", "bxor", "add", "sub", "shl", "shr", "bnot", "resize", "resize"]))
        if op == "resize":
            return Node(op, t, (sub(draw(st.sampled_from(WORDS))),))
        return Node(op, t, tuple(sub(t) for _ in range(1 if op == "bnot" else 2)))
    return _leaf(draw, t)


# -- what a tree is worth, by plain Python


def _number(value: int, t: Type) -> int:
    """The mathematical value of a word's pattern."""
    return value - (1 << t.width) if isinstance(t, WordType) and t.signed and value >> (t.width - 1) else value


def worth(n: Node, values: Mapping[str, int]) -> int:
    if n.op == "const":
        return cast(int, n.value)
    if n.op == "var":
        return values[n.value]
    v: list[int] = [worth(a, values) for a in n.args]
    mask = n.type.mask if isinstance(n.type, WordType) else -1
    numbers = [_number(x, a.type) for x, a in zip(v, n.args, strict=True)]
    match n.op:
        case "ite":
            return v[1] if v[0] else v[2]
        case "table":
            return cast(int, n.value[v[0]])
        case "not":
            return int(not v[0])
        case "and":
            return int(all(v))
        case "or":
            return int(any(v))
        case "implies":
            return int(not v[0] or v[1])
        case "xor":
            return int(v[0] != v[1])
        case "eq":
            return int(v[0] == v[1])
        case "lt":
            return int(numbers[0] < numbers[1])
        case "le":
            return int(numbers[0] <= numbers[1])
        case "bit":
            return v[0] >> cast(int, n.value) & 1
        case "truth":
            return int(v[0] != 0)
        case "band":
            return v[0] & v[1]
        case "bor":
            return v[0] | v[1]
        case "bxor":
            return v[0] ^ v[1]
        case "bnot":
            return ~v[0] & mask
        case "add":
            return (numbers[0] + numbers[1]) & mask
        case "sub":
            return (numbers[0] - numbers[1]) & mask
        case "shl":
            return (v[0] << v[1]) & mask
        case "shr":
            return v[0] >> v[1]
        case "resize":
            return numbers[0] & mask
    raise AssertionError(n.op)


def built(n: Node) -> Expr:
    """The tree through the constructors, which fold; operators of ``Expr`` where there are any."""
    if n.op == "const":
        return const(n.value, n.type)
    if n.op == "var":
        return var(n.value, n.type)
    a = [built(x) for x in n.args]
    match n.op:
        case "ite":
            return ite(a[0], a[1], a[2])
        case "table":
            return lookup(a[0], n.value, n.type)
        case "not":
            return ~a[0]
        case "and":
            return and_(*a)
        case "or":
            return or_(*a)
        case "implies":
            return implies(a[0], a[1])
        case "xor" | "bxor":
            return a[0] ^ a[1]
        case "eq":
            return a[0] == a[1]
        case "lt":
            return a[0] < a[1]
        case "le":
            return a[0] <= a[1]
        case "bit":
            return bit(a[0], n.value)
        case "truth":
            return truth(a[0])
        case "band":
            return a[0] & a[1]
        case "bor":
            return a[0] | a[1]
        case "bnot":
            return ~a[0]
        case "add":
            return a[0] + a[1]
        case "sub":
            return a[0] - a[1]
        case "shl" | "shr":
            return word_op(n.op, a[0], a[1])
        case "resize":
            assert isinstance(n.type, WordType)
            return resize(a[0], n.type)
    raise AssertionError(n.op)


# -- the same by each translation


def generated(e: Expr, values: Mapping[str, int]) -> int:
    return int(eval(code(e, {n: n for n in values}), {"__builtins__": {}}, dict(values)))


def by_z3(e: Expr, values: Mapping[str, int], types: Mapping[str, Type] = VARIABLES) -> int:
    names = {n: z3.BoolVal(bool(v)) if isinstance(types[n], BoolType) else z3.BitVecVal(v, width(types[n])) for n, v in values.items()}
    term = z3.simplify(Translator(names)(e))
    return int(z3.is_true(term)) if z3.is_bool(term) else int(term.as_long())


def replayed(e: Expr, values: Mapping[str, int]) -> int:
    return value_of(e, Scope(cast(Run, None), 0, "task", locals=values))


VALUES = st.fixed_dictionaries({n: _values_of(t) for n, t in VARIABLES.items()})
ANY_TREE = st.sampled_from(ALL_TYPES).flatmap(lambda t: trees(t))
QUICK = settings(max_examples=120, deadline=None, database=None, derandomize=True)


@QUICK
@given(tree=ANY_TREE, values=VALUES)
def test_folding_keeps_values_and_translations_agree(tree: Node, values: dict[str, int]) -> None:
    """evaluate(), generated Python, z3 and replay of the folded tree all give what plain Python gives for the tree as it was."""
    e = built(tree)
    assert e.type == tree.type
    expected = worth(tree, values)
    assert evaluate(e, values) == expected
    assert generated(e, values) == expected
    assert by_z3(e, values) == expected
    assert replayed(e, values) == expected


@QUICK
@given(tree=ANY_TREE, values=VALUES, chosen=st.sets(st.sampled_from(sorted(VARIABLES))))
def test_substitution_keeps_values(tree: Node, values: dict[str, int], chosen: set[str]) -> None:
    """Putting constants in for some variables folds to the same values; for all of them, to a constant."""
    e = built(tree)
    expected = worth(tree, values)
    constants = {n: const(values[n], VARIABLES[n]) for n in VARIABLES}
    partly = substitute(e, {n: constants[n] for n in chosen})
    assert not set(variables(partly)) & chosen and set(variables(partly)) <= set(variables(e))
    assert evaluate(partly, values) == expected
    whole = substitute(e, constants)
    assert whole.op == "const" and whole.value == expected and whole.type == tree.type


@QUICK
@given(tree=ANY_TREE, other=ANY_TREE, values=VALUES)
def test_equal_trees_are_one_node_and_rebuild_keeps_values(tree: Node, other: Node, values: dict[str, int]) -> None:
    """Hash-consing: building twice gives the same object; rebuild() over the same operands keeps the value; show() never fails."""
    e = built(tree)
    assert e is built(tree)
    if e.args:
        assert evaluate(rebuild(e, e.args), values) == evaluate(e, values)
    parts = conjuncts(e) if e.type == BOOL else ()
    if parts or e is TRUE:
        assert all(evaluate(x, values) for x in parts) == bool(evaluate(e, values))
    assert show(e) and show(built(other))


@QUICK
@given(tree=trees(BOOL), values=VALUES)
def test_boolean_laws(tree: Node, values: dict[str, int]) -> None:
    """The identities that junctions fold: units, zeros, complements and double negation."""
    e = built(tree)
    assert and_(e, TRUE) is e and or_(e, FALSE) is e
    assert and_(e, FALSE) is FALSE and or_(e, TRUE) is TRUE
    assert not_(not_(e)) is e
    assert eq(e, e) is TRUE
    assert evaluate(and_(e, not_(e)), values) == 0 and evaluate(or_(e, not_(e)), values) == 1


SMALL = IntType(0, 3)


@pytest.mark.parametrize("low", range(4))
@pytest.mark.parametrize("high", range(4))
def test_bounded_integers_do_not_wrap_in_any_translation(low: int, high: int) -> None:
    """Sums and differences of bounded integers are plain integers everywhere: 3 + 3 of 0..3 is 6, not 2, also inside comparisons."""
    types = {"m": SMALL, "n": SMALL}
    m, n = var("m", SMALL), var("n", SMALL)
    values = {"m": low, "n": high}
    for e, expected in (
        (m + n <= const(3, SMALL), low + high <= 3),
        (const(2, SMALL) < m + 1, low + 1 > 2),
        (eq(m + n, const(2, SMALL)), low + high == 2),
        (m - n < const(1, SMALL), low - high < 1),
    ):
        assert evaluate(e, values) == expected
        assert generated(e, values) == expected
        assert replayed(e, values) == expected
        assert by_z3(e, values, types) == expected, show(e)


@pytest.mark.parametrize("amount", [0, 1, 63, 64, 65, 1 << 40, (1 << 64) - 1])
def test_shifts_by_any_amount(amount: int) -> None:
    """A shift by the word's width or more gives 0 in every translation, and none runs out of memory."""
    u64 = WordType(64)
    types = {"x": u64, "k": u64}
    values = {"x": 0x8000_0000_0000_0001, "k": amount}
    for op, expected in (("shl", (values["x"] << amount) & u64.mask if amount < 64 else 0), ("shr", values["x"] >> amount if amount < 64 else 0)):
        e = word_op(op, var("x", u64), var("k", u64))
        assert evaluate(e, values) == expected
        assert generated(e, values) == expected
        assert replayed(e, values) == expected
        assert by_z3(e, values, types) == expected


def test_signed_words_compare_and_extend_by_sign() -> None:
    """By hand: -1 < 0 as signed words and not as unsigned ones; extension copies the sign, truncation keeps the low bits."""
    s, u = var("s8", S8), var("u8", U8)
    values = {"s8": 0xFF, "u8": 0xFF}
    for e, expected in ((s < const(0, S8), 1), (u < const(0, U8), 0), (resize(s, U16), 0xFFFF), (resize(u, U16), 0xFF), (resize(resize(s, S16), U8), 0xFF)):
        assert evaluate(e, values) == generated(e, values) == by_z3(e, values) == replayed(e, values) == expected


def test_expressions_have_no_truth_value() -> None:
    """``and``/``or`` on expressions would drop an operand silently, so Python's truth test is refused."""
    with pytest.raises(TypeError, match="combine with &"):
        bool(var("p", BOOL))


def test_folding_of_constants_is_complete() -> None:
    """A node whose operands are constants is a constant, for every operator."""
    one, two = const(1, U8), const(2, U8)
    for op in ("band", "bor", "bxor", "add", "sub", "shl", "shr"):
        assert word_op(op, two, one).op == "const"
    assert apply("lt", (one, two), BOOL) is TRUE and apply("le", (two, one), BOOL) is FALSE
    assert lookup(const(1, COLOUR), (4, 5, 6), U8) is const(5, U8)
    assert eq(Colour.red, const(0, COLOUR)) is TRUE


LITTLE, LARGE = shared("little", Range(0, 3)), shared("large", Range(0, 7))


@procedure
def from_four() -> None:
    LITTLE.set(0)
    LARGE.set(4)


@procedure
def count() -> None:
    while True:
        here = LITTLE.get()
        LARGE.set(here + 1)
        if here == 3:
            LITTLE.set(0)
        else:
            LITTLE.set(here + 1)


@pytest.mark.parametrize(("value", "verdict"), [(0, "bounded"), (1, "violated"), (4, "violated"), (5, "bounded")])
def test_sums_of_bounded_integers_mean_the_same_to_all_engines(value: int, verdict: str) -> None:
    """A variable of 0..7 that takes one of 0..3 plus one has exactly the values 1 to 4 (and 4 at first), by every engine."""
    q = Property("reached", "a value is reached", source="test", trigger=operation("read little"), clauses={"value": "it is"})
    q.never("value", and_(eq(LARGE.expr, const(value, LARGE.type)), not_(eq(LITTLE.expr, const(0, LITTLE.type)))))
    result = explore(Model(name="test/count", title="counts", init=from_four, task=count), [q], depth=12)
    decided = "proved" if verdict == "bounded" else "violated"
    expected = {"explicit": decided, "bmc": verdict, "pdr": decided}
    assert {engine: answer.verdict for engine, answer in result["reached"].engines.items()} == expected


SWITCHED_ON = shared("switched_on", bool)
TICK = marker("tick", "ticks")


@procedure
def switch_on() -> None:
    SWITCHED_ON.set(True)


@procedure
def tick() -> None:
    TICK()


def test_a_shared_variable_that_only_init_writes_keeps_its_value() -> None:
    """A rule that reads a shared variable means that variable, not one of each CPU, also if no step of the task touches it."""
    q = Property("stays-on", "it stays on", source="test", trigger=operation("tick"), clauses={"off": "it is off"})
    q.on(operation("tick"), bad={"off": not_(SWITCHED_ON.expr)})
    result = explore(Model(name="test/switched-on", title="ticks", init=switch_on, task=tick), [q], engines=("explicit",))
    assert (result["stays-on"].verdict, result["stays-on"].vacuous) == ("proved", False)
