"""Nobody reaches through a cached entry what is not his any more."""

from tlbcheck import CACHED, Property, leave, var
from tlbcheck.lang.expr import and_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "frame-isolation",
    "no usable entry gives a guest or task a frame that is not its own",
    source="properties.md 1; x86-tlb.md 1.3, L-2 and S-1",
    needs=("run",),
    trigger=leave("run"),
    clauses={"ownership": "whoever runs here can use an entry for a frame that now belongs to somebody else"},
)
# In every state in which a CPU runs code of an address space, or its kernel on that space's tables
# with interrupts on (``runs``): no usable entry leads to a frame that is not the space's now.
PROPERTY.never("ownership", and_(CACHED, var("meaning.usable", BOOL), var("meaning.runs", BOOL), var("meaning.not_its_own", BOOL)))
