"""Whatever the texts: a diff between them, mangled as mailers do, reads back the same and turns one into the other.

Broken mails are refused with a place or told as damaged; nothing else ever happens.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from tlbcheck import InputError
from tlbcheck.errors import Place
from tlbcheck.lang.source import Source, SourceLine, source_of
from tlbcheck.patch.apply import apply, old_version
from tlbcheck.patch.diff import FilePatch, Hunk, reverse
from tlbcheck.patch.overview import overview
from tlbcheck.patch.read import read_patches
from tlbcheck.patch.rebuild import rebuild, touched

WORDS = ["root", "flush_everything(cpu)", "=", "flags", "{", "}", "return", "if", "(cr4", "&", "MASK)", ">", "/*", "*/", "\\", "--i;", "@@", "#if", "a_name_that_is_rather_long", '"it\'s"', "-1;", "+"]
# A lone "--" at a break cannot be told from a signature. Code is indented; so a line that a mailer broke never goes on with white space.
CODE = st.builds(lambda indent, words: ("    " * indent + " ".join(words)).rstrip(), st.integers(0, 2), st.lists(st.sampled_from(WORDS), max_size=14))
TEXT = st.lists(CODE, max_size=30)


def mutate(draw: st.DrawFn, lines: Sequence[str]) -> list[str]:
    changed = list(lines)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 3))] = draw(st.lists(CODE, max_size=3))
    return changed


@st.composite
def versions(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    old = draw(TEXT)
    new = mutate(draw, old)
    assume(old != new)
    return old, new


def diff(old: Sequence[str], new: Sequence[str], context: int = 3) -> str:
    body = "\n".join(difflib.unified_diff(old, new, "a/f.c", "b/f.c", lineterm="", n=context))
    return f"diff --git a/f.c b/f.c\n{body}\n"


def quote(text: str, mark: str) -> str:
    return "".join(f"{mark}{line}\n" if line else f"{mark.rstrip()}\n" for line in text.split("\n")[:-1])


def wrap(text: str, width: int, mark: str, keep: bool) -> str:
    """Break long lines at the last space that fits; what comes down begins with the quote mark again."""
    out = []
    for line in text.split("\n")[:-1]:
        while len(line) > width:
            at = line.rfind(" ", len(mark) + 1, width + 1)
            if at <= len(mark) + 1 or not line[at + 1 :].strip() or line[at + 1 :].startswith(" ") or not line[len(mark) + 1 : at].strip():
                break
            out.append(line[: at + keep])
            line = mark + line[at + 1 :]
        out.append(line)
    return "".join(line + "\n" for line in out)


def content(hunk: Hunk) -> tuple[object, ...]:
    return hunk.ranges, [(line.sign, line.text) for line in hunk.lines]


def only(text: str) -> FilePatch:
    (patch,) = read_patches(text, "mail")
    (file,) = patch.files
    return file


def texts(source: Source) -> list[str]:
    return [line.text for line in source.lines]


def tree(lines: Sequence[str]) -> Source:
    return Source("f.c", tuple(SourceLine(text, Place("tree", i, 1)) for i, text in enumerate(lines, 1)))


@given(versions(), st.integers(0, 4))
def test_a_diff_leads_from_one_text_to_the_other_and_back(pair: tuple[list[str], list[str]], context: int) -> None:
    old, new = pair
    file = only(diff(old, new, context))
    assert texts(apply(file, tree(old))) == new
    assert texts(old_version(file, tree(new))) == old
    assert texts(apply(reverse(file), tree(new))) == old
    assert reverse(reverse(file)) == file
    for line in apply(file, tree(old)).lines:
        assert line.place.file in ("tree", "mail")
        assert line.place.file == "mail" or old[line.place.line - 1] == line.text


@given(versions(), st.sampled_from(["> ", ">", ">> ", "> > "]), st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["Why?", "+1", "- no", "@ all", " indented", "--"])), max_size=5))
def test_quoted_and_commented_it_reads_the_same(pair: tuple[list[str], list[str]], mark: str, comments: list[tuple[int, str]]) -> None:
    text = diff(*pair)
    lines = quote(text, mark).split("\n")[:-1]
    for at, comment in comments:
        if 3 < at < len(lines):
            lines[at:at] = ["", comment, ""]
    file = only("\n".join(lines) + "\n")
    assert [content(hunk) for hunk in file.hunks] == [content(hunk) for hunk in only(text).hunks]
    for hunk in file.hunks:
        for line in hunk.lines:
            assert lines[line.place.line - 1][line.place.column - 1 :] == line.text


@given(versions(), st.sampled_from(["", "> ", ">> "]), st.booleans(), st.integers(66, 80))
def test_wrapped_it_reads_the_same_or_says_that_it_cannot(pair: tuple[list[str], list[str]], mark: str, keep: bool, width: int) -> None:
    text = diff(*pair)
    header, body = text[: text.index("@@")], text[text.index("@@") :]
    mangled = quote(header, mark) + wrap(quote(body, mark) if mark else body, width, mark, keep)
    for hunk, original in zip(only(mangled).hunks, only(text).hunks, strict=True):
        if hunk.damage is None:
            # A mailer that drops the space at the break leaves one that stood for several.
            assert content(hunk) == content(original)


@given(versions())
def test_an_offset_is_found_and_other_content_is_refused(pair: tuple[list[str], list[str]]) -> None:
    old, new = pair
    file = only(diff(old, new))
    ahead = ["unlike anything else"] * 7
    assume(all(any(line.sign == " " for line in hunk.lines) for hunk in file.hunks))
    try:
        moved = texts(apply(file, tree(ahead + old)))
    except InputError as error:  # lines that are all alike fit in several places, and may be there already
        assert ("places" in str(error) or "already" in str(error)) and len(set(old)) < len(old)
        reject()
    assert moved[:7] == ahead
    changed = ["!" + line for line in old]
    with pytest.raises(InputError):
        apply(file, tree(changed))


MAIL = """\
From 0123456789 Mon Sep 17 00:00:00 2001
From: A <a@example.org>
Subject: [PATCH 1/2] =?utf-8?q?x?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=utf-8; format=flowed
Content-Transfer-Encoding: quoted-printable

> diff --git a/f.c b/f.c
> --- a/f.c
> +++ b/f.c
> @@ -5,7 +5,8 @@ static int load(int root)
>  {
>      int flags;
> +    if (root) {
>      /* a comment
>       * here */
>      save(flags);
> @@ -20,3 +21,4 @@ static int load(int root)
>      restore(flags);
> +#ifdef X
>      return 0;
>  }
--b
Content-Type: text/x-patch
Content-Transfer-Encoding: base64

LS0tIGEvZy5jCisrKyBiL2cuYwpAQCAtMSArMSBAQAoteAoreQo=
--b--
"""
PIECES = [
    "> ", ">", "\n", "\n\n", "@@ -1,3 +1,4 @@ void f(void)\n", "@@ -0,0 +1,99999 @@\n", "diff --git a/f.c b/f.c\n", "--- a/f.c\n+++ b/f.c\n", "=\n", "--b\n",
    "From x 12:00:00 2001\n", "/*", "*/", "{", "}", "(", "\\\n", "\0", "\r", '"', "'", "#else\n", "#endif\n", "é", "\u2028", "=?x?b?!?=",
]  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from([MAIL, MAIL[MAIL.index("> diff") : MAIL.index("--b\nContent-Type: text/x-p")], MAIL.replace("\n> ", "\n")]))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.integers(0, 12)) :]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@given(broken())
@example("> @@ -1 +1 @@")
@example("From: a\nSubject: =?\u00e9utf-8?q?x?=\n\n@@ -1 +1 @@\n")
@example('From: a\nSubject: =?utf-8?b?x?=\nContent-Type: text/plain; charset="=?"\n\n@@ -1 +1 @@\n')
def test_broken_mails_are_refused_or_told(text: str) -> None:
    try:
        patches = read_patches(text, "mail")
    except InputError as error:
        assert str(error).count("\n") == 0
        return
    overview(patches)
    for patch in patches:
        for file in patch.files:
            rebuilt = rebuild(file)
            touched(rebuilt.before, rebuilt.after)
            for source in (rebuilt.before, rebuilt.after):
                assert source is None or all(0 <= gap.before <= len(source.lines) for gap in source.gaps)
            try:
                apply(file, source_of("int x;\n", "tree"))
            except InputError as error:
                assert str(error).count("\n") == 0


BIG = 1 << 15
"""Of this length a reader whose time is in the square takes a minute."""


@pytest.mark.parametrize(
    "text",
    [
        ">" * BIG,
        ">\n" * (BIG // 2),
        "> " * (BIG // 2),
        "diff --git a/f.c b/f.c\n" + "@@ -1,9 +1,9 @@ f\n" * 5_000,
        "diff --git a/f.c b/f.c\n" + "> @@ -1,9 +1,9 @@ f\n>> @@ -1,9 +1,9 @@ f\n" * 2_000,
        "diff --git a/f.c b/f.c\n" * 3_000,
        "diff --git a/f.c b/f.c\n@@ -1,22500 +1,22500 @@\n" + f"-{'x' * 50} \n-b\n" * 1_500,
        "--- a/f.c\n+++ b/f.c\n@@ -1,99999999 +1,99999999 @@\n" + " {\n" * (BIG // 3),
        "From: a\nSubject: b\nContent-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n@@ -1 +1 @@\n" * 3_000,
        "From: a\nSubject: " + "=?utf-8?q?x?= " * 15_000 + "\n\n",
        "From x 12:00:00 2001\n\n" * 3_000,
        "[" * BIG,
        "Re: " * (BIG // 4) + "[PATCH",
        "[a] " * (BIG // 4) + "[PATCH",
        '--- a/f.c\n+++ b/f.c\n@@ -1 +1,15000 @@\n x\n' + '+"' + "\\" * 15_000 + "\n" + "+/*\n" * 14_998,
    ],
    ids=range(15),
)  # fmt: skip
def test_large_and_odd_mails_end(text: str) -> None:
    """Each of these took time in the square of its length at a careless reader's: minutes instead of a second."""
    try:
        overview(read_patches(text, "mail"))
    except InputError as error:
        assert len(str(error)) < 1000
