"""What becomes of the entries that a violation is about: every drop where it happens, every walk as late as it can be, each confirmed by replay."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from quick import sampled

from tlbcheck.cli import cli
from tlbcheck.report.events import notes, told, watch
from tlbcheck.report.lanes import lanes
from tlbcheck.report.story import render

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
Json = dict[str, Any]


def verify(*arguments: str) -> Json:
    result = CliRunner().invoke(cli, ["verify", *arguments, "--engine", "explicit", "--json"])
    assert result.exit_code == 1, result.output
    found: Json = json.loads(result.stdout)
    return found


def violation(document: Json) -> Json:
    """The last of the document's violations: by a caller that exists."""
    found: Json = next(e for e in document["results"] if e["verdict"] == "violated")["violations"][-1]
    return found


@pytest.fixture(scope="module")
def race() -> Json:
    """The race of XSA-292, as the patch was posted."""
    return verify("xen/pcid-v5", "-p", "missing-flush")


def what(v: Json) -> dict[int, list[str]]:
    return {i: [e["what"] for e in events] for i, events in enumerate(told(v)) if events}


def test_the_flush_and_what_speculation_caches_after_it_are_both_told(race: Json) -> None:
    """The whole of the race: the entry is flushed in step 6, cached again before step 7, and stale with it."""
    v = violation(race)
    assert what(v) == {0: ["cached"], 6: ["dropped", "filled"], 7: ["stale"]}
    text = render("xen/pcid-v5", "missing-flush", v)
    assert "cached at the start" not in text
    assert "(cached before the run, until step 6 flushes it)" in text
    assert notes(6, v) == [
        ("-", "the watched entry is flushed"),
        ("+", "speculation caches the watched entry again, from the observed kernel root under PCID 0"),
    ]
    # What the result said before, it says still: by the end of the step the entry can be cached again.
    assert v["steps"][5]["entry"]["event"] is None


def test_lanes_tell_it_too(race: Json) -> None:
    rows = lanes(violation(race), {}).rows
    assert rows[5].notes[0] == ("-", "the watched entry is flushed")
    assert rows[5].life == {0: "cached"} and rows[6].life == {0: "stale"}


def test_what_no_run_starts_with_is_never_cached_at_the_start() -> None:
    """The model's ``initial`` is false: a walk caches the page, at the last point at which its entry is still valid."""
    v = violation(verify("linux/deferred-flush@no-pending-mark"))
    assert what(v) == {2: ["filled"], 3: ["stale"]}
    assert watch(v) == "the program's page at its old frame"
    assert notes(2, v) == [("+", "speculation caches the watched entry on CPU1, from the program's page tables")]


@pytest.mark.long
def test_each_cpu_s_flush_is_told_of_that_cpu() -> None:
    v = violation(verify("xen/linear-map@linear-flushed-here"))
    assert [(e["cpu"], e["what"]) for e in v["steps"][1]["events"]] == [(1, "dropped")]
    assert notes(2, v) == [("-", "the watched entry is flushed on CPU1")]


@pytest.mark.long
def test_an_entry_that_plays_no_part_is_not_watched() -> None:
    """Two entries are tracked there, and the violation comes about with one of them alone."""
    v = violation(verify("xen/linear-map@linear-flushed-here"))
    assert [w["entry"] for w in v["watched"]] == [0]
    assert v["summary"].endswith(": the linear address at the L1 table under the first L2 table")


# -- replay refuses what does not happen


def _drop(v: Json) -> None:
    del v["steps"][5]["events"][0]


def _move(v: Json) -> None:
    v["steps"][4]["events"].append(v["steps"][5]["events"].pop())


def _invent(v: Json) -> None:
    v["steps"][7]["events"].append({"cpu": 0, "entry": 0, "what": "dropped"})


def _at_start(v: Json) -> None:
    v["initial"]["events"].clear()


def _other_cause(v: Json) -> None:
    v["steps"][6]["events"][0]["by"] = "memory"


def _forget_a_step(v: Json) -> None:
    del v["steps"][6]["events"]


def _other_entry(v: Json) -> None:
    v["watched"][0]["fields"]["tag"] = 1


@pytest.mark.parametrize("edit", sampled([_drop, _move, _other_cause, _invent, _at_start, _forget_a_step, _other_entry], keep=2))
def test_a_result_whose_events_were_edited_is_refused(race: Json, tmp_path: Path, edit: Callable[[Json], None]) -> None:
    edited = copy.deepcopy(race)
    edit(violation(edited))
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(edited))
    result = CliRunner().invoke(cli, ["replay", str(file)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and "the file was edited" in result.output


def test_what_was_not_edited_is_confirmed(race: Json, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(race))
    result = CliRunner().invoke(cli, ["replay", str(file)])
    assert result.exit_code == 1, result.output
    assert "the watched entry is flushed" in result.output


# -- stale in its own context

SWITCHES = '''\
"""One CPU, two roots under tags of their own; the page of the first root changes its frame while the second is loaded, or not."""

import enum

from tlbcheck import Model, choose, marker, procedure, shared, var
from tlbcheck.lang.expr import FALSE, and_, eq, not_
from tlbcheck.lang.types import U64, enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    data = enum.auto()


class Frame(enum.Enum):
    old = enum.auto()
    new = enum.auto()


FIRST, SECOND = 0x1000 | x86.X86_CR3_NOFLUSH, 0x2001 | x86.X86_CR3_NOFLUSH
pte = shared("pte", Frame)
use = marker("use", "reads the page")


@procedure(role="remap")
def remap(to: Frame) -> None:
    pte.set(to)


@procedure
def run_cpu() -> None:
    while True:
        x86.MOV_TO_CR3(SECOND)
        remap(Frame.new)
        x86.MOV_TO_CR3(FIRST)
        use()


@procedure
def start() -> None:
    x86.CR0.set(x86.X86_CR0_PG)
    x86.CR3.set(0x1000)
    x86.CR4.set(x86.X86_CR4_PAE | x86.X86_CR4_PCIDE)


_FRAME, _FIRST = var("entry.frame", enum_type(Frame)), eq(x86.ROOT_ADDRESS, 0x1000)
_MAPS = and_(_FIRST, eq(_FRAME, pte.expr))

model = Model(
    name="mine/switches",
    title="a page changes while another root is loaded",
    init=start,
    task=run_cpu,
    cache=x86.tlb(
        tags=(0, 1),
        fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))),
        walk=_MAPS,
        leaf_global=FALSE,
        initial=and_(eq(_FRAME, pte.expr), eq(x86.TAG, 0)),
        describe=lambda entry: f"the page at its {list(Frame)[entry['entry.frame']].name} frame",
    ),
    meanings={"usable": x86.USABLE, "may": _MAPS},
    notation=x86.NOTATION,
    expected={"fresh-use": "violated"},
    about=("fresh-use",),
)
'''


def test_an_entry_is_stale_by_its_own_tables_not_by_those_that_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the other root's tag nothing contradicts it; the change of its page-table entry does, although that root is loaded."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "models" / "switches.py").write_text(SWITCHES)
    monkeypatch.chdir(tmp_path)
    v = violation(verify("mine/switches"))
    assert [s["action"] for s in v["steps"]] == ["MOV to CR3", "write pte", "MOV to CR3", "use"]
    assert {i: [(e["what"], e.get("by")) for e in events] for i, events in enumerate(told(v)) if events} == {0: [("cached", None)], 2: [("stale", "memory")]}
