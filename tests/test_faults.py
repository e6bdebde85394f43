"""The faults of a switch are told apart by what mends them; each statement about them was tried."""

from __future__ import annotations

import linecache

import pytest

from tlbcheck.check import explore
from tlbcheck.faults import Fault, faults


def line(fault: Fault) -> str:
    return linecache.getline(fault.change.place.file, fault.change.place.line).strip()


@pytest.mark.long
def test_the_posted_patch_has_four_faults() -> None:
    """xen.md 1.4: F-A (same-PCID reload), F-B (skipped flush of the old PCID), F-C (CR3 read too early) and the #GP."""
    found = faults(explore("xen/pcid-committed", engines=["explicit"]))
    assert found.together, "with all four mended, every property holds"
    assert not found.unexplained
    assert sorted((f.change.kind, line(f)) for f in found.found) == [
        ("amended", "write_cr3(cr3)"),
        ("misplaced", "old_pcid = cr3_pcid(read_cr3())"),
        ("missing", "write_cr3(cr3)"),
        ("skipped", "invpcid_flush_single_context(old_pcid)"),
    ]
    by_kind = {f.change.kind: f for f in found.found}
    interrupted = {dict(v.case)["interrupted"] for v in by_kind["misplaced"].violations}
    assert interrupted == {1}, "what is read too early harms only where an interrupt came in between"
    assert {dict(v.case)["other_cr4"] for v in by_kind["skipped"].violations if not dict(v.case)["interrupted"]} == {2}, "only if another CR4 bit differs"
    assert {v.property for v in by_kind["missing"].violations} == {"no-fault"}


@pytest.mark.long
def test_one_fault_left() -> None:
    """With the other faults repaired by hand, only this one is found."""
    found = faults(explore("xen/pcid-v5@only-pcide-late", engines=["explicit"]))
    assert [(f.change.kind, line(f)) for f in found.found] == [("missing", "write_cr3(cr3)")]
    assert found.together


def test_nothing_is_wrong_with_a_clean_switch() -> None:
    found = faults(explore("xen/before-pcid", engines=["explicit"]))
    assert found.found == () and found.unexplained == () and found.together


@pytest.mark.long
def test_what_no_change_of_the_switch_mends_is_said() -> None:
    """Domains with PCIDs and global pages are wrong in their callers: no change of the switch helps."""
    found = faults(explore("xen/flush-once@pge-kept", engines=["explicit"]))
    assert found.unexplained and not found.together
