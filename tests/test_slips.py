"""No single misspelling of a name or string changes a verdict; what is refused at load is judged here, without a search.

``make slips`` judges all of them, with a search where one is needed, and lists what has the same verdict. In the suite
a part is taken, by a fixed stride.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import slips
from slips import Judge, Slip

from tlbcheck.system.lower import lower

STRIDE = 41
"""A prime: the slips that are taken are of all kinds."""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with slips.copied() as root:
        yield Judge(root)


def prose(slip: Slip) -> bool:
    """Text that is shown, or a name that stands nowhere else: a docstring, a title, what a source is."""
    return slip.old.startswith(("f", "'", '"'))


def unrefused(judge: Judge, some: list[Slip]) -> list[str]:
    """Names of Python, not refused at load, that make another system of what they are misspelt in."""
    left = []
    for slip in some:
        found = judge.loaded(slip)
        if isinstance(found, str):
            assert "\n" not in found and found, slip
        elif not prose(slip):
            originals = [judge.original(slip.file, n) for n in range(len(found))]
            if [slips.shape(lower(case.model, case.properties)) for case in found] != originals:
                left.append(str(slip))
    return left


def test_every_file_has_its_slips() -> None:
    """Names and strings, keywords apart: more than two thousand, each another text than what was there."""
    every = slips.all_slips()
    assert len(every) > 2000
    assert {s.file for s in every} == set(slips.files())
    assert all(s.old != s.new for s in every)


def test_a_part_of_the_misspellings_is_refused_or_changes_nothing(judge: Judge) -> None:
    assert unrefused(judge, slips.all_slips()[::STRIDE]) == []


@pytest.mark.long
def test_every_misspelling_is_refused_or_changes_nothing(judge: Judge) -> None:
    assert unrefused(judge, slips.all_slips()) == []


def test_a_slip_that_would_prove_is_found(judge: Judge) -> None:
    """The judge sees a changed verdict where there is one: the flush that is forgotten, by another name of the flag."""
    text = slips.text_of("example/models/remap.py")
    old = "if not FLUSH_FORGOTTEN:"
    start = text.index(old)
    slip = Slip(
        "example/models/remap.py", text[:start].count("\n") + 1, start, start + len(old), old, "if FLUSH_FORGOTTEN:"
    )
    fate, why = judge.judge(slip)
    assert (fate, "mine/remap" in why) == ("changed", True)


@pytest.mark.parametrize(
    ("before", "after", "fate"),
    [
        (["proved"], ["proved"], "same"),
        (["violated"], ["proved"], "changed"),
        (["proved"], ["violated"], "changed"),
        (["violated"], ["not-applicable"], "undecided"),
        (["proved"], ["proved (vacuous)"], "undecided"),
        (["violated", "proved"], ["violated"], "undecided"),
    ],
)
def test_a_verdict_that_turned_is_told_from_one_that_is_gone(before: list[str], after: list[str], fate: str) -> None:
    assert slips.compared(dict(enumerate(before)), dict(enumerate(after))) == fate
