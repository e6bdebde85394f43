"""Text of a source file of which each line knows where it was read.

A C file is its own source; a function rebuilt from a mail is made of the mail's lines, and says
which lines of the real file it never saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tlbcheck.errors import InputError, Place

LARGEST = 4 << 20
"""Bytes of text that are read at most."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """``place`` is that of the line's first character; its column counts quote marks and diff signs.

    ``shown``: where the mail shows a line of a tree's file that a patch was put onto.
    """

    text: str
    place: Place
    shown: Place | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """What was not seen just before line ``before`` (index into the lines): ``text`` says it to people.

    ``end_of`` names the function whose last lines these are.
    """

    before: int
    text: str
    place: Place
    end_of: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """``name`` is the file as its project calls it, such as ``xen/arch/x86/flushtlb.c``."""

    name: str
    lines: tuple[SourceLine, ...]
    gaps: tuple[Gap, ...] = ()

    @property
    def text(self) -> str:
        return "".join(line.text + "\n" for line in self.lines)

    def place(self, line: int, column: int) -> Place:
        """Where the character at ``line`` and ``column`` (both from 0) of ``text`` was read."""
        if not self.lines:
            return Place(self.name)
        start = self.lines[min(line, len(self.lines) - 1)].place
        return Place(start.file, start.line, start.column + column)


def source_of(text: str, file: str, name: str = "") -> Source:
    """The source of a whole file; ``file`` is where it was read, ``name`` what the project calls it."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return Source(name or file, tuple(SourceLine(line.removesuffix("\r"), Place(file, i, 1)) for i, line in enumerate(lines, 1)))


def read_source(path: Path, name: str = "") -> Source:
    """Read a file. Raises ``InputError`` if it cannot be read, is too large or holds NUL bytes."""
    return source_of(read_text(path), str(path), name)


def read_text(path: Path) -> str:
    """The text of a file that somebody else wrote, decoded leniently; the same errors."""
    try:
        with path.open("rb") as file:
            return text_in(file, str(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(str(path))) from None


def text_in(stream: BinaryIO, name: str) -> str:
    """The text that is left in a stream; the same errors."""
    return decoded(stream.read(LARGEST + 1), name)


def decoded(data: bytes, name: str) -> str:
    """Text from bytes; the same errors."""
    if len(data) > LARGEST:
        raise InputError(f"is larger than {LARGEST >> 20} MiB", place=Place(name), hint="give only what is to be checked")
    if b"\0" in data:
        raise InputError("holds NUL bytes, so it is no text", place=Place(name))
    return data.decode("utf-8", errors="replace")
