"""A scope says "any" of pages, ASIDs or kinds only where nothing but whether two are the same decides: no number of theirs, no order, no array."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from tlbcheck import CACHED, CacheKind, Expr, Model, Operation, Procedure, Property, Range, Table, choose, implies, operation, per_cpu, procedure, require, shared, u64, var
from tlbcheck.engines.sufficiency import decide
from tlbcheck.lang.expr import FALSE, TRUE, and_, const, eq, ite, lookup, not_, or_
from tlbcheck.lang.program import Clause
from tlbcheck.lang.scope import Kinds, Names
from tlbcheck.lang.types import BOOL, U64, IntType, enum_type
from tlbcheck.system.lower import lower


class Page(enum.Enum):
    data = enum.auto()
    code = enum.auto()
    stack = enum.auto()


class Colour(enum.Enum):
    red = enum.auto()
    blue = enum.auto()
    green = enum.auto()


NAMES = ["data", "code", "stack"]
PAGES, COLOURS, THREE, TWO = enum_type(Page), enum_type(Colour), IntType(0, 2), IntType(0, 1)
Two, Three = Range(0, 1), Range(0, 2)
PAGE = var("entry.page", PAGES)
number = Table("number", PAGES, (0, 1, 2), THREE)
address = Table("address", PAGES, (0x1000, 0x2000, 0x3000), U64)
colour = Table("colour", PAGES, (0, 1, 2), COLOURS)
shade = Table("shade", PAGES, (0, 0, 1), COLOURS)
large = Table("large", PAGES, (1, 0, 1), BOOL)
even = Table("even", THREE, (1, 0, 1), BOOL)
page_of = Table("page_of", THREE, (0, 1, 2), PAGES)
NUMBER, ADDRESS, COLOUR, SHADE, LARGE = (lookup(PAGE, t.values, t.type) for t in (number, address, colour, shade, large))
CHOICE = ite(eq(PAGE, Page.data), const(0, THREE), ite(eq(PAGE, Page.code), const(1, THREE), const(2, THREE)))
flag = shared("flag", bool)
stored = shared("stored", Three)
word = shared("word", U64)
current = shared("current", Page)
paint = shared("paint", Colour)
mapped = shared("mapped", bool, index=Page)
numbered = shared("numbered", bool, index=Two)
limit = shared("limit", Two)
flush = Operation("FLUSH")
flush_number = Operation("FLUSH NUMBER", (("n", THREE),), drops=(Clause("that number", (eq(NUMBER, var("arg.n", THREE)),)),))
flush_colour = Operation("FLUSH COLOUR", (("c", COLOURS),), drops=(Clause("that colour", (eq(COLOUR, var("arg.c", COLOURS)),)),))
flush_shade = Operation("FLUSH SHADE", (("c", COLOURS),), drops=(Clause("that shade", (eq(SHADE, var("arg.c", COLOURS)),)),))


@procedure
def start() -> None:
    pass


@procedure
def anything() -> None:
    """All that rules below speak of changes."""
    flag.set(choose(bool))
    stored.set(choose(Three))
    word.set(address(choose(Page)) & 0)
    current.set(Page.data)
    paint.set(choose(Colour))
    limit.set(choose(Two))
    numbered.at(choose(Two)).set(choose(bool))


def bad(e: Expr) -> Property:
    q = Property("q", "", "this test", clauses={"bad": ""})
    q.never("bad", e)
    return q


def pages(domain: Any = (PAGES, (0, 1, 2)), *, fill: Expr = TRUE, initial: Expr = FALSE, possible: Expr = TRUE) -> CacheKind:
    return CacheKind("TLB", (("page", *domain),), possible, fill, initial, str, scope={"page": "pages"})


def scope(word: str, task: Procedure, q: Property | None = None, **changes: Any) -> Any:
    """What the scope says of ``word`` for a model with this task, and why."""
    found = decide(lower(Model(name="m", title="", **{"init": start, "task": task, **changes}), [q or bad(and_(CACHED, flag.expr))])).scope()
    return found[word]


RULES = {
    "by number": {"fill": not_(const(2, THREE) <= NUMBER)},
    "number 1": {"fill": eq(NUMBER, 1)},
    "stored number": {"fill": eq(NUMBER, stored.expr)},
    "address": {"fill": eq(ADDRESS, word.expr)},
    "a number by a choice": {"fill": eq(CHOICE, stored.expr)},
    "its own colour": {"fill": eq(COLOUR, paint.expr)},
    "the start": {"initial": not_(const(1, THREE) <= NUMBER)},
    "possible": {"possible": not_(const(2, THREE) <= NUMBER)},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_asks_for_a_number_of_a_page_is_told(rule: str) -> None:
    """Another page of its kind has another number; a colour that no other page has is as good as its name."""
    assert scope("pages", anything, cache=pages(**RULES[rule])) == NAMES


def test_a_property_that_asks_for_a_number_of_a_page_is_told() -> None:
    assert scope("pages", anything, bad(and_(CACHED, eq(NUMBER, stored.expr))), cache=pages()) == NAMES
    assert scope("pages", anything, bad(and_(CACHED, not_(const(1, THREE) <= NUMBER))), cache=pages()) == NAMES


@pytest.mark.parametrize("fill", [LARGE, and_(LARGE, flag.expr), eq(PAGE, Page.code)], ids=["large", "large, at times", "code"])
def test_what_all_pages_of_a_kind_have_tells_none_apart(fill: Expr) -> None:
    assert scope("pages", anything, cache=pages(fill=fill)) == "any"


@procedure
def flushes_number() -> None:
    flag.set(choose(bool))
    flush_number(1)


@procedure
def flushes_colour() -> None:
    flag.set(choose(bool))
    flush_colour(Colour.red)


@procedure
def flushes_shade() -> None:
    flag.set(choose(bool))
    flush_shade(Colour.red)


def test_an_operation_that_names_a_page_by_its_number_is_told() -> None:
    assert scope("pages", flushes_number, cache=pages()) == NAMES
    assert scope("pages", flushes_colour, cache=pages()) == NAMES
    assert scope("pages", flushes_shade, cache=pages()) == "any"


@procedure
def compares() -> None:
    p = choose(Page)
    if p == current.get():
        flag.set(True)
    current.set(p)


@procedure
def orders() -> None:
    p = choose(Page)
    if number(p) < number(current.get()):
        flag.set(True)
    current.set(p)


@procedure
def orders_by_constant() -> None:
    p = choose(Page)
    if number(p) < 1:
        flag.set(True)
    flush()


@procedure
def keeps_number() -> None:
    stored.set(number(choose(Page)))
    if stored.get() == 2:
        flag.set(True)


@procedure
def computes() -> None:
    n: Range(0, 2) = number(choose(Page))  # type: ignore[valid-type]  # read by the language, which has ranges
    if n + 1 > 2:
        flag.set(True)
    flush()


@procedure
def table_of_number() -> None:
    if even(number(choose(Page))):
        flag.set(True)
    flush()


@procedure
def looks_at_bits() -> None:
    if address(choose(Page)) & 0x1000:
        flag.set(True)
    flush()


@procedure
def numbers_by_choice() -> None:
    p = choose(Page)
    n: Range(0, 2) = 0  # type: ignore[valid-type]  # read by the language, which has ranges
    if p == Page.code:
        n = 1
    elif p == Page.stack:
        n = 2
    if n < stored.get():
        flag.set(True)
    stored.set(n)


@procedure
def number_from(p: Page) -> u64:
    found: u64 = address(p)
    return found


@procedure
def by_a_helper() -> None:
    if number_from(choose(Page)) == word.get():
        flag.set(True)
    word.set(number_from(choose(Page)))


@procedure
def member_of_number() -> None:
    n = choose(Three)
    if page_of(n) == Page.data:
        flag.set(True)
    flush()


@procedure
def one_element_each() -> None:
    mapped.at(choose(Page)).set(choose(bool))
    if mapped.at(choose(Page)).get():
        flag.set(True)


@procedure
def compares_colours() -> None:
    p = choose(Page)
    if colour(p) != paint.get():
        flag.set(True)
    paint.set(colour(p))


LOOKS = [
    compares, orders, orders_by_constant, keeps_number, computes, table_of_number, looks_at_bits, numbers_by_choice, by_a_helper, member_of_number, one_element_each, compares_colours,
]  # fmt: skip


@pytest.mark.parametrize("task", LOOKS, ids=lambda p: p.name)
def test_software_that_tells_two_of_a_kind_apart_is_told(task: Procedure) -> None:
    """So it is whether they are pages that entries have, or things of which the model itself counts the kinds."""
    assert scope("pages", task, cache=pages()) == NAMES
    assert scope("things", task, bad(flag.expr), scope={"things": Kinds((PAGES,))}) == NAMES


@procedure
def waits_for_the_same() -> None:
    with_one = choose(Page)
    with_other = choose(Page)
    require(with_one == with_other)
    flag.set(choose(bool))


@procedure
def by_kind() -> None:
    p = choose(Page)
    if p == Page.data or large(p) or shade(p) == Colour.red:
        flag.set(True)
    flush()


@pytest.mark.parametrize("task", [waits_for_the_same, by_kind], ids=lambda p: p.name)
def test_software_may_ask_for_the_kind(task: Procedure) -> None:
    assert scope("pages", task, cache=pages()) == "any"
    assert scope("things", task, bad(flag.expr), scope={"things": Kinds((PAGES,))}) == "any"


def test_where_waiting_is_judged_a_step_that_needs_two_to_be_the_same_is_told() -> None:
    """Two of one kind that differ would wait for ever; here they are one and go on."""
    q = Property("q", "", "this test", clauses={"bad": ""})
    q.eventually_not("bad", flag.expr)
    assert scope("things", waits_for_the_same, q, scope={"things": Kinds((PAGES,))}) == NAMES


def test_a_property_that_orders_numbers_of_members_is_told() -> None:
    q = Property("q", "", "this test", clauses={"bad": ""})
    last = q.ghost("last", THREE)
    q.on(operation("FLUSH NUMBER"), {last: var("arg.n", THREE)}, bad={"bad": var("arg.n", THREE) < last.expr})

    @procedure
    def flushes_any() -> None:
        flush_number(number(choose(Page)))

    assert scope("things", flushes_any, q, scope={"things": Kinds((PAGES,))}, cache=pages()) == NAMES


# -- pages and ASIDs that are numbers

page_number = var("entry.page", TWO)
_ELEMENTS = [var(f"numbered[{i}]", BOOL) for i in (0, 1)]
NUMBERED = {
    "table": lookup(page_number, (1, 0), BOOL),
    "order": implies(flag.expr, page_number < limit.expr),
    "held": eq(page_number, limit.expr),
    "array": ite(eq(page_number, 0), *_ELEMENTS),
    "array, nothing for others": or_(*(and_(eq(page_number, i), e) for i, e in enumerate(_ELEMENTS))),
}


@pytest.mark.parametrize("rule", NUMBERED)
def test_page_numbers_that_have_something_each_or_an_order_are_told(rule: str) -> None:
    """What a table or an array has for two pages says nothing of a third; a limit that software moves would move on."""
    assert scope("pages", anything, cache=pages((TWO, (0, 1)), fill=NUMBERED[rule])) == [0, 1]


def test_all_numbers_of_a_range_are_not_all_pages() -> None:
    """A range with each of its values says nothing of page 2, unless page 2 is like one of them."""
    assert scope("pages", anything, cache=pages((TWO, (0, 1)))) == "any"
    assert scope("pages", anything, cache=pages((TWO, (0, 1)), fill=eq(page_number + page_number, 2))) == "any"  # page 2 is like page 0
    only = var("entry.page", IntType(0, 0))
    assert scope("pages", anything, bad(and_(CACHED, eq(only + only, 0))), cache=pages((IntType(0, 0), (0,)))) == [0]


asid = per_cpu("asid", Two)
word_asid = per_cpu("word_asid", U64)
to_word = Table("to_word", TWO, (0, 1), U64)
first = Table("first", TWO, (1, 0), BOOL)


def asids(holder: Expr) -> CacheKind:
    field = var("entry.asid", holder.type)
    return CacheKind("TLB", (("asid", holder.type or TWO, (0, 1)),), TRUE, eq(field, holder), FALSE, str, scope={"asid": "asids"}, tag="asid")


@procedure
def asid_compared() -> None:
    a = choose(Two)
    if a != asid.get() or a == 0:
        flag.set(True)
    asid.set(a)


@procedure
def asid_ordered() -> None:
    a = choose(Two)
    if a < asid.get():
        flag.set(True)
    asid.set(a)


@procedure
def asid_counted() -> None:
    a = asid.get()
    if a == 0:
        asid.set(a + 1)
    else:
        flag.set(True)


@procedure
def asid_kept() -> None:
    limit.set(choose(Two))
    if limit.get() > 0:
        flag.set(True)
    asid.set(limit.get())


@procedure
def asid_looked_up() -> None:
    a = choose(Two)
    if first(a):
        flag.set(True)
    asid.set(a)


@procedure
def asid_of_number() -> None:
    word_asid.set(to_word(choose(Two)))
    flag.set(choose(bool))


@procedure
def asid_by_number() -> None:
    n = choose(Two)
    if n < 1:
        flag.set(True)
    word_asid.set(to_word(n))


@procedure
def asid_bits() -> None:
    if word_asid.get() & 1:
        flag.set(True)
    word_asid.set(to_word(choose(Two)))


@pytest.mark.parametrize(
    ("task", "holder", "said"),
    [
        (asid_compared, asid, "any (named: 0, 1)"),
        (asid_ordered, asid, [0, 1]),
        (asid_counted, asid, [0, 1]),
        (asid_kept, asid, [0, 1]),
        (asid_looked_up, asid, [0, 1]),
        (asid_of_number, word_asid, "any (named: 0, 1)"),
        (asid_by_number, word_asid, [0, 1]),
        (asid_bits, word_asid, [0, 1]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_asids_of_which_nothing_says_where_they_stand_are_followed(task: Procedure, holder: Any, said: Any) -> None:
    """Whatever is copied to one or compared with one holds one; what numbers an ASID in a table is another name of it."""
    assert scope("asids", task, cache=asids(holder.expr)) == said


# -- names that come from tables

A, B, C = 0x5000, 0x6000, 0x9000
ROOTS = Names(0xFFFFF000, {A: "a", B: "b", C: "c"}, {"cr3": 0})
cr3 = shared("cr3", U64)
root_of = Table("root_of", PAGES, (A, B, C), U64)
numbered_root = Table("numbered_root", THREE, (A, B, C), U64)


@procedure
def load_first() -> None:
    cr3.set(A)


@procedure
def roots_by_order() -> None:
    n = choose(Three)
    if n < stored.get():
        flag.set(True)
    stored.set(n)
    cr3.set(numbered_root(n))


@procedure
def roots_by_rank() -> None:
    n = choose(Page)
    if number(n) < number(current.get()):
        flag.set(True)
    current.set(n)
    cr3.set(root_of(n))


@procedure
def roots_compared() -> None:
    n = choose(Page)
    if n != current.get():
        flag.set(True)
    current.set(n)
    cr3.set(root_of(n))


@pytest.mark.parametrize(("task", "is_any"), [(roots_by_order, False), (roots_by_rank, False), (roots_compared, True)], ids=lambda x: getattr(x, "name", ""))
def test_what_says_which_root_it_is_is_looked_into_too(task: Procedure, is_any: bool) -> None:
    """An index from which a root comes, or a number that each has, is as good as its address."""
    said = scope("roots", task, bad(and_(flag.expr, eq(cr3.expr & 0xFFFFF000, A))), init=load_first, scope={"roots": ROOTS})
    assert (said == "any") == is_any


@pytest.mark.parametrize(("given", "said"), [("any", "any"), ("Any number", "Any number"), (["any"], "any"), (("all of them",), "all of them")])
def test_the_models_own_word_is_told_however_it_is_written(given: Any, said: str) -> None:
    assert scope("things", by_kind, bad(flag.expr), scope={"things": given}) == f"{said}, as the model says"
