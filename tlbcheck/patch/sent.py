"""What was sent: which patches a text holds, whose they are, and what each of them goes on from.

A mailbox holds versions of a series, replies that quote a patch, replies with a diff of their own,
the same patch inline and attached. Each patch is taken for what its sender sent: by itself, or on
top of the patches that come before it in its series.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .diff import FilePatch, Hunk, Patch, Remark

_REPLY = re.compile(r"\s*(?:re|aw|sv)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)

Fits = Callable[[Patch, Sequence[Patch]], bool]
"""Whether a patch can be put onto the tree after others."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A patch and, in their order, the ``base``: those that its sender had put onto the code before."""

    patch: Patch
    base: tuple[Patch, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: the subject and whose it is."""
        p = self.patch
        words = [p.subject or p.commit[:12] or "a patch without a subject"]
        if p.author:
            words.append(f"by {p.author}")
        if p.quoted:
            words.append(f"as quoted by {p.quoted_by}" if p.quoted_by else "as quoted")
        elif is_reply(p):
            words.append("in a reply")
        return ", ".join(words)


def is_reply(patch: Patch) -> bool:
    """Whether somebody who answers another patch sends this one along."""
    return not patch.quoted and not patch.commit and bool(_REPLY.match(patch.subject))


def sent(patches: Sequence[Patch], fits: Fits) -> tuple[list[Sent], list[Remark]]:
    """Every patch once, those of a series in its order; and what is left out, with the reason.

    ``fits`` decides what a patch goes on from where its subject does not say it.
    """
    kept: list[Patch] = []
    remarks: list[Remark] = []
    for i, patch in enumerate(patches):
        if not patch.files:
            remarks += patch.remarks
        elif (again := next((p for j, p in enumerate(patches) if j != i and _repeats(patch, p, later=j < i)), None)) is not None:
            how = f"quotes the patch by {again.author}" if patch.quoted and again.author else "is the same patch again"
            remarks.append(Remark(f"{how}: judged once, where mail line {again.files[0].place.line} has it", patch.files[0].place))
        else:
            kept.append(patch)
    ordered = _ordered(kept)
    made = []
    for i, patch in enumerate(ordered):
        bases = list(_bases(patch, ordered[:i], ordered[i + 1 :]))
        made.append(Sent(patch, next((b for b in bases if fits(patch, b)), bases[0])))
    return made, remarks


def _repeats(patch: Patch, other: Patch, *, later: bool) -> bool:
    """Whether ``patch`` holds nothing that ``other`` has not, and ``other`` is the one to keep.

    A quotation may leave hunks out; anything else is the same patch only if it is so as a whole.
    """
    if not other.files:
        return False
    mine, theirs = set(_hunks(patch)), set(_hunks(other))
    if not mine or not mine <= theirs:
        return False
    if mine < theirs:
        return patch.quoted
    return patch.quoted if patch.quoted != other.quoted else later


def _hunks(patch: Patch) -> Iterator[tuple[object, ...]]:
    for file in patch.files:
        yield from (_content(file, hunk) for hunk in file.hunks)


def _content(file: FilePatch, hunk: Hunk) -> tuple[object, ...]:
    lines = tuple((line.sign, line.text.removesuffix("\r").rstrip()) for line in hunk.lines)
    return file.old_name, file.new_name, hunk.old_start, hunk.new_start, None if hunk.damage else lines


def _ordered(patches: Sequence[Patch]) -> list[Patch]:
    """The patches of each series in its order, at the place of the first one that is there."""
    groups: list[list[Patch]] = []
    for patch in patches:
        group = next((g for g in groups if _numbered(patch) and _same_series(g[0], patch) and all(p.series != patch.series for p in g)), None)
        if group is not None:
            group.append(patch)
        else:
            groups.append([patch])
    return [p for g in groups for p in sorted(g, key=_number)]


def _numbered(patch: Patch) -> bool:
    return patch.series is not None and not is_reply(patch)


def _number(patch: Patch) -> int:
    return patch.series[0] if patch.series is not None else 0


def _same_series(one: Patch, other: Patch) -> bool:
    return _numbered(one) and one.series is not None and other.series is not None and (one.series[1], one.version) == (other.series[1], other.version)


def _bases(patch: Patch, before: Sequence[Patch], after: Sequence[Patch]) -> Iterator[tuple[Patch, ...]]:
    """What ``patch`` may go on from, the likeliest first."""
    if _numbered(patch):
        yield tuple(p for p in before if _numbered(p) and _same_series(p, patch) and _number(p) < _number(patch))
    elif patch.commit:
        commits = [[p for p in side if p.commit] for side in (before, after)]
        yield tuple(reversed(commits[1]))  # git log tells the latest first
        yield tuple(commits[0])
    yield ()
    if is_reply(patch):
        yield tuple(before[-1:])  # what it answers
    elif not _numbered(patch) and not patch.commit:
        yield tuple(p for p in before if not is_reply(p))
