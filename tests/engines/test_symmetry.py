"""Symmetry: what is renamed is found, searches that use it agree with searches that do not, and faults in it are noticed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from quick import sampled
from strategies import Spec, build, specs

from tlbcheck.engines import orbits, packed, packed_search, symmetry
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.ground import BadCube, Component, Cube, Ground, Row, Start, TooLarge, applied, enabled, ground
from tlbcheck.engines.literal import explore_tracked, suits_tables
from tlbcheck.engines.orbits import Orbits
from tlbcheck.engines.packed import Packed
from tlbcheck.engines.packed_tables import Tables
from tlbcheck.engines.run import confirm
from tlbcheck.engines.symmetry import Renaming, isomorphism, symmetries
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import InputError, InternalError
from tlbcheck.lang.expr import Expr, and_, eq, var
from tlbcheck.lang.types import BOOL, U64, IntType
from tlbcheck.library import models, models_in, properties, properties_in, split_name
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import Bad, TransitionSystem

LOOPS = [packed_search.Plain, *([packed_search.Native] if packed_search.library() is not None else [])]
PROPERTIES = list(properties().values())


def few(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce searches however small they are."""
    monkeypatch.setattr(packed, "UNREDUCED", dict.fromkeys(packed.UNREDUCED, 1))


def cr3race(name: str) -> TransitionSystem:
    bench = Path(__file__).parents[2] / "bench"
    base, numbers = split_name(name.partition("@")[0])
    model = models_in(bench / "models")[base].with_numbers(numbers).variant(name.partition("@")[2])
    return lower(model, list(properties_in(bench / "properties").values()))


# -- what is found


def exchangeable(ground: Ground) -> set[frozenset[str]]:
    """Names, of values and of components, that renamings make into each other, by class; without what is alone."""
    joined = symmetry._Joined()
    for renaming in symmetries(ground):
        for before, after in renaming.moved():
            joined.join(before, after)
    classes: dict[symmetry.Thing, set[str]] = {}
    for c, component in enumerate(ground.components):
        for x, value in enumerate(component.values):
            classes.setdefault(joined.find((c, x)), set()).add(f"{component.name}={value}")
    return {frozenset(c) for c in classes.values() if len(c) > 1}


def test_cpus_pages_pcids_spaces_and_frames_are_found_where_no_start_names_them() -> None:
    """cr3race starts with PCID 0 and root 0 on each CPU, and nothing mapped. A PCID is one CPU's own name, a page is everyone's."""
    cpus, pages, pcids, spaces, frames = range(2), range(2), range(4), range(3), range(3)
    g = ground(slice_system(cr3race("bench/cr3race:cpus=2,pages=2,pcids=4,spaces=3,frames=2@flushed")), "free")
    entry = {(e["entry.tag"], e["entry.page"], e["entry.frame"]): i for i, e in enumerate(g.entries)}

    def cr3(tags: Iterable[int], tables: Iterable[int]) -> frozenset[str]:
        return frozenset(f"cpu{i}.cr3={(s + 1) << 12 | b}" for i in cpus for b in tags for s in tables)

    expected = {cr3([0], [0]), cr3([0], spaces[1:]), cr3(pcids[1:], [0]), cr3(pcids[1:], spaces[1:])}
    for at in (0, 1):
        expected |= {frozenset(f"cpu{i}.cached[entry]#{entry[b, p, f]}={at}" for i in cpus for b in tags for p in pages for f in frames[1:]) for tags in ([0], pcids[1:])}
    for tables in ([0], spaces[1:]):
        expected.add(frozenset(f"pte[{s * 2 + p}]=0" for s in tables for p in pages))
        expected.add(frozenset(f"pte[{s * 2 + p}]={f}" for s in tables for p in pages for f in frames[1:]))
    found = exchangeable(g)
    assert expected <= found
    others = {name for c in found - expected for name in c}
    assert not any(re.search(r"cr3=|cached|pte", name) for name in others)
    # One CPU's PCIDs are renamed without the others', pages are not.
    local = [r for r in symmetries(g) if {g.components[c].owner for (c, _), _ in r.moved()} == {0}]
    assert local and all(g.components[c].name != "pte" for r in local for (c, _), _ in r.moved())


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        (and_(var("cpu1.cached[entry]", BOOL), eq(var("cpu1.dirty", BOOL), 1)), "CPU"),
        (and_(var("cpu0.cached[entry]", BOOL), var("cpu1.cached[entry]", BOOL), eq(var("entry.page", IntType(0, 1)), 1)), "page"),
        (and_(eq(var("cpu0.cr3", U64), 0x1002), eq(var("cpu1.cr3", U64), 0x1002)), "PCID"),
    ],
)
def test_what_a_property_names_is_not_renamed(when: Expr, kept: str) -> None:
    system = slice_system(cr3race("bench/cr3race:pages=2,pcids=3@flushed"))

    def renamed(g: Ground) -> set[str]:
        found = set()
        for r in symmetries(g):
            for (c, x), (d, y) in r.moved():
                a, b = g.components[c], g.components[d]
                if a.name == "cpu0.cr3" == b.name and a.values[x] & 0xFFF != b.values[y] & 0xFFF:
                    found.add("PCID")
                elif a.name.startswith("pte"):
                    found.add("page")
                elif a.owner != b.owner:
                    found.add("CPU")
        return found

    assert renamed(ground(system, "free")) == {"CPU", "page", "PCID"}
    named = replace(system, invariants=(*system.invariants, Bad("no-foreign", "named", when)))
    assert renamed(ground(named, "free")) == {"CPU", "page", "PCID"} - {kept}


def test_a_part_of_its_own_in_the_protocol_keeps_a_cpu_from_being_exchanged() -> None:
    g = ground(slice_system(cr3race("bench/cr3race:cpus=3@flushed")), "free")

    def owners() -> set[frozenset[int]]:
        return {
            frozenset({a.owner, b.owner})
            for r in symmetries(g)
            for (c, _), (d, _) in r.moved()
            if (a := g.components[c]).owner != (b := g.components[d]).owner
            if a.owner is not None and b.owner is not None
        }

    assert owners() == {frozenset({0, 1}), frozenset({0, 2})}
    steps = slice_system(cr3race("bench/cr3race:cpus=3@flushed")).steps
    g.rows.remove(next(r for r in g.rows if r.step is not None and steps[r.step].cpu == 1))
    assert owners() == {frozenset({0, 2})}


@pytest.mark.parametrize("name", sampled(["linux/svm-asid", "xen/dirty-mask", "xen/xpti"], keep=1))
def test_the_library_has_values_that_are_exchangeable(name: str) -> None:
    g = ground(slice_system(lower(models()[name], PROPERTIES)), "free")
    found = symmetries(g)
    assert found
    for r in found:
        assert is_automorphism(g, r)


def is_automorphism(g: Ground, r: Renaming) -> bool:
    """As ``symmetry`` says it, from the cubes themselves."""

    def image(cube: Cube) -> frozenset[tuple[int, int]]:
        return frozenset((r.components[c], r.values[c][x]) for c, x in cube.items())

    def same(cubes: Sequence[tuple[object, ...]], images: Sequence[tuple[object, ...]]) -> bool:
        return Counter(cubes) == Counter(images)

    def plain(cube: Cube) -> frozenset[tuple[int, int]]:
        return frozenset(cube.items())

    kinds: list[Callable[[Callable[[Cube], object]], list[tuple[object, ...]]]] = [
        lambda f: [(f(x.guard), f(x.assign), x.step is None) for x in g.rows],
        lambda f: [(f(x.guard), f(x.assign)) for x in g.closure],
        lambda f: [(b.property, b.clause, b.step is None, f(b.guard)) for b in g.bads],
        lambda f: [(f(dict(enumerate(s.state))),) for s in g.starts],
    ]
    rows = [(image(x.guard), image(x.assign)) for x in g.rows]
    return all(same(kind(plain), kind(image)) for kind in kinds) and rows == [(plain(g.rows[i].guard), plain(g.rows[i].assign)) for i in r.rows]


# -- random ground systems, searched by the book


class Book:
    """Breadth first over states as they are, and nothing else."""

    def __init__(self, g: Ground) -> None:
        self.g = g
        self.depths: dict[tuple[str, str], int] = {}
        self.rows: set[int] = set()
        self.transitions = depth = 0
        layer = {g.closed(s.state) for s in g.starts}
        seen: set[tuple[int, ...]] = set()
        while layer:
            waiting = list(layer - seen)
            seen |= layer
            mine = []
            while waiting:
                state = waiting.pop()
                mine.append(state)
                for after in self.after(state, True):
                    if after not in seen:
                        seen.add(after)
                        waiting.append(after)
            layer = set()
            for state in mine:
                for b in g.bads:
                    if enabled(b.guard, state):
                        self.depths.setdefault((b.property, b.clause), depth + (b.step is not None))
                        self.depths[b.property, b.clause] = min(self.depths[b.property, b.clause], depth + (b.step is not None))
                layer |= set(self.after(state, False))
            layer -= seen
            depth += 1
        self.states = len(seen)

    def after(self, state: tuple[int, ...], free: bool) -> Iterator[tuple[int, ...]]:
        for i, row in enumerate(self.g.rows):
            if (row.step is None) == free and enabled(row.guard, state):
                self.rows.add(i)
                self.transitions += 1
                yield self.g.closed(applied(row.assign, state))


Exchange = Callable[[int, int], tuple[int, int]]
"""What becomes of a component and its value."""


@st.composite
def grounds(draw: st.DrawFn) -> Ground:
    """Two or three CPUs with a register and two cached entries, and memory; with all rows that random exchanges make of some random ones."""
    n = draw(st.integers(2, 3))
    names = [f"cpu{i}.{tail}" for i in range(n) for tail in ("reg", "cached[entry]#0", "cached[entry]#1")] + ["pte[0]", "pte[1]", "mode"]
    values = [(0, 1, 2) if name.endswith("reg") or (n == 2 and name.startswith("pte")) else (0, 1) for name in names]
    at = {name: c for c, name in enumerate(names)}

    def cpus(i: int, j: int) -> Exchange:
        return lambda c, x: (c + 3 * (j - i) if c // 3 == i and c < 3 * n else c - 3 * (j - i) if c // 3 == j and c < 3 * n else c, x)

    def pages(c: int, x: int) -> tuple[int, int]:
        name = names[c]
        other = name.replace("#0", "#*").replace("#1", "#0").replace("#*", "#1").replace("pte[0]", "pte[*]").replace("pte[1]", "pte[0]").replace("pte[*]", "pte[1]")
        return at[other], x

    def registers(owners: Sequence[int]) -> Exchange:
        return lambda c, x: (c, {1: 2, 2: 1}.get(x, x) if c in {3 * i for i in owners} else x)

    def mode(c: int, x: int) -> tuple[int, int]:
        return c, 1 - x if names[c] == "mode" else x

    exchanges: list[Exchange] = draw(st.lists(st.sampled_from([cpus(0, 1), cpus(n - 2, n - 1), pages, registers(range(n)), registers([0]), mode]), min_size=1, max_size=4))

    def cube(size: int, least: int = 0) -> st.SearchStrategy[Cube]:
        return st.lists(st.tuples(st.integers(0, len(names) - 1), st.sampled_from([0, 1, 1])), min_size=least, max_size=size).map(dict)

    def closed(some: Iterable[tuple[Any, Cube, Cube]]) -> list[tuple[Any, Cube, Cube]]:
        found = {(kind, frozenset(a.items()), frozenset(b.items())): None for kind, a, b in some}
        waiting = list(found)
        while waiting:
            kind, a, b = waiting.pop()
            for e in exchanges:
                made = (kind, frozenset(e(*v) for v in a), frozenset(e(*v) for v in b))
                if made not in found:
                    found[made] = None
                    waiting.append(made)
        return [(kind, dict(a), dict(b)) for kind, a, b in found]

    saturated = draw(st.booleans())
    g = Ground(None, "saturated" if saturated else "free")  # type: ignore[arg-type]  # no engine here asks for the system
    g.components = [Component(m, v, int(m[3]) if m.startswith("cpu") else None, int(m[-1]) if "#" in m else None) for m, v in zip(names, values, strict=True)]
    rows = draw(st.lists(st.tuples(st.sampled_from([0, 0, 0, None]), cube(2), cube(2, 1)), min_size=5, max_size=12))
    g.rows = [Row(a, b, step) for step, a, b in closed(rows)]
    if saturated:
        fills = draw(st.lists(st.tuples(st.none(), cube(2), st.sampled_from([{c: 1} for c, m in enumerate(names) if "#" in m])), max_size=2))
        g.closure = [Row({c: x for c, x in a.items() if "#" not in names[c] or x}, b, None) for _, a, b in closed(fills)]
    bads: list[tuple[Any, Cube, Cube]] = draw(st.lists(st.tuples(st.sampled_from([("p", "a", None), ("p", "b", None), ("q", "c", 0)]), cube(4), st.just({})), max_size=3))
    g.bads = [BadCube(name, clause, a, None, step) for (name, clause, step), a, _ in (closed(bads) if draw(st.booleans()) else bads)]
    start: tuple[Any, Cube, Cube] = (None, dict.fromkeys(range(len(names)), 0) | draw(cube(1)), {})
    g.starts = [Start(tuple(a[c] for c in range(len(names))), 0, ()) for _, a, _ in (closed([start]) if draw(st.booleans()) else [start])]
    assume(fits(g))
    return g


def fits(g: Ground) -> bool:
    try:
        return bool(Tables(g).blocks)
    except TooLarge:
        return False


def compared(g: Ground, loop: Any, group: Orbits, renamings: Sequence[Renaming], book: Book) -> str:
    """What a search that keeps one state of each orbit gets wrong."""
    tables = group.tables
    search = loop(tables, [tables.key(s.state) for s in g.starts], max_states=1 << 40, max_bytes=1 << 30, threads=1, properties=[0] * len(g.bads), orbits=group)
    try:
        if search.run(600) != packed_search.DONE:
            return "not ended"
        depths: dict[tuple[str, str], int] = {}
        for b, depth in zip(g.bads, search.bad_depths, strict=True):
            if depth is not None:
                depths[b.property, b.clause] = min(depth, depths.get((b.property, b.clause), depth))
        taken = search.used_rows()
        waiting = list(taken)
        while waiting:
            i = waiting.pop()
            for new in {r.rows[i] for r in renamings} - taken:
                taken.add(new)
                waiting.append(new)
        if depths != book.depths:
            return "depths"
        if search.whole != (book.states, book.transitions):
            return "counts"
        return "" if taken == book.rows else "rows"
    finally:
        search.close()


def test_random_systems_by_orbits_and_by_the_book() -> None:
    """States, transitions, rows and depths, in C and in Python, for every group that is found and every part of it."""
    seen: Counter[str] = Counter()

    @few(80)
    @given(grounds())
    def check(g: Ground) -> None:
        book, tables, renamings = Book(g), Tables(g), symmetries(g)
        assert all(is_automorphism(g, r) for r in renamings)
        group = Orbits(tables, renamings)
        seen["systems"] += 1
        seen["peers"] += bool(group.peers)
        seen["wide"] += group.order > 1
        seen["local"] += any(max(p.sizes) > 1 for p in group.peers) or any(max(c.sizes) > 1 for c in group.chunks)
        seen["violated"] += bool(book.depths) and bool(group.order)
        for loop in LOOPS:
            assert compared(g, loop, group, renamings, book) == ""
            assert compared(g, loop, Orbits(tables, renamings[1:]), renamings, book) == ""

    check()
    assert min(seen[kind] for kind in ("peers", "wide", "local", "violated")) > 0.1 * seen["systems"], seen


def test_every_state_of_an_orbit_has_the_same_representative() -> None:
    """Renamed by anything in the group, for random states; and the orbit is as large as is said."""

    @few(60)
    @given(grounds(), st.randoms(use_true_random=False))
    def check(g: Ground, random: Any) -> None:
        tables, renamings = Tables(g), symmetries(g)
        group = Orbits(tables, renamings)
        for _ in range(3):
            key = sum(random.randrange(len(b.values)) << b.shift for b in tables.blocks)
            orbit, waiting = {key}, [key]
            while waiting:
                state = tables.state(waiting.pop())
                for r in renamings:
                    after = [0] * len(state)
                    for c, x in enumerate(state):
                        after[r.components[c]] = r.values[c][x]
                    if (image := tables.key(after)) not in orbit:
                        orbit.add(image)
                        waiting.append(image)
            assert {group.look(k) for k in orbit} == {(group.look(key)[0], len(orbit))}
            assert group.look(key)[0] in orbit

    check()


# -- faults that the comparison has to notice


def wrong(examples: int = 40) -> Counter[str]:
    """What is wrong with random systems, and how often."""
    said: Counter[str] = Counter()

    @few(examples)
    @given(grounds())
    def check(g: Ground) -> None:
        renamings = symmetries(g)
        try:
            group = Orbits(Tables(g), renamings)
        except KeyError:  # values become others than there are
            said["values"] += 1
            return
        said[compared(g, packed_search.Plain, group, renamings, Book(g))] += 1

    check()
    return said - Counter({"": said[""]})


@pytest.mark.long
def test_guesses_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses that nothing was found out for are harmless; not so if they were taken as they are."""
    monkeypatch.setattr(symmetry._Matching, "refine", lambda self, a, b: (list(a), list(b)))
    assert not wrong()
    monkeypatch.setattr(symmetry._Matching, "checked", lambda self, components, values: Renaming(components, values, tuple(range(len(self.left.ground.rows)))))
    assert wrong()


@pytest.mark.parametrize("part", ["rows", "bads", "starts"])
def test_renamings_of_another_system_are_noticed(part: str) -> None:
    """Two CPUs, then one of them lacks an eviction, or a clause is about them, or it starts otherwise: the exchange is not found; it is taken all the same."""
    g = ground(slice_system(cr3race("bench/cr3race:spaces=1@unflushed")), "free")
    (exchange,) = symmetries(g)
    if part == "rows":
        last = max(i for i, c in enumerate(g.components) if c.entry is not None)
        g.rows.remove(Row({last: 1}, {last: 0}, None))
    elif part == "bads":
        state = next(s for r in g.rows if r.step is not None for s in [applied(r.assign, g.starts[0].state)] if enabled(r.guard, g.starts[0].state))
        cubes = dict(enumerate(state)), {exchange.components[c]: exchange.values[c][x] for c, x in enumerate(state)}
        g.bads += [BadCube("no-foreign", clause, cube, None) for clause, cube in zip(("one", "other"), cubes, strict=True)]
    else:
        g.starts = [Start(next(applied(r.assign, s.state) for r in g.rows if r.step is not None and enabled(r.guard, s.state)), s.step, s.chosen) for s in g.starts]
    assert exchange not in symmetries(g)
    tables, book = Tables(g), Book(g)
    found = compared(g, packed_search.Plain, Orbits(tables, [exchange]), [exchange], book)
    # Every state is reached from every other: of the starts only depths could tell.
    assert found == {"rows": "counts", "bads": "depths", "starts": ""}[part]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", sampled(["_arrangements", "number_classes", "_element", "_joined", "count"], keep=2))
def test_orbits_of_a_wrong_size_are_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """How CPUs can stand, how many values a class has, what pages take along, which values are alike, and how many renamings lead to the least."""
    numbered, element, joined = orbits._Unit.number_classes, Orbits._element, orbits._joined

    def alone(self: Any) -> None:
        numbered(self)
        self.sizes = [1] * len(self.sizes)

    def half(self: Any, action: Any) -> Any:
        made = element(self, action)
        return made and (made[0], *((u, tuple(range(len(becomes)))) for u, (_, becomes) in enumerate(made[1:], 1)))

    match name:
        case "_arrangements":
            monkeypatch.setattr(orbits, name, lambda ranks: 1)
        case "number_classes":
            monkeypatch.setattr(orbits._Unit, name, alone)
        case "_element":
            monkeypatch.setattr(Orbits, name, half)
        case "_joined":
            monkeypatch.setattr(orbits, name, lambda classes, pairs: joined(classes, [*pairs, (0, len(classes) - 1)]))
        case "count":
            monkeypatch.setattr(Orbits, "look", lambda self, key: (least := min(images := [image(self, key, k) for k in range(self.order)]), self.order if images.count(least) else 0))
    system = cr3race(f"bench/cr3race:{'pcids=3' if name == 'number_classes' else 'pages=2'},spaces=1@flushed")
    whole, reduced = Packed(system, symmetry=False).run(), Packed(system, compiled=False).run()
    assert reduced.states != whole.states


def image(group: Orbits, key: int, k: int) -> int:
    return group._image(key & group.kept, [[m.rank[(key >> m.shift) & m.mask] for m in p.members] for p in group.peers], [(key >> c.shift) & c.mask for c in group.chunks], k)


@pytest.mark.usefixtures("at_once")
def test_a_trace_whose_renaming_is_forgotten_cannot_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    system = cr3race("bench/cr3race:cpus=3,pcids=3@unflushed")
    for compiled in (True, False):
        (found,) = Packed(system, compiled=compiled).run().violations
        assert found.trace is not None and found.trace.depth == found.depth == 4
        confirm(system, found, "full")
    monkeypatch.setattr(Packed, "canonical", lambda self, key: key)
    with pytest.raises(InternalError, match="cannot"):
        Packed(system).run()


# -- models


def said(result: EngineResult) -> dict[str, int]:
    assert not result.reason
    return {f"{v.property} {v.clause}": v.depth for v in result.violations}


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
def test_random_machines_reduced_and_not() -> None:
    """Against the same search without symmetry: verdicts, depths of all clauses, states, transitions and steps; every trace is replayed."""
    seen: Counter[str] = Counter()

    @few(10)
    @given(specs(few_entries=True))
    def check(spec: Spec) -> None:
        # Nothing but flushes knows the last two tags.
        try:
            system = lower(build(replace(spec, roots=(0,), tags=(0, 1, 2, 3))), PROPERTIES)
        except InputError:  # an interrupt that does nothing
            return
        whole = Packed(system, symmetry=False, to_the_end=True, max_states=10_000).run()
        seen["machines"] += 1
        if whole.reason:
            return
        for compiled in (True, False):
            reduced = Packed(system, to_the_end=True, compiled=compiled).run()
            assert said(reduced) == said(whole)
            assert (reduced.states, reduced.transitions, reduced.steps_fired, reduced.fired) == (whole.states, whole.transitions, whole.steps_fired, whole.fired)
            for v in reduced.violations:
                assert v.trace is not None and v.trace.depth == v.depth
                confirm(system, v, reduced.engine, first=(shortest := reduced.shortest(v.property)) is not None and v.depth == shortest.depth)
        seen["reduced"] += reduced.kept is not None and reduced.kept < (reduced.states or 0)
        seen["violated, reduced"] += reduced.kept is not None and bool(reduced.violations)

    check()
    assert seen["reduced"] and seen["violated, reduced"], seen


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("numbers", sampled([":frames=2", ":pages=2", "", ":spaces=3", ":pcids=3"], keep=2))
def test_cr3race_counted_by_orbits_has_the_states_that_it_has(numbers: str) -> None:
    """In C and in Python, flushed and not: fewer are kept, the whole is the same."""
    for variant in ("flushed", "unflushed"):
        system = cr3race(f"bench/cr3race{numbers}@{variant}")
        whole = Packed(system, symmetry=False, to_the_end=True).run()
        results = [Packed(system, to_the_end=True).run()]
        if numbers in ("", ":pcids=3"):
            results.append(Packed(system, to_the_end=True, compiled=False).run())
        for reduced in results:
            assert (reduced.states, reduced.transitions, reduced.steps_fired) == (whole.states, whole.transitions, whole.steps_fired)
            assert said(reduced) == said(whole)
            assert reduced.kept is not None and reduced.kept < 0.6 * (whole.states or 0)


def test_a_small_search_is_not_reduced_and_a_large_one_is() -> None:
    small, medium = (Packed(cr3race(f"bench/cr3race{numbers}@flushed")).run() for numbers in ("", ":pages=2"))
    assert (small.states, small.kept) == (20_952, None)
    assert medium.states == 519_528 and medium.kept is not None and medium.kept < 519_528 // 3.5


def test_of_entries_that_are_alike_one_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six entries: PCIDs 1 and 2 are alike, and so are the pages. What is told is what searching all of them tells."""
    searches: list[Packed] = []
    run = Packed.run

    def noted(self: Packed) -> EngineResult:
        searches.append(self)
        return run(self)

    monkeypatch.setattr(Packed, "run", noted)
    for variant in ("flushed", "unflushed"):
        system = cr3race(f"bench/cr3race:pages=2,pcids=3@{variant}")
        every, some = (explore_tracked(system, max_states=None, max_bytes=1 << 32, threads=1, symmetry=s) for s in (False, True))
        assert every is not None and some is not None
        assert len(searches) == 6 + 2
        searches.clear()
        assert (every.states, every.transitions, every.steps_fired, every.fired, every.bound) == (some.states, some.transitions, some.steps_fired, some.fired, some.bound)
        assert said(every) == said(some)
        for v in some.violations:
            confirm(system, v, "explicit")


@pytest.mark.long
def test_entries_that_a_property_tells_apart_are_searched_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the property the two pages are alike; with it the second one's entry is bad, and found to be."""
    system = slice_system(cr3race("bench/cr3race:pages=2@flushed"))
    named = replace(system, invariants=(Bad("no-foreign", "second", and_(var("cpu0.cached[entry]", BOOL), eq(var("entry.page", IntType(0, 1)), 1))),))
    entries = list(system.entries())
    one, two = (ground(system, "saturated", tracked=next(e for e in entries if e["entry.page"] == p and e["entry.tag"] == 1)) for p in (0, 1))
    assert isomorphism(one, two) is not None
    one, two = (ground(named, "saturated", tracked=next(e for e in entries if e["entry.page"] == p and e["entry.tag"] == 1)) for p in (0, 1))
    assert isomorphism(one, two) is None
    found = explore_tracked(named, max_states=None, max_bytes=1 << 32, threads=1, symmetry=True)
    assert found is not None and said(found) == {"no-foreign second": Tracked(named).run().violations[0].depth}


def test_no_search_of_infinite_runs_is_reduced() -> None:
    """Liveness is decided on the graph that engine explicit builds, state by state; neither the literal caches nor tables of a tracked entry are asked."""
    system = lower(models()["xen/shootdown"], PROPERTIES)
    assert system.liveness and not suits_tables(system)


def test_too_many_renamings_are_left_out_and_the_count_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pages have six permutations; with room for four, a part of them is used."""
    monkeypatch.setattr(packed, "UNREDUCED", dict.fromkeys(packed.UNREDUCED, 1))
    system = cr3race("bench/cr3race:pages=3,pcids=1,spaces=1@flushed")
    whole = Packed(system, symmetry=False).run()
    kept = []
    for order in (120, 4, 1):
        monkeypatch.setattr(orbits, "ORDER", order)
        search = Packed(system)
        reduced = search.run()
        assert (reduced.states, reduced.transitions) == (whole.states, whole.transitions)
        assert search.orbits is not None and search.orbits.order == {120: 6, 4: 2, 1: 1}[order]
        kept.append(reduced.kept or 0)
    assert kept == sorted(kept) and len(set(kept)) == 3
