"""Guests of XPTI domains do not even reach Xen's memory speculatively."""

from tlbcheck import CACHED, Property, leave, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "xpti-separation",
    "while an XPTI guest runs, nothing usable is for a page that it must not see",
    source="properties.md 1; Meltdown (XSA-254)",
    needs=("exit",),
    trigger=leave("exit"),
    clauses={"private": "the guest runs, and an entry for Xen's private memory is usable: a speculative read gets at it"},
)
# By usability, not by the PCID's number: without PCIDs there is tag 0 only.
PROPERTY.never("private", and_(CACHED, var("meaning.usable", BOOL), var("meaning.guest_runs", BOOL), not_(var("meaning.visible_to_guest", BOOL))))
