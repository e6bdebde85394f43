"""Between switches a CPU caches translations for its own PCID only."""

from tlbcheck import CACHED, Property, operation, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL
from tlbcheck.machine.x86 import CURRENT_TAG, TAG

PROPERTY = Property(
    "no-foreign",
    "outside switches nothing is cached for another PCID, unless page tables have changed since",
    source="../shared/bench/cr3race/README.md",
    trigger=operation("switch returns"),
    clauses={"foreign": "an entry for another PCID than the current one is cached outside a switch"},
)
_switching = PROPERTY.ghost("switching")
PROPERTY.on(operation("INVPCID 3"), {_switching: True})
PROPERTY.on(operation("switch returns"), {_switching: False})
PROPERTY.never("foreign", and_(CACHED, not_(_switching.expr), not_(var("dirty", BOOL)), TAG != CURRENT_TAG))
