"""What was tried to make one tracked entry prove what is false: engines, literal caches and reference interpreter say the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlbcheck import CACHED, CacheKind, Expr, Model, Operation, Property, marker, operation, procedure, shared
from tlbcheck.engines.run import check
from tlbcheck.lang.expr import FALSE, TRUE, and_, not_
from tlbcheck.lang.program import Clause
from tlbcheck.lang.types import IntType

mapped = shared("mapped", bool)
use = marker("use", "uses what is cached")
FLUSH = Operation("FLUSH", drops=(Clause("everything", ()),), text="flushes everything")
PAGES = IntType(0, 1)


@procedure
def is_mapped() -> None:
    mapped.set(True)


@procedure
def flushes_unmapped() -> None:
    mapped.set(False)
    FLUSH()
    use()
    mapped.set(True)


def forgotten(bad: Callable[[Expr], Expr]) -> tuple[Model, Property]:
    """A mark that is set at first; a flush clears it for what is mapped no more, and drops that."""
    q = Property("forgotten", "", "this test", clauses={"bad": ""})
    kept = q.ghost("kept", bool, initial=1, per_entry=True)
    q.on(operation("FLUSH"), {kept: mapped.expr})
    q.on(operation("use"), bad={"bad": bad(kept.expr)})
    cache = CacheKind("TLB", (("page", PAGES, (0, 1)),), TRUE, mapped.expr, FALSE, lambda entry: f"page {entry['entry.page']}")
    return Model(name="one/forgotten", title="", init=is_mapped, task=flushes_unmapped, cache=cache), q


@pytest.mark.parametrize("engine", ["explicit", "full", "reference"])
def test_a_drop_takes_the_marks_of_what_is_not_there_too(engine: str) -> None:
    """GHOST-2: whatever an entry did before the flush, its mark is as at first after it. The trace of an entry that was never cached replays."""
    model, q = forgotten(lambda kept: and_(kept, not_(CACHED)))
    assert [v.depth for v in check(model, [q], engines=[engine])[q.name].violations] == [3]
    model, q = forgotten(not_)
    assert check(model, [q], engines=[engine])[q.name].verdict == "proved"
