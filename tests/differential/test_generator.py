"""The generator of random models: the same seed gives the same model, every construct occurs, and little of it is
refused.
"""

from __future__ import annotations

from collections import Counter

import pytest
from generator import TAGS, generate, tags
from loading import forget, load
from shrinking import shrink

from tlbcheck.errors import InputError


def test_a_seed_is_one_model() -> None:
    assert generate(17) == generate(17)
    assert generate(17) != generate(18)


def test_every_construct_of_the_language_occurs() -> None:
    seen: Counter[str] = Counter()
    for seed in range(600):
        seen.update(tags(generate(seed)))
    assert {name for name in TAGS if seen[name] < 3} == set()


def test_models_are_well_formed() -> None:
    """What the front end refuses would be compared with nothing."""
    for seed in range(60):
        model, _ = load(generate(seed))
        for procedure in model.reachable():
            assert procedure.body is not None
    forget()


def test_shrinking_leaves_what_shows_it() -> None:
    text = generate(5)
    small = shrink(text, lambda t: "mark()" in t and "def task" in t, seconds=20)
    assert "mark()" in small
    assert len(small) < len(text) / 4


def test_a_text_that_is_no_model_is_refused_as_a_file_is() -> None:
    with pytest.raises(InputError):
        load(generate(5).replace("Range(0, 1)", "Range(1, 0, 2)").replace("p0: u64", "p0"))[0].reachable()
