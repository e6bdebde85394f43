"""Bits that are said to be always equal are so in every state that can be reached, and z3 loses nothing by carrying one for all."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Op, Spec, Target, build, specs

from tlbcheck.engines import bmc
from tlbcheck.engines.bmc import Bounded
from tlbcheck.engines.encoding import Encoding
from tlbcheck.engines.explicit import Tracked
from tlbcheck.lang.expr import TRUE, Expr, apply, const, eq, evaluate, ite, lookup, resize, var, word_op
from tlbcheck.lang.types import IntType, WordType
from tlbcheck.library import find_models, properties
from tlbcheck.machine import x86
from tlbcheck.system.equal_bits import EqualBits, positions
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import Parameter, Step, TransitionSystem, Variable

PROPERTIES = list(properties().values())
MACHINE = slice_system(lower(build(Spec((Op("CR3", "as asked"),), (Target(0, None, False, True), Target(1, None, False, True)))), PROPERTIES))


def quick(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def unequal(equal: EqualBits, variables: tuple[Variable, ...], state: Mapping[str, int]) -> list[str]:
    """What a state has against a partition."""
    return [f"{v.name} = {state[v.name]:#x} against {c:#x}" for v in variables for c in equal.of(v) if state[v.name] & c not in (0, c)]


# -- any expressions, on systems so small that all of their states can be visited

WORD, NARROW, INDEX = WordType(6), WordType(3), IntType(0, 2)
A, B, C = var("a", WORD), var("b", WORD), var("c", NARROW)
P, Q = var("p", WORD), var("q", INDEX)
_PAIRS = (0, 0b001001, 0b010010, 0b100100, 0b011011, 0b111111)
"""Values that say everything twice."""
_VALUES = st.sampled_from(_PAIRS) | st.integers(0, WORD.mask)


@st.composite
def words(draw: st.DrawFn, depth: int = 3) -> Expr:
    def sub() -> Expr:
        return draw(words(depth - 1))

    kind = draw(st.sampled_from(["a", "b", "p", "const", "table"] if depth == 0 else ["a", "b", "ite", "band", "bor", "bxor", "bnot", "shl", "shr", "resize", "add", "table"]))
    match kind:
        case "a" | "b" | "p":
            return var(kind, WORD)
        case "const":
            return const(draw(_VALUES), WORD)
        case "table":
            return lookup(Q, (draw(_VALUES), draw(_VALUES), draw(_VALUES)), WORD)
        case "ite":
            return ite(eq(sub(), const(draw(_VALUES), WORD)), sub(), sub())
        case "band" | "bor" | "bxor":
            return word_op(kind, sub(), draw(st.sampled_from([const(draw(_VALUES), WORD), sub()])))
        case "bnot":
            return apply("bnot", (sub(),), WORD)
        case "shl" | "shr":
            return word_op(kind, sub(), draw(st.sampled_from([const(3, WORD), const(1, WORD), const(6, WORD), P])))
        case "resize":
            return resize(resize(sub(), NARROW), WORD)
    return word_op("add", sub(), sub())


@st.composite
def systems(draw: st.DrawFn) -> TransitionSystem:
    parameters = (Parameter("p", WORD, (0b001001, draw(_VALUES)), "p"), Parameter("q", INDEX, (0, 2), "q"))

    def step(index: int) -> Step:
        updates = {n: e for n, e in (("a", draw(words())), ("b", draw(words())), ("c", resize(draw(words()), NARROW))) if draw(st.booleans())}
        return Step(index, "step", "step", 0, "task", "", (), (), parameters, TRUE, updates, {}, (), ())

    control = tuple(Variable(n, t, draw(st.sampled_from(_PAIRS)) & t.mask) for n, t in (("a", WORD), ("b", WORD), ("c", NARROW)))
    steps = tuple(step(i) for i in range(2))
    return replace(
        MACHINE, control=control, rigid=(), entry_fields=(), entry_variables=(), initial=(replace(step(0), updates={}),), steps=steps, fills=(), invariants=(), entry_initial={}, cached={}, meanings={}
    )


def reached(system: TransitionSystem) -> Iterator[dict[str, int]]:
    names = [v.name for v in system.control]
    todo = [tuple(v.initial for v in system.control)]
    seen = set(todo)
    while todo:
        state = dict(zip(names, todo.pop(), strict=True))
        yield state
        for step in system.steps:
            for chosen in itertools.product(*(q.domain for q in step.parameters)):
                scope = state | dict(zip((q.name for q in step.parameters), chosen, strict=True))
                after = tuple(evaluate(step.updates[n], scope) if n in step.updates else state[n] for n in names)
                if after not in seen and len(seen) < 2000:
                    seen.add(after)
                    todo.append(after)


def test_every_operator_is_judged_soundly() -> None:
    """Random updates: no state breaks what is said to be equal, and often enough something is."""
    seen: Counter[str] = Counter()

    @quick(100)
    @given(systems())
    def check(system: TransitionSystem) -> None:
        equal = EqualBits(system)
        found = [c for v in system.control for c in equal.of(v)]
        seen["systems"] += 1
        seen["equal"] += any(c.bit_count() > 1 for c in found)
        seen["split"] += any(len(equal.of(v)) > 1 for v in system.control)
        for state in reached(system):
            assert not unequal(equal, system.control, state)

    check()
    print(seen)
    assert seen["equal"] > 0.2 * seen["systems"]
    assert seen["split"] > 0.2 * seen["systems"]


TWICE = const(0b001001, WORD)


@pytest.mark.parametrize(
    ("update", "classes"),
    [
        (lookup(Q, (0b001001, 0, 0b010010), WORD), (0b001001, 0b010010)),
        (P, (0b001001, 0b010010)),
        (word_op("bxor", A, TWICE), (0b001001,)),
        (word_op("bor", word_op("shl", A, const(1, WORD)), TWICE), (0b001001, 0b010010, 0b100100)),
        (ite(eq(A, TWICE), word_op("band", P, TWICE), word_op("bor", A, const(0b010010, WORD))), (0b001001, 0b010010)),
        (word_op("bxor", A, const(0b1, WORD)), (0b1,)),
        (word_op("bxor", A, word_op("shl", P, const(1, WORD))), (0b010010, 0b100100)),
        (word_op("add", A, TWICE), tuple(1 << i for i in range(6))),
    ],
    ids=str,
)
def test_the_partition_is_as_coarse_as_it_looks(update: Expr, classes: tuple[int, ...]) -> None:
    """``a`` starts as 0 and is updated so, with ``p`` and ``q`` chosen freely."""
    parameters = (Parameter("p", WORD, (0b001001, 0b010010), "p"), Parameter("q", INDEX, (0, 1, 2), "q"))
    step = Step(0, "step", "step", 0, "task", "", (), (), parameters, TRUE, {"a": update}, {}, (), ())
    a = Variable("a", WORD)
    system = replace(MACHINE, control=(a,), rigid=(), entry_fields=(), entry_variables=(), initial=(), steps=(step,), fills=(), invariants=())
    found = EqualBits(system).of(a)
    assert found == classes


# -- the machines that are checked


def test_a_root_table_is_carried_by_three_bits() -> None:
    """Xen's roots repeat their number in every three bits of CR3's address field."""
    model = find_models("xen/pcid-v5")[0]
    system = slice_system(lower(model, PROPERTIES))
    cr3 = next(v for v in system.control if v.name == "cpu0.cr3")
    found = [c for c in EqualBits(system).of(cr3) if c & x86.X86_CR3_ADDR_MASK]
    assert found == [sum(1 << i for i in range(12 + n, 52, 3)) for n in range(3)]


@pytest.mark.long
def test_visited_states_have_equal_bits_and_z3_finds_the_same_in_whole_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random machines: nothing that enumeration visits breaks the partition; bounded search over whole words comes to the same depths."""
    seen: Counter[str] = Counter()

    @quick(25)
    @given(specs())
    def check(spec: Spec) -> None:
        system = slice_system(lower(build(spec), PROPERTIES))
        equal = EqualBits(system)
        search = Tracked(system)
        search.run()
        looked_at = tuple(v for v in system.control if v.name in search.compiled.position)
        for state in search.reached:
            assert not unequal(equal, looked_at, dict(zip(search.compiled.variables, state, strict=True)))
        seen["machines"] += 1
        seen["repeat"] += any(set(positions(c)) == {12 + i, 20 + i} for v in system.control for c in equal.of(v) for i in range(2))
        carried = Bounded(system).run(8)
        with monkeypatch.context() as m:
            m.setattr(bmc, "Encoding", partial(Encoding, whole_words=True))
            whole = Bounded(system).run(8)
        assert {(v.property, v.depth) for v in carried.violations} == {(v.property, v.depth) for v in whole.violations}
        assert not carried.reason
        assert carried.bound == whole.bound
        seen["violated"] += bool(whole.violations)

    check()
    print(seen)
    assert seen["repeat"] > 0.5 * seen["machines"]
    assert seen["violated"] > 0.2 * seen["machines"]
