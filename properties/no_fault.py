"""No privileged instruction faults and no software assertion fails."""

from tlbcheck import Event, Property
from tlbcheck.lang.expr import TRUE

PROPERTY = Property(
    "no-fault",
    "no #GP, no #UD, no failed assertion",
    source="properties.md 1; x86-tlb.md 2",
    trigger=Event("operation"),
    clauses={
        "#GP": "a privileged instruction raises #GP: the host crashes",
        "#UD": "an instruction that the processor does not have raises #UD: the host crashes",
        "assert": "a software assertion fails",
    },
)
PROPERTY.on(Event("fault", "#GP"), bad={"#GP": TRUE})
PROPERTY.on(Event("fault", "#UD"), bad={"#UD": TRUE})
PROPERTY.on(Event("assert"), bad={"assert": TRUE})
