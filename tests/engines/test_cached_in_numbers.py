"""A rule may choose a number by whether an entry is cached: every engine judges it, as the reference interpreter does."""

from __future__ import annotations

import pytest

from tlbcheck import CACHED, CacheKind, Model, Property, ite, marker, operation, procedure, shared, var
from tlbcheck.engines.run import check
from tlbcheck.lang.expr import FALSE, TRUE, const
from tlbcheck.lang.types import IntType, Range
from tlbcheck.reference.search import Search

NUMBER = IntType(0, 2)
use = marker("use", "uses")
V = shared("V", Range(0, 2))


@procedure
def start() -> None:
    V.set(1)


@procedure
def task() -> None:
    use()
    V.set(0)
    use()


def model() -> Model:
    page = var("entry.page", NUMBER)
    cache = CacheKind(
        name="TLB", fields=(("page", NUMBER, (0, 1)),), possible=TRUE, fill=page <= V.expr, initial=FALSE, describe=str
    )
    return Model(name="numbers", title="", init=start, task=task, cache=cache)


def rule(low: int) -> Property:
    made = Property("above", "", source="here", trigger=operation("use"), clauses={"above": "a cached number is above"})
    bound = ite(CACHED, var("entry.page", NUMBER), const(0, NUMBER))
    made.on(operation("use"), bad={"above": const(low, NUMBER) < bound + V.expr})
    return made


@pytest.mark.parametrize("low, verdict", [(0, ("violated", 1)), (1, ("violated", 1)), (2, ("proved", None))])
@pytest.mark.parametrize("engine", ["explicit", "bmc", "pdr", "full", "sets"])
def test_a_number_that_depends_on_what_is_cached(engine: str, low: int, verdict: tuple[str, int | None]) -> None:
    wanted, depth = verdict
    found = Search(model(), [rule(low)]).run()
    assert found.shortest("above") == depth
    result = check(model(), [rule(low)], engines=(engine,))["above"]
    assert result.verdict in ({"bounded", "proved"} if wanted == "proved" else {wanted})
    assert min((v.depth for v in result.violations), default=None) == depth
