"""C text whose every character knows where it was read, and its tokens.

The lexer splits text into the tokens of C's preprocessor; what it cannot split (a comment or a
string that never ends) becomes an ``error`` token, which matters only to a function that holds it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, source_of

LARGEST = 1 << 20
"""Characters of one C file that are read at most."""

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$")
_DIGITS = frozenset("0123456789")
_WORD = _LETTERS | _DIGITS
_BLANK = frozenset(" \t\r\f\v")
_LONG = ("...", "<<=", ">>=", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "*=", "/=", "%=", "+=", "-=", "&=", "^=", "|=", "##")


@dataclass(eq=False)
class Text:
    """The text of one source; offsets count its characters."""

    source: Source
    text: str = field(init=False)
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.text = self.source.text
        if len(self.text) > LARGEST:
            raise InputError(f"is larger than {LARGEST >> 20} MiB", place=Place(self.source.name), hint="give the file of the switch alone")
        self.starts = [0]
        for line in self.source.lines:
            self.starts.append(self.starts[-1] + len(line.text) + 1)

    def line(self, offset: int) -> int:
        """The index of the line that holds ``offset``."""
        return max(0, min(bisect_right(self.starts, offset) - 1, len(self.source.lines) - 1))

    def place(self, offset: int) -> Place:
        line = self.line(offset)
        return self.source.place(line, max(0, offset - self.starts[line]))


@dataclass(eq=False, slots=True)
class Token:
    """``kind``: name, number, string, char, punct, error. ``start`` and ``end`` are offsets into
    ``origin``; of what a macro stands for, those of the macro's use. ``when`` dates it among the
    definitions of macros; ``hidden`` are the macros that it came from."""

    kind: str
    text: str
    start: int
    end: int
    origin: Text
    spaced: bool = False
    when: int = 0
    hidden: frozenset[str] = frozenset()

    @property
    def place(self) -> Place:
        return self.origin.place(self.start)


def tokens_of(text: Text) -> list[list[Token]]:
    """The tokens of each line, where a backslash at its end joins the next one; without comments."""
    return _Lexer(text).lines()


class _Lexer:
    def __init__(self, text: Text) -> None:
        self.origin = text
        self.text = text.text
        self.breaks: list[int] = []
        self.shifts: list[int] = []
        if "\\\n" in self.text:
            parts, at, dropped = self.text.split("\\\n"), 0, 0
            for part in parts[:-1]:
                at += len(part)
                dropped += 2
                self.breaks.append(at)
                self.shifts.append(dropped)
            self.text = "".join(parts)

    def offset(self, at: int) -> int:
        i = bisect_right(self.breaks, at)
        return at + (self.shifts[i - 1] if i else 0)

    def lines(self) -> list[list[Token]]:
        made: list[list[Token]] = []
        line: list[Token] = []
        text, size, at, spaced = self.text, len(self.text), 0, False
        while at < size:
            c = text[at]
            if c == "\n":
                if line:
                    made.append(line)
                    line = []
                at, spaced = at + 1, False
                continue
            if c in _BLANK:
                at, spaced = at + 1, True
                continue
            if c == "/" and text.startswith("//", at):
                at = text.find("\n", at)
                at = size if at < 0 else at
                continue
            if c == "/" and text.startswith("/*", at):
                end = text.find("*/", at + 2)
                if end < 0:
                    line.append(self.token("error", "a comment that never ends", at, size, spaced))
                    break
                at, spaced = end + 2, True
                continue
            kind, end = self.scan(c, at)
            content = {"open": "a quoted text that never ends", "other": f"the character {c!r}"}.get(kind, text[at:end])
            line.append(self.token(kind if kind not in ("open", "other") else "error", content, at, end, spaced))
            at, spaced = end, False
        if line:
            made.append(line)
        return made

    def token(self, kind: str, text: str, start: int, end: int, spaced: bool) -> Token:
        return Token(kind, text, self.offset(start), self.offset(end - 1) + 1, self.origin, spaced)

    def scan(self, c: str, at: int) -> tuple[str, int]:
        text, size = self.text, len(self.text)
        end = at + 1
        if c in _LETTERS:
            while end < size and text[end] in _WORD:
                end += 1
            return "name", end
        if c in _DIGITS or (c == "." and end < size and text[end] in _DIGITS):
            while end < size and (text[end] in _WORD or text[end] == "." or (text[end] in "+-" and text[end - 1] in "eEpP" and not text.startswith(("0x", "0X"), at))):
                end += 1
            return "number", end
        if c in "\"'":
            while end < size and text[end] not in (c, "\n"):
                end += 2 if text[end] == "\\" else 1
            if end >= size or text[end] != c:
                stop = text.find("\n", at)
                return "open", size if stop < 0 else stop
            return "string" if c == '"' else "char", end + 1
        for long in _LONG:
            if text.startswith(long, at):
                return "punct", at + len(long)
        if c in "()[]{};,:?~!%^&*-+=|<>./#":
            return "punct", end
        return "other", end


def retokenised(text: str, like: Token) -> list[Token]:
    """The tokens of ``text``, all at the place of ``like``."""
    made = [t for line in tokens_of(Text(source_of(text, "<text>"))) for t in line]
    return [Token(t.kind, t.text, like.start, like.end, like.origin, t.spaced, like.when, like.hidden) for t in made]
