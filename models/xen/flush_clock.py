"""The TLB flush clock: who need not be flushed before a freed frame gets a new owner (xen.md 4).

A full flush ticks the clock, flushes and then notes the tick as this CPU's flush time. A frame is
stamped with the clock after its last mapping went; a CPU whose flush time is later than the stamp
has nothing for it. When the clock wraps, everything is flushed once before it starts again at 1.

How wide the clock is: a run takes any mask of one to ``bits`` bits (``xen/flush-clock:bits=3``). Xen's
has 32. With one bit the clock always says 1 and everybody is always flushed, which shows nothing; every
fault of the protocol shows with two. The code never does more with times than to compare two of them,
to compare one with 0 and to count up by one, so that what matters of a state is the order of the times in
it: with two CPUs at most seven (the clock, two flush times, the stamp, two ticks whose flush is under way,
one time read before a comparison). Three bits have room for every such order. That is an argument for three
bits being enough, not a proof: it is not checked that each run of a wide clock has one of a narrow clock
in which the same entries are cached. What needs a whole period between two steps of one CPU
(``clock-read-last``) is found with any such mask, though 2^32 flushes would have to come in between.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import Annotated

from tlbcheck import Flag, InputError, Interrupt, Model, Variant, atomic, case_variable, choose, cpus, per_cpu, procedure, require, shared, this_cpu, u32
from tlbcheck.lang.expr import FALSE, and_, eq, ite, not_, or_
from tlbcheck.lang.types import Cpu, IntType, enum_type
from tlbcheck.machine import x86

from .contexts import Page
from .flush import FLUSH_TLB
from .other_cpus import flush_other_cpus
from .primitives import local_irq_restore, local_irq_save
from .shootdown import EVERYBODY, bit_of, flush_cpumask, show_flags

NEED_FLUSH_STRICT = Flag("NEED_FLUSH_STRICT", False)
"""Fault: a flush time equal to the stamp counts as later."""
WRAP_WITHOUT_FLUSH = Flag("WRAP_WITHOUT_FLUSH", False)
"""Fault: the clock starts again at 1 at once, without a flush of everybody."""
SHORTCUT_IN_WRAP = Flag("SHORTCUT_IN_WRAP", False)
"""accumulate_tlbflush(): a stamp later than the clock counts as from an older period, also while the clock is 0."""
CLOCK_READ_LAST = Flag("CLOCK_READ_LAST", False)
"""NEED_FLUSH() as it is called: the CPU's time, its argument, is read before the clock."""
FLAGS = (NEED_FLUSH_STRICT, WRAP_WITHOUT_FLUSH, SHORTCUT_IN_WRAP, CLOCK_READ_LAST)
WIDEST = 4
Time = Annotated[int, IntType(0, (1 << WIDEST) - 1)]
wrap_mask = case_variable("WRAP_MASK", Time)
"""The largest time, after which the clock wraps."""


class Owner(enum.Enum):
    domain = enum.auto()
    """The domain that is watched."""
    nobody = enum.auto()
    other = enum.auto()
    """Any other domain."""


tlbflush_clock = shared("tlbflush_clock", Time)
tlbflush_time = per_cpu("tlbflush_time", Time)
"""When this CPU last flushed everything."""
new_period_softirq = per_cpu("new_period_softirq", bool)
"""This CPU leads a wrap: NEW_TLBFLUSH_CLOCK_PERIOD_SOFTIRQ is raised."""
mapped = shared("mapped", bool)
"""The watched domain's page tables map the frame."""
owner = shared("owner", Owner)
frame_stamp = shared("frame_stamp", Time)
need_tlbflush = shared("need_tlbflush", bool)
"""The frame is free and its stamp counts."""
heap_lock = shared("heap_lock", bool)


@procedure
def pre_flush() -> Time:
    """The clock goes on; 0 while a wrap is in progress. The CPU that reaches the end leads the wrap."""
    now = tlbflush_clock.get()
    if now == 0:
        return 0
    if now < wrap_mask:
        tlbflush_clock.set(now + 1)
        return now + 1
    if WRAP_WITHOUT_FLUSH:
        tlbflush_clock.set(1)
        return 1
    tlbflush_clock.set(0)
    new_period_softirq.set(True)
    return 0


@procedure(role="flush-all")
def do_tlb_flush() -> None:
    """Tick, flush, note the time: nothing else that flushes may come in between on this CPU."""
    with atomic("do_tlb_flush(): interrupts off, ticks the flush clock"):
        flags = local_irq_save()
        t = pre_flush()
    x86.INVPCID_ALL()
    with atomic("sets tlbflush_time to its tick, restores interrupts"):
        tlbflush_time.set(t)
        local_irq_restore(flags)


@procedure(role="flush-all")
def tick_after_flush() -> None:
    """Fault: do_tlb_flush() ticks when it has flushed."""
    with atomic("do_tlb_flush(): interrupts off, flushes everything; what is mapped may be cached again at once"):
        flags = local_irq_save()
        x86.INVPCID_ALL()
    with atomic("ticks the flush clock"):
        t = pre_flush()
    with atomic("sets tlbflush_time to its tick, restores interrupts"):
        tlbflush_time.set(t)
        local_irq_restore(flags)


@procedure(role="flush-all")
def stamp_before_flush() -> None:
    """Fault: do_tlb_flush() notes its time before it flushes."""
    with atomic("do_tlb_flush(): interrupts off, ticks the flush clock"):
        flags = local_irq_save()
        t = pre_flush()
    tlbflush_time.set(t)
    with atomic("flushes everything, restores interrupts"):
        x86.INVPCID_ALL()
        local_irq_restore(flags)


@procedure(role="flush-all")
def irqs_on() -> None:
    """Fault: do_tlb_flush() leaves interrupts on."""
    with atomic("do_tlb_flush(), interrupts on: ticks the flush clock"):
        t = pre_flush()
    x86.INVPCID_ALL()
    tlbflush_time.set(t)


@procedure
def flush_mask(mask: u32) -> None:
    """flush_area_mask() for everything."""
    if mask & bit_of(this_cpu()):
        do_tlb_flush()
    flush_other_cpus(mask, FLUSH_TLB)


@procedure
def invalidate_interrupt() -> None:
    """The flush interrupt: flush, and leave the mask last."""
    do_tlb_flush()
    flush_cpumask.set(False)


@procedure
def new_tlbflush_clock_period() -> None:
    """The softirq of the CPU that leads a wrap: everybody flushes, then the clock starts again."""
    with atomic("NEW_TLBFLUSH_CLOCK_PERIOD_SOFTIRQ"):
        require(new_period_softirq.get())
        new_period_softirq.set(False)
    flush_mask(EVERYBODY & ~bit_of(this_cpu()))
    with atomic("all have flushed: the clock starts again at 1"):
        assert tlbflush_clock.get() == 0
        tlbflush_clock.set(1)


@procedure
def unmap_and_free() -> None:
    """The last mapping of the frame goes, and nobody is flushed: the frame is stamped and freed (XSA-241: interrupts off)."""
    with atomic("the domain gives the frame back: the page-table entry is cleared, nobody is flushed"):
        require(not heap_lock.get() and owner.get() != Owner.nobody)
        heap_lock.set(True)
        mapped.set(False)
    with atomic("page_set_tlbflush_timestamp(): interrupts off, reads the flush clock for the stamp"):
        flags = local_irq_save()
        now = tlbflush_clock.get()
    with atomic("stamps the frame with it; the frame is free from now on"):
        frame_stamp.set(now)
        need_tlbflush.set(True)
        owner.set(Owner.nobody)
        heap_lock.set(False)
        local_irq_restore(flags)


@procedure
def need_flush(cpu: Cpu, page_time: Time) -> bool:
    """NEED_FLUSH(): the CPU's time is not later than the stamp, or the clock is about to start again."""
    if CLOCK_READ_LAST:
        with atomic("tlbflush_filter(): reads the flush time of the next CPU"):
            cpu_time = tlbflush_time.at(cpu).get()
        with atomic("tlbflush_filter(): reads the flush clock"):
            now = tlbflush_clock.get()
    else:
        with atomic("tlbflush_filter(): reads the flush clock"):
            now = tlbflush_clock.get()
        with atomic("tlbflush_filter(): reads the flush time of the next CPU"):
            cpu_time = tlbflush_time.at(cpu).get()
    if NEED_FLUSH_STRICT:
        return now == 0 or (cpu_time < page_time and page_time <= now)
    return now == 0 or (cpu_time <= page_time and page_time <= now)


@procedure(role="run")
def alloc_heap_pages() -> None:
    """The frame gets a new owner, after a flush of the CPUs that may still have something for it."""
    with atomic("alloc_heap_pages(): takes the frame from the free list, reads its stamp"):
        require(not heap_lock.get() and owner.get() == Owner.nobody)
        heap_lock.set(True)
        page_time = frame_stamp.get()
        old = SHORTCUT_IN_WRAP and page_time > tlbflush_clock.get()
    if not old:
        mask: u32 = 0
        for cpu in cpus():
            if need_flush(cpu, page_time):
                mask |= bit_of(cpu)
        if mask != 0:
            flush_mask(mask)
    to = choose((Owner.domain, Owner.other))
    with atomic("alloc_heap_pages(): nobody has to be flushed any more, the frame has a new owner"):
        need_tlbflush.set(False)
        frame_stamp.set(0)
        owner.set(to)
        mapped.set(to == Owner.domain)
        heap_lock.set(False)


class Doing(enum.Enum):
    flush = enum.auto()
    free = enum.auto()
    alloc = enum.auto()
    softirq = enum.auto()


@procedure
def run_cpu() -> None:
    """The watched domain runs here; Xen flushes for any reason, frees and allocates the frame."""
    while True:
        doing = choose(Doing)
        if doing == Doing.flush:
            do_tlb_flush()
        elif doing == Doing.free:
            unmap_and_free()
        elif doing == Doing.alloc:
            alloc_heap_pages()
        else:
            new_tlbflush_clock_period()


@procedure
def start() -> None:
    """As after boot: nobody has flushed, the clock says 1; the frame is the domain's, and mapped."""
    tlbflush_clock.set(1)
    mapped.set(True)
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(DOMAIN_ROOT)
        x86.IF.at(cpu).set(True)


DOMAIN_ROOT = 0x1000
_T, _S, _C = tlbflush_time.expr, frame_stamp.expr, tlbflush_clock.expr
_NEED_FLUSH = or_(eq(_C, 0), and_(ite(NEED_FLUSH_STRICT.expr, _T < _S, _T <= _S), _S <= _C))
"""As the software under check has it."""
CLEAN = dict.fromkeys(("flush-clock", "frame-isolation", "no-fault"), "proved")
_BOTH = {**CLEAN, "flush-clock": "violated", "frame-isolation": "violated"}


def _model(cpus: int, bits: int) -> Model:
    if bits > WIDEST:
        raise InputError(f"bits={bits} is too much for xen/flush-clock", hint=f"give at most {WIDEST}")
    return Model(
        name="xen/flush-clock",
        title="the TLB flush clock, and frames that get a new owner",
        source="xen 5c81d260c2, xen/arch/x86/flushtlb.c, xen/common/page_alloc.c; xen.md 4",
        cpus=cpus,
        init=start,
        task=run_cpu,
        interrupts=(Interrupt(invalidate_interrupt, x86.IF, when=flush_cpumask.expr),),
        cache=x86.tlb(
            tags=(0,),
            fields=(("page", enum_type(Page), (0,)),),
            possible=not_(x86.GLOBAL),
            walk=and_(eq(x86.ROOT_ADDRESS, DOMAIN_ROOT), mapped.expr),
            leaf_global=FALSE,
            initial=mapped.expr,
            describe=lambda entry: "the watched domain's mapping of the frame",
        ),
        cases=(replace(wrap_mask, domain=tuple((1 << n) - 1 for n in range(1, bits + 1))),),
        meanings={
            "usable": x86.USABLE,
            "may": mapped.expr,
            "runs": x86.IF.expr,
            "not_its_own": eq(owner.expr, Owner.other),
            "unmapped_and_stamped": and_(not_(mapped.expr), need_tlbflush.expr),
            "need_flush": _NEED_FLUSH,
        },
        flags={f: f.default for f in FLAGS},
        notation=replace(x86.NOTATION, values={**x86.NOTATION.values, "flush_flags": show_flags, "cr3": lambda value: "the watched domain's page tables"}),
        variants={
            "tick-after-flush": Variant("a full flush ticks when it has flushed", procedures={do_tlb_flush: tick_after_flush}, expected=_BOTH, source="xen.md 4.3, mutated"),
            "stamp-before-flush": Variant(
                "a full flush notes its time before it flushes", procedures={do_tlb_flush: stamp_before_flush}, expected={**CLEAN, "flush-clock": "violated"}, source="xen.md 4.3, mutated"
            ),
            "clock-irqs-on": Variant("a full flush leaves interrupts on", procedures={do_tlb_flush: irqs_on}, expected=_BOTH, source="xen.md 4.3, mutated"),
            "need-flush-strict": Variant("a flush time equal to the stamp counts as later", {NEED_FLUSH_STRICT: True}, expected=_BOTH, source="xen.md 4.2, mutated"),
            "wrap-without-flush": Variant("the clock wraps without a flush of everybody", {WRAP_WITHOUT_FLUSH: True}, expected=_BOTH, source="xen.md 4.2, mutated"),
            "clock-read-last": Variant(
                "the CPU's flush time is read before the clock, and a whole wrap comes in between",
                {CLOCK_READ_LAST: True},
                expected={**CLEAN, "frame-isolation": "violated"},
                source="xen/include/asm-x86/flushtlb.h, tlbflush_filter(); found by this model: it needs a whole period of the clock between two reads",
            ),
            "shortcut-in-wrap": Variant(
                "while the clock is 0, a stamp counts as from an older period",
                {SHORTCUT_IN_WRAP: True},
                expected={**CLEAN, "frame-isolation": "violated"},
                source="xen.md 4.2, accumulate_tlbflush(); found by this model, not known to have been reported",
            ),
        },
        expected=CLEAN,
        expected_source="xen.md 4.3, properties.md 4",
        vacuous=("no-fault/#GP", "no-fault/#UD"),
        about=tuple(CLEAN),
        assumptions=(
            f"a clock of one to {bits} bits; that what holds for small masks holds for 32 bits rests on an argument, which the model's text gives",
            "one frame with one mapping, by one domain that runs on all CPUs all the time; other domains only take the frame and give it back",
            "full flushes only, by do_tlb_flush(); the switch of address spaces ticks and stamps in the same order",
            "no CPU comes online; no assisted flushes, which turn the clock off",
        ),
        scope={"frames": 1, "clock": f"masks of 1 to {bits} bits"},
        depth=10,
        numbers={"cpus": cpus, "bits": bits},
        resized=_model,
    )


flush_clock = _model(cpus=2, bits=2)
