"""Looking a macro up in the headers of a tree, along the ``#include`` lines of a C file.

Only directives are read, and of them only what a C compiler would: conditions decide as in the file
itself, include guards count as not defined at first. ``<asm/X>`` is looked for under the file's own
architecture. A header that the file's own includes do not lead to counts only where these cannot be
followed, and only if all headers of the tree agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from tlbcheck.c.preprocess import Dependency, Macro, Preprocessor
from tlbcheck.c.text import Text, Token, tokens_of
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, SourceLine

FILES = 4_000
"""Headers that are read at most."""
BYTES = 48 << 20
"""Characters of headers that are read at most."""
_NESTING = 150
_AGAIN = 100
"""So many times one header is read for one file at most."""
_NOT_CODE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_NEVER = frozenset({"__ASSEMBLY__", "__ASSEMBLER__", "__cplusplus"})
"""What no compiler of C defines."""


class Files(Protocol):
    """A tree of sources."""

    def headers(self) -> Sequence[str]:
        """The names of all headers, from the top of the tree."""

    def read(self, name: str) -> Source | None:
        """One file, None if there is none. Raises ``InputError`` if it is no text."""


@dataclass(frozen=True)
class Found:
    """A macro as headers define it: ``place`` is that of its definition, ``said`` how it was found."""

    macro: Macro
    place: Place
    said: str


@dataclass(eq=False)
class Headers:
    """The headers of a tree, ``called`` so in messages, that one C file sees.

    ``start`` is the file's name in the tree, empty if it does not stand there.

    ``before`` is read before the first line, and ``given``, ``undefined`` and ``settled`` are as for a
    preprocessor; ``forced`` are headers that the build puts before every file.
    """

    files: Files
    called: str
    source: Source
    start: str
    before: Sequence[Text] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    undefined: frozenset[str] = frozenset()
    settled: Sequence[tuple[Macro, frozenset[Dependency]]] = ()
    forced: Sequence[str] = ()
    _index: dict[str, list[str]] | None = None
    _texts: dict[str, Text | None] = field(default_factory=dict)
    left: int = BYTES

    def find(self, name: str, use: Place) -> Found:
        """The definition of ``name`` that holds at ``use``. Raises ``InputError`` where none is found, or no single one."""
        reader = _Following(self)
        for header in self.forced:
            reader.follow(header)
        # What is included behind the place of use is read too, but must not change the answer.
        reader.until = next((i for i, line in enumerate(self.source.lines) if line.place.line >= use.line and line.place.file == use.file), None)
        reader.add(Text(_directives(self.source)))
        entry = reader.entry(name, reader.reached if reader.reached is not None else reader.when)
        if entry is not reader.entry(name, reader.when):
            raise self.refuse(name, use, f"{name} is defined differently by what is included behind {use}")
        if entry is not None and entry.macro is not None:
            open_ = sorted({d.name for d in entry.depends if d.question} - {name})
            place = reader.places[name]
            if open_:
                raise self.refuse(name, use, f"{place} defines {name}, but whether that is compiled depends on {open_[0]}, which nothing that was read defines")
            return Found(self.whole(reader, entry.macro), place, f" by {place} ({_way(reader.ways[name])}{len(reader.counts)} headers of {self.called} were read)")
        if reader.includes and not reader.unfollowed:
            elsewhere = self._defining(name)[:1]
            more = f"; {elsewhere[0]} defines it, but is not included" if elsewhere else ""
            raise self.refuse(name, use, f"{len(reader.counts)} headers of {self.called} that it includes do not define {name} here{more}")
        return self._anywhere(name, use)

    def whole(self, reader: Preprocessor, macro: Macro) -> Macro:
        """``macro`` with what it stands for expanded by the headers' own macros."""
        if macro.parameters is not None:
            return macro
        for t in macro.body:
            t.when = reader.when
        body, _ = reader.expanded(list(macro.body))
        return Macro(macro.name, None, False, tuple(body))

    def _anywhere(self, name: str, use: Place) -> Found:
        """The one definition that all headers of the tree agree on, where includes cannot be followed."""
        found: list[tuple[Macro, Place]] = []
        for header in self._defining(name):
            reader = _Following(self, alone=True)
            reader.follow(header)
            entry = reader.entry(name, reader.when)
            if entry is None or entry.macro is None:
                continue
            if open_ := sorted({d.name for d in entry.depends if d.question} - {name}):
                raise self.refuse(name, use, f"{reader.places[name]} defines {name}, but whether that is compiled depends on {open_[0]}, which nothing that was read defines")
            found.append((self.whole(reader, entry.macro), reader.places[name]))
        if not found:
            raise self.refuse(name, use, f"no header of {self.called} defines {name}")
        (macro, place), *others = found
        for other, there in others:
            if [t.text for t in other.body] != [t.text for t in macro.body] or other.parameters != macro.parameters:
                raise self.refuse(name, use, f"{place} and {there} define {name} differently, and which of them is included cannot be told")
        return Found(macro, place, f" by {place} (of {self.called}, where no other header says otherwise; the file's own includes do not lead there)")

    def refuse(self, name: str, use: Place, what: str) -> InputError:
        return InputError(what, place=use, hint=f"-D {name} or -U {name} settles it")

    def _defining(self, name: str) -> list[str]:
        """The headers of the tree, but for those of other architectures, with a definition of ``name``."""
        wanted = re.compile(rf"^[ \t]*#[ \t]*define[ \t]+{re.escape(name)}\b", re.MULTILINE)
        mine = _architecture(self.start)
        return [h for h in sorted(self.files.headers()) if _architecture(h) in ("", mine or _architecture(h)) and (text := self.text(h)) is not None and wanted.search(text.text)]

    # -- the tree

    def text(self, name: str) -> Text | None:
        """The directives of a header, None if the tree has none of that name. Raises ``InputError`` for one that cannot be read."""
        if name not in self._texts:
            if len(self._texts) >= FILES or self.left < 0:
                raise InputError(f"more than {FILES} headers or {BYTES >> 20} MiB would have to be read", place=Place(self.called), hint="give -D and -U for the macros that decide")
            source = self.files.read(name)
            if source is not None:
                self.left -= len(source.text)
                source = _directives(Source(name, tuple(SourceLine(line.text, Place(name, i, 1)) for i, line in enumerate(source.lines, 1))))
            self._texts[name] = None if source is None else Text(source)
        return self._texts[name]

    def resolve(self, spelled: str, quoted: bool, includer: str) -> str | None:
        """The header that an ``#include`` in ``includer`` means: beside it, or the nearest one that stands in a folder of that name."""
        if self._index is None:
            self._index = {}
            for h in self.files.headers():
                self._index.setdefault(PurePosixPath(h).name, []).append(h)
        beside = _joined(includer, spelled)
        if quoted and beside in self._index.get(PurePosixPath(spelled).name, []):
            return beside
        mine = _architecture(self.start)
        wanted = [spelled if "/" in spelled or quoted else f"include/{spelled}"]  # <stdarg.h> is none of xen/stdarg.h
        if spelled.startswith("asm/"):
            wanted += [f"asm-{mine}/{spelled[4:]}"] if mine else [f"asm-{a}/{spelled[4:]}" for a in self._architectures()]
        candidates = [
            h for h in self._index.get(PurePosixPath(spelled).name, []) if h != includer and any(h == w or h.endswith(f"/{w}") for w in wanted) and _architecture(h) in ("", mine or _architecture(h))
        ]
        return min(candidates, key=lambda h: (-_shared(h, self.start or h), len(h), h), default=None)

    def _architectures(self) -> set[str]:
        return {_architecture(h) for names in (self._index or {}).values() for h in names} - {""}


class _Following(Preprocessor):
    """A preprocessor that follows includes, or none where it reads one header ``alone``.

    ``until`` is the line of the C file at which an answer is wanted, ``reached`` the date of that. What it
    does not understand decides nothing: it is a question that nothing answers.
    """

    def __init__(self, headers: Headers, alone: bool = False) -> None:
        super().__init__(headers.given, headers.undefined | _NEVER, {}, headers.settled)
        self.headers, self.alone = headers, alone
        self.ways: dict[str, tuple[str, ...]] = {}
        self.places: dict[str, Place] = {}
        self.counts: dict[str, int] = {}
        self.stack: tuple[str, ...] = ()
        self.includes = 0
        self.unfollowed = 0
        self.until: int | None = None
        self.reached: int | None = None
        for text in headers.before:
            self.add(text)

    def directive(self, text: Text, line: list[Token], active: bool) -> None:
        if not self.stack and self.reached is None and self.until is not None and text.line(line[0].start) >= self.until:
            self.reached = self.when
        if active and not self.alone and len(line) > 1 and line[1].text == "include":
            spelled = _spelled(line[2:])
            name = spelled and self.headers.resolve(*spelled, self.stack[-1] if self.stack else self.headers.start)
            self.includes += not self.stack
            self.unfollowed += not self.stack and not name
            if name:
                self.follow(name)

    def decide(self, word: str, hash_: Token, rest: list[Token]) -> tuple[bool, frozenset[Dependency]]:
        try:
            return super().decide(word, hash_, rest)
        except InputError:
            text = " ".join(t.text for t in rest)
            return False, frozenset({Dependency(text, None, hash_.place, f"#{word} {text}")})

    def definition(self, word: str, hash_: Token, rest: list[Token], depends: frozenset[Dependency], active: bool) -> None:
        super().definition(word, hash_, rest, depends, active)
        if active and word == "define" and rest:
            self.places[rest[0].text], self.ways[rest[0].text] = Place(hash_.place.file, hash_.place.line), self.stack

    def follow(self, name: str) -> None:
        text = self.headers.text(name)
        if text is None:
            return
        guard = _guard(text)
        if guard and self.counts.get(name) and self.entry(guard, self.when) is not None:
            return
        self.counts[name] = self.counts.get(name, 0) + 1
        if len(self.stack) >= _NESTING or self.counts[name] > _AGAIN:
            raise InputError(f"{name} is included again and again", place=Place(name), hint="give the headers an include guard")
        self.undefined |= {guard} if guard else set()
        outer, self.stack = self.stack, (*self.stack, name)
        self.add(text)
        self.stack = outer


def _way(stack: Sequence[str]) -> str:
    """Through which headers the last one was reached."""
    through = list(stack[:-1])
    if len(through) > 2:
        through = [through[0], "...", through[-1]]
    return f"reached through {', '.join(through)}; " if through else ""


def _spelled(rest: list[Token]) -> tuple[str, bool] | None:
    """What an include names, and whether in quotes."""
    if rest and rest[0].kind == "string":
        return rest[0].text[1:-1], True
    text = "".join(t.text for t in rest)
    return (text[1:-1], False) if text.startswith("<") and text.endswith(">") else None


def _directives(source: Source) -> Source:
    """``source`` with nothing but its directives, each at its own line."""
    code = _NOT_CODE.sub(lambda m: m[0] if m[0][0] in "\"'" else re.sub(r"[^\n]+", " ", m[0]), "\n".join(line.text for line in source.lines))
    kept: list[SourceLine] = []
    goes_on = False
    for line, text in zip(source.lines, code.split("\n"), strict=False):
        goes_on = goes_on or text.lstrip().startswith("#")
        kept.append(SourceLine(text if goes_on else "", line.place))
        goes_on = goes_on and text.rstrip().endswith("\\")
    return Source(source.name, tuple(kept), source.gaps)


def _guard(text: Text) -> str:
    """The name of an include guard that stands around all of a header; empty if there is none."""
    lines = [[t.text for t in line[1:]] for line in tokens_of(text)]
    if len(lines) < 3 or lines[1][:1] != ["define"] or len(lines[1]) not in (2, 3) or lines[-1][:1] != ["endif"]:
        return ""
    name = lines[1][1]
    if lines[0] not in (["ifndef", name], ["if", "!", "defined", name], ["if", "!", "defined", "(", name, ")"]):
        return ""
    depth = 0
    for words in lines[:-1]:
        depth += (words[:1] in (["if"], ["ifdef"], ["ifndef"])) - (words[:1] == ["endif"])
        if depth <= 0 or (depth == 1 and words[:1] in (["else"], ["elif"])):
            return ""
    return name


def _architecture(name: str) -> str:
    """The architecture that a file of the tree is for, empty if for any."""
    found = re.search(r"(?:^|/)(?:arch/([^/]+)/|asm-([^/]+)/)", name)
    architecture = (found[1] or found[2]) if found else ""
    return "" if architecture == "generic" else architecture


def _shared(one: str, other: str) -> int:
    """How many folders two names have in common at their beginning."""
    count = 0
    for a, b in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if a != b:
            break
        count += 1
    return count


def _joined(includer: str, spelled: str) -> str:
    parts: list[str] = list(PurePosixPath(includer).parent.parts)
    for part in PurePosixPath(spelled).parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
