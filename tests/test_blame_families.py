"""Why a run goes wrong, for families that the library has not: each small model has one line missing or misplaced, and is told which.

And what a run that never ends, or that goes wrong at its start, comes down to.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import meeting
import pytest

from tlbcheck import CACHED, Event, Interrupt, Model, Procedure, Property, atomic, choose, cpus, leave, marker, operation, per_cpu, procedure, require, requires, shared, this_cpu, var, verify
from tlbcheck.blame import blame_shown
from tlbcheck.engines.run import check
from tlbcheck.lang.expr import FALSE, TRUE, and_, eq, not_
from tlbcheck.lang.types import BOOL, enum_type
from tlbcheck.machine import x86
from tlbcheck.report.answers import answers


class Page(enum.Enum):
    data = enum.auto()


present = shared("present", bool)
patching = shared("patching", bool)
freed = shared("freed", bool)
asked = per_cpu("asked", bool)
seen = per_cpu("seen", bool)
wants = per_cpu("wants", bool)
lock_a, lock_b, held = shared("lock_a", bool), shared("lock_b", bool), shared("held", bool)
use, works = marker("use", "touches the page"), marker("works", "works")

STALE = Property("own-stale", "nobody touches what is gone", source="this test", trigger=operation("use"), clauses={"stale": "a stale entry can be used"})
STALE.on(operation("use"), bad={"stale": and_(CACHED, var("meaning.usable", BOOL), not_(var("meaning.may", BOOL)))})
FREED = Property("own-freed", "no freed table is walked", source="this test", trigger=leave("frees"), clauses={"walk": "a freed table is still cached"})
FREED.never("walk", and_(CACHED, freed.expr))
ENDS = Property("own-ends", "whoever wants locks gets on", source="this test", trigger=operation("works"), clauses={"waits": "a CPU wants its locks for ever"})
ENDS.eventually_not("waits", wants.expr)
KEEPS = Property("own-requires", "callers keep to what is required", source="this test", trigger=Event("requires"), clauses={"call": "a call breaks what is required"})
KEEPS.on(Event("requires"), bad={"call": TRUE})


DONE = Property("own-done", "it is held at the return", source="this test", trigger=leave("does"), clauses={"not": "it is not"})
DONE.on(leave("does"), bad={"not": not_(held.expr)})


@procedure
def start() -> None:
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.IF.at(cpu).set(True)
    present.set(True)


def cached(name: str, task: Procedure, n: int = 1, init: Procedure = start, walk: Any = TRUE, tags: tuple[int, ...] = (0,), interrupts: Sequence[Interrupt] = ()) -> Model:
    """One page, which is mapped where ``present`` says so."""
    mapped = and_(present.expr, walk)
    tlb = x86.tlb(
        tags=tags, fields=(("page", enum_type(Page), (0,)),), walk=mapped, leaf_global=FALSE, possible=not_(x86.GLOBAL), initial=and_(mapped, eq(x86.TAG, tags[0])), describe=lambda entry: "the page"
    )
    return Model(name=f"own/{name}", title=name, init=init, task=task, cpus=n, cache=tlb, meanings={"usable": x86.USABLE, "may": mapped}, interrupts=tuple(interrupts))


# -- a flush that is put off until the CPU sees a mark, and that the mark's reader forgets


@procedure
def forgets_the_flush() -> None:
    while True:
        with atomic("takes the page away, and marks it"):
            require(present.get())
            present.set(False)
            seen.set(True)
        if seen.get():
            seen.set(False)
        use()


# -- NMIs that read the page while it changes


@procedure
def nmi() -> None:
    if not patching.get():
        use()


@procedure
def lets_nmis_in_too_early() -> None:
    while True:
        patching.set(True)
        present.set(choose(bool))
        patching.set(False)
        x86.INVLPG(Page.data, True)


@procedure
def never_flushes() -> None:
    while True:
        patching.set(True)
        present.set(choose(bool))
        patching.set(False)


# -- page tables that are freed


@procedure
def flush_ipi() -> None:
    x86.INVLPG(Page.data, True)
    asked.set(False)


@procedure
def flush_others() -> None:
    with atomic("asks the other CPUs"):
        for cpu in cpus():
            if cpu != this_cpu():
                asked.at(cpu).set(True)
    with atomic("waits until they have flushed"):
        for cpu in cpus():
            require(not asked.at(cpu).get())


@procedure(role="frees")
def frees() -> None:
    present.set(False)
    x86.INVLPG(Page.data, True)
    flush_others()
    freed.set(True)


@procedure(role="frees")
def frees_early() -> None:
    present.set(False)
    freed.set(True)
    x86.INVLPG(Page.data, True)
    flush_others()


@procedure(role="frees")
def frees_locally() -> None:
    present.set(False)
    x86.INVLPG(Page.data, True)
    freed.set(True)


@procedure
def links_again() -> None:
    freed.set(False)
    present.set(True)


@procedure
def one_frees_early() -> None:
    while True:
        if this_cpu() == 0:
            frees_early()
            links_again()
        else:
            works()


@procedure
def one_frees_locally() -> None:
    while True:
        if this_cpu() == 0:
            if choose(bool):
                frees()
            else:
                frees_locally()
            links_again()
        else:
            works()


# -- a flush of another PCID

A, B = 0x1001, 0x2002


@procedure
def start_in_a() -> None:
    x86.CR0.set(x86.X86_CR0_PG)
    x86.CR4.set(x86.X86_CR4_PAE | x86.X86_CR4_PCIDE)
    x86.CR3.set(A)
    present.set(True)


@procedure
def flushes_the_wrong_pcid() -> None:
    while True:
        x86.MOV_TO_CR3(B | x86.X86_CR3_NOFLUSH)
        present.set(False)
        x86.INVPCID_CONTEXT(2)
        x86.MOV_TO_CR3(A | x86.X86_CR3_NOFLUSH)
        use()
        present.set(True)


# -- locks


@procedure
def take_a() -> None:
    with atomic("takes A"):
        require(not lock_a.get())
        lock_a.set(True)


@procedure
def take_b() -> None:
    with atomic("takes B"):
        require(not lock_b.get())
        lock_b.set(True)


@procedure
def takes_in_both_orders() -> None:
    wants.set(True)
    if this_cpu() == 0:
        take_a()
        take_b()
    else:
        take_b()
        take_a()
    works()
    lock_b.set(False)
    lock_a.set(False)
    wants.set(False)
    while True:
        works()


@procedure
def keeps_b() -> None:
    wants.set(True)
    take_a()
    take_b()
    works()
    lock_a.set(False)
    wants.set(False)
    while True:
        works()


@procedure
def one_answers_no_more() -> None:
    if this_cpu() == 1:
        x86.CLI()
        while True:
            works()
    wants.set(True)
    with atomic("asks the others"):
        for cpu in cpus():
            if cpu != this_cpu():
                asked.at(cpu).set(True)
    waits_for_answers()
    wants.set(False)
    while True:
        works()


@procedure
def waits_for_answers() -> None:
    while True:
        with atomic("looks whether all have answered"):
            left: bool = False
            for cpu in cpus():
                if asked.at(cpu).get():
                    left = True
        if not left:
            return


@procedure
def takes_a_again_and_again() -> None:
    while True:
        wants.set(True)
        take_a()
        works()
        lock_a.set(False)
        wants.set(False)


@procedure
def takes_a_twice() -> None:
    wants.set(True)
    take_a()
    take_a()
    while True:
        works()


# -- a requirement that is broken inside one step, and one at the start


@procedure
def put() -> None:
    requires(held.get())
    works()


@procedure
def lets_go_too_early() -> None:
    while True:
        with atomic("takes it, and lets go again"):
            require(not held.get())
            held.set(True)
            held.set(False)
            put()
            held.set(False)


@procedure
def start_without() -> None:
    put()


@procedure
def idles() -> None:
    while True:
        works()


# -- a return without what was to be done


@procedure(role="does")
def forgets_it() -> None:
    works()


@procedure
def does_not() -> None:
    while True:
        forgets_it()
        held.set(False)


NMI = Interrupt(nmi, None, level="nmi")
IPI = Interrupt(flush_ipi, x86.IF, when=asked.expr)
FAMILIES = {
    "a deferred flush": (cached("deferred", forgets_the_flush), STALE, "missing: line {} of forgets_the_flush ({}) needs INVLPG of data after it", "with atomic("),
    "an NMI let in too early": (cached("nmi-early", lets_nmis_in_too_early, interrupts=[NMI]), STALE, "misplaced: line {} of lets_nmis_in_too_early ({}) comes too early", "patching.set(False)"),
    "no flush anywhere": (cached("no-flush", never_flushes, interrupts=[NMI]), STALE, "missing: line {} of never_flushes ({}) needs INVLPG of data after it", "present.set(choose(bool))"),
    "a table freed too early": (cached("freed-early", one_frees_early, n=2, interrupts=[IPI]), FREED, "misplaced: line {} of frees_early ({}) comes too early", "freed.set(True)"),
    "a table freed without the others": (
        cached("freed-locally", one_frees_locally, n=2, interrupts=[IPI]),
        FREED,
        "missing: line {} of frees_locally ({}) needs flush_others() after it",
        "x86.INVLPG(Page.data, True)",
    ),
    "a flush of another PCID": (
        cached("wrong-pcid", flushes_the_wrong_pcid, init=start_in_a, walk=eq(x86.ROOT_ADDRESS, 0x1000), tags=(1, 2)),
        STALE,
        "missing: line {} of flushes_the_wrong_pcid ({}) needs a flush of everything (INVPCID type 2) after it",
        "x86.INVPCID_CONTEXT(2)",
    ),
    "locks in both orders": (Model(name="own/orders", title="locks", init=start, task=takes_in_both_orders, cpus=2), ENDS, "misplaced: line {} of takes_in_both_orders ({}) comes too early", "take_"),
    "a lock that is kept": (Model(name="own/kept", title="locks", init=start, task=keeps_b, cpus=2), ENDS, "missing: line {} of keeps_b ({}) needs lock_b.set(False) after it", "lock_a.set(False)"),
    "interrupts that stay off": (
        Model(name="own/masked", title="asks", init=start, task=one_answers_no_more, cpus=2, interrupts=(IPI,)),
        ENDS,
        "needless: line {} of one_answers_no_more ({}) should not be done there",
        "x86.CLI()",
    ),
    "inside one step": (Model(name="own/atomic", title="puts", init=start, task=lets_go_too_early), KEEPS, "misplaced: line {} of lets_go_too_early ({}) comes too early", "held.set(False)"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_line_that_is_missing_or_misplaced_is_named(family: str) -> None:
    model, prop, sentence, line = FAMILIES[family]
    found = check(model, [prop], engines=("explicit",), cases=True, meanwhile=blame_shown)
    ((_, blamed),) = found.blame.items()
    before, after = sentence.split("{} of")
    said = f"{blamed.get('kind')}: {blamed.get('text', blamed)}"
    assert said.startswith(before)
    head, tail = after.split("({})")
    assert f"{head}({line}" in said and f"){tail}" in said
    assert said.endswith(f"and {prop.name} holds")


def test_where_only_literal_caches_tell_all_the_line_is_named_too() -> None:
    """A program goes on with what it read through the TLB: no number of tracked entries is enough."""
    found = check(meeting.READS.variant("faulty"), [meeting.FRESH], engines=("explicit",), meanwhile=blame_shown)
    assert found.decided.entries == 0
    ((_, blamed),) = found.blame.items()
    assert blamed["text"].startswith("line 108 of read (FLUSH()) is skipped on some paths that need it") and blamed["text"].endswith("and fresh holds")


def story(task: Procedure, prop: Property, n: int = 1, init: Procedure = start) -> dict[str, list[str]]:
    """The answers about the violation of ``prop``, by what they answer."""
    model = Model(name=f"own/{task.name.replace('_', '-')}-{n}", title=task.name, init=init, task=task, cpus=n)
    (violation,) = verify(model, [prop], engines=["explicit"])[prop.name].violations
    told: dict[str, list[str]] = {}
    for a in answers(violation.told):
        told.setdefault(a.head, []).append(a.text)
    return told


def test_who_waits_for_whom_is_told_of_those_that_wait() -> None:
    """Of a cycle both, with three CPUs the third too; none of a CPU that gets on."""
    cycle = ["CPU0 waits for CPU1: lock_b stays yes (since step 4)", "CPU1 waits for CPU0: lock_a stays yes (since step 2)"]
    assert story(takes_in_both_orders, ENDS, 2)["Who waits"] == cycle
    assert story(takes_in_both_orders, ENDS, 3)["Who waits"] == [*cycle, "CPU2 waits for CPU1: lock_b stays yes (since step 4)"]
    assert story(keeps_b, ENDS, 2)["Who waits"] == ["CPU0 waits for CPU1: lock_b stays yes (since step 4)"]


def test_a_cpu_that_waits_for_what_it_keeps_itself_is_told() -> None:
    told = story(takes_a_twice, ENDS)
    assert told["Who waits"] == ["CPU0 waits for itself: lock_a stays yes (since step 2)"]
    assert told["What stays so"] == ["cpu0.wants = yes (since step 1)"]


def test_what_comes_free_and_is_taken_by_another_each_time_is_not_said_to_stay() -> None:
    """Locks need not be fair: what is awaited changes while the run repeats, and back."""
    told = story(takes_a_again_and_again, ENDS, 2)
    assert told["Who waits"] == ["CPU0 waits for CPU1: whenever lock_a changes from yes, CPU1 makes it so again before CPU0 goes on (step 3)"]
    assert told["What stays so"] == ["cpu0.wants = yes (since step 1)"]


def test_what_goes_wrong_at_the_start_names_the_line() -> None:
    told = story(idles, KEEPS, init=start_without)
    ((broken,), (decided,)) = told["What broke it"], told["What decided"]
    assert broken.startswith("start_without() calls put(), which requires held.get() (tests/test_blame_families.py:")
    assert decided == "held = no (from the start on)"


def test_what_nothing_ever_made_so_is_not_put_down_to_the_last_step_alone() -> None:
    told = story(does_not, DONE)
    assert told["What broke it"] == ["does returns, and nothing before makes it so: works"]
    assert told["What decided"] == ["held = no (from the start on)"]


def test_what_a_step_changed_before_it_was_judged_is_not_from_the_start_on() -> None:
    assert story(lets_go_too_early, KEEPS)["What decided"] == ["held = no (since step 1)"]
