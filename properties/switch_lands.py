"""A switch must do what it was asked for: one that loads nothing leaves nothing stale."""

from tlbcheck import Property, enter, leave, var
from tlbcheck.lang.expr import eq, not_
from tlbcheck.lang.types import BOOL, U64
from tlbcheck.machine.x86 import CR3, CR4, IF, X86_CR3_NOFLUSH

PROPERTY = Property(
    "switch-lands",
    "CR3, CR4 and IF at return are what was asked for",
    source="properties.md 1",
    needs=("switch",),
    trigger=leave("switch"),
    clauses={
        "CR3": "the root or PCID in CR3 at return is not the requested one",
        "CR4": "CR4 at return is not the requested one",
        "IF": "the interrupt flag at return is not the caller's",
    },
)
_cr3 = PROPERTY.ghost("cr3", U64, frame=True)
_cr4 = PROPERTY.ghost("cr4", U64, frame=True)
_if = PROPERTY.ghost("if", bool, frame=True)

PROPERTY.on(
    enter("switch", "cr3", "cr4"),
    {_cr3: var("arg.cr3", U64) & ~X86_CR3_NOFLUSH, _cr4: var("arg.cr4", U64), _if: var("if", BOOL)},
)
PROPERTY.on(
    leave("switch"),
    {_cr3: 0, _cr4: 0, _if: False},
    bad={
        "CR3": not_(eq(CR3.expr, _cr3.expr)),
        "CR4": not_(eq(CR4.expr, _cr4.expr)),
        "IF": not_(eq(IF.expr, _if.expr)),
    },
)
