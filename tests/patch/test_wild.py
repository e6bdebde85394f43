"""Patches in the forms of the wild (wild.py): a hundred here, more by make fuzz."""

from __future__ import annotations

import pytest
import wild


@pytest.fixture(scope="module")
def judge() -> wild.Judge:
    return wild.Judge()


def test_what_is_judged_is_the_file_after_the_patch(judge: wild.Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred mails of a few changes: none is clean where the file is not, none is wrong where it is clean, and most are read."""
    few = {name: edits[:1] + edits[-1:] for name, edits in wild.EDITS.items()}
    monkeypatch.setattr(wild, "EDITS", few)
    counts, wrong, ran = wild.run(range(100), judge)
    assert not wrong and ran == 100
    refused = sum(n for outcome, n in counts.items() if outcome.startswith("refused"))
    assert counts["clean, as the file is"] > 15 and counts["wrong, as the file is"] > 10 and refused < 60, counts


class Contrary(wild.Judge):
    """Says of every file the contrary of what it is."""

    def file(self, text: str) -> frozenset[str] | str:
        honest = super().file(text)
        return honest if isinstance(honest, str) else frozenset() if honest else frozenset({"every row"})


@pytest.mark.long
def test_a_wrong_judgement_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file after the patch is another than what was read, the generator says so: in both directions."""
    monkeypatch.setattr(wild, "EDITS", {name: edits[:1] for name, edits in wild.EDITS.items()} | {"plain": wild.EDITS["plain"][6:7]})
    monkeypatch.setattr(wild, "FORMS", {"mail": wild.FORMS["mail"]})
    _, wrong, _ = wild.run(range(12), Contrary())
    assert any("clean, where the file after it is not" in text for text in wrong) and any("a false alarm" in text for text in wrong)
