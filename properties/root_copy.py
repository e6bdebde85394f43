"""A guest under XPTI runs on a copy of its root table: never on one that it was told is out of date."""

from tlbcheck import Property, enter, leave, operation
from tlbcheck.lang.expr import or_

PROPERTY = Property(
    "root-copy",
    "guest code never starts on a copy of its root table from before a change that has returned",
    source="properties.md 1; 18173843a5",
    needs=("root table update", "guest"),
    trigger=enter("guest"),
    clauses={"old": "the guest starts on a copy made before a change of its root table whose hypercall has returned"},
)
# On each CPU, for each CPU that changes the table: the copy is from before that change.
_before = PROPERTY.ghost("before", by_cpu=True)
_owed = PROPERTY.ghost("owed")

PROPERTY.on(operation("root table written"), {_before: True}, every_cpu=True)
PROPERTY.on(leave("root table update"), {_owed: or_(_owed.expr, _before.expr)}, every_cpu=True)
PROPERTY.on(operation("root table copied"), {_before: False, _owed: False})
PROPERTY.on(enter("guest"), bad={"old": _owed.expr})
