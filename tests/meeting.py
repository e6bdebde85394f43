"""Small models in which one tracked entry is not enough, each with a variant that is faulty.

One machine for all: a cache whose entries lead one page to a frame, an operation that drops
entries, and one that reads through the cache.
"""

from __future__ import annotations

import enum

from tlbcheck import CACHED, CacheKind, Flag, Model, Operation, Procedure, Property, Variant, operation, procedure, shared, var
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, eq, not_, or_
from tlbcheck.lang.program import Clause, marker
from tlbcheck.lang.types import BOOL, enum_type


class Frame(enum.Enum):
    own = enum.auto()
    reused = enum.auto()
    none = enum.auto()


class Level(enum.Enum):
    table = enum.auto()
    leaf = enum.auto()


FORGETFUL = Flag("FORGETFUL", False)
"""The faulty variant: a flush is left out, or drops too little."""

linked = shared("linked", bool)
"""The top-level table points to the page table."""
pte = shared("pte", Frame)
"""What the page table says of the page."""
seen = shared("seen", Frame)

_FRAME, _LEVEL = var("entry.frame", enum_type(Frame)), var("entry.level", enum_type(Level))
_FRAME2, LEVEL2 = var("entry2.frame", enum_type(Frame)), var("entry2.level", enum_type(Level))
CACHED2 = var("entry2.cached", BOOL)
IS_LEAF = eq(_LEVEL, Level.leaf)

FLUSH = Operation("FLUSH", drops=(Clause("everything", ()),), text="flushes everything")
FLUSH_LEAVES = Operation("FLUSH LEAVES", drops=(Clause("translations, and no table", (IS_LEAF,)),), text="flushes translations")
LOAD = Operation("LOAD", uses=eq(var("used.level", enum_type(Level)), Level.leaf), result=var("used.frame", enum_type(Frame)), text="reads through the TLB")
use = marker("use", "uses the page")


def cache(through_tables: Expr) -> CacheKind:
    """Entries for the page and its table; a leaf is walked from memory, or as ``through_tables`` says."""
    return CacheKind(
        name="TLB",
        fields=(("level", enum_type(Level), (0, 1)), ("frame", enum_type(Frame), (0, 1, 2))),
        possible=eq(IS_LEAF, not_(eq(_FRAME, Frame.none))),
        fill=or_(and_(not_(IS_LEAF), linked.expr), and_(IS_LEAF, eq(_FRAME, pte.expr), or_(linked.expr, through_tables))),
        initial=FALSE,
        describe=lambda entry: "the table" if not entry["entry.level"] else f"the page at its {list(Frame)[entry['entry.frame']].name} frame",
    )


@procedure
def start() -> None:
    pte.set(Frame.own)
    linked.set(True)


@procedure(role="reuse")
def reuse() -> None:
    linked.set(False)
    if FORGETFUL:
        FLUSH_LEAVES()
    else:
        FLUSH()
    pte.set(Frame.reused)
    use()
    pte.set(Frame.own)
    linked.set(True)


@procedure
def reuse_for_ever() -> None:
    while True:
        reuse()


@procedure(role="remap")
def remap() -> None:
    if not FORGETFUL:
        pte.set(Frame.none)
        FLUSH()
    pte.set(Frame.reused)
    FLUSH()
    use()
    pte.set(Frame.none)
    FLUSH()
    pte.set(Frame.own)


@procedure
def remap_for_ever() -> None:
    while True:
        remap()


@procedure(role="read")
def read() -> None:
    pte.set(Frame.reused)
    if not FORGETFUL:
        FLUSH()
    seen.set(LOAD())
    use()
    pte.set(Frame.own)
    FLUSH()


@procedure
def read_for_ever() -> None:
    while True:
        read()


def _model(name: str, title: str, task: Procedure, kind: CacheKind) -> Model:
    return Model(name=name, title=title, init=start, task=task, cache=kind, flags={FORGETFUL: False}, variants={"faulty": Variant("faulty", {FORGETFUL: True})})


THROUGH_A_CACHED_TABLE = and_(CACHED2, eq(LEVEL2, Level.table))
TABLES = _model("meeting/tables", "a page table is unlinked and its memory reused", reuse_for_ever, cache(THROUGH_A_CACHED_TABLE))
TWO = _model("meeting/two", "a page gets another frame", remap_for_ever, cache(FALSE))
READS = _model("meeting/reads", "a program reads through the TLB and goes on with what it read", read_for_ever, cache(TRUE))

NO_REUSE = Property("no-reuse", "no translation to memory that was reused", source="x86-tlb.md I-USE2", needs=("reuse",), clauses={"reused": "an entry leads to reused memory"})
NO_REUSE.on(operation("use"), bad={"reused": and_(CACHED, IS_LEAF, eq(_FRAME, Frame.reused))})

ONE_FRAME = Property("one-frame", "one page has one frame", source="break before make", needs=("remap",), clauses={"two": "two entries for one page lead to different frames"})
ONE_FRAME.never("two", and_(CACHED, CACHED2, IS_LEAF, eq(LEVEL2, Level.leaf), not_(eq(_FRAME, _FRAME2))))

FRESH = Property("fresh", "a read after a flush finds what the tables say", source="I-USE3", needs=("read",), trigger=operation("use"), clauses={"stale": "what was read is not what the tables say"})
FRESH.on(operation("use"), bad={"stale": not_(eq(seen.expr, pte.expr))})
