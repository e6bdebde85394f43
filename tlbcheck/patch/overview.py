"""What a patch touches and what of it could not be seen, for people, in 72 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from tlbcheck.errors import Place

from .diff import FilePatch, Patch
from .rebuild import rebuild, touched

_WIDTH = 72
_C = (".c", ".h")


def overview(patches: Iterable[Patch]) -> str:
    """Lines of at most 72 columns, but for names that are longer; each ends with a line feed."""
    lines: list[str] = []
    for patch in patches:
        lines += _wrapped(patch.subject or "a patch without a subject", "", "  ")
        about = [f"by {patch.author}" if patch.author else "", patch.date]
        lines += _wrapped(", ".join(word for word in about if word), "  ", "  ")
        lines += [line for remark in patch.remarks for line in _told(remark.place, remark.text)]
        for file in patch.files:
            lines += _file(file)
    return "".join(line + "\n" for line in lines)


def _file(file: FilePatch) -> list[str]:
    words = f"{file.name}: {_kind(file)}"
    lines = _wrapped(words, "  ", "    ")
    if not file.name.endswith(_C):
        return lines + [line for hunk in file.hunks if hunk.damage for line in _told(hunk.damage.place, hunk.damage.text)]
    rebuilt = rebuild(file)
    names = touched(rebuilt.before, rebuilt.after)
    if names:
        lines += _wrapped(f"touches {', '.join(names)}", "    ", "      ")
    for hunk in file.hunks:
        lines += [line for doubt in hunk.doubts for line in _told(doubt.place, doubt.text)]
    for problem in rebuilt.problems:
        lines += _told(problem.error.place or file.place, f"{problem.error.message}; {problem.error.hint}")
    source = rebuilt.after or rebuilt.before
    for gap in source.gaps if source else ():
        lines += _told(gap.place, gap.text)
    return lines


def _kind(file: FilePatch) -> str:
    if file.binary:
        return "binary, not read"
    kinds = []
    if file.old_name is None:
        kinds.append("new")
    elif file.new_name is None:
        kinds.append("deleted")
    elif file.old_name != file.new_name:
        kinds.append(f"{'copied' if file.copied else 'renamed'} from {file.old_name}")
    if file.old_mode and file.new_mode:
        kinds.append(f"mode {file.old_mode} to {file.new_mode}")
    return ", ".join([*kinds, f"{file.added} added, {file.removed} removed"])


def _told(place: Place, text: str) -> list[str]:
    return _wrapped(f"mail line {place.line}: {text}", "    ", "      ")


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
