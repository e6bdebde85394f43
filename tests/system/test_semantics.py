"""docs/semantics.md, rule by rule: what a step is, what waits, what is refused, and when a property is judged.

Each model is asked of the enumerating engines, which have to agree with the replay interpreter's own visit (``recheck``) and
with the reference interpreter, which reads the page and nothing of the lowering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import pytest
from quick import sampled

from tlbcheck import (
    CacheKind,
    Event,
    Interrupt,
    Model,
    Operation,
    Property,
    Range,
    Status,
    Table,
    atomic,
    choose,
    cpus,
    enter,
    leave,
    marker,
    operation,
    per_cpu,
    procedure,
    require,
    requires,
    shared,
    this_cpu,
    var,
    verify,
    verify_all,
)
from tlbcheck.engines.run import check
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import FALSE, TRUE, and_, const, eq, not_
from tlbcheck.lang.model import CACHED
from tlbcheck.lang.program import CPU_ACTING, CPU_SELF, Clause, StateVar
from tlbcheck.lang.types import BOOL, U32, IntType, WordType
from tlbcheck.machine import x86
from tlbcheck.options import Limits
from tlbcheck.report.result import unreached

mark, idle, bad = marker("mark", "marks"), marker("idle", "idles"), marker("bad", "does what it must not")
X, Y = shared("X", bool), shared("Y", bool)
N = shared("N", Range(0, 3))
S = shared("S", Range(-3, -1))
A = shared("A", Range(0, 3), index=Range(2, 4))
OWN = per_cpu("OWN", bool)
To2 = Annotated[int, IntType(0, 2)]
To3 = Annotated[int, IntType(0, 3)]
Below = Annotated[int, IntType(-7, 0)]
Nibble = Annotated[int, WordType(4)]
LOW, INDEX, WIDE = IntType(0, 3), IntType(2, 4), IntType(1, 4)

NEVER_BAD = Property("never-bad", "'bad' is never made", source="docs/semantics.md", clauses={"bad": "'bad' is made"})
NEVER_BAD.on(operation("bad"), bad={"bad": TRUE})


@procedure
def start() -> None:
    pass


@procedure
def idles() -> None:
    while True:
        idle()


def model(task: Any = idles, init: Any = start, **more: Any) -> Model:
    return Model(name="test/semantics", title="a model", init=init, task=task, **more)


def answer(of: Model, q: Property = NEVER_BAD, engines: Sequence[str] = ("explicit", "full", "reference")) -> str | int:
    """``proved``, ``refused``, or the depth of a violation; the engines and ``recheck`` agree, or this fails."""
    try:
        result = check(of, [q], engines=engines, recheck=True, limits=Limits(seconds=30))[q.name]
    except InputError as error:
        assert error.place is not None
        assert any(word in error.message for word in ("range", "outside", "CPUs", "flag")), error
        return "refused"
    depths = {v.depth for v in result.violations}
    return min(depths) if depths else str(getattr(result.verdict, "value", result.verdict))


# -- REQ


@procedure
def writes_and_waits() -> None:
    if this_cpu() == 0:
        X.set(True)
        y = Y.get()
        require(y)
        bad()
    else:
        idle()
        if X.get():
            bad()


@procedure
def waits_for_x() -> None:
    if this_cpu() == 0:
        require(X.get())
        bad()
    else:
        idle()
        X.set(True)


@procedure
def waits_for_both() -> None:
    """The two are never true at once, but each is when it is read."""
    if this_cpu() == 0:
        require(X.get() and Y.get())
        bad()
    else:
        X.set(True)
        with atomic:
            X.set(False)
            Y.set(True)


@procedure
def waits_in_one_step() -> None:
    if this_cpu() == 0:
        with atomic:
            require(X.get() and Y.get())
        bad()
    else:
        X.set(True)
        with atomic:
            X.set(False)
            Y.set(True)


@procedure
def limits_a_choice() -> None:
    mark()
    n = choose(LOW)
    require(n > 1)
    N.set(n)
    if n < 2:
        bad()


def test_what_happened_before_a_require_has_happened() -> None:
    """REQ-2: CPU 0 waits for ever behind its write, which CPU 1 sees: two steps, a read, and 'bad'."""
    assert answer(model(writes_and_waits, cpus=2)) == 4


def test_a_cpu_waits_until_what_it_reads_is_so() -> None:
    """REQ-2: 'idle', the write, the read, 'bad'."""
    assert answer(model(waits_for_x, cpus=2)) == 4


def test_the_accesses_of_a_condition_are_steps_of_their_own() -> None:
    """REQ-2 and REQ-1: what is never true at once may be read as true one after the other, and is not in one step."""
    assert answer(model(waits_for_both, cpus=2)) == 5
    assert answer(model(waits_in_one_step, cpus=2)) == "proved"


def test_require_limits_the_choice_that_was_just_made() -> None:
    assert answer(model(limits_a_choice)) == "proved"


# -- CALL


@procedure(role="f")
def needs_x() -> None:
    requires(X.get())
    idle()
    if not X.get():
        bad()


@procedure
def calls_while_x_changes() -> None:
    if this_cpu() == 0:
        X.set(True)
        needs_x()
    else:
        mark()
        X.set(False)


@procedure
def calls_alone() -> None:
    X.set(True)
    needs_x()


BREAKS = Property("breaks", "every call keeps to what is required", source="docs/semantics.md", clauses={"call": "one does not"})
BREAKS.on(Event("requires"), bad={"call": TRUE})


def test_a_precondition_is_judged_in_a_step_of_its_own_where_others_may_change_it() -> None:
    """CALL-4: 'mark', X set, X clear, the call. Alone it belongs to the write, and is kept."""
    assert answer(model(calls_while_x_changes, cpus=2), BREAKS) == 4
    assert answer(model(calls_alone), BREAKS) == "proved"


@procedure(role="outer")
def begins_and_ends() -> None:
    while True:
        idle()
        if X.get():
            return


ENTERED = Property("entered", "nobody enters", source="docs/semantics.md", clauses={"begins": "one begins"})
ENTERED.on(enter("outer"), bad={"begins": TRUE})
TWICE = Property("twice", "'outer' is entered once", source="docs/semantics.md", clauses={"twice": "it is entered twice"})
_in = TWICE.ghost("inside")
TWICE.on(enter("outer"), {_in: TRUE}, bad={"twice": _in.expr})
MARKED_INSIDE = Property("marked-inside", "no 'mark' within 'outer'", source="docs/semantics.md", trigger=operation("mark", within="outer"), clauses={"in": "one is"})
MARKED_INSIDE.on(operation("mark", within="outer"), bad={"in": TRUE})


def test_the_task_enters_its_role_once_with_its_first_step() -> None:
    """CALL-5, also where it begins with a loop."""
    assert answer(model(begins_and_ends), ENTERED) == 1
    assert answer(model(begins_and_ends), TWICE) == "proved"


@procedure
def long_helper() -> None:
    idle()
    idle()
    mark()


@procedure(role="outer")
def helped() -> None:
    long_helper()
    long_helper()


@procedure
def calls_helped() -> None:
    helped()


def test_a_helper_without_a_role_is_within_its_callers() -> None:
    """CALL-6, for a procedure that is called from several places and so compiled once."""
    assert answer(model(calls_helped), MARKED_INSIDE) == 3


# -- INT


@procedure
def says_bad() -> None:
    bad()


@procedure
def sets_off() -> None:
    x86.CLI()
    idle()


@procedure
def flags_on() -> None:
    for c in cpus():
        x86.IF.at(c).set(True)


@procedure
def flag_stays() -> None:
    while True:
        if not x86.PUSHF():
            bad()


def test_a_handler_gives_back_its_own_flag_and_no_other() -> None:
    """INT-5: whatever the handler did to it. The device's flag is never set, so its handler never runs."""
    device = Interrupt(says_bad, OWN)
    assert answer(model(idles, flags_on, interrupts=(Interrupt(sets_off, x86.IF), device))) == "proved"
    assert answer(model(flag_stays, flags_on, interrupts=(Interrupt(sets_off, x86.IF),))) == "proved"


def test_two_interrupts_with_one_handler_are_two() -> None:
    """INT-6: the second one's flag is set, and its return sets that."""
    both = (Interrupt(sets_off, OWN), Interrupt(sets_off, x86.IF))
    assert answer(model(flag_stays, flags_on, interrupts=both)) == "proved"
    assert answer(model(flag_stays, start, interrupts=both)) == 2


def test_a_flag_that_is_no_cpus_own_is_refused() -> None:
    """INT-2"""
    for flag in (X, per_cpu("level", Range(0, 1))):
        assert answer(model(interrupts=(Interrupt(says_bad, flag),))) == "refused"


# -- ENV and FAULT


@procedure
def marks() -> None:
    mark()


@procedure
def sets_x() -> None:
    X.set(True)


@procedure
def raises_one() -> None:
    OWN.at(1).set(True)


def about_marks(bad_: Any, *, every_cpu: bool = False) -> Property:
    made = Property("about-marks", "what a mark must not find", source="docs/semantics.md", clauses={"found": "it finds it"})
    made.on(operation("mark"), bad={"found": bad_}, every_cpu=every_cpu)
    return made


def test_an_action_is_no_cpu() -> None:
    """ENV-2, ENV-3: a rule is about every CPU, and none of them acts."""
    environment = model(idles, raises_one, actions=(marks,), cpus=2)
    assert answer(environment, about_marks(OWN.expr)) == 1
    assert answer(environment, about_marks(eq(CPU_SELF, CPU_ACTING), every_cpu=True)) == "proved"
    assert answer(environment, about_marks(not_(eq(CPU_SELF, CPU_ACTING)), every_cpu=True)) == 1


crash = Operation("crash", faults=(Clause("always", (), exception="#GP"),))


@procedure
def crashes() -> None:
    crash()


def test_after_a_fault_nothing_happens() -> None:
    """RUN-6: no action of the environment either."""
    after = Property("after", "X is not set after a fault", source="docs/semantics.md", clauses={"set": "it is"})
    faulted = after.ghost("faulted")
    after.on(Event("fault"), {faulted: not_(X.expr)})
    after.never("set", and_(faulted.expr, X.expr))
    assert answer(model(crashes, actions=(sets_x,)), after) == "proved"


# -- EVENT and GHOST


def test_what_is_bad_in_init_is_violated_at_depth_0() -> None:
    """EVENT-6: an operation, an assertion, a precondition and a role."""
    assert answer(model(init=says_bad)) == 0
    assert answer(model(init=helped), MARKED_INSIDE) == 0
    assert answer(model(init=calls_needs), BREAKS) == 0


@procedure
def calls_needs() -> None:
    needs_x()


def test_ghosts_change_in_init() -> None:
    """GHOST-6: of a CPU, of an activation, and of an entry."""
    for kinds in ({}, {"frame": True}, {"by_cpu": True}):
        q = Property("seen", "no 'mark'", source="docs/semantics.md", clauses={"seen": "one was made"})
        seen = q.ghost("seen", **kinds)
        q.on(operation("mark"), {seen: TRUE})
        q.never("seen", seen.expr)
        assert answer(model(init=marks), q) == 0
    q = Property("old", "what is cached was marked", source="docs/semantics.md", clauses={"new": "it was not"})
    new = q.ghost("new", per_entry=True)
    q.on(operation("mark"), {new: eq(var("entry.page", BOOL), TRUE)})
    q.on(operation("idle"), bad={"new": and_(CACHED, new.expr)})
    for pages, wanted in (((0,), "proved"), ((0, 1), 1)):
        cache = CacheKind("TLB", (("page", BOOL, pages),), TRUE, FALSE, TRUE, lambda entry: "the entry")
        assert answer(model(init=marks, cache=cache), q) == wanted


def test_never_is_judged_for_every_copy_of_a_ghost() -> None:
    """GHOST-5: a handler's own, and the one of another CPU that acts."""
    q = Property("framed", "no 'mark' in any activation", source="docs/semantics.md", clauses={"seen": "one was made"})
    framed = q.ghost("seen", frame=True)
    q.on(operation("mark"), {framed: TRUE})
    q.never("seen", framed.expr)
    assert answer(model(idles, flags_on, interrupts=(Interrupt(marks, x86.IF),)), q) == 2
    other = Property("others", "nobody sees another CPU's 'mark'", source="docs/semantics.md", clauses={"seen": "one does"})
    seen = other.ghost("seen", by_cpu=True)
    other.on(operation("mark"), {seen: not_(eq(CPU_SELF, CPU_ACTING))}, every_cpu=True)
    other.never("seen", seen.expr)
    assert answer(model(marks, cpus=2), other) == 1
    assert answer(model(marks, cpus=1), other) == "proved"


def test_a_rule_about_one_cpu_changes_each_of_its_copies_once() -> None:
    """GHOST-4"""
    q = Property("counts", "'mark' is made at most once", source="docs/semantics.md", clauses={"twice": "it was made twice"})
    count = q.ghost("count", Range(0, 3), by_cpu=True)
    q.on(operation("mark"), {count: count.expr + const(1, IntType(0, 3))})
    q.never("twice", eq(count.expr, const(2, IntType(0, 3))))
    assert answer(model(marks, cpus=2), q) == "proved"


# -- NUM and ERR


TAB = Table("tab", IntType(2, 4), (10, 20, 30), U32)


@procedure
def counts_down() -> None:
    S.set(-1)
    s = S.get()
    t: Below = s - 3
    mark()
    if t < -4 or -t != 4:
        bad()


@procedure
def reads_back() -> None:
    i = choose(INDEX)
    A.at(i).set(3)
    if A.at(i).get() != 3:
        bad()
    if TAB(i) == 10 and i != 2:
        bad()


@procedure
def reads_the_last() -> None:
    A.at(4).set(3)
    if A.at(4).get() == 3 and TAB(4) == 30:
        bad()


@procedure
def leaves_at_one() -> None:
    mark()
    n = N.get()
    if n > 0:
        A.at(n).set(1)


@procedure
def one() -> None:
    N.set(1)


@procedure
def in_vain() -> None:
    """The block does not happen; its error was reached all the same (ERR-2)."""
    with atomic:
        n = choose(LOW)
        m: To2 = n
        require(m < 3)


@procedure
def looks_beyond() -> None:
    n = choose(WIDE)
    mark()
    if n >= 2 and TAB(n) == 7:
        bad()


@procedure
def looks_everywhere() -> None:
    n = choose(WIDE)
    mark()
    if TAB(n) == 7:
        bad()


@procedure
def gives(n: To3) -> To3:
    return n + 1


@procedure
def result_leaves() -> None:
    idle()
    N.set(gives(3))


@procedure
def result_fits() -> None:
    idle()
    N.set(gives(2))


@procedure
def only_below() -> None:
    """The guard of a computation is a guard of what is in it."""
    n: To3 = 0
    while True:
        N.set(n)
        if n < 3:
            n = n + 1


REGISTER = StateVar("REGISTER", IntType(0, 2), per_cpu=True, register=True)
step_up = Operation("step up", effects=((REGISTER, REGISTER.expr + const(1, IntType(0, 2))),))


@procedure
def steps_twice() -> None:
    step_up()
    step_up()


@procedure
def steps_for_ever() -> None:
    while True:
        step_up()


@pytest.mark.parametrize(
    ("task", "init", "wanted"),
    [
        (counts_down, start, "proved"),
        (reads_back, start, "proved"),
        (reads_the_last, start, 3),
        (leaves_at_one, start, "proved"),
        (leaves_at_one, one, "refused"),
        (in_vain, start, "refused"),
        (looks_beyond, start, "proved"),
        (looks_everywhere, start, "refused"),
        (result_fits, start, "proved"),
        (result_leaves, start, "refused"),
        (only_below, start, "proved"),
        (steps_twice, start, "proved"),
        (steps_for_ever, start, "refused"),
        (idles, result_leaves, "refused"),
    ],
)
def test_numbers_have_their_sign_and_their_range(task: Any, init: Any, wanted: str | int) -> None:
    """NUM and ERR, in procedures, operations and ``init``."""
    assert answer(model(task, init)) == wanted


@pytest.mark.parametrize(("task", "wanted"), [(counts_down, "proved"), (steps_for_ever, "refused"), (in_vain, "refused")])
def test_no_solver_proves_a_model_that_leaves_its_ranges(task: Any, wanted: str) -> None:
    """ERR-3: an invariant, and the bounded search, know of negative numbers and of errors too."""
    assert answer(model(task), engines=("pdr", "bmc")) == wanted


def test_a_choice_is_of_its_set() -> None:
    """NUM-4"""
    assert answer(model(chooses)) == 1


@procedure
def chooses() -> None:
    n = choose((0, 2))
    if n == 1:
        mark()
    if n == 2:
        bad()
    else:
        idle()


@procedure
def counted() -> Nibble:
    N.set(N.get() + 1)
    return 3


@procedure
def inverts_once() -> None:
    x = ~counted()
    if N.get() != 1 or x != 12:
        bad()


@procedure
def compares_lazily() -> None:
    if 5 < counted() < counted():
        idle()
    if N.get() != 1:
        bad()


@pytest.mark.parametrize("task", [inverts_once, compares_lazily])
def test_each_call_is_made_once_and_where_it_is_reached(task: Any) -> None:
    """STEP-4"""
    assert answer(model(task)) == "proved"


def test_too_many_cpus_are_refused() -> None:
    """RUN-5"""
    assert [answer(model(cpus=n)) for n in (0, 1, 17)] == ["refused", "proved", "refused"]


def test_names_like_the_checkers_own_are_the_models() -> None:
    """Names that the checker makes for itself, without the percent sign with which it begins them, are the model's."""
    assert answer(model(sets_them)) == 7


HALTED, SETTING, MADE = shared("stuck", bool), shared("wrong0", bool), shared("choice0", bool)


@procedure
def sets_them() -> None:
    HALTED.set(True)
    SETTING.set(choose((True,)))
    MADE.set(True)
    if HALTED.get() and SETTING.get() and not MADE.get():
        idle()
    else:
        bad()


def test_leave_is_judged_in_init_and_of_the_task() -> None:
    """CALL-5"""
    left = Property("left", "nobody leaves", source="docs/semantics.md", clauses={"returns": "one returns"})
    left.on(leave("outer"), bad={"returns": TRUE})
    assert answer(model(helped), left) == 6
    assert answer(model(init=helped), left) == 0


@pytest.mark.parametrize("engine", ["explicit", "pdr", "full", "sets", "reference"])
def test_a_cache_that_no_walk_fills_is_told(engine: str) -> None:
    """A proof about entries that there never are is no silent one; what checks for errors of the model is no line that nobody reaches."""
    cache = CacheKind("TLB", (("page", BOOL, (0,)),), TRUE, FALSE, FALSE, lambda entry: "the entry")
    empty, full = (unreached(check(model(only_below, cache=c), [NEVER_BAD], engines=(engine,))) for c in (cache, replace(cache, fill=TRUE)))
    assert empty == ["a fill of the TLB: nothing is ever cached"]
    assert full == []


@procedure
def contradicts_itself() -> None:
    X.set(False)
    require(X.get())


@procedure
def chooses_what_it_forbids() -> None:
    n = choose(LOW)
    require(n > 3)
    N.set(n)


@procedure
def chooses_the_one_that_is_left() -> None:
    n = choose(LOW)
    require(n > 2)
    N.set(n)


@pytest.mark.parametrize("engine", ["explicit", "bmc", "pdr", "full", "sets", "reference"])
@pytest.mark.parametrize("init", [contradicts_itself, chooses_what_it_forbids], ids=lambda p: p.name)
def test_an_init_that_nothing_meets_is_refused(init: Any, engine: str) -> None:
    """RUN-4: there is no run, and so nothing to prove, whichever engine is asked; whether no way is left, or no choice on it."""
    with pytest.raises(InputError, match=r"has no run: nothing meets what .* requires"):
        check(model(init=init), [NEVER_BAD], engines=(engine,))


def test_an_init_that_one_choice_meets_has_runs() -> None:
    assert answer(model(init=chooses_the_one_that_is_left)) == "proved"


COUNTED = Property("counted", "fewer than two marks", source="docs/semantics.md", clauses={"many": "there are two"})
MARKS = COUNTED.ghost("marks", Range(0, 1))
COUNTED.on(operation("mark"), {MARKS: MARKS.expr + 1})
COUNTED.on(operation("bad"), bad={"many": eq(MARKS.expr, 1)})


@procedure
def marks_twice_and_is_bad() -> None:
    mark()
    mark()
    bad()


@procedure
def leaves_its_range() -> None:
    mark()
    n: Range(0, 3) = 0  # type: ignore[valid-type]  # read by the language, which has ranges
    while True:
        N.set(n)
        n = n + 1


@pytest.mark.parametrize(("engines",), sampled([(e,) for e in [("explicit", "bmc", "pdr"), ("sets",), ("explicit",), ("bmc",), ("pdr",), ("full",), ("reference",)]], keep=2), ids="+".join)
def test_a_ghost_that_leaves_its_range_takes_no_others_verdict(engines: tuple[str, ...]) -> None:
    """ERR-1: its own property is refused, in one line; status 2 says so for the model. An error of the model itself refuses all."""
    run = verify_all([model(marks_twice_and_is_bad), replace(model(), name="test/another")], [COUNTED, NEVER_BAD], engines=engines)
    judged, refused, other = run.models
    assert [(r.name, r.verdict, r.depths) for r in judged] == [("never-bad", "violated", {"bad": 3})]
    assert refused.failure is not None
    assert (refused.name, refused.results, refused.failure.status) == (judged.name, (), Status.USAGE)
    assert "marks" in refused.failure.message
    assert other.failure is None
    assert run.status == Status.USAGE
    alone = verify(model(marks_twice_and_is_bad), [NEVER_BAD, COUNTED], engines=engines)
    assert (alone["never-bad"].words, alone.status()) == ("VIOLATED", Status.USAGE)


def test_an_error_of_the_model_refuses_every_property() -> None:
    for properties in ([NEVER_BAD], [COUNTED, NEVER_BAD]):
        with pytest.raises(InputError, match="leaves its range"):
            verify(model(leaves_its_range), properties)
