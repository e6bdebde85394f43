"""Slips that no mutator of single names makes: each is refused in one line with its place, and no verdict is another one for it.

Forgotten and needless arguments, wrong keywords, forgotten decorators, tables of the wrong size, two things of one name, values that nothing
is done with; and a model of one's own that is called like one of the library, which is told.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tlbcheck.cli import cli

MODEL = '''
"""A kernel of two CPUs that moves a page, flushes everywhere, and switches between two spaces."""

import enum

from tlbcheck import Flag, Interrupt, Model, Range, Table, atomic, choose, cpus, marker, per_cpu, procedure, require, requires, shared, this_cpu, u64, var
from tlbcheck.lang.expr import FALSE, eq, not_
from tlbcheck.lang.types import U64, enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    data = enum.auto()


class Frame(enum.Enum):
    old = enum.auto()
    new = enum.auto()


class Space(enum.Enum):
    a = enum.auto()
    b = enum.auto()


LOCAL = Flag("LOCAL", False)
cr3_of = Table("cr3_of", enum_type(Space), (0x1000, 0x2000), U64)
pte = shared("pte", Frame)
users = shared("users", Range(0, 2))
lock = shared("lock", bool)
asked = per_cpu("asked", bool)
use = marker("use", "reads the page")


@procedure
def take() -> None:
    with atomic("takes the lock"):
        require(not lock.get())
        lock.set(True)


@procedure
def release() -> None:
    requires(lock.get())
    lock.set(False)


@procedure
def flush_ipi() -> None:
    x86.INVLPG(Page.data, True)
    asked.set(False)


@procedure
def flush_others() -> None:
    with atomic("asks the others"):
        for cpu in cpus():
            if cpu != this_cpu():
                asked.at(cpu).set(True)
    with atomic("waits for them"):
        for cpu in cpus():
            require(not asked.at(cpu).get())


@procedure(role="remap")
def remap(to: Frame, local: bool) -> None:
    pte.set(to)
    x86.INVLPG(Page.data, True)
    if not local:
        flush_others()


@procedure
def switch_to(space: Space) -> None:
    value: u64 = cr3_of(space)
    x86.MOV_TO_CR3(value)


@procedure
def run_cpu() -> None:
    while True:
        take()
        users.set(1)
        remap(choose(Frame), local=LOCAL)
        users.set(0)
        release()
        switch_to(choose(Space))
        use()


@procedure
def start() -> None:
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(cr3_of(Space.a))
        x86.IF.at(cpu).set(True)


_FRAME = var("entry.frame", enum_type(Frame))
model = Model(
    name="mine/moves",
    title="moves a page",
    cpus=2,
    init=start,
    task=run_cpu,
    interrupts=(Interrupt(flush_ipi, x86.IF, when=asked.expr),),
    cache=x86.tlb(
        tags=(0,),
        fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))),
        walk=eq(_FRAME, pte.expr),
        leaf_global=FALSE,
        possible=not_(x86.GLOBAL),
        initial=eq(_FRAME, pte.expr),
        describe=lambda entry: "the page",
    ),
    meanings={"usable": x86.USABLE, "may": eq(_FRAME, pte.expr)},
    flags={LOCAL: False},
    expected={"moved": "proved", "requires": "proved"},
    about=("moved", "requires"),
)
'''
PROPERTY = '''
"""After a move has returned, nobody uses the old frame."""

from tlbcheck import CACHED, Property, enter, leave, operation, var
from tlbcheck.lang.expr import FALSE, TRUE, and_, not_
from tlbcheck.lang.types import BOOL

STALE = and_(CACHED, var("meaning.usable", BOOL), not_(var("meaning.may", BOOL)))
PROPERTY = Property("moved", "no old frame is used", source="here", needs=("remap",), trigger=leave("remap"), clauses={"old": "an old frame can be used", "left": "and is left"})
MOVING = PROPERTY.ghost("moving", bool)
PROPERTY.on(enter("remap"), {MOVING: TRUE}, every_cpu=True)
PROPERTY.on(leave("remap"), {MOVING: FALSE}, bad={"left": STALE})
PROPERTY.on(operation("use"), bad={"old": and_(not_(MOVING.expr), FALSE)})
'''
FLUSH = "x86.INVLPG(Page.data, True)\n    if"
TABLE = 'Table("cr3_of", enum_type(Space), (0x1000, 0x2000), U64)'
SLIPS = {
    "an argument forgotten": (FLUSH, "x86.INVLPG(Page.data)\n    if", "INVLPG takes 2 argument(s), 1 given"),
    "an argument too many": (FLUSH, "x86.INVLPG(Page.data, True, True)\n    if", "INVLPG takes 2 argument(s), 3 given"),
    "no call at all": (FLUSH, "x86.INVLPG\n    if", "unsupported statement"),
    "a parameter of no such name": ("local=LOCAL", "locally=LOCAL", "remap() has no parameter 'locally'"),
    "nothing to set": ("pte.set(to)", "pte.set()", "'pte.set' with 0 argument(s)"),
    "an element that nothing is done with": ("asked.at(cpu).set(True)", "asked.at(cpu)", "nothing is done with the value of 'asked.at(cpu)'"),
    "a choice that nothing is done with": ("        use()\n", "        choose(Space)\n        use()\n", "nothing is done with the value of 'choose(Space)'"),
    "a table's value that nothing is done with": ("        use()\n", "        cr3_of(Space.a)\n        use()\n", "nothing is done with the value of 'cr3_of(Space.a)'"),
    "an element of what is no array": ("pte.set(to)", "pte.at(0).set(to)", "pte is no array"),
    "a keyword of the API": ("    cpus=2,", "    cpu=2,", "unexpected keyword argument 'cpu'; did you mean 'cpus'?"),
    "one in the place of several": ("(Interrupt(flush_ipi, x86.IF, when=asked.expr),)", "Interrupt(flush_ipi, x86.IF, when=asked.expr)", "holds one Interrupt, which is no tuple; write (x,)"),
    "a comma forgotten": ('about=("moved", "requires")', 'about=("moved")', "'about' of mine/moves holds 'moved', which is no tuple"),
    "strings run together": ('about=("moved", "requires")', 'about=("moved" "requires",)', "unknown property 'movedrequires'"),
    "another property in expected": ('expected={"moved"', 'expected={"move"', "unknown property 'move' in expected of mine/moves; did you mean 'moved'?"),
    "a decorator forgotten": ("@procedure\ndef take", "def take", "call of 'take', which is no operation, procedure or table"),
    "a decorator forgotten of a handler": ("@procedure\ndef flush_ipi", "def flush_ipi", "which is no Procedure"),
    "a table with too few values": (TABLE, 'Table("cr3_of", enum_type(Space), (0x1000,), U64)', "table cr3_of has 1 for the 2 values of Space"),
    "a table with too many values": (TABLE, 'Table("cr3_of", enum_type(Space), (1, 2, 3), U64)', "table cr3_of has 3 for the 2 values of Space"),
    "a table of words": (TABLE, 'Table("cr3_of", enum_type(Space), ("a", "b"), U64)', "'values' of table cr3_of holds 'a', which is no int"),
    "a table by a class": (TABLE, 'Table("cr3_of", Space, (0x1000, 0x2000), U64)', "'index' of table cr3_of holds Space, which is no type of the language"),
    "a table by another index": (TABLE, 'Table("cr3_of", enum_type(Frame), (0x1000, 0x2000), U64)', "cr3_of() takes a Frame, not a Space"),
    "two variables of one name": ('shared("lock", bool)', 'shared("users", bool)', "mine/moves has two variables called 'users'"),
    "a variable called like a register": ('shared("lock", bool)', 'shared("if", bool)', "mine/moves has two variables called 'if'"),
    "two procedures of one name": ("def release", "def take", "take() is declared twice, first in line"),
    "no condition": ("walk=eq(_FRAME, pte.expr)", "walk=pte.expr", "pte is a Frame, and no condition, in the walk of TLB"),
    "a local called like a variable": ("        users.set(1)", "        lock = users.get()\n        users.set(lock)", "'lock' is a variable of the model"),
    "no loop over CPUs": ("for cpu in cpus():\n            if", "for cpu in range(2):\n            if", "unsupported statement 'for'"),
    "a clause that no rule judges": ('PROPERTY.on(operation("use"), bad={"old": and_(not_(MOVING.expr), FALSE)})', "PROPERTY.on", "explains a clause 'old' that it never judges"),
    "another clause": ('bad={"left"', 'bad={"Left"', "property moved has no clause 'Left'"),
    "a word for yes": ("every_cpu=True", 'every_cpu="no"', "'every_cpu' of a rule holds 'no', which is no bool"),
    "a word for yes of a ghost": ('ghost("moving", bool)', 'ghost("moving", bool, per_entry="no")', "'per_entry' of ghost moving holds 'no', which is no bool"),
    "Python's not": ("not_(MOVING.expr)", "not MOVING.expr", "an expression has no truth value of its own"),
}  # fmt: skip


def verified(folder: Path, model: str, prop: str, name: str = "mine/moves") -> Result:
    for kind, text in (("models", model), ("properties", prop)):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "mine.py").write_text(text)
    return CliRunner().invoke(cli, ["verify", name, "--models", str(folder), "--engine", "explicit", "--json"])


@pytest.mark.parametrize("slip", SLIPS)
def test_the_slip_is_refused_in_one_line_with_its_place(tmp_path: Path, slip: str) -> None:
    old, new, said = SLIPS[slip]
    assert (MODEL + PROPERTY).count(old) == 1
    result = verified(tmp_path, MODEL.replace(old, new), PROPERTY.replace(old, new))
    assert result.exit_code == 2
    (line,) = [x for x in result.stderr.splitlines() if said in x]
    assert "mine.py:" in line and "Traceback" not in result.stderr
    assert not result.stdout or json.loads(result.stdout)["results"] == []


def test_what_was_not_misspelt_is_proved(tmp_path: Path) -> None:
    result = verified(tmp_path, MODEL, PROPERTY)
    assert result.exit_code == 0, result.output
    assert {e["verdict"] for e in json.loads(result.stdout)["results"]} == {"proved"}


def test_a_model_called_like_one_of_the_library_is_told(tmp_path: Path) -> None:
    """It stands in that one's place: whoever asks for the name has to know whose verdict that is. So is a property."""
    named = MODEL.replace('"mine/moves"', '"xen/pcid-v5"')
    result = verified(tmp_path, named, PROPERTY, "xen/pcid-v5")
    assert result.exit_code == 0, result.output
    for e in json.loads(result.stdout)["results"]:
        assert any(a.startswith("xen/pcid-v5 is what ") and a.endswith(", in the place of the library's model of that name") for a in e["assumptions"])
    own = PROPERTY.replace('"moved"', '"requires"')
    result = verified(tmp_path / "other", MODEL.replace('about=("moved", "requires")', 'about=("requires",)').replace('"moved": "proved", ', ""), own)
    assert result.exit_code == 0, result.output
    (e,) = json.loads(result.stdout)["results"]
    assert any(a.startswith("requires is what ") and a.endswith(", in the place of the library's property of that name") for a in e["assumptions"])
