"""C as far as a fragment allows it: comments, strings, directives, and how braces and parentheses stand.

A hunk begins and ends anywhere, so a grammar has nothing to hold on to; the nesting of a fragment is
still exact. Parsing what was put together of fragments is the C front end's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(r'/\*|//.*|"(?:\\.|[^"\\])*"?|\'(?:\\.|[^\'\\])*\'?')
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_LABEL = re.compile(r"\s*(?:(?:case\b.*|default)\s*:(?!:)|[A-Za-z_$][A-Za-z0-9_$]*\s*:\s*$)")
_NO_NAME = frozenset({"__attribute__", "__declspec", "__aligned", "if", "while", "for", "switch"})


@dataclass(frozen=True, slots=True)
class CodeLine:
    """``code`` is the line without comments and with strings emptied; empty for a directive, which ``directive`` names."""

    code: str
    directive: str = ""
    open_comment: bool = False
    """A comment goes on in the next line."""
    continued: bool = False
    """A directive goes on in the next line."""

    @property
    def indent(self) -> int:
        """Columns of white space before the code, a tab counting to the next multiple of eight."""
        expanded = self.code.expandtabs(8)
        return len(expanded) - len(expanded.lstrip())

    @property
    def is_label(self) -> bool:
        return bool(_LABEL.match(self.code))


@dataclass(slots=True)
class Lexer:
    """Reads lines in order; what one leaves open (a comment, a directive) the next continues."""

    comment: bool = False
    directive: str = ""

    def read(self, text: str) -> CodeLine:
        code, at = [], 0
        while at < len(text):
            if self.comment:
                end = text.find("*/", at)
                if end < 0:
                    break
                self.comment, at = False, end + 2
                code.append(" " * 2)
                continue
            found = _TOKEN.search(text, at)
            if not found:
                code.append(text[at:])
                break
            code.append(text[at : found.start()])
            at = found.end()
            if found[0] == "/*":
                self.comment = True
            elif not found[0].startswith("//"):
                code.append(found[0][0] * 2)
        joined = "".join(code)
        named = self.directive
        if not named and joined.lstrip().startswith("#"):
            word = _WORD.search(joined)
            named = word[0] if word else "#"
        continued = bool(named) and (joined.endswith("\\") or self.comment)
        self.directive = named if continued else ""
        return CodeLine("" if named else joined, named, self.comment, continued)


@dataclass(slots=True)
class Nesting:
    """Open braces and parentheses; a branch of ``#if`` begins where the one before it began."""

    braces: int = 0
    parens: int = 0
    _branches: list[tuple[int, int]] = field(default_factory=list)

    @property
    def conditions(self) -> int:
        return len(self._branches)

    def read(self, line: CodeLine) -> bool:
        """Take in a line. False for ``#else`` or ``#endif`` whose ``#if`` was not read."""
        if line.directive:
            if line.directive in ("if", "ifdef", "ifndef"):
                self._branches.append((self.braces, self.parens))
            elif line.directive in ("else", "elif", "endif"):
                if not self._branches:
                    return False
                if line.directive == "endif":
                    self._branches.pop()
                else:
                    self.braces, self.parens = self._branches[-1]
            return True
        for character in line.code:
            if character == "{":
                self.braces += 1
            elif character == "}":
                self.braces -= 1
            elif character == "(":
                self.parens += 1
            elif character == ")":
                self.parens -= 1
        return True


def starts_in_comment(lines: Iterable[str]) -> bool:
    """Whether the fragment's first line stands in a comment: one is closed that none opened."""
    lexer = Lexer()
    for text in lines:
        if not lexer.comment and "*/" in text:
            closing = text.find("*/")
            opening = text.find("/*")
            if opening < 0 or closing < opening:
                return True
        if lexer.read(text).code.strip() and not text.lstrip().startswith("*"):
            # Code came first; a comment that is closed later was opened after it.
            return False
    return False


def function_name(signature: str) -> str:
    """The name that a function's head declares, or an empty text if it is no function's whole head.

    ``signature`` is code without comments, up to the body.
    """
    depth = 0
    name = word = ""
    for match in re.finditer(r"[^\sA-Za-z_$]|[A-Za-z_$][A-Za-z0-9_$]*", signature):
        token = match[0]
        if token in ("=", ";", "{", "}") and depth == 0:
            return ""
        if token == "(":
            if depth == 0 and not name and word and word not in _NO_NAME:
                name = word
            depth += 1
        elif token == ")":
            depth -= 1
            if depth < 0:
                return ""
        word = token if _WORD.fullmatch(token) else ""
    return name if depth == 0 else ""


def begins_anew(head: str, code: str) -> bool:
    """Whether ``code`` begins another declaration although ``head`` did not end with a semicolon: a macro's use stood there."""
    word = _WORD.match(code)
    return word is not None and word[0] not in _NO_NAME and head.rstrip().endswith(")") and head.count("(") == head.count(")")


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name and its lines, ``first`` to ``last`` counted from 0."""

    name: str
    first: int
    last: int


def functions(lines: Sequence[str]) -> list[Function]:
    """The functions defined in a whole file, in its order."""
    lexer, nesting = Lexer(), Nesting()
    found: list[Function] = []
    head: list[str] = []
    first = 0
    name = ""
    for i, text in enumerate(lines):
        line = lexer.read(text)
        outside = nesting.braces <= 0
        nesting.read(line)
        if outside:
            code = line.code
            if not code.strip():
                continue
            if not head:
                first = i
            opening = code.find("{")
            if head and begins_anew(" ".join(head), code):
                head, first = [], i
            head.append(code if opening < 0 else code[:opening])
            if opening >= 0:
                name = function_name(" ".join(head))
                head = []
                if nesting.braces <= 0:
                    found.extend([Function(name, first, i)] if name else [])
            elif code.rstrip().endswith(";"):
                head = []
        elif nesting.braces <= 0:
            found.extend([Function(name, first, i)] if name else [])
            nesting.braces = nesting.parens = 0
            head = []
    return found
