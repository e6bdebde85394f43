"""The machine's two invariants, proved once for every operation and every register value; and its
clauses, held against the predicates of the reference page (x86-tlb.md 7.6), written anew here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import z3

from tlbcheck.engines.bmc import Translator
from tlbcheck.lang.expr import Expr, evaluate, substitute, var
from tlbcheck.lang.model import CacheKind
from tlbcheck.lang.program import Clause, Operation
from tlbcheck.lang.types import BOOL, U64
from tlbcheck.machine import x86
from tlbcheck.machine.x86 import (
    INVLPG,
    INVPCID_ADDRESS,
    INVPCID_ALL,
    INVPCID_ALL_NONGLOBAL,
    INVPCID_CONTEXT,
    MOV_TO_CR0,
    MOV_TO_CR3,
    MOV_TO_CR4,
    X86_CR0_PG,
    X86_CR3_NOFLUSH,
    X86_CR4_PAE,
    X86_CR4_PCIDE,
    X86_CR4_PGE,
    X86_CR4_PSE,
    X86_CR4_SMEP,
)

PROFILES: Mapping[str, frozenset[str]] = {"common": frozenset({"intel", "amd"}), "intel": frozenset({"intel"}), "amd": frozenset({"amd"})}
INVARIANTS: Mapping[str, Expr] = {"I-TAG4": x86.INVARIANTS.tag, "no global entry while PGE=0": x86.INVARIANTS.global_}


def promised(operation: Operation, profile: str) -> list[Clause]:
    """The clauses of an operation that count under a profile."""
    return [c for c in operation.drops if PROFILES[profile] <= c.vendors]


# -- the invariants, by z3

# Everything that a clause may speak of; a page is nothing but equal or not to another one.
_WORDS = ("cr0", "cr3", "cr4", "entry.tag", "arg.value", "arg.pcid")
_FLAGS = ("if", "entry.global", "arg.canonical", "arg.flags", "setting.pcid", "setting.invpcid", "setting.lma", "leaf.global", "walk")
_PAGES = ("entry.page", "arg.page")
REGISTERS = ("cr0", "cr3", "cr4", "if")


class Terms:
    """z3 terms for one arbitrary entry, any operands and any registers; ``after`` an operation's effects."""

    def __init__(self) -> None:
        self.before: dict[str, Any] = {n: z3.BitVec(n, 64) for n in _WORDS} | {n: z3.Bool(n) for n in _FLAGS} | {n: z3.BitVec(n, 64) for n in _PAGES}

    def holds(self, e: Expr) -> Any:
        return Translator(self.before)(_paged(e))

    def all_of(self, parts: tuple[Expr, ...]) -> Any:
        return z3.And([self.holds(q) for q in parts])

    def any_of(self, clauses: Iterable[Clause]) -> Any:
        return z3.Or([self.all_of(c.parts) for c in clauses])

    def after(self, operation: Operation) -> Terms:
        later = Terms()
        later.before = self.before | {v.name: self.holds(e) for v, e in operation.effects}
        return later


def _paged(e: Expr) -> Expr:
    """Give the two pages, which have no type before a model is put in, that of a word."""
    return substitute(e, {name: var(name, U64) for name in _PAGES})


LEAF_GLOBAL, WALK = var("leaf.global", BOOL), var("walk", BOOL)


def _tlb() -> CacheKind:
    """The TLB of a model of which nothing is known: any tree and any leaf."""
    return x86.tlb(tags=(), fields=(), walk=WALK, leaf_global=LEAF_GLOBAL, describe=str)


def counterexample(operation: Operation, invariant: Expr, profile: str, *, filled: bool = True) -> Any:
    """Registers, operands and an entry with which the invariant ends, or None.

    The operation does not fault. After it the entry is cached if it was and is not dropped, or
    (``filled``) if a walk may create it under the registers as they are then.
    """
    terms = Terms()
    after = terms.after(operation)
    cached = z3.Bool("cached")
    stays = z3.And(cached, z3.Not(terms.any_of(promised(operation, profile))))
    created = after.holds(_tlb().fill) if filled else z3.BoolVal(False)
    solver = z3.Solver()
    solver.add(z3.Not(terms.any_of(operation.faults)))
    solver.add(z3.Implies(cached, terms.holds(invariant)))
    solver.add(z3.Or(stays, created), z3.Not(after.holds(invariant)))
    answer = solver.check()
    assert answer != z3.unknown
    return solver.model() if answer == z3.sat else None


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("operation", x86.OPERATIONS, ids=lambda o: o.name)
def test_every_operation_keeps_the_invariants(operation: Operation, profile: str) -> None:
    """For all registers, operands and entries: what is cached after an operation, and any fill then, obeys I-TAG4 and the global rule."""
    for name, invariant in INVARIANTS.items():
        assert counterexample(operation, invariant, profile) is None, name


@pytest.mark.parametrize("name", INVARIANTS)
def test_a_fill_obeys_the_invariants(name: str) -> None:
    """An entry that a walk creates obeys each invariant whatever the registers: so do the first entries of a run."""
    terms, solver = Terms(), z3.Solver()
    solver.add(terms.holds(_tlb().fill))
    assert solver.check() == z3.sat
    solver.add(z3.Not(terms.holds(INVARIANTS[name])))
    assert solver.check() == z3.unsat


@pytest.mark.parametrize("name", INVARIANTS)
def test_the_initial_content_obeys_the_invariants(name: str) -> None:
    """``initial`` of every x86 TLB implies each invariant, and is not empty."""
    terms, solver = Terms(), z3.Solver()
    solver.add(terms.holds(_tlb().initial))
    assert solver.check() == z3.sat
    solver.add(z3.Not(terms.holds(INVARIANTS[name])))
    assert solver.check() == z3.unsat


def _without(operation: Operation, *needles: str) -> Operation:
    kept = tuple(c for c in operation.drops if not any(n in c.rule for n in needles))
    assert len(kept) == len(operation.drops) - len(needles)
    return replace(operation, drops=kept)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "needle"), [("I-TAG4", "PCIDE 1->0"), ("no global entry while PGE=0", "a change of CR4.PGE")])
def test_the_invariants_need_their_drop_clauses(name: str, needle: str, profile: str) -> None:
    """Not vacuous: without the one clause on PCIDE 1->0 (or PGE) z3 finds an entry that breaks the invariant, and no other one is broken."""
    weaker = _without(MOV_TO_CR4, needle)
    for other, invariant in INVARIANTS.items():
        assert (counterexample(weaker, invariant, profile) is not None) is (other == name)


@pytest.mark.parametrize("operation", x86.OPERATIONS, ids=lambda o: o.name)
def test_the_premise_of_the_proofs_can_be_met(operation: Operation) -> None:
    """Not vacuous: each operation can be executed without a fault with an entry cached that obeys both invariants and stays."""
    terms, solver = Terms(), z3.Solver()
    solver.add(z3.Not(terms.any_of(operation.faults)), *(terms.holds(i) for i in INVARIANTS.values()))
    assert solver.check() == z3.sat
    if operation is not INVPCID_ALL:
        solver.add(z3.Not(terms.any_of(promised(operation, "common"))))
        assert solver.check() == z3.sat


@pytest.mark.parametrize("operation", x86.OPERATIONS, ids=lambda o: o.name)
@pytest.mark.parametrize("vendor", ["intel", "amd"])
def test_common_drops_no_more_than_either_vendor(vendor: str, operation: Operation) -> None:
    """Profile ``common``: what it drops, each vendor drops too, for all registers, operands and entries."""
    terms, solver = Terms(), z3.Solver()
    solver.add(terms.any_of(promised(operation, "common")), z3.Not(terms.any_of(promised(operation, vendor))))
    assert solver.check() == z3.unsat


def test_common_is_really_weaker_than_each_vendor() -> None:
    """Not vacuous: Intel alone promises something on SMEP, AMD alone on PSE and CR0.PG 0->1."""
    for vendor, operation in (("intel", MOV_TO_CR4), ("amd", MOV_TO_CR4), ("amd", MOV_TO_CR0)):
        terms, solver = Terms(), z3.Solver()
        solver.add(terms.any_of(promised(operation, vendor)), z3.Not(terms.any_of(promised(operation, "common"))))
        assert solver.check() == z3.sat


# -- the reference predicates (x86-tlb.md 7.6), as plain Python on plain numbers


@dataclass(frozen=True)
class Registers:
    """The registers of the CPU before an operation."""

    PG: int
    PGE: int
    PCIDE: int
    PAE: int
    SMEP: int
    low12: int
    LMA: int = 1
    PSE: int = 0

    @property
    def values(self) -> dict[str, int]:
        cr4 = X86_CR4_PGE * self.PGE | X86_CR4_PCIDE * self.PCIDE | X86_CR4_PAE * self.PAE | X86_CR4_SMEP * self.SMEP | X86_CR4_PSE * self.PSE
        return {"cr0": X86_CR0_PG * self.PG, "cr3": 0x5000 | self.low12, "cr4": cr4, "if": 0, "setting.pcid": 1, "setting.invpcid": 1, "setting.lma": self.LMA}


@dataclass(frozen=True)
class Entry:
    tag: int
    G: int
    page: int

    @property
    def values(self) -> dict[str, int]:
        return {"entry.tag": self.tag, "entry.global": self.G, "entry.page": self.page}


def cur(k: Registers) -> int:
    return k.low12 if k.PCIDE else 0


def must_invlpg(e: Entry, k: Registers, la: int, canonical: int) -> bool:
    return bool(canonical) and e.page == la and (e.tag == cur(k) or bool(e.G))


def must_invpcid(kind: int, e: Entry, pcid: int, la: int) -> bool:
    match kind:
        case 0:
            return e.tag == pcid and not e.G and e.page == la
        case 1:
            return e.tag == pcid and not e.G
        case 2:
            return True
        case _:
            return not e.G


def must_cr0(k: Registers, pg: int) -> bool:
    return bool(k.PG) and not pg


def must_cr3(e: Entry, k: Registers, bit63: int, new_pcid: int) -> bool:
    if not k.PCIDE:
        return e.tag == 0 and not e.G
    if bit63:
        return False
    return e.tag == new_pcid and not e.G


def must_cr4(e: Entry, k: Registers, new: Registers) -> bool:
    if new.PGE != k.PGE or (k.PCIDE and not new.PCIDE):
        return True
    if new.PAE != k.PAE or (new.SMEP and not k.SMEP):
        return e.tag == cur(k)
    return False


def fault_cr0(k: Registers, pg: int) -> bool:
    return bool(k.PG and not pg and (k.PCIDE or k.LMA))


def fault_cr3(k: Registers, bit63: int) -> bool:
    return bool(bit63 and not k.PCIDE)


def fault_cr4(k: Registers, new: Registers) -> bool:
    """LMA=1 with PAE=0 before cannot be, so that clearing is what 7.6's ``not op.PAE`` comes to."""
    return bool(new.PCIDE and not k.PCIDE and (not k.LMA or k.low12 != 0)) or bool(k.LMA and not new.PAE)


def fault_invpcid(kind: int, k: Registers, pcid: int, canonical: int) -> bool:
    high = pcid >> 12
    if kind >= 2:
        return False  # neither type has a descriptor field that is looked at here
    return bool(high or (not k.PCIDE and pcid) or (kind == 0 and not canonical))


# -- and the comparison

ENTRIES = tuple(Entry(tag, g, page) for tag in (0, 1, 2) for g in (0, 1) for page in (0, 1))
BITS = tuple(itertools.product((0, 1), repeat=4))
"""PGE, PCIDE, PAE, SMEP."""
BEFORE = tuple(Registers(1, pge, pcide, pae, smep, low12) for pge, pcide, pae, smep in BITS for low12 in (0, 1, 2))


def drops(operation: Operation, values: Mapping[str, int], profile: str = "intel") -> bool:
    return any(all(evaluate(part, values) for part in c.parts) for c in promised(operation, profile))


def faulting(operation: Operation, values: Mapping[str, int]) -> bool:
    return any(all(evaluate(part, values) for part in c.parts) for c in operation.faults)


def test_mov_cr4_is_the_reference() -> None:
    """MOV CR4: faults and drops equal 7.6 for all PGE, PCIDE, PAE, SMEP old and new, CR3[11:0], LMA, tag and G."""
    seen = set()
    for k in BEFORE:
        for pge, pcide, pae, smep in BITS:
            new = Registers(1, pge, pcide, pae, smep, k.low12)
            for lma in (0, 1):
                if lma and not k.PAE:
                    continue  # IA-32e mode has PAE=1
                here = replace(k, LMA=lma)
                values = here.values | {"arg.value": new.values["cr4"]}
                faults = fault_cr4(here, new)
                assert faulting(MOV_TO_CR4, values) == faults, (here, new)
                for e in ENTRIES:
                    expected = must_cr4(e, here, new)
                    assert drops(MOV_TO_CR4, values | e.values) == expected, (here, new, e)
                    seen.add((faults, expected))
    assert len(seen) == 4


def test_mov_cr3_is_the_reference() -> None:
    """MOV CR3: faults and drops equal 7.6 for bit 63, the new PCID, CR3[11:0], PCIDE, tag and G."""
    for k in BEFORE:
        for bit63, new_pcid in itertools.product((0, 1), (0, 1, 2)):
            values = k.values | {"arg.value": 0x6000 | new_pcid | X86_CR3_NOFLUSH * bit63}
            assert faulting(MOV_TO_CR3, values) == fault_cr3(k, bit63)
            (register, effect), *others = MOV_TO_CR3.effects
            assert register is x86.CR3 and not others and evaluate(effect, values) == 0x6000 | new_pcid
            for e in ENTRIES:
                assert drops(MOV_TO_CR3, values | e.values) == must_cr3(e, k, bit63, new_pcid), (k, bit63, new_pcid, e)


def test_mov_cr0_is_the_reference() -> None:
    """MOV CR0: faults and drops equal 7.6 for PG old and new, PCIDE and LMA."""
    for k, pg_old, pg_new, lma in itertools.product(BEFORE, (0, 1), (0, 1), (0, 1)):
        here = replace(k, PG=pg_old, LMA=lma)
        values = here.values | {"arg.value": X86_CR0_PG * pg_new}
        assert faulting(MOV_TO_CR0, values) == fault_cr0(here, pg_new)
        for e in ENTRIES:
            assert drops(MOV_TO_CR0, values | e.values) == must_cr0(here, pg_new)


def test_invlpg_is_the_reference() -> None:
    """INVLPG: drops equal 7.6 for page, canonical or not, current PCID, tag and G; it never faults."""
    assert INVLPG.faults == ()
    for k, la, canonical in itertools.product(BEFORE, (0, 1), (0, 1)):
        for e in ENTRIES:
            assert drops(INVLPG, k.values | {"arg.page": la, "arg.canonical": canonical} | e.values) == must_invlpg(e, k, la, canonical)


@pytest.mark.parametrize("kind", range(4))
def test_invpcid_is_the_reference(kind: int) -> None:
    """INVPCID 0 to 3: faults and drops equal 7.6 for PCID (also with reserved bits), page, canonical or not, PCIDE, tag and G."""
    operation = (INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NONGLOBAL)[kind]
    for k, pcid, la, canonical in itertools.product(BEFORE, (0, 1, 2, 0x1000, 0x1001), (0, 1), (0, 1)):
        values = k.values | {"arg.pcid": pcid, "arg.page": la, "arg.canonical": canonical}
        assert faulting(operation, values) == fault_invpcid(kind, k, pcid, canonical)
        for e in ENTRIES:
            assert drops(operation, values | e.values) == must_invpcid(kind, e, pcid, la)


def test_usable_and_fill_are_the_reference() -> None:
    """I-TAG1 to I-TAG3, I-G1, I-FILL2: who may use an entry, and which entry a walk creates now, whatever IF is."""
    fill = _tlb().fill
    for k, pg, e, leaf, walk in itertools.product(BEFORE, (0, 1), ENTRIES, (0, 1), (0, 1)):
        here = replace(k, PG=pg)
        values = here.values | e.values
        assert evaluate(x86.USABLE, values) == (e.tag == cur(k) or bool(e.G))
        expected = bool(pg and walk and e.tag == cur(k) and (leaf and k.PGE) == e.G)
        for flag in (0, 1):
            assert evaluate(fill, values | {"leaf.global": leaf, "walk": walk, "if": flag}) == expected


def test_the_common_profile_drops_no_more_on_these_values_either() -> None:
    """MOV CR4, by evaluation: ``common`` drops an entry only if 7.6 (Intel) does; with AMD's clauses PSE and PAE drop more."""
    more = 0
    for k in BEFORE:
        for (pge, pcide, pae, smep), pse in itertools.product(BITS, (0, 1)):
            new = Registers(1, pge, pcide, pae, smep, k.low12, PSE=pse)
            for e in ENTRIES:
                values = k.values | {"arg.value": new.values["cr4"]} | e.values
                assert not drops(MOV_TO_CR4, values, "common") or must_cr4(e, k, new)
                more += drops(MOV_TO_CR4, values, "amd") and not must_cr4(e, k, new)
    assert more
