"""A CR3 value is not an address: NOFLUSH must not reach whoever takes it for one."""

from tlbcheck import Property, operation, var
from tlbcheck.lang.expr import eq, not_
from tlbcheck.lang.types import U64
from tlbcheck.machine.x86 import X86_CR3_ADDR_MASK, X86_CR3_PCID_MASK

PROPERTY = Property(
    "cr3-address",
    "what is taken for a root table's address holds nothing else",
    source="review of [PATCH v5 7/7]; comment at get_pcid_bits() there",
    trigger=operation("CR3 value as an address"),
    clauses={"bits": "a CR3 value is taken for an address with bits set that are none: the wrong frame is read"},
)
# The page offset, where the PCID is, is shifted out.
PROPERTY.on(operation("CR3 value as an address"), bad={"bits": not_(eq(var("arg.value", U64) & ~(X86_CR3_ADDR_MASK | X86_CR3_PCID_MASK), 0))})
