"""Whom a flush for a domain must not forget."""

from tlbcheck import CACHED, Property, operation, var
from tlbcheck.lang.expr import and_, not_
from tlbcheck.lang.types import BOOL

PROPERTY = Property(
    "dirty-mask",
    "whoever holds something of a domain is in its dirty mask when it is read",
    source="properties.md 1; xen.md 4.3",
    trigger=operation("dirty mask read"),
    clauses={"CPU": "the domain's dirty mask is read to choose whom to flush, and a CPU outside it holds an entry of the domain's"},
)
# Usable or not, and whoever owns the frame: foreign mappings belong to the mapper.
PROPERTY.on(
    operation("dirty mask read"),
    bad={"CPU": and_(CACHED, not_(var("meaning.shared", BOOL)), var("meaning.of_domain", BOOL), not_(var("in_dirty_cpumask", BOOL)))},
    every_cpu=True,
)
