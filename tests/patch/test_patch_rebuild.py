"""Functions are put together of hunks only where nothing speaks against it, and every line not seen is told."""

from __future__ import annotations

import difflib
import re

import pytest

from tlbcheck import InputError
from tlbcheck.lang.source import Source, source_of
from tlbcheck.patch.apply import apply
from tlbcheck.patch.diff import FilePatch
from tlbcheck.patch.read import read_patches
from tlbcheck.patch.rebuild import Rebuilt, rebuild, touched


def only(text: str) -> FilePatch:
    (patch,) = read_patches(text, "mail")
    (file,) = patch.files
    return file


def rebuilt(hunks: str) -> Rebuilt:
    return rebuild(only(f"--- a/f.c\n+++ b/f.c\n{hunks}"))


def body(source: Source | None) -> list[str]:
    assert source is not None
    return [line.text for line in source.lines if line.text]


def gaps(source: Source | None) -> list[str]:
    assert source is not None
    return [gap.text for gap in source.gaps]


LONG = """\
#include <flush.h>

static int count;

static void tick(void)
{
    count++;
}

void load_root(unsigned long root)
{
    unsigned long flags;

    save_flags(flags);
    note(root);
    note(root);
    note(root);
    note(root);
    note(root);
    note(root);
    note(root);
    note(root);
    set_root(root);
    flush();
    note(root);
    note(root);
    note(root);
    note(root);
    restore_flags(flags);
}

void last(void)
{
    tick();
}
"""


def git_diff(old: str, new: str) -> str:
    """A diff with the headings that git gives: the last line at the margin above the hunk."""
    before = old.split("\n")[:-1]
    lines = list(difflib.unified_diff(before, new.split("\n")[:-1], "a/f.c", "b/f.c", lineterm=""))
    for i, line in enumerate(lines):
        start = re.match(r"@@ -(\d+)", line)
        if start:
            heading = next((text for text in reversed(before[: int(start[1]) - 1]) if text[:1].isalpha()), "")
            lines[i] = f"{line} {heading}".rstrip()
    return "\n".join(lines) + "\n"


def test_two_hunks_of_one_function() -> None:
    new = LONG.replace("    save_flags(flags);\n", "    save_flags(flags);\n    tick();\n").replace("    flush();\n", "")
    found = rebuild(only(git_diff(LONG, new)))
    assert found.problems == ()
    assert touched(found.before, found.after) == ("load_root",)
    assert touched(source_of(LONG, "f.c"), source_of(new, "f.c")) == ("load_root",)
    assert found.after is not None
    text = found.after.text
    assert text.index("void load_root") < text.index("tick();") < text.index("set_root(root);")
    assert text.count("{") == text.count("}")
    assert any(g.startswith("new lines 19..21: 3 lines between two hunks of load_root are not in the mail: assumed free of TLB effects") for g in gaps(found.after))
    assert any(g.startswith("the end of load_root (new lines from 28 on) is not in the mail: assumed free of TLB effects") for g in gaps(found.after))
    assert all(": assumed " in g for g in gaps(found.after)), "each gap says what was assumed of it"


@pytest.mark.parametrize(
    "head",
    ["void load_root(struct vcpu *v, unsigned long root)", "void switch_root(unsigned long root)", "DEFINE_PER_CPU(int, x);\n\nvoid switch_root(struct vcpu *v,\n                 unsigned long root)"],
)
def test_a_heading_of_the_old_head_stands_for_the_new_one(head: str) -> None:
    """git's headings are lines of the old file: a function whose head the patch changes is still one."""
    new = LONG.replace("void load_root(unsigned long root)", head).replace("    flush();\n", "")
    found = rebuild(only(git_diff(LONG, new)))
    assert found.problems == () and found.before is not None and found.after is not None
    for source, text in ((found.before, LONG), (found.after, new)):
        shown = source.text
        assert shown.count("root(unsigned") + shown.count("root(struct") == 1 and shown.count("\n{") == 1 and "    set_root(root);" in shown
        assert set(body(source)) <= set(text.split("\n"))


def test_a_stale_heading_names_no_function() -> None:
    """git's heading is the line above the hunk; the hunk may begin behind that function's end."""
    found = rebuilt("@@ -40,6 +40,7 @@ void old_one(int a)\n \n int global;\n \n void fresh(void)\n {\n+    flush();\n }\n")
    assert touched(found.before, found.after) == ("fresh",)
    assert "old_one" not in "".join(body(found.after))


def test_a_function_that_ends_in_the_hunk_ends_there() -> None:
    found = rebuilt("@@ -40,5 +40,6 @@ void one(int a)\n     note(a);\n+    flush();\n }\n \n void two(void)\n {\n")
    assert touched(found.before, found.after) == ("one",)
    assert body(found.after) == ["void one(int a)", "{", "    note(a);", "    flush();", "}"]
    assert any(g.startswith("the beginning of one (up to new line 39) is not in the mail: assumed free of TLB effects") for g in gaps(found.after))


@pytest.mark.parametrize(
    ("hunks", "said"),
    [
        ("@@ -40,3 +40,4 @@ void f(int a,\n     note(a);\n+    flush();\n     note(a);\n     note(a);\n", "does not show its whole head"),
        ("@@ -40,3 +40,4 @@ f(int a)\n     note(a);\n+    flush();\n     note(a);\n     note(a);\n", "does not show what type it returns"),
        ("@@ -40,3 +40,4 @@\n     note(a);\n+    flush();\n     note(a);\n }\n", "no heading"),
        ("@@ -40,4 +40,5 @@ void f(int a)\n     note(a);\n+    flush();\n     if (a)\n     }\n     note(a);\n", "begins outside the mail"),
        ("@@ -40,2 +40,3 @@ void f(int a)\n         note(a);\n+        flush();\n         note(a);\n@@ -9 +9 @@\n-    x\n+    y\n", "indented by 8 columns where 4"),
        ("@@ -40,3 +40,4 @@ void f(int a)\n     note(a,\n+         1,\n          2,\n          3,\n", "in the middle of a statement"),
        ("@@ -1,3 +1,4 @@\n void f(int a)\n {\n+    flush();\n     if (a)\n@@ -9,2 +10,3 @@ void f(int a)\n     note(a);\n+    flush();\n }\n", "in the middle of a statement"),
        ("@@ -1,3 +1,4 @@\n void f(int a)\n {\n+    flush();\n     if (a) {\n@@ -9,2 +10,3 @@ void f(int a)\n     note(a);\n+    flush();\n }\n", "inside a block, where another branch may begin"),
        ("@@ -40,4 +40,5 @@ void f(int a)\n     {\n+        flush();\n         note(a);\n     }\n     note(a);\n", "belongs to that begins here (an if, a loop)"),
        ("@@ -40,2 +40,3 @@ void f(int a)\n         note(a);\n+        flush();\n         note(a);\n", "indented by 8 columns where 4"),
        ("@@ -1,4 +1,5 @@\n void f(int a)\n {\n+    flush();\n #if 0\n     note(a);\n@@ -9,2 +10,3 @@ void f(int a)\n     note(a);\n+    flush();\n }\n", "#endif of a condition in it"),
        ("@@ -1,3 +1,4 @@\n void f(int a)\n {\n+    flush();\n     note(a);\n@@ -9,3 +10,4 @@ void f(int a)\n     note(a);\n+    flush();\n #else\n }\n", "the #if of this #else"),
        ("@@ -1,3 +1,4 @@\n void f(int a)\n {\n+    flush();\n     note(a);\n@@ -9,3 +10,4 @@ void f(int a)\n     else\n+        flush();\n     note(a);\n }\n", "else is not in the mail"),
        ("@@ -1,3 +1,5 @@\n void f(int a)\n {\n+#define TWICE(x) \\\n+    x; \\\n     x; \\\n", "in the middle of a statement"),
    ],
)  # fmt: skip
def test_what_cannot_be_put_together_is_told_and_left_out(hunks: str, said: str) -> None:
    found = rebuilt(hunks)
    assert any(said in problem.error.message for problem in found.problems), [str(problem.error) for problem in found.problems]
    assert all(problem.error.place is not None and problem.error.hint for problem in found.problems)
    assert touched(found.before, found.after) == ()


def test_comments_that_hunks_cut_stay_comments() -> None:
    found = rebuilt("@@ -40,5 +40,6 @@ void f(int a)\n      * about { braces\n      */\n     note(a);\n+    flush();\n     note(a);\n     /* more {\n")
    assert found.problems == ()
    assert body(found.after) == ["void f(int a)", "{", "/*", "     * about { braces", "     */", "    note(a);", "    flush();", "    note(a);", "    /* more {", "*/", "}"]


def test_a_condition_that_goes_on_outside_the_mail_ends_before_the_gap() -> None:
    """Or the functions of all later hunks would stand under it."""
    found = rebuilt("@@ -1,2 +1,3 @@\n #ifdef DEBUG\n+#define LOUD 1\n int loud;\n@@ -40,2 +41,3 @@ void f(int a)\n {\n+    flush();\n }\n")
    assert body(found.after) == ["#ifdef DEBUG", "#define LOUD 1", "int loud;", "#endif", "void f(int a)", "{", "    flush();", "}"]
    assert any("#endif of this condition is not in the mail" in text for text in gaps(found.after))


def test_new_and_deleted_files_are_whole() -> None:
    new = rebuild(only("--- /dev/null\n+++ b/n.c\n@@ -0,0 +1,3 @@\n+void f(void)\n+{\n+}\n"))
    assert (new.before, gaps(new.after), touched(new.before, new.after)) == (None, [], ("f",))
    gone = rebuild(only("--- a/n.c\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-void f(void)\n-{\n-}\n"))
    assert (gone.after, gaps(gone.before), touched(gone.before, gone.after)) == (None, [], ("f",))


def test_functions_with_attributes_macros_and_branches_are_found() -> None:
    text = (
        "DEFINE_LOCK(lock)\nstatic int __attribute__((used))\nf(int (*g)(int))\n{\n#ifdef A\n    if (g(1)) {\n#else\n    {\n#endif\n    }\n"
        "    return '{' + \"}\"[0]; /* { */\n}\nstruct s { int a; };\nint table[] = {\n    1,\n};\nvoid h(void) {}\n"
    )
    assert touched(None, source_of(text, "x.c")) == ("f", "h")


def test_a_hunk_that_does_not_fit_names_both_lines() -> None:
    file = only(git_diff(LONG, LONG.replace("    flush();\n", "")))
    with pytest.raises(InputError) as caught:
        apply(file, source_of(LONG.replace("set_root(root);", "set_root(root | 1);"), "tree/f.c"))
    assert str(caught.value) == (
        "mail:6:2: hunk @@ -21,7 +21,6 @@ does not fit the tree's f.c: the mail has `set_root(root);` where tree/f.c:23:1 has `set_root(root | 1);`; give the tree that the patch was made for"
    )


def test_a_tree_that_has_the_patch_already_is_told() -> None:
    new = LONG.replace("    flush();\n", "")
    file = only(git_diff(LONG, new))
    with pytest.raises(InputError, match="already contains the patch"):
        apply(file, source_of(new, "tree/f.c"))
    with pytest.raises(InputError, match="which the tree already has"):
        apply(only("--- /dev/null\n+++ b/n.c\n@@ -0,0 +1 @@\n+int x;\n"), source_of("int y;\n", "tree"))


def test_a_damaged_hunk_is_not_applied() -> None:
    file = only("--- a/f.c\n+++ b/f.c\n@@ -1,9 +1,9 @@\n-a\n+b\n")
    with pytest.raises(InputError, match=r"mail:3:1: hunk .* is damaged: 9 old and 9 new lines are announced, 1 and 1"):
        apply(file, source_of("a\n", "tree"))
    (problem,) = rebuild(file).problems
    assert "damaged" in problem.error.message
