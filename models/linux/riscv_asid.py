"""RISC-V: a task's harts are forgotten while entries under its ASID stay (Linux 82dd33fde026).

A hart that switches away from a task keeps what it cached under the task's ASID. If it also
leaves the task's CPU mask, a later change of the task's page tables is not fenced there; when
the task comes back under the same ASID, the old entry is used for a frame that has a new owner.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, choose, cpus, per_cpu, procedure, require, shared, this_cpu
from tlbcheck.lang.expr import TRUE, and_, eq, not_
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import riscv


class Page(enum.Enum):
    data = enum.auto()


LEAVES_MASK = Flag("LEAVES_MASK", False)
"""Fault: switch_mm() takes the hart out of the mask of the mm it leaves, ASIDs or not."""
TASK_ROOT, IDLE_ROOT = 0x100, 0x200
TASK, IDLE = riscv.satp(TASK_ROOT, asid=1), riscv.satp(IDLE_ROOT, asid=0)

mapped = shared("mapped", bool)
"""The task's page-table entry is valid: it leads to the frame that is watched."""
frame_is_the_tasks = shared("frame_is_the_tasks", bool)
mm_cpumask = per_cpu("mm_cpumask", bool)
"""The hart has to be told of changes to the task's page tables."""
fence_pending = per_cpu("fence_pending", bool)
mmap_lock = shared("mmap_lock", bool)


@procedure(role="run")
def run_task() -> None:
    """switch_mm() to the task: the hart enters the mask, then satp gets the task's root and ASID."""
    mm_cpumask.set(True)
    riscv.CSRW_SATP(TASK)


@procedure
def leave_task() -> None:
    """switch_mm() to another mm: the task's entries stay cached under its ASID."""
    riscv.CSRW_SATP(IDLE)
    if LEAVES_MASK:
        mm_cpumask.set(False)


@procedure
def flush_tlb_page() -> None:
    """Fence the page here, then on every other hart in the mask by an IPI; wait for all."""
    riscv.SFENCE_VMA_PAGE_ASID(Page.data, 1)
    with atomic("flush_tlb_page(): reads mm_cpumask and asks every other hart in it to fence the page"):
        for hart in cpus():
            if hart != this_cpu() and mm_cpumask.at(hart).get():
                fence_pending.at(hart).set(True)
    for hart in cpus():
        if hart != this_cpu():
            with atomic("flush_tlb_page(): the other hart has nothing to fence, or has done it"):
                require(not fence_pending.at(hart).get())


@procedure
def unmap_and_reuse() -> None:
    """munmap(): the page goes, every hart in the mask is fenced, and the frame gets another owner."""
    with atomic("munmap(): clears the page-table entry"):
        require(not mmap_lock.get() and mapped.get())
        mmap_lock.set(True)
        mapped.set(False)
    flush_tlb_page()
    with atomic("munmap() is done: the frame gets another owner"):
        frame_is_the_tasks.set(False)
        mmap_lock.set(False)


@procedure
def map_again() -> None:
    """The frame is free again, and the task gets it for the page. An invalid entry that is still cached only faults."""
    with atomic("page fault: the task gets the frame again, and maps it"):
        require(not mmap_lock.get() and not mapped.get())
        frame_is_the_tasks.set(True)
        mapped.set(True)


@procedure
def remote_fence() -> None:
    riscv.SFENCE_VMA_PAGE_ASID(Page.data, 1)
    fence_pending.set(False)


class Doing(enum.Enum):
    run = enum.auto()
    leave = enum.auto()
    unmap = enum.auto()
    map = enum.auto()


@procedure
def run_hart() -> None:
    while True:
        doing = choose(Doing)
        if doing == Doing.run:
            run_task()
        elif doing == Doing.leave:
            leave_task()
        elif doing == Doing.unmap:
            unmap_and_reuse()
        else:
            map_again()


@procedure
def start() -> None:
    """Both harts are idle, the page is mapped, nothing of the task is cached."""
    for hart in cpus():
        riscv.SATP.at(hart).set(IDLE)
        riscv.SIE.at(hart).set(True)
    mapped.set(True)
    frame_is_the_tasks.set(True)


def _show_satp(value: int) -> str:
    return "the task's page tables, ASID 1" if value == TASK else "idle's page tables, ASID 0"


def _model(cpus: int) -> Model:
    return Model(
        name="linux/riscv-asid",
        title="RISC-V: a task's harts while its ASID is in use",
        source="Linux 82dd33fde026, arch/riscv/mm/context.c",
        cpus=cpus,
        init=start,
        task=run_hart,
        interrupts=(Interrupt(remote_fence, riscv.SIE, when=fence_pending.expr),),
        cache=riscv.tlb(
            asids=(1,),
            fields=(("page", enum_type(Page), (0,)),),
            walk=and_(eq(riscv.ROOT, TASK_ROOT), mapped.expr),
            leaf_global=not_(TRUE),
            initial=not_(TRUE),
            describe=lambda entry: "the task's page at the watched frame, ASID 1",
        ),
        meanings={"usable": riscv.USABLE, "may": mapped.expr, "runs": eq(riscv.SATP.expr, TASK), "not_its_own": not_(frame_is_the_tasks.expr)},
        flags={LEAVES_MASK: False},
        variants={
            "leaves-mask": Variant(
                "a hart leaves the task's mask when it switches away",
                {LEAVES_MASK: True},
                expected={"frame-isolation": "violated", "no-fault": "proved"},
                source="Linux before 82dd33fde026",
            )
        },
        expected={"frame-isolation": "proved", "no-fault": "proved"},
        vacuous=("no-fault/#GP", "no-fault/#UD", "no-fault/assert"),
        about=("frame-isolation", "no-fault"),
        assumptions=(
            "what a hart may hold of a task depends on that task, page and frame alone, and harts do not act on each other but through the mask: two show it, and cpus= takes more",
            "one task, one page, one frame; leaf entries only; no ASID is recycled (RV-7 has its own rule)",
            "memory is sequentially consistent: the kernel has the fences of RISC-V's switch_mm and IPI",
        ),
        notation=replace(riscv.NOTATION, values={**riscv.NOTATION.values, **dict.fromkeys(("satp", "CSRW satp.value"), _show_satp)}),
        scope={"tasks": 1, "pages": 1, "frames": 1},
        depth=16,
        numbers={"cpus": cpus},
        resized=_model,
    )


model = _model(cpus=2)
