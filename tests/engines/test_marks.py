"""What a property says of an entry starts, and comes back when the entry goes, as it declares: for every engine and the replay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from quick import sampled

from tlbcheck import CACHED, CacheKind, Model, Operation, Property, operation, procedure, shared, var
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.literal import explore_tracked
from tlbcheck.engines.run import check
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, eq, not_
from tlbcheck.lang.program import Clause, marker
from tlbcheck.lang.types import IntType
from tlbcheck.replay.recheck import recheck
from tlbcheck.system.lower import lower

ENGINES = ("explicit", "bmc", "pdr", "full", "sets")

page = IntType(0, 1)
mapped = shared("mapped", bool)
FLUSH = Operation("FLUSH", drops=(Clause("everything", ()),), text="flushes everything")
look = marker("look", "looks at what is cached")
use = marker("use", "uses what is cached")


@procedure
def mapped_at_first() -> None:
    mapped.set(True)


@procedure
def look_flush_look() -> None:
    look()
    use()
    mapped.set(False)
    FLUSH()
    look()
    mapped.set(True)
    look()


@procedure
def look_use_look() -> None:
    look()
    use()
    look()


def machine(*, initial: Expr = TRUE, fill: Expr = FALSE) -> Model:
    cache = CacheKind("TLB", (("page", page, (0, 1)),), TRUE, fill, initial, lambda entry: f"page {entry['entry.page']}")
    return Model(name="mine/marks", title="looks at marks", init=mapped_at_first, task=look_flush_look, cache=cache)


def seen(initial: int, *, bad_if: bool, unused: int | None = None) -> Property:
    """Marks entries that are not used so far; to look at one with a mark, or at one without, is bad."""
    q = Property("seen", "marks of entries", source="here", clauses={"seen": "an entry has the mark"})
    mark = q.ghost("unused", initial=initial, per_entry=True)
    if unused is not None:
        q.on(operation("use"), {mark: bool(unused)})
    q.on(operation("look"), bad={"seen": and_(CACHED, mark.expr if bad_if else not_(mark.expr))})
    return q


def judged(model: Model, q: Property) -> tuple[str, int | None]:
    """What all engines and the replay say, which raise an error where they disagree."""
    result = check(model, [q], engines=ENGINES, recheck=True)[q.name]
    shortest = min((v.depth for v in result.violations), default=None)
    system = lower(model, [q])
    for other in (explore_full(system, fills="free"), explore_tracked(system, max_states=None, max_bytes=1 << 30, threads=1, symmetry=True)):
        assert other is not None and other.complete
        v = other.shortest(q.name)
        assert (v.depth if v else None) == shortest
    assert bool(Tracked(unrolled(system)).run().violations) == (shortest is not None)
    assert bool(recheck(model, [q]).violated) == (result.verdict == "violated")
    return result.verdict, shortest


FILLED = and_(mapped.expr, eq(var("entry.page", page), 0))


@pytest.mark.parametrize("initial", [0, 1])
@pytest.mark.parametrize(("cached", "fill"), sampled([(FALSE, FILLED), (TRUE, FALSE), (TRUE, FILLED)], keep=1))
def test_a_mark_has_the_value_that_is_declared_for_it(initial: int, cached: Expr, fill: Expr) -> None:
    """Whether the entry is cached at the start or walked later."""
    model = machine(initial=cached, fill=fill)
    assert judged(model, seen(initial, bad_if=bool(initial))) == ("violated", 1)
    assert judged(model, seen(initial, bad_if=not initial)) == ("proved", None)


@pytest.mark.parametrize("initial", [0, 1])
def test_a_mark_is_as_declared_again_when_the_entry_has_gone(initial: int) -> None:
    """Used once, flushed, and walked again: unused."""
    walked = machine(fill=FILLED)
    assert judged(walked, seen(initial, bad_if=not initial, unused=1 - initial)) == ("proved", None)
    assert judged(replace(walked, task=look_use_look), seen(initial, bad_if=not initial, unused=1 - initial)) == ("violated", 3)
