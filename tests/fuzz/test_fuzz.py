"""A few mutated inputs of every kind; ``make fuzz`` runs as many as there is time for."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import campaign
import pytest
from kinds import KINDS, Kind

QUICK = {"c": 3, "mail": 2, "diff": 2, "result": 8, "certificate": 3, "profile": 2, "model": 8}
"""Inputs of each kind in the suite; of patches there are 100 more in ``tests/patch/test_wild.py``."""


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name in QUICK], ids=lambda k: k.name)
def test_mutated_inputs_are_judged_or_refused_in_one_line(kind: Kind, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    counts: Counter[str] = Counter()
    failures: list[str] = []
    campaign.batch(kind, range(QUICK[kind.name]), counts, failures)
    assert not failures
    assert counts["past the parser"] > 0


def test_an_input_that_hangs_or_dies_is_a_failure_and_the_next_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog ends a hanging input, an input that ends the process costs itself alone, and the counts say so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(campaign, "WALL", 1.0)

    def judge(kind: Kind, number: int, folder: Path) -> tuple[bool, int, str]:
        if number == 1:
            time.sleep(60)
        if number == 3:
            os._exit(0)
        return True, 0, ""

    monkeypatch.setattr(campaign, "judge", judge)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    campaign.batch(KINDS[0], range(5), counts, failures)
    assert [f.partition(":")[0] for f in failures] == ["c 1", "c 3"] and "did not end" in failures[0]
    assert counts["past the parser"] == 3


def test_counts_add_up_over_runs(tmp_path: Path) -> None:
    first = campaign.State(tmp_path / "state.json")
    first.counts["c"].update({"past the parser": 3, "refused by the parser": 1})
    first.next["c"] = 4
    first.save()
    again = campaign.State(tmp_path / "state.json")
    assert again.next["c"] == 4 and "4 inputs, 75% past the parser, 0 failed" in again.told()
