"""Every engine says what the reference interpreter says, of 200 random models; ``make differential`` compares more."""

from __future__ import annotations

import pytest
from comparison import compare
from differential import asked, states
from generator import generate
from loading import forget, load


@pytest.mark.parametrize("part", range(4))
def test_engines_agree_with_the_reference_interpreter(part: int) -> None:
    """Verdict, depth, reachable memory and what is cached; one model in three is asked of the other engines too."""
    compared = 0
    for seed in range(50 * part, 50 * part + 50):
        outcome = compare(*load(generate(seed)), asked(seed), states(seed))
        assert not outcome.differences, f"seed {seed}: {outcome.differences[0]}"
        compared += not outcome.skipped
    forget()
    assert compared > 40
