"""EFI runtime calls: the firmware runs on page tables of its own (xen/arch/x86/efi, xen.md 2.4)."""

from __future__ import annotations

from tlbcheck import Flag, atomic, procedure, u64

from . import callers, lazy_state
from .primitives import read_cr3, read_cr4

EFI_LAZY_SYNC = Flag("EFI_LAZY_SYNC", False)
"""Fault: the page tables of a lazy vCPU are not left first, and so are saved and loaded again."""
EFI_ROOT = 0x9000


@procedure
def efi_rs_enter() -> u64:
    """Loads the firmware's page tables; gives the CR3 to come back to."""
    if not EFI_LAZY_SYNC:
        lazy_state.sync_local_execstate()
    with atomic("efi_rs_enter(): saves CR3, to load it again after the call"):
        saved = read_cr3()
    callers.switch_cr3_cr4(EFI_ROOT, read_cr4())
    return saved


@procedure
def efi_rs_leave(saved: u64) -> None:
    """Back to the page tables from before the call, with the CR4 that is in force now."""
    callers.switch_cr3_cr4(saved, read_cr4())


@procedure
def efi_runtime_call() -> None:
    """Firmware code runs with interrupts on: a CPU may be asked to sync its lazy vCPU in the middle of it."""
    saved = efi_rs_enter()
    efi_rs_leave(saved)
