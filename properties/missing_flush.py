"""What a switch of address spaces owes at its return."""

from tlbcheck import CACHED, Property, leave, operation, var
from tlbcheck.lang.expr import and_, not_, or_
from tlbcheck.lang.types import BOOL
from tlbcheck.machine.x86 import sections

PROPERTY = Property(
    "missing-flush",
    "after a switch nothing old is cached",
    source="properties.md 1; Xen's flush clock, invalidate_interrupt and dirty masks rely on it",
    needs=("switch",),
    trigger=leave("switch"),
    clauses={
        "C1": "an entry from before the switch began is still cached at its return",
        "C2": "an entry walked from another root than the one now loaded is still cached at the switch's return",
    },
)
_aged = PROPERTY.ghost("aged", per_entry=True, frame=True)

# The start point is the clock tick or, where the clock is off, the moment interrupts go off;
# whichever comes last counts, since what is cached at the tick includes what was there before.
_sections = sections(PROPERTY, "switch", {_aged: CACHED}, frame=True)
PROPERTY.on(operation("clock tick", within="switch"), {_aged: CACHED})

PROPERTY.on(
    leave("switch"),
    {_aged: False, _sections.depth: 0},
    bad={
        "C1": and_(CACHED, _aged.expr),
        "C2": and_(CACHED, not_(or_(var("meaning.shared", BOOL), var("meaning.from_loaded_root", BOOL)))),
    },
)
