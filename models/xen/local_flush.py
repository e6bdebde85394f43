"""The local flushes on one CPU, from every context, with an interrupt that flushes in between.

The guest asks for them: do_update_va_mapping() changes one of its page-table entries and flushes
as it was told, at an address that the guest gave (XSA-279).
"""

from __future__ import annotations

import enum

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, most_general_caller, procedure
from tlbcheck.lang.expr import and_, eq, implies, or_, var
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86

from . import callers, flush
from .contexts import MEANINGS, NOTATION, PCID_PV_XPTI, Page, Root, observed_kind, tlb, use_invpcid, xpti_exists

FLUSHES_ON_ERROR = Flag("FLUSHES_ON_ERROR", False)
"""Fault: do_update_va_mapping() flushes although the entry could not be changed."""


@procedure
def do_update_va_mapping() -> None:
    """The guest has a page-table entry changed, and the page flushed here (UVMF_INVLPG)."""
    with atomic("the guest names an address; its page-table entry is changed, unless the address is non-canonical"):
        va = choose((Page.user, Page.kernel))
        canonical = choose(bool)
        changed = canonical and choose(bool)
    if changed or FLUSHES_ON_ERROR:
        flush.flush_area_local(va, canonical, flush.FLUSH_ONE_PAGE)


any_page = most_general_caller(flush.flush_one_page, name="any_page")
any_full_flush = most_general_caller(flush.do_tlb_flush, name="any_full_flush")


class Doing(enum.Enum):
    guest = enum.auto()
    page = enum.auto()
    everything = enum.auto()
    area = enum.auto()


@procedure
def run_cpu() -> None:
    """The guest flushes a page, or anybody anything."""
    while True:
        doing = choose(Doing)
        if doing == Doing.guest:
            do_update_va_mapping()
        elif doing == Doing.page:
            any_page()
        elif doing == Doing.everything:
            any_full_flush()
        else:
            flush.flush_area_local(Page.shared, True, flush.FLUSH_TLB | flush.FLUSH_ROOT_PGTBL)


@procedure
def flush_ipi() -> None:
    """Another CPU asks for a full flush, at any moment at which interrupts are on."""
    flush.do_tlb_flush()


# Idle's root is loaded under PCID 0 only, and guests run under PCIDs 2 and 3 only where there is XPTI.
_POSSIBLE = and_(
    implies(eq(var("entry.root", enum_type(Root)), Root.idle), eq(x86.TAG, 0)),
    or_(xpti_exists.expr, eq(x86.TAG & PCID_PV_XPTI, 0)),
)
CLEAN = dict.fromkeys(("flush-all", "flush-page", "no-fault", "pge-with-pcide", "requires"), "proved")
local_flush = Model(
    name="xen/local-flush",
    title="do_tlb_flush() and flush_area_local() on one CPU",
    source="xen b5087a31ef, xen/arch/x86/flushtlb.c",
    init=callers.start,
    task=run_cpu,
    interrupts=(Interrupt(flush_ipi, x86.IF),),
    cache=tlb(initial=_POSSIBLE),
    cases=(observed_kind, use_invpcid, xpti_exists),
    settings={**x86.SETTINGS, "setting.invpcid": use_invpcid.expr},
    meanings={**MEANINGS, "usable": x86.USABLE},
    flags={f: f.default for f in (*callers.FLAGS, *flush.FLAGS, FLUSHES_ON_ERROR)},
    notation=NOTATION,
    variants={
        "flush-keeps-globals": Variant("INVPCID type 3 for type 2 in do_tlb_flush()", {flush.FLUSH_KEEPS_GLOBALS: True}, expected={**CLEAN, "flush-all": "violated"}, source="xen 94a992bccd, mutated"),
        "flush-skips-xpti-pcids": Variant(
            "the flush of one page leaves PCIDs 2 and 3", {flush.FLUSH_SKIPS_XPTI_PCIDS: True}, expected={**CLEAN, "flush-page": "violated"}, source="[PATCH v5 7/7], mutated"
        ),
        "noncanonical-invpcid": Variant(
            "do_update_va_mapping() flushes on its error path too",
            {FLUSHES_ON_ERROR: True},
            expected={**CLEAN, "no-fault": "violated", "requires": "violated"},
            source="before 6c8d502887 (XSA-279)",
        ),
        "pge-flipped": Variant("CR4.PGE is flipped even where it was clear", {flush.PGE_FLIPPED: True}, expected=CLEAN, source="xen 94a992bccd, before b5087a31ef"),
    },
    expected=CLEAN,
    expected_source="xen.md 1.3 and 2.1",
    about=tuple(CLEAN),
    assumptions=(
        "the TLB at the start is the worst that the machine can hold; entries under PCIDs 2 and 3 exist only where some domain has XPTI",
        "host-tagged entries of 4K pages only; paging-structure caches are not in this model (INVPCID 0 and INVLPG differ there), no errata",
    ),
    scope={"pages": "one of each kind", "pcids": [0, 1, 2, 3]},
    depth=14,
)
