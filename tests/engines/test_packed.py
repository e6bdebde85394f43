"""The engines that ground a model agree with the literal search in every state, depth and step, and with replay."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from strategies import Spec, build, specs

from tlbcheck.engines import packed_search, packed_tables
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.ground import Component, Ground, Row, Start, TooLarge, ground
from tlbcheck.engines.literal import explore_tracked
from tlbcheck.engines.packed import Packed, Progress
from tlbcheck.engines.run import confirm
from tlbcheck.engines.sets import Sets
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import const, var
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import shared
from tlbcheck.lang.types import U64
from tlbcheck.library import models_in, properties, properties_in, split_name
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

PROPERTIES = list(properties().values())
LIMIT = 3_000
"""Larger models are left out: the search in Python takes too long."""

compiled = pytest.mark.skipif(packed_search.library() is None, reason="the package was built without the compiled loop")


def few(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def said(result: EngineResult) -> dict[str, int]:
    """The depth of the shortest violation of each property and clause."""
    assert not result.reason
    return {f"{v.property} {v.clause}": v.depth for v in result.violations}


def found_by(result: EngineResult) -> dict[str, int | None]:
    assert not result.reason
    return {q.name: v.depth if (v := result.shortest(q.name)) else None for q in PROPERTIES}


def system_of(spec: Spec) -> TransitionSystem:
    return lower(build(spec), PROPERTIES)


def confirmed(system: TransitionSystem, result: EngineResult) -> None:
    """Every trace is replayed on the procedures, by code that no engine shares."""
    for v in result.violations:
        assert v.trace is not None and v.trace.depth == v.depth
        shortest = result.shortest(v.property)
        assert shortest is not None
        confirm(system, v, result.engine, first=v.depth == shortest.depth)


@pytest.mark.long
def test_random_machines_with_free_fills() -> None:
    """States, depths of all clauses and steps taken, for the compiled loop, the same in Python, and sets."""
    seen: Counter[str] = Counter()

    @few(15)
    @given(specs(few_entries=True))
    def check(spec: Spec) -> None:
        system = system_of(spec)
        literal = explore_full(slice_system(system), fills="free", limit=LIMIT)
        seen["models"] += 1
        if not literal.complete:
            return
        sets = Sets(system)
        by_sets = sets.run()
        results = [by_sets, *(Packed(system, compiled=c).run() for c in (True, False))]
        if results[1].bound < 0:
            assert "too large" in results[1].reason
            return
        for r in results:
            assert found_by(r) == found_by(literal), r.engine
            confirmed(system, r)
        assert said(by_sets) == said(literal)
        assert (by_sets.states, by_sets.steps_fired) == (literal.states, literal.steps_fired)
        if not any(b.property for b in sets.ground.bads):
            return
        every = {b.property for b in sets.ground.bads}
        if every - {v.property for v in literal.violations}:  # else the search may end early
            for r in results[1:]:
                assert (r.states, r.transitions, r.steps_fired) == (literal.states, by_sets.transitions, literal.steps_fired)
        assert sets.closed()
        seen["compared"] += 1
        seen["violated"] += bool(literal.violations)

    check()
    assert seen["compared"] > 0.5 * seen["models"], seen
    assert seen["violated"] > 0.2 * seen["models"], seen


@pytest.mark.long
def test_random_machines_with_saturated_fills() -> None:
    """Saturation by table. Machines whose entries are too many to tell apart are refused, and say so."""
    seen: Counter[str] = Counter()

    @few(25)
    @given(specs(few_entries=True))
    def check(spec: Spec) -> None:
        system = system_of(spec)
        literal = explore_full(slice_system(system), fills="saturated")
        results = [Packed(system, fills="saturated", compiled=c).run() for c in (True, False)]
        seen["models"] += 1
        if results[0].bound < 0:
            assert "too large" in results[0].reason
            return
        for r in results:
            assert found_by(r) == found_by(literal)
            confirmed(system, r)
            if not literal.violations:
                assert (r.states, r.transitions, r.steps_fired) == (literal.states, literal.transitions, literal.steps_fired)
        seen["compared"] += 1

    check()
    assert seen["compared"] > 0.8 * seen["models"], seen


def cr3race(name: str) -> TransitionSystem:
    bench = Path(__file__).parents[2] / "bench"
    base, numbers = split_name(name.partition("@")[0])
    model = models_in(bench / "models")[base].with_numbers(numbers).variant(name.partition("@")[2])
    return lower(model, list(properties_in(bench / "properties").values()))


def test_cr3race_has_the_states_and_transitions_of_its_specification() -> None:
    """../shared/bench/cr3race/README.md, size S; each state and each enabled instance counted once."""
    system = cr3race("bench/cr3race@flushed")
    for result in (Packed(system).run(), Packed(system, symmetry=False).run(), Packed(system, compiled=False).run(), Sets(system).run()):
        assert (result.states, result.transitions) == (20_952, 147_568)
        assert result.verdict("no-foreign") == "proved"


@pytest.mark.long
def test_one_tracked_entry_by_tables_has_the_states_that_the_explicit_engine_visits() -> None:
    """Random machines and cr3race; entry after entry, with symmetry: states, transitions, depths and steps."""
    seen: Counter[str] = Counter()

    def same(system: TransitionSystem) -> None:
        small = slice_system(system)
        python = Tracked(small).run()
        tables = explore_tracked(system, max_states=None, max_bytes=1 << 32, threads=1, symmetry=True)
        seen["models"] += 1
        if tables is not None:
            seen["compared"] += 1
            assert (tables.states, tables.transitions, tables.steps_fired) == (python.states, python.transitions, python.steps_fired)
            assert {(q.property, q.clause): q.depth for q in tables.violations} == {(q.property, q.clause): q.depth for q in python.violations}
            confirmed(system, tables)

    @few(15)
    @given(specs(few_entries=True))
    def check(spec: Spec) -> None:
        same(system_of(spec))

    check()
    same(cr3race("bench/cr3race@flushed"))
    same(cr3race("bench/cr3race@unflushed"))
    assert seen["compared"] > 0.9 * seen["models"], seen


@compiled
def test_cr3race_at_the_larger_sizes() -> None:
    medium, large = cr3race("bench/cr3race:pages=2@flushed"), cr3race("bench/cr3race:cpus=3,pcids=3@flushed")
    for result in (Packed(medium, threads=2, symmetry=False).run(), Packed(medium).run(), Sets(medium).run()):
        assert (result.states, result.transitions) == (519_528, 5_658_016)
    for result in (Packed(large).run(), Sets(large).run()):
        assert (result.states, result.transitions) == (13_632_786, 139_849_254)


@pytest.mark.parametrize("numbers", ["", ":cpus=3,pcids=3"])
def test_cr3race_without_the_flush_is_violated_at_the_depth_that_tracking_finds(numbers: str) -> None:
    system = cr3race(f"bench/cr3race{numbers}@unflushed")
    for result in (Packed(system).run(), Packed(system, symmetry=False).run(), Packed(system, compiled=False).run(), Sets(system).run()):
        assert said(result) == {"no-foreign foreign": 4}
        confirmed(system, result)
    assert Tracked(cr3race("bench/cr3race@unflushed")).run().violations[0].depth == 4


@compiled
@pytest.mark.parametrize(("widths", "bits"), [((64, 128), 33), ((128,), 33), ((32, 64, 128), 0), ((64, 128), 0), ((128,), 0)])
def test_every_width_of_key_and_both_sets_of_seen_states(monkeypatch: pytest.MonkeyPatch, widths: tuple[int, ...], bits: int) -> None:
    """``bits`` 0: open addressing instead of a bit for each possible state."""
    monkeypatch.setattr(packed_tables, "_WIDTHS", widths)
    monkeypatch.setattr(packed_search, "_BITS_OF_SEEN", bits)
    for symmetry in (True, False):
        result = Packed(cr3race("bench/cr3race@flushed"), symmetry=symmetry).run()
        assert (result.states, result.transitions) == (20_952, 147_568)
    assert said(Packed(cr3race("bench/cr3race@unflushed")).run()) == {"no-foreign foreign": 4}


def test_what_stops_a_search_is_said_and_leaves_the_verdict_open() -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    system = cr3race("bench/cr3race@flushed")
    for compiled_loop in (True, False):
        few_states = Packed(system, max_states=1_000, compiled=compiled_loop).run()
        little_memory = Packed(system, max_bytes=20_000, compiled=compiled_loop).run()
        interrupted = Packed(system, progress=interrupt, compiled=compiled_loop).run()
        assert "limit of 1,000 states" in few_states.reason
        assert "MiB" in little_memory.reason
        assert "interrupted" in interrupted.reason
        for result in (few_states, little_memory, interrupted):
            assert not result.complete and result.verdict("no-foreign") == "unknown"
    assert Sets(system, progress=interrupt).run().reason == "interrupted"


@compiled
@pytest.mark.parametrize(("bits", "told"), [(33, "0.0 MiB for the set of states and 4 bytes a state, at most 0.3 MiB"), (0, "12 to 24 bytes a state, at most 1,024.0 MiB")])
def test_memory_is_told_beforehand_and_bounded(monkeypatch: pytest.MonkeyPatch, bits: int, told: str) -> None:
    """With a bit for each possible state, and with open addressing; what is taken is said with every report and never exceeds the limit."""
    monkeypatch.setattr(packed_search, "_BITS_OF_SEEN", bits)
    reports: list[Progress] = []
    for limit in (1 << 16, 1 << 30):
        result = Packed(cr3race("bench/cr3race@flushed"), max_bytes=limit, progress=reports.append).run()
        assert bool(result.reason) == (limit == 1 << 16)
        assert reports and all(r.bytes <= limit for r in reports)
        assert not any(r.beforehand for r in reports[1:])
        last = reports[-1]
        if limit == 1 << 30:
            assert reports[0].beforehand == f"a state takes 16 bits; memory: {told}"
        assert last.depth is not None and last.queue is not None and last.states >= last.queue and last.rate > 0
        reports.clear()


def test_fills_of_several_blocks_that_wait_for_one_another_are_all_made() -> None:
    """To and fro between two CPUs' blocks: what one group of fills adds, another one may wait for."""
    names = ["cpu0.cached[entry]#0", "cpu0.cached[entry]#1", "cpu1.cached[entry]#0", "cpu1.cached[entry]#1", "pte"]
    g = Ground(None, "saturated")  # type: ignore[arg-type]  # tables do not ask for the system
    g.components = [Component(name, (0, 1), int(name[3]) if name != "pte" else None, int(name[-1]) if name != "pte" else None) for name in names]
    g.rows = [Row({c: 1 - x}, {c: x}, 0) for c in range(5) for x in (0, 1)]
    g.closure = [Row({before: 1}, {after: 1}, None) for before, after in ((4, 0), (0, 2), (2, 1), (1, 3))]
    g.starts = [Start((0, 0, 0, 0, 0), 0, ())]
    tables = packed_tables.Tables(g)
    search = packed_search.Plain(tables, [tables.key(g.starts[0].state)], max_states=100, max_bytes=1 << 20, threads=1, properties=[])
    for state in itertools.product((0, 1), repeat=5):
        assert tables.state(search.settle(tables.key(state))) == g.closed(state)


def test_a_model_too_large_for_tables_says_so() -> None:
    with pytest.raises(TooLarge):
        ground(slice_system(cr3race("bench/cr3race@flushed")), "free", limit=10)


def test_a_counter_without_end_is_refused_by_tables() -> None:
    ticks = shared("ticks", U64)
    here = Place("counting", 1)
    tick = p.Procedure("tick", (), here, lambda: [p.Read(place=here, variable=ticks, at=None, target="n"), p.Write(place=here, variable=ticks, at=None, value=var("n", U64) + 1)])
    start = p.Procedure("start", (), here, lambda: [p.Write(place=here, variable=ticks, at=None, value=const(0, U64))])
    system = lower(Model(name="counting", title="counts", init=start, actions=(tick,)), [])
    with pytest.raises(TooLarge, match="values of ticks"):
        ground(system, "free")
    assert Packed(system).run().states == 1  # no verdict needs it
