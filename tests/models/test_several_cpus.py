"""The models of several CPUs and of Xen's flushes: what each fault violates, and that its story is the one that is told of it.

Sources: the table of issue 6, properties.md 4, xen.md 1.3 to 4. Verdicts of all engines, and of the variants with many
states, are held against what the models declare by ``tlbcheck verify --expect``; here the explicit engine's runs are
looked at, which replay has confirmed.
"""

from __future__ import annotations

from functools import cache

import pytest

from tlbcheck.check import verify
from tlbcheck.engines.run import ModelResult
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
    "xen/cr3-values",
)
# Fault, what it violates at least, and operations or summaries that its shortest run must show in this order.
STORIES = {
    "linux/riscv-asid@leaves-mask": ("frame-isolation", ["mapped := no", "leave_task", "mm_cpumask := no", "frame_is_the_tasks := no", "run_task"]),
    "linux/svm-asid@migration-keeps-generation": ("frame-isolation", ["new_asid()", "VMRUN", "new_asid()", "VMRUN", "svm_vcpu_load()", "VMRUN"]),
    "linux/deferred-flush@no-pending-mark": ("stale-use", ["pte_present := no", "page_table_lock := no", "munmap", "reads pte_present", "page_table_lock := no"]),
    "xen/local-flush@flush-keeps-globals": ("flush-all", ["ticks", "INVPCID type 3"]),
    "xen/local-flush@flush-skips-xpti-pcids": ("flush-page", ["of PCID 0", "of PCID 1"]),
    "xen/local-flush@noncanonical-invpcid": ("no-fault", ["non-canonical", "INVPCID type 0"]),
    "xen/toggle@toggle-noflush-shadow": ("toggle", ["NOFLUSH", "shadow root", "NOFLUSH"]),
    "xen/toggle@user-same-pcid": ("toggle", ["user root, PCID 0, NOFLUSH"]),
    "xen/shootdown@skip-without-switch": ("shootdown", ["invalidate_interrupt starts", "reads flush_flags", "kept lazily", "in_flush_cpumask := no"]),
    "xen/shootdown@wait-irqs-off": ("shootdown-completes", ["saves IF and disables", "saves IF and disables", "takes flush_lock", "interrupts them", "looks whether"]),
    "xen/dirty-mask@mask-cleared-early": ("dirty-mask", ["in_dirty_cpumask := yes", "loads the other page tables", "in_dirty_cpumask := no", "dirty mask"]),
    "xen/dirty-mask@efi-lazy-sync": ("no-fault", ["reads CR3", "interrupt: invalidate_interrupt", "in_dirty_cpumask := no", "efi_rs_leave", "loads the other page tables"]),
    "xen/xpti@exit-keeps-pcid": ("xpti-separation", ["per-CPU root copy, PCID 0, NOFLUSH", "guest_runs := yes"]),
    "xen/xpti@nmi-keeps-xen-cr3": ("xpti-separation", ["per-CPU root copy", "interrupt: nmi", "guest kernel root", "guest_runs := yes"]),
    "xen/root-copy@root-copy-stale": ("root-copy", ["copies the guest's root table", "changes an entry", "root_pgt_changed := yes", "reads root_pgt_changed"]),
    "xen/cr3-values@debug-unmasked": ("cr3-address", ["NOFLUSH for the address"]),
    "xen/cr3-values@dom0-unmasked": ("no-fault", ["writes CR3"]),
}


@cache
def explicit(name: str, only: str | None = None) -> ModelResult:
    return verify(name, [only] if only else None, engines=("explicit",), cases=False)


@pytest.mark.parametrize("name", MODELS)
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


@pytest.mark.parametrize("name", STORIES)
def test_the_fault_is_found_and_told(name: str) -> None:
    from tlbcheck.report.result import model_json

    judged, expected = STORIES[name]
    # A shootdown model is asked for all its properties: one of them needs the graph, which is then kept for the others.
    result = explicit(name) if name.startswith("xen/shootdown") else explicit(name, judged)
    assert result[judged].verdict == result.model.expected[judged] == "violated"
    entry = next(e for e in model_json(result) if e["property"] == judged)
    told = [f"{s['actor']} {s['procedures'][0] if s['procedures'] else ''} {s['text']}" for s in entry["violations"][0]["steps"]]
    position = 0
    for words in expected:
        found = next((i for i in range(position, len(told)) if words in told[i]), None)
        assert found is not None, f"'{words}' does not come after step {position} of:\n" + "\n".join(told)
        position = found if len(expected) == 1 else found + 1 if expected.count(words) > 1 else found


def test_stamping_before_the_flush_does_no_harm_in_the_end() -> None:
    """properties.md 4: contract only, judged in every state; interrupts are off until the flush is done."""
    result = explicit("xen/flush-clock@stamp-before-flush")
    assert {r.property.name: r.verdict for r in result.results} == {"flush-clock": "violated", "frame-isolation": "proved", "no-fault": "proved"}


def test_the_mask_in_the_map_cache_is_not_needed() -> None:
    """The reviewer's question on domain_page.c: idle has PCID 0, and CR3 never reads back NOFLUSH."""
    result = explicit("xen/cr3-values@mapcache-unmasked")
    assert {r.verdict for r in result.results} == {"proved"}


def test_three_cpus() -> None:
    """The number of CPUs is an option of the model."""
    result = explicit("linux/riscv-asid:cpus=3")
    assert result.model.cpus == 3
    assert {r.verdict for r in result.results} == {"proved"}


def test_a_lasso_goes_on_for_ever() -> None:
    """Its loop is in the JSON: the step after which the run repeats."""
    from tlbcheck.report.result import model_json
    from tlbcheck.report.story import render

    violation = next(e for e in model_json(explicit("xen/shootdown@wait-irqs-off")) if e["property"] == "shootdown-completes")["violations"][0]
    assert 0 <= violation["loop"] <= violation["depth"]
    assert "And so for ever" in render("m", "shootdown-completes", violation)
