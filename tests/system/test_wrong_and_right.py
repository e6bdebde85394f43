"""Well-formed models by somebody who wants a wrong proof: the wrong one is violated, the right one beside it proved.

The enumerating engines, the reference interpreter and the replay interpreter's own visit agree on each (``answer``).
"""

from __future__ import annotations

from typing import Any

import pytest
from quick import sampled
from test_semantics import NEVER_BAD, answer, bad, idle, mark, model

from tlbcheck import (
    CACHED,
    CacheKind,
    Interrupt,
    Model,
    Operation,
    Property,
    Range,
    Table,
    Verdict,
    atomic,
    choose,
    enter,
    leave,
    marker,
    operation,
    per_cpu,
    procedure,
    require,
    shared,
    this_cpu,
    var,
    verify,
)
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, eq, not_
from tlbcheck.lang.program import Clause
from tlbcheck.lang.types import IntType
from tlbcheck.options import Limits

X, Y = shared("X", bool), shared("Y", bool)
N = shared("N", Range(0, 7))
D = shared("D", Range(-5, 5))
LOW_ARRAY = shared("LOW_ARRAY", Range(-4, 3), index=Range(-3, -1))
OWN, IRQS, NMIS = per_cpu("OWN", bool), per_cpu("IRQS", bool), per_cpu("NMIS", bool)
BELOW, SIGNED, THREE = IntType(-3, -1), IntType(-3, 3), IntType(1, 3)
of_below = Table("of_below", BELOW, (1, 2, 3), IntType(0, 7))
to_signed = Table("to_signed", THREE, (-1, 0, 1), IntType(-2, 2))


def judged(clause: str, **kept: Any) -> Property:
    return Property(clause, "a test", source="docs/semantics.md", clauses={clause: "it is so"}, **kept)


# -- ghosts that are called like something else


def shadowing(name: str) -> Property:
    q = judged("shadow")
    ghost = q.ghost(name, bool)
    q.on(operation("mark"), {ghost: True})
    q.on(operation("bad"), bad={"shadow": ghost.expr})
    return q


@procedure
def marks_then_bad() -> None:
    mark()
    X.set(False)
    OWN.set(False)
    bad()


@procedure
def bad_then_marks() -> None:
    X.set(True)
    OWN.set(True)
    bad()
    mark()


# -- numbers


@procedure
def reads_the_wrong_row() -> None:
    i = choose(BELOW)
    N.set(of_below(i))
    if i == -1 and N.get() == 3:
        bad()


@procedure
def reads_its_row() -> None:
    i = choose(BELOW)
    N.set(of_below(i))
    if i == -1 and N.get() != 3:
        bad()
    idle()


@procedure
def reads_below() -> None:
    i = choose(THREE)
    D.set(to_signed(i))
    if D.get() < 0:
        bad()


@procedure
def reads_no_lower() -> None:
    i = choose(THREE)
    D.set(to_signed(i))
    if D.get() < -1:
        bad()
    idle()


@procedure
def finds_what_it_wrote() -> None:
    LOW_ARRAY.at(-2).set(-4)
    if LOW_ARRAY.at(-2).get() == -4:
        bad()


@procedure
def finds_it_elsewhere() -> None:
    LOW_ARRAY.at(-2).set(-4)
    if LOW_ARRAY.at(-3).get() == -4 or LOW_ARRAY.at(-1).get() == -4:
        bad()
    idle()


@procedure
def distance(x: Range(-3, 3)) -> Range(0, 3):  # type: ignore[valid-type]  # read by the language, which has ranges
    return -x if x < 0 else x


@procedure
def is_as_far() -> None:
    x = choose(SIGNED)
    mark()
    if distance(x) == 3 and x < 0:
        bad()


@procedure
def is_below_nothing() -> None:
    x = choose(SIGNED)
    mark()
    if distance(x) < 0 or distance(x) > 3:
        bad()
    else:
        idle()


@procedure
def takes_the_other_side() -> None:
    x = choose(BELOW)
    y = x if x < -1 else 5
    mark()
    if y == 5:
        bad()


@procedure
def lies_between() -> None:
    x = choose(BELOW)
    y = x if x < -1 else 5
    mark()
    if y > -2 and y < 5:
        bad()
    else:
        idle()


# -- one helper, several callers


@procedure
def writes_and_looks(v: Range(0, 7)) -> bool:  # type: ignore[valid-type]  # read by the language, which has ranges
    N.set(v)
    mark()
    kept: bool = N.get() == v
    idle()
    return kept


@procedure
def calls_it_three_times() -> None:
    if not writes_and_looks(1):
        bad()
    N.set(3)
    if not writes_and_looks(2) or not writes_and_looks(5):
        bad()


@procedure
def calls_it_too() -> None:
    if not writes_and_looks(6):
        idle()


# -- interrupts


@procedure
def writes_and_clears() -> None:
    X.set(True)
    X.set(False)


@procedure
def bad_if_written() -> None:
    if X.get():
        bad()


@procedure
def with_irqs() -> None:
    IRQS.set(True)


@procedure
def with_both() -> None:
    IRQS.set(True)
    NMIS.set(True)


@procedure
def switches_them_off() -> None:
    while True:
        IRQS.set(False)
        X.set(True)
        X.set(False)
        IRQS.set(True)


@procedure
def asks_for_the_others() -> None:
    mark()
    if NMIS.get():
        bad()


def irq(handler: Any = bad_if_written, flag: Any = IRQS, level: str = "irq") -> Interrupt:
    return Interrupt(handler, flag, level=level)


# -- roles


@procedure
def helper() -> None:
    mark()
    bad()
    idle()


@procedure(role="switch")
def switches(with_helper: bool) -> None:
    if not with_helper:
        mark()
        return
    mark()
    helper()


@procedure
def only_outside() -> None:
    while True:
        helper()
        switches(False)


@procedure
def inside_too() -> None:
    while True:
        helper()
        switches(choose(bool))


@procedure
def is_bad() -> None:
    bad()


@procedure(role="switch")
def is_bad_as_a_switch() -> None:
    bad()


def within_a_switch() -> Property:
    q = judged("within")
    inside = q.ghost("inside", bool, frame=True)
    q.on(enter("switch"), {inside: True})
    q.on(leave("switch"), {inside: False})
    q.on(operation("bad"), bad={"within": inside.expr})
    return q


# -- caches


BIT, MINUS = IntType(0, 1), IntType(-2, -1)
pte, low_pte = shared("pte", Range(0, 1)), shared("low_pte", Range(-2, -1))
use = marker("use", "uses")
FLUSH = Operation("FLUSH", drops=(Clause("everything", (TRUE,)),))
ON_INTEL = Operation("ON_INTEL", drops=(Clause("everything", (TRUE,), vendors=frozenset({"intel"})),))


def cache(page: Expr, now: Expr, type_: IntType) -> CacheKind:
    return CacheKind("TLB", (("page", type_, type_.values()),), TRUE, eq(page, now), FALSE, lambda entry: "the entry")


PAGE, LOW_PAGE = var("entry.page", BIT), var("entry.page", MINUS)
TLB, LOW_TLB = cache(PAGE, pte.expr, BIT), cache(LOW_PAGE, low_pte.expr, MINUS)


def stale(page: Expr, now: Expr) -> Property:
    q = judged("stale")
    q.on(operation("use"), bad={"stale": and_(CACHED, not_(eq(page, now)))})
    return q


STALE, LOW_STALE = stale(PAGE, pte.expr), stale(LOW_PAGE, low_pte.expr)


@procedure
def remaps() -> None:
    while True:
        pte.set(choose(BIT))
        FLUSH()
        use()


@procedure
def flushes_before() -> None:
    while True:
        FLUSH()
        pte.set(choose(BIT))
        use()


@procedure
def remaps_on_intel() -> None:
    while True:
        pte.set(choose(BIT))
        ON_INTEL()
        use()


@procedure
def remaps_low() -> None:
    while True:
        low_pte.set(choose(MINUS))
        FLUSH()
        use()


@procedure
def never_flushes_low() -> None:
    while True:
        low_pte.set(choose(MINUS))
        use()


@procedure
def the_first_flushes() -> None:
    while True:
        if this_cpu() == 0:
            with atomic:
                pte.set(choose(BIT))
                FLUSH()
        else:
            use()


@procedure
def takes_back_what_it_did() -> None:
    while True:
        idle()
        with atomic:
            bad()
            require(X.get())
        X.set(False)


@procedure
def does_what_it_did() -> None:
    while True:
        idle()
        with atomic:
            bad()
            require(not X.get())
        X.set(False)


@pytest.mark.parametrize(
    ("wrong", "right", "q"),
    sampled([
        (model(marks_then_bad), model(bad_then_marks), shadowing("X")),
        (model(marks_then_bad), model(bad_then_marks), shadowing("OWN")),
        (model(does_what_it_did), model(takes_back_what_it_did), NEVER_BAD),
        (model(reads_the_wrong_row), model(reads_its_row), NEVER_BAD),
        (model(reads_below), model(reads_no_lower), NEVER_BAD),
        (model(finds_what_it_wrote), model(finds_it_elsewhere), NEVER_BAD),
        (model(is_as_far), model(is_below_nothing), NEVER_BAD),
        (model(takes_the_other_side), model(lies_between), NEVER_BAD),
        (model(calls_it_three_times, interrupts=(irq(calls_it_too, None),)), model(calls_it_three_times), NEVER_BAD),
        (model(init=with_irqs, interrupts=(irq(is_bad),)), model(interrupts=(irq(is_bad),)), NEVER_BAD),
        (model(interrupts=(irq(is_bad, None),)), model(interrupts=(Interrupt(is_bad, None, FALSE),)), NEVER_BAD),
        (
            model(interrupts=(irq(writes_and_clears, None), irq(flag=None, level="nmi"))),
            model(interrupts=(irq(writes_and_clears, None, "nmi"), irq(flag=None))),
            NEVER_BAD,
        ),
        (
            model(switches_them_off, init=with_irqs, interrupts=(irq(flag=None, level="nmi"),)),
            model(switches_them_off, init=with_irqs, interrupts=(irq(),)),
            NEVER_BAD,
        ),
        (
            model(init=with_both, interrupts=(irq(asks_for_the_others), irq(asks_for_the_others, NMIS))),
            model(init=with_irqs, interrupts=(irq(asks_for_the_others), irq(asks_for_the_others, NMIS))),
            NEVER_BAD,
        ),
        (model(inside_too), model(only_outside), within_a_switch()),
        (
            model(only_outside, interrupts=(irq(is_bad_as_a_switch, None),)),
            model(only_outside, interrupts=(irq(is_bad, None),)),
            within_a_switch(),
        ),
        (model(flushes_before, cache=TLB), model(remaps, cache=TLB), STALE),
        (model(never_flushes_low, cache=LOW_TLB), model(remaps_low, cache=LOW_TLB), LOW_STALE),
        (model(remaps_on_intel, cache=TLB), model(remaps_on_intel, cache=TLB, profile="intel"), STALE),
        (model(remaps_on_intel, cache=TLB, profile="amd"), model(remaps, cache=TLB, profile="amd"), STALE),
        (model(the_first_flushes, cpus=2, cache=TLB), model(the_first_flushes, cache=TLB), STALE),
    ], keep=9),
    ids=lambda x: getattr(x, "task", x).name,
)
def test_the_wrong_model_is_violated_and_the_right_one_proved(wrong: Model, right: Model, q: Property) -> None:
    assert (isinstance(answer(wrong, q), int), answer(right, q)) == (True, "proved")


# -- limits


@procedure
def counts() -> None:
    while True:
        with atomic:
            n = N.get()
            N.set(n + 1 if n < 7 else 0)
        if N.get() == 6:
            bad()


@procedure
def counts_less() -> None:
    while True:
        with atomic:
            n = N.get()
            N.set(n + 1 if n < 5 else 0)
        if N.get() == 6:
            bad()


@pytest.mark.parametrize(
    ("engines",),
    sampled([(e,) for e in [("explicit", "bmc", "pdr"), ("sets",), ("explicit",), ("bmc",), ("pdr",), ("full",), ("reference",)]], keep=2),
    ids="+".join,
)
def test_no_limit_makes_a_wrong_model_right(engines: tuple[str, ...]) -> None:
    """What is cut off is undecided, with status 3; of the right model nothing is ever called violated."""
    for task, never in ((counts, Verdict.PROVED), (counts_less, Verdict.VIOLATED)):
        for limits, depth in (
            (Limits(states=2), None),
            (Limits(seconds=0.02), None),
            (Limits(memory=1 << 20), None),
            (Limits(), 3),
        ):
            found = verify(model(task), [NEVER_BAD], engines=engines, limits=limits, depth=depth, blame=False)[
                NEVER_BAD.name
            ]
            assert found.verdict is not never, (task.name, limits, depth)
            assert int(found.status()) == {Verdict.PROVED: 0, Verdict.VIOLATED: 1}.get(found.verdict, 3), (
                task.name,
                limits,
                depth,
            )
