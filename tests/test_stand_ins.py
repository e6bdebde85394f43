"""A stand-in may be stronger than its promise: what it does beyond is said beside each verdict on it (CONTRACT-4)."""

from __future__ import annotations

from typing import Any

import pytest

from tlbcheck import (
    Contract,
    Model,
    Operation,
    Procedure,
    Property,
    choose,
    marker,
    most_general_caller,
    operation,
    procedure,
    shared,
)
from tlbcheck.lang.expr import TRUE
from tlbcheck.lang.program import Clause
from tlbcheck.stand_ins import granted

mark = marker("mark", "marks")
use = marker("use", "uses")
FLUSH = Operation("FLUSH", drops=(Clause("everything goes", (TRUE,)),))
X, Y, unread = shared("X", bool), shared("Y", bool), shared("unread", bool)

NEVER_USED = Property(
    "never-used", "'use' is never made", source="docs/semantics.md", clauses={"use": "'use' is made"}
)
NEVER_USED.on(operation("use"), bad={"use": TRUE})


@procedure
def start() -> None:
    pass


@procedure
def writes_y() -> None:
    mark()
    Y.set(True)
    unread.set(True)


@procedure(ensures=("never-used", "no-fault"))
def f() -> bool:
    mark()
    writes_y()
    b: bool = choose(bool)
    mark()
    return b


@procedure(ensures=("no-fault",))
def uses() -> None:
    mark()
    use()


@procedure(ensures=("no-fault",))
def marks() -> None:
    mark()
    unread.set(True)


@procedure
def sets_x() -> bool:
    mark()
    X.set(True)
    unread.set(True)
    return True


@procedure
def flushes() -> None:
    mark()
    FLUSH()


@procedure
def only_marks() -> None:
    mark()


@procedure
def calls_f() -> None:
    if f() and X.get() and Y.get():
        use()


@procedure
def calls_uses() -> None:
    uses()


@procedure
def calls_marks() -> None:
    marks()


@pytest.mark.parametrize(
    ("real", "stand_in", "task", "said"),
    [
        (
            f,
            sets_x,
            calls_f,
            "sets_x() stands for f(), and beyond never-used, no-fault this is not shown: "
            "what it writes to X; what it returns; that Y stays as it is",
        ),
        (
            uses,
            only_marks,
            calls_uses,
            "only_marks() stands for uses(), and beyond no-fault this is not shown: that nothing performs 'use'",
        ),
        (
            marks,
            flushes,
            calls_marks,
            "flushes() stands for marks(), and beyond no-fault this is not shown: what it drops",
        ),
        (marks, only_marks, calls_marks, ""),
    ],
    ids=["writes", "leaves-out", "drops", "no-more"],
)
def test_what_no_promise_covers_is_said(real: Procedure, stand_in: Procedure, task: Any, said: str) -> None:
    """Variables that nothing reads do not count, nor operations that the property does not judge."""
    c = Contract(real, stand_in, "shows")
    shows = Model(name="shows", title="", init=start, task=most_general_caller(real))
    relies = Model(name="relies", title="", init=start, task=task, contracts=(c,))
    assert granted(relies, shows, c, NEVER_USED) == said
