"""A project of a user's own: models of a pager that rely on each other by contracts, and their property."""

PAGER = '''
"""A pager that breaks before it makes."""
from __future__ import annotations
import enum
from tlbcheck import CACHED, Contract, Event, Flag, Model, Property, Variant, atomic, choose, marker, most_general_caller, operation, procedure, requires, shared, var
from tlbcheck.lang.expr import FALSE, and_, eq, not_
from tlbcheck.lang.types import BOOL, enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    data = enum.auto()


class Frame(enum.Enum):
    old = enum.auto()
    new = enum.auto()


NOT_BROKEN = Flag("NOT_BROKEN", False)
NOT_FLUSHED = Flag("NOT_FLUSHED", False)
pte = shared("pte", Frame)
present = shared("present", bool)
use = marker("use", "reads the page")


@procedure(role="install", ensures=("fresh-use",))
def install(to: Frame) -> None:
    """Makes an entry."""
    requires(not present.get())
    pte.set(to)
    present.set(True)


@procedure(role="install")
def installed(to: Frame) -> None:
    """As install() is relied on."""
    with atomic("installs the entry"):
        pte.set(to)
        present.set(True)


@procedure
def remove() -> None:
    """Breaks the entry."""
    present.set(False)
    if not NOT_FLUSHED:
        x86.INVLPG(Page.data, True)


@procedure
def pager() -> None:
    """Moves the page, over and over."""
    while True:
        if not NOT_BROKEN:
            remove()
        install(choose(Frame))
        use()


any_install = most_general_caller(install, name="anybody")


@procedure
def anything() -> None:
    """The entry comes and goes."""
    while True:
        if choose(bool):
            remove()
        else:
            any_install()
            use()


@procedure
def start() -> None:
    x86.CR0.set(x86.X86_CR0_PG)
    pte.set(choose(Frame))
    present.set(choose(bool))


_FRAME = var("entry.frame", enum_type(Frame))
FRESH = Property("fresh-use", "a use goes to the frame installed last", source="Arm ARM, D8.16.1", needs=("install",), trigger=operation("use"), clauses={"old": "an old frame can still be used"})
FRESH.on(operation("use"), bad={"old": and_(CACHED, var("meaning.usable", BOOL), not_(eq(_FRAME, pte.expr)))})
COMMON = dict(
    init=start,
    cache=x86.tlb(
        tags=(0,), fields=(("page", enum_type(Page), (0,)), ("frame", enum_type(Frame), (0, 1))), walk=and_(present.expr, eq(_FRAME, pte.expr)),
        leaf_global=FALSE, initial=and_(present.expr, eq(_FRAME, pte.expr)), describe=lambda entry: f"the page at frame {entry['entry.frame']}",
    ),
    meanings={"usable": x86.USABLE},
    about=("fresh-use", "requires"),
)
FLAGS = {NOT_BROKEN: False, NOT_FLUSHED: False}
closed = Model(name="pager/closed", title="the pager", task=pager, flags=FLAGS, **COMMON, variants={"not-broken": Variant("makes without a break", {NOT_BROKEN: True})})
opened = Model(name="pager/opened", title="install() for anybody", task=anything, flags=FLAGS, **COMMON)
relying = Model(name="pager/a-relying", title="the pager, with install() as promised", task=pager, flags=FLAGS, contracts=(Contract(install, installed, shown_by="pager/opened"),), **COMMON)


# Moves without a break: what drop() does is up to a flag.


@procedure(role="install", ensures=("fresh-use",))
def drop() -> None:
    """Forgets the page."""
    if not NOT_FLUSHED:
        x86.INVLPG(Page.data, True)


@procedure(role="install")
def dropped() -> None:
    """As drop() is relied on."""
    x86.INVLPG(Page.data, True)


@procedure(role="install")
def keep() -> None:
    """Forgets nothing."""
    marker_of_nothing()


marker_of_nothing = marker("nothing", "does nothing")


@procedure(role="install", ensures=("fresh-use",))
def move(to: Frame) -> None:
    """Puts another frame in place."""
    pte.set(to)
    present.set(True)
    drop()


@procedure(role="install")
def moved(to: Frame) -> None:
    """As move() is relied on."""
    with atomic("moves the page"):
        pte.set(to)
        present.set(True)
        x86.INVLPG(Page.data, True)


@procedure(role="install")
def move_at_once(to: Frame) -> None:
    """Another version."""
    with atomic("moves the page at once"):
        pte.set(to)
        present.set(True)
        x86.INVLPG(Page.data, True)


@procedure(role="install")
def move_present(to: Frame) -> None:
    """Another, of which callers may ask less."""
    requires(present.get())
    with atomic("moves a page that is there"):
        pte.set(to)
        x86.INVLPG(Page.data, True)


@procedure
def mover() -> None:
    """Moves the page, over and over."""
    while True:
        move(choose(Frame))
        use()


@procedure
def mover_of_both() -> None:
    """Calls the stand-in by name too."""
    while True:
        move(choose(Frame))
        moved(choose(Frame))
        use()


any_move, any_drop = most_general_caller(move, name="any_move"), most_general_caller(drop, name="any_drop")


@procedure
def moves() -> None:
    """Anybody moves the page."""
    while True:
        any_move()
        use()


@procedure
def drops() -> None:
    """Anybody drops it."""
    while True:
        any_drop()
        use()


FLUSHED = {"not-flushed": Variant("nothing is flushed", {NOT_FLUSHED: True}), "keeps": Variant("nothing is dropped", {}, {drop: keep})}
deep_closed = Model(name="pager/deep-closed", title="moves", task=mover, flags=FLAGS, **COMMON, variants=FLUSHED)
deep_opened = Model(name="pager/deep-opened", title="move() for anybody", task=moves, flags=FLAGS, **COMMON)
deep_other = Model(name="pager/deep-other", title="another move() for anybody", task=moves, procedures={move: move_at_once}, flags=FLAGS, **COMMON)
deep_strict = Model(name="pager/deep-strict", title="yet another", task=moves, procedures={move: move_present}, flags=FLAGS, **COMMON)
deep_relying = Model(name="pager/deep-relying", title="moves as promised", task=mover, flags=FLAGS, contracts=(Contract(move, moved, shown_by="pager/deep-opened"),), **COMMON, variants=FLUSHED)
deep_drop = Model(name="pager/deep-drop", title="drop() for anybody", task=drops, flags=FLAGS, **COMMON)
deep_mid = Model(name="pager/deep-mid", title="move() that relies on drop()", task=moves, flags=FLAGS, contracts=(Contract(drop, dropped, shown_by="pager/deep-drop"),), **COMMON)
deep_top = Model(name="pager/deep-top", title="relies on who relies", task=mover, flags=FLAGS, contracts=(Contract(move, moved, shown_by="pager/deep-mid"),), **COMMON)
'''

PROPERTY = "from pathlib import Path\nfrom tlbcheck.library import load_file\nFRESH = load_file(Path({!r})).FRESH\n"
"""A property's file takes it from the model's."""
