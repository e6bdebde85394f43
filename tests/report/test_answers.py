"""Each violation of the library answers what a newcomer asks, and each answer is held against the run's events and values, which replay confirms.

Of a violation about a cached entry: what was cached, what made it stale, what should have removed it, who goes by it. Of any other:
what was required, which step broke it, which values decided; and of a run that never ends, who waits for whom and why that never comes.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import meeting
import pytest
from click.testing import CliRunner

from tlbcheck import verify
from tlbcheck.cli import cli
from tlbcheck.library import models
from tlbcheck.report.answers import answers, life_of
from tlbcheck.report.events import told
from tlbcheck.report.story import render

Json = dict[str, Any]

QUICK = (
    "linux/deferred-flush@no-pending-mark",
    "linux/riscv-asid@leaves-mask",
    "linux/svm-asid@migration-keeps-generation",
    "xen/cr3-values@dom0-unmasked",
)
"""One of each kind that is searched within a second or two."""


def library() -> list[str]:
    """Every model and variant that declares a violation."""
    found = [v for m in models().values() for v in (m, *(m.variant(n) for n in m.variants))]
    return [m.name for m in found if "violated" in m.expected.values()]


@functools.cache
def violations(name: str) -> tuple[tuple[Json, Json], ...]:
    """What is violated of a model: each entry with each of its runs. Replay has confirmed all of it again, from the file."""
    result = CliRunner().invoke(cli, ["verify", name, "--engine", "explicit", "--json"])
    assert result.exit_code == 1, result.output
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        file.write_text(result.stdout)
        replayed = CliRunner().invoke(cli, ["replay", str(file)])
    assert replayed.exit_code == 1, replayed.output
    return tuple((e, v) for e in json.loads(result.stdout)["results"] for v in e["violations"])


def ask(e: Json, v: Json) -> None:
    """The answers to one violation."""
    kind = v["account"]["kind"]
    assert all(a.head and a.text for a in answers(v))
    assert all(a.step is None or 0 <= a.step <= v["depth"] for a in answers(v))
    assert answers(v)[0].text in render(e["model"], e["property"], v)
    {"entry": ask_of_entry, "rule": ask_of_rule, "wait": ask_of_wait}[kind](v)


def ask_of_entry(v: Json) -> None:
    account, life = v["account"], life_of(v)
    mine = [(i, x["what"]) for i, events in enumerate(told(v)) for x in events if (x["cpu"], x["entry"]) == (account["cpu"], account["entry"])]
    drops = [i for i, what in mine if what == "dropped"]
    # What was cached: the last time that it came to be, after the last drop; and so it is at the end.
    assert life.dropped is None and all(i <= life.since for i in drops)
    assert (life.since, "filled" if life.walked else "cached") in mine
    # What changed: where tables say it, the step with which the entry, or what a walk makes of it, became stale.
    stale = [(i, x) for i, events in enumerate(told(v)) for x in events if x["what"] == "stale" and (x["cpu"], x["entry"]) == (account["cpu"], account["entry"])]
    assert 0 <= account["change"] <= v["depth"]
    if stale and stale[-1][0] >= life.since:
        assert account["change"] == stale[-1][1].get("since", stale[-1][0])
    # What should have removed it: each step that did came too early, or on another CPU, and none did afterwards.
    assert account["early"] == [i for i in drops if i < account["change"]]
    assert not [i for i in drops if i > max(account["change"], life.since)]
    for step, cpu in account["elsewhere"]:
        assert v["steps"][step - 1]["cpu"] == cpu != account["cpu"] and step >= account["change"]
    assert {(i, x["cpu"]) for i, events in enumerate(told(v)) for x in events if i >= account["change"] and (x["entry"], x["what"]) == (account["entry"], "dropped")} <= {
        (i, cpu) for i, cpu in account["elsewhere"]
    } | {(i, account["cpu"]) for i in drops}
    assert all(v["steps"][i - 1]["cpu"] == account["cpu"] and i not in drops for i in account["missed"])
    # Who goes by it: called a use where a CPU accesses memory, and nowhere else.
    heads = [a.head for a in answers(v)]
    assert heads[0] == "What was cached" and heads[1] in ("What changed", "Since when it has to go", "What was so") and heads[2] == "What was missing"
    assert (heads[-1] == "The use") is (account["judged"]["kind"] == "operation" and account["judged"]["usable"])
    assert answers(v)[-1].step == v["depth"]


def ask_of_rule(v: Json) -> None:
    account = v["account"]
    assert account["required"]
    assert 0 < account["step"] <= v["depth"]
    assert account["values"]
    # What is judged as it is done is broken by that step; only of what is seen at a return or in a state, an earlier one may have made it so.
    assert account["step"] == v["depth"] or account["judged"]["kind"] in ("leave", "state")
    for value in account["values"]:
        if value["since"] and "'s " not in value["name"]:  # what a property has noted is no variable
            assert value["name"] in v["steps"][value["since"] - 1]["after"]
            assert all(value["name"] not in s["after"] for s in v["steps"][value["since"] : -1])


def ask_of_wait(v: Json) -> None:
    assert v["account"]["required"]
    assert v["account"]["waits"]
    for wait in v["account"]["waits"]:
        assert wait["cpu"] != wait["awaited"]
        assert all(wait["variable"] not in s["after"] for s in v["steps"][max(wait["since"], v["loop"]) :])
        if wait["masked"]:
            assert any(name.endswith(".if") and not raw for name, (raw, _) in v["steps"][wait["masked"] - 1]["after"].items())
    assert any(wait["masked"] is not None for wait in v["account"]["waits"])


@pytest.mark.parametrize("name", QUICK)
def test_a_newcomer_s_questions_are_answered(name: str) -> None:
    assert violations(name)
    for e, v in violations(name):
        ask(e, v)


@pytest.mark.long
@pytest.mark.parametrize("name", library())
def test_a_newcomer_s_questions_are_answered_all_over_the_library(name: str) -> None:
    assert violations(name)
    for e, v in violations(name):
        ask(e, v)


def test_a_flush_is_called_useless_only_where_a_walk_may_come_after_it() -> None:
    """A walk comes as late as the run allows: where steps are left after it, one of them should have removed the entry."""
    ((_, v),) = violations("linux/deferred-flush@no-pending-mark")
    assert (life_of(v).since, v["account"]["change"], v["depth"]) == (2, 3, 7)
    earlier = {**v, "account": {**v["account"], "change": 1}}
    assert next(a.text for a in answers(earlier) if a.head == "What was missing") == "no step from 3 to 7 drops the watched entry on CPU1"
    ((_, w),) = violations("xen/dirty-mask@mask-cleared-early")
    assert next(a.text for a in answers(w) if a.head == "What was missing").startswith("no flush could remove it in time: after step 9 ")


def test_what_was_read_through_a_cached_entry_is_told_with_that_entry() -> None:
    """Nothing that is judged there is an entry; but the value that decides came through one, and was the same before."""
    (violation,) = verify(meeting.READS.variant("faulty"), [meeting.FRESH], engines=["explicit"])["fresh"].violations
    told = {a.head: a.text for a in answers(violation.told)}
    assert told["What it went by"] == "step 2 goes through the page at its own frame"
    assert told["What decided"] == "seen = own (from the start on, written again in step 3), pte = reused (since step 1)"


def test_each_of_two_entries_that_matter_together_is_named_by_what_it_is() -> None:
    """Two translations of one page; and a translation that a walk made through a cached table, which a flush had left."""
    told = []
    for model, q in ((meeting.TWO, meeting.ONE_FRAME), (meeting.TABLES, meeting.NO_REUSE)):
        (violation,) = verify(model.variant("faulty"), [q], engines=["explicit"])[q.name].violations
        told.append(render(model.name, q.name, violation.told).splitlines())
    two, tables = told
    assert "  Watch: the page at its own frame and the page at its reused frame" in two
    assert "       + speculation caches the page at its own frame" in two
    assert "       + speculation caches the page at its reused frame" in two
    assert two[-5:-1] == [
        "  What was cached: the page at its own frame, by speculation before the first step; the page at its reused frame, by speculation after step 1",
        "  Since when it has to go (step 1): pte := reused",
        "  What was missing: nothing drops the page at its own frame with that step",
        "  Who holds it (step 1): CPU0 still holds the page at its own frame and the page at its reused frame from here on: pte := reused",
    ]
    assert (
        "  What was missing: no flush could remove it in time: after step 3 a walk still makes the page at its reused frame; no step from 1 to 3 drops the table"
        in tables
    )
    assert not any("the watched entry" in line for line in (*two, *tables))


ASSERTING = '''
from tlbcheck import Model, atomic, procedure, shared
ready, busy = shared("ready", bool), shared("busy", bool)
@procedure
def separately() -> None:
    ready.set(True)
    assert not ready.get() or busy.get()
@procedure
def at_once() -> None:
    ready.set(True)
    known = busy.get()
    with atomic("looks"):
        assert known or not ready.get()
@procedure
def skipping() -> None:
    ready.set(True)
    assert not (ready.get() or busy.get())
@procedure
def start() -> None:
    ready.set(False)
model = Model(name="asserting/TASK", title="t", init=start, task=TASK, about=("no-fault",))
'''


def test_what_an_assertion_read_is_named_with_the_step_that_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each access is a step of its own, and what a part that was not evaluated would have read decided nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    decided = {}
    for name in ("separately", "at_once", "skipping"):
        (tmp_path / "models" / f"{name}.py").write_text(ASSERTING.replace("TASK", name))
        ((_, v),) = violations(f"asserting/{name}")
        ask_of_rule(v)
        decided[name] = next(a.text for a in answers(v) if a.head == "What decided")
    assert decided == {
        "separately": "ready = yes (read in step 2), busy = no (read in step 3)",
        "at_once": "ready = yes (read in step 3), known = no",
        "skipping": "ready = yes (read in step 2)",
    }


@pytest.mark.long
def test_a_wait_says_who_waits_for_whom_and_why_that_never_comes() -> None:
    ((_, v),) = violations("xen/shootdown@wait-irqs-off")
    assert [a.text for a in answers(v) if a.head == "Who waits"] == [
        "CPU0 waits for CPU1: flush_lock stays yes (since step 5)",
        "CPU1 waits for CPU0, whose interrupts are off since step 2: cpu0.in_flush_cpumask stays yes",
    ]


@pytest.mark.long
def test_the_change_of_a_shootdown_is_the_mapping_s() -> None:
    """Nothing in that model has page tables: the property names the event."""
    ((_, v),) = violations("xen/shootdown@local-only-flush")
    assert [(a.head, a.step) for a in answers(v)][1] == ("What changed", 1)
    assert v["steps"][0]["text"] == "changes a mapping, which is to be flushed"


def test_steps_elsewhere_name_the_cpu_and_idle_ones_say_so() -> None:
    ((_, v),) = violations("linux/riscv-asid@leaves-mask")
    texts = [s["text"] for s in v["steps"]]
    assert "flush_tlb_page(): reads mm_cpumask and asks every other hart in it to fence the page (changes nothing)" in texts
    assert [a.text for a in answers(v) if a.head == "What was missing"] == ["step 6 would flush it on CPU1 only, and no step from 6 to 11 drops it on CPU0"]
    ((_, w),) = violations("linux/svm-asid@migration-keeps-generation")
    assert "reads vcpu_asid[A]" in [s["text"] for s in w["steps"]]


def test_the_environment_s_steps_are_told_like_the_software_s() -> None:
    ((_, v),) = violations("xen/dirty-mask@mask-cleared-early")
    last = v["steps"][-1]
    assert last["cpu"] is None
    assert last["source"][0]["file"] == "models/xen/lazy_state.py"
    assert f"{v['depth']}. environment flush_for_domain" in render("xen/dirty-mask", "dirty-mask", v)
