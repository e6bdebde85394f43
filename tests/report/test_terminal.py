"""At a terminal: lanes where the width allows, a screen at most, everything with --full; plain text otherwise."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from rich.console import Console

from tlbcheck.report import terminal
from tlbcheck.report.caches import points
from tlbcheck.report.html import build
from tlbcheck.report.lanes import lanes
from tlbcheck.report.prose import paragraphs
from tlbcheck.report.schema import run_of

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
_NUMBER = re.compile(r"^ {0,2}(\d{1,3})  [ │┃]", re.MULTILINE)
_STEERING = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def at_terminal(*args: str, rows: int = 30, columns: int = 100, **environment: str) -> list[str]:
    """The lines that the command prints on a terminal of that size, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")} | {"TERM": "xterm-256color"} | environment
    with subprocess.Popen([sys.executable, "-m", "tlbcheck.cli", *args], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, cwd=EXAMPLE, env=env) as process:
        os.close(theirs)
        read = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            read += part
        process.wait(60)
    os.close(ours)
    return _STEERING.sub("", read.decode()).replace("\r\n", "\n").splitlines()


ASKED = ("verify", "mine/remap@forgotten", "--engine", "explicit")


def test_lanes_on_a_wide_terminal() -> None:
    lines = at_terminal(*ASKED)
    head = next(line for line in lines if "CPU0" in line)
    assert "memory" in head
    assert any("┃ ! the watched entry is stale" in line for line in lines)
    assert any("pte := " in line for line in lines)
    assert len(lines) < 30
    assert lines[-1].startswith("More: ")
    assert "Reproduce: tlbcheck verify mine/remap@forgotten -p fresh-use" in " ".join(lines)


def test_plain_text_where_it_is_narrow_or_without_colour() -> None:
    for lines in (at_terminal(*ASKED, columns=40), at_terminal(*ASKED, NO_COLOR="1")):
        assert not any("│" in line or "┃" in line for line in lines)
        assert any(line.startswith("    2. CPU0 task") for line in lines)


def test_twenty_columns_show_a_run() -> None:
    lines = at_terminal(*ASKED, columns=20, rows=60)
    text = "".join(lines)
    assert "VIOLATED" in text and "proved (vacuous)" not in text and "proved" in text
    assert any(re.match(r" +\d\. CPU0", line) for line in lines), lines


def test_a_verdict_is_never_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], long: dict[str, Any]) -> None:
    """However narrow the screen is, the word is whole: a proof that is about nothing must not pass for one."""
    for width in (5, 20, 30):
        printed = _printed(monkeypatch, capsys, long, full=False, height=24, width=width)
        for r in run_of(long)["made/shootdown"].results:
            assert r.words in " ".join(printed.split())


def test_full_has_the_scope() -> None:
    brief, full = at_terminal(*ASKED), at_terminal(*ASKED, "--full")
    assert not any("scope: cpus" in line for line in brief)
    assert any("scope: cpus" in line for line in full)


def test_piped_output_is_the_plain_story() -> None:
    done = subprocess.run([sys.executable, "-m", "tlbcheck.cli", *ASKED], capture_output=True, text=True, check=False, cwd=EXAMPLE)
    assert "\x1b" not in done.stdout
    assert "  assumes: " in done.stdout or "  scope: " in done.stdout
    assert "More: " not in done.stdout


@pytest.fixture
def long() -> dict[str, Any]:
    found: dict[str, Any] = samples.many_cpus(cpus=2, length=60)
    return found


def _printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], document: dict[str, Any], *, full: bool, height: int, width: int = 120) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Console().width == width
    terminal.show(run_of(document)["made/shootdown"], expect=False, stories=True, full=full)
    return capsys.readouterr().out


def test_a_long_run_is_cut_to_the_screen_and_says_by_how_much(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], long: dict[str, Any]) -> None:
    brief = _printed(monkeypatch, capsys, long, full=False, height=24)
    assert len(brief.splitlines()) <= 24
    left_out = sum(int(n) for n in re.findall(r"\.\.\. (\d+) steps?", brief))
    shown = _NUMBER.findall(brief)
    assert left_out + len(shown) == 60
    assert {"1", "60"} <= set(shown)
    full = _printed(monkeypatch, capsys, long, full=True, height=24)
    assert _NUMBER.findall(full) == [str(i) for i in range(1, 61)]


def test_a_narrow_long_run_is_cut_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], long: dict[str, Any]) -> None:
    brief = _printed(monkeypatch, capsys, long, full=False, height=24, width=60)
    assert "lines, which --full shows" in brief
    assert "60. CPU" in brief


def test_a_hostile_name_does_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    document = samples.hostile()[0]
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "40")
    entries = [{**e, "property": "p"} for e in document["results"]]
    terminal.show(run_of({**document, "results": entries})[samples.HOSTILE], expect=False, stories=True, full=True)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31m" in out


def test_lanes_tell_the_life_of_an_entry_on_each_cpu() -> None:
    """From the fill to the flush, and stale from the step on that made it so."""
    document = samples.many_cpus(cpus=3, length=50)
    v = document["results"][0]["violations"][0]
    drawn = lanes(v, document["models"]["made/shootdown"]["variables"])
    assert drawn.cpus == 3
    for row, cells in zip(drawn.rows, points(v["caches"], 50)[1:], strict=True):
        for cpu in range(3):
            held = [c.stale_since for c in cells if c.cpu == cpu and c.entry == 0]
            expected = None if not held else "stale" if any(x is not None for x in held) else "cached"
            assert row.life.get(cpu) == expected
    assert any(row.memory == ("pte := new",) for row in drawn.rows)


def test_a_run_that_never_ends_says_where_it_goes_on() -> None:
    """The steps from ``loop`` on repeat; in the lanes, the prose and the page alike."""
    document = samples.many_cpus(cpus=2, length=6)
    v = {**document["results"][0]["violations"][0], "loop": 4}
    facts = document["models"]["made/shootdown"]
    assert [r.number for r in lanes(v, facts["variables"]).rows if r.again] == [5, 6]
    assert "From step 5 on this repeats for ever" in paragraphs(v, "it waits")[-1]
    made = build({**document, "results": [{**document["results"][0], "violations": [v]}]})
    assert made.count("which repeats for ever") == 2
    assert "the run goes on with step 5 again" in made


def test_the_mark_of_a_life_runs_through_the_whole_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], long: dict[str, Any]) -> None:
    """Beside every line of a step that is wrapped, in its own lane and in the others."""
    out = _printed(monkeypatch, capsys, long, full=True, height=24, width=90).splitlines()
    head = next(i for i, line in enumerate(out) if line.lstrip().startswith("#  CPU0"))
    columns = [out[head].index(f"CPU{cpu}") for cpu in range(2)]
    drawn = lanes(long["results"][0]["violations"][0], long["models"]["made/shootdown"]["variables"])
    marks: dict[int, list[tuple[str, ...]]] = {}
    number = 0
    for line in out[head + 1 :]:
        if not line.startswith(" ") or line.startswith("  scope"):
            break
        number = int(line[:3]) if line[:3].strip() else number
        marks.setdefault(number, []).append(tuple(line[c] for c in columns))
    kinds = {"cached": "\u2502", "stale": "\u2503"}
    assert sorted(marks) == [r.number for r in drawn.rows]
    assert all(set(marks[r.number]) == {tuple(kinds.get(r.life.get(cpu, ""), " ") for cpu in range(2))} for r in drawn.rows)
    assert any(len(found) > 1 and "\u2503" in found[0] for found in marks.values()), "no wrapped step of this run has a mark"
