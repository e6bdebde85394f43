"""The lines of one hunk: where it ends, which lines a mailer wrapped, and whether it is whole.

The header's counts are the judge. Text that somebody wrote between quoted lines stands at a lower
quote level and is no part of the hunk; a footer comes after the counts are met; and a line that a
mailer broke in two is put together where that, and nothing else as simple, makes the counts come out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tlbcheck.lang.source import SourceLine

from .diff import Hunk, HunkLine, Remark
from .quoting import Level, unquoted

HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: (.*))?$")
COMBINED = re.compile(r"@@@+ -\d|diff --(?:cc|combined) ")
FILE = "diff --git"

_NO_NEWLINE = "\\ "
_ODD_SPACES = frozenset("\u00a0\u2007\u202f")
_NO_BREAK = "a mail program put no-break spaces in the place of spaces"
_WIDTH = 60
"""No mailer wraps lines that are shorter than this."""
_READINGS = 200_000
"""So many partial readings of one hunk are kept at most."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A line at the hunk's quote level; ``whole`` has its marks, and ``interrupted`` says that a comment stands above it."""

    line: SourceLine
    whole: str
    index: int
    interrupted: bool


def read_hunk(lines: Sequence[SourceLine], at: int, level: Level, header: SourceLine) -> tuple[Hunk, int]:
    """The hunk whose header is ``lines[at]`` (``header`` without quote marks), and the index of the line after it."""
    match = HUNK.match(header.text)
    assert match is not None
    old, new = (int(n) if n is not None else 1 for n in (match[2], match[4]))
    heading = SourceLine(match[5], replace(header.place, column=header.place.column + match.start(5))) if match[5] else None
    hunk = Hunk(int(match[1]), old, int(match[3]), new, header.place, heading)
    above = _Candidate(header, lines[at].text, at, False)
    plain = _plain(lines, above, level, old, new)
    if plain is not None and (follows := _left_over(lines, level, [above, *plain])) != "structure":  # git puts no empty line between hunks
        return _built(hunk, [above, *plain], ["heading", *("real" for _ in plain)], lines, may_go_on=follows == "footer")
    found = list(_candidates(lines, at + 1, level, 2 * (old + new) + 50))
    roles = _fit([above, *found], level, old, new) if plain is None else ""
    if isinstance(roles, list):
        chosen = [above, *found[: len(roles) - 1]]
        if (follows := _left_over(lines, level, chosen)) != "structure":
            return _built(hunk, chosen, roles, lines, may_go_on=follows == "footer")
        roles = ""
    end = at + 1
    while end < len(lines) and not is_structure(unquoted(lines[end])[1].text):
        end += 1
    shown, seen_old, seen_new = [], 0, 0
    for candidate in found:
        sign, text = _signed(candidate.line)
        if sign and sign != "\\" and seen_old + (sign != "+") <= old and seen_new + (sign != "-") <= new:
            seen_old, seen_new = seen_old + (sign != "+"), seen_new + (sign != "-")
            shown.append(HunkLine(sign, text.text, text.place))
    counts = f"{old} old and {new} new lines are announced, {seen_old} and {seen_new} can be told apart in the mail"
    reason = roles or f"{_damage([above, *found])}{counts}"
    return replace(hunk, lines=tuple(shown), damage=Remark(f"hunk {hunk.ranges} is damaged: {reason}", header.place)), end


def _damage(lines: Sequence[_Candidate]) -> str:
    """What a mail program seems to have done to the lines of a hunk, empty if that cannot be told."""
    if any(_no_break(line.line.text) for line in lines):
        return f"{_NO_BREAK}; "
    last = max((i for i, line in enumerate(lines) if line.line.text[:1] in tuple("+- ") and line.line.text.strip(" -")), default=0)
    if any(not _signed(line.line)[0] and not line.interrupted for line in lines[1:last]):
        return "a mail program broke its lines; "
    return ""


def _no_break(text: str) -> bool:
    """Whether a line is indented by other spaces than C is written with."""
    return any(c in _ODD_SPACES for c in text[: len(text) - len(text.lstrip())])


def is_structure(text: str) -> bool:
    """Whether a line without quote marks begins a hunk or a file: it has no diff sign, so no hunk holds it."""
    return (text.startswith("@@") and (HUNK.match(text) is not None or COMBINED.match(text) is not None)) or text.startswith(FILE) or bool(COMBINED.match(text))


def _candidates(lines: Sequence[SourceLine], start: int, level: Level, most: int) -> Iterator[_Candidate]:
    interrupted, count = False, 0
    for index in range(start, len(lines)):
        below = level.below(lines[index])
        if below is None:
            if is_structure(unquoted(lines[index])[1].text):
                return
            interrupted = True
            continue
        if is_structure(below.text) or count == most:
            return
        yield _Candidate(below, lines[index].text, index, interrupted)
        interrupted = False
        count += 1


def _signed(line: SourceLine) -> tuple[str, SourceLine]:
    """The diff sign and the text after it; no sign for a line that has none."""
    if not line.text:
        return " ", line  # an empty context line whose one space was lost on the way
    if line.text.startswith(_NO_NEWLINE):
        return "\\", line
    if line.text[0] in " +-":
        return line.text[0], SourceLine(line.text[1:], replace(line.place, column=line.place.column + 1))
    if line.text[0] == "\t":
        return " ", line  # likewise
    return "", line


def _plain(lines: Sequence[SourceLine], above: _Candidate, level: Level, old: int, new: int) -> list[_Candidate] | None:
    """The hunk if every line is as the diff had it and the counts come out."""
    body: list[_Candidate] = []
    last = above
    for candidate in _candidates(lines, above.index + 1, level, old + new + sum((old, new)) + 2):
        sign, _ = _signed(candidate.line)
        if sign == "\\":
            if not _is_marker(last, candidate):
                return None
            body.append(candidate)
        elif old == new == 0:
            return body if _may_follow(last, candidate) else None
        elif not sign:
            return None
        else:
            old, new = old - (sign != "+"), new - (sign != "-")
            if old < 0 or new < 0:
                return None
            body.append(candidate)
        last = candidate
    return body if old == new == 0 else None


def _may_follow(last: _Candidate, after: _Candidate) -> bool:
    """Whether ``after`` can be the first line behind a hunk: not if it looks like one more line of it, or the rest of its last one."""
    text = after.line.text
    if after.interrupted or not text.strip() or text.rstrip() == "--" or text.startswith(("--- ", "-- ")):
        return True
    if text[0] in " +-\t":
        return False
    return not _wrapped(last, after) or text.startswith(("diff ", "Index: ", "Only in "))


def _is_marker(last: _Candidate, line: _Candidate) -> bool:
    """Whether a line that begins with a backslash can only say that the file ends without a newline: in English, or where no line was broken."""
    return "newline" in line.line.text or not _wrapped(last, line)


def _wrapped(last: _Candidate, after: _Candidate) -> bool:
    """Whether a mailer may have broken a line between these two: its first word would not have fitted."""
    if after.index != last.index + 1 or not after.line.text.strip():
        return False
    return len(last.whole.expandtabs()) + 1 + len(after.line.text.split(maxsplit=1)[0]) >= _WIDTH


def _left_over(lines: Sequence[SourceLine], level: Level, found: Sequence[_Candidate]) -> str:
    """Whether an empty context line seems left over behind a hunk, by what follows it: "structure", "footer" or "".

    The rest of a line that a mailer broke in a run of spaces looks like a context line of its own.
    """
    after = next(_candidates(lines, found[-1].index + 1, level, 1), None)
    if after is None or after.interrupted or after.line.text.strip() or after.index + 1 >= len(lines):
        return ""
    text = unquoted(lines[after.index + 1])[1].text
    follows = "structure" if is_structure(text) else "footer" if text.rstrip() == "--" else ""
    if not follows:
        return ""
    broken = [(last, line) for last, line in pairwise(found) if _signed(line.line)[0] == " " and _wrapped(last, line)]
    if follows == "footer":  # people put an empty line there themselves; but a mailer would have broken every line of this width
        widest = max(len(line.text) for line in lines if " " in line.text.strip())
        broken = [(last, line) for last, line in broken if widest < len(last.whole.rstrip()) + 1 + len(line.line.text.split(maxsplit=1)[0])]
    return follows if broken else ""


def _fit(found: Sequence[_Candidate], level: Level, old: int, new: int) -> list[str] | str:
    """What each line is ("heading", "real", "rest" of the line above, "stray"), found[0] being the header.

    The simplest reading that the counts allow; a text why there is none, or none that is simplest.
    """
    # Per reading (old lines left, new lines left): what it costs, in how many ways, and how it came here.
    states: dict[tuple[int, int], tuple[int, int]] = {(old, new): (0, 1)}
    steps: list[dict[tuple[int, int], tuple[tuple[int, int], str]]] = [{}]
    best: tuple[int, int, int] | None = None
    work = 0
    for k in range(1, len(found) + 1):
        if (0, 0) in states and (k == len(found) or _ends(found[k - 1], found[k])):
            cost, ways = states[0, 0]
            if best is None or cost < best[0]:
                best = (cost, ways, k)
            elif cost == best[0]:
                best = (cost, best[1] + ways, k)
        if k == len(found):
            break
        after: dict[tuple[int, int], tuple[int, int]] = {}
        how: dict[tuple[int, int], tuple[tuple[int, int], str]] = {}
        beside_comment = found[k].interrupted or (k + 1 < len(found) and found[k + 1].interrupted)
        options = _options(found[k - 1], found[k], level, beside_comment)
        for (left_old, left_new), (cost, ways) in states.items():
            for role, takes_old, takes_new, price in options:
                state = (left_old - takes_old, left_new - takes_new)
                if min(state) < 0:
                    continue
                known = after.get(state)
                if known is None or cost + price < known[0]:
                    after[state], how[state] = (cost + price, ways), ((left_old, left_new), role)
                elif cost + price == known[0]:
                    after[state] = (known[0], known[1] + ways)
        work += len(after)
        if not after or work > _READINGS:
            break
        states = after
        steps.append(how)
    if best is None:
        return ""
    if best[1] > 1:
        return "its lines were wrapped, and more than one way to put them together fits the counts"
    roles: list[str] = []
    state = (0, 0)
    for k in range(best[2] - 1, 0, -1):
        state, role = steps[k][state]
        roles.append(role)
    return ["heading", *reversed(roles)]


def _options(last: _Candidate, line: _Candidate, level: Level, beside_comment: bool) -> list[tuple[str, int, int, int]]:
    """The readings of a line: (role, old lines, new lines, how far-fetched)."""
    sign, text = _signed(line.line)
    if sign == "\\":
        return [("real", 0, 0, 0)] if _is_marker(last, line) else [("real", 0, 0, 0), ("rest", 0, 0, 0)]
    options = []
    if sign:
        options.append(("real", int(sign != "+"), int(sign != "-"), 0))
    # A mailer breaks a line at a space, so hardly any goes on with one. What it moved down may begin with a
    # minus, as in "return -EINVAL"; then most leave the space above it, and no indentation follows.
    kept = last.whole.endswith(" ")
    if sign != " " and _wrapped(last, line) and (not sign or kept or not text.text.startswith("  ")):
        options.append(("rest", 0, 0, (0 if not sign else 1) + (0 if kept else 2)))
    elif sign == " " and _wrapped(last, line):  # broken in a run of spaces
        options.append(("rest", 0, 0, 3))
    if level.depth and not line.line.text and beside_comment:
        options.append(("stray", 0, 0, 4))
    return options


def _ends(last: _Candidate, after: _Candidate) -> bool:
    sign, _ = _signed(after.line)
    return sign != "\\" and _may_follow(last, after)


def _built(hunk: Hunk, found: Sequence[_Candidate], roles: Sequence[str], lines: Sequence[SourceLine], *, may_go_on: bool) -> tuple[Hunk, int]:
    heading = hunk.heading
    built: list[HunkLine] = []
    doubts: list[Remark] = []
    for last, candidate, role in zip(found, found[1:], roles[1:], strict=False):
        sign, text = _signed(candidate.line)
        if _looks_broken(last, candidate, lines):
            doubts.append(Remark("stands alone between quoted lines: taken for a comment, though a mailer may have broken the line above it", lines[last.index + 1].place))
        if role == "rest":
            if built:
                built[-1] = replace(built[-1], text=_joined(built[-1].text, candidate.line.text))
            else:
                heading = SourceLine(_joined(heading.text, candidate.line.text), heading.place) if heading else candidate.line
        elif role == "real" and sign == "\\":
            if built:
                built[-1] = replace(built[-1], newline=False)
        elif role == "real":
            built.append(HunkLine(sign, text.text, text.place))
    rest = next((line for line, role in zip(found, roles, strict=False) if role == "rest" and line is not found[1]), None)
    if rest is not None:
        doubts.append(Remark("is the rest of the line above it, which a mailer broke: if it stood after several spaces, some are lost", rest.line.place))
    odd = next((line for line in built if _no_break(line.text)), None)
    if odd is not None:
        hunk = replace(hunk, damage=Remark(f"hunk {hunk.ranges} is damaged: {_NO_BREAK}", odd.place))
    if may_go_on:
        doubts.append(Remark("an empty line follows the hunk: if a mailer broke a long line of it in a run of spaces, that is its last line and the rest is no line of its own", found[-1].line.place))
    return replace(hunk, heading=heading, lines=tuple(built), doubts=tuple(doubts)), found[-1].index + 1


def _joined(text: str, rest: str) -> str:
    return text + rest if text.endswith(" ") or not text else f"{text} {rest}"


def _looks_broken(last: _Candidate, line: _Candidate, lines: Sequence[SourceLine]) -> bool:
    """One unquoted line with quoted ones right before and after it, where a long line may have been broken."""
    if line.index != last.index + 2:
        return False
    between = lines[last.index + 1].text
    return bool(between.strip()) and len(last.whole.rstrip()) + 1 + len(between.split(maxsplit=1)[0]) >= _WIDTH
