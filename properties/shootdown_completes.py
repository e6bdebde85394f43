"""Every request to flush ends: a liveness property. What runs are fair is said in tlbcheck.engines.liveness."""

from tlbcheck import Property, enter, var
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "shootdown-completes",
    "every CPU that is asked to flush does so in the end",
    source="properties.md 1; x86-tlb.md 6, N-8",
    needs=("shootdown", "ipi"),
    trigger=enter("ipi"),
    clauses={"waits": "a CPU was asked to flush, and never does: the one that asked waits for ever"},
)
PROPERTY.eventually_not("waits", var("in_flush_cpumask", BOOL))
