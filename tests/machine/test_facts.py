"""Facts that others assert about x86, as straight-line programs of the machine's operations.

K1 to K10: kvm-unit-tests, x86/pcid.c. S1, S2: SDM 11.7, Example 11-1. G10: the table in Xen's
edc426665f. Each program runs through the whole tool and, apart from it, through the replay
interpreter; the two must agree.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import pytest
from quick import sampled

from tlbcheck import CACHED, CacheKind, Event, Model, Procedure, Property, case_variable, marker, operation, procedure, shared, u64
from tlbcheck.check import explore
from tlbcheck.errors import InputError
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, bit, eq, evaluate, lookup, not_, or_, var
from tlbcheck.lang.types import U64, enum_type
from tlbcheck.library import find_models, properties
from tlbcheck.machine import x86
from tlbcheck.machine.x86 import (
    CR0,
    CR3,
    CR4,
    IF,
    INVLPG,
    INVPCID_ADDRESS,
    INVPCID_ALL,
    INVPCID_ALL_NONGLOBAL,
    INVPCID_CONTEXT,
    MOV_FROM_CR3,
    MOV_FROM_CR4,
    MOV_TO_CR0,
    MOV_TO_CR3,
    MOV_TO_CR4,
    X86_CR0_PG,
    X86_CR3_NOFLUSH,
    X86_CR4_PAE,
    X86_CR4_PCIDE,
    X86_CR4_PGE,
)  # fmt: skip
from tlbcheck.replay.interpreter import Run

NO_FAULT = properties()["no-fault"]
PROFILES = ("common", "intel", "amd")
TREE = 0x1000


class Page(enum.Enum):
    f000 = enum.auto()


# -- running a program, twice


def interpret(model: Model, chosen: Sequence[Property], case: Mapping[str, int] | None = None) -> tuple[Run, set[tuple[str, str]]]:
    """The program run by the replay interpreter, from a full TLB to its end; every clause broken on the way."""
    run = Run(model, chosen, case or {})
    run.start((), {0: run.universe})
    broken = {(name, clause) for name, clause, _ in run.broken}
    while run.active[0, "task"] is not None and not run.halted:
        run.step(0, "task", "", ())
        broken |= {(name, clause) for name, clause, _ in run.broken}
    return run, broken


def program(init: Procedure, task: Procedure, **more: Any) -> Model:
    return Model(name="test/straight-line", title="a straight-line program", init=init, task=task, **more)


def violated(model: Model, *chosen: Property) -> set[tuple[str, str]]:
    """The (property, clause) pairs that the program breaks, the same by the tool and by the interpreter."""
    result = explore(model, chosen, engines=("explicit",))
    assert result.explicit is not None and result.explicit.complete
    found = {(v.property, v.clause) for v in result.explicit.violations}
    for q in chosen:
        assert result[q.name].verdict == ("violated" if any(name == q.name for name, _ in found) else "proved")
    assert found == interpret(model, chosen)[1]
    return found


def faults(model: Model) -> set[str]:
    """The exceptions that a program raises; every operation before the first one is executed."""
    result = explore(model, [NO_FAULT], engines=("explicit",))
    assert not result["no-fault"].vacuous
    return {clause for _, clause in violated(model, NO_FAULT)}


def kept(name: str, bad: Expr) -> Property:
    """A property that says that ``bad`` is never so."""
    q = Property(name, name, source="test", trigger=Event("operation"), clauses={"broken": "it is so"})
    q.never("broken", bad)
    return q


CLEARED = kept("pcide-stays", not_(x86.PCIDE))
SET = kept("pcide-never-set", x86.PCIDE)


# -- where the programs start


@procedure
def without_pcids() -> None:
    """64-bit mode, CR3[11:0]=0, CR4.PCIDE=0."""
    CR0.set(X86_CR0_PG)
    CR3.set(TREE)
    CR4.set(X86_CR4_PAE)
    IF.set(True)


@procedure
def with_pcids() -> None:
    """64-bit mode, PCIDE=1, current PCID 0."""
    CR0.set(X86_CR0_PG)
    CR3.set(TREE)
    CR4.set(X86_CR4_PAE | X86_CR4_PCIDE)
    IF.set(True)


# -- K1 to K10


@procedure
def set_pcide() -> None:
    MOV_TO_CR4(MOV_FROM_CR4() | X86_CR4_PCIDE)


@procedure
def clear_pcide() -> None:
    MOV_TO_CR4(MOV_FROM_CR4() & ~X86_CR4_PCIDE)


@procedure
def clear_pg() -> None:
    MOV_TO_CR0(0)


@procedure
def set_cr3_bit_0() -> None:
    MOV_TO_CR3(MOV_FROM_CR3() | 1)


@procedure
def set_cr3_bit_0_then_pcide() -> None:
    MOV_TO_CR3(MOV_FROM_CR3() | 1)
    MOV_TO_CR4(MOV_FROM_CR4() | X86_CR4_PCIDE)


@procedure
def every_invpcid_with_pcid_0() -> None:
    INVPCID_ADDRESS(0, Page.f000, True)
    INVPCID_CONTEXT(0)
    INVPCID_ALL()
    INVPCID_ALL_NONGLOBAL()


@procedure
def invpcid_0_with_pcid_1() -> None:
    INVPCID_ADDRESS(1, Page.f000, True)


@procedure
def invpcid_1_with_pcid_1() -> None:
    INVPCID_CONTEXT(1)


@procedure
def invpcid_0_with_pcid_10() -> None:
    INVPCID_ADDRESS(10, Page.f000, True)


@procedure
def invpcid_0_non_canonical() -> None:
    INVPCID_ADDRESS(0, Page.f000, False)


@procedure
def invpcid_1_reserved_bits() -> None:
    INVPCID_CONTEXT(0x1000)


@procedure
def invpcid_2() -> None:
    INVPCID_ALL()


@procedure
def invlpg_non_canonical() -> None:
    INVLPG(Page.f000, False)


@procedure
def noflush() -> None:
    MOV_TO_CR3(MOV_FROM_CR3() | X86_CR3_NOFLUSH)


@procedure
def highest_address_bit() -> None:
    MOV_TO_CR3(1 << 51)


@procedure
def bit_52() -> None:
    MOV_TO_CR3(1 << 52)


@procedure
def bit_62_with_noflush() -> None:
    MOV_TO_CR3(X86_CR3_NOFLUSH | 1 << 62)


@procedure
def bit_45() -> None:
    MOV_TO_CR3(1 << 45)


@procedure
def bit_46() -> None:
    MOV_TO_CR3(1 << 46)


@pytest.mark.parametrize("profile", PROFILES)
def test_k1_pcide_can_be_set_while_cr3_low_bits_are_0(profile: str) -> None:
    """K1: CR3[11:0]=0, set CR4.PCIDE: no fault; and it is set afterwards (SET is broken)."""
    model = program(without_pcids, set_pcide, profile=profile)
    assert faults(model) == set()
    assert violated(model, SET) == {("pcide-never-set", "broken")}


@pytest.mark.parametrize("profile", PROFILES)
def test_k2_paging_cannot_be_left_with_pcids(profile: str) -> None:
    """K2: PCIDE=1, clear CR0.PG: #GP, and PCIDE and PG are still 1 afterwards."""
    model = program(with_pcids, clear_pg, profile=profile)
    assert faults(model) == {"#GP"}
    assert violated(model, CLEARED, kept("pg-stays", not_(bit(CR0.expr, 31)))) == set()
    run, _ = interpret(model, [NO_FAULT])
    assert run.exception == "#GP" and run.memory["cpu0.cr4"] & X86_CR4_PCIDE and run.memory["cpu0.cr0"] == X86_CR0_PG


def test_k2_the_clause_on_pcide_suffices_alone() -> None:
    """K2: the #GP comes from PCIDE: outside 64-bit mode it is raised with PCIDE=1 and not with PCIDE=0."""
    settings = {"setting.lma": FALSE}
    assert faults(program(with_pcids, clear_pg, settings=settings)) == {"#GP"}
    assert faults(program(without_pcids, clear_pg, settings=settings)) == set()
    values = {"cr0": X86_CR0_PG, "cr4": X86_CR4_PAE | X86_CR4_PCIDE, "arg.value": 0, "setting.lma": 0}
    holding = [c.rule for c in MOV_TO_CR0.faults if all(evaluate(part, values) for part in c.parts)]
    assert len(holding) == 1 and "PCIDE" in holding[0]
    assert not any(all(evaluate(part, {**values, "cr4": X86_CR4_PAE}) for part in c.parts) for c in MOV_TO_CR0.faults)


@pytest.mark.parametrize("profile", PROFILES)
def test_k3_cr3_low_bits_are_free_without_pcids(profile: str) -> None:
    """K3: PCIDE=0, MOV CR3 = cr3|001H: no fault, and the bit is there afterwards."""
    model = program(without_pcids, set_cr3_bit_0, profile=profile)
    assert faults(model) == set()
    assert interpret(model, [])[0].memory["cpu0.cr3"] == TREE | 1
    assert violated(model, kept("bit-0-clear", bit(CR3.expr, 0))) == {("bit-0-clear", "broken")}


@pytest.mark.parametrize("profile", PROFILES)
def test_k4_pcide_cannot_be_set_while_cr3_low_bits_are_not_0(profile: str) -> None:
    """K4: K3, then set PCIDE: #GP, and PCIDE stays 0."""
    model = program(without_pcids, set_cr3_bit_0_then_pcide, profile=profile)
    assert faults(model) == {"#GP"}
    assert violated(model, SET) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_k5_pcide_can_be_cleared(profile: str) -> None:
    """K5: clear PCIDE while it is 1: no fault; and it is clear afterwards."""
    model = program(with_pcids, clear_pcide, profile=profile)
    assert faults(model) == set()
    assert violated(model, CLEARED) == {("pcide-stays", "broken")}


@pytest.mark.parametrize("profile", PROFILES)
def test_k6_pcide_is_reserved_without_the_feature(profile: str) -> None:
    """K6: PCIDs not supported, set PCIDE: #GP."""
    model = program(without_pcids, set_pcide, profile=profile, settings={"setting.pcid": FALSE})
    assert faults(model) == {"#GP"}
    assert violated(model, SET) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_k7_every_invpcid_type_is_legal_without_pcids(profile: str) -> None:
    """K7: PCIDE=0, INVPCID 0, 1, 2, 3 with a descriptor of zeros: no fault, and all four are executed."""
    model = program(without_pcids, every_invpcid_with_pcid_0, profile=profile)
    assert faults(model) == set()
    result = explore(model, [NO_FAULT], engines=("explicit",))
    assert result.explicit is not None
    assert {name for kind, name in result.explicit.fired if kind == "operation"} == {f"INVPCID {n}" for n in range(4)}


@pytest.mark.parametrize("task", [invpcid_0_with_pcid_1, invpcid_1_with_pcid_1], ids=lambda t: t.name)
@pytest.mark.parametrize("profile", PROFILES)
def test_k8_invpcid_with_a_pcid_needs_pcids(profile: str, task: Procedure) -> None:
    """K8: PCIDE=0, INVPCID 0 and 1 with PCID 1: #GP each; with PCIDE=1 neither faults."""
    assert faults(program(without_pcids, task, profile=profile)) == {"#GP"}
    assert faults(program(with_pcids, task, profile=profile)) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_k9_invpcid_2_is_legal_with_pcids(profile: str) -> None:
    """K9: PCIDE=1, INVPCID 2 with PCID 10: no fault. The type ignores the PCID, so the operation has no such operand."""
    assert faults(program(with_pcids, invpcid_2, profile=profile)) == set()
    assert INVPCID_ALL.operands == ()


@pytest.mark.parametrize("profile", PROFILES)
def test_k10_invpcid_is_undefined_without_the_feature(profile: str) -> None:
    """K10: INVPCID not supported, INVPCID 2: #UD, and no #GP even where the descriptor is bad as well."""
    settings = {"setting.invpcid": FALSE}
    assert faults(program(with_pcids, invpcid_2, profile=profile, settings=settings)) == {"#UD"}
    assert faults(program(without_pcids, invpcid_1_with_pcid_1, profile=profile, settings=settings)) == {"#UD"}


def test_k11_k13_invpcid_0_wants_a_canonical_address_and_invlpg_does_not() -> None:
    """K11: PCIDE=1, INVPCID 0 with PCID 10 and a canonical address: no fault; K13: not canonical: #GP; INVLPG: a NOP."""
    assert faults(program(with_pcids, invpcid_0_with_pcid_10)) == set()
    assert faults(program(with_pcids, invpcid_0_non_canonical)) == {"#GP"}
    assert faults(program(with_pcids, invlpg_non_canonical)) == set()


def test_reserved_descriptor_bits_and_noflush_fault() -> None:
    """F-11: INVPCID with bits 63:12 set: #GP. F-2: MOV CR3 with bit 63: #GP iff PCIDE=0; F-3b: the bit is not stored."""
    assert faults(program(with_pcids, invpcid_1_reserved_bits)) == {"#GP"}
    assert faults(program(without_pcids, noflush)) == {"#GP"}
    assert faults(program(with_pcids, noflush)) == set()
    assert violated(program(with_pcids, noflush), kept("bit-63-clear", bit(CR3.expr, 63))) == set()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("start", [with_pcids, without_pcids])
def test_reserved_bits_of_cr3_fault(start: Procedure, profile: str) -> None:
    """F-1: MOV CR3 with a bit of 62:MAXPHYADDR set: #GP, and CR3 is as it was. 52 bits are assumed where the model says nothing, and LAM is off."""
    for task in (bit_52, bit_62_with_noflush):
        model = program(start, task, profile=profile)
        assert faults(model) == {"#GP"}
        assert violated(model, kept("cr3-stays", not_(eq(CR3.expr, TREE)))) == set()
    assert faults(program(start, highest_address_bit, profile=profile)) == set()


@pytest.mark.parametrize("engine", ["explicit", "bmc"])
def test_the_width_of_physical_addresses_is_the_models(engine: str) -> None:
    """F-1 with MAXPHYADDR=46: bit 46 is reserved and bit 45 is not; with 47 neither is."""
    for width, task, raised in ((46, bit_46, True), (46, bit_45, False), (47, bit_46, False), (36, bit_45, True)):
        model = program(with_pcids, task, settings=x86.maxphyaddr(width))
        assert explore(model, [NO_FAULT], engines=(engine,))["no-fault"].verdict == ("violated" if raised else "proved" if engine == "explicit" else "bounded"), width
        assert faults(model) == ({"#GP"} if raised else set())
    with pytest.raises(InputError, match="physical addresses of 53 bits"):
        x86.maxphyaddr(53)


def test_a_reserved_bit_faults_whatever_else_the_value_says() -> None:
    """The dropped entries stay: nothing of the operation happens where it faults."""
    run, _ = interpret(program(with_pcids, bit_52, cache=one_page(FALSE)), [NO_FAULT])
    assert run.exception == "#GP" and run.memory["cpu0.cr3"] == TREE and run.tlb[0]


# -- S1 and S2: SDM 11.7, Example 11-1


class Frame(enum.Enum):
    a000 = enum.auto()
    b000 = enum.auto()


PTE = shared("pte", Frame)
"""PTE(F000H): the frame that page F000H maps."""
LOAD = marker("load", "loads from F000H")
_FRAME = var("entry.frame", enum_type(Frame))


def one_page(leaf_global: Expr) -> CacheKind:
    """A TLB over page F000H, whose translation is what ``PTE`` says."""
    return x86.tlb(
        tags=(0,),
        fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))),
        possible=or_(leaf_global, not_(x86.GLOBAL)),
        walk=eq(_FRAME, PTE.expr),
        leaf_global=leaf_global,
        describe=lambda entry: f"F000H -> {list(Frame)[entry['entry.frame']].name}",
    )


def loads_from(frame: Frame) -> Property:
    """Broken iff the load can use ``frame``: an entry that says so is cached and usable (H3: a walk is such an entry)."""
    q = Property(f"never-{frame.name}", "the load does not use the frame", source="SDM 11.7", trigger=operation("load"), clauses={"used": "the load can use the frame"})
    q.on(operation("load"), bad={"used": and_(CACHED, x86.USABLE, eq(_FRAME, frame))})
    return q


OLD, NEW = loads_from(Frame.b000), loads_from(Frame.a000)


@procedure
def maps_b000() -> None:
    CR0.set(X86_CR0_PG)
    CR3.set(TREE)
    CR4.set(X86_CR4_PAE | X86_CR4_PGE)
    IF.set(True)
    PTE.set(Frame.b000)


@procedure
def flush_store_load() -> None:
    MOV_TO_CR3(MOV_FROM_CR3())
    PTE.set(Frame.a000)
    LOAD()


@procedure
def store_flush_load() -> None:
    PTE.set(Frame.a000)
    MOV_TO_CR3(MOV_FROM_CR3())
    LOAD()


@procedure
def store_invlpg_load() -> None:
    PTE.set(Frame.a000)
    INVLPG(Page.f000, True)
    LOAD()


@procedure
def store_invlpg_nothing_load() -> None:
    PTE.set(Frame.a000)
    INVLPG(Page.f000, False)
    LOAD()


@procedure
def invlpg_store_load() -> None:
    INVLPG(Page.f000, True)
    PTE.set(Frame.a000)
    LOAD()


def uses(task: Procedure, leaf_global: Expr, profile: str = "common") -> set[str]:
    """The frames that the program's load can use."""
    model = program(maps_b000, task, cache=one_page(leaf_global), profile=profile)
    result = explore(model, [OLD, NEW], engines=("explicit",))
    assert not result[OLD.name].vacuous and not result[NEW.name].vacuous
    return {name.removeprefix("never-") for name, _ in violated(model, OLD, NEW)}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("task", [flush_store_load, invlpg_store_load], ids=lambda t: t.name)
def test_s1_flush_then_store_still_allows_the_old_frame(task: Procedure, profile: str) -> None:
    """S1: MOV CR3,CR3 (or INVLPG); PTE: B000H->A000H; load: the old frame B000H is allowed, and so is the new one."""
    assert uses(task, FALSE, profile) == {"b000", "a000"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("task", [store_flush_load, store_invlpg_load], ids=lambda t: t.name)
def test_s2_store_then_flush_allows_only_the_new_frame(task: Procedure, profile: str) -> None:
    """S2: with the invalidation between the store and the load, only A000H: B000H is forbidden, A000H is reachable."""
    assert uses(task, FALSE, profile) == {"a000"}


def test_s2_a_global_page_needs_invlpg() -> None:
    """S2 for a global leaf: MOV CR3 keeps the old entry, INVLPG drops it, INVLPG of a non-canonical address is a NOP."""
    assert uses(store_flush_load, TRUE) == {"b000", "a000"}
    assert uses(store_invlpg_load, TRUE) == {"a000"}
    assert uses(store_invlpg_nothing_load, TRUE) == {"b000", "a000"}


# -- G10: the table of today's switch

FLUSH_ONCE = find_models("xen/flush-once")[0]
SWITCH = next(p for p in FLUSH_ONCE.procedures.values() if p.name == "switch_cr3_cr4_flush_once")
SWITCH_PROPERTIES = [properties()[name] for name in ("missing-flush", "no-fault", "switch-lands", "pge-with-pcide")]
OLD_ROOT, NEW_ROOT = 0x1000, 0x2000
FIRST_CR4, CR3_WRITE, LAST_CR4, INVPCID = "first CR4 write", "CR3 write", "last CR4 write", "INVPCID"
POINTS = (FIRST_CR4, CR3_WRITE, LAST_CR4, INVPCID)
"""The operations of the switch that may drop entries, in source order."""


class Leaf(enum.Enum):
    shared = enum.auto()
    user = enum.auto()
    private = enum.auto()


class Root(enum.Enum):
    old = enum.auto()
    new = enum.auto()


RELOAD = case_variable("reload", bool)
"""The root that is loaded again is the old one."""
OLD_USER = case_variable("old_user", bool)
NEW_USER = case_variable("new_user", bool)
"""With PCIDs: PCID 1 before, and after; else PCID 0."""

_LEAF = var("entry.leaf", enum_type(Leaf))
_ROOT = var("entry.root", enum_type(Root))
_SHARED = eq(_LEAF, Leaf.shared)
_FROM_LOADED_ROOT = eq(x86.ROOT_ADDRESS, lookup(_ROOT, (OLD_ROOT, NEW_ROOT), U64))
_LEAF_GLOBAL = not_(eq(_LEAF, Leaf.private))
TWO_ROOTS = x86.tlb(
    tags=(0, 1, 2),
    fields=(("leaf", enum_type(Leaf), (0, 1, 2)), ("root", enum_type(Root), (0, 1))),
    possible=or_(not_(x86.GLOBAL), _LEAF_GLOBAL),
    walk=_FROM_LOADED_ROOT,
    leaf_global=_LEAF_GLOBAL,
    describe=str,
)


@dataclass(frozen=True)
class Bits:
    pge: int
    pcide: int

    @property
    def cr4(self) -> int:
        return X86_CR4_PAE | (X86_CR4_PGE if self.pge else 0) | (X86_CR4_PCIDE if self.pcide else 0)

    def __str__(self) -> str:
        return f"PGE={self.pge},PCIDE={self.pcide}"


LEGAL = (Bits(0, 0), Bits(0, 1), Bits(1, 0))
ROWS = tuple(itertools.product(LEGAL, LEGAL))


def row(old: Bits, new: Bits, switch: Procedure = SWITCH) -> Model:
    """One call of ``switch`` from ``old`` to ``new``, with any PCIDs, either root and any content of the TLB."""
    old_cr4, new_cr4, old_pcide, new_pcide = old.cr4, new.cr4, bool(old.pcide), bool(new.pcide)

    @procedure
    def start() -> None:
        CR0.set(X86_CR0_PG)
        CR4.set(old_cr4)
        IF.set(True)
        if old_pcide and OLD_USER:
            CR3.set(OLD_ROOT | 1)
        else:
            CR3.set(OLD_ROOT)

    @procedure
    def once() -> None:
        cr3: u64 = OLD_ROOT if RELOAD else NEW_ROOT
        if new_pcide:
            cr3 |= X86_CR3_NOFLUSH
            if NEW_USER:
                cr3 |= 1
        switch(cr3, new_cr4)

    return program(
        start,
        once,
        cache=TWO_ROOTS,
        cases=(RELOAD, OLD_USER, NEW_USER),
        meanings={"shared": _SHARED, "from_loaded_root": _FROM_LOADED_ROOT, "usable": x86.USABLE},
        flags=FLUSH_ONCE.flags,
    )


def drops_entries(s: p.Statement) -> bool:
    """An operation that may drop entries, or a call of a wrapper around one."""
    return (isinstance(s, p.Do) and bool(s.operation.drops)) or (isinstance(s, p.Call) and any(drops_entries(x) for x in p.walk(s.procedure.body)))


def powerless(switch: Procedure, silent: Set[str]) -> Procedure:
    """``switch`` whose operations at the points ``silent`` write registers as ever but drop nothing."""
    left = list(POINTS)

    def body(statements: list[p.Statement], *, all_of_them: bool = False) -> list[p.Statement]:
        return [statement(s, all_of_them) for s in statements]

    def statement(s: p.Statement, inside: bool) -> p.Statement:
        if isinstance(s, p.If):
            return replace(s, then=body(s.then, all_of_them=inside), orelse=body(s.orelse, all_of_them=inside))
        if not drops_entries(s):
            return s
        if not inside and left.pop(0) not in silent:
            return s
        if isinstance(s, p.Call):
            return replace(s, procedure=s.procedure.with_body(body(s.procedure.body, all_of_them=True)))
        assert isinstance(s, p.Do)
        return replace(s, operation=replace(s.operation, drops=()))

    made = switch.with_body(body(switch.body))
    assert not left
    return made


def safe(old: Bits, new: Bits, points: Set[str]) -> bool:
    """Whether the row still flushes what it owes if entries are dropped at ``points`` only."""
    model = row(old, new, powerless(SWITCH, set(POINTS) - points))
    return explore(model, ["missing-flush"], engines=("explicit",))["missing-flush"].verdict == "proved"


@pytest.mark.parametrize(("old", "new"), ROWS, ids=str)
def test_g10_each_row_is_safe(old: Bits, new: Bits) -> None:
    """G10: each of the rows (PGE, PCIDE old -> new) of today's switch: nothing missing, no fault, it lands, never PGE with PCIDE."""
    model = row(old, new)
    result = explore(model, SWITCH_PROPERTIES, engines=("explicit",))
    assert {r.property.name: (r.verdict, r.vacuous) for r in result.results} == {q.name: ("proved", False) for q in SWITCH_PROPERTIES if q.name != "pge-with-pcide"} | {
        "pge-with-pcide": ("proved", (old, new) in NO_CR4_WRITE)
    }
    for values in itertools.product((0, 1), repeat=3):
        case = dict(zip(("case.reload", "case.old_user", "case.new_user"), values, strict=True))
        run, broken = interpret(model, SWITCH_PROPERTIES, case)
        assert broken == set()
        assert run.memory["cpu0.cr4"] == new.cr4
        assert run.memory["cpu0.cr3"] == (OLD_ROOT if values[0] else NEW_ROOT) | (values[2] & new.pcide)


NO_CR4_WRITE = {(bits, bits) for bits in (Bits(0, 0), Bits(0, 1))}

# Where a row's flush is: each set of points that is enough, and of which no point can be spared.
FLUSH_AT: dict[tuple[Bits, Bits], set[frozenset[str]]] = {
    (Bits(0, 0), Bits(0, 0)): {frozenset({CR3_WRITE})},
    # The table names the first CR4 write too, but PCIDE 0->1 drops nothing.
    (Bits(0, 0), Bits(0, 1)): {frozenset({INVPCID})},
    (Bits(0, 0), Bits(1, 0)): {frozenset({CR3_WRITE}), frozenset({LAST_CR4})},
    (Bits(0, 1), Bits(0, 0)): {frozenset({LAST_CR4})},
    (Bits(0, 1), Bits(0, 1)): {frozenset({INVPCID})},
    (Bits(0, 1), Bits(1, 0)): {frozenset({LAST_CR4})},
    (Bits(1, 0), Bits(0, 0)): {frozenset({LAST_CR4})},
    # PGE 1->0 for global entries, INVPCID for what a walk adds between.
    (Bits(1, 0), Bits(0, 1)): {frozenset({FIRST_CR4, INVPCID})},
    # PGE 1->0 and 0->1: either does for global entries.
    (Bits(1, 0), Bits(1, 0)): {frozenset({FIRST_CR4, CR3_WRITE}), frozenset({LAST_CR4})},
}


@pytest.mark.parametrize(("old", "new"), sampled(ROWS[::-1], keep=1), ids=str)
def test_g10_where_each_row_flushes(old: Bits, new: Bits) -> None:
    """G10, column "flush at": what is listed is enough by itself, and without any of it the row is broken."""
    enough = [set(points) for n in range(len(POINTS) + 1) for points in itertools.combinations(POINTS, n) if safe(old, new, set(points))]
    minimal = {frozenset(s) for s in enough if not any(t < s for t in enough)}
    assert minimal == FLUSH_AT[old, new]


@pytest.mark.parametrize(("old", "new"), [(Bits(1, 1), Bits(0, 1)), (Bits(0, 1), Bits(1, 1))], ids=str)
def test_g10_pge_together_with_pcide_is_never(old: Bits, new: Bits) -> None:
    """G10: PGE=1 together with PCIDE=1 never: the switch asserts it of the old value and of the new one."""
    assert "assert" in {v.clause for v in explore(row(old, new), [NO_FAULT], engines=("explicit",))["no-fault"].violations}
