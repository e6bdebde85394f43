"""``--max-memory`` bounds the searches in Python too: they stop in time, and tell what they had seen."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tlbcheck.engines import memory
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.memory import Budget
from tlbcheck.engines.trace import EngineResult
from tlbcheck.library import find_models, find_properties
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

MIB = 1 << 20


def system() -> TransitionSystem:
    model = find_models("xen/before-pcid")[0]
    return slice_system(lower(model, find_properties(["missing-flush"], model)))


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes a MiB more each time that it is looked at."""
    sizes = itertools.count(100 * MIB, MIB)
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))


def test_what_the_process_has_now_is_known() -> None:
    before = memory.resident()
    held = bytearray(64 * MIB)
    held[:: resource.getpagesize()] = b"x" * len(held[:: resource.getpagesize()])
    assert memory.resident() - before > 32 * MIB


def test_a_budget_is_for_what_is_taken_from_now_on(growing: None) -> None:
    assert not any(Budget(None).spent() for _ in range(1000))
    budget = Budget(3 * MIB)
    spent = [budget.spent() for _ in range(1000)]
    assert not any(spent[:200]) and any(spent)


def stopped(result: EngineResult) -> None:
    assert not result.complete
    assert result.verdict("missing-flush") == "unknown"
    assert "stopped at the limit of 4 MiB with" in result.reason
    assert result.states


def test_the_tracked_search_stops(growing: None) -> None:
    search = Tracked(system(), max_bytes=4 * MIB)
    stopped(search.run())
    assert not search.finished


def test_the_literal_search_stops(growing: None) -> None:
    stopped(explore_full(system(), fills="saturated", max_bytes=4 * MIB))


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what a process has taken")
def test_max_memory_on_the_command_line() -> None:
    """In a process of its own: verdict unknown with the statistics so far, exit status 3, and not much more memory than was allowed."""
    allowed = 24
    run = "import sys; from tlbcheck.cli import main\ntry: main()\nfinally: sys.stderr.write(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    arguments = ["verify", "xen/flush-clock", "-p", "frame-isolation", "--engine", "explicit", "--max-memory", str(allowed), "--json"]
    made = subprocess.run([sys.executable, "-c", run, *arguments], capture_output=True, text=True, check=False)
    assert made.returncode == 3, made.stderr
    (entry,) = json.loads(made.stdout)["results"]
    assert entry["verdict"] == "unknown"
    assert f"stopped at the limit of {allowed} MiB" in entry["reason"]
    assert entry["engines"]["explicit"]["states"] > 1_000
    assert int(made.stderr.rpartition("\n")[2]) / 1024 < 150, "MiB, the interpreter included; without a limit it takes 230"
