"""What a person at a terminal sees: the verdicts, one run in lanes, and how to see more; at most a screen.

Where output is piped, ``tlbcheck.cli`` prints the plain text in full instead.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlbcheck.reliance import unsettled
from tlbcheck.report.answers import in_short, why
from tlbcheck.report.escape import visible
from tlbcheck.report.events import notes, watch
from tlbcheck.report.judge import reproduce
from tlbcheck.report.lanes import Lanes, Row, lanes
from tlbcheck.report.plain import scope_lines
from tlbcheck.report.story import case_lines, render, start_values
from tlbcheck.report.wording import for_ever, sentence
from tlbcheck.result import ModelResult, PropertyResult, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_LANE, _MEMORY, _NUMBER = 30, 20, 6
"""Columns of the screen below which a lane cannot be read."""
_LEAST = 8
"""Lines that a story has even on a very low screen."""
_BETWEEN = 3
"""Empty lines between the parts, and the one with the next prompt."""
_STYLES = {Verdict.VIOLATED: "bold red", Verdict.PROVED: "green", Verdict.BOUNDED: "yellow", Verdict.UNKNOWN: "yellow", Verdict.NOT_APPLICABLE: "dim"}
_NOTES = {"+": "blue", "-": "green", "!": "red"}
_LIFE = {"cached": ("│", "blue"), "stale": ("┃", "red")}


def show(model: ModelResult, *, expect: bool, stories: bool, full: bool) -> None:
    """Print what was found of one model; ``stories``: with a run, ``full``: with all of them, and uncut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((visible(model.name), "bold"), f": {visible(model.title)}"))
    widest = max((len(r.name) for r in model), default=0)
    for r in model:
        for verdict_line in _verdict(r, expect, widest, console.width, full):
            console.print(verdict_line)
    rest = "" if full and not expect else unsettled(model.results)  # else it is among the assumptions
    if rest:
        console.print(Text(f"  {visible(rest)}", style="yellow"))
    runs = [(r, v.told) for r in model for v in r.told]
    if stories and not expect:
        more = visible(_more(model.results, len(runs), full))
        said = sum(_height(len(x), console.width) for x in (f"{model.name}: {model.title}", more, *([rest] if rest else [])))
        said += sum(1 + bool(r.beside) for r in model)
        room = max(_LEAST, console.height - said - _BETWEEN)
        for r, v in runs if full else runs[:1]:
            console.print()
            for part in _story(console, r, v, model.facts, None if full else room):
                console.print(part)
        if full:
            for line in scope_lines(model.results):
                console.print(Text(visible(line), style="dim"))
        console.print()
        console.print(Text(more, style="dim"))


def _height(characters: int, width: int) -> int:
    """Lines of the screen that so many characters take."""
    return max(1, math.ceil(characters / width))


def _verdict(r: PropertyResult, expect: bool, widest: int, width: int, full: bool) -> Iterator[Text]:
    """The verdict on one property, and below it what stands beside it: a line each, or as much as one line holds."""
    from rich.text import Text

    line = Text.assemble(f"  {r.name:<{widest}} ", (f"{r.words:<14} ", _STYLES[r.verdict]), visible(r.reason))
    if expect and r.surprise:
        line.append(f"   UNEXPECTED: {r.surprise}", style="bold red")
    elif not full:
        # The verdict itself is never cut: "proved" is another than "proved (vacuous)".
        line.truncate(max(width, len(f"  {r.name:<{widest}} {r.words}") + 1), overflow="ellipsis")
    yield line
    for note in r.beside if full or expect else ["; ".join(r.beside)] if r.beside else []:
        beside = Text(f"  {'':<{widest}} {visible(note)}", style="yellow")
        if not full:
            beside.truncate(width, overflow="ellipsis")
        yield beside


def _more(results: Sequence[PropertyResult], runs: int, full: bool) -> str:
    others = f"{runs - 1} more violation{'s' if runs > 2 else ''}, " if runs > 1 else ""
    more = "" if full else f"More: {others}scope and assumptions with --full. "
    violated = [r for r in results if r.verdict is Verdict.VIOLATED]
    return f"{more}A page: -o report.html. Reproduce: {reproduce(violated[:1] or results)}"


# -- a run


def _story(console: Console, result: PropertyResult, v: Mapping[str, Any], facts: Mapping[str, Any], room: int | None) -> Iterator[Text | Table]:
    from rich.text import Text

    drawn = lanes(v, facts.get("variables", {}))
    memory = any(r.memory or r.cpu is None for r in drawn.rows)
    wide = console.width >= _NUMBER + _LANE * drawn.cpus + (_MEMORY if memory else 0)
    if not wide or os.environ.get("NO_COLOR"):
        yield Text("\n".join(_cut(_wrapped(visible(render(result.model, result.name, v)), console.width), room)))
        return
    head = [Text.assemble((f"{result.name} ({v['clause']})", "bold"), f": {visible(sentence(v['summary']))}")]
    if room is None:
        head += [Text(visible(line)) for line in (*case_lines(v["case"]), f"Start: {', '.join(f'{n} = {x}' for n, x in start_values(v).items())}")]
    if text := watch(v):
        head.append(Text.assemble(("Watch: ", "bold"), visible(text), "; ", (f"{_LIFE['cached'][0]} cached", _LIFE["cached"][1]), ", ", (f"{_LIFE['stale'][0]} stale", _LIFE["stale"][1])))
    head += [Text(f"{mark} {visible(note)}", style=_NOTES[mark]) for mark, note in notes(0, v)]
    tail = [Text(visible(for_ever(v)))] if v["loop"] is not None else []
    tail += [Text(visible(line)) for line in in_short(v)]
    if room is not None:
        for line in tail:
            line.truncate(console.width, overflow="ellipsis")
    tail += [Text.assemble(("Why: ", "bold"), visible(text))] if (text := why(v)) else []
    yield from head
    place = console.width >= _NUMBER + (_LANE + 12) * drawn.cpus + (_MEMORY if memory else 0)
    whole = _table(console, drawn, memory, None, place=place)
    left = None if room is None else max(room - sum(_height(len(t), console.width) for t in (*head, *tail)), _LEAST // 2)
    fits = left is None or len(console.render_lines(whole)) <= left
    yield whole if fits or left is None else _table(console, drawn, memory, left - 1, place=place)
    yield from tail


def _wrapped(text: str, width: int) -> list[str]:
    """Lines no wider than the screen, what goes on indented below what it belongs to."""
    made = []
    for line in text.splitlines():
        indent = " " * min(len(line) - len(line.lstrip()) + 3, width // 2)
        made += textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False) or [""]
    return made


def _cut(lines: Sequence[str], room: int | None) -> list[str]:
    """The lines that fit: the beginning and, more of it, the end."""
    if room is None or len(lines) <= room:
        return list(lines)
    first = lines[: min(3, room // 3)]
    last = lines[len(lines) - (room - len(first) - 1) :]
    left_out = len(lines) - len(first) - len(last)
    return [*first, f"  ... {left_out} line{'s' if left_out != 1 else ''}, which --full shows", *last]


def _table(console: Console, drawn: Lanes, memory: bool, room: int | None, *, place: bool) -> Table:
    """The run in lanes as wide as the screen; with ``room``, cut to as many lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    left = console.width - (_NUMBER - 3) - 2 * (drawn.cpus + memory)
    lane = 3 * left // (3 * drawn.cpus + 2 * memory)
    table.add_column("#", justify="right", width=_NUMBER - 3)
    for cpu in range(drawn.cpus):
        table.add_column(f"CPU{cpu}", width=lane)
    if memory:
        table.add_column("memory", width=left - lane * drawn.cpus)

    def lines(text: Text, width: int) -> list[Text]:
        return list(text.wrap(console, width, no_wrap=room is not None, overflow="fold" if room is None else "ellipsis"))

    for part in _chosen(drawn.rows, room):
        if isinstance(part, int):
            table.add_row("", Text(f"... {part} step{'s' if part > 1 else ''}", style="dim"))
            continue
        told = [[line for text in (_cell(part, place) if part.cpu == cpu else ()) for line in lines(text, lane - 2)] for cpu in range(drawn.cpus)]
        beside = Text(visible("; ".join([*([f"{part.actor} {part.text}"] if part.cpu is None else []), *part.memory])), style="dim")
        noted = lines(beside, left - lane * drawn.cpus) if memory else []
        height = max(len(noted), *map(len, told), 1)
        cells = [_beside_life(part, cpu, [*some, *[Text()] * (height - len(some))]) for cpu, some in enumerate(told)]
        table.add_row(Text(str(part.number), style="bold red" if part.last else ""), *cells, *([Text("\n").join(noted)] if memory else []))
    return table


def _cell(row: Row, place: bool) -> list[Text]:
    """What a step does, and below what happens to the watched entry in it."""
    from rich.text import Text

    level = "" if row.level == "task" else f"[{row.level}] "
    step = Text.assemble((visible(f"{level}{row.actor} "), "bold"), visible(row.text))
    if place and row.place:
        step.append(visible(f"  {row.place}"), style="dim")
    return [step, *(Text(f"{sign} {visible(text)}", style=_NOTES[sign]) for sign, text in row.notes)]


def _beside_life(row: Row, cpu: int, lines: Sequence[Text]) -> Text:
    """The lines of a cell, each beside the mark of the entry's life on that CPU, which so runs through the row."""
    from rich.text import Text

    mark, style = _LIFE.get(row.life.get(cpu, ""), (" ", ""))
    return Text("\n").join([Text.assemble((mark, style), " ", line) for line in lines])


def _chosen(rows: Sequence[Row], room: int | None) -> list[Row | int]:
    """The rows that fit, and in place of others how many they are: what happens to the entry and the end come first."""
    cost = [1 + len(r.notes) for r in rows]
    if room is None or sum(cost) <= room:
        return list(rows)
    order = [len(rows) - 1, *(i for i, r in enumerate(rows) if r.notes), 0, *range(len(rows) - 2, 0, -1)]
    kept: set[int] = set()

    def lines(some: set[int]) -> int:
        gaps = sum(1 for i in range(len(rows)) if i not in some and (i == 0 or i - 1 in some))
        return sum(cost[i] for i in some) + gaps

    for i in order:
        if lines(kept | {i}) <= room:
            kept.add(i)
    made: list[Row | int] = []
    for i, r in enumerate(rows):
        if i in kept:
            made.append(r)
        elif made and isinstance(made[-1], int):
            made[-1] += 1
        else:
            made.append(1)
    return made
