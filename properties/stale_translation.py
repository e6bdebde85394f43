"""The harm: a CPU can use a translation that it must not."""

from tlbcheck import CACHED, Event, Property, leave, operation, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "stale-translation",
    "no usable entry contradicts the loaded page tables",
    source="properties.md 1",
    needs=("switch",),
    trigger=leave("switch"),
    clauses={"harm": "a usable entry says something that its page cannot mean in the loaded root"},
)
_in_section = PROPERTY.ghost("in_section")
# Only what was walked in this run counts: the start may hold entries that nothing put there.
_walked = PROPERTY.ghost("walked", per_entry=True)

PROPERTY.on(operation("PUSHF; CLI", within="switch"), {_in_section: True})
PROPERTY.on(operation("POPF", within="switch"), {_in_section: False})
PROPERTY.on(leave("switch"), {_in_section: False})
PROPERTY.on(Event("fill"), {_walked: True})
PROPERTY.never(
    "harm",
    and_(CACHED, _walked.expr, var("meaning.usable", BOOL), not_(_in_section.expr), not_(var("meaning.may", BOOL))),
)
