"""What the language carries beyond one CPU: shared memory, locks, several interrupts, actions with parameters.

Each model is judged by both engines, its traces replayed, and the replay interpreter's own search has to agree.
"""

from __future__ import annotations

import enum

import pytest

from tlbcheck import InputError, Interrupt, Model, Property, Range, atomic, marker, operation, per_cpu, procedure, require, shared
from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.lang.expr import and_, eq, not_
from tlbcheck.lang.model import Event
from tlbcheck.machine.x86 import IF, INVPCID_ALL


class Cpu(enum.Enum):
    zero = enum.auto()
    one = enum.auto()


lock = shared("lock", bool)
inside = shared("inside", Range(0, 2))
enters = marker("enters", "enters the critical section")
idle = marker("idle", "does nothing")


@procedure
def locked() -> None:
    while True:
        with atomic:
            require(not lock.get())
            lock.set(True)
        with atomic:
            inside.set(inside.get() + 1)
        enters()
        with atomic:
            inside.set(inside.get() - 1)
        lock.set(False)


@procedure
def racing() -> None:
    while True:
        taken = lock.get()
        if not taken:
            lock.set(True)
            with atomic:
                inside.set(inside.get() + 1)
            enters()
            with atomic:
                inside.set(inside.get() - 1)
            lock.set(False)


@procedure
def start() -> None:
    lock.set(False)


EXCLUSION = Property("exclusion", "one CPU at a time", source="this test", trigger=operation("enters"), clauses={"both": "both CPUs are inside"})
EXCLUSION.never("both", eq(inside.expr, 2))


def judged(model: Model, *properties: Property) -> ModelEvidence:
    return explore(model, properties, recheck=True)


def test_a_lock_excludes_and_a_test_then_set_does_not() -> None:
    """Two CPUs: a locked read-modify-write is one step, a read and a write are two."""
    good = judged(Model(name="test/lock", title="a spin lock", cpus=2, init=start, task=locked, depth=12), EXCLUSION)
    assert good["exclusion"].verdict == "proved"
    assert not good["exclusion"].vacuous
    bad = judged(Model(name="test/race", title="test, then set", cpus=2, init=start, task=racing, depth=12), EXCLUSION)
    assert bad["exclusion"].verdict == "violated"
    assert bad["exclusion"].violations[0].depth == 6  # two reads, two writes, two entries


first, second = shared("first", bool), shared("second", bool)


@procedure
def set_first() -> None:
    with atomic("sets the first"):
        first.set(True)


@procedure
def set_both() -> None:
    while True:
        idle()
        with atomic("sets both"):
            set_first()
            second.set(True)
        with atomic("clears both"):
            first.set(False)
            second.set(False)


@procedure
def clear() -> None:
    first.set(False)
    second.set(False)


def test_an_indivisible_block_stays_so_around_a_call_with_one_of_its_own() -> None:
    together = Property("together", "both change at once", source="this test", trigger=operation("idle"), clauses={"apart": "one is set alone"})
    together.never("apart", and_(first.expr, not_(second.expr)))
    result = judged(Model(name="test/nested", title="an atomic block in another", init=clear, task=set_both, depth=6), together)
    assert result["together"].verdict == "proved" and not result["together"].vacuous


ticks = per_cpu("ticks", Range(0, 3))
mask = shared("mask", bool, index=Cpu)


@procedure
def on_timer() -> None:
    with atomic:
        n = ticks.get()
        require(n < 3)
        ticks.set(n + 1)


@procedure
def on_ipi() -> None:
    mask.at(Cpu.zero).set(False)


@procedure
def idling() -> None:
    while True:
        idle()


@procedure
def booted() -> None:
    IF.set(True)
    mask.at(Cpu.zero).set(True)


TICKS = Property("ticks", "three ticks with the mask clear never happen", source="this test", trigger=operation("idle"), clauses={"three": "they happen"})
TICKS.on(Event("operation", "idle"), bad={"three": and_(eq(ticks.expr, 3), not_(IF.expr))})
REACHED = Property("reached", "the third tick is never reached", source="this test", trigger=operation("idle"), clauses={"third": "it is reached"})
REACHED.never("third", eq(ticks.expr, 3))


def test_each_of_two_interrupts_is_delivered_by_itself() -> None:
    """A model with two interrupts: traces name the one that comes; a handler of one step takes two with its delivery."""
    model = Model(
        name="test/irqs",
        title="two interrupts",
        init=booted,
        task=idling,
        interrupts=(Interrupt(handler=on_timer, flag=IF), Interrupt(handler=on_ipi, flag=IF)),
        depth=8,
    )
    result = judged(model, TICKS, REACHED)
    assert result["ticks"].verdict == "proved"
    assert result["reached"].violations[0].depth == 6


level = shared("level", Range(0, 5))


@procedure
def pour(amount: Range(1, 2)) -> None:  # type: ignore[valid-type]  # read by the language, which has ranges
    """Pours water in."""
    now = level.get()
    require(now + amount <= 5)
    level.set(now + amount)


@procedure
def empty_jar() -> None:
    level.set(0)


FULL = Property("full", "the jar is never full", source="this test", trigger=None, clauses={"five": "it is"})
FULL.never("five", eq(level.expr, 5))


def test_actions_take_parameters_from_their_domains() -> None:
    """Three pours of at most two fill a jar of five."""
    result = judged(Model(name="test/jar", title="a jar", init=empty_jar, actions=(pour,), depth=6), FULL)
    assert result["full"].violations[0].depth == 3


@procedure
def flush_nowhere() -> None:
    INVPCID_ALL()


def test_an_action_has_no_cpu_to_flush() -> None:
    with pytest.raises(InputError, match="runs on no CPU") as error:
        explore(Model(name="test/nowhere", title="nowhere", init=empty_jar, actions=(flush_nowhere,)), [FULL])
    assert "test_language.py:" in str(error.value)
