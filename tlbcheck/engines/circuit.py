"""The transition system as a sequential circuit: an and-inverter graph over single bits.

For engines that think in bits (``pdr``, ABC) and for export. The translation to z3 is the only
translation of expressions; its terms are cut down to Booleans by z3's bit-blasting, and read off.

A circuit has one initial state, all latches 0. The latch ``started`` says that a run has begun: the
first transition chooses where, by inputs. Hence a violation after ``d`` steps is seen with the
latches as they are after ``d + 1`` transitions. Inputs that choose no enabled step change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import z3

from tlbcheck.engines.encoding import Encoding, bits_of
from tlbcheck.errors import InternalError
from tlbcheck.system.transition_system import TransitionSystem

Term = Any
FALSE, TRUE = 0, 1


def negated(literal: int) -> int:
    return literal ^ 1


@dataclass
class Circuit:
    """Literals are ``2 * node`` or, negated, ``2 * node + 1``; node 0 is false.

    Inputs come first, then latches, then gates; ``gates[i]`` is the conjunction of two literals.
    """

    inputs: tuple[str, ...]
    latches: tuple[str, ...]
    gates: list[tuple[int, int]] = field(default_factory=list)
    following: list[int] = field(default_factory=list)
    """What each latch holds after a transition."""
    bads: dict[str, int] = field(default_factory=dict)
    """For each goal, a function of latches only: it is violated."""
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def input(self, i: int) -> int:
        return 2 * (1 + i)

    def latch(self, i: int) -> int:
        return 2 * (1 + len(self.inputs) + i)

    @property
    def first_gate(self) -> int:
        return 1 + len(self.inputs) + len(self.latches)

    def both(self, a: int, b: int) -> int:
        """The conjunction of two literals, made once."""
        if a > b:
            a, b = b, a
        if a == FALSE or a == negated(b):
            return FALSE
        if a in (TRUE, b):
            return b
        found = self._known.get((a, b))
        if found is None:
            found = self._known[a, b] = 2 * (self.first_gate + len(self.gates))
            self.gates.append((a, b))
        return found

    def all(self, literals: Iterable[int]) -> int:
        """A conjunction, as a balanced tree."""
        left = list(literals)
        while len(left) > 1:
            left = [self.both(*left[i : i + 2]) if i + 1 < len(left) else left[i] for i in range(0, len(left), 2)]
        return left[0] if left else TRUE

    def any(self, literals: Iterable[int]) -> int:
        return negated(self.all(negated(x) for x in literals))

    def choice(self, condition: int, then: int, other: int) -> int:
        return negated(self.both(negated(self.both(condition, then)), negated(self.both(negated(condition), other))))

    def cone(self, roots: Iterable[int]) -> set[int]:
        """Every node that ``roots`` depend on, through latches too."""
        seen: set[int] = set()
        stack = [r >> 1 for r in roots]
        first_latch = 1 + len(self.inputs)
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            if n >= self.first_gate:
                stack.extend(x >> 1 for x in self.gates[n - self.first_gate])
            elif n >= first_latch:
                stack.append(self.following[n - first_latch] >> 1)
        return seen

    def values(self, latches: Sequence[int], inputs: Sequence[int]) -> list[int]:
        """The value of every node; for tests and for reading runs."""
        made = [0, *inputs, *latches]
        for a, b in self.gates:
            made.append((made[a >> 1] ^ a & 1) & (made[b >> 1] ^ b & 1))
        return made


def blast(terms: Sequence[Term], circuit: Circuit, leaves: Mapping[str, int]) -> list[int]:
    """Literals for Boolean terms over the bits of a bitwise encoding; ``leaves`` names the bits."""
    goal = z3.Goal()
    marks = [z3.Bool(f"output!{i}") for i in range(len(terms))]
    for mark, term in zip(marks, terms, strict=True):
        goal.add(mark == term)
    blasted = z3.Then("simplify", "bit-blast", "simplify")(goal)
    reader = _Reader(circuit, leaves)
    made: dict[int, int] = {}
    for i in range(len(blasted)):
        for formula in blasted[i]:
            # Equivalent to ``mark == term`` however it is written: with the mark true it is the term.
            literal = reader.read(formula)
            made[reader.mark] = literal
    if len(blasted) != 1 or len(made) != len(terms):
        raise InternalError("z3's bit-blasting did not give one formula for each output")
    return [made[i] for i in range(len(terms))]


class _Reader:
    """Reads Boolean z3 terms into a circuit, each shared node once."""

    def __init__(self, circuit: Circuit, leaves: Mapping[str, int]) -> None:
        self.circuit, self.leaves = circuit, leaves
        self.known: dict[int, int] = {}
        self.mark = -1

    def read(self, root: Term) -> int:
        stack = [root]
        while stack:
            x = stack[-1]
            i = x.get_id()
            if i in self.known:
                stack.pop()
                continue
            arguments = x.children()
            missing = [a for a in arguments if a.get_id() not in self.known]
            if missing:
                stack += missing
                continue
            stack.pop()
            self.known[i] = self._node(x, [self.known[a.get_id()] for a in arguments])
        return self.known[root.get_id()]

    def _node(self, x: Term, args: list[int]) -> int:
        c = self.circuit
        match x.decl().kind():
            case z3.Z3_OP_TRUE:
                return TRUE
            case z3.Z3_OP_FALSE:
                return FALSE
            case z3.Z3_OP_NOT:
                return negated(args[0])
            case z3.Z3_OP_AND:
                return c.all(args)
            case z3.Z3_OP_OR:
                return c.any(args)
            case z3.Z3_OP_IMPLIES:
                return c.any([negated(args[0]), args[1]])
            case z3.Z3_OP_ITE:
                return c.choice(*args)
            case z3.Z3_OP_EQ:
                return c.choice(args[0], args[1], negated(args[1]))
            case z3.Z3_OP_XOR | z3.Z3_OP_DISTINCT if len(args) == 2:
                return c.choice(args[0], negated(args[1]), args[1])
            case z3.Z3_OP_UNINTERPRETED if not args:
                name = x.decl().name()
                if name.startswith("output!"):
                    self.mark = int(name.removeprefix("output!"))
                    return TRUE
                return self.leaves[name]
        raise InternalError(f"z3's bit-blasting left a term that is no gate: {x.decl()}")


RANGE = "%range"
"""The goal that stands for the conditions on the model itself, such as assignments in range."""


class SystemCircuit:
    """The circuit of a transition system, with what its latches stand for."""

    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.encoding = e = Encoding(system, bitwise=True)
        self.goals = [*e.goals, *([RANGE] if any(s.checks for s in system.steps) else [])]
        variables = [v for v in e.variables if v.name in e.now]
        self.place: dict[str, tuple[str, int]] = {}
        """For the latches of the state: which variable, and the mask of the bits of it that the latch stands for."""
        for v in (*variables, *(v for v in system.entry_fields if v.name in e.fields)):
            for b, mask in zip(bits_of(e.now.get(v.name, e.fields.get(v.name))), e.carried(v), strict=True):
                self.place[b.decl().name()] = (v.name, mask)
        self.state = list(self.place)
        after = e.after()
        functions = [b for v in variables for b in _bits(e.narrow(v, after[v.name]))]
        step_bads = [e.step_bad(g) for g in e.goals] + [e.out_of_range()] * (RANGE in self.goals)
        state_bads = [e.state_bad(g) for g in e.goals] + [z3.BoolVal(False)] * (RANGE in self.goals)
        initial = e.initial()
        choices = [b.decl().name() for x in (e.act, *e.parameters.values(), *e.contents.values()) for b in bits_of(x)]
        c = self.circuit = Circuit((*choices, *(f"start:{n}" for n in self.state)), ("started", *self.state, *(f"hit:{g}" for g in self.goals)))
        inputs = {n: c.input(i) for i, n in enumerate(c.inputs)}
        latches = {n: c.latch(i) for i, n in enumerate(c.latches)}
        enabled, *outputs = blast([e.enabled(), *functions, *step_bads, *state_bads], c, inputs | latches)
        (begins,) = blast([initial], c, inputs | {n: inputs[f"start:{n}"] for n in self.state})
        started = latches["started"]
        taken = c.both(started, enabled)
        begins = c.both(negated(started), begins)
        held = c.both(started, negated(enabled))
        moved, rest = outputs[: len(functions)], outputs[len(functions) :]
        c.following.append(c.any([started, begins]))
        for i, n in enumerate(self.state):
            begun = c.both(begins, inputs[f"start:{n}"])
            # The tracked entry stays what it is.
            after_step = c.choice(taken, moved[i], c.both(held, latches[n])) if i < len(moved) else c.both(started, latches[n])
            c.following.append(c.any([begun, after_step]))
        for g, step_bad, state_bad in zip(self.goals, rest, rest[len(self.goals) :], strict=False):
            hit = latches[f"hit:{g}"]
            c.following.append(c.any([hit, c.both(taken, step_bad)]))
            c.bads[g] = c.any([hit, c.both(started, state_bad)])


def _bits(term: Term) -> list[Term]:
    return [term] if z3.is_bool(term) else [z3.Extract(i, i, term) == 1 for i in range(term.size())]
