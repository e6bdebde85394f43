"""A few mutated inputs of every kind; ``make fuzz`` runs as many as there is time for."""

from __future__ import annotations

from collections import Counter

import campaign
import pytest
from kinds import KINDS, Kind

QUICK = {"c": 6, "result": 12, "certificate": 6, "profile": 6, "model": 8}
"""Inputs of each kind in the suite; of mails there are 100 in ``tests/patch/test_wild.py``."""


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name in QUICK], ids=lambda k: k.name)
def test_mutated_inputs_are_judged_or_refused_in_one_line(kind: Kind, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    counts: Counter[str] = Counter()
    failures: list[str] = []
    campaign.batch(kind, range(QUICK[kind.name]), counts, failures)
    assert not failures
    assert counts["past the parser"] > 0
