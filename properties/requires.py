"""Callers keep to what they owe.

A property of its own and no clause of no-fault: a broken precondition is the caller's fault wherever it does
harm, and may do none in the code as it stands (INVLPG of a non-canonical address does nothing). But
from that call on the callee owes nothing, so that a verdict which relies on its promises says nothing.
"""

from tlbcheck import Event, Property
from tlbcheck.lang.expr import TRUE

PROPERTY = Property(
    "requires",
    "every call meets what the procedure requires",
    source="properties.md 1, requires and ensures",
    trigger=Event("requires"),
    clauses={"call": "a procedure is called in a state in which what it requires does not hold"},
)
PROPERTY.on(Event("requires"), bad={"call": TRUE})
