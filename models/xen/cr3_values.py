"""Who reads v->arch.cr3 or CR3, and what for: NOFLUSH and the PCID must not reach who takes it for an address.

The review of the posted patch asks whether the masks in debug.c and domain_page.c are needed.
Every consumer of a CR3 value is here with the mask that the series gives it; the variants leave
each out. Sources: [PATCH v5 7/7], 5c81d260c2.
"""

from __future__ import annotations

import enum

from tlbcheck import Flag, Model, Operation, Variant, atomic, choose, procedure, require, u64
from tlbcheck.lang.types import U64
from tlbcheck.machine import x86

from . import callers
from .contexts import NOTATION, VCPUS, Context, Kind, current_is_idle, kind, observed_kind, use_invpcid
from .contracts import CONTRACTS, TODAY
from .primitives import local_irq_disable, local_irq_enable, read_cr3, read_cr4, write_cr3

DEBUG_UNMASKED = Flag("DEBUG_UNMASKED", False)
"""dbg_pv_va2mfn() takes v->arch.cr3 as it is."""
MAPCACHE_UNMASKED = Flag("MAPCACHE_UNMASKED", False)
"""mapcache_current_vcpu() compares the whole of CR3."""
DOM0_UNMASKED = Flag("DOM0_UNMASKED", False)
"""The dom0 builder loads v->arch.cr3 as it is, under idle's CR4."""
FLAGS = (DEBUG_UNMASKED, MAPCACHE_UNMASKED, DOM0_UNMASKED)

maddr_to_mfn = Operation("CR3 value as an address", (("value", U64),), text="takes {value} for the address of a root table")
"""A shift by PAGE_SHIFT: the PCID is shifted out, bit 63 is not."""


@procedure
def cr3_pa(cr3: u64) -> u64:
    return cr3 & x86.X86_CR3_ADDR_MASK


@procedure
def dbg_pv_va2mfn() -> None:
    """The debugger walks the page tables of any vCPU from v->arch.cr3 (debug.c)."""
    v = choose(Context)
    require(kind(v) != Kind.hvm)
    callers.require_exists(v)
    cr3 = callers.make_cr3(v)
    if not DEBUG_UNMASKED:
        cr3 = cr3_pa(cr3)
    maddr_to_mfn(cr3)


@procedure
def mapcache_current_vcpu() -> None:
    """An idle CPU that wants a temporary mapping syncs, and asserts that it runs on idle's tables (domain_page.c)."""
    require(current_is_idle.get())
    local_irq_disable()
    callers.write_ptbase(callers.IDLE_VCPU)
    local_irq_enable()
    cr3 = read_cr3()
    if not MAPCACHE_UNMASKED:
        cr3 = cr3_pa(cr3)
    assert cr3 == callers.IDLE_ROOT


@procedure
def dom0_construct_pv() -> None:
    """The dom0 builder runs on idle's CR4 and loads dom0's tables to write into them (dom0_build.c)."""
    with atomic("the dom0 builder runs on the idle vCPU's page tables"):
        v = choose(Context)
        require(kind(v) not in (Kind.idle, Kind.hvm))
        callers.require_exists(v)
        require(current_is_idle.get() and read_cr3() == callers.IDLE_ROOT and not (read_cr4() & x86.X86_CR4_PCIDE))
    cr3 = callers.make_cr3(v)
    if not DOM0_UNMASKED:
        cr3 = cr3_pa(cr3)
    write_cr3(cr3)
    write_cr3(callers.IDLE_ROOT)


class Doing(enum.Enum):
    debug = enum.auto()
    mapcache = enum.auto()
    dom0 = enum.auto()


@procedure
def run_cpu() -> None:
    """Each consumer, in any order, from any context that the CPU may be in."""
    while True:
        doing = choose(Doing)
        if doing == Doing.debug:
            dbg_pv_va2mfn()
        elif doing == Doing.mapcache:
            mapcache_current_vcpu()
        else:
            dom0_construct_pv()


@procedure
def start() -> None:
    """Any vCPU runs, is kept lazily, or the CPU is idle."""
    callers.start()
    if choose(bool):
        current_is_idle.set(True)


CLEAN = {"cr3-address": "proved", "no-fault": "proved", "requires": "proved"}
cr3_values = Model(
    name="xen/cr3-values",
    title="what CR3 values are taken for",
    source="[PATCH v5 7/7], xen 5c81d260c2",
    init=start,
    task=run_cpu,
    cases=(observed_kind, use_invpcid),
    settings={**x86.SETTINGS, "setting.invpcid": use_invpcid.expr},
    procedures=TODAY,
    contracts=CONTRACTS,
    flags={f: f.default for f in (*callers.FLAGS, *FLAGS)},
    notation=NOTATION,
    variants={
        "debug-unmasked": Variant(
            "dbg_pv_va2mfn() takes v->arch.cr3 without a mask", {DEBUG_UNMASKED: True}, expected={**CLEAN, "cr3-address": "violated"}, source="review of [PATCH v5 7/7]: 'Is this needed?'"
        ),
        "mapcache-unmasked": Variant(
            "mapcache_current_vcpu() compares the whole of CR3", {MAPCACHE_UNMASKED: True}, expected=CLEAN, source="review of [PATCH v5 7/7]: the mask is not needed there, since idle has PCID 0"
        ),
        "dom0-unmasked": Variant("the dom0 builder loads v->arch.cr3 as it is", {DOM0_UNMASKED: True}, expected={**CLEAN, "no-fault": "violated"}, source="xen.md 1.4: the strip in 5c81d260c2"),
    },
    expected=CLEAN,
    expected_source="the review of [PATCH v5 7/7]; xen.md 1.4",
    vacuous=("no-fault/#UD",),
    about=tuple(CLEAN),
    assumptions=(
        "the consumers are those that the series touches; each takes one value at a time, of any context, so that no number of vCPUs or CPUs adds anything",
        "nothing is asked about caches here",
    ),
    scope={"contexts": VCPUS},
    depth=8,
)
