"""What do_tlb_flush() owes at its return."""

from tlbcheck import CACHED, Property, leave, operation
from tlbcheck.lang.expr import and_
from tlbcheck.machine.x86 import sections

PROPERTY = Property(
    "flush-all",
    "after a full flush nothing old is cached",
    source="properties.md 1; the flush clock and everybody who frees memory rely on it",
    needs=("flush-all",),
    trigger=leave("flush-all"),
    clauses={"C1": "an entry from before the flush began is still cached at its return"},
)
_aged = PROPERTY.ghost("aged", per_entry=True, frame=True)
# The start point is the clock tick or, where the clock is off, the moment interrupts go off.
_sections = sections(PROPERTY, "flush-all", {_aged: CACHED}, frame=True)
PROPERTY.on(operation("clock tick", within="flush-all"), {_aged: CACHED})
PROPERTY.on(leave("flush-all"), {_aged: False, _sections.depth: 0}, bad={"C1": and_(CACHED, _aged.expr)})
