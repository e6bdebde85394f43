"""Xen reads a guest's page tables through the linear map, which the guest's own changes move (XSA-286, xen.md 2.2).

Through the self-map slot of the root table every L1 table appears at a linear address: an L3 entry
works as an L2 entry there and an L2 entry as the leaf. do_mmu_update() lets the guest hang another
L2 table into an L3 entry. What the guest can reach through old entries is its own duty to flush; what Xen
reaches through the linear map is Xen's, and has to be gone before the next hypercall of a multicall.

Here one L3 entry leads to one of two L2 tables, and each of these to an L1 table of its own. Cached are
the L3 entry, as a paging-structure cache keeps it, and the linear address of the L1 table; the latter
can be walked from memory or from the former.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, cpus, marker, per_cpu, procedure, shared
from tlbcheck.lang.expr import FALSE, and_, eq, not_, or_, var
from tlbcheck.lang.types import BOOL, U64, enum_type
from tlbcheck.machine import x86

from .flush import FLUSH_TLB
from .other_cpus import flush_other_cpus
from .shootdown import EVERYBODY, flush_cpumask, show_flags

LINEAR_NOT_FLUSHED = Flag("LINEAR_NOT_FLUSHED", False)
"""Fault: do_mmu_update() leaves the linear map to the guest's own flushes."""
LINEAR_FLUSHED_HERE = Flag("LINEAR_FLUSHED_HERE", False)
"""Fault: do_mmu_update() flushes this CPU only."""
LINEAR_FLUSHED_LATE = Flag("LINEAR_FLUSHED_LATE", False)
"""Fault: the flush waits for the way back to the guest, after the last hypercall of the multicall."""
FLAGS = (LINEAR_NOT_FLUSHED, LINEAR_FLUSHED_HERE, LINEAR_FLUSHED_LATE)
GUEST_ROOT = 0x1000


class Table(enum.Enum):
    """The L2 table that an L3 entry leads to, with the L1 table below it."""

    first = enum.auto()
    second = enum.auto()


class Level(enum.Enum):
    linear = enum.auto()
    """The linear address of the L1 table."""
    l3 = enum.auto()
    """A paging-structure cache's copy of the L3 entry."""


l3e = shared("l3e", Table)
flush_put_off = per_cpu("flush_put_off", bool)
write_paging_structure = marker("paging structure written", "mod_l3_entry(): the guest's L3 entry leads to the other L2 table")
goes_back = marker("multicall done", "the multicall is done, Xen goes back to the guest")
access_linear_map = marker("linear map accessed", "update_va_mapping(): edits an L1 entry, which it finds through the linear map")


@procedure
def flush_tlb_here() -> None:
    """flush_area_local(FLUSH_TLB): everything."""
    x86.INVPCID_ALL()


@procedure(role="paging structure update")
def do_mmu_update() -> None:
    """Since 16a20963b3: a change above L1 is flushed, here and on the other CPUs that the guest may run on."""
    with atomic("mod_l3_entry(): the guest's L3 entry leads to the other L2 table"):
        write_paging_structure()
        l3e.set(Table.second if l3e.get() == Table.first else Table.first)
    if not LINEAR_NOT_FLUSHED and not LINEAR_FLUSHED_LATE:
        flush_tlb_here()
        if not LINEAR_FLUSHED_HERE:
            flush_other_cpus(EVERYBODY, FLUSH_TLB)
    if LINEAR_FLUSHED_LATE:
        flush_put_off.set(True)


@procedure
def update_va_mapping() -> None:
    access_linear_map()


@procedure
def exit_to_guest() -> None:
    """Flushes what was put off; the guest's own code needs none of it."""
    goes_back()
    if LINEAR_FLUSHED_LATE and flush_put_off.get():
        flush_put_off.set(False)
        flush_tlb_here()
        flush_other_cpus(EVERYBODY, FLUSH_TLB)


@procedure
def invalidate_interrupt() -> None:
    """The flush interrupt."""
    flush_tlb_here()
    flush_cpumask.set(False)


class Doing(enum.Enum):
    mmu_update = enum.auto()
    update_va_mapping = enum.auto()
    back_to_guest = enum.auto()


@procedure
def run_cpu() -> None:
    """Multicalls: hypercalls of the guest in any order, and between some of them Xen goes back to the guest."""
    while True:
        doing = choose(Doing)
        if doing == Doing.mmu_update:
            do_mmu_update()
        elif doing == Doing.update_va_mapping:
            update_va_mapping()
        else:
            exit_to_guest()


@procedure
def start() -> None:
    """A vCPU of the guest on each CPU, and nothing old cached."""
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(GUEST_ROOT)
        x86.IF.at(cpu).set(True)


_LEVEL, _TABLE = var("entry.level", enum_type(Level)), var("entry.table", enum_type(Table))
_FROM_CACHED_L3E = and_(
    var("entry2.cached", BOOL),
    eq(var("entry2.level", enum_type(Level)), Level.l3),
    eq(var("entry2.table", enum_type(Table)), _TABLE),
    eq(var("entry2.tag", U64), x86.TAG),
)
CLEAN = {"linear-access": "proved"}
_FAULTY = {"linear-access": "violated"}


def _describe(entry: Mapping[str, int]) -> str:
    table = list(Table)[entry["entry.table"]].name
    return f"the linear address at the L1 table under the {table} L2 table" if not entry["entry.level"] else f"the L3 entry that leads to the {table} L2 table"


def _model(cpus: int) -> Model:
    return Model(
        name="xen/linear-map",
        title="Xen uses the linear map of page tables that the guest changes",
        source="xen 16a20963b3 (XSA-286), xen/arch/x86/mm.c",
        cpus=cpus,
        init=start,
        task=run_cpu,
        interrupts=(Interrupt(invalidate_interrupt, x86.IF, when=flush_cpumask.expr),),
        cache=x86.tlb(
            tags=(0,),
            fields=(("level", enum_type(Level), (0, 1)), ("table", enum_type(Table), (0, 1))),
            possible=not_(x86.GLOBAL),
            walk=and_(eq(x86.ROOT_ADDRESS, GUEST_ROOT), or_(eq(l3e.expr, _TABLE), and_(eq(_LEVEL, Level.linear), _FROM_CACHED_L3E))),
            leaf_global=FALSE,
            initial=FALSE,
            describe=_describe,
        ),
        meanings={"usable": x86.USABLE, "may": eq(l3e.expr, _TABLE), "of_linear_map": or_(eq(_LEVEL, Level.l3), eq(_LEVEL, Level.linear))},
        flags={f: f.default for f in FLAGS},
        notation=replace(x86.NOTATION, values={**x86.NOTATION.values, "flush_flags": show_flags, "cr3": lambda value: "the guest's page tables"}),
        variants={
            "linear-not-flushed": Variant("do_mmu_update() leaves the flush to the guest", {LINEAR_NOT_FLUSHED: True}, expected=_FAULTY, source="xen before 16a20963b3 (XSA-286)"),
            "linear-flushed-here": Variant("do_mmu_update() flushes its own CPU only", {LINEAR_FLUSHED_HERE: True}, expected=_FAULTY, source="xen 16a20963b3, mutated"),
            "linear-flushed-late": Variant(
                "the flush waits for the way back to the guest", {LINEAR_FLUSHED_LATE: True}, expected=_FAULTY, source="xen.md 2.2: a multicall goes on before that; mutated"
            ),
        },
        expected=CLEAN,
        expected_source="xen.md 2.2, properties.md 1",
        about=tuple(CLEAN),
        assumptions=(
            "one guest, with a vCPU on each CPU: all are in its dirty mask; one L3 entry, two L2 tables with an L1 table each, which need not be freed for the fault",
            "the guest's own INVLPGs are not modelled: they drop paging-structure entries, and so less is cached on a machine than here",
            "two levels of the walk: an L4 entry's change is to the L3 entry what that is to the leaf",
            "do_tlb_flush() and flush_area_mask() keep what xen/local-flush and xen/shootdown prove of them; guests cannot make linear addresses global",
        ),
        scope={"roots": 1, "tables": 2},
        depth=10,
        numbers={"cpus": cpus},
        resized=_model,
    )


linear_map = _model(cpus=2)
