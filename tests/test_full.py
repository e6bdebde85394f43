"""The literal caches give the library's models the same verdicts and depths as one tracked entry."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
from quick import sampled

from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.trace import EngineResult
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, properties
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

PROPERTIES = list(properties().values())


def contexts_of(model: Model) -> ModuleType:
    """The library's own ``contexts`` module, which a Xen model's entries are made by."""
    assert model.cache is not None
    return sys.modules[model.cache.describe.__module__]


def lowered(name: str, pages: tuple[str, ...] = (), tags: tuple[int, ...] = ()) -> TransitionSystem:
    """A model of the library; with ``pages``, its TLB watched for these pages and tags only."""
    model = find_models(name)[0]
    if pages:
        contexts = contexts_of(model)
        model = replace(model, cache=contexts.tlb(pages=tuple(contexts.Page[q] for q in pages), tags=tags))
    return lower(model, PROPERTIES)


def depths(result: EngineResult) -> dict[str, int | None]:
    assert result.complete
    found = {q.name: result.shortest(q.name) for q in PROPERTIES}
    return {name: v.depth if v else None for name, v in found.items()}


SATURATED = ("xen/before-pcid", "xen/pcid-v4", "xen/pcid-v5", "xen/pcid-v5@idle-keeps-pcide", "xen/pcid-committed", "xen/xsa-292", "xen/gp-fix", "xen/flush-once", "xen/flush-once@pge-kept")


@pytest.mark.parametrize("name", sampled(SATURATED, keep=1))
def test_saturated_fills_agree_with_tracked(name: str) -> None:
    """All pages and tags; the slice, too, so that slicing is held against what it slices."""
    system = lowered(name)
    assert depths(explore_full(slice_system(system), fills="saturated")) == depths(Tracked(system).run())


FREE = (
    ("xen/before-pcid", "shared", (0, 1)),
    ("xen/pcid-v5", "user", (0, 1)),
    ("xen/pcid-v5", "self", (0,)),
    ("xen/xsa-292", "perdomain", (0, 1)),
    ("xen/flush-once", "user", (0, 1)),
)


@pytest.mark.parametrize(("name", "page", "tags"), FREE)
@pytest.mark.long
def test_free_fills_and_evictions_agree_with_tracked(name: str, page: str, tags: tuple[int, ...]) -> None:
    """H1 to H5 of x86-tlb.md 7.3, watched happening: entries come and go one by one."""
    system = lowered(name, (page,), tags)
    assert depths(explore_full(slice_system(system), fills="free", limit=1_000_000)) == depths(Tracked(system).run())


def test_the_limit_leaves_a_verdict_open() -> None:
    result = explore_full(slice_system(lowered("xen/before-pcid")), fills="saturated", limit=100)
    assert not result.complete
    assert result.verdict("missing-flush") == "unknown"
    assert result.states is not None and result.states <= 100


def test_evictions_reach_every_content_and_saturation_only_the_largest() -> None:
    system = slice_system(lowered("xen/before-pcid", ("kernel",), (0,)))
    free, saturated = explore_full(system, fills="free"), explore_full(system, fills="saturated")
    assert free.states is not None and saturated.states is not None
    assert free.states > saturated.states
    assert free.steps_fired == saturated.steps_fired
