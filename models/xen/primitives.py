"""Xen's small wrappers around privileged operations (asm-x86/processor.h, invpcid.h, flushtlb.c)."""

from __future__ import annotations

from tlbcheck import marker, procedure, u64
from tlbcheck.machine.x86 import (
    CLI,
    INVPCID_ALL_NONGLOBAL,
    INVPCID_CONTEXT,
    MOV_FROM_CR3,
    MOV_FROM_CR4,
    MOV_TO_CR3,
    MOV_TO_CR4,
    POPF,
    PUSHF,
    PUSHF_CLI,
    STI,
    X86_CR3_PCID_MASK,
    X86_CR4_PCIDE,
    X86_CR4_PGE,
)

local_irq_save = PUSHF_CLI
local_irq_restore = POPF
local_irq_disable = CLI
local_irq_is_enabled = PUSHF
local_irq_enable = STI
read_cr3 = MOV_FROM_CR3
write_cr3 = MOV_TO_CR3
read_cr4 = MOV_FROM_CR4
"""Xen reads a cached copy, which write_cr4 keeps equal to the register."""
invpcid_flush_single_context = INVPCID_CONTEXT
invpcid_flush_all_nonglobals = INVPCID_ALL_NONGLOBAL

pre_flush = marker("clock tick", "ticks the TLB flush clock")
post_flush = marker("clock stamp", "stamps this CPU's flush time")


@procedure
def write_cr4(val: u64) -> None:
    """No global pages in case of PCIDs enabled (asserted since v4 of the series)."""
    assert not (val & X86_CR4_PGE) or not (val & X86_CR4_PCIDE)
    MOV_TO_CR4(val)


@procedure
def write_cr4_unchecked(val: u64) -> None:
    """write_cr4 as it was before the PCID series."""
    MOV_TO_CR4(val)


@procedure
def cr3_pcid(cr3: u64) -> u64:
    return cr3 & X86_CR3_PCID_MASK
