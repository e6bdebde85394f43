"""The address-space switch, as each published version has it.

Each function stands for ``write_cr3_cr4``/``switch_cr3_cr4`` of one commit, operation by operation
(xen.md 1.3). Repairs and mutations are flags at the lines that they change.
"""

from __future__ import annotations

from tlbcheck import Flag, procedure, u64
from tlbcheck.machine.x86 import X86_CR3_NOFLUSH, X86_CR3_PCID_MASK, X86_CR4_PCIDE, X86_CR4_PGE

from .contexts import use_invpcid
from .primitives import (
    cr3_pcid,
    invpcid_flush_all_nonglobals,
    invpcid_flush_single_context,
    local_irq_restore,
    local_irq_save,
    post_flush,
    pre_flush,
    read_cr3,
    read_cr4,
    write_cr3,
    write_cr4,
    write_cr4_unchecked,
)

CR4_NOT_RESTORED = Flag("CR4_NOT_RESTORED", False)
"""Fault: the write that brings CR4 to its new value is left out."""
OLD_PCID_FLUSHED = Flag("OLD_PCID_FLUSHED", True)
"""v5's own addition: flush what was cached under the old PCID before CR3 was written."""
SAME_PCID_RELOAD_REPAIRED = Flag("SAME_PCID_RELOAD_REPAIRED", False)
SKIPPED_OLD_PCID_FLUSH_REPAIRED = Flag("SKIPPED_OLD_PCID_FLUSH_REPAIRED", False)
CR3_READ_EARLY_REPAIRED = Flag("CR3_READ_EARLY_REPAIRED", False)
PCIDE_LATE_REPAIRED = Flag("PCIDE_LATE_REPAIRED", False)


@procedure(role="switch")
def switch_cr3_cr4_before_pcid(cr3: u64, cr4: u64) -> None:
    """d543fa4093 (26 April 2018)."""
    flags = local_irq_save()
    pre_flush()
    old_cr4 = read_cr4()
    if old_cr4 & X86_CR4_PGE:
        old_cr4 = cr4 & ~X86_CR4_PGE
        write_cr4_unchecked(old_cr4)
    write_cr3(cr3)
    if not CR4_NOT_RESTORED and old_cr4 != cr4:
        write_cr4_unchecked(cr4)
    post_flush()
    local_irq_restore(flags)


@procedure(role="switch")
def write_cr3_cr4(cr3: u64, cr4: u64) -> None:
    """The seed: "xen/x86: use PCID feature", v5 7/7 (6 April 2018). Four faults, each with its repair."""
    old_pcid: u64 = 0
    if not CR3_READ_EARLY_REPAIRED:
        old_pcid = read_cr3() & X86_CR3_PCID_MASK
    flags = local_irq_save()
    if CR3_READ_EARLY_REPAIRED:
        old_pcid = read_cr3() & X86_CR3_PCID_MASK
    pre_flush()
    old_cr4 = read_cr4()
    if old_cr4 & X86_CR4_PGE:
        write_cr4(cr4 & ~X86_CR4_PGE)
    elif use_invpcid:
        invpcid_flush_all_nonglobals()
        if PCIDE_LATE_REPAIRED and (old_cr4 & X86_CR4_PCIDE) < (cr4 & X86_CR4_PCIDE):
            write_cr4(cr4)
    if SAME_PCID_RELOAD_REPAIRED and old_pcid == cr3 & X86_CR3_PCID_MASK:
        cr3 &= ~X86_CR3_NOFLUSH
    write_cr3(cr3)
    if read_cr4() != cr4:
        write_cr4(cr4)
        # the CR4 write flushed everything if it set PGE or cleared PCIDE
        flushed = cr4 & X86_CR4_PGE or (old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE)
        if SKIPPED_OLD_PCID_FLUSH_REPAIRED and OLD_PCID_FLUSHED and old_pcid != cr3 & X86_CR3_PCID_MASK and not flushed:
            invpcid_flush_single_context(old_pcid)
    elif OLD_PCID_FLUSHED and old_pcid != cr3 & X86_CR3_PCID_MASK:
        invpcid_flush_single_context(old_pcid)
    post_flush()
    local_irq_restore(flags)


@procedure(role="switch")
def switch_cr3_cr4_committed(cr3: u64, cr4: u64) -> None:
    """5c81d260c2 (26 April 2018): as v5, with the last CR4 value written kept in a local."""
    old_pcid = cr3_pcid(read_cr3())
    flags = local_irq_save()
    pre_flush()
    old_cr4 = read_cr4()
    if old_cr4 & X86_CR4_PGE:
        old_cr4 = cr4 & ~X86_CR4_PGE
        write_cr4(old_cr4)
    elif use_invpcid:
        invpcid_flush_all_nonglobals()
    write_cr3(cr3)
    if old_cr4 != cr4:
        write_cr4(cr4)
    elif old_pcid != cr3_pcid(cr3):
        invpcid_flush_single_context(old_pcid)
    post_flush()
    local_irq_restore(flags)


PCIDE_SET_BEFORE_CR3 = Flag("PCIDE_SET_BEFORE_CR3", False)
"""fdc2056767: CR4.PCIDE is set before a CR3 value that needs it is written."""


@procedure(role="switch")
def switch_cr3_cr4_xsa_292(cr3: u64, cr4: u64) -> None:
    """6e5f22ba43 (XSA-292, 5 March 2019) and, with PCIDE_SET_BEFORE_CR3, fdc2056767."""
    flags = local_irq_save()
    pre_flush()
    old_cr4 = read_cr4()
    if old_cr4 & X86_CR4_PGE:
        old_cr4 = cr4 & ~X86_CR4_PGE
        write_cr4(old_cr4)
    elif use_invpcid:
        invpcid_flush_all_nonglobals()
        if PCIDE_SET_BEFORE_CR3 and (old_cr4 & X86_CR4_PCIDE) < (cr4 & X86_CR4_PCIDE):
            write_cr4(cr4)
            old_cr4 = cr4
    old_pcid = cr3_pcid(read_cr3())
    if old_pcid == cr3_pcid(cr3):
        cr3 &= ~X86_CR3_NOFLUSH
    write_cr3(cr3)
    if old_cr4 != cr4:
        write_cr4(cr4)
    if old_pcid != cr3_pcid(cr3) and not (cr4 & X86_CR4_PGE) and (old_cr4 & X86_CR4_PCIDE) <= (cr4 & X86_CR4_PCIDE):
        invpcid_flush_single_context(old_pcid)
    post_flush()
    local_irq_restore(flags)


@procedure(role="switch")
def switch_cr3_cr4_flush_once(cr3: u64, cr4: u64) -> None:
    """edc426665f (18 September 2019), in substance today's: the TLB is flushed once, after CR3."""
    assert not (cr4 & X86_CR4_PCIDE) or not (cr4 & X86_CR4_PGE)
    flags = local_irq_save()
    pre_flush()
    old_cr4 = read_cr4()
    assert not (old_cr4 & X86_CR4_PCIDE) or not (old_cr4 & X86_CR4_PGE)
    if not (old_cr4 & X86_CR4_PCIDE) and (cr4 & X86_CR4_PCIDE or cr4 & old_cr4 & X86_CR4_PGE):
        old_cr4 = cr4 & ~X86_CR4_PGE
        write_cr4(old_cr4)
    if (old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE):
        cr3 |= X86_CR3_NOFLUSH
    write_cr3(cr3)
    if old_cr4 != cr4:
        write_cr4(cr4)
    if cr4 & X86_CR4_PCIDE:
        invpcid_flush_all_nonglobals()
    post_flush()
    local_irq_restore(flags)
