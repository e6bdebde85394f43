"""The faults that are seeded: at least eighty, in every component, each a change of code that still compiles and runs."""

from __future__ import annotations

from collections import Counter

from seeded_faults import COMPONENTS, EACH, faults


def test_faults_are_drawn_from_every_component() -> None:
    drawn = faults()
    assert len(drawn) == len(set(drawn)) >= 80
    assert Counter(f.component for f in drawn) == dict.fromkeys(COMPONENTS, EACH)
    assert drawn == faults()
