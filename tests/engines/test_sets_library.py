"""The engines of the literal caches on models of the library: the verdicts and depths of one tracked entry, with every entry at once."""

from __future__ import annotations

import pytest
from quick import sampled

from tlbcheck.engines.run import check
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, find_properties

SMALL = ("linux/deferred-flush", "linux/riscv-asid", "linux/svm-asid", "xen/cr3-values", "xen/dirty-mask", "xen/root-copy")
"""With all of their properties and variants; enumerated, too."""
LARGE = (
    ("xen/before-pcid", "missing-flush", 10**8),
    ("xen/pcid-v5", "no-fault", 10**16),
    ("xen/xpti", "xpti-separation", 10**6),
    ("xen/xpti@exit-keeps-pcid", "xpti-separation", 10**6),
)
"""One property each: far more states than can be enumerated one by one."""


def agreed(model: Model, names: list[str], engines: tuple[str, ...]) -> int:
    """The states of the literal caches, after every engine has decided every property alike; ``check`` holds depths against each other."""
    result = check(model, find_properties(names, model), engines=("explicit", *engines), cases=False)
    decided = [p for p in result.results if p.verdict != "not-applicable" and not p.property.liveness]
    assert decided
    for p in decided:
        said = {e: (a.verdict, a.depth) for e, a in p.engines.items()}
        assert set(said) == {"explicit", *engines}
        assert len(set(said.values())) == 1 and p.verdict in ("proved", "violated"), (p.property.name, said)
    states = {r.states for r in result.literal if r.complete}
    return max(s for s in states if s is not None)


def every_variant(name: str) -> list[Model]:
    model = find_models(name)[0]
    return [model, *(model.variant(v) for v in model.variants)]


@pytest.mark.parametrize("model", sampled((m for name in SMALL for m in every_variant(name)), keep=6), ids=lambda m: m.name)
def test_small_models_with_all_engines(model: Model) -> None:
    assert agreed(model, [], ("full", "sets")) > 0


@pytest.mark.long
@pytest.mark.parametrize(("name", "property_name", "more_than"), sampled(LARGE, keep=1))
def test_large_models_with_sets(name: str, property_name: str, more_than: int) -> None:
    """H1 to H5 of x86-tlb.md 7.3 on the real switches: fills and evictions of all entries, watched in every reachable state."""
    assert agreed(find_models(name)[0], [property_name], ("sets",)) > more_than
