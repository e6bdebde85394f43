"""One tracked entry is used where z3 says that it is enough, and "any" is said where z3 says so."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import meeting
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from strategies import Op, Spec, Target, build, specs

from tlbcheck import CACHED, CacheKind, Event, InputError, Model, Operation, Property, var
from tlbcheck.engines.bmc import Bounded
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.run import check
from tlbcheck.engines.sufficiency import decide
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import Place
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, eq, ite, lookup, not_, or_, substitute
from tlbcheck.lang.program import Clause, Do, Procedure, Statement, While, Write, shared
from tlbcheck.lang.types import U64, IntType, enum_type
from tlbcheck.library import find_models, properties
from tlbcheck.report import reread, reverify
from tlbcheck.report.result import model_result
from tlbcheck.report.schema import run_json
from tlbcheck.result import RunResult
from tlbcheck.session import Job, judged
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.sufficiency import FULL, Condition, Sufficiency, represented
from tlbcheck.system.transition_system import TransitionSystem

PROPERTIES = list(properties().values())
ONE = Sufficiency(1, tuple(Condition(name, True) for name in ("T1", "T2", "T3")), ())
"""What somebody says who does not check."""


def depth(result: EngineResult, q: Property) -> int | None:
    found = result.shortest(q.name)
    return found.depth if found else None


# -- one entry is not enough

EXAMPLES = (
    (meeting.TABLES, meeting.NO_REUSE, "tracked(2)", "T1", 4),
    (meeting.TWO, meeting.ONE_FRAME, "tracked(2)", "T2", 1),
    (meeting.READS, meeting.FRESH, "full", "T3", 4),
)


@pytest.mark.parametrize(("model", "q", "representation", "fails", "steps"), EXAMPLES)
def test_more_entries_are_tracked_where_one_is_not_enough(model: Model, q: Property, representation: str, fails: str, steps: int) -> None:
    """A paging-structure cache, a property about two entries, a procedure that reads a stale entry: caught, and searched rightly."""
    for chosen, verdict in ((model, "proved"), (model.variant("faulty"), "violated")):
        result = check(chosen, [q], recheck=True)
        assert result[q.name].verdict == verdict
        scope = model_result(result).results[0].scope.parts
        assert scope["representation"] == representation
        assert scope["why"].startswith(f"{fails} fails: ")
        assert [c.name for c in result.decided.conditions if not c.holds] == [fails]
        for v in result[q.name].violations:
            assert v.depth == steps
            assert v.trace is not None  # and it was replayed
        for fills in ("saturated", "free"):
            literal = explore_full(lower(chosen, [q]), fills=fills)
            assert literal.complete
            assert depth(literal, q) == (steps if verdict == "violated" else None)


@pytest.mark.parametrize(("model", "q"), [(m, q) for m, q, *_ in EXAMPLES])
def test_a_result_of_theirs_replays_from_its_file(monkeypatch: pytest.MonkeyPatch, model: Model, q: Property) -> None:
    faulty = model.variant("faulty")
    document = json.loads(json.dumps(run_json(RunResult((judged(faulty, Job((q,))),)))))
    monkeypatch.setattr(reverify, "named", lambda *_: faulty)
    monkeypatch.setattr(reverify, "find_properties", lambda *_: [q])
    assert [(name, prop) for name, prop, _ in reread.replay_document(document, Path("result.json")).confirmed] == [(faulty.name, q.name)]
    document["results"][0]["violations"][0]["initial"]["variables"]["pte"] = 1
    with pytest.raises(InputError):
        reread.replay_document(document, Path("result.json"))


@pytest.mark.parametrize(("model", "q"), [(m, q) for m, q, *_ in EXAMPLES[:2]])
def test_one_entry_alone_would_prove_what_is_false(model: Model, q: Property) -> None:
    """The condition that fails is needed: without it a violation is missed."""
    system = lower(model.variant("faulty"), [q])
    assert depth(Tracked(represented(system, ONE)).run(), q) is None
    assert depth(Tracked(represented(system, decide(system))).run(), q) is not None


@pytest.mark.parametrize(("model", "q"), [(m, q) for m, q, *_ in EXAMPLES])
def test_engines_refuse_entries_that_meet(model: Model, q: Property) -> None:
    """Nobody who forgets to decide gets an answer."""
    system = lower(model, [q])
    with pytest.raises(InputError, match="depend on each other"):
        Tracked(system)
    with pytest.raises((InputError, KeyError)):
        Bounded(system)


def tables(through: Expr) -> Model:
    return replace(meeting.TABLES, cache=meeting.cache(through))


def both_ways(model: Model, q: Property) -> tuple[str, int | None]:
    """The representation, and the depth on which it and the literal caches agree."""
    system = lower(model, [q])
    decided = decide(system)
    found = depth(Tracked(represented(system, decided)).run(), q)
    assert found == depth(explore_full(system, fills="free"), q)
    return decided.representation, found


def test_a_fill_that_only_mentions_another_entry_passes() -> None:
    """Decided by what a rule means, not by what it names."""
    anyone = or_(meeting.CACHED2, not_(meeting.CACHED2))
    assert both_ways(tables(anyone), meeting.NO_REUSE) == ("tracked(1)", 3 + 1)
    nobody = and_(meeting.CACHED2, not_(meeting.CACHED2))
    assert both_ways(tables(nobody), meeting.NO_REUSE) == ("tracked(1)", None)


def test_a_property_about_either_of_two_entries_is_about_one() -> None:
    reused, reused2 = (eq(var(f"{e}.frame", enum_type(meeting.Frame)), meeting.Frame.reused) for e in ("entry", "entry2"))
    either = Property("either", "", "", needs=("remap",), clauses={"reused": ""})
    either.never("reused", or_(and_(CACHED, reused), and_(meeting.CACHED2, reused2)))
    assert both_ways(meeting.TWO, either) == ("tracked(1)", 3)
    both = Property("both", "", "", needs=("remap",), clauses={"reused": ""})
    both.never("reused", and_(CACHED, reused, meeting.CACHED2, reused2))
    assert both_ways(meeting.TWO, both) == ("tracked(1)", 3)


class _Loads:
    """``meeting.READS`` with another load."""

    def __init__(self, **changes: Any) -> None:
        self.load = replace(meeting.LOAD, **changes)

    def model(self) -> Model:
        def with_load(s: Statement) -> Statement:
            return replace(s, operation=self.load) if isinstance(s, Do) and s.operation is meeting.LOAD else s

        changed = meeting.read.with_body([with_load(s) for s in meeting.read.body])
        return replace(meeting.READS, procedures={meeting.read: changed})


def test_a_load_whose_result_is_the_same_for_every_entry_passes() -> None:
    frame = var("used.frame", enum_type(meeting.Frame))
    reused, own = (const(list(meeting.Frame).index(f), frame.type) for f in (meeting.Frame.reused, meeting.Frame.own))
    assert both_ways(_Loads(result=ite(eq(frame, own), reused, ite(eq(frame, reused), reused, reused))).model(), meeting.FRESH) == ("tracked(1)", None)
    masked = ite(and_(eq(frame, own), eq(frame, reused)), frame, own)
    assert both_ways(_Loads(result=masked).model(), meeting.FRESH) == ("tracked(1)", 5)


def test_a_load_that_needs_a_stale_entry_does_not_pass() -> None:
    """Its result is a constant, but whether it happens tells what is cached."""
    assert meeting.LOAD.uses is not None
    stale = and_(meeting.LOAD.uses, not_(eq(var("used.frame", enum_type(meeting.Frame)), meeting.pte.expr)))
    model = _Loads(uses=stale, result=const(1, enum_type(meeting.Frame))).model()
    decided = decide(lower(model, [meeting.FRESH]))
    assert decided.entries == FULL
    assert "depending on what is cached" in decided.reasons[0]


def chain(links: int) -> Model:
    """Entry n may be filled while entry n+1 is cached, the last by a walk."""
    n = var("entry.n", IntType(0, links))
    n2 = var("entry2.n", IntType(0, links))
    enabled = [and_(eq(n, i), eq(n2, i + 1), meeting.CACHED2) for i in range(links)]
    level, leaf = enum_type(meeting.Level), list(meeting.Level).index(meeting.Level.leaf)
    fields = (("n", IntType(0, links), tuple(range(links + 1))), ("level", level, (leaf,)))
    kind = CacheKind("chain", fields, TRUE, or_(*enabled, and_(eq(n, links), meeting.linked.expr)), FALSE, str)
    return replace(meeting.TABLES, cache=kind)


@pytest.mark.parametrize(("links", "representation"), [(1, "tracked(2)"), (2, "tracked(3)"), (3, "full")])
def test_as_many_entries_are_tracked_as_enable_each_other(links: int, representation: str) -> None:
    model = chain(links)
    first = Property("first", "", "", needs=("reuse",), clauses={"cached": ""})
    first.never("cached", and_(CACHED, eq(var("entry.n", IntType(0, links)), 0)))
    system = lower(model, [first])
    decided = decide(system)
    assert decided.representation == representation
    assert check(model, [first])[first.name].verdict == "violated"


def test_a_fill_by_entries_that_need_not_be_cached_is_searched_literally() -> None:
    """``entry2`` alone is any entry at all: no tracked ones say whether there is such a one."""
    assert decide(lower(tables(eq(meeting.LEVEL2, meeting.Level.table)), [meeting.NO_REUSE])).entries == FULL


def test_marks_made_by_fills_need_the_literal_caches() -> None:
    q = Property("marked", "", "", needs=("reuse",), clauses={"marked": ""})
    mark = q.ghost("mark", per_entry=True)
    q.on(Event("fill"), {mark: meeting.linked.expr})
    q.never("marked", and_(CACHED, mark.expr))
    assert decide(lower(meeting.TABLES, [q])).entries == FULL


def test_what_asks_that_something_is_not_cached_is_refused() -> None:
    """Evictions are left out, so that absence cannot be judged (H5)."""
    q = Property("present", "", "", needs=("reuse",), clauses={"gone": ""})
    q.never("gone", not_(CACHED))
    with pytest.raises(InputError, match="present \\(gone\\) asks that something is not cached"):
        check(meeting.TABLES, [q])


# -- any number of pages, PCIDs, frames


@pytest.mark.long
def test_the_scope_of_a_library_proof() -> None:
    """Every model of the switch: any number of pages and frames, any PCIDs besides those that are named."""
    for name in ("xen/flush-once", "xen/pcid-v5", "xen/xsa-292"):
        decided = decide(lower(find_models(name)[0], PROPERTIES))
        assert decided.scope() == {
            "vcpus": "any",
            "domains": "any",
            "roots": "any",
            "pcids": "any (named: 0, 1, 2, 3)",
            "pages": "any",
            "frames": "any",
            "representation": "tracked(1)",
        }
        assert decided.assumptions == ("nothing is cached at the start for other pcids than those named: processors start with empty caches, and no walk here makes such an entry",)


NUMBER = var("entry.page", U64)
PUSH = Operation("PUSH", drops=(Clause("page 3 only", (eq(NUMBER, 3),)),))


def numbered(domain: Sequence[int], *, fill: Expr = TRUE, initial: Expr = FALSE, possible: Expr = TRUE, operation_: Operation = meeting.FLUSH, bad: Expr = CACHED) -> tuple[Any, str]:
    """What the scope says of pages, for a model whose pages are numbers, and why."""
    place = Place("numbered", 1)
    task = Procedure("task", (), place, lambda: [While(place=place, condition=TRUE, body=[Do(place=Place("numbered", 2), operation=operation_, args=())])])
    kind = CacheKind("TLB", (("page", U64, tuple(domain)),), possible, fill, initial, str, scope={"page": "pages"})
    q = Property("q", "", "", clauses={"bad": ""})
    q.never("bad", bad)
    decided = decide(lower(Model(name="numbered", title="", init=meeting.start, task=task, cache=kind), [q]))
    return decided.scope()["pages"], decided.dimensions[0].why


EVEN = eq(NUMBER & 1, 0)


def test_any_number_of_pages_where_no_rule_looks_at_the_number() -> None:
    assert numbered((0,))[0] == "any"
    assert numbered((0, 1))[0] == "any"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"fill": NUMBER < 2}, "what a walk caches tells another page from 0"),
        ({"fill": EVEN}, "what a walk caches tells another page from 0"),
        ({"initial": eq(NUMBER, 0)}, "what can be cached at the start tells another page from 0"),
        ({"possible": NUMBER < 1000}, "which entries there can be tells another page from 0"),
        ({"operation_": PUSH}, "what PUSH does to entries at numbered:2 tells another page from 0"),
        ({"bad": and_(CACHED, EVEN)}, "q (bad) tells another page from 0"),
    ],
)
def test_a_rule_that_looks_at_the_number_is_told(changes: dict[str, Any], what: str) -> None:
    assert numbered((0,), **changes) == ([0], what)


def test_pages_that_are_like_a_declared_one_are_covered() -> None:
    """With an even and an odd page, parity is no reason any more; nor is PUSH with page 3 and another odd one."""
    assert numbered((0, 1), fill=EVEN)[0] == "any"
    assert numbered((0, 3), operation_=PUSH)[0] == "any"
    assert numbered((0, 1, 3), operation_=PUSH, fill=EVEN)[0] == "any"
    assert numbered((0, 3), operation_=PUSH, fill=EVEN)[0] == [0, 3]
    assert numbered((0, 1), operation_=PUSH, fill=EVEN)[0] == [0, 1]


class Page(enum.Enum):
    data = enum.auto()
    code = enum.auto()


PAGES = enum_type(Page)
PAGE = var("entry.page", PAGES)
mapped = shared("mapped", Page)
_SAME = eq(var("entry.page", None), var("arg.page", None))
FLUSH_PAGE = Operation("FLUSH PAGE", (("page", None),), drops=(Clause("that page", (_SAME,)),))
FLUSH_EITHER = Operation("FLUSH EITHER", (("page", None),), drops=(Clause("that page", (_SAME,)), Clause("and any other", (not_(_SAME),))))


def kinds(*, domain: tuple[int, ...] = (0, 1), fill: Expr = TRUE, flush: Operation = meeting.FLUSH, args: tuple[Expr, ...] = (), q: Property | None = None) -> tuple[Any, str]:
    place = Place("kinds", 1)
    body: list[Statement] = [Write(place=Place("kinds", 2), variable=mapped, at=None, value=const(1, PAGE.type)), Do(place=Place("kinds", 3), operation=flush, args=args)]
    task = Procedure("task", (), place, lambda: [While(place=place, condition=TRUE, body=body)])
    kind = CacheKind("TLB", (("page", PAGES, domain),), TRUE, fill, FALSE, str, scope={"page": "pages"})
    if q is None:
        q = Property("q", "", "", clauses={"bad": ""})
        q.never("bad", and_(CACHED, eq(PAGE, Page.code)))
    decided = decide(lower(Model(name="kinds", title="", init=meeting.start, task=task, cache=kind), [q]))
    return decided.scope()["pages"], decided.dimensions[0].why


def test_kinds_of_pages_have_any_number_of_members() -> None:
    assert kinds()[0] == "any"
    assert kinds(fill=eq(PAGE, Page.code))[0] == "any"
    assert kinds(flush=FLUSH_EITHER, args=(const(0, PAGE.type),))[0] == "any"  # it names a page, and drops all the same


def test_what_names_one_page_of_a_kind_is_told() -> None:
    assert kinds(flush=FLUSH_PAGE, args=(const(0, PAGE.type),)) == (["data", "code"], "FLUSH PAGE at kinds:3 names one page: a second one of that kind is not looked at")
    assert kinds(fill=eq(PAGE, mapped.expr)) == (["data", "code"], "what a walk caches names one page: a second one of that kind is not looked at")
    assert kinds(domain=(0,)) == (["data"], "code is not among the kinds of page that are looked at")


def test_pcids_that_software_uses_but_the_model_does_not_declare() -> None:
    """A tag that is current and not watched: the scope is what is declared."""
    targets = (Target(0, 0, False, False), Target(1, 1, False, False))
    body = (Op("CR4", "as asked"), Op("CR3", "as asked"))
    declared = {tags: decide(lower(build(Spec(body, targets, tags=tags)), PROPERTIES)).scope()["pcids"] for tags in ((0,), (0, 1))}
    assert declared == {(0,): [0], (0, 1): "any (named: 0, 1)"}


# -- the same, watched happening


def more_pages(model: Model) -> Model:
    """Two pages of each kind: their number decides nothing but the kind."""
    kind, pages = enum_type(strategies.Page), IntType(0, 3)
    kind_of = {"entry.page": lookup(var("entry.page", pages), (0, 1, 0, 1), kind)}
    cache = model.cache
    assert cache is not None
    fields = tuple((n, pages if n == "page" else t, (*d, *(x + 2 for x in d)) if n == "page" else d) for n, t, d in cache.fields)
    rules = {part: substitute(getattr(cache, part), kind_of) for part in ("possible", "fill", "initial")}
    changed = replace(cache, fields=fields, **cast(dict[str, Any], rules))
    return replace(model, cache=changed, meanings={n: substitute(e, kind_of) for n, e in model.meanings.items()})


def more_tags(model: Model) -> Model:
    """A PCID that the software never uses; processors start with nothing cached for it."""
    cache = model.cache
    assert cache is not None
    fields = tuple((n, t, (*d, 2, 3000) if n == "tag" else d) for n, t, d in cache.fields)
    return replace(model, cache=replace(cache, fields=fields, initial=and_(cache.initial, var("entry.tag", U64) < 2)))


def depths(system: TransitionSystem, *, literal: bool) -> dict[str, int | None]:
    small = slice_system(system)
    result = explore_full(small, fills="saturated") if literal else Tracked(small).run()
    assert result.complete
    return {q.name: depth(result, q) for q in PROPERTIES}


@pytest.mark.long
def test_more_pages_and_pcids_change_no_verdict() -> None:
    """Where the scope says "any": random machines with two pages of each kind, and with further PCIDs, on the literal caches."""
    said = {"pages": 0, "pcids": 0}

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(specs())
    def run(spec: Spec) -> None:
        model = build(spec)
        system = lower(model, PROPERTIES)
        scope = decide(system).scope()
        found = depths(system, literal=False)
        for name, larger in (("pages", more_pages), ("pcids", more_tags)):
            if str(scope[name]).startswith("any"):
                said[name] += 1
                assert depths(lower(larger(model), PROPERTIES), literal=True) == found, name

    run()
    assert said["pages"] > 10
    assert said["pcids"] > 20


def test_an_unanswered_question_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without z3's answer no "any" is said, and what could go wrong with one entry is searched literally."""
    import tlbcheck.engines.sufficiency as module

    def broken(system: TransitionSystem) -> Sufficiency:
        raise MemoryError

    monkeypatch.setattr(module, "decide", broken)
    result = check(meeting.TABLES.variant("faulty"), [meeting.NO_REUSE])
    assert result.decided.representation == "full"
    assert result["no-reuse"].verdict == "violated"
    assert "out of memory" in result.decided.reasons[0]
