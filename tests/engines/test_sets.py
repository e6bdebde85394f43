"""The reachable set as a certificate: of the literal caches, on an encoding that engine ``sets`` does not share."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from strategies import Op, Spec, Target, build, specs

from tlbcheck.engines import packed_search, packed_tables, sets
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.ground import Component, Ground, Row, Start, after, enabled, ground
from tlbcheck.engines.run import ModelEvidence, check
from tlbcheck.engines.sets import Sets
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.errors import InternalError
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, find_properties, models_in, properties, properties_in, split_name
from tlbcheck.options import Limits
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system

BENCH = Path(__file__).parents[2] / "bench"
PROPERTIES = list(properties().values())
NO_FOREIGN = list(properties_in(BENCH / "properties").values())


def cr3race(variant: str = "flushed", numbers: str = "") -> Model:
    base, given_numbers = split_name(f"bench/cr3race{numbers}")
    return models_in(BENCH / "models")[base].with_numbers(given_numbers).variant(variant)


def by_sets(model: Model) -> ModelEvidence:
    return check(model, NO_FOREIGN, engines=("sets",), certify=True)


# -- the system that certificates speak of


@pytest.mark.long
def test_the_unrolled_system_has_the_states_of_the_literal_caches() -> None:
    """Random machines and cr3race: searched as if it had no caches, it has each state and transition once, and the same violations."""
    seen: Counter[str] = Counter()

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(specs(few_entries=True))
    def same(spec: Spec) -> None:
        system = slice_system(lower(build(spec), PROPERTIES))
        seen["models"] += 1
        literal = explore_full(system, fills="free", limit=3_000)
        if not literal.complete or len(list(system.entries())) > 8:
            return
        found = Tracked(unrolled(system)).run()
        assert found.states == literal.states
        assert found.steps_fired >= literal.steps_fired
        assert {v.property for v in found.violations} == {v.property for v in literal.violations}
        seen["compared"] += 1
        seen["violated"] += bool(literal.violations)

    same()
    assert seen["compared"] > 0.5 * seen["models"] and seen["violated"] > 3, seen
    found = Tracked(unrolled(slice_system(lower(cr3race(), NO_FOREIGN)))).run()
    assert (found.states, found.transitions) == (20_952, 147_568)


# -- rows with parts


def random_rows(chosen: random.Random) -> list[Row]:
    """Rows over one control variable (component 0) and two bits of each of two entries, whose parts read what the row itself assigns."""

    def values(among: Sequence[int], most: int) -> dict[int, int]:
        return {c: chosen.randrange(2) for c in chosen.sample(among, chosen.randrange(most + 1))}

    rows = []
    for _ in range(4):
        fixed = values([0, 1, 3], 2)
        parts = []
        for bits in ([1, 2], [3, 4]):
            asked, free = chosen.choice(bits), [b for b in bits if b not in fixed]
            parts.append(tuple(({asked: x}, values(free, len(free))) for x in (0, 1)))
        rows.append(Row(values([0, 1, 2, 3, 4], 2), fixed, 0, (), tuple(parts)))
    return rows


@pytest.mark.parametrize("seed", range(25))
def test_parts_of_a_row_read_the_state_before_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set is what taking one row after the other reaches, from a random state, and no run to a bad state is longer."""
    chosen = random.Random(seed)
    system = lower(cr3race(), NO_FOREIGN)
    components = [Component(f"c{i}", (0, 1), None, None) for i in range(5)]
    start = tuple(chosen.randrange(2) for _ in components)
    rows = random_rows(chosen)
    made = Ground(system, "free", components, rows, starts=[Start(start, 0, ())])
    layers, reached = [{start}], {start}
    while layers[-1]:
        layers.append({after(r, s) for s in layers[-1] for r in rows if enabled(r.guard, s)} - reached)
        reached |= layers[-1]
    monkeypatch.setattr(sets, "ground", lambda *_, **__: made)
    engine = Sets(system)
    result = engine.run()
    assert result.states == len(reached)
    assert result.transitions == sum(enabled(r.guard, s) for s in reached for r in rows)
    depth = len(layers) - 2
    if depth:
        goal = min(layers[depth])
        told = [reduce(lambda a, b: a | b, (engine.cube(dict(enumerate(s))) for s in layers[depth - 1]))]
        before, _ = engine._before(goal, told, cost=1)
        assert before in layers[depth - 1]
        assert any(enabled(r.guard, before) and after(r, before) == goal for r in rows)


# -- the set as plain data


def test_the_set_holds_exactly_the_states_that_enumeration_finds() -> None:
    system = lower(cr3race(), NO_FOREIGN)
    engine = Sets(system)
    engine.run()
    tables = packed_tables.Tables(engine.ground)
    told = engine.members([v.name for v in unrolled(slice_system(system)).control])
    search = packed_search.Plain(tables, [tables.key(s.state) for s in engine.ground.starts], max_states=1 << 30, max_bytes=1 << 40, threads=1, properties=[1] * len(tables.bads))
    assert search.run(600) == packed_search.DONE
    reached = set(search.queue)
    every = itertools.product(*(range(len(b.values)) for b in tables.blocks))
    for numbers in itertools.islice(every, 0, None, 7):
        key = sum(n << b.shift for n, b in zip(numbers, tables.blocks, strict=True))
        state = engine.ground.constants | engine.ground.values(tables.state(key))
        assert told.holds(state) == (key in reached)
    assert not told.holds(state | {"cpu0.cr3": 77})


@pytest.mark.long
def test_a_set_seen_through_fewer_variables_is_the_set_of_the_smaller_system() -> None:
    """What a property does not depend on is left out of its certificate."""
    model = find_models("xen/xpti")[0]
    engine = Sets(lower(model, find_properties([], model)))
    engine.run()
    alone = Sets(lower(model, find_properties(["no-fault"], model)))
    alone.run()
    names = [v.name for v in unrolled(slice_system(alone.system)).control]
    few, same = engine.members(names), alone.members(names)
    assert dict(few.values) == dict(same.values)
    assert 0 < len(few.nodes) == len(same.nodes) < len(engine.members([*engine.ground.constants, *(c.name for c in engine.ground.components)]).nodes)


# -- what z3 says of it


@pytest.mark.parametrize("numbers", ["", ":pages=2", ":cpus=3,pcids=3"])
def test_z3_shows_the_set_to_be_an_invariant(numbers: str) -> None:
    result = by_sets(cr3race(numbers=numbers))
    (found,) = result.literal
    assert found.verdict("no-foreign") == "proved"
    assert len(found.sets["no-foreign"].nodes) < 1_000
    assert "shown by z3 to be an invariant" in result["no-foreign"].reason()
    assert not found.unshown


def test_a_violated_property_has_no_set_to_show() -> None:
    result = by_sets(cr3race("unflushed"))
    assert result["no-foreign"].verdict == "violated"
    assert not result.literal[0].sets and not result.literal[0].unshown


def test_what_z3_cannot_decide_in_time_is_said_and_not_certified() -> None:
    result = check(cr3race(numbers=":pages=2"), NO_FOREIGN, engines=("sets",), certify=True, limits=Limits(seconds=0.01))
    assert result["no-foreign"].verdict == "proved"
    assert "no-foreign" not in result.literal[0].sets
    assert re.search("not shown by another solver .*did not finish", result["no-foreign"].reason())


# -- seeded faults


def lost(what: Callable[[Ground], None]) -> Callable[..., Ground]:
    """Grounding that loses something."""
    whole = ground

    def grounded(*args: Any, **more: Any) -> Ground:
        made: Ground = whole(*args, **more)
        what(made)
        return made

    return grounded


def without_evictions(g: Ground) -> None:
    bits = {i for i, c in enumerate(g.components) if c.entry is not None}
    g.rows[:] = [r for r in g.rows if r.step is not None or not all(r.assign[b] == 0 for b in bits & r.assign.keys())]


def without_fills(g: Ground) -> None:
    bits = {i for i, c in enumerate(g.components) if c.entry is not None}
    g.rows[:] = [r for r in g.rows if r.step is not None or not any(r.assign[b] == 1 for b in bits & r.assign.keys())]


def without_a_step(g: Ground) -> None:
    gone = next(r.step for r in g.rows if r.step is not None)
    g.rows[:] = [r for r in g.rows if r.step != gone]


def without_the_start(g: Ground) -> None:
    g.starts.pop()


def keeps_everything() -> Model:
    """A CPU that flushes nothing, and may start with its one entry cached: it goes by eviction only."""
    return build(Spec(body=(Op("CR4", "as asked"),), targets=(Target(0, None, False, False),), pages=(0,), roots=(0,), tags=(0,)))


GROUND_FAULTS = {
    "evictions": (keeps_everything, without_evictions, "initial"),
    "fills": (cr3race, without_fills, "inductive"),
    "a step": (cr3race, without_a_step, "inductive"),
    "the start": (cr3race, without_the_start, "initial"),
}


@pytest.mark.parametrize("name", GROUND_FAULTS)
def test_fault_a_set_that_is_closed_under_too_little(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows lose something: the set is closed under what is left, so that only z3 can tell, on its own encoding."""
    model, fault, obligation = GROUND_FAULTS[name]
    made = model()
    names = NO_FOREIGN if model is cr3race else find_properties(["no-fault"])
    assert check(made, names, engines=("sets",), certify=True).literal[0].sets
    monkeypatch.setattr(sets, "ground", lost(fault))
    with pytest.raises(InternalError, match=f"z3 refutes obligation '{obligation}'"):
        check(made, names, engines=("sets",), certify=True)


def test_fault_a_set_that_holds_something_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "ground", lost(lambda g: g.bads.clear()))
    with pytest.raises(InternalError, match="z3 refutes obligation 'safe'"):
        by_sets(cr3race("unflushed"))


def test_fault_a_set_that_lost_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagrams themselves see it; if they are not asked, z3 does."""
    whole = Sets._fixpoint

    def fewer(self: Sets) -> object:
        found = whole(self)
        return found & ~self.cube(dict(enumerate(self.state_of(found & ~self.starts()))))

    monkeypatch.setattr(Sets, "_fixpoint", fewer)
    with pytest.raises(InternalError, match="is not closed"):
        by_sets(cr3race())
    monkeypatch.setattr(Sets, "closed", lambda self: True)
    with pytest.raises(InternalError, match="z3 refutes obligation 'inductive'"):
        by_sets(cr3race())


def test_fault_a_diagram_read_off_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two sides of one variable are exchanged."""
    whole = Sets.members

    def exchanged(self: Sets, names: list[str]) -> object:
        found = whole(self, names)
        return replace(found, nodes=tuple((n, bit, no, yes) if n == "cpu0.dirty" else (n, bit, yes, no) for n, bit, yes, no in found.nodes))

    monkeypatch.setattr(Sets, "members", exchanged)
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        by_sets(cr3race())


def test_fault_engines_of_the_literal_caches_that_count_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    """``full`` and ``sets`` visit the same states: if one misses some, that is an internal error although both say proved."""
    model, names = keeps_everything(), find_properties(["no-fault"])
    assert check(model, names, engines=("full", "sets"))["no-fault"].verdict == "proved"
    monkeypatch.setattr(sets, "ground", lost(without_evictions))
    with pytest.raises(InternalError, match="2 states are found by full and 1 states are found by sets"):
        check(model, names, engines=("full", "sets"))
