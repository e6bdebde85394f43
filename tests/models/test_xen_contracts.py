"""Xen's local procedures and what their callers rely on: the contracts are judged, shown, and neither too strong nor too weak."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from quick import sampled

from tlbcheck import Operation
from tlbcheck.check import explore
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.lang.expr import Expr, and_, const, eq, not_, var
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Clause, Do, walk
from tlbcheck.library import find_models, load_file, models
from tlbcheck.mutate import replace_operation
from tlbcheck.reliance import reliances
from tlbcheck.report.result import model_result

CONTRACTS = load_file(Path(__file__).parents[2] / "models" / "xen" / "contracts.py")


@cache
def explicit(name: str) -> ModelEvidence:
    return explore(name, engines=("explicit",))


def violated(model: Model, names: list[str]) -> set[str]:
    return {r.property.name for r in explore(model, names, engines=("explicit",), cases=False).results if r.verdict == "violated"}


# -- calls in Xen


def test_xsa_279_is_a_broken_precondition_at_the_hypercall() -> None:
    """6c8d502887: the guest's address reaches the flush although nothing was changed; the caller is named, not INVPCID."""
    result = model_result(explicit("xen/local-flush@noncanonical-invpcid"))["requires"]
    assert (result.verdict, result.violations[0].depth) == ("violated", 1)
    assert result.violations[0].told["call"]["text"].startswith("do_update_va_mapping() calls flush_area_local(), which requires canonical")
    assert explicit("xen/local-flush@noncanonical-invpcid")["no-fault"].violations[0].depth == 3


@pytest.mark.long
def test_the_efi_call_of_a_lazy_vcpu_breaks_the_switch_s_precondition() -> None:
    """622c9a5ba9: what is loaded on the way back has a PCID, and CR4.PCIDE was cleared meanwhile; found at the call, before anything faults."""
    result = explicit("xen/dirty-mask@efi-lazy-sync")
    call = model_result(result)["requires"].violations[0].told["call"]
    assert call["text"] == "efi_rs_leave() calls switch_cr3_cr4(), which requires may_be_loaded(cr3, cr4)"
    assert result["requires"].violations[0].depth < result["no-fault"].violations[0].depth


@pytest.mark.long
def test_pge_kept_breaks_it_at_the_first_switch() -> None:
    """The policy of 5c81d260c2 is owed by who derives CR4; the verdict does not wait for a MOV."""
    assert explicit("xen/flush-once@pge-kept")["requires"].verdict == "violated"


@pytest.mark.parametrize("name", sampled(["xen/dirty-mask", "xen/cr3-values", "xen/local-flush", "xen/switch-contract"], keep=2))
def test_xen_s_own_callers_keep_to_what_is_required(name: str) -> None:
    assert (explicit(name)["requires"].verdict, explicit(name)["requires"].vacuous) == ("proved", False)


def test_a_flush_of_others_with_interrupts_off_is_refused_at_the_call() -> None:
    """9f735ee490 asserts IF=1 or the CPU's own mask: a caller with interrupts off breaks the precondition, and need not hang for it."""
    model = find_models("xen/shootdown@local-only-flush")[0]
    flush = next(q for q in model.reachable() if q.name == "flush_area")
    straight = flush.with_body(flush.body[-1:])  # without the decision to flush here only
    assert violated(replace(model, procedures={**model.procedures, flush: straight}), ["requires"]) == {"requires"}


def test_a_procedure_read_from_c_is_called_under_the_contract_of_its_place(tmp_path: Path) -> None:
    """The harness puts it in the place of switch_cr3_cr4(), whose precondition its callers owe it; verdicts without are as before."""
    file = tmp_path / "flushtlb.c"
    file.write_text("void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)\n{\n    unsigned long flags;\n    local_irq_save(flags);\n    write_cr3(cr3);\n    local_irq_restore(flags);\n}\n")
    model = find_models(str(file))[0]
    assert "requires" not in model.about
    assert explore(model, ["requires"], engines=("explicit",))["requires"].verdict == "proved"
    kept = next(f for f in model.flags if f.name == "PGE_KEPT")
    pcid = next(f for f in model.flags if f.name == "PCID_EXISTS")
    assert explore(replace(model, flags={**model.flags, kept: True, pcid: True}), ["requires"], engines=("explicit",))["requires"].verdict == "violated"


# -- what stands in


@pytest.mark.long
def test_every_reliance_names_a_model_that_shows_it() -> None:
    """Each contract's model exists, has the procedure itself, and calls it by the most general caller; no circles."""
    relying = {n: reliances(m) for n, m in models().items() if m.contracts}
    assert {n: [(r.procedure, r.shown_by) for r in found] for n, found in relying.items() if n in ("xen/shootdown", "xen/dirty-mask", "xen/cr3-values")} == {
        "xen/shootdown": [("do_tlb_flush", "xen/local-flush"), ("flush_one_page", "xen/local-flush"), ("switch_cr3_cr4", "xen/switch-contract")],
        "xen/dirty-mask": [("switch_cr3_cr4", "xen/switch-contract")],
        "xen/cr3-values": [("switch_cr3_cr4", "xen/switch-contract")],
    }
    for name, found in relying.items():
        assert all(not r.requires or "requires" in models()[name].about for r in found), f"{name} does not judge its calls"


@pytest.mark.long
def test_what_is_shown_is_what_the_relying_models_and_their_variants_run() -> None:
    """No flag or procedure differs below a contract; the switch is today's, by name. A variant that changes the flush itself is not shown by the flush as it is."""
    relying = [x for m in models().values() if m.contracts for x in (m, *(m.variant(v) for v in m.variants))]
    found = {m.name: reliances(m) for m in relying}
    assert len(found) > 9
    assert {n: r.differs for n, rs in found.items() for r in rs if r.differs} == {}
    assert {r.shown_as for rs in found.values() for r in rs if r.procedure == "switch_cr3_cr4"} == {"switch_cr3_cr4_flush_once"}
    shootdown = models()["xen/shootdown"]
    skipping = next(f for f in shootdown.flags if f.name == "FLUSH_SKIPS_XPTI_PCIDS")
    assert [bool(r.differs) for r in reliances(replace(shootdown, flags={**shootdown.flags, skipping: True}))] == [False, True, False]


STAND_INS = [("xen/local-flush", CONTRACTS.CONTRACTS[0]), ("xen/local-flush", CONTRACTS.CONTRACTS[1]), ("xen/switch-contract", CONTRACTS.CONTRACTS[2])]
IDS = ["do_tlb_flush", "flush_one_page", "switch_cr3_cr4"]


def in_its_place(name: str, contract: object) -> Model:
    """The model that shows a contract, with the stand-in for the procedure; without variants, whose flags the stand-in does not read."""
    assert isinstance(contract, CONTRACTS.Contract)
    model = find_models(name)[0]
    return replace(model, procedures={**model.procedures, contract.procedure: contract.stand_in}, variants={})


@pytest.mark.parametrize(("name", "contract"), STAND_INS, ids=IDS)
def test_a_stand_in_keeps_what_is_promised(name: str, contract: object) -> None:
    """Under the most general caller, by the same properties as the procedure itself; and they are triggered."""
    assert isinstance(contract, CONTRACTS.Contract)
    result = explore(in_its_place(name, contract), list(contract.procedure.ensures), engines=("explicit",), cases=False)
    assert {r.property.name: (r.verdict, r.vacuous) for r in result.results} == dict.fromkeys(contract.procedure.ensures, ("proved", False))


ENTRY = {"tag": 1, "global": 0, "page": 2, "root": 1}
"""A guest kernel page walked from the observed kernel's root under PCID 1; whatever else is kept is no promise either."""


def keeping(operation: Operation, entry: dict[str, int], model: Model) -> Operation:
    """The operation, which keeps one entry more."""
    assert model.cache is not None
    types = {n: t for n, t, _ in model.cache.fields}
    kept: Expr = and_(*(eq(var(f"entry.{n}", types[n]), const(x, types[n])) for n, x in entry.items()))
    return replace(operation, drops=tuple(Clause(c.rule, (*c.parts, not_(kept))) for c in operation.drops))


@pytest.mark.parametrize(("name", "contract"), STAND_INS, ids=IDS)
@pytest.mark.parametrize("entry", sampled([ENTRY, {"tag": 0, "global": 1, "page": 1, "root": 1}], keep=1), ids=["under PCID 1", "global"])
def test_a_stand_in_that_drops_one_entry_less_breaks_its_promise(name: str, contract: object, entry: dict[str, int]) -> None:
    """So it is the weakest: whatever its callers' models prove, they prove from the promise alone."""
    assert isinstance(contract, CONTRACTS.Contract)
    model = in_its_place(name, contract)
    operation = next(s.operation for s in walk(contract.stand_in.body) if isinstance(s, Do) and s.operation in (CONTRACTS.EVERYTHING_GOES, CONTRACTS.PAGE_GOES))
    weaker = replace_operation(model, operation, keeping(operation, entry, model))
    judged = [n for n in contract.procedure.ensures if n in ("flush-all", "flush-page", "missing-flush")]
    assert violated(weaker, judged) == set(judged)


def test_the_contract_of_the_switch_can_be_broken() -> None:
    """The posted patch breaks it under the most general caller."""
    result = explicit("xen/switch-contract@as-posted")
    assert {r.property.name for r in result.results if r.verdict == "violated"} == {"missing-flush", "no-fault"}
