"""Xen's policy: global pages and PCIDs never together (INVPCID 0, 1 and 3 keep globals)."""

from tlbcheck import Property, operation, var
from tlbcheck.lang.expr import Expr, and_, bit
from tlbcheck.lang.types import U64
from tlbcheck.machine.x86 import CR4, X86_CR4_PCIDE, X86_CR4_PGE


def _both(cr4: Expr) -> Expr:
    return and_(bit(cr4, X86_CR4_PGE.bit_length() - 1), bit(cr4, X86_CR4_PCIDE.bit_length() - 1))


PROPERTY = Property(
    "pge-with-pcide",
    "CR4.PGE and CR4.PCIDE are never set together",
    source="5c81d260c2, commit message; properties.md 1",
    trigger=operation("MOV to CR4"),
    clauses={
        "value": "a value with both PGE and PCIDE is handed to MOV CR4",
        "register": "CR4 holds both PGE and PCIDE",
    },
)
PROPERTY.on(operation("MOV to CR4"), bad={"value": _both(var("arg.value", U64))})
PROPERTY.never("register", _both(CR4.expr))
