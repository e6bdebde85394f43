"""ERR-2: a ghost that leaves its range does so when it is reached, whatever a ``require`` after it says; every engine refuses that property."""

from __future__ import annotations

import pytest

from tlbcheck import InputError, Model, Property, Range, atomic, marker, operation, procedure, require, shared, verify
from tlbcheck.lang.expr import FALSE

mark, use = marker("mark", "marks"), marker("use", "uses")
never_set = shared("never_set", bool)


@procedure
def start() -> None:
    pass


@procedure
def undone() -> None:
    """The block never happens, but the second mark in it is reached."""
    with atomic:
        mark()
        mark()
        require(never_set.get())
    use()


@pytest.mark.parametrize("engine", ["explicit", "full", "reference"])
def test_a_block_that_does_not_happen_undoes_no_error(engine: str) -> None:
    q = Property("counts", "", "this test", clauses={"bad": ""})
    count = q.ghost("count", Range(0, 1))
    q.on(operation("mark"), {count: count.expr + 1})
    q.never("bad", FALSE)
    with pytest.raises(InputError, match="range"):
        verify(Model(name="one/undone", title="", init=start, task=undone), [q], engines=[engine])
