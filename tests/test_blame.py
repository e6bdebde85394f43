"""Why a run goes wrong, for families without a switch: named only after the change was made and the changed model searched."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tlbcheck.blame
from tlbcheck.attempts import About, Proposal, attempts
from tlbcheck.blame import blame_shown
from tlbcheck.changes import apply
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.run import check
from tlbcheck.engines.trace import Trace
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, find_properties
from tlbcheck.system.lower import lower

EXAMPLE = Path(__file__).resolve().parent / "example"

WHY = {
    "linux/deferred-flush@no-pending-mark": ("skipped", "x86.INVLPG(Page.data, True)", "stale-use"),
    "linux/riscv-asid@leaves-mask": ("missing", "riscv.SFENCE_VMA_PAGE_ASID(Page.data, 1)", "frame-isolation"),
    "linux/svm-asid@migration-keeps-generation": ("skipped", "vcpu_generation.at(vcpu).set(0)", "frame-isolation"),
    "xen/dirty-mask@mask-cleared-early": ("misplaced", "to after line 35 (callers.write_ptbase(n))", "dirty-mask"),
    "xen/xpti@exit-keeps-pcid": ("variant", "do as without EXIT_KEEPS_PCID", "xpti-separation"),
}
"""A family each: an operation that some path skips, one that is missing, an allocator's, one that comes too early, and what no single line mends
and the model declares otherwise.
"""
SLOW = {
    "xen/root-copy@reused-before-flush": ("decided", "take unhooked whatever REUSED_BEFORE_FLUSH is", "page-walk-safety"),
    "xen/linear-map@linear-flushed-here": ("skipped", "flush_other_cpus(EVERYBODY, FLUSH_TLB)", "linear-access"),
    "xen/local-flush@noncanonical-invpcid": ("decided", "leave FLUSHES_ON_ERROR out of the condition", "no-fault"),
    "xen/shootdown@ack-before-flush": ("misplaced", "to after line 70 (flush_area_local(flush_va.get(), True, flags))", "shootdown"),
    "xen/shootdown@wait-irqs-off": ("needless", "leave out what is done if WAIT_IRQS_OFF", "shootdown-completes"),
    "xen/flush-clock@clock-irqs-on": ("variant", "run do_tlb_flush() itself", "flush-clock"),
}


def model_of(name: str) -> Model:
    (model,) = find_models(name)
    return model


def why(model: Model) -> dict[str, str]:
    """What is blamed for the violations of each property: kind and sentence."""
    properties = find_properties(model.about or None, model)
    result = check(model, properties, engines=("explicit",), meanwhile=blame_shown)
    found = {r.property.name: result.blame[id(v)] for r in result.results for v in r.violations if id(v) in result.blame}
    return {name: f"{b['kind']}: {b['text']}" if "kind" in b else str(b["tried"]) for name, b in found.items()}


@pytest.mark.parametrize("name", [*WHY, *(pytest.param(n, marks=pytest.mark.long) for n in SLOW)])
def test_what_is_missing_is_named_for_every_family(name: str) -> None:
    kind, line, judged = {**WHY, **SLOW}[name]
    said = why(model_of(name))[judged]
    assert said.startswith(f"{kind}: line ") and line in said
    assert said.endswith(f", and {judged} holds")


def test_the_reader_s_own_model_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    assert why(model_of("mine/remap@forgotten")) == {
        "fresh-use": "skipped: line 30 of remap (x86.INVLPG(Page.data, True)) is skipped on some paths that need it: do it whatever the condition, and fresh-use holds"
    }


def test_nothing_is_named_that_does_not_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the proposals for a model, those that leave the property violated are never blamed: here they are all that is tried."""
    model = model_of("linux/deferred-flush@no-pending-mark")
    properties = find_properties(["stale-use"], model)

    def useless(model: Model, trace: Trace, about: About) -> Iterator[Proposal]:
        for procedure, proposal in attempts(model, trace, about):
            if Tracked(lower(apply(model, procedure, [proposal]), properties)).run().violations:
                yield procedure, proposal

    monkeypatch.setattr(tlbcheck.blame, "attempts", useless)
    monkeypatch.setattr(tlbcheck.blame, "variants", lambda model, trace: iter(()))
    (said,) = why(replace(model, repairs=())).values()
    assert re.match(r"not found: none of \d+ changes that were tried along the run mends it \(what was skipped done on every path, ", said)


def test_a_change_that_stops_the_model_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page is never unmapped, nothing stale is used; but then the procedure is not what it was."""
    model = model_of("linux/deferred-flush@no-pending-mark")
    result = check(model, find_properties(["stale-use"], model), engines=("explicit",))
    (violation,) = result["stale-use"].violations
    assert violation.trace is not None
    unmapping = {s.step.places[0] for s in violation.trace.steps if s.step.action == "write pte_present"}
    for _, proposal in attempts(model, violation.trace, About(3, kept=True)):
        assert not any(e.where == "replace" and e.statement.place in unmapping and not e.new for e in proposal.edits)


COUNTS_TO_THREE = """
from tlbcheck import Model, Property, Range, marker, operation, procedure, shared
from tlbcheck.lang.expr import TRUE

bad = marker("bad", "does what it must not")
X = shared("X", Range(0, 7))


@procedure
def start() -> None:
    X.set(0)


@procedure
def counts() -> None:
    x: Range(0, 3) = 0
    while True:
        X.set(x)
        if x < 3:
            x = x + 1
        else:
            x = 0
        if X.get() == 3:
            bad()


never = Property("never-bad", "never bad", source="here", clauses={"bad": "it is made"})
never.on(operation("bad"), bad={"bad": TRUE})
model = Model(name="counts/to-three", title="counts to three", init=start, task=counts)
"""


def test_a_change_that_leaves_a_range_is_none_and_the_violation_is_told(tmp_path: Path) -> None:
    """The model is right, and violated; what is tried to mend it, without the guard say, may be wrong (ERR-3)."""
    (tmp_path / "counts.py").write_text(COUNTS_TO_THREE)
    spec = importlib.util.spec_from_file_location("counts", tmp_path / "counts.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    found = check(made.model, [made.never], engines=("explicit",), cases=True, meanwhile=lambda system, result: blame_shown(system, result))
    assert [v.depth for v in found["never-bad"].violations] == [9]


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "judged", "said"),
    [
        ("xen/flush-once@pge-kept", "pge-with-pcide", "variant: line 80 of pv_guest_cr4_to_real_cr4 "),
        ("xen/switch-contract@as-posted", "no-fault", "missing: line 73 of write_cr3_cr4 (write_cr3(cr3)) needs a write of CR4.PCIDE wherever the new CR4 sets it before it"),
    ],
)
def test_what_no_line_of_the_switch_mends_alone_is_named_too(name: str, judged: str, said: str) -> None:
    """A caller that hands the wrong value over; and a fault that two lines raise, of which one change mends the first: it says so."""
    blamed = why(model_of(name))[judged]
    assert blamed.startswith(said)
    assert blamed.endswith(("and this case holds", "and no-fault holds there; it is still violated at models/xen/switch.py:81"))


@pytest.mark.long
def test_what_an_interrupt_can_no_longer_come_between_is_named_as_that() -> None:
    """With the read moved behind the masking, the interrupted case does not happen any more; and none that was clean goes wrong."""
    said = why(model_of("xen/pcid-v5@only-cr3-read-early"))
    assert set(said) == {"missing-flush", "stale-translation", "no-fault"}
    for text in said.values():
        assert text.startswith("misplaced: line 58 of write_cr3_cr4 ") and "to after line 60 (flags = local_irq_save())" in text
        assert text.endswith(", and this case cannot arise, while no other one goes wrong")
