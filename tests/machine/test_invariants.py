"""The machine's two invariants, proved once for every operation and every register value, and who may use and create entries.

That each operation is the reference's (x86-tlb.md 7.6) stands in tests/test_mutants.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import x86_rules
import z3

from tlbcheck.engines.encoding import Translator
from tlbcheck.lang.expr import Expr, evaluate, substitute, var
from tlbcheck.lang.model import CacheKind
from tlbcheck.lang.program import Clause, Operation
from tlbcheck.lang.types import BOOL, U64
from tlbcheck.machine import x86
from tlbcheck.machine.x86 import (
    INVPCID_ALL,
    MOV_TO_CR0,
    MOV_TO_CR4,
    X86_CR0_PG,
    X86_CR4_PCIDE,
    X86_CR4_PGE,
)

PROFILES: Mapping[str, frozenset[str]] = {"common": frozenset({"intel", "amd"}), "intel": frozenset({"intel"}), "amd": frozenset({"amd"})}
INVARIANTS: Mapping[str, Expr] = {"I-TAG4": x86.INVARIANTS.tag, "no global entry while PGE=0": x86.INVARIANTS.global_}


def promised(operation: Operation, profile: str) -> list[Clause]:
    """The clauses of an operation that count under a profile."""
    return [c for c in operation.drops if PROFILES[profile] <= c.vendors]


# -- the invariants, by z3

# Everything that a clause may speak of; a page is nothing but equal or not to another one.
_WORDS = ("cr0", "cr3", "cr4", "entry.tag", "arg.value", "arg.pcid", "setting.maxphyaddr")
_FLAGS = ("if", "entry.global", "arg.canonical", "arg.flags", "setting.pcid", "setting.invpcid", "setting.lma", "setting.maxphyaddr_is_52", "leaf.global", "walk")
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


def test_usable_and_fill_are_the_reference() -> None:
    """I-TAG1 to I-TAG3, I-G1, I-FILL2: who may use an entry, and which entry a walk creates now, whatever IF is."""
    fill = _tlb().fill
    for pg, pge, pcide, low12, tag, is_global, leaf, walk, flag in itertools.product((0, 1), repeat=9):
        k = x86_rules.Registers(pg=bool(pg), pge=bool(pge), pcide=bool(pcide), cr3_low12=low12)
        values = {"cr0": pg * X86_CR0_PG, "cr3": 0x5000 | low12, "cr4": pge * X86_CR4_PGE | pcide * X86_CR4_PCIDE, "entry.tag": tag, "entry.global": is_global, "entry.page": 0}
        assert evaluate(x86.USABLE, values) == (tag == k.current_tag or bool(is_global))
        expected = bool(pg and walk and tag == k.current_tag and (leaf and pge) == is_global)
        assert evaluate(fill, values | {"leaf.global": leaf, "walk": walk, "if": flag}) == expected
