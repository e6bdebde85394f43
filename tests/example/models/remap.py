"""A kernel that changes one page-table entry and flushes, or forgets to."""

import enum

from tlbcheck import Flag, Model, Variant, choose, marker, procedure, shared, var
from tlbcheck.lang.expr import FALSE, eq
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    data = enum.auto()


class Frame(enum.Enum):
    old = enum.auto()
    new = enum.auto()


FLUSH_FORGOTTEN = Flag("FLUSH_FORGOTTEN", False)
pte = shared("pte", Frame)
"""The frame that the one page's entry in memory points to."""
use = marker("use", "reads the page")


@procedure(role="remap")
def remap(to: Frame) -> None:
    pte.set(to)
    if not FLUSH_FORGOTTEN:
        x86.INVLPG(Page.data, True)


@procedure
def run_cpu() -> None:
    while True:
        remap(choose(Frame))
        use()


@procedure
def start() -> None:
    x86.CR0.set(x86.X86_CR0_PG)


_FRAME = var("entry.frame", enum_type(Frame))

model = Model(
    name="mine/remap",
    title="change a page-table entry, flush, use the page",
    init=start,
    task=run_cpu,
    cache=x86.tlb(
        tags=(0,),
        fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))),
        walk=eq(_FRAME, pte.expr),  # a walk finds what memory says now
        leaf_global=FALSE,
        initial=eq(_FRAME, pte.expr),  # nothing stale to begin with
        describe=lambda entry: f"the page at its {list(Frame)[entry['entry.frame']].name} frame",
    ),
    meanings={"usable": x86.USABLE, "may": eq(_FRAME, pte.expr)},
    flags={FLUSH_FORGOTTEN: False},
    variants={"forgotten": Variant("without the flush", {FLUSH_FORGOTTEN: True}, expected={"fresh-use": "violated"})},
    expected={"fresh-use": "proved"},
    about=("fresh-use", "no-fault"),  # the library's other properties speak of switches and shootdowns
)
