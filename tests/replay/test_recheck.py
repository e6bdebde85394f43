"""The re-check of proofs, which knows procedures only, against the explicit engine, which knows their lowering.

They must reach the same: every value of the shared variables, and with it every cached entry.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import Spec, build, specs

from tlbcheck import CACHED, Event, Interrupt, Model, Procedure, Property, atomic, choose, marker, procedure, require, shared, u64, var
from tlbcheck.engines.explicit import Tracked
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import FALSE, and_, eq, not_
from tlbcheck.lang.program import per_cpu
from tlbcheck.lang.types import BOOL, enum_type
from tlbcheck.library import find_models, properties
from tlbcheck.machine import x86
from tlbcheck.replay.interpreter import Entry
from tlbcheck.replay.recheck import Recheck, Tlbs, recheck
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system

PROPERTIES = list(properties().values())
Shared = tuple[int, ...]
Reached = dict[Shared, list[set[Entry]]]


def by_explicit(model: Model, chosen: Sequence[Property]) -> tuple[list[str], Reached, set[tuple[str, str]]]:
    """The shared variables that matter; with each of their values, the entries that each CPU can have cached; what is violated."""
    search = Tracked(slice_system(lower(model, chosen)))
    result = search.run()
    assert result.complete
    c = search.compiled
    fields = [f"entry.{name}" for name, _, _ in model.cache.fields] if model.cache else []
    entries = [tuple(e[f] for f in fields) for e in c.entries] if fields else []
    cached = [c.entry_variables.index(name) for name in search.system.cached.values()]
    names = sorted(set(c.variables) & shared_names(model))
    at = [c.position[n] for n in names]
    reached: Reached = {}
    for s, known in search.reached.items():
        tlb = reached.setdefault(tuple(s[i] for i in at), [set() for _ in range(model.cpus)])
        for bits, mask in known.items():
            for cpu, i in enumerate(cached):
                if bits[i]:
                    tlb[cpu].update(e for n, e in enumerate(entries) if mask >> n & 1)
    return names, reached, {(v.property, v.clause) for v in result.violations}


def shared_names(model: Model) -> set[str]:
    made = {f"case.{c.name}" for c in model.cases}
    for v in model.state_variables():
        if v.index is not None:
            made |= {f"{v.name}[{v.index.show(i)}]" for i in v.index.values()}
        else:
            made |= {f"cpu{c}.{v.name}" for c in range(model.cpus)} if v.per_cpu else {v.name}
    return made


def both(model: Model, chosen: Sequence[Property]) -> Recheck:
    """Re-checked, with exactly what the explicit engine reached and found violated."""
    names, expected, violated = by_explicit(model, chosen)
    reached: Reached = {}

    def inside(memory: Mapping[str, int], tlbs: Tlbs) -> bool:
        now = tuple(memory[n] for n in names)
        for mine, tlb in zip(reached.setdefault(now, [set() for _ in range(model.cpus)]), tlbs, strict=True):
            mine |= tlb
        return now in expected and all(tlb <= allowed for tlb, allowed in zip(tlbs, expected[now], strict=True))

    result = recheck(model, chosen, inside=inside)
    assert result.outside is None, "re-checking reaches what the explicit engine does not"
    assert result.complete
    assert reached == expected, "re-checking does not reach what the explicit engine does"
    assert result.violated == violated
    return result


# -- the library


@pytest.mark.long
def test_a_proof_of_the_library_is_confirmed() -> None:
    result = both(find_models("xen/before-pcid")[0], PROPERTIES)
    assert result.holds
    assert result.configurations > 10_000


@pytest.mark.long
def test_a_violation_is_found_without_the_engines() -> None:
    result = both(find_models("xen/before-pcid@cr4-not-restored")[0], PROPERTIES)
    assert result.violated == {("switch-lands", "CR4")}
    assert not result.holds


def test_the_limit_leaves_the_visit_incomplete() -> None:
    result = recheck(find_models("xen/before-pcid")[0], PROPERTIES, limit=100)
    assert result.configurations == 100
    assert not result.complete and not result.holds


@pytest.mark.long
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(specs())
def test_random_machines(spec: Spec) -> None:
    both(build(spec), PROPERTIES)


# -- an interrupt


FLAG = shared("flag", bool)
COUNT = per_cpu("count", u64)
work = marker("work", "works")


@procedure(role="handler")
def handler() -> None:
    FLAG.set(True)
    COUNT.set((COUNT.get() + 1) & 1)


@procedure
def clears() -> None:
    FLAG.set(False)


@procedure
def interrupted() -> None:
    while True:
        seen = FLAG.get()
        x86.CLI()
        assert seen == FLAG.get()
        FLAG.set(False)
        x86.STI()


@procedure
def with_interrupts() -> None:
    x86.IF.set(True)


def irq_model(**more: Any) -> Model:
    return Model(name="mine/irq", title="a flag that a handler sets", init=with_interrupts, task=interrupted, interrupts=(Interrupt(handler, x86.IF),), **more)


ASSERTED = Property("asserted", "what is asserted holds", source="here", clauses={"assert": "it does not"})
ASSERTED.on(Event("assert"), bad={"assert": not_(FALSE)})


def test_an_interrupt_arrives_between_any_two_steps() -> None:
    assert both(irq_model(), [ASSERTED]).violated == {("asserted", "assert")}


def test_two_cpus_meet_in_every_order() -> None:
    assert both(irq_model(cpus=2), [ASSERTED]).violated == {("asserted", "assert")}


# -- actions of the environment, and locals that outlive steps


class Page(enum.Enum):
    data = enum.auto()


class Frame(enum.Enum):
    old = enum.auto()
    new = enum.auto()


PTE = shared("pte", Frame)
_FRAME = var("entry.frame", enum_type(Frame))
FRESH = Property("fresh", "what is cached is what memory says, when it is used", source="here", clauses={"stale": "it is not"})
FRESH.on(Event("operation", "work"), bad={"stale": and_(CACHED, var("meaning.usable", BOOL), not_(eq(_FRAME, PTE.expr)))})


@procedure
def pages_on() -> None:
    x86.CR0.set(x86.X86_CR0_PG)


@procedure
def remapped_by_hardware(to: Frame) -> None:
    """Someone else writes the page table."""
    require(PTE.get() != to)
    PTE.set(to)


@procedure
def flush_and_use() -> None:
    while True:
        times = choose((0, 1, 2))
        while times != 0:
            x86.INVLPG(0, True)
            times = times - 1
        work()


@procedure
def remap_flush_and_use() -> None:
    while True:
        with atomic:
            PTE.set(choose(Frame))
            x86.INVLPG(0, True)
        work()


def remap_model(task: Procedure, *actions: Procedure) -> Model:
    return Model(
        name="mine/remap",
        title="a page-table entry that changes",
        init=pages_on,
        task=task,
        actions=actions,
        cache=x86.tlb(
            tags=(0,),
            fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))),
            walk=eq(_FRAME, PTE.expr),
            leaf_global=FALSE,
            initial=eq(_FRAME, PTE.expr),
            describe=lambda entry: "the page",
        ),
        meanings={"usable": x86.USABLE},
    )


def test_an_action_of_the_environment_happens_at_any_time() -> None:
    assert both(remap_model(flush_and_use, remapped_by_hardware), [FRESH]).violated == {("fresh", "stale")}


def test_nothing_happens_inside_an_atomic_step() -> None:
    result = both(remap_model(remap_flush_and_use), [FRESH])
    assert result.holds


def test_a_clause_over_a_mark_alone_is_about_every_entry() -> None:
    marked = Property("marked", "nothing was walked when it is used", source="here", clauses={"walked": "something was"})
    walked = marked.ghost("walked", per_entry=True)
    marked.on(Event("fill"), {walked: True})
    marked.on(Event("operation", "work"), bad={"walked": walked.expr})
    # Somebody has to write what the walk reads.
    assert both(remap_model(flush_and_use, remapped_by_hardware), [marked]).violated == {("marked", "walked")}


def test_each_of_two_interrupts_arrives() -> None:
    model = irq_model()
    both(replace(model, interrupts=(*model.interrupts, Interrupt(clears, x86.IF))), [ASSERTED])


# -- what is asked of it


def test_what_is_not_allowed_ends_the_visit() -> None:
    result = recheck(irq_model(), [], inside=lambda memory, tlbs: memory["flag"] == 0)
    assert result.outside is not None and result.outside.memory["flag"] == 1
    assert not result.complete and not result.holds


@procedure
def spins() -> None:
    while True:
        pass


def test_a_loop_without_a_step_is_refused() -> None:
    model = Model(name="mine/spins", title="does nothing for ever", init=with_interrupts, task=spins)
    with pytest.raises(InputError, match="a loop without a step"):
        recheck(model, [])


@procedure
def counts_too_far() -> None:
    left = choose((1, 2))
    while left != 0:
        work()
        left = left - 1


def test_a_local_that_leaves_its_range_is_refused() -> None:
    model = Model(name="mine/counts", title="counts below its least value", init=with_interrupts, task=counts_too_far)
    with pytest.raises(InputError, match=r"an assignment to left leaves its range 1\.\.2"):
        recheck(model, [])
