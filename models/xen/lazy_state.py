"""Context switches, lazy vCPUs and a domain's dirty mask (xen/arch/x86/domain.c, xen.md 4.3 and 8).

A CPU enters the domain's dirty mask before it loads the domain's page tables, and leaves it once
it has loaded others. An idle CPU that keeps a vCPU's tables lazily stays in the mask until it is
made to sync. Whoever flushes for the domain interrupts the CPUs in the mask only.
"""

from __future__ import annotations

from tlbcheck import Flag, atomic, choose, marker, per_cpu, procedure

from . import callers
from .contexts import Context, Kind, Space, current_is_idle, kind, space
from .primitives import local_irq_disable, local_irq_enable

MASK_CLEARED_EARLY = Flag("MASK_CLEARED_EARLY", False)
"""Fault: the CPU leaves the old domain's dirty mask before it loads other page tables."""
VCPUS = tuple(Context[name] for name in ("idle", "observed_pcid_kernel", "observed_pcid_user", "other_pcid_kernel"))

curr_vcpu = per_cpu("curr_vcpu", Context)
"""The vCPU whose state and page tables this CPU holds; with ``current`` idle, lazily."""
dirty_cpumask = per_cpu("in_dirty_cpumask", bool)
"""This CPU is in the watched domain's dirty mask."""
read_dirty_cpumask = marker("dirty mask read", "reads the domain's dirty mask to choose whom to flush")


@procedure
def context_switch_to(n: Context) -> None:
    """__context_switch(): into the new domain's mask, its page tables, out of the old domain's mask."""
    p = curr_vcpu.get()
    if space(n) == Space.observed:
        dirty_cpumask.set(True)
    if MASK_CLEARED_EARLY and space(p) == Space.observed and space(n) != Space.observed:
        dirty_cpumask.set(False)
    callers.write_ptbase(n)
    if not MASK_CLEARED_EARLY and space(p) == Space.observed and space(n) != Space.observed:
        dirty_cpumask.set(False)
    curr_vcpu.set(n)


@procedure
def sync_local_execstate() -> None:
    """Leave the page tables of a vCPU that is kept lazily, with interrupts off."""
    with atomic("sync_local_execstate(): interrupts off; is a vCPU kept lazily here?"):
        local_irq_disable()
        lazy = current_is_idle.get() and kind(curr_vcpu.get()) != Kind.idle
    if lazy:
        context_switch_to(callers.IDLE_VCPU)
    local_irq_enable()


@procedure
def invalidate_interrupt() -> None:
    """The flush interrupt with FLUSH_VCPU_STATE, from any CPU at any time: __sync_local_execstate()."""
    with atomic("FLUSH_VCPU_STATE is asked for: is a vCPU kept lazily here?"):
        lazy = current_is_idle.get() and kind(curr_vcpu.get()) != Kind.idle
    if lazy:
        context_switch_to(callers.IDLE_VCPU)


@procedure
def schedule() -> None:
    """context_switch(): to idle lazily, back from it, or to another vCPU, with interrupts off throughout."""
    with atomic("context_switch(): interrupts off, picks the next vCPU"):
        local_irq_disable()
        n = choose(VCPUS)
        kept = curr_vcpu.get() == n or kind(n) == Kind.idle
        current_is_idle.set(kind(n) == Kind.idle)
    if not kept:
        context_switch_to(n)
    local_irq_enable()


@procedure
def flush_for_domain() -> None:
    """some CPU changed a mapping of the domain's, and flushes the CPUs in the domain's dirty mask only"""
    read_dirty_cpumask()
