"""The harm: a CPU can use a translation that it must not."""

from tlbcheck import CACHED, Event, Property, leave, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL
from tlbcheck.machine.x86 import sections

PROPERTY = Property(
    "stale-translation",
    "no usable entry contradicts the loaded page tables",
    source="properties.md 1",
    needs=("switch",),
    trigger=leave("switch"),
    clauses={"harm": "a usable entry says something that its page cannot mean in the loaded root"},
)
# Only what was walked in this run counts: the start may hold entries that nothing put there.
_walked = PROPERTY.ghost("walked", per_entry=True)

_sections = sections(PROPERTY, "switch", {})
PROPERTY.on(leave("switch"), {_sections.depth: 0})
PROPERTY.on(Event("fill"), {_walked: True})
PROPERTY.never(
    "harm",
    and_(CACHED, _walked.expr, var("meaning.usable", BOOL), _sections.outside, not_(var("meaning.may", BOOL))),
)
