"""The bench: its model by name and numbers, how peers' answers are read, what a run is held against, and the drawing."""

from __future__ import annotations

import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli

BENCH = Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))  # its scripts are no package, hence the imports below

import figure  # noqa: E402
import peers  # noqa: E402
import run  # noqa: E402


def test_a_model_is_resized_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BENCH)

    def verify(name: str) -> Any:
        return CliRunner().invoke(cli, ["verify", name, "-p", "no-foreign", "--engine", "full", "--engine", "sets"])

    small = verify("bench/cr3race")
    assert small.exit_code == 0 and "all 20,952 reachable states" in small.output, small.output
    medium = verify(peers.model_name(peers.SIZES["M"], "v5"))
    assert medium.exit_code == 0 and "all 519,528 reachable states" in medium.output
    assert verify("bench/cr3race:pages=1@unflushed").exit_code == 1
    for wrong, why in (("bench/cr3race:lines=2", "has no number 'lines'"), ("bench/cr3race:pages=0", "too small"), ("bench/cr3race:pages=x", "is no number")):
        refused = verify(wrong)
        assert refused.exit_code == 2 and why in refused.output, refused.output


def test_a_violation_found_by_both_is_told_and_agreed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BENCH)
    told = CliRunner().invoke(cli, ["verify", "bench/cr3race@unflushed", "-p", "no-foreign", "--engine", "full", "--engine", "sets", "--engine", "explicit"])
    assert told.exit_code == 1
    assert "is violated after 4 steps" in told.output


@pytest.mark.parametrize(
    ("read", "output", "status", "answer"),
    [
        (peers._read_spin, "State-vector 28 byte, depth reached 9, errors: 0\n    20952 states, stored\n", 0, ("proved", 20952)),
        (peers._read_spin, "State-vector 28 byte, depth reached 9, errors: 1\n      147 states, stored\n", 0, ("violated", 147)),
        (peers._read_spin, "error: max search depth too small\nerrors: 0\n 10 states, stored\n", 0, ("failed (exit status 0)", 10)),
        (peers._read_rumur, "No error found.\nState Space Explored:\n\n\t20952 states, 147568 rules fired in 0s.\n", 0, ("proved", 20952)),
        (peers._read_tlc, "Error: Invariant NoForeign is violated.\n300 states generated, 200 distinct states found", 12, ("violated", 200)),
        (peers._read_abc, "Property proved.  Time = 0.01 sec", 0, ("proved", None)),
        (peers._read_tlbcheck, "", 4, ("failed (exit status 4)", None)),
    ],
)
def test_answers_are_read(read: Any, output: str, status: int, answer: tuple[str, int | None]) -> None:
    assert read(output, status) == peers.Answer(*answer)


def row(tool: str, size: str, variant: str, verdict: str, states: int | None, seconds: float) -> dict[str, Any]:
    return {"tool": tool, "version": "1", "size": size, "variant": variant, "verdict": verdict, "states": states, "seconds": seconds, "cpu_seconds": seconds, "memory_mb": 1.0, "machine": "m"}


def test_what_contradicts_the_specification_is_said() -> None:
    right = [row("tlbcheck full", "S", "v5", "proved", 20_952, 0.1), row("SPIN", "S", "v4", "violated", 147, 1.0)]
    assert run.wrong(right) == []
    assert len(run.wrong([row("tlbcheck full", "S", "v5", "proved", 20_951, 0.1)])) == 1
    assert len(run.wrong([row("SPIN", "S", "v4", "proved", 20_952, 0.1)])) == 1
    assert len(run.wrong([row("tlbcheck sets", "S", "v5", "failed (exit status 1)", None, 0.1)])) == 2


def test_medians_of_runs() -> None:
    rows = [row("SPIN", "S", "v5", "proved", 1, s) for s in (3.0, 1.0, 2.0)]
    (made,) = run.medians(rows)
    assert made["seconds"] == 2.0


def test_the_readmes_table_is_replaced_and_nothing_else() -> None:
    text = f"before\n{run.TABLE_BEGINS}\nstale\n{run.TABLE_ENDS}\nafter\n"
    made = run.readme(text, [row("tlbcheck full", "S", "v5", "proved", 20_952, 0.25), row("SPIN", "S", "v5", "proved", 20_952, 1.0)])
    assert made.startswith("before\n") and made.endswith("\nafter\n")
    assert "| tlbcheck full | 0.25 | 0.25 | 1 | 20,952 | 0.250 |  |" in made and "stale" not in made


def test_the_drawing_shows_each_measured_point() -> None:
    rows = [row("tlbcheck full", f"pages={n}", "v5", "proved", 1, 0.1 * 10**n) for n in (1, 2)]
    rows += [row("Rumur", "cpus=2", "v5", "proved", 1, 1.0), row("Rumur", "cpus=3", "v5", "unknown", None, 9.0)]
    drawn = xml.etree.ElementTree.fromstring(figure.draw(rows))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 3
