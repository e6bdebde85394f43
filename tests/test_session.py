"""Checking several models: what goes wrong with one is its own line and status, and options are refused alike everywhere."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tiny_models import PAIRED, TINY

from tlbcheck import InputError, InternalError, Limits, Model, Status, Verdict, verify, verify_all
from tlbcheck.check import explore
from tlbcheck.cli import cli
from tlbcheck.engines import run as engines
from tlbcheck.lang.model import Notation
from tlbcheck.library import find_model
from tlbcheck.session import each_once


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's folder as the working directory."""
    for folder, text in (("models", TINY), ("properties", PAIRED)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.py").write_text(text)
    monkeypatch.chdir(tmp_path)


def asked(*args: str) -> Any:
    return CliRunner().invoke(cli, ["verify", "--engine", "explicit", *args])


# -- what goes wrong with one model


def test_an_error_of_any_kind_is_one_line_for_that_model_alone() -> None:
    """A value of it cannot be written, which shows once a run is told; the others are told all the same."""
    for jobs in ("1", "2"):
        found = asked("tiny/failing", "tiny/as-declared", "-j", jobs)
        assert found.exit_code == 2
        [line] = found.stderr.splitlines()
        assert "tiny.py:" in line and "ZeroDivisionError" in line
        assert "tiny/as-declared: two variables that go" in found.stdout
        assert "Traceback" not in found.output
    assert asked("tiny/as-declared").exit_code == 0


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (InputError("the model is unusable"), Status.USAGE, "the model is unusable"),
        (InternalError("explicit says\none thing"), Status.INTERNAL, "internal error: explicit says one thing"),
        (KeyError("ghost"), Status.INTERNAL, "internal error: tiny/undeclared: KeyError: 'ghost' (test_session.py:"),
        (AssertionError(), Status.INTERNAL, "internal error: tiny/undeclared: AssertionError:  (test_session.py:"),
        (RecursionError(), Status.USAGE, "tiny/undeclared: an expression or procedure is nested too deeply"),
        (MemoryError(), Status.INTERNAL, "tiny/undeclared: out of memory"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else "",
)
def test_errors_decide_the_status_of_their_model(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status, says: str
) -> None:
    """The others keep their verdicts; the worst of all decides (4, 2, 1, 3, 0)."""
    check = engines.check

    def one_fails(model: Model, *args: Any, **more: Any) -> Any:
        if model.name == "tiny/undeclared":
            raise error
        return check(model, *args, **more)

    monkeypatch.setattr(engines, "check", one_fails)
    run = verify_all(["tiny/undeclared", "tiny/as-declared", "tiny/otherwise"], engines=("explicit",))
    failure = run["tiny/undeclared"].failure
    assert failure is not None
    assert (failure.status, failure.message[: len(says)]) == (status, says)
    assert [m.status() for m in run.models] == [status, Status.HOLDS, Status.VIOLATED]
    assert run.status is status
    with pytest.raises(type(error)):
        verify("tiny/undeclared", engines=("explicit",))


def _dies(value: int) -> str:
    os._exit(9)


def test_a_process_that_dies_takes_no_other_model_along(capfd: pytest.CaptureFixture[str]) -> None:
    """As where the system kills it for its memory: what was in the same pool is checked again."""
    killed = replace(find_model("tiny/undeclared"), name="tiny/killed", notation=Notation(values={"left": _dies}))
    names = ["tiny/as-declared", "tiny/undeclared", "tiny/otherwise", "tiny/as-declared@absent"]
    run = verify_all([killed, *names], engines=("explicit",), jobs=2)
    assert run["tiny/killed"].failure is not None
    assert "the process that checked it died" in run["tiny/killed"].failure.message
    assert all(run[n].failure is None and run[n].results for n in names)
    assert run.status is Status.INTERNAL


def test_a_model_that_is_named_twice_is_checked_once() -> None:
    found = asked("tiny/as-declared", "tiny/as-declared", "models/tiny.py@broken")
    assert found.stdout.count("tiny/as-declared: ") == 1
    assert [m.name for m in verify_all(["tiny/undeclared"] * 2, engines=("explicit",)).models] == ["tiny/undeclared"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("\n\n" + TINY)
    found = asked("tiny/as-declared", "other.py")
    assert found.exit_code == 2
    assert "two models are called tiny/as-declared" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    changed = replace(find_model("tiny/undeclared"), expected={"paired": "violated"}, about=("paired",))
    with pytest.raises(InputError, match="two models are called tiny/undeclared"):
        verify_all(["tiny/undeclared", changed])
    sized = [each_once([find_model("linux/svm-asid:cpus=3"), find_model(f"linux/svm-asid:cpus={n}")]) for n in (3, 4)]
    assert [len(x) for x in sized] == [1, 2]


# -- what is declared


def test_a_violation_that_nobody_declared_is_no_success() -> None:
    """``--expect`` said "violated, as declared", exit 0, of a model that declares nothing."""
    found = asked("tiny/undeclared", "--expect", "-p", "paired")
    assert found.exit_code == 1
    assert "UNEXPECTED: not declared" in found.stdout
    assert asked("tiny/as-declared", "--expect", "-p", "paired", "-p", "no-fault").exit_code == 3  # @absent is vacuous
    assert asked("tiny/as-declared@broken", "--expect", "-p", "paired").exit_code == 0
    assert asked("tiny/otherwise", "--expect", "-p", "paired").exit_code == 1


def test_where_one_engine_stopped_the_reason_says_which_proved() -> None:
    """Of two states of the model only one is visited: what proves is the invariant, and it is named as such."""
    limits = Limits(states=1)
    result = verify("tiny/as-declared", ["paired"], engines=("explicit", "pdr"), limits=limits)["paired"]
    assert result.verdict is Verdict.PROVED
    assert result.reason.startswith("proved by pdr; invariant of ")
    assert "explicit: stopped at the limit of 1 control states" in result.reason
    both = verify("tiny/as-declared", ["paired"], engines=("explicit", "full"))["paired"]
    assert "proved by" not in both.reason
    assert all(f"reachable states visited ({engine})" in both.reason for engine in ("explicit", "full"))


# -- what cannot be asked


def from_python(**options: Any) -> Callable[[], object]:
    return lambda: verify("tiny/as-declared", **options)


REFUSED: list[tuple[Sequence[str], Callable[[], object], str]] = [
    (("--engine", "spin"), from_python(engines=("spin",)), "unknown engine 'spin'; engines are explicit, "),
    (("--depth", "-1"), from_python(depth=-1), "a search to depth -1; give 0 or more"),
    (("--processor", "z80"), from_python(processor="z80"), "unknown processor 'z80'; processors are common, "),
    (("--timeout", "0"), lambda: Limits(seconds=0.0), "a limit of 0.0 seconds; give a number above 0"),
    (("--timeout", "nan"), lambda: Limits(seconds=float("nan")), "a limit of nan seconds; give a number above 0"),
    (("--max-memory", "0"), lambda: Limits(memory=0), "a limit of 0 bytes of memory; give at least 1 MiB"),
    (("--max-states", "0"), lambda: Limits(states=0), "a limit of 0 states; give at least 1"),
    (("-p", "nothing"), from_python(properties=["nothing"]), "unknown property 'nothing'"),
    (("-j", "0"), lambda: verify_all(["tiny/as-declared"], jobs=0), "0 models checked at a time; give at least 1"),
]


@pytest.mark.parametrize(("options", "call", "says"), REFUSED, ids=[" ".join(o) for o, _, _ in REFUSED])
def test_python_refuses_what_the_command_line_refuses(
    options: Sequence[str], call: Callable[[], object], says: str
) -> None:
    """In the same words, before anything is searched."""
    found = CliRunner().invoke(cli, ["verify", "tiny/as-declared", *options])
    assert found.exit_code == 2
    assert found.stderr.startswith(f"tlbcheck: {says}")
    assert len(found.stderr.splitlines()) == 1
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (from_python(properties=[]), "no property is named"),
        (from_python(properties="paired"), "'paired' is a name, and no list of properties; write ['paired']"),
        (from_python(engines="bmc"), "unknown engine 'bmc'"),
        (from_python(engines=()), "no engine is named"),
        (lambda: verify_all("tiny/as-declared"), "'tiny/as-declared' is a name, and no list of models"),
        (lambda: verify("models/tiny.py"), "models/tiny.py defines 6 models; name one of them: tiny/as-declared, "),
        (lambda: Limits(threads=0), "a search by 0 threads"),
        (lambda: Limits(confirming=float("inf")), "a limit of inf confirming seconds"),
    ],
)
def test_python_refuses_what_would_check_nothing_or_something_else(call: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("function", [verify, verify_all, explore])
def test_an_unknown_option_is_no_option(function: Callable[..., object]) -> None:
    """``verify(..., dept=3)`` was taken; every option is spelt out, so that Python and mypy refuse it."""
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    with pytest.raises(TypeError, match="dept"):
        function(["tiny/as-declared"], dept=3)


def test_graph_of_several_models_asks_which(tmp_path: Path) -> None:
    """It drew the first, silently."""
    found = CliRunner().invoke(cli, ["graph", "models", "-o", str(tmp_path / "g.dot")])
    assert found.exit_code == 2
    assert "models defines 6 models; name one of them: tiny/as-declared, " in found.stderr
    assert not (tmp_path / "g.dot").exists()
