"""The mail that the project started from is read as its own diffstat and its own lines say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbcheck.lang.source import Source
from tlbcheck.patch.diff import FilePatch, Patch
from tlbcheck.patch.overview import overview
from tlbcheck.patch.read import read_patch_file
from tlbcheck.patch.rebuild import Rebuilt, rebuild, touched

MAIL = Path(__file__).resolve().parents[3] / "shared" / "reference" / "xen-pcid-v5-review.txt"
pytestmark = pytest.mark.skipif(not MAIL.exists(), reason="the review mail lies in ../shared, which is not there")


@pytest.fixture(scope="module")
def patch() -> Patch:
    (patch,) = read_patch_file(MAIL)
    return patch


@pytest.fixture(scope="module")
def flushtlb(patch: Patch) -> Rebuilt:
    return rebuild(file_of(patch, "xen/arch/x86/flushtlb.c"))


def file_of(patch: Patch, name: str) -> FilePatch:
    return next(file for file in patch.files if file.name == name)


def said(source: Source | None, text: str) -> int:
    """The mail line at which the rebuilt source has ``text``, which occurs once."""
    assert source is not None
    (line,) = [line for line in source.lines if text in line.text]
    return line.place.line


def test_it_adds_up_to_the_mails_own_diffstat(patch: Patch) -> None:
    assert "12 files changed, 199 insertions(+), 19 deletions(-)" in MAIL.read_text()
    assert len(patch.files) == 12
    assert (sum(file.added for file in patch.files), sum(file.removed for file in patch.files)) == (199, 19)
    assert [hunk.damage for file in patch.files for hunk in file.hunks if hunk.damage] == []
    assert (patch.series, patch.author) == ((7, 7), "Juergen Gross")


def test_each_line_stands_where_it_says(patch: Patch) -> None:
    """A line's place holds its text, or the beginning of it where the mailer broke it."""
    mail = MAIL.read_text().split("\n")
    for file in patch.files:
        for hunk in file.hunks:
            for line in hunk.lines:
                there = mail[line.place.line - 1][line.place.column - 1 :]
                assert line.text == there or (there and line.text.startswith(there))


def test_the_switch_before_and_after(flushtlb: Rebuilt) -> None:
    assert touched(flushtlb.before, flushtlb.after) == ("write_cr3_cr4",)
    mail = MAIL.read_text().split("\n")
    for text in ("invpcid_flush_all_nonglobals();", "invpcid_flush_single_context(old_pcid);", "old_pcid = read_cr3()", 'asm volatile ( "mov %0, %%cr3"', "    if ( read_cr4() != cr4 )"):
        (found,) = [i for i, line in enumerate(mail, 1) if text in line and 185 <= i <= 288]
        assert said(flushtlb.after, text) == found
    assert flushtlb.before is not None
    assert "invpcid_flush" not in flushtlb.before.text
    assert flushtlb.after is not None
    assert flushtlb.after.text.count("{") == flushtlb.after.text.count("}")


def test_what_the_mail_does_not_show_is_told(patch: Patch, flushtlb: Rebuilt) -> None:
    for source, between, end in ((flushtlb.before, "old lines 99..99", "old lines from 112"), (flushtlb.after, "new lines 101..101", "new lines from 137")):
        assert source is not None
        gaps = {gap.text.partition(": assumed")[0]: gap for gap in source.gaps}
        gap = gaps[f"{between}: 1 line between two hunks of write_cr3_cr4 is not in the mail"]
        assert gap.place.line == 209
        assert source.lines[gap.before].text == "    t = pre_flush();"
        tail = gaps[f"the end of write_cr3_cr4 ({end} on) is not in the mail"]
        assert (source.lines[tail.before].text, tail.place.line) == ("}", 250)
    (problem,) = flushtlb.problems
    assert problem.function == "flush_area_local"
    assert "mail line 209: new lines 101..101: 1 line between two hunks of" in overview([patch])


def test_helpers_of_other_files_are_there(patch: Patch) -> None:
    constants = rebuild(file_of(patch, "xen/include/asm-x86/x86-defns.h")).after
    (line,) = [i for i, text in enumerate(MAIL.read_text().split("\n"), 1) if text.startswith("> +#define X86_CR3_ADDR_MASK")]
    assert said(constants, "#define X86_CR3_ADDR_MASK") == line
    processor = rebuild(file_of(patch, "xen/include/asm-x86/processor.h"))
    assert touched(processor.before, processor.after) == ("write_cr4",)
    assert processor.problems == ()
    domain = rebuild(file_of(patch, "xen/include/asm-x86/pv/domain.h"))
    assert touched(domain.before, domain.after) == ("get_pcid_bits", "pcid_domain_init")
