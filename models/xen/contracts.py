"""The local procedures as their callers may rely on them: one step each that keeps what is promised.

Models of several CPUs put these in place of the real ones. That is exact for what is asked there:
``xen/local-flush`` and ``xen/flush-once`` prove the promises, under every caller and with
interrupts in between, and an entry may stay until this one step, which is the latest moment that
the promise allows.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlbcheck import Procedure, atomic, procedure, u64
from tlbcheck.machine.x86 import INVLPG, INVPCID_ADDRESS, INVPCID_ALL, X86_CR4_PCIDE

from . import callers, flush
from .contexts import PCID_PV_PRIV, PCID_PV_USER, PCID_PV_XPTI, Page
from .primitives import read_cr4, write_cr3, write_cr4


@procedure(role="flush-all")
def do_tlb_flush() -> None:
    """Ensures flush-all: nothing from before the call stays."""
    with atomic("do_tlb_flush(): everything cached here goes"):
        INVPCID_ALL()


@procedure(role="flush-page")
def flush_one_page(va: Page, canonical: bool) -> None:
    """Ensures flush-page: nothing for the page from before the call stays. Requires a canonical address."""
    assert canonical
    with atomic("flush_area_local(): the page goes, under every PCID in use"):
        if read_cr4() & X86_CR4_PCIDE:
            INVPCID_ADDRESS(PCID_PV_PRIV, va, canonical)
            INVPCID_ADDRESS(PCID_PV_USER, va, canonical)
            INVPCID_ADDRESS(PCID_PV_PRIV | PCID_PV_XPTI, va, canonical)
            INVPCID_ADDRESS(PCID_PV_USER | PCID_PV_XPTI, va, canonical)
        else:
            INVLPG(va, canonical)


@procedure(role="switch")
def switch_cr3_cr4(cr3: u64, cr4: u64) -> None:
    """Ensures missing-flush and switch-lands: CR3 and CR4 as asked, and nothing cached from before."""
    with atomic("switch_cr3_cr4(): loads the other page tables, nothing cached before stays"):
        if cr4 & X86_CR4_PCIDE:
            write_cr4(cr4)
            write_cr3(cr3)
        else:
            write_cr3(cr3)
            write_cr4(cr4)
        INVPCID_ALL()


CONTRACTS: Mapping[Procedure, Procedure] = {
    flush.do_tlb_flush: do_tlb_flush,
    flush.flush_one_page: flush_one_page,
    callers.switch_cr3_cr4: switch_cr3_cr4,
    callers.host_cr4: callers.mmu_cr4_features,
}
