"""What a change between a guest's kernel and user mode owes at its return."""

from tlbcheck import CACHED, Event, Property, leave, var
from tlbcheck.lang.expr import Expr, and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "toggle",
    "after a change of the guest's mode nothing usable belongs elsewhere",
    source="properties.md 1; XSA-294 (329b00e4d4)",
    needs=("toggle",),
    trigger=leave("toggle"),
    clauses={
        "space": "a usable entry was walked outside the vCPU's current address space",
        "mode": "a page of the guest's kernel is usable in its user mode",
        "instance": "the root was replaced, and an entry walked from an older one is usable",
        "view": "the guest runs on a copy of a root that was replaced, and an entry walked from the copy of an older one is usable",
    },
)
# Only what was walked in this run counts: the start may hold entries that nothing put there.
_walked = PROPERTY.ghost("walked", per_entry=True)


def _usable(meaning: Expr) -> Expr:
    return and_(CACHED, _walked.expr, var("meaning.usable", BOOL), not_(var("meaning.shared", BOOL)), meaning)


PROPERTY.on(Event("fill"), {_walked: True})
PROPERTY.on(
    leave("toggle"),
    bad={
        "space": _usable(not_(var("meaning.current_space", BOOL))),
        "mode": _usable(var("meaning.kernel_page_in_user_mode", BOOL)),
        "instance": _usable(var("meaning.older_instance", BOOL)),
    },
)
# Under XPTI the guest has a view of its own, under PCIDs of its own, which the exit to it loads.
PROPERTY.on(leave("exit"), bad={"view": _usable(var("meaning.older_instance", BOOL))})
