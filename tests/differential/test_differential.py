"""Every engine says what the reference interpreter says, of 200 random models; ``make differential`` compares more."""

from __future__ import annotations

import pytest
from comparison import STATES, InProcess, compare
from differential import ALWAYS, asked
from generator import generate
from loading import forget, load


@pytest.mark.parametrize("part", range(4))
def test_engines_agree_with_the_reference_interpreter(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, depth, reachable memory and what is cached; one model in six is asked of the other engines too."""
    monkeypatch.setattr("tlbcheck.engines.run.Child", InProcess)
    compared = 0
    for seed in range(50 * part, 50 * part + 50):
        outcome = compare(*load(generate(seed)), asked(seed) if seed % 2 else ALWAYS, STATES)
        assert not outcome.differences, f"seed {seed}: {outcome.differences[0]}"
        compared += not outcome.skipped
    forget()
    assert compared >= 40
