"""What can go wrong, as exceptions.

TlbcheckError
├── InputError       the user's model, file or option cannot be used: exit status 2
├── OutputError      what was asked for cannot be written, the disk is full: exit status 4
└── InternalError    two parts of tlbcheck contradict each other: exit status 4
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]


def shown_file(file: str) -> str:
    """A file's name as people see it: from the working directory, or from where tlbcheck is installed."""
    path = Path(file)
    for root in (Path.cwd(), _HOME) if path.is_absolute() else ():
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return file


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a source file; ``line`` and ``column`` count from 1, 0 where unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [shown_file(self.file), *(str(n) for n in (self.line, self.column) if n)]
        return ":".join(parts)


class TlbcheckError(Exception):
    """Base of everything that tlbcheck raises on purpose."""


class InputError(TlbcheckError):
    """Unreadable or unsupported input: one line with the place, what is wrong and what to do.

    ``judging``: the property that cannot be judged for it, while others can; empty if it is wrong for all.
    """

    def __init__(self, message: str, *, place: Place | None = None, hint: str = "", judging: str = "") -> None:
        self.message = message
        self.place = place
        self.hint = hint
        self.judging = judging
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text}; {hint}" if hint else text)


class OutputError(InputError):
    """A file or standard output that takes nothing more, through no fault of what was asked."""


class InternalError(TlbcheckError):
    """Engines, replay or a re-check disagree; names both sides. Never a verdict."""


def unforeseen(error: Exception) -> str:
    """An error that nobody raised on purpose, in one line, with the file and line that it came from."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(place.filename).name}:{place.lineno})"
