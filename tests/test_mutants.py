"""Changing models, and a handful of the mutants that ``python tests/mutants.py`` judges in full."""

from __future__ import annotations

from collections.abc import Callable

import mutants
import pytest
import x86_rules

from tlbcheck import mutate
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import TRUE, const
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Assign, AtomicBlock, Do, If, Operation, Procedure, Statement, walk
from tlbcheck.lang.types import U64
from tlbcheck.library import find_models
from tlbcheck.machine import x86


@pytest.fixture
def model() -> Model:
    return find_models("xen/before-pcid")[0]


def the_switch(model: Model) -> Procedure:
    return next(p for p in model.reachable() if p.role == "switch")


def the(model: Model, operation: str) -> Statement:
    return next(s for s in walk(the_switch(model).body) if isinstance(s, Do) and s.operation.name == operation)


def names(model: Model) -> list[str]:
    return [s.operation.name for s in walk(the_switch(model).body) if isinstance(s, Do)]


def test_a_model_lists_what_it_runs(model: Model) -> None:
    found = [p.name for p in model.reachable()]
    assert {"start", "run_cpu", "invalidate_interrupt", "write_cr4_unchecked"} <= set(found)
    assert "switch_cr3_cr4_before_pcid" in found
    assert "switch_cr3_cr4" not in found, "replaced procedures are never run"
    assert [p.name for p in mutate.procedures_in_role(model, "switch")] == ["switch_cr3_cr4_before_pcid", "write_cr4_unchecked"]
    assert x86.MOV_TO_CR3 in mutate.operations(model)
    assert x86.INVPCID_ALL not in mutate.operations(model)


def test_an_operation_is_replaced_everywhere_and_only_in_the_new_model(model: Model) -> None:
    new = next(mutate.clause_mutants(x86.MOV_TO_CR3)).operation
    mutant = mutate.replace_operation(model, x86.MOV_TO_CR3, new)
    assert new in mutate.operations(mutant)
    assert x86.MOV_TO_CR3 not in mutate.operations(mutant), "the toggle writes CR3 inside an atomic block"
    assert x86.MOV_TO_CR3 in mutate.operations(model)
    assert mutate.replace_operation(model, x86.INVPCID_ALL, new) is model


def test_removing_a_statement_leaves_the_model_as_it_was(model: Model) -> None:
    before = names(model)
    mutant = mutate.remove_statement(model, the_switch(model), the(model, "MOV to CR3"))
    assert names(mutant) == [n for n in before if n != "MOV to CR3"]
    assert names(model) == before


def test_a_removed_value_reads_as_zero(model: Model) -> None:
    removed = the(model, "MOV from CR4")
    assert isinstance(removed, Do)
    mutant = mutate.remove_statement(model, the_switch(model), removed)
    (left,) = [s for s in walk(the_switch(mutant).body) if isinstance(s, Assign) and s.target == removed.target]
    assert left.value is const(0, U64)


def test_statements_are_inserted_first_or_after_another(model: Model) -> None:
    switch, cr3 = the_switch(model), the(model, "MOV to CR3")
    flush = Do(place=cr3.place, operation=x86.INVPCID_ALL, args=())
    after = names(mutate.insert_statement(model, switch, cr3, flush))
    assert after[after.index("MOV to CR3") + 1] == "INVPCID 2"
    assert names(mutate.insert_statement(model, switch, None, flush))[0] == "INVPCID 2"


def test_changes_add_up(model: Model) -> None:
    """Statements and procedures of the first model name their places in later ones."""
    switch, cr3 = the_switch(model), the(model, "MOV to CR3")
    flush = Do(place=cr3.place, operation=x86.INVPCID_ALL, args=())
    twice = mutate.remove_statement(mutate.insert_statement(model, switch, cr3, flush), switch, cr3)
    assert "MOV to CR3" not in names(twice)
    assert "INVPCID 2" in names(twice)


def test_a_statement_moves(model: Model) -> None:
    moved = names(mutate.move_statement(model, the_switch(model), the(model, "MOV to CR3"), the(model, "clock stamp")))
    assert moved.index("MOV to CR3") == moved.index("clock stamp") + 1
    assert sorted(moved) == sorted(names(model))
    assert names(mutate.move_statement(model, the_switch(model), the(model, "clock stamp"), None))[0] == "clock stamp"


def test_a_statement_moves_out_of_the_branch_that_it_stands_in(model: Model) -> None:
    switch = the_switch(model)
    cr3, stamp = the(model, "MOV to CR3"), the(model, "clock stamp")
    inner = Do(place=cr3.place, operation=x86.INVPCID_ALL, args=())
    block = AtomicBlock(place=cr3.place, body=[inner])
    branch = If(place=cr3.place, condition=TRUE, then=[block], orelse=[])
    made = mutate.insert_statement(model, switch, cr3, branch)
    out = mutate.move_statement(made, switch, inner, branch)
    body = the_switch(out).body
    assert inner in body, "after the branch"
    assert inner not in list(walk([body[body.index(inner) - 1]])), "and no longer in it"
    back = mutate.move_statement(out, switch, inner, stamp)
    assert the_switch(back).body[the_switch(back).body.index(stamp) + 1] is inner


@pytest.mark.parametrize(
    "change",
    [
        lambda m, s, other: mutate.remove_statement(m, s, other),
        lambda m, s, other: mutate.insert_statement(m, s, other, other),
        lambda m, s, other: mutate.move_statement(m, s, other, None),
        lambda m, s, other: mutate.move_statement(m, s, the(m, "MOV to CR3"), other),
        lambda m, s, other: mutate.move_statement(m, s, other, other),
        lambda m, s, other: mutate.move_statement(m, s, AtomicBlock(place=other.place, body=[other]), other),
        lambda m, s, other: mutate.move_statement(m, s, the(m, "MOV from CR4"), None),
    ],
)
def test_impossible_changes_are_refused(model: Model, change: Callable[[Model, Procedure, Statement], Model]) -> None:
    other = Do(place=the(model, "MOV to CR3").place, operation=x86.INVPCID_ALL, args=())
    with pytest.raises(InputError):
        change(model, the_switch(model), other)


def test_every_clause_is_mutated() -> None:
    for operation in x86.OPERATIONS:
        made = list(mutate.clause_mutants(operation))
        clauses = [*operation.drops, *operation.faults]
        vendors = sum(2 for _ in operation.drops)
        assert len(made) == vendors + sum(1 + 2 * len(c.parts) for c in clauses)


@pytest.mark.parametrize("operation", [o for o in x86.OPERATIONS if o.drops or o.faults], ids=lambda o: o.name)
def test_the_machine_is_the_reference(operation: Operation) -> None:
    assert mutants.reference_difference(operation) == ""


@pytest.mark.parametrize("operation", [x86.MOV_TO_CR0, x86.INVLPG, x86.INVPCID_ADDRESS, x86.INVPCID_ALL], ids=lambda o: o.name)
def test_mutants_that_no_model_runs_are_killed_or_equivalent(operation: Operation) -> None:
    for m in mutate.clause_mutants(operation):
        assert mutants.judge_clause(m.text, operation, m.operation, by_verdict_first=False).fate in ("killed", "equivalent"), m.text


def test_an_equivalent_mutant_is_proved_so_from_the_invariant_that_it_needs() -> None:
    (mutant,) = [m for m in mutate.clause_mutants(x86.MOV_TO_CR3) if "PCID 0]: without the condition (entry.tag" in m.text]
    found = mutants.judge_clause(mutant.text, x86.MOV_TO_CR3, mutant.operation, by_verdict_first=False)
    assert (found.fate, found.how) == ("equivalent", "z3, from I-TAG4: PCIDE=0 has PCID 0 only")


def test_the_modes_that_proofs_use_are_invariants() -> None:
    assert mutants.modes_are_kept()


def test_a_switch_without_an_operation(model: Model) -> None:
    def judged(operation: str) -> mutants.Outcome:
        label = f"switch_cr3_cr4_before_pcid: {operation}"
        return mutants.judge_removal(label, "xen/before-pcid", label, the_switch(model), the(model, operation))

    assert judged("MOV to CR3").how.startswith("missing-flush violated at depth")
    assert judged("POPF").fate == "killed"
    assert judged("clock tick").fate == "redundant"


def test_a_mutant_that_nobody_explains_survives(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "REDUNDANT", {})
    label = "switch_cr3_cr4_before_pcid: clock stamp"
    assert mutants.judge_removal(label, "xen/before-pcid", label, the_switch(model), the(model, "clock stamp")).fate == "SURVIVED"


def test_a_verdict_kills_a_mutated_operation() -> None:
    (mutant,) = [m for m in mutate.clause_mutants(x86.MOV_TO_CR3) if "PCID 0]: clause left out" in m.text]
    found = mutants.judge_clause(mutant.text, x86.MOV_TO_CR3, mutant.operation, by_verdict_first=True)
    assert (found.fate, found.how.partition(" at depth")[0]) == ("killed", "xen/before-pcid: missing-flush violated")


def test_mutants_of_reserved_bits_are_killed() -> None:
    """F-1 left out, negated and without its condition: the reference knows each."""
    found = [mutants.judge_clause(m.text, x86.MOV_TO_CR3, m.operation, by_verdict_first=False) for m in mutate.clause_mutants(x86.MOV_TO_CR3) if "[F-1" in m.text]
    assert [x.fate for x in found] == ["killed"] * 3
    assert not mutants.reference_difference(x86.MOV_TO_CR3)


def test_the_reference_knows_impossible_states() -> None:
    assert not x86_rules.possible(x86_rules.Registers(pcide=True, long_mode=False))
    assert not x86_rules.can_be_cached(x86_rules.Entry(1, False), x86_rules.Registers())
