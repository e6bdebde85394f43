"""What the flush of one page owes at its return."""

from tlbcheck import CACHED, Property, enter, leave, var
from tlbcheck.lang.expr import and_, eq
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "flush-page",
    "after the flush of a page no old entry for it is cached, under any tag, global or not",
    source="properties.md 1; guests' INVLPG requests rely on it",
    needs=("flush-page",),
    trigger=leave("flush-page"),
    clauses={"page": "an entry for the page that existed at the call is still cached at the return"},
)
_asked = PROPERTY.ghost("asked", per_entry=True, frame=True)
# A non-canonical address has no page, and nothing cached for it.
PROPERTY.on(enter("flush-page", "va", "canonical"), {_asked: and_(CACHED, var("arg.canonical", BOOL), eq(var("entry.page", None), var("arg.va", None)))})
PROPERTY.on(leave("flush-page"), {_asked: False}, bad={"page": and_(CACHED, _asked.expr)})
