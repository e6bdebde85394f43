"""What a verdict says where little happens: clauses that judge nothing are listed, and a proof of nothing is no proof.

A violation always says something; so does a proof where an assertion was executed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck import (
    CacheKind,
    Event,
    Model,
    Property,
    Range,
    Status,
    Verdict,
    atomic,
    enter,
    leave,
    marker,
    operation,
    procedure,
    require,
    shared,
    verify,
)
from tlbcheck.cli import cli
from tlbcheck.lang.expr import TRUE, Expr, and_, eq, not_, var
from tlbcheck.lang.model import CACHED
from tlbcheck.lang.types import BOOL
from tlbcheck.library import find_properties, models
from tlbcheck.options import Limits
from tlbcheck.system.lower import lower

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
ENGINES = ("explicit", "full", "sets", "reference")
x = shared("x", bool)
steps = marker("steps", "makes a step")
other = marker("other", "does something else")
n = shared("n", Range(0, 200))


@procedure
def start() -> None:
    x.set(False)


@procedure
def asserts_what_fails() -> None:
    while True:
        x.set(True)
        assert not x.get()


@procedure
def asserts_what_holds() -> None:
    while True:
        x.set(True)
        assert x.get()


@procedure
def asserts_what_cannot_fail() -> None:
    while True:
        x.set(True)
        k: Range(0, 3) = 1  # type: ignore[valid-type]  # read by the language, which has ranges
        assert k == 1


@procedure(role="works")
def works() -> None:
    steps()


@procedure
def goes_on() -> None:
    while True:
        works()


@procedure(role="never-returns")
def stays() -> None:
    while True:
        steps()


@procedure
def calls_what_stays() -> None:
    stays()


@procedure
def counts() -> None:
    while True:
        n.set(n.get() + 1)


def model(task: object, **more: object) -> Model:
    return Model(name="test/vacuity", title="a test", init=start, task=task, depth=4, **more)  # type: ignore[arg-type]  # each test names the fields that it needs


def prop(*rules: tuple[str, Event, Expr], trigger: Event | None = None) -> Property:
    q = Property(
        "q", "a test", source="this test", trigger=trigger, clauses={clause: "it is so" for clause, _, _ in rules}
    )
    for clause, event, bad in rules:
        q.on(event, bad={clause: bad})
    return q


NO_FAULT = find_properties(["no-fault"])[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_executed_assertion_is_something_without_any_machine_operation(engine: str) -> None:
    """Violated where it fails, proved where it holds or cannot fail; and neither is vacuous."""
    wrong = verify(model(asserts_what_fails), [NO_FAULT], engines=[engine])["no-fault"]
    assert (wrong.words, wrong.status()) == ("VIOLATED", Status.VIOLATED)
    for task in (asserts_what_holds, asserts_what_cannot_fail):
        right = verify(model(task), [NO_FAULT], engines=[engine])["no-fault"]
        assert (right.words, right.status()) == ("proved", Status.HOLDS)


def test_a_violation_is_never_called_vacuous() -> None:
    """The trigger never occurs, and the clause is broken all the same."""
    found = verify(model(goes_on), [prop(("c", operation("steps"), TRUE), trigger=operation("other"))])["q"]
    assert (found.words, found.vacuity.vacuous, found.status()) == ("VIOLATED", False, Status.VIOLATED)


def test_a_clause_that_attaches_to_no_step_is_listed() -> None:
    conditional = not_(x.expr)
    q = prop(("seen", operation("steps"), x.expr), ("missed", operation("other"), conditional))
    found = verify(model(goes_on), [q])["q"]
    assert (found.words, found.status()) == ("proved", Status.HOLDS)
    assert [u.text for u in found.vacuity.unjudged] == [
        "no step of test/vacuity performs 'other': clause missed of q judges nothing"
    ]
    assert found.beside == tuple(u.text for u in found.vacuity.unjudged)


@pytest.mark.parametrize(
    ("event", "does"),
    [
        (operation("other"), "performs 'other'"),
        (operation("steps", within="idles"), "performs 'steps' within a procedure of role idles"),
        (enter("idles"), "enters a procedure of role idles"),
        (leave("never-returns"), "returns from a procedure of role never-returns"),
        (Event("fault", "#GP"), "can raise #GP"),
        (Event("assert"), "asserts anything"),
        (Event("fill"), "can fill a cache"),
        (Event("requires"), "calls a procedure that requires something"),
    ],
)
def test_a_property_is_vacuous_if_no_clause_attaches(event: Event, does: str) -> None:
    """Whatever kind of event its only clause waits for; a role whose procedure never returns is one of them."""
    task = calls_what_stays if event.name == "never-returns" else goes_on
    system = lower(model(task), [prop(("c", event, x.expr))])
    assert system.unjudged == {"q": {"c": does}}
    if event.name not in ("idles", "steps"):  # roles that nobody has are refused before
        found = verify(model(task), [prop(("c", event, x.expr))])["q"]
        assert (found.words, found.status()) == ("proved (vacuous)", Status.UNDECIDED)
        assert f"no step of test/vacuity {does}: clause c of q judges nothing" in found.reason


def test_what_forbids_an_event_is_met_where_it_cannot_happen() -> None:
    """``bad`` is true: the event itself is wrong. A trigger that occurs says that the property is about the model."""
    forbids = ("c", operation("other"), TRUE)
    found = verify(model(goes_on), [prop(forbids, trigger=operation("steps"))])["q"]
    assert (found.words, len(found.vacuity.unjudged)) == ("proved", 1)
    assert verify(model(goes_on), [prop(forbids)])["q"].words == "proved (vacuous)"


def test_a_model_may_declare_that_a_clause_judges_nothing() -> None:
    q = prop(("seen", operation("steps"), x.expr), ("missed", operation("other"), x.expr))
    declared = model(goes_on, vacuous=("q/missed",))
    found = verify(declared, [q])["q"]
    assert [u.declared for u in found.vacuity.unjudged] == [True]
    assert (found.beside, found.vacuity.declared) == ((), False)


def test_the_librarys_models_declare_every_clause_that_judges_nothing() -> None:
    """And no other: docs/names.md lists them."""
    listed = (Path(__file__).resolve().parents[2] / "docs" / "names.md").read_text()
    for name, m in models().items():
        system = lower(m, find_properties(None, m))
        unjudged = {f"{q}/{clause}" for q, clauses in system.unjudged.items() for clause in clauses}
        assert unjudged == {v for v in m.vacuous if "/" in v}, name
        for clause in unjudged:
            assert any(f"`{name}`" in line and f"`{clause}`" in line for line in listed.splitlines()), (name, clause)


def test_the_command_line_and_json_list_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    text = CliRunner().invoke(cli, ["verify", "mine/remap", "-p", "no-fault", "--engine", "explicit"]).output
    assert "no step of mine/remap asserts anything: clause assert of no-fault judges nothing" in text
    (entry,) = json.loads(
        CliRunner().invoke(cli, ["verify", "mine/remap", "-p", "no-fault", "--engine", "explicit", "--json"]).output
    )["results"]
    assert [u["clause"] for u in entry["judges_nothing"]] == ["#GP", "#UD", "assert"]


@procedure
def takes_it_back() -> None:
    while True:
        with atomic:
            steps()
            require(False)


@procedure
def waits_for_what_nobody_does() -> None:
    while True:
        with atomic:
            require(x.get())
            steps()


@pytest.mark.parametrize("engines", [("explicit",), ("pdr",), ("full",), ("sets",), ("reference",), ("explicit", "bmc", "pdr")], ids="+".join)
@pytest.mark.parametrize("task", [takes_it_back, waits_for_what_nobody_does], ids=lambda p: p.name)
def test_a_model_that_never_makes_a_step_has_proofs_of_nothing(task: object, engines: tuple[str, ...]) -> None:
    """EVENT-7: what is required contradicts itself. Of states something is said, the start; that there is no step is told all the same."""
    (forbids, states) = (prop(("c", operation("steps"), TRUE)), prop())
    states.clauses["always"] = "in every state"
    states.never("always", x.expr)
    nothing = verify(model(task), [forbids], engines=engines)["q"]
    assert (nothing.words, nothing.status()) == ("proved (vacuous)", Status.UNDECIDED)
    assert "no run makes a step" in nothing.reason
    start = verify(model(task), [states], engines=engines)["q"]
    assert start.words == "proved"
    assert "no run makes a step" in start.reason


def test_a_proof_by_an_invariant_alone_tells_what_no_run_executes() -> None:
    found = verify(model(waits_for_what_nobody_does), [prop(("c", operation("steps"), TRUE))], engines=["pdr"])["q"]
    assert [line.rpartition(" ")[2] for line in found.unreached] == ["atomic"]


def test_a_clause_that_attaches_to_nothing_is_no_proof_by_an_invariant_either() -> None:
    found = verify(model(goes_on), [prop(("c", operation("other"), TRUE))], engines=["pdr"])["q"]
    assert (found.words, found.status()) == ("proved (vacuous)", Status.UNDECIDED)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trigger_without_a_name_is_any_access_too(engine: str) -> None:
    """The model performs no operation, and reads and writes."""
    q = prop(("c", operation("other"), TRUE), trigger=operation(""))
    assert verify(model(counts_to_one), [q], engines=[engine])["q"].words == "proved"


@procedure
def counts_to_one() -> None:
    x.set(True)


# -- what a proof may hide


def kind() -> CacheKind:
    return CacheKind("TLB", (("page", BOOL, (0,)),), TRUE, x.expr, not_(TRUE), lambda entry: "the entry")


def noted(q: Property) -> tuple[str, ...]:
    return verify(model(goes_on, cache=kind()), [q], engines=["explicit"])["q"].notes


def test_a_look_up_that_is_a_step_of_the_task_is_told() -> None:
    """The processor may look up between any two steps, and nothing judges that."""
    looks = and_(CACHED, var("entry.page", BOOL))
    (note,) = noted(prop(("c", operation("steps"), looks)))
    assert (
        note
        == "cached entries are looked at in 'steps' only, which the task does itself: what the processor looks up at any other moment is not judged"
    )
    always = prop(("c", operation("steps"), looks))
    always.clauses["always"] = "in every state"
    always.never("always", looks)
    assert noted(always) == ()
    assert noted(prop(("c", leave("works"), looks))) == ()
    assert noted(prop(("c", operation("steps"), x.expr))) == ()


# -- where there is no end


@pytest.mark.parametrize("engine", ["explicit", "full"])
def test_at_a_limit_the_variable_with_the_most_values_is_named(engine: str) -> None:
    counting = replace(model(counts), name="test/counting")
    q = Property("small", "n stays small", source="this test", clauses={"c": "it is large"})
    q.never("c", eq(n.expr, 200))
    found = verify(counting, [q], engines=[engine], limits=Limits(states=60))["small"]
    assert found.verdict is Verdict.UNKNOWN
    assert "; n has the most values, " in found.reason
