"""A counterexample as a story: one line a step, who did what, what changed, what is stale.

Made from the JSON of a violation alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlbcheck.report.answers import in_short, why
from tlbcheck.report.events import notes, watch
from tlbcheck.report.wording import for_ever, place, what, yes_no

if TYPE_CHECKING:
    from tlbcheck.engines.trace import Violation
    from tlbcheck.system.transition_system import TransitionSystem


def tell(system: TransitionSystem, violation: Violation, blame: Mapping[str, Any] | None = None) -> str:
    """The story of a violation that has a trace."""
    from tlbcheck.report.result import Teller

    return render(system.model.name, violation.property, Teller(system).violation(violation, blame))


def render(model: str, property_name: str, v: Mapping[str, Any]) -> str:
    """Text of a violation in the JSON result."""
    lines = [f"{model}: {property_name} ({v['clause']}) is violated after {v['depth']} step{'s' if v['depth'] != 1 else ''}", f"  {v['summary']}"]
    lines += [f"  {line}" for line in case_lines(v["case"])]
    lines += _start(v)
    width = max((len(_who(s)) for s in v["steps"]), default=0)
    for i, s in enumerate(v["steps"], 1):
        lines.append(_step(i, s, width))
        lines += [f"       {mark} {note}" for mark, note in notes(i, v)]
    if v.get("loop") is not None:
        lines.append(f"  {for_ever(v)}")
    lines += [f"  {line}" for line in in_short(v)]
    if text := why(v):
        lines.append(f"  Why: {text}")
    return "\n".join(lines)


def case_lines(case: Mapping[str, Any]) -> list[str]:
    """The switch that a violation is about, and the boot options under which it can happen."""
    if not case or case.get("caller") in (None, "none"):
        return []
    lines = []
    switch = f"{case['old']} -> {case['new']}"
    if case["left"] != case["old"] or case["interrupted"]:
        switch = f"{case['old']} -> [interrupt: {case['left']}] -> {case['new']}"
    lines.append(f"Case: {case['caller']} switches {switch}; other CR4 bits: {case['other_cr4']}")
    options = case.get("options")
    if options and options.get("count"):
        listed = "; ".join(f"{n}={_some(values)}" for n, values in options.items() if isinstance(values, list))
        lines.append(f"Possible under {options['count']} of the boot option combinations{': ' + listed if listed else ''}")
    return lines


def _some(values: Sequence[Any]) -> str:
    """The simplest values of an option; the JSON has all."""
    shown = sorted(map(str, values), key=lambda v: (len(v), v))
    return " or ".join(shown[:4]) + (" or ..." if len(shown) > 4 else "")


def _start(v: Mapping[str, Any]) -> list[str]:
    shown = ", ".join(f"{n} = {x}" for n, x in start_values(v).items())
    lines = [f"  Start: {shown}"]
    if text := watch(v):
        lines.append(f"  Watch: {text}")
    lines += [f"       {mark} {note}" for mark, note in notes(0, v)]
    return lines


def start_values(v: Mapping[str, Any]) -> dict[str, str]:
    """The variables at the start that a reader needs, as people write their values."""
    return {n: yes_no(x) for n, x in v["initial"]["shown"].items() if not n.startswith("case.") and not n.endswith("cr0")}


def _who(s: Mapping[str, Any]) -> str:
    return f"environment {s['actor']}" if s["cpu"] is None else f"CPU{s['cpu']} {s['level']} {s['actor']}"


def _step(i: int, s: Mapping[str, Any], width: int) -> str:
    at = place(s)
    return f"  {i:>3}. {_who(s):<{width}}  {what(s)}{'  ' + at if at else ''}"


def judged_at(v: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The assertion that fails, or the call that breaks a precondition: its place, and the words for it in ``text``."""
    found: Mapping[str, Any] | None = v.get("call") or v.get("assertion")
    return found
