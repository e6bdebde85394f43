"""That nothing is ever cached stands beside a proof also where a walk needs another entry, which is never there."""

from __future__ import annotations

import pytest

from tlbcheck import CacheKind, Event, Model, Property, procedure
from tlbcheck.check import verify
from tlbcheck.lang.expr import FALSE, TRUE, Expr, var
from tlbcheck.lang.types import BOOL
from tlbcheck.machine.x86 import INVPCID_ALL


@procedure
def start() -> None:
    pass


@procedure
def task() -> None:
    INVPCID_ALL()


FILLED = Property("filled", "filled", source="this test", clauses={"c": "c"})
FILLED.on(Event("fill"), bad={"c": TRUE})


@pytest.mark.parametrize(("initial", "said"), [(FALSE, True), (var("entry.page", BOOL), False)])
def test_a_walk_that_needs_an_entry_where_there_is_none(initial: Expr, said: bool) -> None:
    cache = CacheKind(name="TLB", fields=(("page", BOOL, (0, 1)),), possible=TRUE, fill=var("entry2.cached", BOOL), initial=initial, describe=str)
    model = Model(name="never/cached", title="m", init=start, task=task, cache=cache)
    (result,) = verify(model, [FILLED], engines=("explicit",)).results
    assert (str(result.verdict), any("nothing is ever cached" in x for x in result.unreached)) == ("proved" if said else "violated", said)
