"""The models of several CPUs and of Xen's flushes: what each fault violates, and that its story is the one that is told of it.

Sources: the table of issue 6, properties.md 4, xen.md 1.3 to 4. Verdicts of all engines, and of the variants with many
states, are held against what the models declare by ``tlbcheck verify --expect``; here the explicit engine's runs are
looked at, which replay has confirmed.
"""

from __future__ import annotations

from functools import cache

import pytest
from quick import sampled

from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.errors import InputError
from tlbcheck.library import find_models

MODELS = (
    "linux/riscv-asid",
    "linux/svm-asid",
    "linux/deferred-flush",
    "xen/local-flush",
    "xen/toggle",
    "xen/shootdown",
    "xen/flush-clock",
    "xen/dirty-mask",
    "xen/xpti",
    "xen/root-copy",
    "xen/linear-map",
    "xen/cr3-values",
)
# Fault, what it violates at least, and operations or summaries that its shortest run must show in this order.
STORIES = {
    "linux/riscv-asid@leaves-mask": ("frame-isolation", ["leave_task", "mm_cpumask := no", "mapped := no", "reads mm_cpumask", "frame_is_the_tasks := no"]),
    "linux/svm-asid@migration-keeps-generation": ("frame-isolation", ["new_asid()", "VMRUN", "new_asid()", "VMRUN", "svm_vcpu_load()", "VMRUN"]),
    "linux/deferred-flush@no-pending-mark": ("stale-use", ["pte_present := no", "page_table_lock := no", "munmap", "reads pte_present", "without a flush"]),
    "xen/local-flush@flush-keeps-globals": ("flush-all", ["ticks", "INVPCID type 3"]),
    "xen/local-flush@flush-skips-xpti-pcids": ("flush-page", ["of PCID 0", "of PCID 1"]),
    "xen/local-flush@noncanonical-invpcid": ("no-fault", ["non-canonical", "INVPCID type 0"]),
    "xen/toggle@toggle-noflush-shadow": ("toggle", ["user root, PCID 1, NOFLUSH", "a new shadow", "another kernel root of the guest, PCID 0, NOFLUSH"]),
    "xen/toggle@user-same-pcid": ("toggle", ["guest's user root, PCID 0, NOFLUSH"]),
    "xen/shootdown@skip-without-switch": ("shootdown", ["invalidate_interrupt starts", "reads flush_flags", "kept lazily", "in_flush_cpumask := no"]),
    "xen/shootdown@wait-irqs-off": ("shootdown-completes", ["saves IF and disables", "saves IF and disables", "takes flush_lock", "interrupts them", "looks whether"]),
    "xen/dirty-mask@mask-cleared-early": ("dirty-mask", ["in_dirty_cpumask := yes", "loads the other page tables", "in_dirty_cpumask := no", "dirty mask"]),
    "xen/dirty-mask@efi-lazy-sync": ("no-fault", ["saves CR3", "interrupt: invalidate_interrupt", "cr3 := idle", "in_dirty_cpumask := no", "cr3 := the firmware's", "cr3 := observed"]),
    "xen/xpti@exit-keeps-pcid": ("xpti-separation", ["per-CPU root copy, PCID 0, NOFLUSH", "guest_runs := yes"]),
    "xen/xpti@nmi-keeps-xen-cr3": ("xpti-separation", ["interrupt: nmi", "writes CR3 := guest kernel root", "guest_runs := yes"]),
    "xen/root-copy@root-copy-stale": ("root-copy", ["takes the lower table out", "no CPU is left in the mask", "reads root_pgt_changed", "its copy root_pgt"]),
    "xen/root-copy@reused-before-flush": ("page-walk-safety", ["takes the lower table out", "nothing refers to the lower table", "another use"]),
    "xen/xpti@pv-cr3-noflush-shadow": ("toggle", ["user root, PCID 1", "to_new_root = yes", "new guest kernel root, PCID 0", "per-CPU root copy, PCID 2, NOFLUSH"]),
    "xen/linear-map@linear-not-flushed": ("linear-access", ["leads to the other L2 table", "through the linear map"]),
    "xen/linear-map@linear-flushed-here": ("linear-access", ["leads to the other L2 table", "INVPCID type 2", "through the linear map"]),
    "xen/cr3-values@debug-unmasked": ("cr3-address", ["NOFLUSH for the address"]),
    "xen/cr3-values@dom0-unmasked": ("no-fault", ["writes CR3"]),
}


@cache
def explicit(name: str, only: str | None = None) -> ModelEvidence:
    return explore(name, [only] if only else None, engines=("explicit",), cases=False)


@pytest.mark.parametrize("name", sampled(sorted(MODELS), keep=4))
def test_what_is_right_is_proved_and_something_was_judged(name: str) -> None:
    result = explicit(name)
    assert {r.property.name: (r.verdict, r.vacuous) for r in result.results} == dict.fromkeys(result.model.about, ("proved", False))
    assert result.explicit is not None and result.explicit.cached_entries != 0


@pytest.mark.parametrize("name", MODELS)
def test_every_variant_declares_what_it_violates_and_every_model_has_a_fault(name: str) -> None:
    """A property without a variant that violates it proves nothing."""
    model = find_models(name)[0]
    assert set(model.expected) == set(model.about)
    assert all(set(v.expected) == set(model.about) and v.source for v in model.variants.values())
    assert any("violated" in v.expected.values() for v in model.variants.values())


@pytest.mark.parametrize("name", sampled(STORIES, keep=4))
def test_the_fault_is_found_and_told(name: str) -> None:
    from tlbcheck.report.result import model_result
    from tlbcheck.report.wording import what

    judged, expected = STORIES[name]
    # A shootdown model is asked for all its properties: one of them needs the graph, which is then kept for the others.
    result = explicit(name) if name.startswith("xen/shootdown") else explicit(name, judged)
    assert result[judged].verdict == result.model.expected[judged] == "violated"
    run = model_result(result)[judged].violations[0].told
    told = [f"{s['actor']} {s['procedures'][0] if s['procedures'] else ''} {what(s)}" for s in run["steps"]]
    position = 0
    for words in expected:
        found = next((i for i in range(position, len(told)) if words in told[i]), None)
        assert found is not None, f"'{words}' does not come after step {position} of:\n" + "\n".join(told)
        position = found if len(expected) == 1 else found + 1 if expected.count(words) > 1 else found


@pytest.mark.long
def test_stamping_before_the_flush_does_no_harm_in_the_end() -> None:
    """properties.md 4: contract only, judged in every state; interrupts are off until the flush is done."""
    result = explicit("xen/flush-clock@stamp-before-flush")
    assert {r.property.name: r.verdict for r in result.results} == {"flush-clock": "violated", "frame-isolation": "proved", "no-fault": "proved"}


def test_the_mask_in_the_map_cache_is_not_needed() -> None:
    """The reviewer's question on domain_page.c: idle has PCID 0, and CR3 never reads back NOFLUSH."""
    result = explicit("xen/cr3-values@mapcache-unmasked")
    assert {r.verdict for r in result.results} == {"proved"}


@pytest.mark.long
def test_entries_that_depend_on_each_other_are_searched_as_they_are_too() -> None:
    """The linear map is walked through a cached L3 entry: two tracked entries and the literal caches come to the same run."""
    for name, depth in (("xen/linear-map@linear-not-flushed", 2), ("xen/linear-map@linear-flushed-here", 3)):
        result = explore(name, engines=("explicit", "full", "sets"), cases=False)["linear-access"]
        assert {e: answer.depth for e, answer in result.engines.items() if e != "recheck"} == dict.fromkeys(("explicit", "full", "sets"), depth)


@pytest.mark.parametrize("name", sampled(["linux/riscv-asid", "linux/svm-asid"], keep=1))
def test_three_cpus(name: str) -> None:
    """The number of CPUs is an option of the models in which CPUs act on each other; those of one CPU say that they have none."""
    result = explicit(f"{name}:cpus=3")
    assert result.model.cpus == 3
    assert {r.verdict for r in result.results} == {"proved"}


def test_where_the_number_of_cpus_means_nothing() -> None:
    with pytest.raises(InputError, match="xen/toggle has no number 'cpus'"):
        find_models("xen/toggle:cpus=2")


def test_the_width_of_the_flush_clock() -> None:
    """A wider clock has the narrower ones in it. With one bit it always says 1, everybody is always flushed, and a faulty wrap hides: that is too small."""
    assert [find_models(f"xen/flush-clock:bits={n}")[0].cases[0].domain for n in (1, 3)] == [(1,), (1, 3, 7)]
    assert {r.verdict for r in explicit("xen/flush-clock:bits=1@wrap-without-flush").results} == {"proved"}
    with pytest.raises(InputError, match="bits=5 is too much"):
        find_models("xen/flush-clock:bits=5")


@pytest.mark.long
def test_a_lasso_goes_on_for_ever() -> None:
    """Its loop is in the JSON: the step after which the run repeats."""
    from tlbcheck.report.result import model_result
    from tlbcheck.report.story import render

    violation = model_result(explicit("xen/shootdown@wait-irqs-off"))["shootdown-completes"].violations[0].told
    assert 0 <= violation["loop"] <= violation["depth"]
    assert "And so for ever" in render("m", "shootdown-completes", violation)
