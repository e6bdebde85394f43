"""What a procedure that takes a mapping away promises at its return."""

from tlbcheck import CACHED, Property, leave, var
from tlbcheck.lang.expr import and_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "stale-use",
    "once a change of mappings has returned, no CPU can use what it took away",
    source="x86-tlb.md 1.3, S-1 and O-7; Linux 3ea277194daa",
    needs=("unmap",),
    trigger=leave("unmap"),
    clauses={"use": "the change has returned, and a CPU can still use the page as it was before"},
)
PROPERTY.on(leave("unmap"), bad={"use": and_(CACHED, var("meaning.usable", BOOL), var("meaning.revoked", BOOL))}, every_cpu=True)
