"""Two versions of a file without the definitions that are the same in both: of a large commit only what it touches is taken apart.

What is the same goes piece by piece. Lines of the preprocessor stay, since they decide what else is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from tlbcheck.lang.source import Source, source_of

_COMMENT_OR_STRING = re.compile(r"""/\*.*?(?:\*/|\Z)|//(?:\\\n|[^\n])*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
_STRING = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
_DIRECTIVE = re.compile(r"\s*#\s*(\w*)")


@dataclass(frozen=True)
class _Piece:
    """Lines without comments and without those that are empty. ``whole``: they are definitions, none of which goes on before or after them."""

    lines: tuple[str, ...]
    directive: bool
    whole: bool


def touched(before: Source, after: Source) -> tuple[Source, Source]:
    """Both versions without the pieces that are the same in both, in the same order; as they are where that could hide a difference."""
    if before.gaps or after.gaps:
        return before, after
    old, new = _pieces(before.text), _pieces(after.text)
    kept_old, kept_new = set(range(len(old))), set(range(len(new)))
    for i, j, size in SequenceMatcher(None, [p.lines for p in old], [p.lines for p in new], autojunk=False).get_matching_blocks():
        kept_old -= set(range(i, i + size))
        kept_new -= set(range(j, j + size))
    if not all(side[i].whole for side, kept in ((old, kept_old), (new, kept_new)) for i in kept):
        return before, after
    return _without(before, old, kept_old), _without(after, new, kept_new)


def _without(source: Source, pieces: Sequence[_Piece], kept: set[int]) -> Source:
    lines = [line for i, p in enumerate(pieces) if p.directive or i in kept for line in p.lines]
    return source_of("".join(f"{line}\n" for line in lines), source.name, source.name)


def _pieces(text: str) -> list[_Piece]:
    """A file in pieces: each directive, and the code between them up to each line that begins with "}".

    Where braces are not of one nesting, whatever is compiled, or something else than definitions stands beside them, none is whole.
    """
    found: list[_Piece] = []
    held: list[str] = []
    start = depth = 0
    open_ifs: list[int] = []
    readable, goes_on = True, False

    def end(directive: bool) -> None:
        nonlocal start, readable
        if held:
            alone = not directive and start == depth == 0
            readable = readable and (not alone or _ends("\n".join(held)))
            found.append(_Piece(tuple(held), directive, alone))
            held.clear()
        start = depth

    for line in _COMMENT_OR_STRING.sub(_blank, text).split("\n"):
        directive = None if goes_on else _DIRECTIVE.match(line)
        if directive is not None:
            end(False)
            if directive[1] in ("if", "ifdef", "ifndef"):
                open_ifs.append(depth)
            elif directive[1] in ("else", "elif", "endif"):
                readable = readable and bool(open_ifs) and open_ifs[-1] == depth
                if directive[1] == "endif" and open_ifs:
                    open_ifs.pop()
        elif not line.strip():
            continue
        held.append(line.rstrip())
        if directive is not None or goes_on:
            goes_on = line.endswith("\\")
            if not goes_on:
                end(True)
            continue
        bare = _STRING.sub("", line)
        depth += bare.count("{") - bare.count("}")
        readable = readable and depth >= 0 and not line.endswith("\\")
        if line.startswith("}"):
            end(False)
    end(goes_on)
    return found if readable and not depth else [replace(p, whole=False) for p in found]


def _ends(code: str) -> bool:
    """Whether code ends with a declaration, or with the body of a function."""
    return code.endswith(";") or (code.endswith("}") and code.partition("{")[0].rstrip().endswith(")"))


def _blank(found: re.Match[str]) -> str:
    text = found[0]
    return text if text[0] in "\"'" else " " + "\n" * text.count("\n")
