"""What the flush clock proves, in every state, also inside flush code."""

from tlbcheck import CACHED, Property, leave, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "flush-clock",
    "a CPU that the clock says need not be flushed holds nothing for the frame",
    source="properties.md 1; xen.md 4.3",
    needs=("flush-all", "run"),
    trigger=leave("flush-all"),
    clauses={"clock": "the frame is unmapped and stamped, this CPU's flush time counts as later, and an entry for the frame is still cached here"},
)
PROPERTY.never("clock", and_(CACHED, var("meaning.unmapped_and_stamped", BOOL), not_(var("meaning.need_flush", BOOL))))
