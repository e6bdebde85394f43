"""Patches out of whatever people send: a diff, ``git show``, ``git format-patch``, an mbox, a reply that quotes one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import LARGEST, SourceLine, read_text, source_of

from .diff import FilePatch, Hunk, Patch, Remark
from .hunk import COMBINED, FILE, HUNK, read_hunk
from .mail import Message, messages
from .quoting import Level, unquoted

_COMMIT = re.compile(r"commit [0-9a-f]{7,64}(?: \(.*\))?$")
_SERIES = re.compile(r"\[[^\]]*?(\d{1,4})/(\d{1,4})\s*\]")
_SUBJECT = re.compile(r"(?:\S+:\s*)*(?:\[[^\]]*\]\s*)*\[[^\]]*PATCH[^\]]*\]", re.IGNORECASE)
_ATTRIBUTION = re.compile(r"On (.{4,80}?), (\S.{0,80}?) wrote:$")
_MODES = (("old mode ", "old"), ("deleted file mode ", "old"), ("new mode ", "new"), ("new file mode ", "new"))
_NAMES = (("rename from ", "old"), ("copy from ", "old"), ("rename to ", "new"), ("copy to ", "new"))
_HTML = re.compile(r"^content-type:\s*text/html|<html|<pre|<div", re.IGNORECASE | re.MULTILINE)
_HUNK_MARK = "@@ -"
_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


def read_patch_file(path: Path) -> list[Patch]:
    """``read_patches`` of a file. Raises ``InputError`` as well if it cannot be read."""
    return read_patches(read_text(path), str(path))


def read_patches(text: str, file: str) -> list[Patch]:
    """Every patch in ``text``; ``file`` is where it was read.

    Lines are counted in the file as it lies there. Columns are, too, except in quoted-printable and
    base64 parts, where they count in the decoded line. Hunks that are not whole are kept and say so.
    Raises ``InputError`` for text without a patch, a combined diff of a merge, or too much text.
    """
    if len(text) > LARGEST:
        raise InputError(f"is larger than {LARGEST >> 20} MiB", place=Place(file), hint="give the mail of one patch")
    patches = [patch for message in messages(source_of(text, file).lines) for patch in _Reader(message).read()]
    if not patches and _HTML.search(text) and ("diff --git" in text or _HUNK_MARK in text):
        raise InputError("holds a patch as HTML alone, in which lines and spaces are not what was sent", place=Place(file), hint="give the mail's plain text, or the patch itself")
    if not patches:
        raise InputError("holds no patch", place=Place(file), hint="give a unified diff, or a mail that holds or quotes one")
    return patches


@dataclass
class _Draft:
    """A file patch that is being read."""

    place: Place
    old_name: str | None = None
    new_name: str | None = None
    modes: dict[str, str] = field(default_factory=dict)
    created: bool = False
    deleted: bool = False
    binary: bool = False
    copied: bool = False
    hunks: list[Hunk] = field(default_factory=list)

    def patch(self) -> FilePatch:
        return FilePatch(
            None if self.created else self.old_name,
            None if self.deleted else self.new_name,
            self.place,
            tuple(_in_order(self.hunks)),
            self.modes.get("old", ""),
            self.modes.get("new", ""),
            self.binary,
            self.copied,
        )


class _Reader:
    """One message, line by line."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.lines = message.lines
        self.patches: list[Patch] = []
        self.drafts: dict[int, list[_Draft]] = {}
        """The files of what is being read, by how deep they are quoted: each depth is somebody else's patch."""
        self.remarks: list[Remark] = []
        self.words: dict[str, str] = {}
        self.commit = ""

    def read(self) -> list[Patch]:
        at = 0
        while at < len(self.lines):
            at = self._line(at)
        self._finish()
        return self.patches

    def _line(self, at: int) -> int:
        """Read the line ``at``, and what belongs to it; the index of the next one."""
        level, line = unquoted(self.lines[at])
        text = line.text
        if text.startswith(("@@", "diff --c")):
            if COMBINED.match(text):
                raise InputError("a merge's combined diff cannot be read", place=line.place, hint="give the diff against one parent (git show -m, or git diff PARENT MERGE)")
            if HUNK.match(text):
                return self._hunk(at, level, line)
        if text.startswith(FILE):
            return self._file(at, level, line)
        if text.startswith("--- ") and at + 1 < len(self.lines):
            below = level.below(self.lines[at + 1])
            if below is not None and below.text.startswith("+++ "):
                return self._names(at, level, line, below)
        files = self.drafts.get(level.depth, [])
        if text.startswith(("Binary files ", "GIT binary patch")) and files and not files[-1].hunks:
            files[-1].binary = True
        if level.depth == 0 and _COMMIT.match(text):
            return self._commit(at)
        if not files:
            self._word(line, level)
        return at + 1

    def _word(self, line: SourceLine, level: Level) -> None:
        """What the text before the first file says about the patch."""
        text = line.text.strip()
        found = _ATTRIBUTION.match(text[:200])
        if found:
            self.words.setdefault(f"date{level.depth}", found[1])
            self.words.setdefault(f"author{level.depth}", found[2])
        elif text.startswith("From: "):
            self.words.setdefault("author", text.removeprefix("From: ").strip())
        elif "[" in text and _SUBJECT.match(text[:200]):
            self.words.setdefault("subject", text)

    def _commit(self, at: int) -> int:
        """The head of ``git log`` or ``git show``: the fields, then the indented message."""
        self._finish()
        self.message = replace(self.message, subject="", author="", date="", message_id="")
        self.commit = self.lines[at].text.split()[1]
        at += 1
        while at < len(self.lines) and self.lines[at].text.strip():
            name, colon, value = self.lines[at].text.partition(":")
            if colon and name in ("Author", "Date", "AuthorDate"):
                self.words["author" if name == "Author" else "date"] = value.strip()
            at += 1
        while at < len(self.lines) and (not self.lines[at].text or self.lines[at].text.startswith("    ")):
            if self.lines[at].text.strip():
                self.words.setdefault("subject", self.lines[at].text.strip())
            at += 1
        return at

    def _file(self, at: int, level: Level, line: SourceLine) -> int:
        """``diff --git``, which a mailer may have wrapped between the names, and the lines that follow it."""
        words = line.text.removeprefix(FILE).strip()
        at += 1
        names = _both_names(words)
        for count in (1, 2):
            rest = [level.below(wrapped) for wrapped in self.lines[at : at + count]]
            if names is None:
                names = _both_names(" ".join([words, *(part.text.strip() for part in rest if part is not None)]).strip())
                at += count if names is not None else 0
        draft = _Draft(line.place, *(names or (None, None)))
        self.drafts.setdefault(level.depth, []).append(draft)
        while at < len(self.lines):
            below = level.below(self.lines[at])
            if below is None or not self._extended(draft, below.text):
                return at
            at += 1
        return at

    @staticmethod
    def _extended(draft: _Draft, text: str) -> bool:
        """Take in one of git's extended header lines; whether it is one."""
        for start, side in _MODES:
            if text.startswith(start):
                draft.modes[side] = text.removeprefix(start).strip()
                draft.created = draft.created or start.startswith("new file")
                draft.deleted = draft.deleted or start.startswith("deleted")
                return True
        for start, side in _NAMES:
            if text.startswith(start):
                setattr(draft, f"{side}_name", _plain_name(text.removeprefix(start)))
                draft.copied = draft.copied or start.startswith("copy")
                return True
        return text.startswith(("index ", "similarity index ", "dissimilarity index "))

    def _names(self, at: int, level: Level, line: SourceLine, below: SourceLine) -> int:
        """``--- old`` and ``+++ new``: of the file that ``diff --git`` began, or of a new one."""
        old, new = _stripped(_plain_name(line.text[4:]), _plain_name(below.text[4:]))
        files = self.drafts.setdefault(level.depth, [])
        if not files or files[-1].hunks or files[-1].modes.get("names"):
            files.append(_Draft(line.place))
        draft = files[-1]
        if draft.old_name is None and draft.new_name is None:
            draft.old_name, draft.new_name = old, new
        draft.created = draft.created or old is None
        draft.deleted = draft.deleted or new is None
        draft.modes["names"] = "seen"
        return at + 2

    def _hunk(self, at: int, level: Level, line: SourceLine) -> int:
        hunk, end = read_hunk(self.lines, at, level, line)
        if files := self.drafts.get(level.depth):
            files[-1].hunks.append(hunk)
        else:
            self.remarks.append(Remark(f"hunk {hunk.ranges} is of a file that the mail does not name", hunk.place))
        return end

    def _finish(self) -> None:
        """Close what was being read, if there is anything: what is quoted deepest was sent first."""
        for depth in sorted(self.drafts, reverse=True) or [0] * bool(self.remarks):
            about = self.message
            subject = about.subject or self.words.get("subject", "")
            if depth:
                # A reply's own header names the reviewer; who wrote the patch is what it quotes.
                above = max((name for name in self.words if re.fullmatch(r"author\d+", name) and int(name[6:]) < depth), default="author")
                author = self.words.get(above, "") or self.words.get("author", "")
                date = self.words.get(above.replace("author", "date"), "")
            else:
                author = self.words.get("author", "") or about.author
                date = about.date or self.words.get("date", "")
            series = _SERIES.search(subject[:500])
            position = (int(series[1]), int(series[2])) if series else None
            files = tuple(draft.patch() for draft in self.drafts.get(depth, []))
            self.patches.append(
                Patch(files, subject, author, date, about.message_id, position, tuple(self.remarks), depth > 0, about.author if depth else "", self.commit)
            )
            self.remarks = []
        self.drafts, self.remarks, self.words = {}, [], {}


def _in_order(hunks: Sequence[Hunk]) -> list[Hunk]:
    """The hunks of a file; one that begins before the last one's end is damaged."""
    checked: list[Hunk] = []
    old = new = 0
    for hunk in hunks:
        if hunk.first("-") < old or hunk.first("+") < new:
            damage = hunk.damage or Remark(f"hunk {hunk.ranges} is out of order: it begins before the end of the hunk above it", hunk.place)
            checked.append(replace(hunk, damage=damage))
            continue
        old, new = hunk.first("-") + hunk.old_count, hunk.first("+") + hunk.new_count
        checked.append(hunk)
    return checked


def _both_names(words: str) -> tuple[str, str] | None:
    """The two names behind ``diff --git``. Names with spaces are told apart only where both are the same."""
    if words.startswith('"') or words.endswith('"'):
        parts = re.findall(r'"(?:[^"\\]|\\.)*"|[^" ]+', words)
    else:
        half = len(words) // 2
        same = words[half : half + 1] == " " and words[:half].partition("/")[2] == words[half + 1 :].partition("/")[2]
        parts = [words[:half], words[half + 1 :]] if same and half else words.split(" ")
    if len(parts) != 2 or not all(parts):
        return None
    old, new = _stripped(_plain_name(parts[0]), _plain_name(parts[1]))
    return (old, new) if old and new else None


def _plain_name(text: str) -> str:
    """A name without what GNU diff appends (a tab and a date) and without git's quotation of odd bytes."""
    text = text.partition("\t")[0].rstrip()
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text

    def byte(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code, 8) & 0xFF if code[0].isdigit() else _ESCAPES.get(code, ord(code)))

    raw = re.sub(r"\\([0-7]{3}|.)", byte, text[1:-1])
    return raw.encode("latin-1", errors="replace").decode("utf-8", errors="replace")


def _stripped(old: str, new: str) -> tuple[str | None, str | None]:
    """Names without the ``a/`` and ``b/`` before them (or the two folders that GNU diff compared)."""
    if old == "/dev/null" or new == "/dev/null":
        return (None if old == "/dev/null" else re.sub(r"^[a-z]/", "", old), None if new == "/dev/null" else re.sub(r"^[a-z]/", "", new))
    (top, slash, rest), (other, _, same) = old.partition("/"), new.partition("/")
    if slash and top != other and (rest == same or (len(top) == 1 and len(other) == 1)):
        return rest, same
    return old, new
