"""A counterexample in prose: what was so at the start, who did what, and why that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlbcheck.report.events import notes, watch
from tlbcheck.report.story import start_values
from tlbcheck.report.wording import what


def paragraphs(v: Mapping[str, Any], clause: str) -> list[str]:
    """The story of a violation; ``clause`` is the sentence of the property that it breaks."""
    return [_opening(v), *_acts(v), _ending(v, clause)]


def _opening(v: Mapping[str, Any]) -> str:
    start = _listed([f"{n} is {x}" for n, x in start_values(v).items()])
    text = f"At the start {start}." if start else "The run starts."
    if entry := watch(v):
        text += f" Watch {entry}."
    return " ".join([text, *(told[0].upper() + told[1:] + "." for _, told in notes(0, v))])


def _acts(v: Mapping[str, Any]) -> Iterator[str]:
    """A paragraph for each stretch of steps by the same procedure on the same CPU."""
    numbered = list(enumerate(v["steps"], 1))
    for (cpu, level, actor), steps in itertools.groupby(numbered, key=lambda x: (x[1]["cpu"], x[1]["level"], x[1]["actor"])):
        sentences: list[str] = []
        doing: list[str] = []
        for i, s in steps:
            doing.append(f"{what(s)} ({_where(s)}step {i})")
            told = notes(i, v)
            if told:
                sentences += [_clause(doing), *(text[0].upper() + text[1:] + "." for _, text in told)]
                doing = []
        if doing:
            sentences.append(_clause(doing))
        who = "The environment" if cpu is None else f"CPU{cpu}"
        how = {"task": "", "irq": " in an interrupt", "nmi": " in an NMI", "mc": " in a machine check"}.get(level, f" at level {level}")
        yield f"{who} runs {actor}{how}. {' '.join(sentences)}"


def _where(s: Mapping[str, Any]) -> str:
    return f"line {s['source'][0]['line']}, " if s["source"] else ""


def _clause(doing: Sequence[str]) -> str:
    return f"It {_listed(doing)}." if not doing[0][0].isupper() else f"{_listed(doing)}."


def _ending(v: Mapping[str, Any], clause: str) -> str:
    loop = "" if v["loop"] is None else " Nothing can go on from here." if v["loop"] == v["depth"] else f" From step {v['loop'] + 1} on this repeats for ever."
    last = f" That is step {v['depth']}." if v["depth"] else ""
    return f"Now {clause or v['summary']}.{last}{loop}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
