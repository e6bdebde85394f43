"""A race of page-table switches, small enough to be written for several model checkers.

Each CPU flushes, loads any PCID and root without a flush, and then drops what may have been cached
for the old PCID in between; meanwhile page tables change. The numbers are parameters, so that
``bench/cr3race:cpus=3,pcids=3`` is a larger one of the same kind.
"""

from __future__ import annotations

import enum

from tlbcheck import Flag, Model, Range, Table, Variant, atomic, choose, marker, per_cpu, procedure, require, shared, u32, u64, var
from tlbcheck.lang.expr import FALSE, and_, eq, or_
from tlbcheck.lang.types import U64, IntType, enum_type
from tlbcheck.machine import x86

FLUSH_OLD_PCID = Flag("FLUSH_OLD_PCID", True)
SWITCHED = marker("switch returns", "returns from the switch")
PCID_MASK, NOFLUSH = x86.X86_CR3_PCID_MASK, x86.X86_CR3_NOFLUSH


def root(space: int) -> int:
    """The physical address of an address space's top-level table."""
    return (space + 1) << 12


FIRST_ROOT = root(0)


def cr3race(pages: int = 1, frames: int = 1, pcids: int = 2, spaces: int = 2, cpus: int = 2) -> Model:
    """The race with so many of each."""
    Index = Range(0, spaces * pages - 1)
    Frame = Range(0, frames)
    pte = shared("pte", Frame, index=Index)
    dirty = per_cpu("dirty", bool)
    names = [f"pcid{b}_space{t}" for b in range(pcids) for t in range(spaces)]
    PcidAndRoot = enum.Enum("PcidAndRoot", names)  # type: ignore[misc]  # its members depend on the size
    cr3_of = Table("cr3_of", enum_type(PcidAndRoot), tuple(root(t) | b for b in range(pcids) for t in range(spaces)), U64)

    @procedure
    def load() -> u64:
        """Loads any PCID and root, without a flush, and returns the PCID before."""
        with atomic:
            old: u64 = x86.MOV_FROM_CR3() & PCID_MASK
            x86.MOV_TO_CR3(cr3_of(choose(PcidAndRoot)) | NOFLUSH)
        return old

    @procedure
    def finish(old: u64) -> None:
        """Flushes the old PCID, if it is another one, and returns from the switch."""
        with atomic:
            if FLUSH_OLD_PCID and old != (x86.MOV_FROM_CR3() & PCID_MASK):
                x86.INVPCID_CONTEXT(old)
            dirty.set(False)
            SWITCHED()

    @procedure
    def run_cpu() -> None:
        while True:
            x86.INVPCID_ALL_NONGLOBAL()
            finish(load())

    @procedure
    def remap() -> None:
        """Memory management changes a page-table entry, and all CPUs may have the old one."""
        entry = choose(Index)
        to = choose(Frame)
        require(pte.at(entry).get() != to)
        pte.at(entry).set(to)
        cpu: u32 = 0
        while cpu < cpus:
            dirty.at(cpu).set(True)
            cpu += 1

    @procedure
    def start() -> None:
        cpu: u32 = 0
        while cpu < cpus:
            x86.CR0.at(cpu).set(x86.X86_CR0_PG)
            x86.CR4.at(cpu).set(x86.X86_CR4_PAE | x86.X86_CR4_PCIDE)
            x86.CR3.at(cpu).set(FIRST_ROOT)
            cpu += 1

    page, frame = IntType(0, pages - 1), IntType(0, frames)
    walked = [and_(eq(x86.ROOT_ADDRESS, root(s)), eq(var("entry.page", page), p), eq(var("entry.frame", frame), var(f"pte[{s * pages + p}]", frame))) for s in range(spaces) for p in range(pages)]
    return Model(
        name="bench/cr3race",
        title="switches of page tables race with remaps",
        source="../shared/bench/cr3race/README.md",
        cpus=cpus,
        init=start,
        task=run_cpu,
        actions=(remap,),
        cache=x86.tlb(
            tags=tuple(range(pcids)),
            fields=(("page", page, tuple(range(pages))), ("frame", frame, tuple(range(1, frames + 1)))),
            possible=~x86.GLOBAL,
            walk=or_(*walked),
            leaf_global=FALSE,
            initial=FALSE,
            describe=lambda e: f"page {e['entry.page']} at frame {e['entry.frame']}, PCID {e['entry.tag']}",
        ),
        settings=x86.SETTINGS,
        notation=x86.NOTATION,
        flags={FLUSH_OLD_PCID: True},
        variants={
            "flushed": Variant("v5: the old PCID is flushed after CR3 is written", {FLUSH_OLD_PCID: True}, expected={"no-foreign": "proved"}),
            "unflushed": Variant("v4: what was cached for the old PCID stays", {FLUSH_OLD_PCID: False}, expected={"no-foreign": "violated"}),
        },
        expected={"no-foreign": "proved"},
        numbers={"pages": pages, "frames": frames, "pcids": pcids, "spaces": spaces, "cpus": cpus},
        resized=cr3race,
    )


model = cr3race()
