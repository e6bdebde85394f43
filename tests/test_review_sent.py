"""What is judged is what was sent: every patch of a mail, every file of it, with what the code base defines; read here, not checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_review import NAME, RIGHT, WRONG, diff, mailed, quoted

from tlbcheck.cli import cli
from tlbcheck.errors import InputError
from tlbcheck.fit import fit_file, harness_for, unit_of
from tlbcheck.hidden import may_be_mended
from tlbcheck.lang.harness import Reading
from tlbcheck.library import find_properties
from tlbcheck.matrix import matrix
from tlbcheck.patch.tree import Tree
from tlbcheck.review import Review, Reviewed, read_reviews

INVPCID = "xen/include/asm-x86/invpcid.h"
FLUSHING = RIGHT.replace("    write_cr3(cr3);\n", "    if ( cr4 & X86_CR4_PCIDE )\n        invpcid_flush_all_nonglobals();\n\n    write_cr3(cr3);\n")
HEADER = """\
static inline void invpcid_flush_all_nonglobals(void)
{
    unsigned long desc[2] = { 0, 0 };

    asm volatile ( "invpcid %0, %1" : : "m" (desc), "r" (3UL) : "memory" );
}

static inline void nobody_calls(void)
{
}
"""
RETURNS = HEADER.replace("    unsigned long desc", "    return;\n    unsigned long desc")


def read(text: str, tree: Path | None = None) -> Reviewed:
    return read_reviews(text, "a.mail", Reading(), Tree(tree) if tree else None)


def only(text: str, tree: Path | None = None) -> Review:
    [made] = read(text, tree).reviews
    return made


def mbox(*mails: str) -> str:
    return "".join(f"From ann Mon Nov  2 10:00:00 2026\n{m}\n" for m in mails)


def assumed(review: Review) -> Sequence[str]:
    assert review.after.model is not None
    return review.after.model.assumptions


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in ((NAME, FLUSHING), (INVPCID, HEADER)):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    return root


def test_each_file_that_defines_the_switch_is_judged() -> None:
    """A test's own switch before the real one: both are there, the real one with its fault."""
    made = read(diff("int x;\n", RIGHT).replace(NAME, "tools/tests/switch.c") + diff(RIGHT, WRONG, 40))
    assert [(r.source, r.before.source is not None) for r in made.reviews] == [("tools/tests/switch.c", False), (NAME, True)]
    assert made.reviews[1].after.source is not None and "CR4 is right" in made.reviews[1].after.source.text


@pytest.mark.long
def test_both_files_are_told_in_one_result(tmp_path: Path) -> None:
    """The exit status is that of the worse one."""
    file = tmp_path / "a.diff"
    file.write_text(diff("int x;\n", RIGHT).replace(NAME, "tools/tests/switch.c") + diff(RIGHT, WRONG, 40))
    made = CliRunner().invoke(cli, ["review", str(file), "--engine", "explicit", "-U", "CONFIG_PV"], catch_exceptions=False)
    assert made.exit_code == 1
    assert "switch_cr3_cr4 of tools/tests/switch.c" in made.stdout and f"switch_cr3_cr4 of {NAME}" in made.stdout
    assert made.stdout.count("Nothing is wrong with it after the patch") == 1 and made.stdout.count("1 fault after the patch") == 1


def test_versions_and_replies_are_judged_by_themselves() -> None:
    one, two = mailed(diff(RIGHT, WRONG, 40)), mailed(diff(RIGHT, RIGHT.replace("now;", "now = 0;"), 40)).replace("[PATCH]", "[PATCH v2]")
    for text in (mbox(one, two), quoted(one) + "\nOr so?\n\n" + diff(RIGHT, RIGHT.replace("now;", "now = 0;"), 40)):
        first, second = read(text).reviews
        assert first.after.source is not None and "CR4 is right" in first.after.source.text and "now = 0" not in first.after.source.text
        assert second.after.source is not None and "CR4 is right" not in second.after.source.text and "now = 0" in second.after.source.text
        assert first.sent.title != second.sent.title


def test_a_later_patch_of_a_series_that_changes_another_function_is_said_to(tree: Path) -> None:
    changed = FLUSHING.replace("now;", "now = 0;")
    mails = [
        mailed(diff(FLUSHING, changed, 40)).replace("[PATCH]", "[PATCH 1/2]"),
        mailed(diff(changed, changed.replace("return counter++", "return ++counter"), 3).replace(" @@\n", " @@ int count(void)\n")).replace("[PATCH]", "[PATCH 2/2]"),
    ]
    for order in (mails, mails[::-1]):
        for with_tree in (None, tree):
            made = read(mbox(*order), with_tree)
            [judged], [passed] = made.reviews, made.passed
            assert "1/2" in judged.sent.title and not judged.unchanged
            assert "2/2" in passed.sent.title and not passed.refused and "the patch does not change switch_cr3_cr4" in passed.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return counter++", "return ++counter", f"the patch does not change switch_cr3_cr4 in {NAME}"),
        ("Also called", "Called", f"the patch changes no code of switch_cr3_cr4 in {NAME}, only comments or white space"),
    ],
)
def test_a_patch_that_leaves_the_switch_is_said_to(tree: Path, old: str, new: str, said: str) -> None:
    text = mailed(diff(FLUSHING, FLUSHING.replace(old, new), 60))
    assert only(text).unchanged == only(text, tree).unchanged == said


def test_a_helper_that_the_patch_changes_is_read(tree: Path) -> None:
    """In the patch alone, or in a header of the tree whose switch the patch leaves alone: never taken for the operation by its name."""
    header = diff(HEADER, RETURNS).replace(NAME, INVPCID)
    for made in (only(header + diff(FLUSHING, FLUSHING.replace("now;", "now = 0;"), 60)), only(header, tree)):
        assert any(a.startswith("invpcid_flush_all_nonglobals is read where another file defines it") for a in assumed(made))
        assert made.after.model is not None
        operations = repr([q.body for q in made.after.model.procedures.values() if q.name == "invpcid_flush_all_nonglobals"])
        assert "INVPCID" not in operations
    assert only(header, tree).unchanged == f"the patch does not change switch_cr3_cr4 in {NAME} itself, but invpcid_flush_all_nonglobals, which it uses"


def test_a_helper_that_the_patch_changes_and_that_cannot_be_read_is_refused() -> None:
    strange = HEADER.replace("    asm volatile", "    frobnicate(desc);\n    asm volatile")
    header, rest = diff(HEADER, strange).replace(NAME, INVPCID), diff(FLUSHING, FLUSHING.replace("now;", "now = 0;"), 60)
    with pytest.raises(InputError, match="invpcid_flush_all_nonglobals, which the patch changes, cannot be read: the call of 'frobnicate' is not known"):
        read(header.replace(" @@\n", " @@ static inline void invpcid_flush_all_nonglobals(void)\n") + rest)
    with pytest.raises(InputError, match="the hunk has no heading that names its function"):
        read(header + rest)


def test_a_macro_that_the_patch_puts_in_an_operations_place_is_refused() -> None:
    macro = "#define invpcid_flush_all_nonglobals() do { } while ( 0 )\n"
    with pytest.raises(InputError, match="the patch changes invpcid_flush_all_nonglobals"):
        read(diff("int x;\n", "int x;\n" + macro).replace(NAME, INVPCID) + diff(FLUSHING, FLUSHING.replace("now;", "now = 0;"), 60))


def test_verify_and_review_read_the_same_of_a_tree(tree: Path) -> None:
    """Its headers' facts and bodies, in whatever the patch does not touch; what was not read is told."""
    (tree / INVPCID).write_text(RETURNS)
    domain = tree / "xen/include/asm-x86/pv/domain.h"
    domain.parent.mkdir()
    domain.write_text("#define PCID_PV_PRIV 0\n")
    (tree / NAME).write_text(RIGHT)
    reviewed = only(mailed(diff(RIGHT, WRONG, 3)), tree)
    assert any("code base knows PCIDs" in a for a in assumed(reviewed)) and any("code base knows PCIDs" in a for a in fit_file(tree / NAME, Reading()).assumptions)
    (tree / NAME).write_text(FLUSHING)
    for assumptions in (assumed(only(mailed(diff(FLUSHING, FLUSHING.replace("now;", "now = 0;"), 3)), tree)), fit_file(tree / NAME, Reading()).assumptions):
        assert any(a.startswith("invpcid_flush_all_nonglobals is read where another file defines it") for a in assumptions)
        assert any(re.match(r"what local_irq_restore, .*read_cr4, write_cr3 mean is as the profile says", a) for a in assumptions)


def test_a_misfit_keeps_its_reason(tree: Path) -> None:
    """What cannot be read of the hunks alone is not blamed on the code."""
    (tree / NAME).write_text(FLUSHING.replace("    write_cr3(cr3);", "    write_cr3( cr3 );"))
    heading = "void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)"
    patch = diff(FLUSHING, FLUSHING.replace("    if ( now != cr4 )", "    if ( now == cr4 )"), 3).replace(" @@\n", f" @@ {heading}\n")
    with pytest.raises(InputError, match=r"does not fit the tree's .*: the mail has `write_cr3\(cr3\);` where .* has `write_cr3\( cr3 \);`; and what the hunks alone show cannot be judged"):
        read(mailed(patch), tree)


def test_what_hidden_lines_may_mend_is_no_fault() -> None:
    """As in Xen's 3e635d02d7: the hunk ends one line before the write of CR4. Behind the clock's stamp nothing is expected any more."""

    def wrong(model: object) -> frozenset[str]:
        return frozenset(f"{r.old} -> {r.new}" for r in matrix(model, find_properties(["missing-flush"])[0]) if r.verdict != "clean")  # type: ignore[arg-type]

    reading = Reading(undefines=("CONFIG_PV",))

    def judged(old: str, new: str, lines: int) -> tuple[object, Review]:
        text = "".join(list(difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{NAME}", f"b/{NAME}", n=40))[: lines + 3])
        counts = [sum(line[0] in signs for line in text.splitlines()[3:]) for signs in (" -", " +")]
        text = re.sub(r"@@ .* @@", f"@@ -1,{counts[0]} +1,{counts[1]} @@", text)
        [made] = read_reviews(text, "a.diff", reading).reviews
        return made.after.model, made

    unflushed = RIGHT.replace("    if ( now & X86_CR4_PGE )\n", "    if ( 0 )\n")
    before_the_end = unflushed.split("\n").index("    write_cr3(cr3);") + 2
    model, made = judged(RIGHT, unflushed, before_the_end)
    assert wrong(model)
    with pytest.raises(InputError, match="lines of it that are not in the mail may mend that"):
        list(may_be_mended(made.after.model, wrong(model), wrong, made.after.source, "switch_cr3_cr4", harness_for("switch"), reading))  # type: ignore[arg-type]
    model, made = judged(RIGHT, unflushed, unflushed.split("\n").index("    post_flush(0);") + 2)
    said = list(may_be_mended(made.after.model, wrong(model), wrong, made.after.source, "switch_cr3_cr4", harness_for("switch"), reading))  # type: ignore[arg-type]
    assert len(said) == 1 and "nothing acts on the TLB before " in said[0][0]


STAMP_MOVED = """\
--- a/xen/arch/x86/flushtlb.c
+++ b/xen/arch/x86/flushtlb.c
@@ -40,6 +40,8 @@ static u32 pre_flush(void)
         ring_the_bell();
 
  out:
+    hvm_flush_guest_tlbs();
+
     return now;
 }
 
@@ -60,5 +62,5 @@ static void post_flush(u32 t)
 void write_cr3(unsigned long cr3)
 {
-    unsigned long flags, cr4 = read_cr4();
+    unsigned long flags, cr4;
     u32 t;
 
@@ -67,8 +69,7 @@ void write_cr3(unsigned long cr3)
     local_irq_save(flags);
 
     t = pre_flush();
-
-    hvm_flush_guest_tlbs();
+    cr4 = read_cr4();
 
     write_cr4(cr4 & ~X86_CR4_PGE);
     asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );
"""
"""The shape of Xen's 3e635d02d7: what gives CR4 its PGE back stands in the first line that is not shown."""


def test_a_hunk_that_stops_before_the_last_write_is_no_false_alarm(tmp_path: Path) -> None:
    """Nothing is held to be wrong that the next line may mend, with the helper's hunk and without it: the tree is asked for."""
    first, second = STAMP_MOVED.index("@@ -40"), STAMP_MOVED.index("@@ -60")
    for text in (STAMP_MOVED, STAMP_MOVED[:first] + STAMP_MOVED[second:]):
        (tmp_path / "a.diff").write_text(text)
        made = CliRunner().invoke(cli, ["review", str(tmp_path / "a.diff"), "--engine", "explicit", "-U", "CONFIG_PV"], catch_exceptions=False)
        assert (made.exit_code, made.stdout, made.stderr.count("\n")) == (2, "", 1)
        assert "lines of write_cr3 are not in the mail" in made.stderr or "lines of it that are not in the mail may mend that" in made.stderr
        assert "--tree DIR" in made.stderr


def test_blocks_and_conditions_that_a_gap_may_hide() -> None:
    """A hunk that begins at the brace of a hidden if is refused; what else a gap may hide is assumed in the open."""
    lines = RIGHT.replace("    if ( now != cr4 )\n        write_cr4(cr4);\n", "    if ( now == cr4 )\n    {\n        write_cr4(cr4);\n        counter++;\n    }\n").split("\n")
    at = lines.index("        write_cr4(cr4);") - 1
    hunk = [f" {line}" for line in lines[at : at + 8]]
    hunk[2] = "+" + hunk[2][1:]
    heading = "void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)"
    text = f"--- a/{NAME}\n+++ b/{NAME}\n@@ -{at + 1},7 +{at + 1},8 @@ {heading}\n" + "\n".join(hunk) + "\n"
    with pytest.raises(InputError, match="what the block belongs to that begins here"):
        read(text)
    long = RIGHT.replace("    post_flush(0);\n", "    barrier();\n" * 60 + "    post_flush(0);\n")
    review = only(diff(long, long.replace("now;", "now = 0;").replace("    post_flush(0);", "    post_flush(1);"), 18).replace(" @@\n", f" @@ {heading}\n"))
    between = [a for a in assumed(review) if "between two hunks of switch_cr3_cr4" in a]
    assert between and all("no variable that the shown lines use gets a value, and no block, loop or condition (#if too) begins or ends" in a for a in between)


def test_a_function_that_is_shown_to_its_end_has_no_gap_there() -> None:
    """The hunk ends with the function's last line: whatever follows it in the file is no line of it, which might mend it."""
    shown = diff(RIGHT, WRONG, 60)
    made = only(shown)
    assert made.after.source is not None and made.after.source.lines[-1].text == "}" and made.after.source.gaps
    unit = unit_of(made.after.source, harness_for("switch"), Reading())
    assert unit.missing(unit.segments["switch_cr3_cr4"]) == []


# What four of Xen's own mails show of the switch, without a tree: 6e5f22ba43 and fdc2056767, 464409f6cf, 9255c493f1.
BRANCH_HIDDEN = """\
--- a/xen/arch/x86/flushtlb.c
+++ b/xen/arch/x86/flushtlb.c
@@ -103,7 +103,7 @@ static void do_tlb_flush(void)
 
 void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
 {
-    unsigned long flags, old_cr4;
+    unsigned long flags, old_cr4, old_pcid;
     u32 t;
 
     local_irq_save(flags);
@@ -133,6 +133,8 @@ void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
          */
         invpcid_flush_all_nonglobals();
 
+    old_pcid = cr3_pcid(read_cr3());
+
     write_cr3(cr3);
 
     if ( old_cr4 != cr4 )
"""
DECLARATION_ALONE = """\
--- a/xen/arch/x86/flushtlb.c
+++ b/xen/arch/x86/flushtlb.c
@@ -103,7 +103,8 @@ static void do_tlb_flush(void)
 
 void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
 {
-    unsigned long flags, old_cr4, old_pcid;
+    unsigned long flags, old_cr4;
+    unsigned int old_pcid;
     u32 t;
 
     /* This non-reentrant function is sometimes called in interrupt context. */
"""
STRUCT_AND_ANOTHER_FUNCTION = """\
--- a/xen/arch/x86/flushtlb.c
+++ b/xen/arch/x86/flushtlb.c
@@ -108,7 +108,7 @@ void flush_area_local(const void *va, unsigned int flags)
 
     if ( flags & (FLUSH_TLB|FLUSH_TLB_GLOBAL) )
     {
-        if ( (level != 0) && test_bit(level, &c->invlpg_works_ok) )
+        if ( level == 1 )
         {
             asm volatile ( "invlpg %0"
                            : : "m" (*(const char *)(va)) : "memory" );
--- a/xen/include/asm-x86/processor.h
+++ b/xen/include/asm-x86/processor.h
@@ -164,7 +164,6 @@ struct cpuinfo_x86 {
     __u8 x86_vendor;     /* CPU vendor */
     __u8 x86_model;
     __u8 x86_mask;
-    __u8 invlpg_works_ok;
     int  cpuid_level;    /* Maximum supported CPUID level, -1=no CPUID */
     unsigned int x86_capability[NCAPINTS];
     char x86_vendor_id[16];
"""


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("--- a/x.c\n> +++ b/x.c\n@@ -1,2 +1,2 @@\n \n-a\n+b\n", (), "is of a file that the mail does not name"),
        (diff(RIGHT, WRONG, 60), ("--engine", "bmc"), "a review needs the explicit engine"),
        (BRANCH_HIDDEN, (), "switch_cr3_cr4 cannot be put together of the hunks: this line is indented by 8 columns where 4 were expected: it hangs on a condition"),
        (DECLARATION_ALONE, (), "what is seen of switch_cr3_cr4 writes no CR3, and lines of it are missing"),
        (STRUCT_AND_ANOTHER_FUNCTION, (), "the patch does not change switch_cr3_cr4 as far as can be seen: it shows no function of role 'switch'"),
    ],
)
def test_what_no_review_can_be_made_of_is_refused_in_one_line(tmp_path: Path, text: str, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "a.diff").write_text(text)
    made = CliRunner().invoke(cli, ["review", str(tmp_path / "a.diff"), *words], catch_exceptions=False)
    assert (made.exit_code, made.stdout, made.stderr.count("\n")) == (2, "", 1) and said in made.stderr
