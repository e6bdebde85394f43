"""What a proof is worth that others found: a certificate says, and an export lets others find, that nothing bad is reached."""

from __future__ import annotations

from tlbcheck.engines.run import PropertyEvidence, how_many_entries, judges_nothing, looked_at
from tlbcheck.options import Limits
from tlbcheck.reliance import reliances
from tlbcheck.result import Standing, Verdict
from tlbcheck.system.sufficiency import FULL, represented
from tlbcheck.system.transition_system import TransitionSystem


def worthless(system: TransitionSystem, goal: str) -> str:
    """Why a proof of ``goal`` says nothing, or may; empty if what the property speaks of happens in the model, and what that relies on can be shown."""
    if broken := [f"{r.procedure}() {r.standing}: {r.why}" for r in reliances(system.model) if r.standing is Standing.BROKEN]:
        return f"it relies on {'; '.join(broken)}"
    prop = next(p for p in system.properties if p.name == goal)
    if judges_nothing(system, prop):
        return f"vacuous: no clause of {goal} judges a step of {system.model.name}"
    decided = how_many_entries(system, Limits())
    if decided.entries == FULL:
        return f"whether what {goal} speaks of ever happens is not known"
    tracked = represented(system, decided)
    (looked,), _ = looked_at(tracked, [PropertyEvidence(prop, Verdict.PROVED, (), {}, looked=False)])
    if not looked.looked:
        return f"whether what {goal} speaks of ever happens was not found out"
    return f"vacuous: what {goal} speaks of never happens" if looked.vacuous else ""
