"""XPTI's copies of a root table that changes, and page tables that are freed (18173843a5, 16a20963b3, xen.md 2.1 and 2.2).

Each CPU runs a vCPU of the same guest on a copy of the same root table. do_mmu_update() hangs a
lower table into an entry of the root table or takes it out; the other CPUs that use the root table are made to
copy it again before they next run the guest. A copy is memory, and survives every flush.

A table that was taken out is freed, and its frame gets another use. Nobody may walk it any more:
neither from a paging-structure entry that is still cached, nor from a copy that still leads to it.
Cached here are the root table's entries that lead to the lower table, as paging-structure caches keep
them, walked from the root table itself (PCID 0) or from the CPU's copy (PCID 2).
"""

from __future__ import annotations

import enum
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, cpus, marker, per_cpu, procedure, require, shared
from tlbcheck.lang.expr import FALSE, and_, eq, ite, not_, var
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86

from .contexts import PCID_PV_PRIV, PCID_PV_XPTI
from .flush import FLUSH_ROOT_PGTBL, FLUSH_TLB, root_pgt_changed
from .other_cpus import flush_other_cpus
from .primitives import local_irq_disable, local_irq_enable, write_cr3
from .shootdown import EVERYBODY, flush_cpumask, flush_flags, show_flags

ROOT_COPY_STALE = Flag("ROOT_COPY_STALE", False)
"""Fault: the other CPUs that use the table are not told (no FLUSH_ROOT_PGTBL)."""
TABLES_NOT_FLUSHED = Flag("TABLES_NOT_FLUSHED", False)
"""As before XSA-286: do_mmu_update() flushes no TLB; the frame's new use does."""
REUSED_BEFORE_FLUSH = Flag("REUSED_BEFORE_FLUSH", False)
"""Fault: the frame's new use begins before the flush that it waits for."""
FLAGS = (ROOT_COPY_STALE, TABLES_NOT_FLUSHED, REUSED_BEFORE_FLUSH)
GUEST_ROOT, ROOT_PGT = 0x1000, 0x2000
GUEST_CR3, PV_CR3 = GUEST_ROOT | PCID_PV_PRIV | x86.X86_CR3_NOFLUSH, ROOT_PGT | PCID_PV_PRIV | PCID_PV_XPTI | x86.X86_CR3_NOFLUSH


class Table(enum.Enum):
    """What has become of the lower table that the root table's entry may lead to."""

    hooked_up = enum.auto()
    unhooked = enum.auto()
    """No entry leads to it; a reference is still held until what has to be flushed is."""
    free = enum.auto()
    reused = enum.auto()
    """Its frame has another use."""


class View(enum.Enum):
    copy = enum.auto()
    own = enum.auto()


table = shared("table", Table)
copy_leads_to_table = per_cpu("copy_leads_to_table", bool)
"""What this CPU's root_pgt says."""
write_root_entry = marker("root table written", "mod_l4_entry(): changes an entry of the guest's root table")
copy_root_table = marker("root table copied", "copies the guest's root table into this CPU's root_pgt")


@procedure
def flush_tlb_here() -> None:
    """flush_area_local(FLUSH_TLB): everything."""
    x86.INVPCID_ALL()


@procedure(role="root table update")
def do_mmu_update() -> None:
    """The guest changes an entry of its root table; when it gets to know of it, every copy in use has to follow."""
    unhooks = choose(bool)
    if unhooks:
        with atomic("mod_l4_entry(): takes the lower table out of the guest's root table"):
            require(table.get() == Table.hooked_up)
            write_root_entry()
            table.set(Table.unhooked)
            root_pgt_changed.set(True)
    else:
        with atomic("mod_l4_entry(): hangs the lower table into the guest's root table"):
            require(table.get() == Table.free)
            write_root_entry()
            table.set(Table.hooked_up)
            root_pgt_changed.set(True)
    if not TABLES_NOT_FLUSHED:
        flush_tlb_here()
    if TABLES_NOT_FLUSHED and not ROOT_COPY_STALE:
        flush_other_cpus(EVERYBODY, FLUSH_ROOT_PGTBL)
    elif not TABLES_NOT_FLUSHED and ROOT_COPY_STALE:
        flush_other_cpus(EVERYBODY, FLUSH_TLB)
    elif not TABLES_NOT_FLUSHED:
        flush_other_cpus(EVERYBODY, FLUSH_TLB | FLUSH_ROOT_PGTBL)
    if unhooks:
        with atomic("put_page_type(): nothing refers to the lower table any more"):
            table.set(Table.free)


@procedure(role="table reuse")
def reuse_table() -> None:
    """_get_page_type(): the frame gets another type once everybody who may have walked it has flushed (xen/flush-clock says who)."""
    with atomic("_get_page_type(): the frame of the lower table is to get another use"):
        require(table.get() == Table.free)
        table.set(Table.reused if REUSED_BEFORE_FLUSH else Table.unhooked)
    flush_tlb_here()
    flush_other_cpus(EVERYBODY, FLUSH_TLB)
    with atomic("_get_page_type(): everybody has flushed, the frame has its other use"):
        table.set(Table.reused)


@procedure
def make_table_again() -> None:
    """The frame's other use ends."""
    with atomic("the frame is a page table again"):
        require(table.get() == Table.reused)
        table.set(Table.free)


@procedure
def invalidate_interrupt() -> None:
    """The flush interrupt: flushes, or notes that the copy is old, or both; and leaves the mask last."""
    flags = flush_flags.get()
    if flags & FLUSH_TLB:
        flush_tlb_here()
    if flags & FLUSH_ROOT_PGTBL:
        root_pgt_changed.set(True)
    flush_cpumask.set(False)


@procedure(role="guest")
def run_guest() -> None:
    """The guest runs on the copy, until something makes it enter Xen; an interrupt is delivered there."""
    with atomic("the guest runs, and enters Xen: guest root table loaded, PCID 0, NOFLUSH; interrupts on"):
        write_cr3(GUEST_CR3)
        local_irq_enable()


@procedure
def restore_all_guest() -> None:
    """The exit path: with interrupts off, the copy is renewed if it has to be, and loaded."""
    with atomic("restore_all_guest: interrupts off, reads root_pgt_changed"):
        local_irq_disable()
        changed = root_pgt_changed.get()
    if changed:
        with atomic("copies the guest's root table into this CPU's root_pgt, root_pgt_changed := no"):
            root_pgt_changed.set(False)
            copy_root_table()
            copy_leads_to_table.set(table.get() == Table.hooked_up)
    write_cr3(PV_CR3)


class Doing(enum.Enum):
    nothing = enum.auto()
    mmu_update = enum.auto()
    reuse = enum.auto()


@procedure
def run_cpu() -> None:
    """Hypercalls and frees, and the guest in between."""
    while True:
        restore_all_guest()
        run_guest()
        doing = choose(Doing)
        if doing == Doing.mmu_update:
            do_mmu_update()
        elif doing == Doing.reuse:
            reuse_table()
            make_table_again()


@procedure
def start() -> None:
    """Xen is about to let the guest run on each CPU; the copies are up to date, nothing is cached."""
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(GUEST_ROOT | PCID_PV_PRIV)
        x86.CR4.at(cpu).set(x86.X86_CR4_PAE | x86.X86_CR4_PCIDE)
        x86.IF.at(cpu).set(True)
        copy_leads_to_table.at(cpu).set(True)


def _show_cr3(value: int) -> str:
    names = {GUEST_ROOT: "guest root table", ROOT_PGT: "its copy root_pgt"}
    noflush = ", NOFLUSH" if value & x86.X86_CR3_NOFLUSH else ""
    return f"{names[value & x86.X86_CR3_ADDR_MASK]}, PCID {value & x86.X86_CR3_PCID_MASK}{noflush}"


_COPY = eq(var("entry.view", enum_type(View)), View.copy)
_REUSED = eq(table.expr, Table.reused)
CLEAN = {"root-copy": "proved", "page-walk-safety": "proved"}


def _model(cpus: int) -> Model:
    return Model(
        name="xen/root-copy",
        title="XPTI: copies of a root table that changes, and the tables below it that are freed",
        source="xen 18173843a5 and 16a20963b3, xen/arch/x86/mm.c, x86_64/entry.S",
        cpus=cpus,
        init=start,
        task=run_cpu,
        interrupts=(Interrupt(invalidate_interrupt, x86.IF, when=flush_cpumask.expr),),
        cache=x86.tlb(
            tags=(PCID_PV_PRIV, PCID_PV_PRIV | PCID_PV_XPTI),
            fields=(("view", enum_type(View), (0, 1)),),
            possible=not_(x86.GLOBAL),
            walk=ite(_COPY, and_(eq(x86.ROOT_ADDRESS, ROOT_PGT), copy_leads_to_table.expr), and_(eq(x86.ROOT_ADDRESS, GUEST_ROOT), eq(table.expr, Table.hooked_up))),
            leaf_global=FALSE,
            initial=FALSE,
            describe=lambda entry: f"the paging-structure entry that leads to the lower table, walked from {'the guest root table' if entry['entry.view'] else 'its copy'}, PCID {entry['entry.tag']}",
        ),
        meanings={"usable": x86.USABLE, "may": not_(_REUSED), "refers_to_reused_table": _REUSED},
        flags={f: f.default for f in FLAGS},
        notation=replace(x86.NOTATION, values={**x86.NOTATION.values, "flush_flags": show_flags, **dict.fromkeys(("cr3", "MOV to CR3.value"), _show_cr3)}),
        variants={
            "root-copy-stale": Variant(
                "no FLUSH_ROOT_PGTBL to the other CPUs that use the table", {ROOT_COPY_STALE: True}, expected=dict.fromkeys(CLEAN, "violated"), source="xen 18173843a5, mutated"
            ),
            "tables-not-flushed": Variant("do_mmu_update() flushes no TLB; the new use of a frame does", {TABLES_NOT_FLUSHED: True}, expected=CLEAN, source="xen before 16a20963b3"),
            "reused-before-flush": Variant(
                "a freed table's frame gets its new use before the flush that was put off",
                {TABLES_NOT_FLUSHED: True, REUSED_BEFORE_FLUSH: True},
                expected={**CLEAN, "page-walk-safety": "violated"},
                source="the shape of XSA-480 (4bc2e5333a), on ordinary page tables; x86-tlb.md 1.3, L-2",
            ),
        },
        expected=CLEAN,
        expected_source="properties.md 1 and 4",
        about=tuple(CLEAN),
        assumptions=(
            "one guest root table, used by a vCPU on each CPU all the time; a vCPU that is switched to finds root_pgt_changed set (write_ptbase)",
            "an interrupt that arrives in the guest enters Xen first: here it waits until the entry has enabled interrupts",
            "a table that is taken out keeps its reference until do_mmu_update() has flushed; whether Xen drops it earlier is not looked into",
            "paging-structure entries of one table only: what is walked through one is there only while it is, or was",
            "flush_area_mask() keeps what xen/shootdown proves of it; a new use flushes every CPU, as if the flush clock left nobody out",
        ),
        scope={"roots": 1, "tables": 1},
        depth=20,
        numbers={"cpus": cpus},
        resized=_model,
    )


root_copy = _model(cpus=2)
