"""Xen's published switches: verdicts, faults told apart by repair, and what the results say of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import pytest
from quick import sampled

from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, models

REPAIRS = ("SAME_PCID_RELOAD_REPAIRED", "SKIPPED_OLD_PCID_FLUSH_REPAIRED", "CR3_READ_EARLY_REPAIRED", "PCIDE_LATE_REPAIRED")
EFFECTS = {
    "SAME_PCID_RELOAD_REPAIRED": {"missing-flush", "stale-translation"},
    "SKIPPED_OLD_PCID_FLUSH_REPAIRED": {"missing-flush", "stale-translation"},
    "CR3_READ_EARLY_REPAIRED": {"missing-flush", "stale-translation", "no-fault"},
    "PCIDE_LATE_REPAIRED": {"no-fault"},
}


@cache
def explicit(name: str) -> ModelEvidence:
    return explore(name, engines=("explicit",))


def violated(result: ModelEvidence) -> set[str]:
    return {r.property.name for r in result.results if r.verdict == "violated"}


def callers(result: ModelEvidence, name: str) -> set[str]:
    """Who calls the switches that violate a property."""
    system = result.system
    kind = next(v.type for v in system.control if v.name == system.case_variables["caller"])
    return {kind.show(dict(v.case)["caller"]) for v in result[name].violations}


@pytest.mark.parametrize("name", sampled(["xen/flush-once", "xen/before-pcid", "xen/gp-fix"], keep=1))
def test_clean_versions_are_proved(name: str) -> None:
    """xen.md 1.2: D0, P2 and P3 are clean; P3 in spite of its transient windows."""
    result = explicit(name)
    assert {r.property.name: r.verdict for r in result.results} == dict.fromkeys((r.property.name for r in result.results), "proved")
    assert not any(r.vacuous for r in result.results)


@pytest.mark.parametrize("name", sampled(["xen/pcid-v5", "xen/pcid-v4", "xen/pcid-committed"], keep=1))
def test_the_patch_and_what_was_committed_are_violated(name: str) -> None:
    """xen.md 1.4: stale entries and #GP in the seed and in 5c81d260c2."""
    assert violated(explicit(name)) == {"missing-flush", "stale-translation", "no-fault"}


@pytest.mark.long
def test_committed_has_the_verdicts_of_v5_case_by_case() -> None:
    """xen.md 1.4: same hardware step sequence, same faults."""

    def cases(name: str) -> set[tuple[object, ...]]:
        return {(v.property, v.clause, v.case) for r in explicit(name).results for v in r.violations}

    assert cases("xen/pcid-v5") == cases("xen/pcid-committed")


def test_xsa_292_leaves_only_the_gp_towards_user_mode() -> None:
    """xen.md 1.4, refinement: P1 faults for a target in user mode only."""
    result = explicit("xen/xsa-292")
    assert violated(result) == {"no-fault"}
    assert {(dict(v.case)["old"], dict(v.case)["new"], v.clause) for v in result["no-fault"].violations} == {(2, 4, "#GP")}


@pytest.mark.long
def test_v4_shows_the_race_that_v5_names() -> None:
    """The seed's changelog: without the old-PCID flush, entries of the old PCID survive kernel <-> user."""
    new = {(dict(v.case)["left"], dict(v.case)["new"], dict(v.case)["other_cr4"]) for v in explicit("xen/pcid-v4")["missing-flush"].violations}
    old = {(dict(v.case)["left"], dict(v.case)["new"], dict(v.case)["other_cr4"]) for v in explicit("xen/pcid-v5")["missing-flush"].violations}
    kernel, user, same = 3, 4, 1
    assert {(kernel, user, same), (user, kernel, same)} <= new - old


@pytest.mark.parametrize("fault", sampled(["same-pcid-reload", "cr3-read-early", "skipped-old-pcid-flush", "pcide-late"], keep=1))
def test_each_fault_alone_is_violated(fault: str) -> None:
    """Each of the four faults, with the other three repaired, violates what the model declares."""
    result = explicit(f"xen/pcid-v5@only-{fault}")
    assert violated(result) == {n for n, v in result.model.expected.items() if v == "violated"}


@pytest.mark.long
def test_the_early_read_needs_the_most_general_caller() -> None:
    """properties.md 1: with the callers in Xen's tree the early read of CR3 is harmless."""
    result = explicit("xen/pcid-v5@only-cr3-read-early")
    assert callers(result, "missing-flush") == callers(result, "no-fault") == {"open"}
    user, global_, nopcid = 4, 1, 2
    cases = {(v.property, dict(v.case)["old"], dict(v.case)["left"], dict(v.case)["new"]) for r in result.results for v in r.violations}
    assert ("missing-flush", user, global_, user) in cases
    assert ("no-fault", user, global_, nopcid) in cases
    real = explore(_with_flag(result.model, "ONLY_REAL_CALLERS", True), engines=("explicit",))
    assert violated(real) == set()


def _with_flag(model: Model, name: str, value: bool) -> Model:
    flag = next(f for f in model.flags if f.name == name)
    return replace(model, flags={**model.flags, flag: value})


@pytest.mark.parametrize(("repaired",), sampled([(r,) for r in itertools.product((True, False), repeat=4)], keep=1), ids=lambda r: "".join("x" if x else "-" for x in r))
def test_each_subset_of_repairs(repaired: tuple[bool, ...]) -> None:
    """A subset of the four repairs has the verdicts that its unrepaired faults imply."""
    model = find_models("xen/pcid-v5")[0]
    for name, value in zip(REPAIRS, repaired, strict=True):
        model = _with_flag(model, name, value)
    wanted = set().union(*(EFFECTS[n] for n, r in zip(REPAIRS, repaired, strict=True) if not r))
    assert violated(explore(model, engines=("explicit",), cases=False)) == wanted


SEEDED = [("xen/before-pcid@cr4-not-restored", "switch-lands"), ("xen/flush-once@pge-kept", "pge-with-pcide"), ("xen/pcid-v5@idle-keeps-pcide", "pge-with-pcide")]


@pytest.mark.parametrize(("name", "broken"), sampled(SEEDED, keep=2))
def test_every_property_can_fail(name: str, broken: str) -> None:
    """Seeded faults: a property without a variant that violates it proves nothing."""
    assert broken in violated(explicit(name))


def test_a_second_invariant_is_judged_where_the_first_is_broken() -> None:
    """Regression: with PGE kept, global entries go stale although PGE with PCIDE is broken all along."""
    assert explicit("xen/flush-once@pge-kept").results[1].violations[0].depth == 16


@pytest.mark.long
@pytest.mark.parametrize("name", sampled(["xen/before-pcid@cr4-not-restored", "xen/xsa-292", "xen/pcid-v5"], keep=1))
def test_both_engines_agree_on_depths(name: str) -> None:
    """Both engines report the same shortest depths, and every trace replays."""
    result = explore(name)
    for r in result.results:
        if r.verdict == "violated":
            assert r.engines["explicit"].depth == r.engines["bmc"].depth
        else:
            assert r.engines["bmc"].verdict == "bounded"


@pytest.mark.long
def test_expectations_change_no_verdict() -> None:
    """No engine reads ``expected``: swapped expectations give the same verdicts."""
    swap = {"proved": "violated", "violated": "proved"}
    for name in ("xen/before-pcid", "xen/before-pcid@cr4-not-restored"):
        model = find_models(name)[0]
        swapped = replace(model, expected={n: swap[v] for n, v in model.expected.items()})
        assert [r.verdict for r in explore(swapped, engines=("explicit",)).results] == [r.verdict for r in explicit(name).results]


def test_without_faults_in_the_model_nothing_is_unreached() -> None:
    """Vacuity: in the clean versions every operation of the switch is executed."""
    from tlbcheck.report.result import unreached

    assert not [u for u in unreached(explicit("xen/flush-once")) if "switch.py" in u]


@pytest.mark.long
def test_z3_searches_deep_enough_on_clean_models() -> None:
    """The bound covers a switch, a toggle and a second switch, whatever the rows' steps."""
    for name in ("xen/before-pcid", "xen/gp-fix", "xen/flush-once", "xen/pcid-v5@all-repaired"):
        result = explicit(name)
        search = result.search
        assert search is not None
        longest = _longest_switch(result)
        assert 2 * longest + 1 <= result.model.depth


def _longest_switch(result: ModelEvidence) -> int:
    """The most steps from the call of a switch by the most general caller to its return."""
    search, system = result.search, result.system
    assert search is not None
    leaving = {s.index for s in system.steps if any(e.kind == "leave" and e.name == "switch" for e in s.events)}
    entering = {s.index for s in system.steps if s.level == "task" and "switch" in s.roles and any(e.kind == "enter" and e.name == "switch" for e in s.events)}
    longest = 0
    work = [(t, 1) for edges in search.edges.values() for i, _, t in edges if i in entering]
    seen = set()
    while work:
        s, n = work.pop()
        if (s, n) in seen:
            continue
        seen.add((s, n))
        for i, _, t in search.edges.get(s, ()):
            if system.steps[i].level != "task":
                continue
            if i in leaving:
                longest = max(longest, n + 1)
            else:
                work.append((t, n + 1))
    return longest


def test_every_model_declares_what_it_expects() -> None:
    """For each property that it is about; the models of switches are about five at least."""
    for model in models().values():
        for m in (model, *(model.variant(v) for v in model.variants)):
            assert set(m.expected) == set(m.about), m.name
    assert {"missing-flush", "stale-translation", "switch-lands", "pge-with-pcide", "no-fault"} <= set(models()["xen/flush-once"].about)
