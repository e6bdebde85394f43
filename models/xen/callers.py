"""Who loads page tables in Xen, and with which values (properties.md 2).

Sources: xen/arch/x86/domain.c, mm.c, pv/domain.c, smp.c at 5c81d260c2. What a CPU does between
two switches is free: guests change mode, CPUs go idle and keep a vCPU's tables, the scheduler
picks anybody.
"""

from __future__ import annotations

import enum

from tlbcheck import Flag, Interrupt, atomic, choose, most_general_caller, procedure, require, requires, u64
from tlbcheck.lang.expr import and_, eq, not_
from tlbcheck.machine.x86 import (
    CR0,
    CR3,
    CR4,
    IF,
    ROOT_ADDRESS,
    X86_CR0_PG,
    X86_CR3_ADDR_MASK,
    X86_CR3_NOFLUSH,
    X86_CR3_PCID_MASK,
    X86_CR4_DE,
    X86_CR4_FSGSBASE,
    X86_CR4_OSXSAVE,
    X86_CR4_PAE,
    X86_CR4_PCIDE,
    X86_CR4_PGE,
    X86_CR4_PSE,
    X86_CR4_SMAP,
    X86_CR4_SMEP,
    X86_CR4_TSD,
)

from .contexts import PCID_PV_PRIV, PCID_PV_USER, Context, Kind, Mode, Root, Space, address, current_is_idle, kind, mode, observed_kind, root_address, space, toggled, tsd, use_invpcid
from .primitives import local_irq_disable, local_irq_enable, read_cr3, read_cr4, write_cr3

PCID_EXISTS = Flag("PCID_EXISTS", True)
"""The code knows PCIDs at all: cleared for what came before the series."""
PV_EXISTS = Flag("PV_EXISTS", True)
"""Xen is built with support for PV guests (CONFIG_PV)."""
PGE_KEPT = Flag("PGE_KEPT", False)
"""Fault: the CR4 of PCID domains keeps PGE."""
IDLE_KEEPS_PCIDE = Flag("IDLE_KEEPS_PCIDE", False)
"""Fault: the series' own hunk in write_ptbase is left out."""
ONLY_REAL_CALLERS = Flag("ONLY_REAL_CALLERS", False)
"""Leave out the most general caller."""

FLAGS = (PCID_EXISTS, PV_EXISTS, PGE_KEPT, IDLE_KEEPS_PCIDE, ONLY_REAL_CALLERS)

GUEST_CR4 = X86_CR4_PAE
IDLE_VCPU = Context["idle"]
IDLE_ROOT = address(Root.idle)
MMU_CR4_FEATURES = X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_FSGSBASE
_HIDDEN_FROM_GUEST = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_TSD | X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_FSGSBASE | X86_CR4_SMAP | X86_CR4_PCIDE


@procedure
def get_pcid_bits(v: Context) -> u64:
    """Every CR3 value with a PCID carries NOFLUSH; a switch that must flush has to strip it."""
    if mode(v) == Mode.kernel:
        return X86_CR3_NOFLUSH | PCID_PV_PRIV
    return X86_CR3_NOFLUSH | PCID_PV_USER


@procedure
def make_cr3(v: Context) -> u64:
    if kind(v) == Kind.pcid:
        return root_address(v) | get_pcid_bits(v)
    return root_address(v)


@procedure
def pv_guest_cr4_to_real_cr4(v: Context) -> u64:
    cr4: u64 = GUEST_CR4 & ~X86_CR4_DE
    cr4 |= MMU_CR4_FEATURES & (X86_CR4_PSE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE)
    if kind(v) == Kind.pcid:
        cr4 |= X86_CR4_PCIDE
    if kind(v) == Kind.pv or (PGE_KEPT and kind(v) == Kind.pcid):
        cr4 |= X86_CR4_PGE
    if tsd(v):
        cr4 |= X86_CR4_TSD
    return cr4


@procedure
def real_cr4_to_pv_guest_cr4(cr4: u64) -> u64:
    """What the guest sees of CR4: none of the bits that Xen adds."""
    return cr4 & ~_HIDDEN_FROM_GUEST


@procedure
def host_cr4() -> u64:
    """CR4 for idle and HVM, derived from the live one (until 2019)."""
    if IDLE_KEEPS_PCIDE:
        return (read_cr4() & ~X86_CR4_TSD) | X86_CR4_PGE
    return (read_cr4() & ~(X86_CR4_PCIDE | X86_CR4_TSD)) | X86_CR4_PGE


@procedure
def mmu_cr4_features() -> u64:
    """CR4 for idle and HVM since b2dd00574a: independent of the live one."""
    return MMU_CR4_FEATURES


@procedure
def may_be_loaded(cr3: u64, cr4: u64) -> bool:
    """A PCID and NOFLUSH need PCIDE; Xen sets that only with INVPCID, and never with PGE (5c81d260c2)."""
    if cr4 & X86_CR4_PCIDE:
        return use_invpcid and not (cr4 & X86_CR4_PGE)
    return not (cr3 & (X86_CR3_NOFLUSH | X86_CR3_PCID_MASK))


@procedure(role="switch", ensures=("missing-flush", "switch-lands", "no-fault"))
def switch_cr3_cr4(cr3: u64, cr4: u64) -> None:
    """Each version puts its own in this place."""
    requires(may_be_loaded(cr3, cr4))


@procedure
def exists(v: Context) -> bool:
    """``v`` can exist: its domain's kind is that of its space and built in, and PCIDs need INVPCID."""
    if not PV_EXISTS and kind(v) not in (Kind.idle, Kind.hvm):
        return False
    if kind(v) == Kind.pcid and not (PCID_EXISTS and use_invpcid):
        return False
    return space(v) not in (Space.observed, Space.sibling) or kind(v) == observed_kind


@procedure(ensures=("missing-flush", "switch-lands", "stale-translation"))
def write_ptbase(v: Context) -> None:
    requires(exists(v))
    new_cr4 = host_cr4() if kind(v) == Kind.idle or kind(v) == Kind.hvm else pv_guest_cr4_to_real_cr4(v)
    switch_cr3_cr4(make_cr3(v), new_cr4)


@procedure
def write_ptbase_keeping_cr4(v: Context) -> None:
    """For a switch that takes no CR4: only to where CR4 is to stay as it is."""
    with atomic:
        new_cr4 = host_cr4() if kind(v) == Kind.idle or kind(v) == Kind.hvm else pv_guest_cr4_to_real_cr4(v)
        require(new_cr4 == read_cr4())
    switch_cr3_cr4(make_cr3(v), new_cr4)


@procedure
def require_exists(v: Context) -> None:
    """Only runs go on from here in which ``v`` can exist."""
    require(exists(v))


@procedure
def loaded_pv_vcpu() -> Context:
    """The PV vCPU whose tables and CR4 this CPU holds."""
    v = choose(Context)
    require(kind(v) not in (Kind.idle, Kind.hvm))
    require_exists(v)
    require(make_cr3(v) & ~X86_CR3_NOFLUSH == read_cr3())
    require(pv_guest_cr4_to_real_cr4(v) == read_cr4())
    return v


@procedure(role="caller.context_switch")
def context_switch() -> None:
    """context_switch() to another vCPU: interrupts are off from before set_current() to the end."""
    local_irq_disable()
    with atomic:
        next = choose(Context)
        require(kind(next) != Kind.idle)
        require_exists(next)
        current_is_idle.set(False)
    write_ptbase(next)
    local_irq_enable()


@procedure
def idle_lazily() -> None:
    """context_switch() to idle: the tables of the vCPU before stay loaded."""
    with atomic:
        require(not current_is_idle.get())
        current_is_idle.set(True)


@procedure
def resume_from_lazy_idle() -> None:
    """context_switch() from idle back to the vCPU whose tables are still loaded: no switch."""
    with atomic:
        require(current_is_idle.get() and read_cr3() & X86_CR3_ADDR_MASK != IDLE_ROOT)
        current_is_idle.set(False)


@procedure(role="caller.state_sync")
def invalidate_interrupt() -> None:
    """The flush IPI with FLUSH_VCPU_STATE: __sync_local_execstate() leaves a lazy vCPU's tables.

    A sync from a tasklet or the mapcache is the same switch with interrupts off.
    """
    write_ptbase(IDLE_VCPU)


state_sync_ipi = Interrupt(
    handler=invalidate_interrupt,
    flag=IF,
    when=and_(current_is_idle.expr, not_(eq(ROOT_ADDRESS, IDLE_ROOT))),
)


@procedure(role="caller.new_guest_cr3")
def new_guest_cr3() -> None:
    """MMUEXT_NEW_BASEPTR: the guest's kernel loads another root, or the same one again."""
    with atomic:
        require(not current_is_idle.get())
        curr = loaded_pv_vcpu()
        require(mode(curr) == Mode.kernel)
        new = choose(Context)
        require(kind(new) == kind(curr) and mode(new) == Mode.kernel and tsd(new) == tsd(curr))
        require((space(new) == Space.other) == (space(curr) == Space.other))
    write_ptbase(new)


any_caller = most_general_caller(write_ptbase, role="caller.open")
"""With interrupts on, perhaps from lazy idle, to any target."""


@procedure
def toggle_guest_pt() -> None:
    """_toggle_guest_pt(): the guest enters or leaves its kernel. Does not tick the flush clock."""
    with atomic:
        require(not current_is_idle.get())
        v = loaded_pv_vcpu()
        write_cr3(make_cr3(toggled(v)))


class Doing(enum.Enum):
    toggle = enum.auto()
    idle = enum.auto()
    resume = enum.auto()
    context_switch = enum.auto()
    new_guest_cr3 = enum.auto()
    open = enum.auto()


@procedure
def run_cpu() -> None:
    """Everything that a CPU may do, in any order."""
    while True:
        doing = choose(Doing)
        if doing == Doing.toggle:
            toggle_guest_pt()
        elif doing == Doing.idle:
            idle_lazily()
        elif doing == Doing.resume:
            resume_from_lazy_idle()
        elif doing == Doing.context_switch:
            context_switch()
        elif doing == Doing.new_guest_cr3:
            new_guest_cr3()
        else:
            require(not ONLY_REAL_CALLERS)
            any_caller()


@procedure
def start() -> None:
    """A CPU that runs any vCPU, or idle, with page tables as the last switch left them."""
    v = choose(Context)
    require_exists(v)
    require(observed_kind != Kind.pcid or (PCID_EXISTS and use_invpcid))
    require(PV_EXISTS or observed_kind == Kind.hvm)
    current_is_idle.set(kind(v) == Kind.idle)
    CR0.set(X86_CR0_PG)
    CR3.set(make_cr3(v) & ~X86_CR3_NOFLUSH)
    cr4: u64 = MMU_CR4_FEATURES
    if kind(v) not in (Kind.idle, Kind.hvm):
        cr4 = pv_guest_cr4_to_real_cr4(v)
    # What breaks the policy on PGE and PCIDE is reached by a switch, which is the better story.
    require(not (cr4 & X86_CR4_PGE and cr4 & X86_CR4_PCIDE))
    CR4.set(cr4)
    IF.set(True)
