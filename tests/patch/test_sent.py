"""Each patch of a mail is taken for what its sender sent, on top of what comes before it in its series."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tlbcheck.errors import InputError
from tlbcheck.lang.source import source_of
from tlbcheck.patch.apply import applied, apply
from tlbcheck.patch.code_base import CodeBase
from tlbcheck.patch.diff import FilePatch, Patch
from tlbcheck.patch.read import read_patches
from tlbcheck.patch.sent import Sent, sent
from tlbcheck.patch.tree import Tree

OLD = "".join(f"line {i}\n" for i in range(1, 30))


def diff(old: str, new: str, context: int = 3) -> str:
    return "diff --git a/f.c b/f.c\n" + "".join(difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), "a/f.c", "b/f.c", n=context))


def mail(subject: str, text: str, by: str = "Ann <ann@example.org>") -> str:
    return f"From: {by}\nSubject: {subject}\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\n---\n{text}-- \n2.47.0\n"


def mbox(*mails: str) -> str:
    return "".join(f"From someone Mon Nov  2 10:00:00 2026\n{m}\n" for m in mails)


def reply(original: str, text: str = "") -> str:
    body = original.partition("\n\n")[2]
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in body.splitlines())
    return f"From: Rita <rita@example.org>\nSubject: Re: [PATCH] x\n\nOn 02.11.26 11:00, Ann wrote:\n{quoted}\nWhat about this?\n\n{text}"


def everything(text: str, tree: Path | None = None) -> list[Sent]:
    def fits(patch: Patch, base: Sequence[Patch]) -> bool:
        code = CodeBase(Tree(tree) if tree else None)
        for p in (*base, patch):
            code.put(p)
        return not code.misfits

    return sent(read_patches(text, "mail"), fits)[0]


ONE, OTHER = diff(OLD, OLD.replace("line 5\n", "five\n")), diff(OLD, OLD.replace("line 25\n", "twenty-five\n"))


def added(one: Sent) -> list[str]:
    return [line.text for f in one.patch.files for h in f.hunks for line in h.lines if line.sign == "+"]


def test_versions_are_patches_of_their_own() -> None:
    found = everything(mbox(mail("[PATCH] x", ONE), mail("[PATCH v2] x", OTHER)))
    assert [(added(s), s.base) for s in found] == [(["five"], ()), (["twenty-five"], ())]
    assert [s.patch.version for s in found] == [1, 2]


def test_a_diff_in_a_reply_is_the_repliers() -> None:
    """And what it quotes is the author's, unless that is there itself: then it is judged once."""
    original = mail("[PATCH] x", ONE)
    quoted, own = everything(reply(original, OTHER))
    assert (added(quoted), quoted.patch.author, quoted.patch.quoted_by) == (["five"], "Ann", "Rita <rita@example.org>")
    assert (added(own), own.patch.author) == (["twenty-five"], "Rita <rita@example.org>")
    assert "as quoted by Rita" in quoted.title and own.title.endswith("in a reply")
    found = everything(mbox(original, reply(original, OTHER)))
    assert [(added(s), s.patch.quoted) for s in found] == [(["five"], False), (["twenty-five"], False)]


def test_a_quotation_that_leaves_hunks_out_is_no_patch_of_its_own() -> None:
    both = mail("[PATCH] x", diff(OLD, OLD.replace("line 5\n", "five\n").replace("line 25\n", "twenty-five\n")))
    part = reply(both).replace(both, "").split("> @@ -22")[0]
    [found] = everything(mbox(both, part))
    assert added(found) == ["five", "twenty-five"]


def test_inline_and_attached_it_is_one_patch() -> None:
    head = 'From: a@example.org\nSubject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
    text = f'{head}--b\nContent-Type: text/plain\n\n{ONE}\n--b\nContent-Type: text/x-patch; name="x.patch"\n\n{ONE}\n--b--\n'
    [found] = everything(text)
    assert added(found) == ["five"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_series_is_put_in_its_order(order: tuple[int, int]) -> None:
    mails = [mail("[PATCH v3 1/2] x", ONE), mail("[PATCH v3 2/2] y", OTHER)]
    first, second = everything(mbox(*(mails[i] for i in order)))
    assert (added(first), first.base) == (["five"], ())
    assert (added(second), second.base) == (["twenty-five"], (first.patch,))


@pytest.mark.parametrize("reverse", [False, True])
def test_commits_of_a_log_go_on_from_the_older_ones(tmp_path: Path, reverse: bool) -> None:
    """git log tells the latest first, unless it is asked for the reverse; which it was is told by what fits the tree."""
    (tmp_path / "f.c").write_text(OLD)
    middle = OLD.replace("line 5\n", "five\n")
    texts = [diff(OLD, middle), diff(middle, middle.replace("five\n", "5\n"))]
    commits = [f"commit {'ab'[i] * 40}\nAuthor: Ann <ann@example.org>\nDate:   Mon Nov 2 10:00:00 2026 +0100\n\n    x86: {i}\n\n{t}" for i, t in enumerate(texts)]
    found = {added(s)[0]: [added(Sent(b)) for b in s.base] for s in everything("\n".join(commits if reverse else commits[::-1]), tmp_path)}
    assert found == {"five": [], "5": [["five"]]}


# -- where a hunk goes


def only(text: str) -> FilePatch:
    [patch] = read_patches(text, "mail")
    return patch.files[0]


BODY = "    a();\n    b();\n    c();\n"
TWO = f"int other(void)\n{{\n{BODY}}}\n\nint wanted(void)\n{{\n{BODY}}}\n"


def hunk(start: int, heading: str) -> FilePatch:
    return only(f"--- a/f.c\n+++ b/f.c\n@@ -{start},3 +{start},3 @@ {heading}\n     a();\n-    b();\n+    B();\n     c();\n")


@pytest.mark.parametrize("start", [10, 3, 40])
def test_a_hunk_goes_under_the_heading_that_it_names(start: int) -> None:
    """Wherever it is announced: in front of the other function, in it, or behind the end."""
    new, remarks = applied(hunk(start, "int wanted(void)"), source_of(TWO, "f.c"))
    assert new.text == TWO[: TWO.index("int wanted")] + TWO[TWO.index("int wanted") :].replace("b();", "B();")
    assert bool(remarks) is (start != 10)
    assert all(f"{abs(10 - start)} lines further" in r.text and "put at its line 10" in r.text for r in remarks)


def test_a_hunk_that_fits_two_places_is_refused() -> None:
    with pytest.raises(InputError, match=r"fits f.c in 2 places .from its lines 3, 10 on., and not where it is announced"):
        apply(hunk(30, ""), source_of(TWO, "f.c"))
    assert "B();" in apply(hunk(3, ""), source_of(TWO, "f.c")).text, "the announced place decides"


def test_a_hunk_is_not_put_into_another_function_than_it_names() -> None:
    changed = TWO[: TWO.index("int wanted")] + TWO[TWO.index("int wanted") :].replace("c();", "d();")
    with pytest.raises(InputError, match=r"fits f.c only under `int other.void.`, and its heading is `int wanted.void.`"):
        apply(hunk(9, "int wanted(void)"), source_of(changed, "f.c"))


def test_a_hunk_without_context_is_said_to_rest_on_its_line_number() -> None:
    file = only("--- a/f.c\n+++ b/f.c\n@@ -4,0 +5 @@ int other(void)\n+    x();\n")
    _, remarks = applied(file, source_of(TWO, "f.c"))
    assert any("known by its line number alone" in r.text for r in remarks)
    with pytest.raises(InputError, match="only under `int wanted"):
        apply(only("--- a/f.c\n+++ b/f.c\n@@ -10,0 +11 @@ int other(void)\n+    x();\n"), source_of(TWO, "f.c"))
