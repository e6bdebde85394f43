"""Reclaim clears a page-table entry and flushes later; munmap() in between relies on it (Linux 3ea277194daa).

munmap() finds nothing to unmap and so flushes nothing, and returns to user space, which can still
use the page. A mark that is set under the lock makes it flush.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, per_cpu, procedure, require, shared, this_cpu
from tlbcheck.lang.expr import FALSE, and_, eq, not_
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    data = enum.auto()


NO_PENDING_MARK = Flag("NO_PENDING_MARK", False)
"""Fault: nothing says that a flush is still to come."""
USER_ROOT, KERNEL_ROOT = 0x1000, 0x2000
RECLAIMER, PROGRAM = 0, 1
"""The CPU that reclaims memory, and the one that runs the program."""

pte_present = shared("pte_present", bool)
page_table_lock = shared("page_table_lock", bool)
tlb_flush_batched = shared("tlb_flush_batched", bool)
"""A flush of this mm is still to come."""
flush_pending = per_cpu("flush_pending", bool)


@procedure
def lock() -> None:
    with atomic("takes the page-table lock"):
        require(not page_table_lock.get())
        page_table_lock.set(True)


@procedure
def try_to_unmap() -> None:
    """Reclaim: the entry goes at once, the flush comes when a batch is full."""
    lock()
    if pte_present.get():
        pte_present.set(False)
        if not NO_PENDING_MARK:
            tlb_flush_batched.set(True)
        page_table_lock.set(False)
        with atomic("the batch is full: interrupts the program's CPU to flush"):
            flush_pending.at(PROGRAM).set(True)
        with atomic("goes on: the program's CPU has flushed, and the frame can be freed"):
            require(not flush_pending.at(PROGRAM).get())
    else:
        page_table_lock.set(False)


@procedure(role="unmap")
def munmap() -> None:
    """The program gives the page up; what it does next relies on its being gone."""
    lock()
    if not NO_PENDING_MARK and tlb_flush_batched.get():
        x86.INVLPG(Page.data, True)
        tlb_flush_batched.set(False)
    if pte_present.get():
        pte_present.set(False)
        page_table_lock.set(False)
        x86.INVLPG(Page.data, True)
    else:
        with atomic("nothing is mapped: unlocks and returns, without a flush"):
            page_table_lock.set(False)


@procedure
def page_fault() -> None:
    """The program touches the page: it is mapped again."""
    lock()
    pte_present.set(True)
    page_table_lock.set(False)


@procedure
def flush_ipi() -> None:
    x86.INVLPG(Page.data, True)
    flush_pending.set(False)


@procedure
def run_cpu() -> None:
    while True:
        if this_cpu() == RECLAIMER:
            try_to_unmap()
        elif choose(bool):
            munmap()
        else:
            page_fault()


@procedure
def start() -> None:
    """The program runs on one CPU, a kernel thread that reclaims memory on the other."""
    x86.CR0.at(RECLAIMER).set(x86.X86_CR0_PG)
    x86.CR0.at(PROGRAM).set(x86.X86_CR0_PG)
    x86.CR3.at(RECLAIMER).set(KERNEL_ROOT)
    x86.CR3.at(PROGRAM).set(USER_ROOT)
    x86.IF.at(RECLAIMER).set(True)
    x86.IF.at(PROGRAM).set(True)
    pte_present.set(True)


def _show_cr3(value: int) -> str:
    return "the program's page tables" if value == USER_ROOT else "the kernel's page tables"


model = Model(
    name="linux/deferred-flush",
    title="reclaim that flushes in batches, and munmap()",
    source="Linux 3ea277194daa, mm/mprotect.c and mm/rmap.c",
    cpus=2,
    init=start,
    task=run_cpu,
    interrupts=(Interrupt(flush_ipi, x86.IF, when=flush_pending.expr),),
    cache=x86.tlb(
        tags=(0,),
        fields=(("page", enum_type(Page), (0,)),),
        walk=and_(eq(x86.ROOT_ADDRESS, USER_ROOT), pte_present.expr),
        leaf_global=FALSE,
        possible=not_(x86.GLOBAL),
        initial=FALSE,
        describe=lambda entry: "the program's page at its old frame",
    ),
    meanings={"usable": x86.USABLE, "may": pte_present.expr, "revoked": not_(pte_present.expr)},
    flags={NO_PENDING_MARK: False},
    notation=replace(x86.NOTATION, values={**x86.NOTATION.values, "cr3": _show_cr3}),
    variants={
        "no-pending-mark": Variant(
            "nothing says that reclaim still has to flush",
            {NO_PENDING_MARK: True},
            expected={"stale-use": "violated", "no-fault": "proved"},
            source="Linux before 3ea277194daa",
        )
    },
    expected={"stale-use": "proved", "no-fault": "proved"},
    vacuous=("no-fault/#GP", "no-fault/#UD", "no-fault/assert"),
    about=("stale-use", "no-fault"),
    assumptions=(
        "one CPU reclaims, one runs a program of one thread: a page-table lock lets nobody else in between; mprotect() is the same with rights for presence",
        "one page; x86 without PCIDs and large pages",
    ),
    scope={"pages": 1},
    depth=16,
)
