"""The local procedures as their callers may rely on them: one step each that keeps what is promised and no more.

Models of several CPUs put these in place of the real ones. That is exact for what is asked there: the
models that each contract names prove the promises, under every caller that keeps to what is required
and with interrupts in between, and an entry may stay until this one step, which is the latest moment that the
promise allows.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlbcheck import Contract, Operation, Procedure, atomic, procedure, u64, var
from tlbcheck.lang.expr import TRUE, eq
from tlbcheck.lang.program import Clause
from tlbcheck.lang.types import enum_type
from tlbcheck.machine.x86 import X86_CR4_PCIDE

from . import callers, flush
from .contexts import Page
from .primitives import pre_flush, write_cr3, write_cr4

_PAGE = enum_type(Page)
EVERYTHING_GOES = Operation("everything goes", drops=(Clause("flush-all", (TRUE,)),), text="everything cached here goes")
PAGE_GOES = Operation("page goes", (("va", _PAGE),), drops=(Clause("flush-page", (eq(var("entry.page", _PAGE), var("arg.va", _PAGE)),)),), text="flush_area_local(): the page goes, under every PCID")


@procedure(role="flush-all")
def do_tlb_flush() -> None:
    """Nothing from before the tick stays."""
    with atomic("do_tlb_flush(): everything cached here goes"):
        pre_flush()
        EVERYTHING_GOES()


@procedure(role="flush-page")
def flush_one_page(va: Page, canonical: bool) -> None:
    """Nothing for the page from before the call stays."""
    PAGE_GOES(va)


@procedure(role="switch")
def switch_cr3_cr4(cr3: u64, cr4: u64) -> None:
    """CR3 and CR4 as asked, and nothing from before the tick."""
    with atomic("switch_cr3_cr4(): loads the other page tables, nothing cached before stays"):
        pre_flush()
        if cr4 & X86_CR4_PCIDE:
            write_cr4(cr4)
            write_cr3(cr3)
        else:
            write_cr3(cr3)
            write_cr4(cr4)
        EVERYTHING_GOES()


CONTRACTS = (
    Contract(flush.do_tlb_flush, do_tlb_flush, shown_by="xen/local-flush"),
    Contract(flush.flush_one_page, flush_one_page, shown_by="xen/local-flush"),
    Contract(callers.switch_cr3_cr4, switch_cr3_cr4, shown_by="xen/switch-contract"),
)
TODAY: Mapping[Procedure, Procedure] = {callers.host_cr4: callers.mmu_cr4_features}
"""What besides has changed since the series."""
