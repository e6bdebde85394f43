"""What a flush of several CPUs promises at its return."""

from tlbcheck import CACHED, Property, enter, leave, operation, var
from tlbcheck.lang.expr import and_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "shootdown",
    "when a flush of several CPUs returns, each of them has flushed",
    source="properties.md 1; x86-tlb.md 1.3, S-1",
    needs=("shootdown",),
    trigger=leave("shootdown"),
    change=operation("mapping changed"),
    clauses={"CPU": "the flush has returned, and a CPU of its mask still holds an entry from before the call that it was to drop"},
)
_asked = PROPERTY.ghost("asked", per_entry=True, by_cpu=True)
PROPERTY.on(
    enter("shootdown", "mask", "va", "flags"),
    {_asked: and_(CACHED, var("meaning.in_mask", BOOL), var("meaning.asked_for", BOOL))},
    every_cpu=True,
)
PROPERTY.on(leave("shootdown"), {_asked: False}, bad={"CPU": and_(CACHED, _asked.expr)}, every_cpu=True)
