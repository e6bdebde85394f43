"""A page table that is freed is walked by nobody once its frame is something else."""

from tlbcheck import CACHED, Property, leave, var
from tlbcheck.lang.expr import and_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "page-walk-safety",
    "nobody walks a page table whose frame has another use",
    source="properties.md 1; x86-tlb.md 1.1, I-USE2 and 1.3, L-2",
    needs=("table reuse",),
    trigger=leave("table reuse"),
    clauses={"walk": "the frame of a page table has another use, and a CPU still holds a paging-structure entry that leads to it"},
)
# In every state while the frame has its other use: a root table, or a copy of one, that still leads
# to it fills such an entry as soon as it is loaded.
PROPERTY.never("walk", and_(CACHED, var("meaning.refers_to_reused_table", BOOL)))
