"""Contracts: what callers owe is judged at calls, assumed of the most general caller, and nothing rests on a broken promise.

The models are of a pager on no machine in particular that breaks before it makes: an entry may be
installed only where there is none, so that nothing old can be cached for it.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pager import PAGER, PROPERTY

from tlbcheck import Contract, InputError, Model, Procedure, most_general_caller
from tlbcheck.check import explore, verify
from tlbcheck.cli import cli
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.lang.model import Property
from tlbcheck.library import find_models, find_properties, load_file
from tlbcheck.options import Limits
from tlbcheck.reliance import ranked, reliances, settle
from tlbcheck.report.result import model_result
from tlbcheck.result import PropertyResult, Reliance, Scope, Standing, Vacuity, Verdict
from tlbcheck.testing import SESSION, ModelFailure, assert_holds


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A user's folder with the pager and its property, as the working directory."""
    home = tmp_path_factory.mktemp("pager")
    (home / "models").mkdir()
    (home / "properties").mkdir()
    (home / "models" / "pager.py").write_text(PAGER)
    (home / "properties" / "pager.py").write_text(PROPERTY.format(str(home / "models" / "pager.py")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home


def module(home: Path) -> Any:
    return load_file(home / "models" / "pager.py")


@cache
def checked(name: str, engines: tuple[str, ...] = ("explicit", "bmc", "pdr")) -> ModelEvidence:
    return explore(name, engines=engines)


def verdicts(result: ModelEvidence) -> dict[str, str]:
    return {r.property.name: r.verdict for r in result.results}


# -- calls


def test_a_call_that_breaks_a_precondition_is_a_violation_at_the_call(project: Path) -> None:
    """The closed model: every engine, replay and the interpreter's own search agree; the trace names the call."""
    result = explore("pager/closed@not-broken", recheck=True)
    assert verdicts(result) == {"fresh-use": "violated", "requires": "violated"}
    assert {e: x.verdict for e, x in result["requires"].engines.items()} == dict.fromkeys(("explicit", "bmc", "pdr", "recheck"), "violated")
    violation = model_result(result)["requires"].violations[0].told
    line = 1 + PAGER.splitlines().index("        install(choose(Frame))")
    assert violation["call"] == {"file": "models/pager.py", "line": line, "column": 9, "text": "pager() calls install(), which requires not present.get()"}
    assert violation["summary"].endswith(f"pager() calls install(), which requires not present.get() (models/pager.py:{line})")


@pytest.mark.parametrize("engines", [("explicit", "bmc", "pdr"), ("full",)], ids="+".join)
def test_calls_that_keep_to_it_are_proved(engines: tuple[str, ...]) -> None:
    assert verdicts(checked("pager/closed", engines)) == {"fresh-use": "proved", "requires": "proved"}
    assert verdicts(explore("pager/closed@not-broken", engines=engines)) == {"fresh-use": "violated", "requires": "violated"}


def test_a_precondition_is_no_step(project: Path) -> None:
    """The same model without it has the same states and the same shortest runs."""
    home = module(project)
    with_it = explore("pager/closed@not-broken", ["fresh-use"], engines=("explicit",))
    bare = Procedure(home.install.name, home.install.parameters, home.install.place, lambda: home.install.body, None, "install")
    model = find_models("pager/closed@not-broken")[0]
    without = explore(replace(model, procedures={home.install: bare}), ["fresh-use"], engines=("explicit",))
    # What takes the place of a procedure is called under the same contract.
    assert verdicts(explore(replace(model, procedures={home.install: bare}), ["requires"], engines=("explicit",))) == {"requires": "violated"}
    assert with_it.explicit is not None and without.explicit is not None
    assert (with_it.explicit.states, with_it["fresh-use"].violations[0].depth) == (without.explicit.states, without["fresh-use"].violations[0].depth)


def test_preconditions_read_arrays_other_cpus_and_what_is_computed(tmp_path: Path) -> None:
    """Reads behind ``and``/``or``, elements and other CPUs' copies, pure calls; z3, enumeration and the interpreter agree on each."""
    source = """
    from __future__ import annotations
    import enum
    from tlbcheck import Model, Range, choose, cpus, marker, per_cpu, procedure, requires, shared, this_cpu

    class Which(enum.Enum):
        a = enum.auto()
        b = enum.auto()

    table = shared("table", Range(0, 3), index=Which)
    mine = per_cpu("mine", bool)
    step = marker("step", "a step")

    @procedure
    def other(w: Which) -> Which:
        if w == Which.a:
            return Which.b
        return Which.a

    @procedure
    def f(w: Which, ready: bool) -> None:
        requires(not ready or (table.at(other(w)).get() >= 1 and mine.at(1).get()))
        requires(not ready or mine.get() == mine.at(this_cpu()).get())
        step()

    @procedure
    def task() -> None:
        while True:
            mine.set(choose(bool))
            w = choose(Which)
            table.at(w).set(choose((0, 1)))
            f(CALL)

    @procedure
    def init() -> None:
        step()

    m = Model(name="t/reads", title="reads", cpus=2, init=init, task=task)
    """
    found = []
    for n, call in enumerate(("w, False", "w, True", "w, table.at(other(w)).get() == 1 and mine.at(1).get()")):
        file = tmp_path / f"reads{n}.py"
        file.write_text(textwrap.dedent(source).replace("CALL", call))
        result = explore(find_models(str(file))[0], ["requires"], engines=("explicit", "bmc"), recheck=True, depth=6)
        found.append(result["requires"].verdict)
    # The third call was checked in a step before: CPU 1 may have changed its copy since.
    assert found == ["proved", "violated", "violated"]


# -- the most general caller


def test_the_most_general_caller_calls_wherever_it_may(project: Path) -> None:
    """The open model: proved for every caller that keeps to what is required, and said so; not for callers that need not."""
    result = explore("pager/opened", recheck=True)
    assert result["fresh-use"].verdict == "proved"
    assert not result["fresh-use"].vacuous
    assert result["requires"].verdict == "not-applicable"  # nobody else calls anything that requires something
    entry = model_result(result).results[0]
    assert "the most general caller calls install() with any arguments, where what it requires holds: not present.get()" in entry.assumptions
    home = module(project)
    unbound = most_general_caller(Procedure("install", home.install.parameters, home.install.place, lambda: home.install.body, None, "install"))
    assert explore(replace(home.opened, procedures={home.any_install: unbound}), ["fresh-use"])["fresh-use"].verdict == "violated"


def test_its_choices_are_told(project: Path) -> None:
    """A trace names the arguments that the caller chose."""
    home = module(project)
    result = explore(replace(home.opened, flags={home.NOT_BROKEN: False, home.NOT_FLUSHED: True}), ["fresh-use"])
    steps = model_result(result).results[0].violations[0].told["steps"]
    assert [s["choices"]["to"] for s in steps if "to" in s["choices"]] in (["old"], ["new"])


@pytest.mark.parametrize("engines", [("explicit", "bmc", "pdr"), ("pdr", "full")], ids="+".join)
def test_a_precondition_that_nothing_meets_is_vacuous(project: Path, engines: tuple[str, ...]) -> None:
    """Nothing was shown where there is no call: said as such, which counts as undecided, if one engine can tell."""
    file = project / "never.py"
    file.write_text(PAGER.replace("requires(not present.get())", "requires(not present.get())\n    requires(present.get())").replace("pager/", "never/"))
    model = next(m for m in find_models(str(file)) if m.name == "never/opened")
    result = explore(model, ["fresh-use"], engines=engines)
    assert (result["fresh-use"].verdict, result["fresh-use"].vacuous) == ("proved", True)
    assert "nothing satisfies what install() requires" in result["fresh-use"].reason()


def test_words_are_called_with_the_values_that_are_given(tmp_path: Path) -> None:
    """Each value of a declared domain is tried, and no other."""
    source = """
    from __future__ import annotations
    from tlbcheck import Event, Model, Property, most_general_caller, procedure, requires, shared, u64, enter, var
    from tlbcheck.lang.expr import eq
    from tlbcheck.lang.types import U64

    last = shared("last", u64)

    @procedure(role="put")
    def put(value: u64, twice: bool) -> None:
        requires(value != 7)
        last.set(value)

    task = most_general_caller(put, domains={"value": [3, 7, 1 << 63], "twice": [True]})

    @procedure
    def init() -> None:
        last.set(0)

    m = Model(name="t/words", title="words", init=init, task=task)
    SEEN = {v: Property(f"never-{v:x}", "t", source="s", needs=("put",), trigger=enter("put"), clauses={"seen": "seen"}) for v in (3, 4, 7, 1 << 63)}
    for v, q in SEEN.items():
        q.on(enter("put", "value", "twice"), bad={"seen": eq(var("arg.value", U64), v)})
    """
    (tmp_path / "words.py").write_text(textwrap.dedent(source))
    found = load_file(tmp_path / "words.py")
    result = explore(found.m, list(found.SEEN.values()))
    assert verdicts(result) == {"never-3": "violated", "never-4": "proved", "never-7": "proved", f"never-{1 << 63:x}": "violated"}
    assert "with value one of 3 values, twice one of 1 values" in model_result(result).results[0].assumptions[-1]


# -- errors: one line, with the place

HEAD = """
from __future__ import annotations
from tlbcheck import Model, choose, marker, most_general_caller, procedure, requires, shared, u64
from tlbcheck.machine.x86 import CR4, MOV_FROM_CR4
n = shared("n", bool)
step = marker("step", "a step")

@procedure
def acts() -> bool:
    return n.get()

@procedure
def init() -> None:
    step()

@procedure(ENSURES)
def f(x: u64) -> None:
    BODY
    step()

@procedure
def task() -> None:
    f(CALL)
m = Model(name="t/m", title="m", init=init, task=TASK)
"""
FIRST = "preconditions come first; write require(condition) for what only runs that go on from here meet"
MISTAKES = {
    "late": (
        {"BODY": "step()\n    requires(n.get())"},
        "18:5: requires() after other statements in f; " + FIRST,
    ),
    "nested": (
        {"BODY": "if n.get():\n        requires(True)"},
        "18:9: requires() after other statements in f; " + FIRST,
    ),
    "empty": ({"BODY": "requires()"}, "17:5: requires() takes one condition in f; write: requires(condition)"),
    "an operation": ({"BODY": "requires(MOV_FROM_CR4() == 0)"}, "17:14: requires() of f performs MOV from CR4; a precondition is no step: read registers and shared state with .get()"),
    "a choice": ({"BODY": "requires(choose(bool))"}, "17:14: requires() of f performs choose; a precondition is no step: read registers and shared state with .get()"),
    "a call that acts": ({"BODY": "requires(acts())"}, "17:14: what f requires calls acts(), which does more than compute; call only what works on its own locals"),
    "nobody calls": (
        {"BODY": "requires(n.get())", "TASK": "f2", "CALL": "1"},
        "17:5: f() has a precondition, and no procedure calls it; let the model call it: tlbcheck.most_general_caller() makes a caller",
    ),
    "no such property": ({"ENSURES": 'ensures=("no-such",)'}, "16:1: f() ensures an unknown property 'no-such'; there are: "),
    "a word": ({"TASK": "most_general_caller(f)"}, "23: 'x' of f() is a u64: too many values to try them all; say which: domains={'x': (...)}"),
    "no parameter": ({"TASK": "most_general_caller(f, domains={'x': (1,), 'y': (1,)})"}, "23: f() has no parameter 'y'; it takes (x)"),
    "a wrong value": ({"TASK": "most_general_caller(f, domains={'x': (1, 'two')})"}, "23: 'x' of f() is a u64 and cannot be 'two'; give values of the parameter's type"),
    "too large": ({"TASK": "most_general_caller(f, domains={'x': (1 << 64,)})"}, "23: 'x' of f() is a u64 and cannot be 18446744073709551616; give values of the parameter's type"),
    "no values": ({"TASK": "most_general_caller(f, domains={'x': ()})"}, "23: the domain of 'x' lists no values; give an enum class or a sequence of values"),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_with_a_place(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    text = HEAD.lstrip("\n")
    for key, value in {"ENSURES": "role='f'", "BODY": "pass", "CALL": "1", "TASK": "task", **changes}.items():
        text = text.replace(key, value)
    if changes.get("TASK") == "f2":
        text = text.replace("def f(x: u64)", "def f()").replace("f(CALL)", "f()").replace("f(1)", "f()").replace("f2", "f")
    file = tmp_path / "m.py"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        model = find_models(str(file))[0]
        explore(model, find_properties(["no-fault"], model), engines=("explicit",))
    said = str(caught.value).replace(f"{file}:", "")
    assert said[: len(message)] == message if message.endswith(": ") else said == message


# -- reliance


def test_alone_a_reliance_is_said_to_be_open() -> None:
    """One model by itself: proved, with what it relies on, that this was not checked, and how to."""
    entry = verify("pager/a-relying", ["fresh-use", "requires"])["fresh-use"]
    assert entry.verdict is Verdict.PROVED
    assert entry.reason.startswith("relies on install() (not checked in this run); ")
    command = "tlbcheck verify pager/opened pager/a-relying"
    assert f"install() keeps fresh-use, which pager/opened is to show: not checked in this run (pager/opened was not checked for fresh-use): {command}" in entry.assumptions
    assert entry.relies == (
        Reliance(
            procedure="install",
            shown_as="install",
            properties=("fresh-use",),
            requires=("not present.get()",),
            shown_by="pager/opened",
            differs=(),
            check=command,
            standing=Standing.OPEN,
            why="pager/opened was not checked for fresh-use",
        ),
    )


def run(*args: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]], list[str]]:
    """Exit status, entries by model and property, and the order of models."""
    done = CliRunner().invoke(cli, ["verify", "--json", "-j", "1", "--engine", "explicit", *args], catch_exceptions=False)
    entries = json.loads(done.stdout)["results"]
    return done.exit_code, {(e["model"], e["property"]): e for e in entries}, list(dict.fromkeys(e["model"] for e in entries))


def test_in_one_run_it_is_checked_whatever_the_order() -> None:
    """The results stay in the order that was asked for, with what others show put in."""
    status, entries, order = run("pager/a-relying", "pager/opened", "-p", "fresh-use", "-p", "requires")
    assert order == ["pager/a-relying", "pager/opened"]
    assert entries["pager/a-relying", "fresh-use"]["verdict"] == "proved"
    assert entries["pager/a-relying", "fresh-use"]["relies"][0]["status"] == Standing.SHOWN
    assert entries["pager/a-relying", "fresh-use"]["reason"].startswith("all ")
    assert "install() keeps fresh-use: shown by pager/opened in this run" in entries["pager/a-relying", "fresh-use"]["assumptions"]
    assert status == 3  # requires does not apply to the open model, which is undecided


def test_what_rests_on_a_broken_promise_is_not_proved(project: Path) -> None:
    """Regression guard for the whole point: the promise fails where it is to be shown, so the relying verdict is unknown."""
    file = project / "broken.py"
    file.write_text(PAGER.replace("FLAGS = {NOT_BROKEN: False, NOT_FLUSHED: False}", "FLAGS = {NOT_BROKEN: False, NOT_FLUSHED: False}\nFAULTY = {NOT_BROKEN: False, NOT_FLUSHED: True}"))
    text = file.read_text().replace("task=anything, flags=FLAGS", "task=anything, flags=FAULTY")
    (project / "models" / "pager.py").rename(project / "pager.kept")
    try:
        (project / "models" / "broken.py").write_text(text.replace("pager/", "broken/"))
        (project / "properties" / "pager.py").rename(project / "property.kept")
        (project / "properties" / "broken.py").write_text(
            f"from tlbcheck.library import load_file\nfrom pathlib import Path\nFRESH = load_file(Path({str(project / 'models' / 'broken.py')!r})).FRESH\n"
        )
        status, entries, _ = run("broken/a-relying", "broken/opened", "-p", "fresh-use")
        alone, single, _ = run("broken/a-relying", "-p", "fresh-use")
    finally:
        (project / "models" / "broken.py").unlink()
        (project / "properties" / "broken.py").unlink()
        (project / "pager.kept").rename(project / "models" / "pager.py")
        (project / "property.kept").rename(project / "properties" / "pager.py")
    assert entries["broken/opened", "fresh-use"]["verdict"] == "violated"
    relying = entries["broken/a-relying", "fresh-use"]
    assert (relying["verdict"], relying["relies"][0]["status"]) == ("unknown", Standing.BROKEN)
    assert relying["reason"].startswith("broken/opened does not show fresh-use of install()")
    assert status == 1
    assert (alone, single["broken/a-relying", "fresh-use"]["verdict"], single["broken/a-relying", "fresh-use"]["relies"][0]["status"]) == (0, "proved", Standing.OPEN)


def entry(model: str, name: str, verdict: Verdict = Verdict.PROVED, **more: Any) -> PropertyResult:
    return PropertyResult(model=model, name=name, found=verdict, **more)


def relying_on(*requires: str, standing: Standing = Standing.OPEN) -> Reliance:
    return Reliance("f", "f", ("p",), requires, "b", (), "tlbcheck verify b a", standing)


VACUOUS = Vacuity(vacuous=True)


@pytest.mark.parametrize(
    ("shown", "verdict", "status"),
    [
        ([entry("b", "p")], Verdict.PROVED, Standing.SHOWN),
        ([entry("b", "p", vacuity=VACUOUS)], Verdict.UNKNOWN, Standing.BROKEN),
        ([entry("b", "p", Verdict.BOUNDED)], Verdict.UNKNOWN, Standing.BROKEN),
        ([entry("b", "p", Verdict.NOT_APPLICABLE)], Verdict.UNKNOWN, Standing.BROKEN),
        ([entry("b", "q")], Verdict.PROVED, Standing.OPEN),
        ([], Verdict.UNKNOWN, Standing.BROKEN),
        ([entry("b", "p", vacuity=Vacuity(looked=False))], Verdict.PROVED, Standing.OPEN),
        ([entry("b", "p", relies=(relying_on(),))], Verdict.PROVED, Standing.OPEN),
        ([entry("b", "p", relies=(relying_on(standing=Standing.SHOWN),))], Verdict.PROVED, Standing.SHOWN),
        ([entry("b", "p", scope=Scope({"profile": "amd"}))], Verdict.UNKNOWN, Standing.BROKEN),
    ],
    ids=["proved", "vacuous", "bounded", "not applicable", "not asked", "in error", "perhaps vacuous", "relies on what is open", "relies on what is shown", "of another processor"],
)
def test_only_a_proof_shows_a_promise(shown: list[PropertyResult], verdict: Verdict, status: Standing) -> None:
    [mine] = settle([entry("a", "s", relies=(relying_on(),))], {(e.model, e.name): e for e in shown}, ["a", "b"])
    assert (mine.verdict, mine.relies[0].standing) == (verdict, status)


def test_a_promise_needs_its_precondition() -> None:
    """Where the relying model's own calls break a precondition, the promise is worth nothing; where that was not asked, it is open."""
    shown = {("b", "p"): entry("b", "p")}
    relies = (relying_on("x"),)
    for own, verdict, status in (
        (None, Verdict.PROVED, Standing.OPEN),
        (Verdict.PROVED, Verdict.PROVED, Standing.SHOWN),
        (Verdict.VIOLATED, Verdict.UNKNOWN, Standing.BROKEN),
    ):
        mine, *_ = settle([entry("a", "s", relies=relies), *([entry("a", "requires", own, relies=relies)] if own else [])], shown, ["a", "b"])
        assert (mine.verdict, mine.relies[0].standing) == (verdict, status)


@pytest.mark.parametrize(("declared", "verdict"), [(False, Verdict.UNKNOWN), (True, Verdict.PROVED)], ids=["not declared", "declared"])
def test_calls_that_are_never_reached_break_nothing_and_are_said(declared: bool, verdict: Verdict) -> None:
    calls = entry("a", "requires", vacuity=Vacuity(vacuous=True, declared=declared), relies=(relying_on("x"),))
    mine, _ = settle([entry("a", "s", relies=(relying_on("x"),)), calls], {("b", "p"): entry("b", "p")}, ["a", "b"])
    assert (mine.verdict, "no call that has to meet what f() requires is reached" in mine.reason, "breaks" in mine.reason) == (verdict, not declared, False)


def test_settling_again_says_what_is_the_case_then() -> None:
    """First alone, then with what was shown: no line of the first time stays."""
    alone = settle([entry("a", "s", relies=(relying_on(),), how="all states", premises=("others",))], {}, ())
    assert alone[0].reason == "relies on f() (not checked in this run); all states"
    [mine] = settle(alone, {("b", "p"): entry("b", "p")}, ["a", "b"])
    assert (mine.reason, mine.assumptions) == ("all states", ("others", "f() keeps p: shown by b in this run"))


# -- what is shown is what is relied on


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        ("not-flushed", "NOT_FLUSHED is off in pager/deep-opened and on in pager/deep-relying@not-flushed"),
        ("keeps", "drop() is drop() in pager/deep-opened and keep() in pager/deep-relying@keeps"),
    ],
)
def test_another_model_s_flags_and_procedures_show_nothing(variant: str, why: str) -> None:
    """The same code in a closed model is wrong, and the showing model is right: so the relying variant is not proved, in one run or alone."""
    assert verdicts(checked(f"pager/deep-closed@{variant}", ("explicit",)))["fresh-use"] == "violated"
    name = f"pager/deep-relying@{variant}"
    for names in ((name, "pager/deep-opened"), (name,)):
        _, entries, _ = run(*names, "-p", "fresh-use")
        mine = entries[name, "fresh-use"]
        assert (mine["verdict"], mine["relies"][0]["status"]) == ("unknown", Standing.BROKEN)
        assert mine["reason"].startswith(f"{why}; a model with the same ")
        assert any(a.startswith(f"move() keeps fresh-use: not shown: {why}") for a in mine["assumptions"])
    _, entries, _ = run("pager/deep-relying", "pager/deep-opened", "-p", "fresh-use")
    assert (entries["pager/deep-relying", "fresh-use"]["verdict"], entries["pager/deep-relying", "fresh-use"]["relies"][0]["status"]) == ("proved", Standing.SHOWN)


def test_what_the_procedure_does_not_read_makes_no_difference(project: Path) -> None:
    """A flag of the callers, and a procedure that only they call, may be as they like."""
    home = module(project)
    changed = replace(home.relying, flags={home.NOT_BROKEN: False, home.NOT_FLUSHED: True}, procedures={home.remove: home.keep})
    assert [r.differs for r in reliances(changed)] == [()]


def test_a_version_that_is_shown_in_the_procedure_s_place_is_named(project: Path) -> None:
    """As Xen's switch is; but one that asks more of its callers than is judged shows nothing, nor does another than the relying model's own."""
    home = module(project)

    def relied(shown_by: str, **changes: Any) -> Reliance:
        [found] = reliances(replace(home.deep_relying, contracts=(Contract(home.move, home.moved, shown_by),), variants={}, **changes))
        return found

    assert (relied("pager/deep-other").shown_as, relied("pager/deep-other").standing) == ("move_at_once", Standing.OPEN)
    assert relied("pager/deep-other").assumption.startswith("move() as move_at_once() keeps fresh-use, which pager/deep-other is to show")
    assert relied("pager/deep-strict").why.startswith("pager/deep-strict takes for granted that callers of move_present() keep to present.get()")
    direct = relied("pager/deep-opened", procedures={home.move: home.move_at_once}, task=home.mover_of_both)
    assert direct.why.startswith("move() is move() in pager/deep-opened and move_at_once() in pager/deep-relying")


def test_a_promise_that_rests_on_another_is_shown_with_it() -> None:
    """Not by a model whose own reliance is open; the command names all that it takes."""
    command = "tlbcheck verify pager/deep-drop pager/deep-mid pager/deep-top"
    _, entries, _ = run("pager/deep-top", "pager/deep-mid", "-p", "fresh-use")
    [top] = entries["pager/deep-top", "fresh-use"]["relies"]
    assert (top["status"], top["why"], top["check"]) == (Standing.OPEN, "pager/deep-mid relies itself on what is open", command)
    _, entries, _ = run("pager/deep-top", "pager/deep-mid", "pager/deep-drop", "-p", "fresh-use")
    assert [entries[f"pager/deep-{n}", "fresh-use"]["relies"][0]["status"] for n in ("top", "mid")] == [Standing.SHOWN, Standing.SHOWN]
    _, entries, _ = run("pager/deep-top", "-p", "fresh-use", "--processor", "intel")
    assert entries["pager/deep-top", "fresh-use"]["relies"][0]["check"] == f"{command} --processor intel"


def test_a_proof_without_enumeration_is_looked_at_for_something_to_prove(project: Path) -> None:
    """Engine pdr alone cannot tell whether the trigger ever occurs: a short search does."""
    alone = explore("pager/opened", ["fresh-use"], engines=("pdr",))
    assert (alone["fresh-use"].verdict, alone["fresh-use"].looked, alone["fresh-use"].vacuous) == ("proved", True, False)


def test_a_proof_whose_trigger_was_not_found_is_undecided_and_shows_no_promise(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlbcheck.engines.run._LOOKED_AT", 1)
    alone = explore("pager/opened", ["fresh-use"], engines=("pdr",))
    assert (alone["fresh-use"].verdict, alone["fresh-use"].looked) == ("proved", False)
    [told] = model_result(alone)
    assert (told.vacuity.looked, told.reason.endswith("; whether its trigger occurs was not looked at"), told.undecided) == (False, True, True)
    both = verify("pager/opened", ["fresh-use"], engines=("explicit", "pdr"))["fresh-use"]
    assert (both.vacuity.looked, "not looked at" in both.reason) == (True, False)
    literal = verify("pager/opened", ["fresh-use"], engines=("pdr", "full"))["fresh-use"]
    assert (literal.vacuity.looked, "not looked at" in literal.reason) == (True, False)


@pytest.mark.parametrize(("states", "looked"), [(1, False), (12, True)])
def test_a_search_that_was_cut_off_counts_for_what_it_has_seen(states: int, looked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant is found all the same; one state shows no use of the page, nearly all of them do (limits count control states)."""
    monkeypatch.setattr("tlbcheck.engines.run._LOOKED_AT", 1)
    found = explore("pager/deep-opened", ["fresh-use"], engines=("explicit", "pdr"), limits=Limits(states=states))["fresh-use"]
    assert (found.verdict, found.engines["explicit"].verdict, found.looked) == ("proved", "unknown", looked)


# -- where it is said


def invoked(*args: str) -> str:
    return CliRunner().invoke(cli, args, catch_exceptions=False).stdout


def test_every_report_says_what_is_open(tmp_path: Path) -> None:
    files = [tmp_path / f"r{ending}" for ending in (".xml", ".md", ".html")]
    said = "not checked in this run"
    brief = invoked("verify", "--expect", "--engine", "explicit", "pager/deep-top", "-p", "fresh-use", *(x for f in files for x in ("-o", str(f))))
    assert "  relies on move(), not checked in this run: tlbcheck verify pager/deep-drop pager/deep-mid pager/deep-top\n" in brief
    assert all(said in f.read_text() for f in files)
    assert "  assumes: move() keeps fresh-use, which pager/deep-mid is to show: not checked in this run" in invoked("verify", "--engine", "explicit", "pager/deep-top", "-p", "fresh-use")
    assert said not in invoked("verify", "--expect", "--engine", "explicit", "pager/deep-top", "pager/deep-mid", "pager/deep-drop", "-p", "fresh-use", "-j", "1")
    broken = invoked("verify", "--expect", "--engine", "explicit", "pager/deep-relying", "-p", "fresh-use", "-j", "1")
    assert "  relies on move(), not shown: NOT_FLUSHED is off in pager/deep-opened and on in pager/deep-relying@not-flushed" in broken


def test_a_certificate_says_what_it_relies_on(tmp_path: Path) -> None:
    """And there is none of what the showing model shows nothing for."""
    invoked("verify", "--engine", "pdr", "pager/a-relying", "pager/deep-relying@not-flushed", "-p", "fresh-use", "--certificates", str(tmp_path), "-j", "1")
    [file] = tmp_path.iterdir()
    relies = "; relies on: install() keeps fresh-use, which pager/opened is to show"
    assert f"is proved{relies}; scope: " in invoked("certify", str(file), "--model", "pager/a-relying")
    assert invoked("certify", str(file)).endswith(f"--model does that{relies}\n")


def test_an_assertion_rests_on_what_is_shown(project: Path) -> None:
    """The showing models are explored in the same session, down to the last; where they show nothing, the assertion fails."""
    SESSION.start()
    try:
        assert_holds("pager/a-relying", "fresh-use")
        assert_holds("pager/deep-top", "fresh-use")
        assert {"pager/opened", "pager/deep-mid", "pager/deep-drop"} <= set(SESSION.models)
        with pytest.raises(ModelFailure, match=r"^pager/deep-relying@keeps: fresh-use is unknown, not proved \(drop\(\) is drop\(\) in pager/deep-opened and keep\(\)"):
            assert_holds("pager/deep-relying@keeps", "fresh-use")
        home = module(project)
        broken = replace(home.deep_drop, flags={home.NOT_BROKEN: False, home.NOT_FLUSHED: False}, task=home.mover, procedures={home.drop: home.keep})
        SESSION.models["pager/deep-drop"] = broken  # as if it were in the library
        SESSION.results.clear()
        SESSION.settled.clear()
        with pytest.raises(ModelFailure, match="pager/deep-mid does not show fresh-use of move"):
            assert_holds("pager/deep-top", "fresh-use")
    finally:
        SESSION.start()


def test_a_violation_stays_one() -> None:
    """Nothing is taken back but proofs."""
    others = [v for v in Verdict if v is not Verdict.PROVED]
    mine = settle([entry("a", v, v, relies=(relying_on(),)) for v in others], {("b", "p"): entry("b", "p", Verdict.VIOLATED)}, ["a", "b"])
    assert [e.verdict for e in mine] == others


def test_a_contract_has_to_be_shown_by_an_open_model_and_not_in_a_circle(project: Path) -> None:
    home = module(project)

    def refused(model: Model) -> str:
        with pytest.raises(InputError) as caught:
            reliances(model)
        return caught.value.message

    def with_contract(**changes: Any) -> Model:
        made: Model = replace(home.relying, contracts=(replace(home.relying.contracts[0], **changes),))
        return made

    assert refused(with_contract(shown_by="pager/closed")) == "pager/closed does not show what install() ensures"
    assert refused(with_contract(shown_by="pager/nothing")).startswith("install() is to be shown by pager/nothing: unknown model")
    assert refused(with_contract(shown_by="pager/a-relying")) == "pager/a-relying relies on pager/a-relying: a circle shows nothing"
    bare = Contract(home.remove, home.installed, "pager/opened")
    assert refused(replace(home.relying, contracts=(bare,), procedures={home.remove: home.installed})) == "remove() ensures nothing that could be relied on"


def test_what_others_rely_on_is_checked_first() -> None:
    chosen = [find_models(n)[0] for n in ("pager/a-relying", "pager/closed", "pager/opened")]
    assert ranked(chosen) == [1, 2, 0]


def test_a_contract_that_does_not_run_is_not_relied_on(project: Path) -> None:
    """A model says what it takes for granted, no more."""
    home = module(project)

    def nothing() -> list[Any]:
        return []

    idle = Procedure("idle", (), home.pager.place, nothing)
    assert reliances(replace(home.relying, task=idle)) == ()


def test_the_properties_of_a_project_are_found() -> None:
    """The fixture's own premise: fresh-use is the project's property, requires the library's."""
    assert [q.name for q in find_properties(["fresh-use", "requires"]) if isinstance(q, Property)] == ["fresh-use", "requires"]
