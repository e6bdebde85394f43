"""A promise is relied on only where it was shown for at least that world; what is not covered is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tlbcheck import Contract, Model, Operation, Procedure, Range, atomic, case_variable, choose, most_general_caller, per_cpu, procedure, shared, var
from tlbcheck.lang.expr import FALSE, TRUE
from tlbcheck.lang.model import Interrupt
from tlbcheck.lang.program import Clause, marker
from tlbcheck.lang.types import BOOL
from tlbcheck.worlds import narrower

mark = marker("mark", "marks")
bad = marker("bad", "does what it must not")
X = shared("X", bool)
N = shared("N", Range(0, 3))
own = per_cpu("own", bool)
wide = case_variable("wide", Range(0, 2), (0, 1, 2))
RISKY = Operation("RISKY", faults=(Clause("not supported", (var("setting.risky", BOOL),), exception="#UD"),))


@procedure
def start() -> None:
    pass


@procedure
def start_anyhow() -> None:
    X.set(choose(bool))
    N.set(choose((0, 1, 2, 3)))
    own.set(choose(bool))


@procedure(ensures=("no-fault",))
def f(p: bool, n: Range(0, 3)) -> None:  # type: ignore[valid-type]  # read, not run
    mark()
    if p and n == 3:
        bad()


@procedure
def f_promised(p: bool, n: Range(0, 3)) -> None:  # type: ignore[valid-type]  # read, not run
    mark()


@procedure(ensures=("no-fault",))
def reads() -> None:
    mark()
    if X.get():
        bad()


@procedure(ensures=("no-fault",))
def reads_own() -> None:
    if own.get():
        bad()


@procedure(ensures=("no-fault",))
def reads_case() -> None:
    mark()
    if wide == 2:
        bad()


@procedure(ensures=("no-fault",))
def is_risky() -> None:
    RISKY()


@procedure
def promised() -> None:
    mark()


@procedure
def calls_f() -> None:
    f(True, 1)


@procedure
def calls_f_with_n() -> None:
    f(False, N.get())


@procedure
def calls() -> None:
    reads()


@procedure
def sets_and_calls() -> None:
    X.set(True)
    reads()


@procedure
def sets_own_and_calls() -> None:
    own.set(True)
    reads_own()


@procedure
def calls_case() -> None:
    reads_case()


@procedure
def calls_risky() -> None:
    is_risky()


@procedure
def writer() -> None:
    X.set(True)


@procedure
def handler() -> None:
    with atomic:
        X.set(True)


def shows(q: Procedure, *, domains: Any = None, init: Procedure = start, **more: Any) -> Model:
    return Model(name="shows", title="", init=init, task=most_general_caller(q, domains=domains), **more)


def relies(q: Procedure, task: Procedure, *, init: Procedure = start, **more: Any) -> tuple[Model, Contract]:
    c = Contract(q, f_promised if q is f else promised, "shows")
    return Model(name="relies", title="", init=init, task=task, contracts=(c,), **more), c


def lacks(relying: tuple[Model, Contract], showing: Model) -> str:
    model, c = relying
    return "; ".join(narrower(model, showing, c))


def test_arguments_are_those_that_were_shown() -> None:
    assert lacks(relies(f, calls_f), shows(f)) == ""
    assert "argument p = 1" in lacks(relies(f, calls_f), shows(f, domains={"p": (False,)}))
    assert "argument n = 1" in lacks(relies(f, calls_f), shows(f, domains={"n": (0, 3)}))


def test_arguments_that_are_read_are_what_they_can_be() -> None:
    relying = relies(f, calls_f_with_n, init=start_anyhow)
    assert lacks(relying, shows(f)) == ""
    assert "argument n = 3" in lacks(relying, shows(f, domains={"n": (0, 1, 2)}))
    assert lacks(relies(f, calls_f_with_n), shows(f, domains={"n": (0, 1, 2)})) == ""


def test_the_state_is_one_that_was_shown() -> None:
    assert "X = 1" in lacks(relies(reads, sets_and_calls), shows(reads))
    assert lacks(relies(reads, sets_and_calls), shows(reads, init=start_anyhow)) == ""
    assert lacks(relies(reads, calls), shows(reads)) == ""
    assert "own = 1" in lacks(relies(reads_own, sets_own_and_calls), shows(reads_own))


def test_cases_are_those_that_were_shown() -> None:
    narrow = replace(wide, domain=(0, 1))
    assert "case.wide = 2" in lacks(relies(reads_case, calls_case, cases=(wide,)), shows(reads_case, cases=(narrow,)))
    assert lacks(relies(reads_case, calls_case, cases=(narrow,)), shows(reads_case, cases=(wide,))) == ""


def test_settings_are_those_that_were_shown() -> None:
    """A processor has what no setting says."""
    relying = relies(is_risky, calls_risky)
    assert "setting.risky = 1" in lacks(relying, shows(is_risky, settings={"setting.risky": FALSE}))
    assert lacks(relying, shows(is_risky, settings={"setting.risky": TRUE})) == ""


@pytest.mark.parametrize("who", [{"actions": (writer,)}, {"interrupts": (Interrupt(handler, None),)}], ids=["environment", "interrupt"])
def test_who_writes_meanwhile_did_so_where_it_was_shown(who: Any) -> None:
    """What the call finds is covered, but not that it changes under way."""
    assert "may write X while reads() runs" in lacks(relies(reads, calls, **who), shows(reads, init=start_anyhow))
    assert lacks(relies(reads, calls, **who), shows(reads, init=start_anyhow, **who)) == ""


def test_as_many_cpus_where_the_procedure_reads_what_they_share() -> None:
    assert "shows has 1 CPU, relies 2" in lacks(relies(reads, calls, cpus=2), shows(reads, init=start_anyhow))
    assert lacks(relies(reads, calls, cpus=2), shows(reads, init=start_anyhow, cpus=2)) == ""
    assert lacks(relies(reads_own, sets_own_and_calls, cpus=2), shows(reads_own, init=start_anyhow)) == ""
