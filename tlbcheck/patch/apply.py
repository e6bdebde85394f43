"""Putting a patch onto a file: at the announced lines or, like patch(1), at an offset; never with other content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, SourceLine

from .diff import FilePatch, Hunk, HunkLine, Remark, reverse
from .lexical import function_name

_GUESSES = 32
_PLACES = 4000


def apply(patch: FilePatch, old: Source) -> Source:
    """The file after the patch: unchanged lines keep the places of ``old``, added ones have the mail's.

    Raises ``InputError`` where a hunk is damaged, does not fit or fits in several places, and says which
    lines differ; if the file is already as the patch leaves it, it says that. Carriage returns do not count.
    """
    return applied(patch, old)[0]


def applied(patch: FilePatch, old: Source) -> tuple[Source, list[Remark]]:
    """``apply``, and what people must know: at what offset hunks were put, and which rest on a line number alone."""
    lines: list[SourceLine] = []
    done = 0
    places = locate(patch, old)
    for hunk, at in zip(patch.hunks, places, strict=True):
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
    return Source(patch.new_name or patch.name, tuple(lines)), list(_offsets(patch, places, old))


def _offsets(patch: FilePatch, places: Sequence[int], old: Source) -> Iterator[Remark]:
    for hunk, at in zip(patch.hunks, places, strict=True):
        moved = at - (hunk.first("-") - 1)
        if moved:
            where = "further down" if moved > 0 else "further up"
            yield Remark(f"hunk {hunk.ranges} fits {abs(moved)} {'line' if abs(moved) == 1 else 'lines'} {where} in {old.name} than it says: put at its line {at + 1}", hunk.place)
        if old.lines and not any(line.sign == " " for line in hunk.lines):
            yield Remark(f"hunk {hunk.ranges} has no lines of context: where it belongs in {old.name} is known by its line number alone", hunk.place)


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
    if isinstance(found, tuple):
        return found
    if isinstance(_locate(reverse(patch), old), tuple):
        raise InputError(f"the tree's {patch.name} already contains the patch", place=patch.place, hint="give the tree from before the patch")
    if isinstance(found, _Elsewhere):
        raise InputError(f"hunk {found.hunk.ranges} {found.why}", place=found.hunk.place, hint="give the tree that the patch was made for")
    line, words = _difference(found, old)
    raise InputError(f"hunk {found.hunk.ranges} does not fit the tree's {patch.name}: {words}", place=line.place, hint="give the tree that the patch was made for")


@dataclass(frozen=True, slots=True)
class _Misfit:
    hunk: Hunk
    expected: int


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A hunk that fits, but not in one place that can be told to be the right one."""

    hunk: Hunk
    why: str


def _locate(patch: FilePatch, old: Source) -> tuple[int, ...] | _Misfit | _Elsewhere:
    """Where each hunk fits, or the first one that fits nowhere, or in no place that can be told to be the right one.

    Of several places it is the one where it is announced (moved as far as the hunk above it); but first
    of all one under the heading that the hunk names.
    """
    # Lines become single characters, so that the search is str.find: linear, whatever the text.
    letters: dict[str, str] = {}

    def spelled(text: str) -> str:
        return letters.setdefault(text, chr(len(letters)))

    whole = "".join(spelled(line.text) for line in old.lines)
    headings = _Headings(old)
    places: list[int] = []
    floor = offset = 0
    for hunk in patch.hunks:
        before = "".join(spelled(_text(line)) for line in hunk.side("-"))
        expected = hunk.first("-") - 1 + offset
        if any(line.sign == " " for line in hunk.lines):
            fits = list(_all(whole, before, floor))
        else:  # without context no other place is any better founded
            fits = [expected] if expected >= floor and expected <= len(whole) and whole.startswith(before, expected) else []
        if not fits:
            return _Misfit(hunk, expected)
        named = [at for at in fits if headings.above(at, hunk)]
        if not named and headings.known(hunk) and not _has_its_own(hunk):
            there = headings.text(fits[0])
            return _Elsewhere(hunk, f"fits {old.name} only under `{there}`, and its heading is `{_heading(hunk)}`")
        fits = named or fits
        if expected in fits:
            at = expected
        elif len(fits) == 1:
            at = fits[0]
        else:
            numbers = ", ".join(str(at + 1) for at in fits[:4]) + (", ..." if len(fits) > 4 else "")
            return _Elsewhere(hunk, f"fits {old.name} in {len(fits)} places (from its lines {numbers} on), and not where it is announced")
        places.append(at)
        offset += at - expected
        floor = at + len(before)
    return tuple(places)


def _all(whole: str, part: str, start: int) -> Iterator[int]:
    """Every place of ``part``, the nearest few thousand of them: more decide nothing."""
    for _ in range(_PLACES):
        start = whole.find(part, start)
        if start < 0:
            return
        yield start
        start += 1


class _Headings:
    """What a hunk's heading is at each line of a file: the last line above it that begins with a letter, as diff -p has it."""

    def __init__(self, old: Source) -> None:
        self.last: list[str] = [""]
        for line in old.lines:
            begins = line.text[:1]
            self.last.append(line.text.strip() if begins.isalpha() or begins in ("_", "$") else self.last[-1])

    def text(self, at: int) -> str:
        return self.last[min(at, len(self.last) - 1)]

    def above(self, at: int, hunk: Hunk) -> bool:
        """Whether a hunk at ``at`` stands under the heading that it names."""
        return _same_heading(_heading(hunk), self.text(at))

    def known(self, hunk: Hunk) -> bool:
        """Whether the file has the hunk's heading anywhere."""
        return any(_same_heading(_heading(hunk), text) for text in dict.fromkeys(self.last))


def _heading(hunk: Hunk) -> str:
    return hunk.heading.text.strip() if hunk.heading else ""


def _same_heading(heading: str, line: str) -> bool:
    """Headings are cut off at some width."""
    return bool(heading) and (line.startswith(heading) or (bool(name := function_name(heading.removesuffix("{").rstrip())) and name == function_name(line.removesuffix("{").rstrip())))


def _has_its_own(hunk: Hunk) -> bool:
    """Whether another definition begins in the hunk above what it changes, so that its heading is not what it is about."""
    for line in hunk.lines:
        if line.sign != " ":
            return False
        if line.text[:1].isalpha() or line.text[:1] == "_":
            return True
    return False


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
