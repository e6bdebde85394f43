"""A patch as data: files, hunks and lines, each of which knows where in the mail it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tlbcheck.errors import Place
from tlbcheck.lang.source import SourceLine


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that people must know about a place of the mail: damage, doubt, what was not seen."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class HunkLine:
    """``sign`` is ``" "``, ``"+"`` or ``"-"``; ``place`` is that of the first character after it."""

    sign: str
    text: str
    place: Place
    newline: bool = True
    """False before ``\\ No newline at end of file``."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """``@@ -old_start,old_count +new_start,new_count @@ heading``, lines counted from 1.

    With ``damage`` the lines are what could be read, and nothing may be built on them.
    """

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    place: Place
    heading: SourceLine | None = None
    lines: tuple[HunkLine, ...] = ()
    damage: Remark | None = None
    doubts: tuple[Remark, ...] = ()

    def side(self, sign: str) -> tuple[HunkLine, ...]:
        """The lines before (``"-"``) or after (``"+"``) the patch."""
        return tuple(line for line in self.lines if line.sign in (" ", sign))

    def first(self, sign: str) -> int:
        """The number of the side's first line; of a side without lines, that of the line that would follow."""
        start, count = (self.old_start, self.old_count) if sign == "-" else (self.new_start, self.new_count)
        return start if count else start + 1

    @property
    def ranges(self) -> str:
        return f"@@ -{self.old_start},{self.old_count} +{self.new_start},{self.new_count} @@"


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What a patch does to one file; a name is None where the file does not exist before or after."""

    old_name: str | None
    new_name: str | None
    place: Place
    hunks: tuple[Hunk, ...] = ()
    old_mode: str = ""
    new_mode: str = ""
    binary: bool = False
    copied: bool = False

    @property
    def name(self) -> str:
        return self.new_name or self.old_name or ""

    @property
    def added(self) -> int:
        return sum(line.sign == "+" for hunk in self.hunks for line in hunk.lines)

    @property
    def removed(self) -> int:
        return sum(line.sign == "-" for hunk in self.hunks for line in hunk.lines)


@dataclass(frozen=True, slots=True)
class Patch:
    """What one person sent at once, in a mail, a commit or a reply. Words about it are empty where the text does not say them.

    ``subject`` is the mail's, so that of a reply's own diff begins with Re. ``quoted_by``: who quotes the patch in a reply.
    """

    files: tuple[FilePatch, ...]
    subject: str = ""
    author: str = ""
    date: str = ""
    message_id: str = ""
    series: tuple[int, int] | None = None
    """(n, m) of ``[PATCH n/m]``."""
    remarks: tuple[Remark, ...] = ()
    quoted: bool = False
    quoted_by: str = ""
    commit: str = ""
    """The name of the commit, where the text is that of git log or git show."""

    @property
    def version(self) -> int:
        """2 of ``[PATCH v2 1/3]``; 1 where the subject does not say it."""
        tag = _TAG.search(self.subject[:500])
        found = _VERSION.search(tag[0]) if tag else None
        return int(found[1]) if found else 1


_TAG = re.compile(r"\[[^\]]*\]")
_VERSION = re.compile(r"\bv(\d{1,3})\b", re.IGNORECASE)
_OPPOSITE = {" ": " ", "+": "-", "-": "+"}


def reverse(patch: FilePatch) -> FilePatch:
    """The patch that takes back what ``patch`` does."""
    hunks = tuple(
        replace(
            hunk,
            old_start=hunk.new_start,
            old_count=hunk.new_count,
            new_start=hunk.old_start,
            new_count=hunk.old_count,
            lines=tuple(replace(line, sign=_OPPOSITE[line.sign]) for line in hunk.lines),
        )
        for hunk in patch.hunks
    )
    return replace(patch, old_name=patch.new_name, new_name=patch.old_name, old_mode=patch.new_mode, new_mode=patch.old_mode, hunks=hunks)
