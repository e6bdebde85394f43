"""Why a run goes wrong, for families without a switch: named only after the change was made and the changed model searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tlbcheck.blame
from tlbcheck.attempts import Proposal, attempts
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
}
"""A family each: an operation that some path skips, one that is missing, an allocator's, and one that comes too early."""


def model_of(name: str) -> Model:
    (model,) = find_models(name)
    return model


def why(model: Model) -> dict[str, str]:
    """What is blamed for the violations of each property: kind and sentence."""
    properties = find_properties(model.about or None, model)
    result = check(model, properties, engines=("explicit",), meanwhile=blame_shown)
    found = {r.property.name: result.blame.get(id(v)) for r in result.results for v in r.violations}
    return {name: f"{b['kind']}: {b['text']}" for name, b in found.items() if b is not None}


@pytest.mark.parametrize("name", WHY)
def test_what_is_missing_is_named_for_every_family(name: str) -> None:
    kind, line, judged = WHY[name]
    (said,) = why(model_of(name)).values()
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

    def useless(model: Model, trace: Trace, change: int, *, kept: bool) -> Iterator[Proposal]:
        for procedure, proposal in attempts(model, trace, change, kept=kept):
            if Tracked(lower(apply(model, procedure, [proposal]), properties)).run().violations:
                yield procedure, proposal

    monkeypatch.setattr(tlbcheck.blame, "attempts", useless)
    assert why(replace(model, repairs=())) == {}


def test_a_change_that_stops_the_model_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page is never unmapped, nothing stale is used; but then the procedure is not what it was."""
    model = model_of("linux/deferred-flush@no-pending-mark")
    result = check(model, find_properties(["stale-use"], model), engines=("explicit",))
    (violation,) = result["stale-use"].violations
    assert violation.trace is not None
    unmapping = {s.step.places[0] for s in violation.trace.steps if s.step.action == "write pte_present"}
    for _, proposal in attempts(model, violation.trace, 3, kept=True):
        assert not any(e.where == "replace" and e.statement.place in unmapping and not e.new for e in proposal.edits)
