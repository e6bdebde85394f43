"""Xen itself reads guests' page tables through translations: never through one that the tables have left behind."""

from tlbcheck import CACHED, Property, leave, operation, var
from tlbcheck.lang.expr import and_, or_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "linear-access",
    "what Xen reaches through the linear map is what the page tables say",
    source="properties.md 1; XSA-286 (16a20963b3)",
    needs=("paging structure update",),
    trigger=operation("linear map accessed"),
    clauses={"old": "Xen uses the linear map, and a usable entry for it is from before a change of the page tables that this CPU made, or that has returned"},
)
# An entry on any CPU is from before a change; it is owed gone at once where the change was made, elsewhere when that has returned.
_before = PROPERTY.ghost("before", per_entry=True, by_cpu=True)
_owed = PROPERTY.ghost("owed", per_entry=True)

PROPERTY.on(operation("paging structure written"), {_owed: CACHED})
PROPERTY.on(operation("paging structure written"), {_before: CACHED}, every_cpu=True)
PROPERTY.on(leave("paging structure update"), {_owed: or_(_owed.expr, _before.expr), _before: False}, every_cpu=True)
PROPERTY.on(operation("linear map accessed"), bad={"old": and_(CACHED, _owed.expr, var("meaning.usable", BOOL), var("meaning.of_linear_map", BOOL))})
