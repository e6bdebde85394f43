"""The z3 engine: bounded search, incremental in depth, for a shortest violation of each property.

The tracked entry is symbolic; fills are saturated. Words are cut down to the bits that can vary, one for each class of equal ones.
This runs in a child process (see ``engines.child``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import z3

from tlbcheck.engines.encoding import Encoding, Term, value_of
from tlbcheck.engines.trace import EngineResult, State, Trace, TraceStep, Violation, check_failed, clause_of, start_of
from tlbcheck.errors import InternalError
from tlbcheck.lang.types import Type, WordType
from tlbcheck.system.transition_system import TransitionSystem


class Bounded:
    """Unrolls the transition relation step by step."""

    def __init__(self, system: TransitionSystem) -> None:
        self.encoding = Encoding(system)
        self.system = system
        self.solver = z3.SolverFor("QF_FD")
        e = self.encoding
        # The encoding makes constants for parameters as it meets them: the step comes first.
        transition, step_bads = z3.simplify(e.transition()), {g: e.step_bad(g) for g in e.goals}
        self.inputs = [e.act, *e.parameters.values()]
        self._places = [(x, z3.Var(i, x.sort())) for i, x in enumerate((*e.now.values(), *self.inputs, *(e.next[n] for n in e.now)))]
        self._frames: list[list[Term]] = []
        self.transition = self._template(transition)
        self.step_bads = {g: self._template(bad) for g, bad in step_bads.items()}
        self.state_bads = {g: self._template(e.state_bad(g)) for g in e.goals}
        self.wrong = self._template(e.out_of_range()) if any(s.checks for s in system.steps) else None

    def _template(self, term: Term) -> Term:
        """``term`` with a place for each variable of a step, for ``at``."""
        return z3.substitute(term, *self._places)

    def at(self, template: Term, frame: int) -> Term:
        """A template over the vectors of one unrolled step."""
        e = self.encoding
        while len(self._frames) <= frame + 1:
            n = len(self._frames)
            self._frames.append([self._named(x, n) for x in (*e.now.values(), *self.inputs)])
        return z3.substitute_vars(template, *self._frames[frame], *self._frames[frame + 1][: len(e.now)])

    def _started(self, initial: Term) -> Term:
        """``initial`` with choices of its own, apart from those of the first step."""
        return z3.substitute(initial, *((x, z3.Const(f"start:{x.decl().name()}", x.sort())) for x in self.encoding.parameters.values()))

    def _named(self, x: Term, frame: int) -> Term:
        return z3.Const(f"{x.decl().name()}@{frame}", x.sort())

    def run(self, bound: int, progress: Callable[[int], None] | None = None, stop: Callable[[int], bool] | None = None) -> EngineResult:
        """Search up to ``bound`` steps; each property is dropped once violated.

        ``stop`` may end the search after a depth. Raises ``InputError`` for a model that a run of this length shows to be wrong.
        """
        began = time.perf_counter()
        result = EngineResult("bmc", complete=False, bound=bound)
        open_goals = list(self.encoding.goals)
        self.solver.add(self.at(self._template(self._started(self.encoding.initial())), 0))
        for depth in range(bound + 1):
            if depth:
                self.solver.add(self.at(self.transition, depth - 1))
            reached: dict[str, Term] = {}
            bads: dict[str, Term] = {}
            for goal in open_goals:
                literal = z3.Bool(f"bad:{goal}@{depth}")
                bad = self.at(self.state_bads[goal], depth)
                if depth:
                    bad = z3.Or(bad, self.at(self.step_bads[goal], depth - 1))
                self.solver.add(z3.Implies(literal, bad))
                reached[goal], bads[goal] = literal, bad
            if progress is not None:
                progress(depth)
            if depth and self.wrong is not None:
                self._refuse(self.at(self.wrong, depth - 1), depth)
            while open_goals:
                some = z3.Bool(f"any@{depth}:{len(open_goals)}")
                self.solver.add(z3.Implies(some, z3.Or([reached[g] for g in open_goals])))
                answer = self.solver.check(some)
                if answer == z3.unknown:
                    result.reason = f"z3: {self.solver.reason_unknown()} at depth {depth}"
                    result.bound = depth - 1
                    result.seconds = time.perf_counter() - began
                    return result
                if answer == z3.unsat:
                    break
                model = self.solver.model()
                trace = self._trace(model, depth)
                hit = [g for g in open_goals if z3.is_true(model.eval(reached[g], model_completion=True))]
                if not hit:
                    raise InternalError("z3 claims a violation that its model does not have")
                for goal in hit:
                    result.violations.append(Violation(goal, clause_of(self.system, goal, trace), (), depth, trace))
                    open_goals.remove(goal)
            if not open_goals or (stop is not None and stop(depth)):
                result.bound = depth
                break
            # What was just shown never to happen at this depth helps the deeper queries.
            self.solver.add(z3.Not(z3.Or([bads[g] for g in open_goals])))
        result.seconds = time.perf_counter() - began
        return result

    def _refuse(self, wrong: Term, depth: int) -> None:
        """Raise ``InputError`` if a run comes to an error of the model with step ``depth`` (ERR-1)."""
        if self.solver.check(wrong) == z3.sat:
            raise check_failed(self._trace(self.solver.model(), depth).steps[-1].step.checks[0])
        self.solver.add(z3.Not(wrong))

    def _trace(self, model: Any, depth: int) -> Trace:
        e = self.encoding
        terms = {v.name: self._template(e.now_terms[v.name]) for v in e.variables}
        fields = {v.name: self._value(model, e.whole(v, e.fields.get(v.name)), v.type) for v in self.system.entry_fields}

        def state(frame: int) -> State:
            values = {v.name: self._value(model, self.at(terms[v.name], frame), v.type) for v in e.variables}
            return State({v.name: values[v.name] for v in self.system.control}, {v.name: values[v.name] for v in self.system.entry_variables})

        steps = []
        for frame in range(depth):
            step = self.system.steps[self._value(model, self._named(e.act, frame), WordType(e.act.size()))]
            choices = {q.name: self._value(model, self._named(e.parameter(q), frame), q.type) for q in step.parameters}
            steps.append(TraceStep(step, choices, state(frame + 1)))
        initial = state(0)
        start, start_choices = start_of(self.system, initial)
        return Trace(start, start_choices, initial, fields, tuple(steps))

    def _value(self, model: Any, term: Term, type_: Type) -> int:
        return value_of(model.eval(term, model_completion=True), type_)
