"""Faults put into engines on purpose: what tlbcheck does by itself on every check notices each of them.

A fault that makes an engine miss a violation is tried on a model that has one, a fault that drops
too little or too much on one that is proved as well. Never may a verdict come of it. Where all
engines share what is faulty (the lowering, the slice), only the replay interpreter can tell: by
replaying a trace, or by its own search (``recheck``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import meeting
import pytest
import z3
from quick import sampled
from strategies import Op, Spec, Target, build

from tlbcheck.engines import bmc, compile, encoding, explicit, query, run
from tlbcheck.engines.trace import Violation
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import FALSE, Expr, not_, substitute
from tlbcheck.lang.model import Model
from tlbcheck.library import properties
from tlbcheck.machine import x86
from tlbcheck.replay import interpreter
from tlbcheck.system import equal_bits, execution, slicing, transition_system

Patch = Callable[[pytest.MonkeyPatch], None]
WANTED = [q for q in properties().values() if q.name in ("missing-flush", "switch-lands")]


def switch(*body: Op) -> Model:
    targets = (Target(0, 0, True, False), Target(1, 1, True, False))
    return build(Spec((Op("PUSHF; CLI"), Op("tick"), *body, Op("POPF")), targets))


FORGETS = switch(Op("CR4", "as asked"), Op("CR3", "as asked"))
"""It keeps what the other root left behind."""
FLUSHES_EARLY = switch(Op("INVPCID 2"), Op("CR4", "as asked"), Op("CR3", "as asked"))
"""It keeps what is walked after its flush."""
FLUSHES = switch(Op("CR4", "as asked"), Op("CR3", "as asked"), Op("INVPCID 2"))


def verdicts(model: Model, **options: Any) -> dict[str, str]:
    result = run.check(model, WANTED, engines=("explicit", "bmc"), depth=12, **options)
    return {r.property.name: r.verdict for r in result.results}


@pytest.mark.long
def test_without_a_fault_there_is_a_verdict() -> None:
    """The models are worth the trouble: what follows is not noticed for other reasons."""
    assert verdicts(FORGETS, recheck=True) == {"missing-flush": "violated", "switch-lands": "proved"}
    assert verdicts(FLUSHES_EARLY, recheck=True) == {"missing-flush": "violated", "switch-lands": "proved"}
    for model in (FLUSHES, TOGGLES):
        assert verdicts(model, recheck=True) == {"missing-flush": "proved", "switch-lands": "proved"}


# -- the faults


def explicit_loses_an_operation(m: pytest.MonkeyPatch) -> None:
    real = compile.Compiled.successors

    def lossy(self: compile.Compiled, s: compile.State) -> Any:
        return [e for e in real(self, s) if self.system.steps[e[0]].action != "MOV to CR3"]

    m.setattr(compile.Compiled, "successors", lossy)


def z3_loses_an_operation(m: pytest.MonkeyPatch) -> None:
    real = encoding.Encoding.transition

    def lossy(self: encoding.Encoding) -> Any:
        lost = [s.index for s in self.system.steps if s.action == "MOV to CR3"]
        return z3.And(real(self), *(self.act != i for i in lost))

    m.setattr(encoding.Encoding, "transition", lossy)


def explicit_counts_one_step_too_many(m: pytest.MonkeyPatch) -> None:
    real = explicit.Tracked.result

    def late(self: explicit.Tracked, seconds: float, depth: int) -> Any:
        made = real(self, seconds, depth)
        made.violations = [replace(v, depth=v.depth + 1) for v in made.violations]
        return made

    m.setattr(explicit.Tracked, "result", late)
    m.setattr(run, "_add_traces", lambda *_: None)


def z3_counts_one_step_too_few(m: pytest.MonkeyPatch) -> None:
    real = bmc.Bounded.run

    def early(self: bmc.Bounded, *args: Any, **named: Any) -> Any:
        made = real(self, *args, **named)
        made.violations = [Violation(v.property, v.clause, v.case, v.depth - 1, v.trace) for v in made.violations]
        return made

    m.setattr(bmc.Bounded, "run", early)


class _Colliding(tuple[int, ...]):
    """A state whose second half nobody looks at: what a hash without a comparison makes of it."""

    def __hash__(self) -> int:
        return hash(self[: len(self) // 2])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and self[: len(self) // 2] == other[: len(self) // 2]


def hashes_collide(m: pytest.MonkeyPatch) -> None:
    successors, starts = compile.Compiled.successors, compile.Compiled.initial_states
    m.setattr(compile.Compiled, "successors", lambda self, s: [(i, p, _Colliding(t)) for i, p, t in successors(self, s)])
    m.setattr(compile.Compiled, "initial_states", lambda self: [(i, p, _Colliding(t)) for i, p, t in starts(self)])


def a_solver_answer_is_flipped(m: pytest.MonkeyPatch) -> None:
    real = z3.Solver.check
    m.setattr(z3.Solver, "check", lambda self, *args: z3.unsat if real(self, *args) == z3.sat else z3.sat)


def a_solver_says_unsat_once(m: pytest.MonkeyPatch) -> None:
    """Only in the bounded search: the query that has the violation."""
    real = z3.Solver.check

    def check(self: z3.Solver, *assumptions: Any) -> Any:
        answer = real(self, *assumptions)
        return z3.unsat if assumptions and answer == z3.sat else answer

    m.setattr(z3.Solver, "check", check)


def compiled_fills_are_dropped(m: pytest.MonkeyPatch) -> None:
    m.setattr(compile.Compiled, "_fill_function", lambda self: lambda s, masks: masks)


def _dropping(change: Callable[[int, int], int]) -> Patch:
    """Another content after a step that may drop than the compiled one: made of what was there and what is left."""

    def patch(m: pytest.MonkeyPatch) -> None:
        real = compile.Compiled.moved

        def moved(self: compile.Compiled, step: transition_system.Step) -> Any:
            made = real(self, step)
            if made is None or not any(n in step.entry_updates for n in self.system.cached.values()):
                return made
            return lambda s, p, masks: tuple(change(before, after) for before, after in zip(masks, made(s, p, masks), strict=True))

        m.setattr(compile.Compiled, "moved", moved)

    return patch


drop_masks_are_inverted = _dropping(lambda before, after: before & ~after)
everything_is_dropped = _dropping(lambda before, after: 0)
nothing_is_dropped = _dropping(lambda before, after: before)


def fills_come_before_the_step(m: pytest.MonkeyPatch) -> None:
    real = explicit.Tracked.move

    def move(self: explicit.Tracked, plan: Any, s: Any, chosen: Any, t: Any, news: Mapping[Any, int]) -> Any:
        filled: dict[Any, int] = {}
        for bits, mask in news.items():
            for after, part in self.split(self.compiled.fill(s, self.spread(bits)), mask).items():
                filled[after] = filled.get(after, 0) | part
        return real(self, replace(plan, refills=False), s, chosen, t, filled)

    m.setattr(explicit.Tracked, "move", move)


def starts_are_lost(m: pytest.MonkeyPatch) -> None:
    real = compile.Compiled.initial_states
    m.setattr(compile.Compiled, "initial_states", lambda self: real(self)[:0])


def contents_at_the_start_are_lost(m: pytest.MonkeyPatch) -> None:
    """Nothing is cached at the start, in z3's translation."""
    real = encoding.Encoding.initial

    def initial(self: encoding.Encoding) -> Any:
        return z3.And(real(self), *(z3.Not(self.now_terms[n]) for n in self.system.cached.values()))

    m.setattr(encoding.Encoding, "initial", initial)


def bits_that_differ_are_carried_by_one(m: pytest.MonkeyPatch) -> None:
    """Those that tell one root from the other in CR3."""
    real = equal_bits.EqualBits.of

    def merged(self: equal_bits.EqualBits, variable: transition_system.Variable) -> tuple[int, ...]:
        made = real(self, variable)
        if variable.name != "cpu0.cr3":
            return made
        among = [c for c in made if c & x86.X86_CR3_ADDR_MASK]
        return tuple(sorted([sum(among), *(c for c in made if c not in among)], key=equal_bits.lowest))

    m.setattr(equal_bits.EqualBits, "of", merged)


def bits_are_never_told_apart(m: pytest.MonkeyPatch) -> None:
    """What is equal at the start is taken to stay so, whatever a step writes."""
    m.setattr(equal_bits.EqualBits, "_split", lambda self, step: False)


def bits_are_told_apart_at_the_start_alone(m: pytest.MonkeyPatch) -> None:
    real = equal_bits.EqualBits._split
    m.setattr(equal_bits.EqualBits, "_split", lambda self, step: step in self.known.system.initial and real(self, step))


def z3_gets_another_slice(m: pytest.MonkeyPatch) -> None:
    """CR3 never changes in it."""

    def cut(system: transition_system.TransitionSystem) -> transition_system.TransitionSystem:
        made = slicing.slice_system(system)
        return replace(made, steps=tuple(replace(s, updates={n: e for n, e in s.updates.items() if n != "cpu0.cr3"}) for s in made.steps))

    m.setattr("tlbcheck.engines.run.slice_system", cut)


def slicing_leaves_out_what_is_needed(m: pytest.MonkeyPatch) -> None:
    """The age of entries, which only the property reads."""
    real = slicing.needed
    m.setattr(slicing, "needed", lambda system: {n for n in real(system) if "aged" not in n})


def replay_skips_an_operation(m: pytest.MonkeyPatch) -> None:
    real = interpreter.Run._operate

    def skip(self: interpreter.Run, s: Any, scope: Any, names: Any, roles: Any) -> None:
        if s.operation.name != "PUSHF; CLI":
            real(self, s, scope, names, roles)

    m.setattr(interpreter.Run, "_operate", skip)


ONE_ENGINE: tuple[tuple[Patch, Model], ...] = (
    (explicit_loses_an_operation, FORGETS),
    (z3_loses_an_operation, FORGETS),
    (explicit_counts_one_step_too_many, FORGETS),
    (z3_counts_one_step_too_few, FORGETS),
    (hashes_collide, FORGETS),
    (a_solver_answer_is_flipped, FORGETS),
    (a_solver_says_unsat_once, FORGETS),
    (compiled_fills_are_dropped, FLUSHES_EARLY),
    (drop_masks_are_inverted, FORGETS),
    (everything_is_dropped, FORGETS),
    (nothing_is_dropped, FLUSHES),
    (fills_come_before_the_step, FLUSHES_EARLY),
    (starts_are_lost, FORGETS),
    (contents_at_the_start_are_lost, FORGETS),
    (bits_that_differ_are_carried_by_one, FORGETS),
    (bits_are_never_told_apart, FORGETS),
    (bits_are_told_apart_at_the_start_alone, FORGETS),
    (z3_gets_another_slice, FORGETS),
    (slicing_leaves_out_what_is_needed, FORGETS),
    (replay_skips_an_operation, FORGETS),
)


@pytest.mark.parametrize(("fault", "model"), sampled(ONE_ENGINE, keep=8), ids=lambda x: next((n for n, v in globals().items() if v is x), ""))
def test_a_fault_of_one_engine_is_an_internal_error(monkeypatch: pytest.MonkeyPatch, fault: Patch, model: Model) -> None:
    fault(monkeypatch)
    with pytest.raises(InternalError):
        verdicts(model)


def test_engines_that_share_a_wrong_slice_do_not_agree_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cases, the explicit engine searches the slice as well."""
    slicing_leaves_out_what_is_needed(monkeypatch)
    with pytest.raises(InternalError, match="leaves out something that it needs"):
        verdicts(FORGETS, cases=False)


# -- what all engines share


def lowering_loses_drops(m: pytest.MonkeyPatch) -> None:
    m.setattr(execution.Execution, "drop", lambda self, run, dropped: None)


def lowering_drops_too_much(m: pytest.MonkeyPatch) -> None:
    real = execution.Execution.drop
    m.setattr(execution.Execution, "drop", lambda self, run, dropped: real(self, run, not_(FALSE)))


def operands_are_put_in_after_the_effect(m: pytest.MonkeyPatch) -> None:
    """What an operation drops is read off the registers that it has written: CR4.PGE no longer changes."""
    real = execution.Execution.dropped

    def dropped(self: execution.Execution, operation: Any, now: Callable[[Expr], Expr]) -> Any:
        written = {v.name: e for v, e in operation.effects}
        return real(self, operation, lambda e: now(substitute(e, written)))

    m.setattr(execution.Execution, "dropped", dropped)


def lowering_loses_fills(m: pytest.MonkeyPatch) -> None:
    from tlbcheck.system import lower

    real = lower._Lowering.fills
    m.setattr(lower._Lowering, "fills", lambda self: tuple(replace(f, when=FALSE, reads=frozenset()) for f in real(self)))


_TOGGLE = (Op("PUSHF; CLI"), Op("tick"), Op("CR4", "no PGE"), Op("CR3", "as asked"), Op("CR4", "as asked"), Op("POPF"))
TOGGLES = build(Spec(_TOGGLE, (Target(0, None, False, True), Target(1, None, False, True)), global_pages=(0, 1)))
"""A switch whose only flush of global entries is the change of CR4.PGE."""
SHARED: tuple[tuple[Patch, Model, bool], ...] = (
    (lowering_loses_drops, FLUSHES, False),
    (lowering_drops_too_much, FORGETS, True),
    (operands_are_put_in_after_the_effect, TOGGLES, False),
    (lowering_loses_fills, FLUSHES_EARLY, True),
)


@pytest.mark.parametrize(("fault", "model", "recheck"), SHARED, ids=lambda x: getattr(x, "__name__", ""))
def test_a_fault_of_the_lowering_is_an_internal_error(monkeypatch: pytest.MonkeyPatch, fault: Patch, model: Model, recheck: bool) -> None:
    """Engines agree on what is wrong; the interpreter, which does not know the lowering, does not."""
    fault(monkeypatch)
    with pytest.raises(InternalError, match="replay"):
        verdicts(model, recheck=recheck)


# -- where entries depend on each other


def full_uses_entries_that_are_not_there(m: pytest.MonkeyPatch) -> None:
    m.setattr(compile.Compiled, "used", lambda self, step: lambda s, p, masks: 1)


def full_uses_no_entry_at_all(m: pytest.MonkeyPatch) -> None:
    m.setattr(compile.Compiled, "used", lambda self, step: lambda s, p, masks: int(not step.used))


def one_entry_is_said_to_be_enough(m: pytest.MonkeyPatch) -> None:
    """z3 refutes everything once it has been asked whether there are entries."""
    real = query.Query.satisfiable
    asked: list[int] = []

    def satisfiable(self: query.Query, *parts: Any) -> bool:
        asked.append(1)
        return len(asked) == 1 and real(self, *parts)

    m.setattr(query.Query, "satisfiable", satisfiable)


MEETING: tuple[tuple[Patch, Model, Any], ...] = (
    (full_uses_entries_that_are_not_there, meeting.READS, meeting.FRESH),
    (full_uses_no_entry_at_all, meeting.READS.variant("faulty"), meeting.FRESH),
    (one_entry_is_said_to_be_enough, meeting.TABLES.variant("faulty"), meeting.NO_REUSE),
    (one_entry_is_said_to_be_enough, meeting.TWO.variant("faulty"), meeting.ONE_FRAME),
)


@pytest.mark.parametrize(("fault", "model", "q"), MEETING, ids=lambda x: getattr(x, "__name__", getattr(x, "name", "")))
def test_a_fault_where_entries_meet_is_an_internal_error(monkeypatch: pytest.MonkeyPatch, fault: Patch, model: Model, q: Any) -> None:
    """There the interpreter always searches by itself as well."""
    fault(monkeypatch)
    with pytest.raises(InternalError):
        run.check(model, [q])


def test_a_solver_that_refutes_everything_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.Query, "satisfiable", lambda self, *parts: False)
    with pytest.raises(InternalError, match="no entry can exist"):
        verdicts(FLUSHES)
