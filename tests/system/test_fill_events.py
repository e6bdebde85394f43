"""What a property calls bad when an entry comes in is judged wherever a walk may cache one."""

from __future__ import annotations

import meeting

from tlbcheck import CACHED, Event, Property
from tlbcheck.engines.explicit import Tracked
from tlbcheck.lang.expr import TRUE, Expr, and_, not_
from tlbcheck.system.lower import lower


def filled(bad: Expr = TRUE) -> Property:
    q = Property("filled", "", "", needs=("remap",), clauses={"filled": ""})
    q.on(Event("fill"), bad={"filled": bad})
    return q


def test_a_fill_is_judged_where_a_walk_may_make_it() -> None:
    q = filled()
    assert Tracked(lower(meeting.TWO, [q])).run().shortest("filled") is not None
    never = filled(and_(CACHED, not_(CACHED)))
    assert Tracked(lower(meeting.TWO, [never])).run().shortest("filled") is None


def test_an_entry_that_comes_in_may_have_lost_its_marks_before() -> None:
    """CACHE-7, GHOST-2: the walk finds the marks of an entry that went just before as they are at the start."""
    q = Property("marked", "", "", needs=("remap",), clauses={"filled": ""})
    mark = q.ghost("mark", per_entry=True)
    q.on(Event("fill"), bad={"filled": not_(mark.expr)})
    assert Tracked(lower(meeting.TWO, [q])).run().shortest("marked") is not None
