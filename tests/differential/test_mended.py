"""What random models once made engines answer wrongly or refuse, as small models with the right answer."""

from __future__ import annotations

import pytest
from comparison import Verdicts, compare
from generator import HEAD
from loading import forget, load
from quick import sampled

MARKS = "mark = marker('mark', 'marks')\n"
STARTS = "@procedure\ndef start() -> None:\n    pass\n"
MARK_ONCE = "@procedure\ndef task() -> None:\n    mark()\n"
CACHE = "CACHE = CacheKind(name='TLB', fields=(('page', BOOL, (0, 1)),), possible=TRUE, fill=TRUE, initial=FALSE, describe=str)\n"
PROPERTY = "Q = Property('q', 'q', source='here', clauses={'c': 'c'})\n"
CACHED_TASK = "model = Model(name='random/m', title='m', init=start, task=task, cache=CACHE)\nPROPERTIES = [Q]\n"

CASES: dict[str, tuple[str, Verdicts]] = {
    "an operation that goes through the cache in a run that goes on for ever": (
        "op = Operation('op', uses=TRUE)\n"
        + CACHE
        + STARTS
        + "@procedure\ndef task() -> None:\n    op()\n"
        + PROPERTY
        + "Q.eventually_not('c', TRUE)\n"
        + CACHED_TASK,
        {"q": ("violated", 1)},
    ),
    "a rule that names an element of an array by itself": (
        MARKS
        + "A = shared('A', bool, index=bool)\n"
        + "@procedure\ndef start() -> None:\n    A.at(True).set(True)\n"
        + MARK_ONCE
        + PROPERTY
        + "Q.on(operation('mark'), bad={'c': var('A[yes]', BOOL)})\n"
        + "model = Model(name='random/m', title='m', init=start, task=task)\nPROPERTIES = [Q]\n",
        {"q": ("violated", 1)},
    ),
    "a fill that is bad by a mark which an operation made": (
        MARKS
        + "F = shared('F', bool)\n"
        + CACHE.replace("fill=TRUE", "fill=F.expr")
        + STARTS
        + "@procedure\ndef task() -> None:\n    mark()\n    F.set(True)\n"
        + PROPERTY
        + "seen = Q.ghost('seen', bool, 0, per_entry=True)\n"
        + "Q.on(operation('mark'), {seen: TRUE})\n"
        + "Q.on(Event('fill'), bad={'c': not_(seen.expr)})\n"
        + CACHED_TASK,
        {"q": ("violated", 2)},  # cached, evicted with its mark, and cached again
    ),
    "a fill that is bad because of another cached entry": (
        MARKS
        + CACHE
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "Q.on(Event('fill'), bad={'c': and_(var('entry2.cached', BOOL), not_(eq(var('entry2.page', BOOL), var('entry.page', BOOL))))})\n"
        + CACHED_TASK,
        {"q": ("violated", 0)},
    ),
    "a mark that a fill reads from an array": (
        MARKS
        + "A = shared('A', bool, index=F)\n"
        + CACHE
        + "@procedure\ndef start() -> None:\n    A.at(F.q).set(True)\n"
        + MARK_ONCE
        + PROPERTY
        + "seen = Q.ghost('seen', bool, 0, per_entry=True)\n"
        + "Q.on(Event('fill'), {seen: var('A[q]', BOOL)})\n"
        + "Q.never('c', and_(CACHED, seen.expr))\n"
        + CACHED_TASK,
        {"q": ("violated", 0)},
    ),
    "a walk that marks by what the walk before it marked": (
        MARKS
        + CACHE
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "seen = Q.ghost('seen', bool, 0, per_entry=True)\n"
        + "twice = Q.ghost('twice', bool, 0, per_entry=True)\n"
        + "Q.on(Event('fill'), {seen: TRUE, twice: seen.expr})\n"
        + "Q.never('c', and_(CACHED, twice.expr))\n"
        + CACHED_TASK,
        {"q": ("proved", None)},  # it went before it came again, and its marks with it
    ),
    "a slice with two tracked entries of which only one's being cached is asked": (
        MARKS
        + CACHE
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "seen = Q.ghost('seen', bool, 0, per_entry=True)\n"
        + "Q.never('c', and_(CACHED, seen.expr, not_(eq(var('entry.page', BOOL), var('entry2.page', BOOL)))))\n"
        + CACHED_TASK,
        {"q": ("proved", None)},
    ),
    "an entry that only itself could bring in": (
        MARKS
        + CACHE.replace("fill=TRUE, initial=FALSE", "initial=TRUE, fill=and_(var('entry2.cached', BOOL), eq(var('entry2.page', BOOL), var('entry.page', BOOL)))")
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "Q.on(Event('fill'), bad={'c': TRUE})\n"
        + CACHED_TASK,
        {"q": ("proved", None)},  # what is cached does not come in, and what is not has nothing that brings it in
    ),
    "a walk that needs another entry, and asks nothing of its own": (
        MARKS
        + CACHE.replace("fill=TRUE, initial=FALSE", "fill=var('entry2.cached', BOOL), initial=var('entry.page', BOOL)")
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "Q.never('c', and_(CACHED, not_(var('entry.page', BOOL))))\n"
        + CACHED_TASK,
        {"q": ("violated", 0)},
    ),
    "a run that goes on for ever while another property counts": (
        MARKS
        + STARTS
        + "@procedure\ndef task() -> None:\n    while True:\n        mark()\n"
        + PROPERTY
        + "Q.eventually_not('c', TRUE)\n"
        + "R = Property('r', 'r', source='here', clauses={'c': 'c'})\n"
        + "odd = R.ghost('odd', bool)\n"
        + "R.on(operation('mark'), {odd: not_(odd.expr)})\nR.eventually_not('c', FALSE)\n"
        + "model = Model(name='random/m', title='m', init=start, task=task)\nPROPERTIES = [Q, R]\n",
        {"q": ("violated", 1), "r": ("proved", None)},
    ),
    "a precondition that only a lower handler could change": (
        MARKS
        + "P = per_cpu('P', bool)\n"
        + "@procedure(role='inner')\ndef inner() -> None:\n    requires(P.get())\n"
        + STARTS
        + "@procedure\ndef handler() -> None:\n    inner()\n    P.set(True)\n"
        + PROPERTY
        + "Q.on(enter('inner'), bad={'c': TRUE})\n"
        + "model = Model(name='random/m', title='m', init=start, interrupts=(Interrupt(handler, P, level='nmi'), Interrupt(handler, None)))\n"
        + "PROPERTIES = [Q]\n",
        {"q": ("violated", 1)},
    ),
    "what is wrong in init, and about no entry, while init marks entries": (
        MARKS
        + CACHE
        + "@procedure\ndef start() -> None:\n    mark()\n"
        + PROPERTY
        + "seen = Q.ghost('seen', bool, 0, per_entry=True)\n"
        + "Q.on(operation('mark'), {seen: var('entry.page', BOOL)}, bad={'c': TRUE})\n"
        + CACHED_TASK.replace("task=task, ", ""),
        {"q": ("violated", 0)},
    ),
    "a fill of one entry is none of the second": (
        MARKS
        + CACHE.replace("fill=TRUE", "fill=var('entry.page', BOOL)")
        + STARTS
        + MARK_ONCE
        + PROPERTY
        + "Q.on(Event('fill'), bad={'c': and_(CACHED, var('entry2.cached', BOOL), not_(eq(var('entry.page', BOOL), var('entry2.page', BOOL))))})\n"
        + CACHED_TASK,
        {"q": ("proved", None)},
    ),
    "a table over a bool whose value a solver has": (
        MARKS
        + "A = shared('A', Range(0, 3), index=bool)\nTAB = Table('tab', BOOL, (3, 1), IntType(0, 3))\nCASE = case_variable('c', bool)\n"
        + STARTS
        + "@procedure\ndef task() -> None:\n    A.at(CASE).set(TAB(CASE))\n    mark()\n"
        + PROPERTY
        + "Q.on(operation('mark'), bad={'c': const(3, IntType(0, 3)) <= var('A[no]', IntType(0, 3))})\n"
        + "model = Model(name='random/m', title='m', init=start, task=task, cases=(CASE,))\nPROPERTIES = [Q]\n",
        {"q": ("violated", 2)},
    ),
}


@pytest.mark.parametrize("case", sampled(CASES, keep=8))
def test_every_engine_gives_the_right_answer(case: str) -> None:
    text, right = CASES[case]
    outcome = compare(*load(HEAD + text), ("explicit", "explicit, sliced", "memory", "full in Python", "full and sets", "bmc", "certificates"))
    forget()
    assert outcome.ours == right
    assert not outcome.differences, outcome.differences[0]
    assert outcome.answers["explicit"] or outcome.answers["full in Python"], "no engine answered"


def test_a_walk_that_changes_what_is_no_mark_of_its_entry_is_refused() -> None:
    """CACHE-7: engines look at one entry, and what it changes of anything else would be lost."""
    text = MARKS + CACHE + STARTS + MARK_ONCE + PROPERTY + "filled = Q.ghost('filled', bool)\n"
    text += "Q.on(Event('fill'), {filled: TRUE})\nQ.never('c', filled.expr)\n" + CACHED_TASK
    outcome = compare(*load(HEAD + text), ("full in Python",))
    forget()
    assert outcome.ours == {"q": ("violated", 0)}
    assert not outcome.answers["full in Python"]
