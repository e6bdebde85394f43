"""What the caches hold along a run: by replay on literal caches, for tracked and literal engines alike, CPU by CPU."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli
from tlbcheck.report.caches import points
from tlbcheck.report.events import notes, watch, watched
from tlbcheck.report.html.viewer import blame_line
from tlbcheck.report.lanes import lanes

EXAMPLE = Path(__file__).resolve().parent.parent / "example"

ROOTS = '''\
"""Two CPUs with page tables of their own; each may load the other ones, and forget to flush."""

import enum

from tlbcheck import Model, choose, cpus, marker, per_cpu, procedure, var
from tlbcheck.lang.expr import FALSE, eq
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86


class Root(enum.Enum):
    first = enum.auto()
    second = enum.auto()


root = per_cpu("root", Root)
use = marker("use", "uses the page")


@procedure(role="remap")
def load(to: Root) -> None:
    root.set(to)


@procedure
def run_cpu() -> None:
    while True:
        load(choose(Root))
        use()


@procedure
def start() -> None:
    for c in cpus():
        x86.CR0.at(c).set(x86.X86_CR0_PG)


_ROOT = var("entry.root", enum_type(Root))

model = Model(
    name="mine/roots",
    title="two CPUs load roots",
    init=start,
    task=run_cpu,
    cpus=2,
    cache=x86.tlb(
        tags=(0,),
        fields=(("page", enum_type(Root), (0,)), ("root", enum_type(Root), (0, 1))),
        walk=eq(_ROOT, root.expr),
        leaf_global=FALSE,
        initial=eq(_ROOT, root.expr),
        describe=lambda entry: f"the page by root {list(Root)[entry['entry.root']].name}",
    ),
    meanings={"usable": x86.USABLE, "may": eq(_ROOT, root.expr)},
    expected={"fresh-use": "violated"},
    about=("fresh-use",),
)
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the example's model, and one of two CPUs with page tables of their own."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "models" / "roots.py").write_text(ROOTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def violated(model: str, engine: str, name: str = "fresh-use") -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["verify", model, "-p", name, "--engine", engine, "--json"])
    assert result.exit_code == 1, result.output
    found: dict[str, Any] = json.loads(result.stdout)["results"][0]["violations"][-1]
    return found


@pytest.mark.parametrize("engine", ["explicit", "full", "sets"])
def test_every_engine_s_run_tells_what_is_cached(project: Path, engine: str) -> None:
    v = violated("mine/remap@forgotten", engine)
    assert watch(v) == "the page at its old frame (cached at the start)"
    held = [{v["caches"]["entries"][c.entry]["shown"]["frame"]: c.stale_since for c in cells} for cells in points(v["caches"], v["depth"])]
    # The new frame comes with the change, which makes the old one stale.
    assert held == [{"old": None}, {"old": 1, "new": None}, {"old": 1, "new": None}]
    assert [text for mark, text in notes(1, v) if mark == "!"] == ["the watched entry is stale from here on: the page tables say something else"]


@pytest.mark.parametrize("engine", ["explicit", "full"])
def test_an_entry_is_stale_on_the_cpu_that_changed_its_tables_alone(project: Path, engine: str) -> None:
    v = violated("mine/roots", engine)
    (acting,) = {s["cpu"] for s in v["steps"]}
    other = 1 - acting
    (entry,) = watched(v)
    last = {c.cpu: c.stale_since for c in points(v["caches"], v["depth"])[-1] if c.entry == entry}
    assert last == {acting: 1, other: None}
    # Of the other CPU nothing is told: the violation is about this one.
    assert watch(v) == f"the page by root first (cached at the start on CPU{acting})"
    assert lanes(v, {}).rows[-1].life == {acting: "stale"}
    assert [text for _, text in notes(1, v)] == [f"the watched entry is stale on CPU{acting} from here on: the page tables say something else"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("linux/riscv-asid@leaves-mask", "frame-isolation"),
        ("linux/svm-asid@migration-keeps-generation", "frame-isolation"),
        pytest.param("xen/shootdown@local-only-flush", "shootdown", marks=pytest.mark.long),
    ],
)
def test_engine_and_replay_agree_on_which_cpus_hold_the_entry(model: str, name: str) -> None:
    v = violated(model, "explicit", name)
    about = v["caches"]["about"]
    seen = set()
    for s, cells in zip(v["steps"], points(v["caches"], v["depth"])[1:], strict=True):
        on = {str(c.cpu): c.stale_since for c in cells if c.entry in about}
        assert s["entry"]["on"] == on
        seen |= set(on)
    assert seen


def test_what_made_the_end_wrong_is_told_where_nothing_is_stale() -> None:
    """The step from which on the clause's condition holds; here leaving the mask that others flush by."""
    v = violated("xen/dirty-mask@mask-cleared-early", "explicit", "dirty-mask")
    assert not [c for c in points(v["caches"], v["depth"])[-1] if c.stale_since is not None]
    heads = [(b["head"], b["at"]) for b in blame_line(v)]
    assert heads == [("What was cached", "step 9"), ("Since when it has to go", f"step {v['since']}"), ("What was missing", ""), ("What mends it", ""), ("Where it counts", f"step {v['depth']}")]
    assert "cpu0.in_dirty_cpumask" in v["steps"][v["since"] - 1]["after"]


def test_a_fault_names_the_register_that_it_rests_on() -> None:
    v = violated("xen/cr3-values@dom0-unmasked", "explicit", "no-fault")
    required, fault, decided = (b for b in blame_line(v) if b["head"] != "What mends it")
    assert required["text"] == "no fault by F-2: SDM 4.5, bit 63 is reserved while CR4.PCIDE=0"
    assert (fault["head"], fault["at"]) == ("The fault", "step 2")
    assert decided["text"] == "cpu0.cr4 = PGE|SMEP (from the start on), value = other kernel root, PCID 0, NOFLUSH"


def test_each_change_is_one(project: Path) -> None:
    """Nothing is filled twice, or dropped where it is not."""
    v = violated("mine/roots", "full")
    held: set[tuple[int, int]] = set()
    for cpu, entry, what in itertools.chain(v["caches"]["start"], *v["caches"]["steps"]):
        assert ((cpu, entry) in held) is (what != "filled")
        held ^= {(cpu, entry)} if what in ("filled", "dropped") else set()
