"""A project of a user's own with a model for each kind of verdict, as text: its models, and their properties."""

TINY = '''
"""Two writes and a switch, as declared and not; one model whose values cannot be written."""

from dataclasses import replace

from tlbcheck import Flag, Model, Variant, choose, marker, per_cpu, procedure
from tlbcheck.lang.model import Notation

BROKEN = Flag("BROKEN", False)
ABSENT = Flag("ABSENT", False)
left, right = per_cpu("left", bool), per_cpu("right", bool)
beat = marker("beat", "beats")


@procedure(role="pair")
def both(value: bool) -> None:
    left.set(value)
    if not BROKEN:
        right.set(value)
    beat()


@procedure
def run() -> None:
    while True:
        value = choose(bool)
        if ABSENT:
            beat()
        else:
            both(value)


@procedure
def start() -> None:
    left.set(False)
    right.set(False)


BOTH_VIOLATED = {"paired": "violated", "anywhere": "violated"}
ABOUT = ("paired", "anywhere", "no-fault")
tiny = Model(
    name="tiny/as-declared",
    title="two variables that go | <together>",
    init=start,
    task=run,
    flags={BROKEN: False, ABSENT: False},
    variants={
        "broken": Variant(doc="the second write is left out", flags={BROKEN: True}, expected=BOTH_VIOLATED),
        "absent": Variant(doc="nothing is ever written", flags={ABSENT: True}),
    },
    expected=dict.fromkeys(ABOUT, "proved"),
    about=ABOUT,
)
empty = replace(
    tiny,
    name="tiny/empty-as-declared",
    variants={},
    flags={BROKEN: False, ABSENT: True},
    vacuous=("paired", "anywhere"),
    expected={"paired": "not-applicable"},
)
undeclared = replace(tiny, name="tiny/undeclared", variants={}, flags={BROKEN: True, ABSENT: False}, expected={})
otherwise = replace(undeclared, name="tiny/otherwise", expected={"paired": "proved"})
held = replace(tiny, name="tiny/held", variants={}, expected={"paired": "violated"})
failing = replace(undeclared, name="tiny/failing", notation=Notation(values={"left": lambda value: 1 // 0}))
'''
PAIRED = """
from tlbcheck import Property, leave, var
from tlbcheck.lang.expr import eq, not_
from tlbcheck.lang.types import BOOL

APART = not_(eq(var("left", BOOL), var("right", BOOL)))
CLAUSES = {"differ": "they differ"}
paired = Property("paired", "left and right agree", "here", needs=("pair",), trigger=leave("pair"), clauses=CLAUSES)
paired.on(leave("pair"), bad={"differ": APART})
anywhere = Property("anywhere", "the same, where it may be vacuous", "here", trigger=leave("pair"), clauses=CLAUSES)
anywhere.on(leave("pair"), bad={"differ": APART})
"""
