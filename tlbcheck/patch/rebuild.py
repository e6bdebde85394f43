"""A C file's functions from the hunks of a mail alone, before and after the patch.

What stands between two hunks was not in the mail. A function is put together around such a gap only
where nothing speaks against it: the heading of the hunk names the function, the gap lies between
two statements, and the lines after it are indented as their nesting says. Otherwise the function is
left out and a problem says why. Every gap is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Gap, Source, SourceLine

from .diff import FilePatch, Hunk
from .lexical import CodeLine, Lexer, Nesting, begins_anew, function_name, functions, starts_in_comment

_TREE = "give the tree (--tree DIR)"
_HIDDEN = (
    "assumed free of TLB effects, and that nothing returns or jumps there, no variable that the shown lines use gets a value, "
    "and no block, loop or condition (#if too) begins or ends"
)
"""What is assumed of a function's lines that are not in the mail."""
_OUTSIDE = "assumed to define nothing that the function uses, and to begin or end no #if around it"
_TAB = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the hunks touch and that could not be put together of them."""

    function: str
    error: InputError


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A side is None where the file does not exist on it. A problem is told once, for the side on which it was met first."""

    before: Source | None
    after: Source | None
    problems: tuple[Problem, ...] = ()


def rebuild(patch: FilePatch) -> Rebuilt:
    """What the hunks show of the file, with a gap wherever lines were not in the mail."""
    problems: dict[str, Problem] = {}
    sides: list[Source | None] = []
    for sign, name in (("-", patch.old_name), ("+", patch.new_name)):
        if name is None:
            sides.append(None)
            continue
        builder = _Builder(patch, sign, name)
        sides.append(builder.build())
        for problem in builder.problems:
            problems.setdefault(problem.function or str(problem.error), problem)
    return Rebuilt(sides[0], sides[1], tuple(problems.values()))


def touched(before: Source | None, after: Source | None) -> tuple[str, ...]:
    """The names of the functions that differ, in the order of the file after, then of those that are gone."""
    old, new = _bodies(before), _bodies(after)
    return tuple(name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name))


def _bodies(source: Source | None) -> dict[str, list[list[str]]]:
    lines = [line.text for line in source.lines] if source else []
    bodies: dict[str, list[list[str]]] = {}
    for function in functions(lines):
        bodies.setdefault(function.name, []).append(lines[function.first : function.last + 1])
    return bodies


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of one side; ``changed`` if the patch changes it or what stands right beside it.

    ``instead`` are the lines of the other side that an added or removed one stands beside.
    """

    source: SourceLine
    code: CodeLine
    changed: bool
    instead: tuple[str, ...] = ()


@dataclass
class _Unit:
    """A function, or another definition in braces, that is being put together."""

    name: str
    """Empty for what is no function."""
    head: tuple[str, ...]
    """The lines up to the body, as both sides have them: a hunk's heading is of the old one."""
    nesting: Nesting = field(default_factory=Nesting)
    lines: list[SourceLine] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    changed: bool = False
    whole: bool = True
    """No gap in it."""
    broken: InputError | None = None
    last_code: str = ";"
    after_gap: bool = False
    """No statement was read since the last gap."""
    indents: dict[int, int] = field(default_factory=dict)
    """How far the last statement at each depth of braces was indented."""

    def break_off(self, message: str, place: Place) -> None:
        self.broken = self.broken or InputError(f"{self.name or 'what the hunk stands in'} cannot be put together of the hunks: {message}", place=place, hint=_TREE)

    def headed(self, heading: str) -> bool:
        """Whether ``heading`` is that of a hunk inside this."""
        return any(line.strip().startswith(heading) for line in self.head) or (bool(self.name) and function_name(heading.removesuffix("{").rstrip()) == self.name)

    @property
    def at_statement(self) -> bool:
        """Whether the next line begins a statement."""
        return self.last_code[-1] in ";{}:" and self.nesting.parens == 0


class _Builder:
    """One side of one file."""

    def __init__(self, patch: FilePatch, sign: str, name: str) -> None:
        self.patch, self.sign, self.name = patch, sign, name
        self.word = "old" if sign == "-" else "new"
        self.step = _indentation(patch)
        self.lexer = Lexer()
        self.out: list[SourceLine] = []
        self.gaps: list[Gap] = []
        self.problems: list[Problem] = []
        self.unit: _Unit | None = None
        self.head: list[_Line] = []
        """A declaration outside braces that has not ended."""
        self.directive: list[_Line] = []
        """A directive that goes on in the next line."""
        self.lost = False
        """What comes belongs to a declaration that began outside the mail."""
        self.breaks: list[int] = []
        """Where in ``out`` lines outside functions are missing."""

    def build(self) -> Source:
        reached = 1
        for hunk in self.patch.hunks:
            if hunk.damage:
                if self.unit:
                    self.unit.break_off("the hunk here is damaged", hunk.place)
                self._leave(hunk.place, reached)
                name = function_name(_heading(hunk))
                self.problems.append(Problem(name, InputError(hunk.damage.text, place=hunk.damage.place, hint=_TREE)))
                self._gap(hunk.place, f"the damaged hunk {hunk.ranges} is left out: {_OUTSIDE}")
                reached = max(reached, hunk.first(self.sign) + (hunk.old_count if self.sign == "-" else hunk.new_count))
                continue
            missing = hunk.first(self.sign) - reached
            if missing > 0:
                self._cut_off()
                self.lexer = Lexer(comment=starts_in_comment(line.text for line in hunk.side(self.sign)))
            reopened = missing > 0 and self.lexer.comment
            lines = self._lines(hunk)
            if missing > 0:
                lines = self._over_gap(hunk, lines, reached, missing)
            if reopened and lines:
                self._emit(SourceLine("/*", lines[0].source.place))
            for line in lines:
                self._take(line)
            reached = hunk.first(self.sign) + len(hunk.side(self.sign))
        self._cut_off()
        last = next((line.place for hunk in reversed(self.patch.hunks) for line in hunk.lines[-1:]), self.patch.place)
        self._leave(last, reached)
        if self.patch.old_name is not None and self.patch.new_name is not None:
            self._gap(last, f"{self.word} lines from {reached} on, if there are any, are not in the mail: {_OUTSIDE}")
        self._match_conditions()
        return Source(self.name, tuple(self.out), tuple(self.gaps))

    def _lines(self, hunk: Hunk) -> list[_Line]:
        other = "+" if self.sign == "-" else "-"
        signs = ["", *(line.sign for line in hunk.lines), ""]
        made: list[_Line] = []
        for is_context, group in groupby(enumerate(hunk.lines), lambda one: one[1].sign == " "):
            block = list(group)
            instead = () if is_context else tuple(line.text for _, line in block if line.sign == other)
            for i, line in block:
                if line.sign != other:
                    changed = line.sign == self.sign or other in (signs[i], signs[i + 2])
                    made.append(_Line(SourceLine(line.text, line.place), self.lexer.read(line.text), changed, instead))
        return made

    # Gaps

    def _gap(self, place: Place, text: str) -> None:
        self.breaks.append(len(self.out))
        self.gaps.append(Gap(len(self.out), text, place))

    def _cut_off(self) -> None:
        """A stretch of lines ends: what it leaves open in a comment or a directive ends with it."""
        if self.directive:
            line = self.directive[0]
            words = " ".join(line.source.text.split()[:2]).removesuffix("\\")
            if self.unit:
                self.unit.break_off(f"{words} in it goes on outside the mail", line.source.place)
            elif any(part.changed for part in self.directive):
                self.problems.append(Problem("", InputError(f"the end of {words} is not in the mail, so it is left out", place=line.source.place, hint=_TREE)))
            self.directive = []
        elif self.lexer.comment:
            lines = self.unit.lines if self.unit else self.out
            if lines:
                self._emit(SourceLine("*/", lines[-1].place))

    def _over_gap(self, hunk: Hunk, lines: list[_Line], reached: int, missing: int) -> list[_Line]:
        """Go on behind lines that are not in the mail; the lines of the hunk that can be used."""
        first = hunk.first(self.sign)
        said = f"{self.word} lines {reached}..{first - 1}: {missing} {'line' if missing == 1 else 'lines'}"
        verb = "is" if missing == 1 else "are"
        lines = self._without_macros_rest(lines)
        where = _where([line.code for line in lines])
        heading = _heading(hunk)
        unit = self.unit
        if unit and heading and where in ("inside", "unknown") and unit.headed(heading):
            if not unit.at_statement:
                unit.break_off("lines are missing in the middle of a statement", hunk.place)
            if unit.nesting.conditions:
                unit.break_off("the #endif of a condition in it may be among lines that are missing", hunk.place)
            if unit.nesting.braces > 1:
                unit.break_off("lines are missing inside a block, where another branch may begin", hunk.place)
            unit.gaps.append(Gap(len(unit.lines), f"{said} between two hunks of {unit.name or heading} {verb} not in the mail: {_HIDDEN}", hunk.place))
            unit.whole, unit.after_gap = False, True
            return lines
        self._leave(hunk.place, reached)
        self._gap(hunk.place, f"{said} {'above the first hunk' if reached == 1 else 'between two hunks'} {verb} not in the mail: {_OUTSIDE}")
        has_code = any(line.code.code.strip() for line in lines)
        self.lost = where == "outside"
        if where == "outside" or (where == "unknown" and not has_code):
            return lines
        self._enter(hunk, where, heading)
        return lines

    def _enter(self, hunk: Hunk, where: str, heading: str) -> None:
        """The hunk stands in the body of what its heading names, or right above it."""
        place = hunk.heading.place if hunk.heading else hunk.place
        head = heading.removesuffix("{").rstrip()
        name = function_name(head)
        unit = _Unit(name or _first_name(head), (heading,))
        unit.lines.append(SourceLine(head, place))
        if not heading:
            unit.break_off("the hunk has no heading that names its function", hunk.place)
        elif not name or where == "head":
            unit.break_off(f"the heading `{heading}` does not show its whole head" if unit.name else f"the heading `{heading}` is no function's head", place)
        elif not head[: head.index(name)].strip():
            unit.break_off(f"the heading `{heading}` does not show what type it returns", place)
        if where in ("body", "head"):
            unit.last_code = head[-1:] or ";"
        else:
            unit.lines.append(SourceLine("{", place))
            unseen = f"the beginning of {unit.name or 'the body'} (up to {self.word} line {hunk.first(self.sign) - 1})"
            unit.gaps.append(Gap(len(unit.lines), f"{unseen} is not in the mail: {_HIDDEN}", hunk.place))
            unit.nesting.braces, unit.whole, unit.after_gap = 1, False, True
        self.unit = unit

    def _without_macros_rest(self, lines: list[_Line]) -> list[_Line]:
        """The lines without the end of a macro that began outside the mail."""
        count = 0
        while count < len(lines) and not lines[count].code.directive and lines[count].source.text.rstrip().endswith("\\"):
            count += 1
        if not count:
            return lines
        if any(line.changed for line in lines[: count + 1]):
            self.problems.append(Problem("", InputError("the beginning of a macro is not in the mail, so it is left out", place=lines[0].source.place, hint=_TREE)))
        return lines[count + 1 :]

    def _leave(self, place: Place, reached: int) -> None:
        """No more lines of what is being read are in the mail."""
        if self.head:
            name = function_name(" ".join(line.code.code for line in self.head))
            if any(line.changed for line in self.head) and name:
                error = InputError(f"{name} cannot be put together of the hunks: its body is not in the mail", place=self.head[0].source.place, hint=_TREE)
                self.problems.append(Problem(name, error))
            self.head = []
        unit = self.unit
        if not unit:
            return
        last = unit.lines[-1].place
        if unit.nesting.parens > 0 or (unit.last_code[-1] not in ";{}:)" and not unit.last_code.endswith("else")):
            unit.break_off("the mail ends in the middle of a statement", last)
        unit.gaps.append(Gap(len(unit.lines), f"the end of {unit.name} ({self.word} lines from {reached} on) is not in the mail: {_HIDDEN}", last, unit.name))
        if not unit.at_statement or unit.last_code.endswith(":"):
            unit.lines.append(SourceLine(";", last))
        unit.lines.extend([SourceLine("#endif", last)] * unit.nesting.conditions)
        unit.lines.extend([SourceLine("}", last)] * unit.nesting.braces)
        unit.whole = False
        self._finish(unit)

    # Lines

    def _emit(self, line: SourceLine) -> None:
        if self.unit:
            self.unit.lines.append(line)
        else:
            self.out.append(line)

    def _take(self, line: _Line) -> None:
        if line.code.directive:
            self.directive.append(line)
            if not line.code.continued:
                group, self.directive = self.directive, []
                self._take_directive(group)
        elif self.unit:
            self._in_unit(self.unit, line)
        else:
            self._outside(line)

    def _take_directive(self, group: list[_Line]) -> None:
        if self.unit:
            if not self.unit.nesting.read(group[0].code):
                self.unit.break_off(f"the #if of this #{group[0].code.directive} is not in the mail", group[0].source.place)
            self.unit.changed = self.unit.changed or any(line.changed for line in group)
            self.unit.lines.extend(line.source for line in group)
        elif self.head:
            self.head.extend(group)
        else:
            self.lost = False
            self.out.extend(line.source for line in group)

    def _outside(self, line: _Line) -> None:
        code = line.code.code
        if not code.strip():
            if self.head:
                self.head.append(line)
            else:
                self.out.append(line.source)
            return
        if self.lost and not (code[0].isalpha() or code[0] == "_"):
            return
        self.lost = False
        said = " ".join(part.code.code for part in self.head)
        if self.head and begins_anew(said, code):
            self.out.extend(part.source for part in self.head)
            self.head, said = [], ""
        self.head.append(line)
        opening = code.find("{")
        if opening >= 0:
            signature = f"{said} {code[:opening]}"
            unit = _Unit(function_name(signature), tuple(text for part in self.head for text in (part.source.text, *part.instead)), changed=any(part.changed for part in self.head))
            unit.lines.extend(part.source for part in self.head[:-1])
            self.head, self.unit = [], unit
            self._in_unit(unit, line)
        elif code.rstrip().endswith(";"):
            self.out.extend(part.source for part in self.head)
            self.head = []

    def _in_unit(self, unit: _Unit, line: _Line) -> None:
        code, place = line.code, line.source.place
        unit.lines.append(line.source)
        unit.changed = unit.changed or line.changed
        stripped = code.code.strip()
        if not stripped:
            return
        closes_at_margin = code.code.startswith("}")
        depth, begins = unit.nesting.braces, unit.at_statement
        unit.nesting.read(code)
        if unit.after_gap:
            self._judge_gap(unit, line, depth)
        elif begins and not code.is_label and not stripped.startswith("}"):
            unit.indents[depth] = code.indent
        unit.last_code = stripped
        if unit.nesting.parens < 0:
            unit.break_off("an expression begins outside the mail", place)
        if not unit.whole and closes_at_margin and unit.nesting.braces > 0:
            unit.break_off("a block that begins in it ends outside the mail", place)
        if not unit.whole and unit.nesting.braces <= 0 and not closes_at_margin:
            unit.break_off("a block that ends here begins outside the mail", place)
        if closes_at_margin if unit.broken else unit.nesting.braces <= 0 < max(depth, stripped.count("{")):
            self._finish(unit)

    def _judge_gap(self, unit: _Unit, line: _Line, depth: int) -> None:
        """The first statement behind a gap has to stand where its nesting says, or a block began or ended unseen."""
        code = line.code
        stripped = code.code.strip()
        if code.is_label:
            return
        unit.after_gap = False
        if stripped.startswith("}"):
            depth -= 1
        expected = unit.indents.get(depth, depth * self.step)
        if stripped.startswith("{"):
            unit.break_off("what the block belongs to that begins here (an if, a loop) may be among lines that are missing", line.source.place)
        elif depth >= 0 and code.indent != expected:
            what = "hangs on a condition or stands in a block" if code.indent > expected else "stands behind the end of a block"
            unit.break_off(f"this line is indented by {code.indent} columns where {expected} were expected: it {what} that is not in the mail", line.source.place)
        elif stripped.startswith("else"):
            unit.break_off("the if of this else is not in the mail", line.source.place)
        elif not stripped.startswith("}"):
            unit.indents[depth] = code.indent

    def _finish(self, unit: _Unit) -> None:
        self.unit = None
        place = unit.lines[0].place
        name = unit.name or unit.head[0].strip() or "a definition"
        if unit.broken:
            if unit.changed:
                self.problems.append(Problem(unit.name, unit.broken))
            self._gap(place, f"{name} is left out: the hunks do not show enough of it")
        elif not unit.whole and not (unit.changed and unit.name):
            if unit.changed:
                self.problems.append(Problem("", InputError(f"`{name}` is left out: the hunks do not show all of it", place=place, hint=_TREE)))
            self._gap(place, f"what the hunks show of {name} is left out")
        else:
            self.gaps.extend(replace(gap, before=len(self.out) + gap.before) for gap in unit.gaps)
            self.out.extend(unit.lines)

    def _match_conditions(self) -> None:
        """Give every ``#if`` outside functions its ``#endif``, and tell what is assumed where one of them is not in the mail."""
        lexer = Lexer()
        pending: list[int] = []
        pairs: list[tuple[int, int]] = []
        continued = False
        for i, line in enumerate(self.out):
            code = lexer.read(line.text)
            named, continued = "" if continued else code.directive, code.continued
            if named in ("if", "ifdef", "ifndef"):
                pending.append(i)
            elif named in ("else", "elif", "endif") and not pending:
                self.gaps.append(Gap(i, f"the #if of this #{named} is not in the mail: it is left out", line.place))
                self.out[i] = SourceLine("", line.place)
            elif named == "endif":
                start = pending.pop()
                pairs.append((start, i))
                if any(start < at <= i for at in self.breaks):
                    self.gaps.append(Gap(i, f"this #endif is taken for that of mail line {self.out[start].place.line}, though lines between them are not in the mail", line.place))
        ends: dict[int, list[SourceLine]] = {}
        for start in reversed(pending):
            # Never inside a pair that begins behind it.
            spans = [(first, last) for first, last in pairs if first > start]
            end = next((at for at in self.breaks if at > start and not any(first < at <= last for first, last in spans)), len(self.out))
            self.gaps.append(Gap(end, "the #endif of this condition is not in the mail: assumed to stand among the lines missing next", self.out[start].place))
            ends.setdefault(end, []).append(SourceLine("#endif", self.out[end - 1].place))
        moved = {at: sum(len(lines) for end, lines in ends.items() if end <= at) for at in {gap.before for gap in self.gaps}}
        self.gaps = sorted((replace(gap, before=gap.before + moved[gap.before]) for gap in self.gaps), key=lambda gap: gap.before)
        self.out = [line for i in range(len(self.out) + 1) for line in [*ends.get(i, []), *self.out[i : i + 1]]]


def _heading(hunk: Hunk) -> str:
    return hunk.heading.text.strip() if hunk.heading else ""


def _first_name(head: str) -> str:
    """The function that an unfinished head seems to name."""
    return function_name(head[: head.find("(") + 1] + ")") if "(" in head else ""


def _where(lines: Sequence[CodeLine]) -> str:
    """Where a stretch of lines begins: "inside" a body, above a "body" or in the "head" before it, "outside", or "unknown".

    By the margin: bodies are closed there, and nothing in them but labels begins there.
    """
    seen = False
    for line in lines:
        code = line.code
        if not code.strip():
            continue
        if code[0] == "}":
            return "inside"
        if code[0] == "{":
            return "head" if seen else "body"
        if (code[0].isalpha() or code[0] == "_") and not line.is_label:
            return "outside"
        seen = True
    return "unknown"


def _indentation(patch: FilePatch) -> int:
    """The columns of one level in this file: a tab, or the least number of spaces that a line of it is indented by, comments apart, but four at most.

    Hunks may show nothing but the inside of a block, which must not pass for the first level.
    """
    code = [line.text for hunk in patch.hunks for line in hunk.lines if line.text.strip() and not line.text.strip().startswith(("*", "#"))]
    spaces = [len(text) - len(text.lstrip()) for text in code if text.startswith("  ")]
    if sum(text.startswith("\t") for text in code) > len(spaces):
        return _TAB
    return min([*spaces, 4])
