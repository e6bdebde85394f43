"""What must not go on for ever: which runs count as fair, and that replay refuses a loop that is none.

Two CPUs wait for each other in small protocols of which the answer is plain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tlbcheck import InputError, Interrupt, Model, Procedure, Property, cpus, per_cpu, procedure, this_cpu, var
from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence, story
from tlbcheck.lang.expr import not_
from tlbcheck.lang.program import atomic, require, shared
from tlbcheck.lang.types import BOOL, Cpu
from tlbcheck.machine.x86 import CLI, IF, STI
from tlbcheck.replay.check import ReplayError
from tlbcheck.replay.lasso import replay_lasso

asked = per_cpu("asked", bool)
turn = shared("turn", bool)

DONE = Property("done", "every request ends", source="this test", clauses={"waits": "a request never ends"})
DONE.eventually_not("waits", var("asked", BOOL))


@procedure
def start() -> None:
    for cpu in cpus():
        IF.at(cpu).set(True)


@procedure
def answer() -> None:
    """The request ends."""
    asked.set(False)


@procedure
def ask() -> None:
    """Asks the other CPU, and waits until it has answered."""
    while True:
        for cpu in cpus():
            if cpu != this_cpu():
                asked.at(cpu).set(True)
                spin(cpu)


@procedure
def ask_once_with_interrupts_off() -> None:
    CLI()
    for cpu in cpus():
        if cpu != this_cpu():
            asked.at(cpu).set(True)
            spin_all()


@procedure
def spin(cpu: Cpu) -> None:
    while True:
        waiting = asked.at(cpu).get()
        if not waiting:
            return


@procedure
def spin_all() -> None:
    while True:
        with atomic("looks"):
            waiting: bool = False
            for cpu in cpus():
                if cpu != this_cpu() and asked.at(cpu).get():
                    waiting = True
        if not waiting:
            return


@procedure
def blocks() -> None:
    """Asks, and goes on only when the other has answered, with interrupts off: nothing can be done at all."""
    CLI()
    for cpu in cpus():
        if cpu != this_cpu():
            asked.at(cpu).set(True)
    with atomic("all have answered"):
        for cpu in cpus():
            require(not asked.at(cpu).get())


@procedure
def windows() -> None:
    """Interrupts go on and off for ever, and the other CPU asks once."""
    if this_cpu() == 0:
        asked.at(1).set(True)
    else:
        while True:
            CLI()
            STI()


@procedure
def nothing_to_do() -> None:
    """A CPU that works on something else for ever does not keep another one from its answer."""
    while True:
        turn.set(True)
        if this_cpu() == 0:
            asked.at(1).set(True)


def model(task: Procedure, **more: Any) -> Model:
    values: dict[str, Any] = {"name": "m", "title": "m", "cpus": 2, "init": start, "task": task, "interrupts": (Interrupt(answer, IF, when=asked.expr),), **more}
    return Model(**values)


def check(task: Procedure, **more: Any) -> ModelEvidence:
    return explore(model(task, **more), [DONE], engines=("explicit",))


@pytest.mark.parametrize("task", [ask, windows, nothing_to_do])
def test_fair_runs_end_every_request(task: Procedure) -> None:
    """A spinning CPU, one that opens windows for interrupts, one that is busy elsewhere: interrupts come through."""
    assert check(task)["done"].verdict == "proved"


@pytest.mark.parametrize("task", [ask_once_with_interrupts_off, blocks])
def test_interrupts_off_while_waiting(task: Procedure) -> None:
    """x86-tlb.md N-8: both spin with interrupts off; and where nothing can go on, the loop is empty."""
    result = check(task)
    violation = result["done"].violations[0]
    assert result["done"].verdict == "violated"
    assert violation.trace is not None and violation.trace.loop is not None
    looping = violation.trace.steps[violation.trace.loop :]
    assert (not looping) if task is blocks else {s.step.cpu for s in looping} == {0, 1} or len(looping) == 1


def test_an_unmaskable_interrupt_owes_nothing() -> None:
    """NMIs may stay out for ever: a request that only an NMI would answer does not end."""
    result = check(nothing_to_do, interrupts=(Interrupt(answer, None, when=asked.expr, level="nmi"),))
    assert result["done"].verdict == "violated"


def test_other_engines_decide_nothing_about_it() -> None:
    result = explore(model(ask), [DONE], engines=("explicit", "bmc"))
    assert result["done"].verdict == "proved"
    assert result["done"].engines["bmc"].verdict == "unknown"
    assert explore(model(ask), [DONE], engines=("bmc",))["done"].verdict == "unknown"


def test_replay_refuses_a_loop_that_is_none() -> None:
    result = check(ask_once_with_interrupts_off)
    violation = result["done"].violations[0]
    trace = violation.trace
    assert trace is not None and trace.loop is not None
    told = story(result.system, violation)
    pending = DONE.liveness[0][1]
    replay_lasso(result.model, DONE, told, pending, trace.loop)
    with pytest.raises(ReplayError, match=r"not possible|not where it was"):
        replay_lasso(result.model, DONE, told, pending, 0)
    with pytest.raises(ReplayError, match="does not"):
        replay_lasso(result.model, DONE, told, not_(var("if", BOOL)) & var("turn", BOOL), trace.loop)


def test_replay_refuses_a_run_that_is_not_fair() -> None:
    """A loop in which one CPU spins, and the interrupt that could be delivered is not."""
    result = check(ask_once_with_interrupts_off)
    trace = result["done"].violations[0].trace
    assert trace is not None and trace.loop is not None
    told = story(result.system, result["done"].violations[0])
    # The same steps where interrupts stay on: CLI is taken for a step that does nothing.
    with pytest.raises(ReplayError):
        replay_lasso(model(ask), DONE, replace(told, steps=told.steps[1:]), DONE.liveness[0][1], trace.loop - 1)


def test_what_is_cached_cannot_be_demanded() -> None:
    """Entries may vanish at any time: a liveness property about them is refused."""
    from tlbcheck.lang.expr import FALSE, TRUE
    from tlbcheck.machine import x86

    wrong = Property("wrong", "wrong", source="this test", clauses={"c": "c"})
    wrong.eventually_not("c", var("entry.cached", BOOL))
    cache = x86.tlb(tags=(0,), fields=(), walk=TRUE, leaf_global=FALSE, describe=lambda e: "entry")
    with pytest.raises(InputError, match="cached entries"):
        explore(model(ask, cache=cache), [wrong], engines=("explicit",))
