"""The engine ``pdr``: it proves and refutes as the others do, and no fault in it becomes a wrong verdict."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from quick import sampled
from strategies import Spec, build, specs

from tlbcheck.engines import lemmas, obligations, proof
from tlbcheck.engines.circuit import Circuit, SystemCircuit
from tlbcheck.engines.encoding import Encoding
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.invariant import Invariant
from tlbcheck.engines.pdr import Pdr, Relation
from tlbcheck.engines.proof import unbounded
from tlbcheck.engines.run import EngineChild, check, confirm
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import InternalError
from tlbcheck.library import find_models, find_properties, properties
from tlbcheck.machine import x86
from tlbcheck.options import Limits
from tlbcheck.system.equal_bits import EqualBits, lowest
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem

SEVERAL = ("missing-flush", "no-fault", "switch-lands")
CLEAN = "xen/before-pcid"
BROKEN = "xen/before-pcid@cr4-not-restored"


def system_of(name: str, names: tuple[str, ...] = SEVERAL) -> TransitionSystem:
    model = find_models(name)[0]
    return slice_system(lower(model, find_properties(list(names), model)))


@functools.cache
def enumerated(name: str) -> tuple[Tracked, EngineResult]:
    search = Tracked(system_of(name))
    return search, search.run()


def depths(result: EngineResult, names: tuple[str, ...] = SEVERAL) -> dict[str, int | None]:
    return {n: v.depth if (v := result.shortest(n)) else None for n in names}


@pytest.mark.parametrize("name", sampled([BROKEN, CLEAN, "xen/pcid-v5"], keep=1))
def test_it_agrees_with_enumeration_in_verdicts_and_depths(name: str) -> None:
    """With proposals: what is clean is proved with an invariant, what is violated has a shortest run that replays."""
    search, explicit = enumerated(name)
    result = unbounded(search.system, search, 100)
    assert not result.reason
    assert not result.undecided
    assert depths(result) == depths(explicit)
    assert {n for n in SEVERAL if explicit.shortest(n) is None} == set(result.invariants)
    for v in result.violations:
        confirm(search.system, v, "pdr")


@pytest.mark.long
def test_it_needs_no_proposals() -> None:
    """Property-directed reachability alone, which takes nothing from the explicit engine, comes to the same."""
    for name, names in ((CLEAN, ("no-fault",)), (BROKEN, ("no-fault", "switch-lands"))):
        system = system_of(name, names)
        result = unbounded(system, None, 100)
        assert not result.undecided
        assert depths(result, names) == depths(Tracked(system).run(), names)


PROPERTIES = list(properties().values())


@pytest.mark.long
@settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(specs())
def test_random_machines_are_judged_alike(spec: Spec) -> None:
    """Random models, with proposals and without."""
    system = slice_system(lower(build(spec), PROPERTIES))
    names = tuple(q.name for q in PROPERTIES)
    search = Tracked(system)
    expected = depths(search.run(), names)
    for result in (unbounded(system, search, 60), unbounded(system, None, 60)):
        assert not result.undecided
        assert depths(result, names) == expected
        for v in result.violations:
            confirm(system, v, "pdr")


@pytest.mark.long
def test_the_circuit_computes_what_the_transition_system_says() -> None:
    """Along enumerated runs every step's result is what the circuit's gates give; its inputs are read from z3's names."""
    circuit = SystemCircuit(system_of("xen/pcid-v5"))
    compiled = enumerated("xen/pcid-v5")[0].compiled
    for goal in ("missing-flush", "no-fault"):
        found = Pdr(Relation(circuit.circuit, goal)).run(float("inf"))
        assert found is not None
        assert found.run is not None
        trace = proof.trace_of(circuit, proof.circuit_run(circuit, goal, found.run))
        before = trace.initial
        for s in trace.steps:
            edges = compiled.successors(tuple(before.control[n] for n in compiled.variables))
            assert tuple(s.after.control[n] for n in compiled.variables) in [t for index, _, t in edges if index == s.step.index]
            before = s.after


# -- seeded faults: each is an internal error, and never a verdict


def seeded(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, fault: Callable[..., Any]) -> None:
    original = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *args, **more: fault(original, *args, **more))


def test_fault_an_operation_lost_in_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit drops no entry any more: enumeration has not visited what it steps to."""

    def lost(original: Callable[..., Any], self: Encoding) -> Any:
        made = original(self)
        return {n: self.now_terms[n] for n in made} if self.bitwise else made

    search, _ = enumerated(CLEAN)
    seeded(monkeypatch, Encoding, "entry_moved", lost)
    with pytest.raises(InternalError, match="did not visit"):
        unbounded(search.system, search, 100)


@pytest.mark.long
def test_fault_a_layer_lost_by_the_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are said to be reached later than they are: a run that reaches one shows it."""
    search, _ = enumerated(BROKEN)
    seeded(monkeypatch, lemmas, "_by_depth", lambda original, search, most: [[], *original(search, most)])
    with pytest.raises(InternalError, match="did not visit"):
        unbounded(search.system, search, 100)


@pytest.mark.long
def test_fault_a_step_lost_in_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that can never be taken in the circuit makes PDR's invariant too strong for z3's own encoding."""

    def lost(original: Callable[..., Any], self: Encoding) -> Any:
        import z3

        return z3.And(original(self), self.act != self.system.steps[-1].index, self.act != self.system.steps[0].index) if self.bitwise else original(self)

    seeded(monkeypatch, Encoding, "enabled", lost)
    with pytest.raises(InternalError, match="none: z3 refutes obligation 'inductive'"):
        unbounded(system_of(CLEAN, ("no-fault",)), None, 100)


@pytest.mark.parametrize(("of", "obligation"), sampled([(".cr3", "initial"), (":cr3", "inductive")], keep=1), ids=["the register", "the switch's argument"])
def test_fault_bits_that_differ_are_carried_by_one(monkeypatch: pytest.MonkeyPatch, of: str, obligation: str) -> None:
    """What is taken for equal is a part of the invariant: z3 refutes it over whole words, of the register at the start, of the argument once it is given."""

    def merged(original: Callable[..., tuple[int, ...]], self: EqualBits, variable: Any) -> tuple[int, ...]:
        made = original(self, variable)
        among = [c for c in made if c & x86.X86_CR3_ADDR_MASK] if variable.name.endswith(of) else []
        return tuple(sorted([sum(among), *(c for c in made if c not in among)], key=lowest)) if among else made

    seeded(monkeypatch, EqualBits, "of", merged)
    with pytest.raises(InternalError, match=f"z3 refutes obligation '{obligation}'"):
        unbounded(system_of(CLEAN, ("no-fault",)), None, 100)


def test_fault_an_over_eager_generalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A literal is dropped from a clause unchecked: z3 refutes the obligations."""

    def eager(original: Callable[..., Any], *args: Any) -> Any:
        cubes = original(*args)
        return [cubes[0], *(c[1:] if len(c) > 2 and any(x > 0 for x in c[1:]) else c for c in cubes[1:])]

    search, _ = enumerated(CLEAN)
    seeded(monkeypatch, proof, "needed", eager)
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        unbounded(search.system, search, 100)


@pytest.mark.long
def test_fault_clauses_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the clauses that keep the others inductive are forgotten."""
    search, _ = enumerated(CLEAN)
    seeded(monkeypatch, proof, "needed", lambda original, *args: original(*args)[::2])
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        unbounded(search.system, search, 100)


def test_fault_clauses_pushed_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clause of the first frame is taken for an invariant."""

    def unchecked(self: Pdr) -> bool:
        self.lemmas += sorted(c for f in self.frames for c in f)
        return len(self.frames) > 3

    monkeypatch.setattr(Pdr, "_propagate", unchecked)
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        unbounded(system_of(CLEAN, ("no-fault",)), None, 100)


def test_fault_states_that_enumeration_missed() -> None:
    """Nearly all visited states are forgotten, the bad ones too: clauses that exclude reachable states cannot be closed."""
    search = Tracked(system_of(BROKEN))
    search.run()
    for state in list(search.reached)[20:]:
        del search.reached[state]
    with pytest.raises(InternalError, match="did not visit"):
        unbounded(search.system, search, 100)


@pytest.mark.long
def test_fault_a_depth_that_is_one_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that reports one step too many disagrees with the others."""

    def longer(original: Callable[..., Any], result: EngineResult, circuit: SystemCircuit, goal: str, run: Any) -> None:
        original(result, circuit, goal, run)
        v = result.violations[-1]
        result.violations[-1] = type(v)(v.property, v.clause, v.case, v.depth + 1, v.trace)

    seeded(monkeypatch, proof, "refute", longer)
    model = find_models(BROKEN)[0]
    with pytest.raises(InternalError, match="at depth"):
        check(model, find_properties(["switch-lands"], model), engines=("explicit", "pdr"))


def test_fault_a_solver_answer_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SAT solver calls a reachable bad state unreachable: what PDR then proves z3 refutes."""

    def flipped(original: Callable[..., Any], self: Relation, *assumptions: int) -> bool:
        return False if self.bad in assumptions else bool(original(self, *assumptions))

    seeded(monkeypatch, Relation, "ask", flipped)
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        unbounded(system_of(CLEAN, ("no-fault",)), None, 100)


def test_fault_initial_states_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run starts in the circuit: false is inductive there, and z3 says that it is not so initially."""
    import z3

    def none(original: Callable[..., Any], self: Encoding) -> Any:
        return z3.BoolVal(False) if self.bitwise else original(self)

    seeded(monkeypatch, Encoding, "initial", none)
    with pytest.raises(InternalError, match="z3 refutes obligation"):
        unbounded(system_of(CLEAN, ("no-fault",)), None, 100)


def test_fault_a_run_that_is_none() -> None:
    """Inputs that do not lead to a violation are no counterexample."""
    circuit = SystemCircuit(system_of(BROKEN))
    with pytest.raises(InternalError, match="does not violate"):
        proof.circuit_run(circuit, circuit.goals[0], [[]])


def test_obligations_of_a_trivial_invariant_do_not_hold() -> None:
    """True excludes nothing bad, false holds of no start: neither is shown."""
    text = obligations.SystemText(system_of(CLEAN), "no-fault")
    assert obligations.decide(text, Invariant((), (), ()), 60) == ("safe", "sat")
    name = text.state[0].name
    contradiction = Invariant((), (), (((name, 0, 0),), ((name, 0, 1),)))
    assert obligations.decide(text, contradiction, 60) == ("initial", "sat")


# -- limits


def children() -> int:
    return len(multiprocessing.active_children())


def test_a_solver_that_runs_out_of_time_decides_nothing() -> None:
    """Verdict unknown, with the reason, and no process left behind."""
    model = find_models(CLEAN)[0]
    result = check(model, find_properties(["no-fault"], model), engines=("pdr",), limits=Limits(seconds=0.02))
    (r,) = result.results
    assert r.verdict == "unknown"
    assert "did not finish" in r.engines["pdr"].reason
    assert not children()


def test_a_solver_that_runs_out_of_memory_decides_nothing() -> None:
    """Not even in a process whose earlier work left enough free that nothing new has to be mapped."""
    model = find_models("xen/pcid-v5")[0]
    held = [bytes(1 << 10) for _ in range(100_000)]
    kept = held[::100]
    del held
    result = check(model, find_properties(["missing-flush"], model), engines=("pdr",), limits=Limits(memory=1 << 20))
    (r,) = result.results
    assert len(kept) == 1000
    assert r.verdict == "unknown"
    assert r.engines["pdr"].reason == "out of memory (1 MiB)"
    assert not children()


def test_a_solver_that_is_killed_decides_nothing() -> None:
    """What another engine says stands; alone the verdict is unknown."""

    def die(system: TransitionSystem) -> EngineResult:
        os.kill(os.getpid(), 9)
        raise AssertionError

    child = EngineChild("pdr", system_of(CLEAN), die, Limits())
    result = child.result()
    assert result.verdict("no-fault") == "unknown"
    assert "died" in result.reason
    assert not children()


def test_time_runs_out_within_the_search() -> None:
    """PDR itself stops in time, and leaves its property undecided."""
    result = unbounded(system_of(CLEAN), None, 0.0)
    assert result.undecided
    assert all(result.verdict(n) == "unknown" for n in result.undecided)


def test_a_gate_is_made_once() -> None:
    c = Circuit(("a", "b"), ())
    one = c.both(c.input(0), c.input(1))
    assert c.both(c.input(1), c.input(0)) == one
    assert c.both(one, one ^ 1) == 0
    assert [c.values([], [x, y])[one >> 1] for x in (0, 1) for y in (0, 1)] == [0, 0, 0, 1]
    assert c.choice(c.input(0), 1, 0) == c.input(0)


def test_visited_states_are_what_the_masks_say() -> None:
    """Every mask of a literal has the visited states in which it holds, and its negation has the others."""
    search, result = enumerated(CLEAN)
    circuit = SystemCircuit(search.system)
    visited = lemmas.Visited(search, circuit)
    assert visited.all.bit_count() <= (result.states or 0)
    for v in (v for v in visited.masks if v > 0):
        assert visited.masks[v] | visited.masks[-v] == visited.all
        assert not visited.masks[v] & visited.masks[-v]
