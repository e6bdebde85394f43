"""CPUs by number and interrupt levels: what may interrupt what, and that every engine and replay agree.

x86-tlb.md 6: IF stops maskable interrupts only (N-1); an NMI is blocked until the handler of the one before returns (N-4).
"""

from __future__ import annotations

import enum
from typing import Any

import pytest

from tlbcheck import InputError, Interrupt, Model, Procedure, Property, Range, atomic, choose, cpus, enter, leave, marker, operation, per_cpu, procedure, shared, this_cpu, var
from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.lang.expr import TRUE, Expr, and_, eq, not_
from tlbcheck.lang.types import BOOL, Cpu
from tlbcheck.machine.x86 import CLI, IF, STI


class Level(enum.Enum):
    task = enum.auto()
    irq = enum.auto()
    nmi = enum.auto()


running = per_cpu("running", Level)
"""The level that works between its two steps."""
work = marker("work", "works")
rests = marker("rests", "rests")
pauses = marker("pauses", "pauses")


@procedure(role="irq handler")
def irq_handler() -> None:
    work()
    rests()


@procedure(role="nmi handler")
def nmi_handler() -> None:
    work()
    rests()


@procedure(role="task")
def task() -> None:
    work()
    CLI()
    rests()
    STI()


@procedure
def run() -> None:
    while True:
        task()


@procedure
def start() -> None:
    for cpu in cpus():
        IF.at(cpu).set(True)


def seen(name: str, role: str, within: str) -> Property:
    """Violated where ``role`` is entered while ``within`` is under way, with interrupts on or off."""
    made = Property(name, name, source="x86-tlb.md 6", clauses={"seen": "it happens"})
    inside = made.ghost("inside")
    made.on(enter(role), bad={"seen": inside.expr})
    made.on(enter(within), {inside: True})
    made.on(leave(within), {inside: False})
    return made


def check(*properties: Property, body: Procedure = run, **more: Any) -> ModelEvidence:
    interrupts = (Interrupt(irq_handler, IF), Interrupt(nmi_handler, None, level="nmi"))
    values: dict[str, Any] = {"name": "levels", "title": "levels", "init": start, "task": body, "interrupts": interrupts, "depth": 8, **more}
    return explore(Model(**values), list(properties), engines=("explicit", "bmc"), recheck=True)


def test_what_interrupts_what() -> None:
    """A maskable interrupt and an NMI interrupt the task, an NMI interrupts a handler, and neither is interrupted by its like."""
    pairs = {("irq handler", "task"): True, ("nmi handler", "task"): True, ("nmi handler", "irq handler"): True, ("irq handler", "nmi handler"): False}
    properties = {pair: seen(f"{pair[0]} in {pair[1]}".replace(" ", "-"), *pair) for pair in pairs}
    again = [seen("irq-twice", "irq handler", "irq handler"), seen("nmi-twice", "nmi handler", "nmi handler")]
    result = check(*properties.values(), *again)
    assert {pair: result[q.name].verdict for pair, q in properties.items()} == {pair: "violated" if may else "proved" for pair, may in pairs.items()}
    assert {result[q.name].verdict for q in again} == {"proved"}


def test_if_masks_the_one_and_not_the_other() -> None:
    masked = Property("masked", "masked", source="x86-tlb.md 6, N-1", clauses={"irq": "an interrupt", "nmi": "an NMI"})
    off = masked.ghost("off")
    masked.on(operation("CLI"), {off: True})
    masked.on(operation("STI"), {off: False})
    masked.on(enter("irq handler"), bad={"irq": off.expr})
    masked.on(enter("nmi handler"), bad={"nmi": off.expr})
    result = check(masked)
    assert {v.clause for v in result["masked"].violations} == {"nmi"}


def test_an_nmi_leaves_if_alone() -> None:
    """A handler runs with IF as it was, and interrupts stay as they were afterwards."""
    changed = Property("changed", "changed", source="x86-tlb.md 6", clauses={"IF": "IF is another one"})
    before = changed.ghost("before")
    changed.on(enter("nmi handler"), {before: var("if", BOOL)})
    changed.on(leave("nmi handler"), bad={"IF": not_(eq(before.expr, var("if", BOOL)))})
    assert check(changed)["changed"].verdict == "proved"


def test_levels_have_names() -> None:
    with pytest.raises(InputError, match="level 'smi'"):
        Interrupt(nmi_handler, None, level="smi")


# -- CPUs by number

counted = per_cpu("counted", Cpu)
marks = shared("marks", Range(0, 3))
PAIR = (1, 2)


@procedure
def each_in_turn() -> None:
    """Every CPU writes the numbers of all, one step each."""
    while True:
        for cpu in cpus():
            counted.at(cpu).set(this_cpu())
        work()


@procedure
def picks() -> None:
    while True:
        with atomic("picks one of two numbers"):
            marks.set(choose(PAIR))


@procedure
def sums_up() -> None:
    with atomic("looks for the last CPU"):
        last: Cpu = 0
        for cpu in cpus():
            if cpu != this_cpu():
                last = cpu
        counted.set(last)
    work()


def about(name: str, bad: Expr, **more: Any) -> Property:
    made = Property(name, name, source="this test", trigger=operation("work"), clauses={"bad": "it is"})
    made.on(operation("work"), bad={"bad": bad}, **more)
    return made


def test_a_loop_over_the_cpus() -> None:
    """``for cpu in cpus()`` runs for each, and between its steps others run: with two CPUs the numbers may differ."""
    self_, acting = var("cpu.self", var("counted", None).type), var("cpu.acting", None)
    mine = about("mine", not_(eq(counted.expr, self_)))
    assert check(mine, body=each_in_turn, cpus=1, interrupts=())["mine"].verdict == "proved"
    assert check(mine, body=each_in_turn, cpus=2, interrupts=())["mine"].verdict == "violated"
    alone = about("alone", and_(not_(eq(counted.expr, acting)), TRUE), every_cpu=True)
    assert check(alone, body=each_in_turn, cpus=1, interrupts=())["alone"].verdict == "proved"
    assert check(alone, body=each_in_turn, cpus=2, interrupts=())["alone"].verdict == "violated"


@pytest.mark.parametrize(("number", "other"), [(2, 1), (3, 2)])
def test_locals_of_the_loop(number: int, other: int) -> None:
    """On CPU 0 the last other CPU is the one of the highest number."""
    wrong = about("wrong", and_(eq(var("cpu.self", None), 0), not_(eq(counted.expr, other))))
    assert check(wrong, body=sums_up, cpus=number, interrupts=())["wrong"].verdict == "proved"
    right = about("right", and_(eq(var("cpu.self", None), 0), eq(counted.expr, other)))
    assert check(right, body=sums_up, cpus=number, interrupts=())["right"].verdict == "violated"


def test_choices_from_a_tuple_that_has_a_name() -> None:
    zero = Property("zero", "zero", source="this test", clauses={"c": "c"})
    zero.never("c", not_(eq(marks.expr, 0)) & not_(eq(marks.expr, 1)) & not_(eq(marks.expr, 2)))
    two = Property("two", "two", source="this test", clauses={"c": "c"})
    two.never("c", eq(marks.expr, 2))
    result = check(zero, two, body=picks, interrupts=())
    assert (result["zero"].verdict, result["two"].verdict) == ("proved", "violated")
    trace = result["two"].violations[0].trace
    assert trace is not None and trace.steps[0].step.text == "picks one of two numbers"


def test_actions_run_on_no_cpu() -> None:
    @procedure
    def environment() -> None:
        counted.at(0).set(this_cpu())

    with pytest.raises(InputError, match="no CPU"):
        check(about("p", TRUE), actions=(environment,))


# -- ghosts of concurrent calls


@procedure(role="call")
def call() -> None:
    work()
    rests()


@procedure
def calls() -> None:
    while True:
        call()
        pauses()


def test_concurrent_calls_do_not_mix() -> None:
    """A ghost ``by_cpu`` is one for each CPU that acts: CPU 1's call does not touch what CPU 0's has noted."""

    def noted(by_cpu: bool) -> Property:
        made = Property("noted", "noted", source="this test", clauses={"lost": "what this call noted is gone"})
        ghost = made.ghost("ghost", by_cpu=by_cpu)
        made.on(enter("call"), {ghost: True}, every_cpu=True)
        made.on(leave("call"), {ghost: False}, bad={"lost": not_(ghost.expr)}, every_cpu=True)
        return made

    assert check(noted(True), body=calls, cpus=2, interrupts=())["noted"].verdict == "proved"
    assert check(noted(False), body=calls, cpus=2, interrupts=())["noted"].verdict == "violated"


def test_a_rule_about_the_acting_cpu_sets_all_its_copies() -> None:
    made = Property("copies", "copies", source="this test", clauses={"stays": "a copy is still set"})
    ghost = made.ghost("ghost", by_cpu=True)
    made.on(operation("work"), {ghost: True}, every_cpu=True)
    made.on(operation("rests"), {ghost: False})
    made.on(leave("call"), bad={"stays": ghost.expr & eq(var("cpu.self", None), var("cpu.acting", None))}, every_cpu=True)
    result = check(made, body=calls, cpus=1, interrupts=())
    assert result["copies"].verdict == "proved"
