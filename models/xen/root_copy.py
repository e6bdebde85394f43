"""XPTI's copies of a root table: who has to renew them when the table changes (18173843a5, xen.md 2.1).

Each CPU runs a vCPU of the same guest on a copy of the same root table. do_mmu_update() changes an
entry of the table; the other CPUs that use it are made to copy it again before they next run the
guest. What is flushed with it is not asked here: a copy is memory, and survives every flush.
"""

from __future__ import annotations

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, cpus, marker, per_cpu, procedure, require, shared, this_cpu
from tlbcheck.machine import x86

from .primitives import local_irq_disable, local_irq_enable

ROOT_COPY_STALE = Flag("ROOT_COPY_STALE", False)
"""Fault: the other CPUs that use the table are not told (no FLUSH_ROOT_PGTBL)."""

root_pgt_changed = per_cpu("root_pgt_changed", bool)
flush_cpumask = per_cpu("in_flush_cpumask", bool)
"""Asked to set root_pgt_changed, and not done yet."""
flush_lock = shared("flush_lock", bool)
write_root_entry = marker("root table written", "changes an entry of the guest's root table")
copy_root_table = marker("root table copied", "copies the guest's root table into this CPU's root_pgt")


@procedure(role="root table update")
def do_mmu_update() -> None:
    """The guest changes an entry of its root table; when it gets to know of it, every copy in use has to follow."""
    write_root_entry()
    root_pgt_changed.set(True)
    if not ROOT_COPY_STALE:
        flush_root_pgtbl()


@procedure
def flush_root_pgtbl() -> None:
    """flush_mask(other CPUs that use the table, FLUSH_ROOT_PGTBL), with what xen/shootdown proves of it."""
    with atomic("flush_area_mask(): takes flush_lock, interrupts the other CPUs that use the table"):
        require(not flush_lock.get())
        flush_lock.set(True)
        for cpu in cpus():
            if cpu != this_cpu():
                flush_cpumask.at(cpu).set(True)
    with atomic("flush_area_mask(): they know, goes on"):
        for cpu in cpus():
            require(not flush_cpumask.at(cpu).get())
        flush_lock.set(False)


@procedure
def invalidate_interrupt() -> None:
    """The flush interrupt: notes that the copy is old, and leaves the mask last."""
    root_pgt_changed.set(True)
    flush_cpumask.set(False)


@procedure(role="guest")
def run_guest() -> None:
    """The guest runs, until something makes it enter Xen; an interrupt is delivered there."""
    with atomic("the guest runs, and enters Xen again"):
        local_irq_disable()


@procedure
def restore_all_guest() -> None:
    """The exit path: with interrupts off, the copy is renewed if it has to be."""
    local_irq_disable()
    if root_pgt_changed.get():
        root_pgt_changed.set(False)
        copy_root_table()


@procedure
def run_cpu() -> None:
    """Hypercalls, and the guest in between."""
    while True:
        restore_all_guest()
        run_guest()
        local_irq_enable()
        if choose(bool):
            do_mmu_update()


@procedure
def start() -> None:
    """The vCPUs have just been switched to: no copy is made yet."""
    for cpu in cpus():
        root_pgt_changed.at(cpu).set(True)
        x86.IF.at(cpu).set(True)


CLEAN = {"root-copy": "proved"}


def _model(cpus: int) -> Model:
    return Model(
        name="xen/root-copy",
        title="XPTI: copies of a root table that changes",
        source="xen 18173843a5, xen/arch/x86/mm.c, x86_64/entry.S",
        cpus=cpus,
        init=start,
        task=run_cpu,
        interrupts=(Interrupt(invalidate_interrupt, x86.IF, when=flush_cpumask.expr),),
        flags={ROOT_COPY_STALE: False},
        variants={
            "root-copy-stale": Variant("no FLUSH_ROOT_PGTBL to the other CPUs that use the table", {ROOT_COPY_STALE: True}, expected={"root-copy": "violated"}, source="xen 18173843a5, mutated")
        },
        expected=CLEAN,
        expected_source="properties.md 4",
        about=tuple(CLEAN),
        assumptions=(
            "one guest root table, used by a vCPU on each CPU all the time; a vCPU that is switched to finds root_pgt_changed set (write_ptbase)",
            "an interrupt that arrives in the guest enters Xen first: here it waits until the entry has enabled interrupts",
            "frames of lower tables are not followed: that nothing leads to a freed one is page-walk-safety, which has no model yet",
        ),
        scope={"roots": 1},
        depth=20,
        numbers={"cpus": cpus},
        resized=_model,
    )


root_copy = _model(cpus=2)
