"""RISC-V's and SVM's rules, against the reference (x86-tlb.md 3 A-9 to A-12, 4.2, 8.7 R1, R2, R5)."""

from __future__ import annotations

import itertools

import pytest

from tlbcheck.lang.expr import evaluate
from tlbcheck.lang.program import Operation
from tlbcheck.machine import riscv, svm

PAGES, ASIDS = (0, 1), (1, 2)
ENTRIES = [dict(zip(("entry.page", "entry.asid", "entry.global"), values, strict=True)) for values in itertools.product(PAGES, ASIDS, (0, 1))]


def dropped(operation: Operation, entry: dict[str, int], **operands: int) -> bool:
    values = {**entry, **{f"arg.{n}": v for n, v in operands.items()}}
    return any(all(evaluate(part, values) for part in c.parts) for c in operation.drops)


@pytest.mark.parametrize("entry", ENTRIES)
def test_sfence_drops_what_sail_drops(entry: dict[str, int]) -> None:
    """R2: (none, none) all; an ASID's entries if not global; an address under any ASID, global too; both."""
    here, mine, shared = entry["entry.page"] == 0, entry["entry.asid"] == 1, bool(entry["entry.global"])
    assert dropped(riscv.SFENCE_VMA, entry)
    assert dropped(riscv.SFENCE_VMA_ASID, entry, asid=1) is (mine and not shared)
    assert dropped(riscv.SFENCE_VMA_PAGE, entry, page=0) is here
    assert dropped(riscv.SFENCE_VMA_PAGE_ASID, entry, page=0, asid=1) is (here and mine and not shared)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("current", ASIDS)
def test_an_entry_matches_by_asid_or_because_it_is_global(entry: dict[str, int], current: int) -> None:
    """R1, R5: a write of satp drops nothing, so that old entries are usable again under their ASID."""
    assert not riscv.CSRW_SATP.drops
    usable = evaluate(riscv.USABLE, {**entry, "satp": riscv.satp(0x100, current)})
    assert bool(usable) is (entry["entry.asid"] == current or bool(entry["entry.global"]))


def test_fields_of_satp() -> None:
    value = riscv.satp(0x100, 7)
    assert evaluate(riscv.ROOT, {"satp": value}) == 0x100
    assert evaluate(riscv.CURRENT_ASID, {"satp": value}) == 7
    assert riscv.show_satp(value) == "root 0x100, ASID 7"


@pytest.mark.parametrize(("control", "own", "other"), [(0, False, False), (1, True, True), (3, True, False)])
def test_tlb_control(control: int, own: bool, other: bool) -> None:
    """A-10: nothing, every ASID, this ASID; A-9: #VMEXIT drops nothing."""
    assert dropped(svm.VMRUN, {"entry.asid": 1}, asid=1, tlb_control=control) is own
    assert dropped(svm.VMRUN, {"entry.asid": 2}, asid=1, tlb_control=control) is other
    assert not svm.VMEXIT.drops


def test_asid_zero_is_the_hosts() -> None:
    """A-12: VMRUN refuses it; and guest entries are not usable while the host runs."""
    (fault,) = svm.VMRUN.faults
    assert [bool(all(evaluate(part, {"arg.asid": asid, "arg.tlb_control": 0}) for part in fault.parts)) for asid in (0, 1)] == [True, False]
    assert not evaluate(svm.USABLE, {"entry.asid": 0, "guest_asid": 0})
    assert evaluate(svm.USABLE, {"entry.asid": 1, "guest_asid": 1})
