"""After a remap has returned, nobody uses the old frame."""

from tlbcheck import CACHED, Property, operation, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "fresh-use",
    "a use after a remap goes to the new frame",
    source="Intel SDM vol. 3A, 4.10.4.2",
    needs=("remap",),
    trigger=operation("use"),
    clauses={"old": "the CPU can still use the frame from before the remap"},
)
PROPERTY.on(operation("use"), bad={"old": and_(CACHED, var("meaning.usable", BOOL), not_(var("meaning.may", BOOL)))})
