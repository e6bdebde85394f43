"""Patches are read out of every kind of mail, and each line says where it stands."""

from __future__ import annotations

import base64
import quopri
from pathlib import Path

import pytest

from tlbcheck import InputError
from tlbcheck.patch.diff import FilePatch, HunkLine, Patch
from tlbcheck.patch.overview import overview
from tlbcheck.patch.read import read_patch_file, read_patches

DIFF = """\
diff --git a/mm/root.c b/mm/root.c
index 1111111111..2222222222 100644
--- a/mm/root.c
+++ b/mm/root.c
@@ -10,6 +10,7 @@ void load_root(unsigned long root)
 {
     unsigned long flags;
 
+    tick();
     save_flags(flags);
-    set_root(root);
+    set_root(root | keep_mask);
     restore_flags(flags);
"""
MAIL = f"""\
From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001
From: =?utf-8?q?J=C3=BCrgen?= Maker <maker@example.org>
Date: Fri, 6 Apr 2018 09:52:00 +0200
Subject: [PATCH v2 3/9] mm: keep what is cached when the root
 changes
Message-Id: <20180406.3@example.org>

Nothing else uses it.
---
 mm/root.c | 3 ++-
 1 file changed, 2 insertions(+), 1 deletion(-)

{DIFF}--\x20
2.17.0
"""


def only(patches: list[Patch]) -> FilePatch:
    assert len(patches) == 1
    assert len(patches[0].files) == 1
    return patches[0].files[0]


def lines(file: FilePatch) -> list[tuple[str, str]]:
    return [(line.sign, line.text) for hunk in file.hunks for line in hunk.lines]


WANTED = lines(only(read_patches(DIFF, "x")))


def quote(text: str, mark: str) -> str:
    return "".join(f"{mark}{line}\n" if line else f"{mark.rstrip()}\n" for line in text.splitlines())


def stands(text: str, line: HunkLine) -> bool:
    """The line's place in the file holds its text."""
    return text.split("\n")[line.place.line - 1][line.place.column - 1 :].startswith(line.text)


def test_a_plain_diff() -> None:
    file = only(read_patches(DIFF, "d.diff"))
    assert (file.name, file.added, file.removed, str(file.place)) == ("mm/root.c", 2, 1, "d.diff:1:1")
    (hunk,) = file.hunks
    assert (hunk.ranges, hunk.damage, hunk.doubts) == ("@@ -10,6 +10,7 @@", None, ())
    assert hunk.heading is not None
    assert (hunk.heading.text, str(hunk.heading.place)) == ("void load_root(unsigned long root)", "d.diff:5:19")
    assert [str(line.place) for line in hunk.lines][3] == "d.diff:9:2"
    assert all(stands(DIFF, line) for line in hunk.lines)


def test_a_formatted_mail_knows_its_words() -> None:
    (patch,) = read_patches(MAIL, "m")
    assert patch.subject == "[PATCH v2 3/9] mm: keep what is cached when the root changes"
    assert (patch.author, patch.series, patch.message_id) == ("Jürgen Maker <maker@example.org>", (3, 9), "<20180406.3@example.org>")
    assert patch.date == "Fri, 6 Apr 2018 09:52:00 +0200"
    assert lines(only([patch])) == WANTED
    assert all(stands(MAIL, line) for line in patch.files[0].hunks[0].lines)


@pytest.mark.parametrize("mark", [">", "> ", ">>", ">> ", "> > ", "> >> ", ">>>> "])
def test_quoted_at_any_depth_with_comments_between(mark: str) -> None:
    reply = ""
    for i, line in enumerate(quote(DIFF, mark).splitlines(keepends=True)):
        reply += line
        if i > 4:
            reply += f"\nIs line {i} right?\n\n+ it is\n\n"
    file = only(read_patches(reply, "r"))
    assert lines(file) == WANTED
    assert file.hunks[0].damage is None
    assert all(stands(reply, line) for line in file.hunks[0].lines)


def test_levels_written_in_two_ways_are_one() -> None:
    mixed = "".join(("> > " if i % 2 else ">> ") + line + "\n" for i, line in enumerate(DIFF.splitlines()))
    assert lines(only(read_patches(mixed, "r"))) == WANTED


def test_a_reply_tells_the_patchs_author_not_the_reviewers() -> None:
    reply = "From: Reader <r@example.org>\nSubject: Re: [PATCH 1/2] x\nDate: today\n\nOn 06/04/18 08:52, Jane Maker wrote:\n" + quote(DIFF, "> ")
    (patch,) = read_patches(reply, "r")
    assert (patch.author, patch.date, patch.series) == ("Jane Maker", "06/04/18 08:52", (1, 2))


def test_footers_and_signatures_are_no_context() -> None:
    text = DIFF.rstrip("\n") + "\n-- \n2.1\n\n_______________\nlist mailing list\n+ not a line\n"
    assert lines(only(read_patches(text, "x"))) == WANTED
    hunk = only(read_patches(quote(text, "> "), "x")).hunks[0]
    assert hunk.damage is None


def test_lost_trailing_white_space() -> None:
    text = "".join(line.rstrip() + "\n" for line in DIFF.splitlines())
    assert " \n" in DIFF
    assert " \n" not in text
    assert lines(only(read_patches(text, "x"))) == WANTED


WRAPPED = """\
> diff --git a/a/rather/long/way/to/go/through/many/folders/file.c\x20
> b/a/rather/long/way/to/go/through/many/folders/file.c
> --- a/a/rather/long/way/to/go/through/many/folders/file.c
> +++ b/a/rather/long/way/to/go/through/many/folders/file.c
> @@ -5,5 +5,6 @@ static unsigned long compute_the_value(unsigned long first,\x20
> int second)
>  {
>      int a;
>\x20
> +    if ( first == second && the_condition_is_a_long_one(first, second) )\x20
> return
> -    return the_function_with_the_very_long_name_of_all(first, second) ?\x20
> -EINVAL : 0;
> +    return 0;
>  }
> diff --git a/b.c b/b.c
> --- a/b.c
> +++ b/b.c
> @@ -1 +1 @@
> -x
> +y
"""


def test_wrapped_lines_are_put_together_where_the_counts_prove_it() -> None:
    first, second = read_patches(WRAPPED, "w")[0].files
    assert first.name == "a/rather/long/way/to/go/through/many/folders/file.c"
    (hunk,) = first.hunks
    assert hunk.damage is None
    assert hunk.heading is not None
    assert hunk.heading.text == "static unsigned long compute_the_value(unsigned long first, int second)"
    assert [line.text for line in hunk.lines if line.sign == "-"] == ["    return the_function_with_the_very_long_name_of_all(first, second) ? -EINVAL : 0;"]
    assert next(line.text for line in hunk.lines if line.sign == "+").endswith("second) ) return")
    assert lines(second) == [("-", "x"), ("+", "y")]


def test_two_ways_to_put_lines_together_are_none() -> None:
    long = "a_function_with_a_long_name(and_an_argument, and_another_argument) +"
    text = f"--- a/f.c\n+++ b/f.c\n@@ -1,5 +1,1 @@\n a\n-    x = {long} \n-b;\n-    y = {long} \n-c;\n-z\n"
    hunk = only(read_patches(text, "x")).hunks[0]
    assert hunk.damage is not None
    assert "more than one way" in hunk.damage.text
    assert str(hunk.damage.place) == "x:3:1"


def test_a_hunk_that_is_cut_is_damaged_and_the_next_is_read() -> None:
    text = quote(DIFF.rsplit("\n", 3)[0] + "\n", "> ") + "\n[...]\n\n" + quote(DIFF.replace("root.c", "other.c"), "> ")
    first, second = read_patches(text, "x")[0].files
    assert first.hunks[0].damage is not None
    assert first.hunks[0].damage.place.line == 5
    assert lines(second) == WANTED


def test_a_hunk_longer_than_it_says_is_damaged() -> None:
    text = DIFF.replace("+10,7", "+10,6")
    damage = only(read_patches(text, "x")).hunks[0].damage
    assert damage is not None
    assert "damaged" in damage.text


def test_a_line_that_may_be_a_wrapped_end_is_told() -> None:
    text = quote(DIFF, "> ").replace(">      unsigned long flags;\n", ">      unsigned long flags, and_other_names_too, and_even_more_of_them;\nwrapped_name;\n")
    hunk = only(read_patches(text, "x")).hunks[0]
    assert hunk.damage is None
    assert [doubt.place.line for doubt in hunk.doubts] == [8]


RUN = "    unsigned long one = 1; /* the first of all the values" + " " * 10 + "*/"
"""With a run of spaces where mailers break lines."""


def broken(diff: str) -> str:
    """As a mailer of 66 columns sends it that breaks at the first of several spaces and leaves the others to the next line."""
    return diff.replace(RUN, RUN.replace("values ", "values\n"))


def test_a_line_that_was_broken_among_several_spaces_is_put_together_and_told() -> None:
    diff = DIFF.replace("    unsigned long flags;", RUN)
    hunk = only(read_patches(broken(diff), "x")).hunks[0]
    assert hunk.damage is None
    assert [(line.sign, line.text) for line in hunk.lines][1] == (" ", RUN)
    assert ["several spaces" in doubt.text for doubt in hunk.doubts] == [True]
    assert only(read_patches(diff, "x")).hunks[0].doubts == ()


def test_a_break_among_spaces_that_the_counts_cannot_show_is_told() -> None:
    """The hunk ends with an empty line, so the rest of the broken line is counted for it: before another hunk that is damage, before a footer a doubt."""
    diff = DIFF.replace("    unsigned long flags;", RUN).replace("     restore_flags(flags);\n", " \n")
    for after, expected in (("@@ -40,1 +41,1 @@\n-x\n+y\n", "damage"), ("-- \n2.47.0\n", "doubt"), ("-- \n2.47.0\n" + "word " * 20 + "\n", "")):
        hunk = only(read_patches(broken(diff) + after, "x")).hunks[0]
        assert ("damage" if hunk.damage else "doubt" if any("an empty line follows" in d.text for d in hunk.doubts) else "") == expected
        whole = only(read_patches(diff + after, "x")).hunks[0]
        assert whole.damage is None and whole.doubts == ()


def test_git_log_gives_one_patch_for_each_commit() -> None:
    head = "commit {}\nAuthor: A B <a@example.org>\nDate:   Mon Apr 9 2018\n\n    {}\n\n    More.\n\n"
    text = head.format("0" * 40, "first: words") + DIFF + "\n" + head.format("1" * 40, "second: words") + DIFF
    first, second = read_patches(text, "log")
    assert [(p.subject, p.author, p.date) for p in (first, second)] == [(f"{n}: words", "A B <a@example.org>", "Mon Apr 9 2018") for n in ("first", "second")]
    assert lines(only([second])) == WANTED


def test_an_mbox_gives_one_patch_for_each_mail() -> None:
    cover = "From x Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH 0/2] cover\n\nWords.\n\n"
    text = cover + MAIL + "\n" + MAIL.replace("3/9", "4/9")
    patches = read_patches(text, "box")
    assert [patch.series for patch in patches] == [(3, 9), (4, 9)]
    assert all(stands(text, line) for patch in patches for line in patch.files[0].hunks[0].lines)


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_attachments_in_every_encoding(encoding: str, line_end: str) -> None:
    """The line is that of the file; the column too, where no encoding is in between."""
    diff = DIFF.replace("tick();", "tick(); /* Jürgen: " + "x" * 60 + " */")
    data = diff.encode("latin-1" if encoding != "8bit" else "utf-8")
    body = {"8bit": diff, "quoted-printable": quopri.encodestring(data).decode(), "base64": base64.encodebytes(data).decode()}[encoding]
    charset = "utf-8" if encoding == "8bit" else "iso-8859-1"
    mail = (
        "From: A <a@example.org>\nSubject: =?utf-8?b?xJ0=?= [PATCH] x\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="b"\n\npreamble\n--b\nContent-Type: text/plain\n\nsee there\n'
        f'--b\nContent-Type: text/x-patch; charset={charset}; name="x.patch"\nContent-Transfer-Encoding: {encoding}\n\n{body}\n--b\nContent-Type: text/html\n\n<p>{DIFF}</p>\n--b--\n'
    )
    file = only(read_patches(mail.replace("\n", line_end), "m"))
    assert lines(file) == lines(only(read_patches(diff, "x")))
    if encoding != "base64":
        said = mail.split("\n")
        assert all(said[line.place.line - 1][1:].startswith(line.text[:10]) for line in file.hunks[0].lines)
    else:
        start = mail[: mail.index(body)].count("\n") + 1
        assert all(start <= line.place.line < start + body.count("\n") for line in file.hunks[0].lines)


def test_flowed_mail_is_not_stuffed_twice() -> None:
    stuffed = "".join(f" {line}\n" if line.startswith((" ", ">")) else f"{line}\n" for line in DIFF.splitlines())
    mail = f"From: A <a@example.org>\nSubject: x\nContent-Type: text/plain; format=flowed\n\n{stuffed}"
    file = only(read_patches(mail, "m"))
    assert lines(file) == WANTED
    assert all(stands(mail, line) for line in file.hunks[0].lines)


def test_files_that_come_go_move_and_change_mode() -> None:
    text = """\
diff --git a/new.c b/new.c
new file mode 100644
index 0000000000..1111111111
--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+int x;
\\ No newline at end of file
diff --git a/old.c b/old.c
deleted file mode 100644
--- a/old.c
+++ /dev/null
@@ -1 +0,0 @@
-int y;
diff --git a/from.c b/to.c
similarity index 100%
rename from from.c
rename to to.c
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/p.png b/p.png
index 1..2 100644
Binary files a/p.png and b/p.png differ
diff --git "a/\\303\\251 1.c" "b/\\303\\251 1.c"
--- "a/\\303\\251 1.c"
+++ "b/\\303\\251 1.c"
@@ -1 +1 @@
-a
+b
--- linux.orig/k.c\t2004-01-01 00:00:00
+++ linux/k.c\t2004-01-02 00:00:00
@@ -1 +1 @@
-a
+b
"""
    files = read_patches(text, "x")[0].files
    assert [(file.old_name, file.new_name) for file in files] == [
        (None, "new.c"), ("old.c", None), ("from.c", "to.c"), ("run.sh", "run.sh"), ("p.png", "p.png"), ("é 1.c", "é 1.c"), ("k.c", "k.c"),
    ]  # fmt: skip
    assert [line.newline for line in files[0].hunks[0].lines] == [False]
    assert [file.binary for file in files] == [False] * 4 + [True] + [False] * 2
    assert (files[3].old_mode, files[3].new_mode) == ("100644", "100755")


def test_carriage_returns() -> None:
    assert lines(only(read_patches(DIFF.replace("\n", "\r\n"), "x"))) == WANTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x: holds no patch; give a unified diff, or a mail that holds or quotes one"),
        ("Dear all,\n\n> nothing here\n", "x: holds no patch; give a unified diff, or a mail that holds or quotes one"),
        ("diff --cc a.c\n", "x:1:1: a merge's combined diff cannot be read; give the diff against one parent (git show -m, or git diff PARENT MERGE)"),
        ("words\n> @@@ -1,2 -1,2 +1,3 @@@\n", "x:2:3: a merge's combined diff cannot be read; give the diff against one parent (git show -m, or git diff PARENT MERGE)"),
        ("x" * (5 << 20), "x: is larger than 4 MiB; give the mail of one patch"),
        (f"From: a\nSubject: b\nContent-Type: multipart/mixed; boundary=b\n\n{'boundary=c' * 50}", "x:1:1: is a mail of more than 32 multipart bodies; give the part that holds the patch"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_patches(text, "x")
    assert str(caught.value) == said


def test_a_hunk_without_a_file_is_told() -> None:
    (patch,) = read_patches("> @@ -1 +1 @@\n> -a\n> +b\n", "x")
    assert patch.files == ()
    assert [str(remark.place) for remark in patch.remarks] == ["x:1:3"]


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_patch_file(tmp_path / "none")


def test_the_overview_has_72_columns_and_names_mail_lines() -> None:
    said = overview(read_patches(MAIL, "m"))
    assert max(len(line) for line in said.splitlines()) <= 72
    assert "[PATCH v2 3/9]" in said
    assert "touches load_root" in said
    assert "mail line 17: new lines 1..9: 9 lines above the first hunk are" in said
