"""What a property calls bad when an entry comes in is judged wherever a walk may cache one."""

from __future__ import annotations

import meeting
import pytest

from tlbcheck import CACHED, Event, InputError, Property
from tlbcheck.engines.explicit import Tracked
from tlbcheck.lang.expr import TRUE, and_, not_
from tlbcheck.system.lower import lower


def filled(bad: object = TRUE) -> Property:
    q = Property("filled", "", "", needs=("remap",), clauses={"filled": ""})
    q.on(Event("fill"), bad={"filled": bad})  # type: ignore[dict-item]  # an expression
    return q


def test_a_fill_is_judged_where_a_walk_may_make_it() -> None:
    q = filled()
    assert Tracked(lower(meeting.TWO, [q])).run().shortest("filled") is not None
    never = filled(and_(CACHED, not_(CACHED)))
    assert Tracked(lower(meeting.TWO, [never])).run().shortest("filled") is None


def test_marks_are_not_judged_at_a_fill() -> None:
    q = Property("marked", "", "", needs=("remap",), clauses={"filled": ""})
    mark = q.ghost("mark", per_entry=True)
    q.on(Event("fill"), bad={"filled": mark.expr})
    with pytest.raises(InputError, match="asks for marks of the entry"):
        lower(meeting.TWO, [q])
