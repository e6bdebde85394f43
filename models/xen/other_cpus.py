"""Interrupting other CPUs and waiting for them, as flush_area_mask() does: what xen/shootdown proves of it in a few steps.

Models that ask what such a flush is good for use this, each with a handler of its own: it returns
when the handler has run on each CPU of the mask.
"""

from __future__ import annotations

from tlbcheck import atomic, cpus, procedure, require, this_cpu, u32

from .shootdown import bit_of, flush_cpumask, flush_flags, flush_lock


@procedure
def flush_other_cpus(mask: u32, flags: u32) -> None:
    """Asks the CPUs of ``mask`` besides this one, and goes on when all have done it. Interrupts are on."""
    if mask & ~bit_of(this_cpu()):
        with atomic("flush_area_mask(): takes flush_lock and interrupts the other CPUs of the mask"):
            require(not flush_lock.get())
            flush_lock.set(True)
            flush_flags.set(flags)
            for cpu in cpus():
                if cpu != this_cpu():
                    flush_cpumask.at(cpu).set(mask & bit_of(cpu) != 0)
        with atomic("flush_area_mask(): no CPU is left in the mask, goes on"):
            for cpu in cpus():
                require(not flush_cpumask.at(cpu).get())
            flush_lock.set(False)
