"""Random models: every engine and the replay interpreter agree on verdicts and depths.

A few hundred models by default, always the same ones. ``TLBCHECK_EXAMPLES=5000`` asks for that
many, and for new ones each time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from strategies import Spec, build, specs

from tlbcheck.engines.bmc import Bounded
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.run import confirm
from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.library import properties
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

ASKED = int(os.environ.get("TLBCHECK_EXAMPLES", "0"))
BOUND = 10
FREE_LIMIT = 30_000
PROPERTIES = list(properties().values())
Depths = dict[str, int | None]


def examples(usual: int, part: float = 1.0) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``usual`` models, or what was asked for; ``part`` of that for slow engines."""
    return settings(
        max_examples=max(usual, int(ASKED * part)),
        deadline=None,
        derandomize=not ASKED,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def lowered(spec: Spec) -> TransitionSystem:
    return lower(build(spec), PROPERTIES)


def depths(result: EngineResult) -> Depths:
    """The least depth of a violation of each property; None where there is none."""
    found = {q.name: result.shortest(q.name) for q in PROPERTIES}
    return {name: v.depth if v else None for name, v in found.items()}


def explored(system: TransitionSystem) -> tuple[Tracked, Depths]:
    search = Tracked(system)
    result = search.run()
    assert result.complete
    return search, depths(result)


JUDGED = ("missing-flush", "stale-translation", "switch-lands", "pge-with-pcide", "no-fault")
"""What these machines can do wrong; the library's other properties speak of roles that they lack."""


def observe(spec: Spec, found: Depths, seen: Counter[str]) -> None:
    """Count what kind of model this is, so that a generator gone dull is noticed."""
    kinds = {
        "interrupt": bool(spec.interrupt),
        "PCIDs": any(t.pcid is not None for t in spec.targets),
        "global entries": bool(spec.global_pages) and any(t.pge for t in spec.targets),
        "a violation": any(d is not None for d in found.values()),
        "missing-flush proved": found["missing-flush"] is None,
        "all proved": all(d is None for d in found.values()),
        "deeper than z3 looks": any(d is not None and d > BOUND for d in found.values()),
        **{f"{name} violated": d is not None for name, d in found.items()},
    }
    seen["models"] += 1
    for kind, is_so in kinds.items():
        if is_so:
            event(kind)
            seen[kind] += 1


def test_tracked_agrees_with_full_and_with_replay() -> None:
    seen: Counter[str] = Counter()

    @examples(60)
    @given(specs())
    def check(spec: Spec) -> None:
        system = lowered(spec)
        search, found = explored(system)
        observe(spec, found, seen)
        # The slice as well, so that slicing is held against what it slices.
        assert found == depths(explore_full(slice_system(system), fills="saturated")), "tracked (left) and full (right) disagree"
        for name in found:
            v = search.result(0, 0).shortest(name)
            if v is not None:
                confirm(system, Violation(v.property, v.clause, v.case, v.depth, search.trace(v)), "explicit")

    check()
    share = {kind: n / seen["models"] for kind, n in seen.items()}
    print(seen)
    assert share["a violation"] > 0.3
    assert share["missing-flush proved"] > 0.3
    assert all(share.get(f"{name} violated", 0) > 0.02 for name in JUDGED), share
    assert all(0.35 < share[kind] < 0.75 for kind in ("interrupt", "PCIDs", "global entries")), share


@pytest.mark.long
@examples(35, 0.1)
@given(specs())
def test_z3_agrees_with_tracked(spec: Spec) -> None:
    system = lowered(spec)
    _, found = explored(system)
    small = slice_system(system)
    result = Bounded(small).run(BOUND)
    assert not result.reason
    assert depths(result) == {name: d if d is not None and d <= BOUND else None for name, d in found.items()}, f"z3 (left) and tracked {found} disagree"
    for v in result.violations:
        confirm(small, v, "bmc")


@pytest.mark.long
def test_free_fills_and_evictions_change_nothing() -> None:
    """H1 to H5 of x86-tlb.md 7.3, and that one entry is enough (T1 to T3), on literal caches."""
    seen: Counter[str] = Counter()

    @examples(80, 0.4)
    @given(specs(few_entries=True))
    def check(spec: Spec) -> None:
        system = lowered(spec)
        _, found = explored(system)
        result = explore_full(slice_system(system), fills="free", limit=FREE_LIMIT)
        seen["models"] += 1
        seen["complete"] += result.complete
        if result.complete:
            assert found == depths(result), "tracked (left) and full-free (right) disagree"
        for name, d in depths(result).items():
            assert d is None or found[name] == d, f"{name}: tracked {found[name]}, full-free {d}"
        seen["a violation"] += bool(result.violations)
        event("free fills: complete" if result.complete else "free fills: over the limit")

    check()
    print(seen)
    assert seen["complete"] > 0.8 * seen["models"]
    assert seen["a violation"] > 0.3 * seen["models"]
