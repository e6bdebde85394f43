"""A proof that hides something says so: what is there for a moment only, what nothing goes on from, what chooses from nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tlbcheck import CACHED, CacheKind, InputError, Model, Operation, Property, PropertyResult, Range, atomic, case_variable, choose, marker, operation, procedure, require, shared, verify
from tlbcheck.lang.expr import FALSE, TRUE, and_
from tlbcheck.lang.program import Clause
from tlbcheck.lang.types import BOOL, IntType

X, Y = shared("X", bool), shared("Y", bool)
use, mark = marker("use", "uses"), marker("mark", "marks")
CRASH = Operation("CRASH", faults=(Clause("always", (), exception="#GP"),))


@procedure
def start() -> None:
    pass


@procedure
def momentarily() -> None:
    while True:
        with atomic:
            X.set(True)
            X.set(False)


@procedure
def one_of_two() -> None:
    """Each way through writes it once."""
    while True:
        with atomic:
            if choose(bool):
                X.set(False)
            else:
                X.set(Y.get())
        Y.set(False)


@procedure
def acts() -> None:
    """The environment sets it for a moment."""
    X.set(True)
    X.set(False)


@procedure
def uses() -> None:
    while True:
        use()
        X.set(False)


@procedure
def waits_for_nothing() -> None:
    use()
    require(False)
    X.set(True)


@procedure
def crashes() -> None:
    CRASH()
    X.set(True)


def never_x() -> Property:
    q = Property("never-x", "", "this test", clauses={"bad": ""})
    q.never("bad", X.expr)
    return q


def proved(task: Any, q: Property | None = None, **more: Any) -> PropertyResult:
    q = q or never_x()
    found = verify(Model(name="one/hidden", title="", init=start, task=task, **more), [q], engines=["explicit"])[q.name]
    assert found.verdict == "proved"
    return found


def test_what_is_there_within_a_block_only_is_said() -> None:
    """EVENT-5 judges no state inside; a proof that nobody sees X says where it was written twice."""
    said = "X is written more than once in the indivisible block at test_hidden.py:"
    assert [n[: len(said)] for n in proved(momentarily).notes] == [said]
    assert [n[: len(said)] for n in proved(uses, actions=(acts,)).notes] == [said]
    assert not proved(one_of_two).notes


def test_where_nothing_goes_on_whatever_happens_is_said() -> None:
    """What stands there is no step of the system, and so was in no list of steps that never happen."""
    assert [line.partition(" ")[2] for line in proved(waits_for_nothing, cpus=2).unreached] == ["require(): what it asks for is never so"]
    assert [line.partition(" ")[2] for line in proved(crashes).unreached] == ["what follows CRASH: it always raises #GP"]


def test_a_clause_that_waits_for_a_ghost_which_nothing_changes_judges_nothing() -> None:
    """EVENT-7: no step marks, so that what is bad of what was marked is bad of nothing; a mark that resets is as good as none."""
    for change in (operation("mark"), None):
        q = Property("marked", "", "this test", clauses={"bad": ""})
        marked = q.ghost("marked")
        if change is not None:
            q.on(change, {marked: TRUE})
        q.on(operation("use"), {marked: and_(marked.expr, X.expr)})
        q.never("bad", and_(marked.expr, X.expr))
        found = proved(uses, q)
        assert found.vacuous
        assert found.reason.startswith("no step of one/hidden performs ")
    q.on(operation("use"), {marked: TRUE})
    assert not proved(uses, q).vacuous


LOOK = CacheKind("TLB", (("page", IntType(0, 1), ()),), TRUE, TRUE, FALSE, lambda entry: "the entry")
OUTSIDE = CacheKind("TLB", (("page", IntType(0, 1), (0, 2)),), TRUE, TRUE, FALSE, lambda entry: "the entry")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"cases": (case_variable("boot", bool, ()),)}, "the case variable 'boot' has no values"),
        ({"cases": (case_variable("boot", Range(0, 1), (0, 7)),)}, "the case variable 'boot' has the value 7"),
        ({"cache": LOOK}, "the field 'page' of TLB has no values"),
        ({"cache": OUTSIDE}, "the field 'page' of TLB has the value 2"),
    ],
    ids=["no case", "no such case", "no page", "no such page"],
)
def test_a_choice_of_nothing_is_refused(more: dict[str, Any], what: str) -> None:
    """Else there is no run, or no entry, and everything would be proved; or engines would go through different values."""
    q = never_x()
    q.never("bad", and_(CACHED, X.expr)) if "cache" in more else None
    with pytest.raises(InputError, match=what):
        proved(uses, q, **more)


def test_a_ghost_that_shadows_another_is_refused() -> None:
    q = never_x()
    q.ghost("seen")
    with pytest.raises(InputError, match="two ghosts called 'seen'"):
        q.ghost("seen", BOOL)
