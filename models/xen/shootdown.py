"""Flushing other CPUs' TLBs: flush_area_mask() and invalidate_interrupt() (xen/arch/x86/smp.c).

The initiator flushes itself, publishes what to flush under a lock, sends interrupts and waits with
interrupts on until every CPU has taken itself out of the mask. A CPU that is asked may first
leave the page tables of a vCPU that it keeps lazily; that switch flushes everything already.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Table, Variant, atomic, choose, cpus, marker, per_cpu, procedure, require, requires, shared, this_cpu, u32, var
from tlbcheck.lang.expr import eq, lookup, not_, or_
from tlbcheck.lang.program import CPU_SELF
from tlbcheck.lang.types import CPU, U32, enum_type
from tlbcheck.machine import x86

from . import callers, flush
from .contexts import MEANINGS, NOTATION, Context, Kind, Page, current_is_idle, kind, observed_kind, tlb, use_invpcid, xpti_exists
from .contracts import CONTRACTS, TODAY
from .flush import FLUSH_ONE_PAGE, FLUSH_ORDER_MASK, FLUSH_ROOT_PGTBL, FLUSH_TLB, FLUSH_TLB_GLOBAL, FLUSH_VCPU_STATE, flush_area_local
from .primitives import local_irq_disable, local_irq_enable, local_irq_is_enabled, local_irq_restore, local_irq_save, read_cr3

LOCAL_ONLY_FLUSH = Flag("LOCAL_ONLY_FLUSH", False)
"""Fault: flush_area() forgets the other CPUs where interrupts are off, and may be called so."""
ACK_BEFORE_FLUSH = Flag("ACK_BEFORE_FLUSH", False)
"""Fault: the handler leaves the mask first, and then reads what to flush."""
SKIP_WITHOUT_SWITCH = Flag("SKIP_WITHOUT_SWITCH", False)
"""Fault: the handler drops the flush whenever it was asked to sync, switch or not."""
WAIT_IRQS_OFF = Flag("WAIT_IRQS_OFF", False)
"""Fault: flush_lock is taken, and the others awaited, with interrupts off."""
FLAGS = (LOCAL_ONLY_FLUSH, ACK_BEFORE_FLUSH, SKIP_WITHOUT_SWITCH, WAIT_IRQS_OFF)

PAGES = (Page.shared, Page.perdomain)
LOADED = (Context["idle"], Context["observed_pcid_kernel"])
bit_of = Table("bit_of", CPU, tuple(1 << c for c in CPU.values()), U32)
"""A CPU's bit in a mask."""
EVERYBODY = (1 << len(CPU.values())) - 1

flush_lock = shared("flush_lock", bool)
flush_cpumask = per_cpu("in_flush_cpumask", bool)
"""Whether the CPU is in flush_cpumask: asked, and not done yet."""
flush_va = shared("flush_va", Page)
flush_flags = shared("flush_flags", u32)
change_mapping = marker("mapping changed", "changes a mapping, which is to be flushed")


@procedure
def sync_local_execstate() -> bool:
    """__sync_local_execstate(): a CPU that keeps a vCPU's tables lazily goes to idle's; says whether it did."""
    with atomic("are a vCPU's page tables kept lazily here?"):
        lazy = current_is_idle.get() and read_cr3() & x86.X86_CR3_ADDR_MASK != callers.IDLE_ROOT
    if lazy:
        callers.write_ptbase(callers.IDLE_VCPU)
    return lazy


@procedure(role="ipi")
def invalidate_interrupt() -> None:
    """The flush interrupt: sync the vCPU's state, flush, and leave the mask last."""
    if ACK_BEFORE_FLUSH:
        flush_cpumask.set(False)
    flags = flush_flags.get()
    if flags & FLUSH_VCPU_STATE:
        switched = sync_local_execstate()
        if switched or SKIP_WITHOUT_SWITCH:
            flags &= ~(FLUSH_TLB | FLUSH_TLB_GLOBAL)
    if flags & ~(FLUSH_VCPU_STATE | FLUSH_ORDER_MASK):
        flush_area_local(flush_va.get(), True, flags)
    if not ACK_BEFORE_FLUSH:
        flush_cpumask.set(False)


@procedure
def wait_for_the_others() -> None:
    """while ( !cpumask_empty(&flush_cpumask) ) cpu_relax();"""
    while True:
        with atomic("looks whether every CPU has left the mask"):
            waiting: bool = False
            for cpu in cpus():
                if flush_cpumask.at(cpu).get():
                    waiting = True
        if not waiting:
            return


@procedure
def flush_area_mask(mask: u32, va: Page, flags: u32) -> None:
    """Flush on this CPU, and have the others do it. What it requires is what Xen asserts since 9f735ee490."""
    requires(mask & ~bit_of(this_cpu()) == 0 or x86.IF.get())
    if flags & ~(FLUSH_VCPU_STATE | FLUSH_ORDER_MASK) and mask & bit_of(this_cpu()):
        flush_area_local(va, True, flags)
    if mask & ~bit_of(this_cpu()):
        irqs: bool = True
        if WAIT_IRQS_OFF:
            irqs = local_irq_save()
        with atomic("takes flush_lock"):
            require(not flush_lock.get())
            flush_lock.set(True)
        flush_va.set(va)
        flush_flags.set(flags)
        with atomic("puts the others into flush_cpumask and interrupts them"):
            for cpu in cpus():
                if cpu != this_cpu():
                    flush_cpumask.at(cpu).set(mask & bit_of(cpu) != 0)
        wait_for_the_others()
        flush_lock.set(False)
        if WAIT_IRQS_OFF:
            local_irq_restore(irqs)


@procedure(role="shootdown")
def flush_area(mask: u32, va: Page, flags: u32) -> None:
    """Flush an area on the CPUs of ``mask``, for whoever changed a mapping."""
    if LOCAL_ONLY_FLUSH and not local_irq_is_enabled():
        flush_area_local(va, True, flags)
        return
    flush_area_mask(mask, va, flags)


class Request(enum.Enum):
    """What is asked for: a page everywhere, everything everywhere, everything on the others with a sync of their vCPU's state."""

    page = enum.auto()
    everything = enum.auto()
    with_sync = enum.auto()
    go_lazy = enum.auto()


flags_of = Table("flags_of", enum_type(Request), (FLUSH_ONE_PAGE, FLUSH_TLB, FLUSH_TLB | FLUSH_VCPU_STATE, 0), U32)


@procedure
def run_cpu() -> None:
    """A CPU changes mappings and has them flushed, on all CPUs or on the others; and it may go idle at any time."""
    while True:
        request = choose(Request)
        if request == Request.go_lazy:
            callers.idle_lazily()
        else:
            with atomic("changes a mapping, which is to be flushed"):
                change_mapping()
                va = choose(PAGES) if request == Request.page else Page.shared
            mask: u32 = EVERYBODY & ~bit_of(this_cpu()) if request == Request.with_sync else EVERYBODY
            if LOCAL_ONLY_FLUSH and this_cpu() == 0 and request == Request.page and choose(bool):
                local_irq_disable()
                flush_area(mask, va, flags_of(request))
                local_irq_enable()
            else:
                flush_area(mask, va, flags_of(request))


@procedure
def start() -> None:
    """Each CPU runs a vCPU, keeps one lazily, or is idle."""
    require(observed_kind == Kind.pcid and use_invpcid and xpti_exists)
    for cpu in cpus():
        v = choose(LOADED)
        lazily = choose(bool)
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(callers.make_cr3(v) & ~x86.X86_CR3_NOFLUSH)
        x86.CR4.at(cpu).set(callers.MMU_CR4_FEATURES if kind(v) == Kind.idle else callers.pv_guest_cr4_to_real_cr4(v))
        x86.IF.at(cpu).set(True)
        current_is_idle.at(cpu).set(kind(v) == Kind.idle or lazily)


_VA, _FLAGS = var("arg.va", enum_type(Page)), var("arg.flags", U32)
_PAGE = var("entry.page", enum_type(Page))
CLEAN = dict.fromkeys(("shootdown", "shootdown-completes", "no-fault", "requires"), "proved")


def show_flags(value: int) -> str:
    """What a flush is asked to do, by the names of its flags."""
    named = {"FLUSH_TLB": FLUSH_TLB, "FLUSH_VCPU_STATE": FLUSH_VCPU_STATE, "FLUSH_ROOT_PGTBL": FLUSH_ROOT_PGTBL}
    order = ["one page"] if value & FLUSH_ORDER_MASK else []
    return " | ".join([name for name, bit in named.items() if value & bit] + order) or "0"


def _model(cpus: int) -> Model:
    return Model(
        name="xen/shootdown",
        title="flush_area_mask() and the flush interrupt",
        source="xen 9f735ee490, xen/arch/x86/smp.c",
        cpus=cpus,
        init=start,
        task=run_cpu,
        interrupts=(Interrupt(invalidate_interrupt, x86.IF, when=flush_cpumask.expr),),
        cache=tlb(pages=PAGES, tags=(0,)),
        cases=(observed_kind, use_invpcid, xpti_exists),
        meanings={
            **MEANINGS,
            "usable": x86.USABLE,
            "in_mask": not_(eq(var("arg.mask", U32) & lookup(CPU_SELF, bit_of.values, U32), 0)),
            "asked_for": or_(eq(_VA, _PAGE), not_(eq(_FLAGS & FLUSH_ORDER_MASK, FLUSH_ONE_PAGE & FLUSH_ORDER_MASK))),
        },
        procedures=TODAY,
        contracts=CONTRACTS,
        flags={f: f.default for f in (*callers.FLAGS, *flush.FLAGS, *FLAGS)},
        notation=replace(NOTATION, values={**NOTATION.values, **dict.fromkeys(("flush_flags", "write flush_flags.value"), show_flags)}),
        variants={
            "local-only-flush": Variant(
                "with interrupts off, flush_area() flushes this CPU only",
                {LOCAL_ONLY_FLUSH: True},
                expected={**CLEAN, "shootdown": "violated"},
                source="xen before 78e072bc37 and 9f735ee490; latent: no such caller was found there",
            ),
            "ack-before-flush": Variant("the handler leaves the mask before it flushes", {ACK_BEFORE_FLUSH: True}, expected={**CLEAN, "shootdown": "violated"}, source="xen c64bf2d2a6, mutated"),
            "skip-without-switch": Variant(
                "the handler drops the flush although the sync switched nothing", {SKIP_WITHOUT_SWITCH: True}, expected={**CLEAN, "shootdown": "violated"}, source="xen c64bf2d2a6, mutated"
            ),
            "wait-irqs-off": Variant(
                "flush_area_mask() takes its lock and waits with interrupts off", {WAIT_IRQS_OFF: True}, expected={**CLEAN, "shootdown-completes": "violated"}, source="x86-tlb.md 6, N-8; mutated"
            ),
        },
        expected=CLEAN,
        expected_source="properties.md 4",
        vacuous=("no-fault/#UD",),
        about=tuple(CLEAN),
        assumptions=(
            "all CPUs are online; an IPI arrives when IF allows, and page-table writes are visible before it (x86-tlb.md 7.5-1)",
            "two pages of Xen's own, mapped in every root; a vCPU of a PCID domain, or idle, on each CPU; no CPU switches back to a vCPU, since a run may start there",
            "the lock is not fair: that every waiter gets it is not claimed, only that every published request ends",
        ),
        scope={"pages": 2, "pcids": [0]},
        depth=12,
        numbers={"cpus": cpus},
        resized=_model,
    )


shootdown = _model(cpus=2)
