"""Putting a patch onto a file: at the announced lines or, like patch(1), at an offset; never with other content."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, SourceLine

from .diff import FilePatch, Hunk, HunkLine, reverse

_GUESSES = 32


def apply(patch: FilePatch, old: Source) -> Source:
    """The file after the patch: unchanged lines keep the places of ``old``, added ones have the mail's.

    Raises ``InputError`` where a hunk is damaged or does not fit, and says which lines differ; if
    the file is already as the patch leaves it, it says that. Carriage returns do not count.
    """
    lines: list[SourceLine] = []
    done = 0
    for hunk, at in zip(patch.hunks, locate(patch, old), strict=True):
        lines.extend(old.lines[done:at])
        done = at
        for line in hunk.lines:
            if line.sign == "+":
                lines.append(SourceLine(_text(line), line.place, line.place))
            else:
                if line.sign == " ":
                    lines.append(replace(old.lines[done], shown=line.place))
                done += 1
    lines.extend(old.lines[done:])
    return Source(patch.new_name or patch.name, tuple(lines))


def numbered(new: Source) -> Source:
    """A whole file with a patch applied, each line at its own place in it: ``shown`` says which the mail has."""
    return replace(new, lines=tuple(replace(line, place=Place(new.name, i, 1)) for i, line in enumerate(new.lines, 1)))


def old_version(patch: FilePatch, new: Source) -> Source:
    """The file before the patch, from the one after it; the same errors."""
    return apply(reverse(patch), new)


def locate(patch: FilePatch, old: Source) -> tuple[int, ...]:
    """For each hunk the index of the line of ``old`` at which it fits. Raises ``InputError`` if one does not."""
    if patch.binary:
        raise InputError(f"{patch.name} is patched as a binary file", place=patch.place, hint="give a patch of text")
    for hunk in patch.hunks:
        if hunk.damage:
            raise InputError(hunk.damage.text, place=hunk.damage.place, hint="give the mail as it was posted")
    if patch.old_name is None and not patch.copied and old.lines:
        raise InputError(f"the patch creates {patch.name}, which the tree already has", place=patch.place, hint="give the tree from before the patch")
    found = _locate(patch, old)
    if not isinstance(found, _Misfit):
        return found
    if not isinstance(_locate(reverse(patch), old), _Misfit):
        raise InputError(f"the tree's {patch.name} already contains the patch", place=patch.place, hint="give the tree from before the patch")
    line, words = _difference(found, old)
    raise InputError(f"hunk {found.hunk.ranges} does not fit the tree's {patch.name}: {words}", place=line.place, hint="give the tree that the patch was made for")


@dataclass(frozen=True, slots=True)
class _Misfit:
    hunk: Hunk
    expected: int


def _locate(patch: FilePatch, old: Source) -> tuple[int, ...] | _Misfit:
    """Where each hunk fits, nearest to where it is announced, or the first one that fits nowhere."""
    # Lines become single characters, so that the search is str.find: linear, whatever the text.
    letters: dict[str, str] = {}

    def spelled(text: str) -> str:
        return letters.setdefault(text, chr(len(letters)))

    whole = "".join(spelled(line.text) for line in old.lines)
    backwards = whole[::-1]
    places: list[int] = []
    floor = offset = 0
    for hunk in patch.hunks:
        before = "".join(spelled(_text(line)) for line in hunk.side("-"))
        expected = hunk.first("-") - 1 + offset
        start = max(expected, floor)
        if not any(line.sign == " " for line in hunk.lines) and not whole.startswith(before, start):
            return _Misfit(hunk, expected)  # without context no other place is any better founded
        after = whole.find(before, start)
        mirrored = backwards.find(before[::-1], max(len(whole) - start - len(before), 0))
        ahead = len(whole) - mirrored - len(before) if mirrored >= 0 else -1
        fits = [at for at in (after, ahead) if at >= floor]
        if not fits:
            return _Misfit(hunk, expected)
        at = min(fits, key=lambda at: abs(at - expected))
        places.append(at)
        offset += at - expected
        floor = at + len(before)
    return tuple(places)


def _difference(misfit: _Misfit, old: Source) -> tuple[HunkLine | Hunk, str]:
    """The first line of the hunk that differs, where most of its lines agree with the tree's."""
    before = misfit.hunk.side("-")
    if not before:
        return misfit.hunk, f"it has only {len(old.lines)} lines"
    starts = {max(misfit.expected, 0)}
    for i, line in enumerate(before[:_GUESSES]):
        if len(line.text.strip()) > 8:
            starts.update([at - i for at, other in enumerate(old.lines) if other.text == _text(line) and at >= i][:_GUESSES])

    def agreeing(start: int) -> int:
        return sum(_text(line) == other.text for line, other in zip(before, old.lines[start:], strict=False))

    start = max(sorted(starts), key=lambda start: (agreeing(start), -abs(start - misfit.expected)))
    for line, other in zip(before, old.lines[start:], strict=False):
        if _text(line) != other.text:
            return line, f"the mail has `{_text(line).strip()}` where {other.place} has `{other.text.strip()}`"
    at = len(old.lines) - start
    return before[max(min(at, len(before) - 1), 0)], f"the file ends at its line {len(old.lines)}, before the hunk does"


def _text(line: HunkLine) -> str:
    return line.text.removesuffix("\r")
