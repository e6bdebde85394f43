"""A scope says "any" of roots, PCIDs, domains and CPUs only where software treats them as names: copied whole, compared whole."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import Any

import pytest

from tlbcheck import CACHED, CacheKind, Expr, Model, Procedure, Property, Table, choose, operation, per_cpu, procedure, shared, this_cpu, u64, var
from tlbcheck.engines.sufficiency import decide
from tlbcheck.lang.expr import FALSE, TRUE, eq
from tlbcheck.lang.program import CPU_ACTING, CPU_SELF, marker
from tlbcheck.lang.scope import Alone, Kinds, Names
from tlbcheck.lang.types import BOOL, U64, enum_type
from tlbcheck.system.lower import lower

FIELD = 0x000FFFFFFFFFF000
PCID = 0xFFF


class Space(enum.Enum):
    mine = enum.auto()
    other = enum.auto()


A, B = 0x9249249249000, 0x2492492492000
root_of = Table("root_of", enum_type(Space), (A, B), U64)
ROOTS = Names(FIELD, {A: "a", B: "b"}, {"cr3": 0})
SPACES = Kinds((enum_type(Space),), (ROOTS,))
masks = Table("masks", enum_type(Space), (0x1000, 0x2000), U64)
pcid_of = Table("pcid_of", enum_type(Space), (0, 1), U64)
cr3 = shared("cr3", U64)
kept = shared("kept", U64)
current = shared("current", Space)
flush = marker("flush", "flushes")
load = marker("load", "loads")


@procedure
def start() -> None:
    cr3.set(A)
    kept.set(B)


def scope(task: Procedure, of: Any = ROOTS, **changes: Any) -> Any:
    """What the scope says of ``of``."""
    made = Model(name="named", title="", init=start, task=task, scope={"things": of})
    return decide(lower(replace(made, **changes), [])).scope()["things"]


@procedure
def copies() -> None:
    new = root_of(choose(Space)) | 0x8000000000000001
    if new & 0x8000000000000000:
        new &= 0x7FFFFFFFFFFFFFFF
    old = cr3.get()
    if old & FIELD != new & FIELD:
        flush()
    if old == new or new & PCID == 1:
        flush()
    cr3.set(new)


@procedure
def page_numbers() -> None:
    new = root_of(choose(Space))
    if new >> 12 == kept.get() >> 12:
        flush()
    number = cr3.get() >> 12
    kept.set(number << 12)
    cr3.set(kept.get() + 1)


@procedure
def low_half() -> None:
    if cr3.get() & 0xFFFF0000:
        flush()


@procedure
def in_the_field() -> None:
    if cr3.get() & 0x7000 == 0x1000:
        flush()


@procedure
def shifted_out() -> None:
    if (cr3.get() >> 20) == 7:
        flush()


@procedure
def by_order() -> None:
    if cr3.get() < kept.get():
        flush()


@procedure
def computed_with() -> None:
    kept.set(cr3.get() + 0x1000)
    if kept.get() == cr3.get():
        flush()


@procedure
def chosen_by() -> None:
    mark: u64 = 1
    if cr3.get() - kept.get() == 0:
        mark = 2
    if mark == 2:
        flush()


@procedure
def whether_there_is_one() -> None:
    if cr3.get() & FIELD == 0:
        flush()


@procedure
def by_a_variable_mask() -> None:
    load()
    if cr3.get() & masks(choose(Space)):
        flush()
    load()


@procedure
def another_number() -> None:
    if cr3.get() & FIELD == 0x1000:
        flush()


@procedure
def mixed() -> None:
    kept.set(cr3.get() ^ kept.get())
    if kept.get() == cr3.get():
        flush()


@procedure
def how_far_to_shift() -> None:
    kept.set(0x10 >> (cr3.get() & FIELD))
    if kept.get() == 0x10:
        flush()


@pytest.mark.parametrize("task", [copies, page_numbers], ids=lambda p: p.name)
def test_names_that_are_copied_and_compared_whole_are_any(task: Procedure) -> None:
    """What shares a name with others is not, where two are compared: some other domains have one root here."""
    assert scope(task) == "any"
    assert scope(task, SPACES) == ["mine", "other"]


LOOKS = [low_half, in_the_field, shifted_out, by_order, computed_with, chosen_by, whether_there_is_one, by_a_variable_mask, another_number, mixed, how_far_to_shift]


@pytest.mark.parametrize("task", LOOKS, ids=lambda p: p.name)
def test_software_that_looks_at_a_part_of_a_name_is_told(task: Procedure) -> None:
    """The values are listed, and the reason names the place; what has such names is not "any" either."""
    assert scope(task) == [f"a ({A:#x})", f"b ({B:#x})"]
    assert scope(task, SPACES) == ["mine", "other"]
    made = Model(name="named", title="", init=start, task=task, scope={"roots": ROOTS})
    assert "test_names.py:" in decide(lower(made, [])).scope()["why"]


@procedure
def looks_at_its_kind() -> None:
    load()
    if choose(Space) == Space.mine:
        flush()
    load()


@procedure
def whether_two_differ() -> None:
    load()
    if choose(Space) != current.get():
        flush()
    load()


def test_members_of_one_kind_are_not_compared_with_each_other() -> None:
    """Two other domains are one here, so that software which asks whether they differ is not seen doing what it does then."""
    assert scope(looks_at_its_kind, SPACES) == "any"
    assert scope(whether_two_differ, SPACES) == ["mine", "other"]


PCIDS = Names(PCID, {0: "0", 1: "1"}, {"cr3": 0}, chosen=True)


@procedure
def pcids_compared() -> None:
    new = root_of(choose(Space)) | pcid_of(choose(Space))
    if new & PCID != cr3.get() & PCID or new & PCID == 0:
        flush()
    cr3.set(new)


@procedure
def pcid_bit() -> None:
    new = root_of(choose(Space)) | pcid_of(choose(Space))
    if new & 1:
        flush()
    cr3.set(new)
    if cr3.get() == kept.get():
        flush()


@procedure
def pcid_order() -> None:
    if cr3.get() & PCID > kept.get() & PCID:
        flush()


@procedure
def pcid_unknown() -> None:
    if cr3.get() & PCID == 2:
        flush()


def test_pcids_may_be_compared_with_those_that_software_chose() -> None:
    assert scope(pcids_compared, PCIDS) == "any"
    for task in (pcid_bit, pcid_order, pcid_unknown):
        assert scope(task, PCIDS) == ["0", "1"], task.name


busy = per_cpu("busy", bool)
count = shared("count", bool)


@procedure
def starts_alone() -> None:
    pass


@procedure
def its_own() -> None:
    busy.set(not busy.get())


@procedure
def everybodys() -> None:
    if not count.get():
        count.set(True)


@procedure
def the_first() -> None:
    if this_cpu() == 0:
        busy.set(True)


@procedure
def another_one() -> None:
    if not busy.get():
        busy.at(0).set(True)


@pytest.mark.parametrize(("task", "said"), [(its_own, "any"), (everybodys, [1]), (the_first, [1])], ids=lambda p: getattr(p, "name", ""))
def test_one_cpu_stands_for_any_where_it_has_to_do_with_itself_only(task: Procedure, said: Any) -> None:
    assert scope(task, Alone(), init=starts_alone) == said


def test_a_cpu_that_writes_anothers_variable_does_not_stand_for_any() -> None:
    assert scope(another_one, Alone(), init=starts_alone, cpus=2) == [2]


def about_cpus(bad: Expr, *, always: bool = False) -> Property:
    q = Property("about-cpus", "which CPU it is", source="this test", clauses={"b": "it is that one"})
    q.on(operation("flush"), bad={} if always else {"b": bad})
    if always:
        q.never("b", bad)
    return q


@procedure
def flushes_alone() -> None:
    busy.set(not busy.get())
    flush()


THE_SECOND = eq(CPU_SELF, 1)


@pytest.mark.parametrize(
    ("q", "changes"),
    [
        (about_cpus(THE_SECOND), {}),
        (about_cpus(eq(CPU_ACTING, 1)), {}),
        (about_cpus(THE_SECOND, always=True), {}),
        (about_cpus(var("meaning.second", BOOL)), {"meanings": {"second": THE_SECOND}}),
        (about_cpus(CACHED), {"cache": CacheKind("TLB", (("page", BOOL, (0,)),), TRUE, THE_SECOND, FALSE, lambda entry: "the entry")}),
    ],
    ids=["rule", "acting", "always", "meaning", "walk"],
)
def test_a_rule_that_asks_for_the_number_of_a_cpu_is_told(q: Property, changes: dict[str, Any]) -> None:
    """One CPU, which has number 0, stands for no other then."""
    made = Model(name="named", title="", init=starts_alone, task=flushes_alone, scope={"things": Alone()}, **changes)
    assert decide(lower(made, [q])).scope()["things"] == [1]
    plain = replace(made, cache=None, meanings={})
    assert decide(lower(plain, [about_cpus(busy.expr)])).scope()["things"] == "any"


seen = shared("seen", bool, index=Space)


@procedure
def marks_its_space() -> None:
    load()
    seen.at(choose(Space)).set(True)
    if seen.at(current.get()).get():
        flush()
    current.set(choose(Space))


def test_an_array_with_an_element_for_each_kind_is_told() -> None:
    """Two other domains share what each of them has for itself."""
    assert scope(marks_its_space, SPACES) == ["mine", "other"]


def test_the_models_own_word_is_said_to_be_that() -> None:
    assert scope(copies, "any") == "any, as the model says"


def test_a_name_moved_to_another_place_is_not_the_same_word() -> None:
    """What is a page number in one word and an address in another compares as neither."""

    @procedure
    def apart() -> None:
        if cr3.get() >> 12 == kept.get():
            flush()
        kept.set(cr3.get())

    assert scope(apart) != "any"
