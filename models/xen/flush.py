"""Flushing the local TLB: do_tlb_flush() and flush_area_local() (xen/arch/x86/flushtlb.c, xen.md 1.3).

Whoever calls them relies on what they promise at their return: ``flush-all`` for the one,
``flush-page`` for the other where it is asked for a single page.
"""

from __future__ import annotations

from tlbcheck import Flag, per_cpu, procedure, requires, u32
from tlbcheck.machine.x86 import INVLPG, INVPCID_ADDRESS, INVPCID_ALL, INVPCID_ALL_NONGLOBAL, X86_CR4_PCIDE, X86_CR4_PGE

from .contexts import PCID_PV_PRIV, PCID_PV_USER, PCID_PV_XPTI, Page, use_invpcid, xpti_exists
from .primitives import local_irq_restore, local_irq_save, post_flush, pre_flush, read_cr3, read_cr4, write_cr3, write_cr4

FLUSH_ORDER_MASK = 0xFF
FLUSH_TLB = 0x100
FLUSH_TLB_GLOBAL = 0x200
FLUSH_VCPU_STATE = 0x1000
FLUSH_ROOT_PGTBL = 0x2000
FLUSH_ONE_PAGE = FLUSH_TLB | 1
"""FLUSH_TLB | FLUSH_ORDER(0): the order is kept plus one, and none means everything."""

FLUSH_KEEPS_GLOBALS = Flag("FLUSH_KEEPS_GLOBALS", False)
"""Fault: do_tlb_flush() uses INVPCID type 3, which keeps global entries, for type 2."""
FLUSH_SKIPS_XPTI_PCIDS = Flag("FLUSH_SKIPS_XPTI_PCIDS", False)
"""Fault: the flush of one page forgets the PCIDs under which XPTI guests run."""
PGE_FLIPPED = Flag("PGE_FLIPPED", False)
"""do_tlb_flush() as it was before b5087a31ef: CR4.PGE is flipped and flipped back, whatever it was."""
FLAGS = (FLUSH_KEEPS_GLOBALS, FLUSH_SKIPS_XPTI_PCIDS, PGE_FLIPPED)

root_pgt_changed = per_cpu("root_pgt_changed", bool)
"""The next exit to the guest has to copy the vCPU's root table again."""


@procedure(role="flush-all", ensures=("flush-all", "no-fault"))
def do_tlb_flush() -> None:
    """Everything cached on this CPU goes, global entries too (94a992bccd, b5087a31ef)."""
    flags = local_irq_save()
    pre_flush()
    if use_invpcid:
        if FLUSH_KEEPS_GLOBALS:
            INVPCID_ALL_NONGLOBAL()
        else:
            INVPCID_ALL()
    else:
        cr4 = read_cr4()
        if cr4 & X86_CR4_PGE or PGE_FLIPPED:
            write_cr4(cr4 ^ X86_CR4_PGE)
            write_cr4(cr4)
        else:
            write_cr3(read_cr3())
    post_flush()
    local_irq_restore(flags)


@procedure(role="flush-page", ensures=("flush-page", "no-fault"))
def flush_one_page(va: Page, canonical: bool) -> None:
    """One page under every PCID in use: they are shared by all domains and both views of a guest."""
    requires(canonical)  # INVPCID faults on any other address (XSA-279)
    if read_cr4() & X86_CR4_PCIDE:
        INVPCID_ADDRESS(PCID_PV_PRIV, va, canonical)
        INVPCID_ADDRESS(PCID_PV_USER, va, canonical)
        if xpti_exists and not FLUSH_SKIPS_XPTI_PCIDS:
            INVPCID_ADDRESS(PCID_PV_PRIV | PCID_PV_XPTI, va, canonical)
            INVPCID_ADDRESS(PCID_PV_USER | PCID_PV_XPTI, va, canonical)
    else:
        INVLPG(va, canonical)


@procedure
def is_one_page(flags: u32) -> bool:
    return flags & FLUSH_ORDER_MASK == FLUSH_ONE_PAGE & FLUSH_ORDER_MASK


@procedure
def flush_area_local(va: Page, canonical: bool, flags: u32) -> None:
    """A single page, or everything; larger areas are everything too."""
    requires(canonical or not is_one_page(flags))
    if flags & (FLUSH_TLB | FLUSH_TLB_GLOBAL):
        if is_one_page(flags):
            flush_one_page(va, canonical)
        else:
            do_tlb_flush()
    if flags & FLUSH_ROOT_PGTBL:
        root_pgt_changed.set(True)
