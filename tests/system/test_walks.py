"""What asks that something is not cached is judged with walks and evictions as free choices, by every engine alike (CACHE-3, CACHE-4)."""

from __future__ import annotations

from typing import Any

import pytest

from tlbcheck import CACHED, CacheKind, Event, Expr, InputError, Model, Procedure, Property, marker, operation, procedure, shared
from tlbcheck.engines.retelling import retell
from tlbcheck.engines.run import check
from tlbcheck.lang.expr import FALSE, TRUE, and_, not_
from tlbcheck.lang.types import BOOL
from tlbcheck.replay.history import EVICTED, FILLED

mark = marker("mark", "marks")
use = marker("use", "uses what is cached")
M = shared("M", bool)
WAYS: dict[str, dict[str, Any]] = {
    "explicit": {"engines": ("explicit",), "recheck": True},
    "bmc": {"engines": ("bmc",), "depth": 6},
    "pdr": {"engines": ("pdr",)},
    "full": {"engines": ("full",)},
    "sets": {"engines": ("sets",)},
}


def model(task: Procedure, fill: Expr, *, initial: Expr = FALSE, cpus: int = 1) -> Model:
    cache = CacheKind(name="TLB", fields=(("page", BOOL, (0,)),), possible=TRUE, fill=fill, initial=initial, describe=lambda entry: "the entry")
    return Model(name="walks/random", title="walks", init=start, task=task, cache=cache, cpus=cpus)


@procedure
def start() -> None:
    M.set(False)


@procedure
def marks_and_uses() -> None:
    while True:
        mark()
        use()


@procedure
def stops_walks_first() -> None:
    while True:
        M.set(True)
        M.set(False)
        mark()
        use()


def new_since_the_mark() -> Property:
    """What is cached at 'use' was cached at the latest 'mark'."""
    q = Property("nothing-new", "nothing new", source="here", clauses={"new": "it was not there"})
    old = q.ghost("old", bool, 0, per_entry=True)
    q.on(operation("mark"), {old: CACHED})
    q.on(operation("use"), bad={"new": and_(CACHED, not_(old.expr))})
    return q


def comes_in_marked() -> Property:
    q = Property("unmarked", "nothing comes in marked", source="here", clauses={"marked": "it is"})
    seen = q.ghost("seen", bool, 0, per_entry=True)
    q.on(operation("mark"), {seen: TRUE})
    q.on(Event("fill"), bad={"marked": seen.expr})
    return q


def judged(made: Model, q: Property, way: str) -> tuple[str, int | None]:
    found = check(made, [q], **WAYS[way])[q.name]
    return str(found.verdict), min((v.depth for v in found.violations), default=None)


@pytest.mark.parametrize("way", WAYS)
def test_an_entry_may_come_between_two_steps(way: str) -> None:
    assert judged(model(marks_and_uses, TRUE), new_since_the_mark(), way) == ("violated", 2)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_comes_while_no_walk_finds_it(way: str) -> None:
    assert judged(model(stops_walks_first, M.expr), new_since_the_mark(), way) == ("bounded" if way == "bmc" else "proved", None)


@pytest.mark.parametrize("way", WAYS)
def test_an_entry_may_go_at_any_time(way: str) -> None:
    """There at the start, and the first step finds it gone."""
    q = Property("there", "it is there", source="here", clauses={"gone": "it is not"})
    q.on(operation("mark"), bad={"gone": not_(CACHED)})
    assert judged(model(marks_and_uses, TRUE, initial=TRUE), q, way) == ("violated", 1)


@pytest.mark.parametrize("way", WAYS)
def test_what_no_state_may_be_is_judged_before_the_first_step(way: str) -> None:
    q = Property("there", "it is there", source="here", trigger=operation("mark"), clauses={"gone": "it is not"})
    q.never("gone", not_(CACHED))
    assert judged(model(marks_and_uses, TRUE, initial=TRUE), q, way) == ("violated", 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_walk_is_judged_by_the_marks_of_what_was_not_there(way: str) -> None:
    """The step marks the entry whether it is cached or not; a walk then brings it in with its mark."""
    assert judged(model(marks_and_uses, TRUE), comes_in_marked(), way) == ("violated", 1)


@pytest.mark.parametrize("way", WAYS)
def test_the_trace_tells_what_comes_and_goes(way: str) -> None:
    """What comes between two steps, and what comes at last, where no step follows."""
    for q in (new_since_the_mark(), comes_in_marked()):
        found = check(model(marks_and_uses, TRUE), [q], **WAYS[way])
        (violation,) = found[q.name].violations
        history = retell(found.system, violation).history
        assert history is not None
        told = [(i, e.what) for i, events in enumerate(history.points) for e in events if e.what in (FILLED, EVICTED)]
        assert told[-1] == (1, FILLED)


@pytest.mark.parametrize("way", ["explicit", "bmc", "full"])
def test_each_cpu_has_walks_of_its_own(way: str) -> None:
    assert judged(model(marks_and_uses, TRUE, cpus=2), new_since_the_mark(), way) == ("violated", 2)


def test_walks_of_more_cpus_are_refused() -> None:
    with pytest.raises(InputError, match="asks that something is not cached, and there are more than 2 CPUs"):
        check(model(marks_and_uses, TRUE, cpus=3), [new_since_the_mark()], engines=("explicit",))
