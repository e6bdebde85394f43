"""Quote marks: how deep a line is quoted, and what it says below them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlbcheck.errors import Place
from tlbcheck.lang.source import SourceLine

_MARKS = re.compile(r"(?:>[ ]?){0,50}")


@dataclass(frozen=True, slots=True)
class Level:
    """``depth`` quote marks; ``tight`` if no space follows the last one, as ``>+text``.

    A diff needs both: in a tight quotation the space after the mark is the sign of a context line.
    """

    depth: int
    tight: bool

    def below(self, line: SourceLine) -> SourceLine | None:
        """The line without its marks, or None if it is quoted less deep: somebody's comment on the text at this level."""
        text, at = line.text, 0
        for mark in range(self.depth):
            if not text.startswith(">", at):
                return None
            at += 1
            if text.startswith(" ", at) and not (self.tight and mark == self.depth - 1):
                at += 1
        return cut(line, at)


def cut(line: SourceLine, at: int) -> SourceLine:
    return SourceLine(line.text[at:], Place(line.place.file, line.place.line, line.place.column + at)) if at else line


def unquoted(line: SourceLine) -> tuple[Level, SourceLine]:
    """The line below all its quote marks, and how deep that is."""
    if not line.text.startswith(">"):
        return Level(0, False), line
    found = _MARKS.match(line.text)
    marks = found[0] if found else ""
    return Level(marks.count(">"), marks.endswith(">")), cut(line, len(marks))
