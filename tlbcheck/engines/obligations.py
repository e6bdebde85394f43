"""What has to be shown of an invariant, as SMT-LIB 2 (logic QF_BV): the same text for the same system and invariant.

All variables have their whole width, so that nothing rests on the analysis by which the engines
cut words down: what it found is a part of the invariant, and shown with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import z3

from tlbcheck.engines.encoding import Encoding
from tlbcheck.engines.invariant import Invariant, Never, StateSet, system_for
from tlbcheck.system.equal_bits import EqualBits, positions
from tlbcheck.system.known_bits import width
from tlbcheck.system.transition_system import TransitionSystem

Term = Any

OBLIGATIONS: Mapping[str, tuple[str, ...]] = {
    "initial": ("init", "(not {now})"),
    "inductive": ("{now}", "step", "(not {next})"),
    "safe": ("{now}", "(or bad-state (and step bad-step))"),
}
"""What must be unsatisfiable; ``{now}`` and ``{next}`` are the invariant of the state before and after a step."""


def quoted(name: str) -> str:
    return f"|{name}|"


class SystemText:
    """The transition system, and one property of it, as declarations and definitions."""

    def __init__(self, system: TransitionSystem, property_name: str) -> None:
        self.property = property_name
        self.system = system_for(system, frozenset({property_name}))
        self.encoding = e = Encoding(self.system, whole_words=True)
        step, initial = e.transition(), e.initial()
        bad_step = z3.Or(e.step_bad(property_name), e.out_of_range())
        self.state = [v for v in e.variables if v.name in e.now]
        self.fields = [v for v in self.system.entry_fields if v.name in e.fields]
        constants = [*e.now.values(), *e.next.values(), *e.fields.values(), e.act, *e.parameters.values(), *e.contents.values()]
        self.declarations = [f"(declare-const {quoted(x.decl().name())} {x.sort().sexpr()})" for x in constants]
        named = {"init": initial, "step": step, "bad-state": e.state_bad(property_name), "bad-step": bad_step}
        self.formulas = {name: _text(term) for name, term in named.items()}
        self.definitions = [f"(define-fun {name} () Bool\n{formula})" for name, formula in self.formulas.items()]
        both = {"now": self._applied(e.now), "next": self._applied(e.next)}
        self.obligations = {name: tuple(p.format(**both) for p in parts) for name, parts in OBLIGATIONS.items()}

    def _applied(self, vector: Mapping[str, Term]) -> str:
        e = self.encoding
        return f"(invariant {' '.join(quoted(x.decl().name()) for x in (*(vector[v.name] for v in self.state), *(e.fields[v.name] for v in self.fields)))})"

    def invariant(self, never: tuple[Never, ...]) -> Invariant:
        """``never``, with what the engines take for granted: the bits that do not vary, and those that are equal."""
        equal = EqualBits(self.system)
        constant, alike = [], []
        for v in (*self.state, *self.fields):
            known = equal.known.of(v)
            mask = ((1 << width(v.type)) - 1) & ~known.varying
            if mask:
                constant.append((v.name, mask, known.ones & mask))
            alike += [(v.name, c) for c in equal.of(v) if c.bit_count() > 1]
        return Invariant(tuple(constant), tuple(alike), never)

    def definition(self, invariant: Invariant | StateSet) -> str:
        """The invariant as a function of a state."""
        return f"{self.signature()}\n{self._body(invariant) if isinstance(invariant, Invariant) else self._members(invariant)})"

    def signature(self) -> str:
        """The head of the invariant's definition, up to its body."""
        return f"(define-fun invariant ({' '.join(f'({quoted(n)} {x.sort().sexpr()})' for n, x in self._parameters().items())}) Bool"

    def _parameters(self) -> dict[str, Term]:
        e = self.encoding
        return {v.name: e.now[v.name] for v in self.state} | {v.name: e.fields[v.name] for v in self.fields}

    def _body(self, invariant: Invariant) -> str:
        types = self._parameters()

        def bit(name: str, position: int, value: int) -> str:
            if z3.is_bool(types[name]):
                return quoted(name) if value else f"(not {quoted(name)})"
            return f"(= ((_ extract {position} {position}) {quoted(name)}) #b{value})"

        parts = []
        for name, mask, value in invariant.constant:
            if z3.is_bool(types[name]):
                parts.append(bit(name, 0, value))
            else:
                size = types[name].size()
                parts.append(f"(= (bvand {quoted(name)} {_binary(mask, size)}) {_binary(value, size)})")
        for name, mask in invariant.equal:
            parts.append(f"(= {' '.join(f'((_ extract {i} {i}) {quoted(name)})' for i in positions(mask))})")
        for never in invariant.never:
            inside = [bit(n, i, 1 - v) for n, i, v in never]
            parts.append(f"(or {' '.join(inside)})" if len(inside) > 1 else inside[0] if inside else "false")
        return "(and true\n  " + "\n  ".join(parts) + ")" if parts else "true"

    def _members(self, states: StateSet) -> str:
        """The set node by node, each written once, so that the text grows with the diagram and not with its paths."""
        types, values = self._parameters(), dict(states.values)

        def among(name: str, wanted: Iterable[int]) -> str:
            """A variable has one of these values."""
            bools = {0: f"(not {quoted(name)})", 1: quoted(name)}
            found = [bools[x] if z3.is_bool(types[name]) else f"(= {quoted(name)} {_binary(x, types[name].size())})" for x in wanted]
            return f"(or {' '.join(found)})" if len(found) > 1 else found[0]

        domains = [among(name, xs) for name, xs in states.values if len(xs) < 1 << (1 if z3.is_bool(types[name]) else types[name].size())]
        tests = {test: f"b{i}" for i, test in enumerate(dict.fromkeys(node[:2] for node in states.nodes))}
        # What a layer binds speaks of the layers before it alone.
        layers = [[f"({named} {among(name, (x for i, x in enumerate(values[name]) if i >> bit & 1))})" for (name, bit), named in tests.items()]]
        named, height = ["false", "true"], [0, 0]
        for name, bit, yes, no in states.nodes:
            height.append(1 + max(height[yes], height[no]))
            if height[-1] == len(layers):
                layers.append([])
            layers[height[-1]].append(f"(n{len(named)} (ite {tests[name, bit]} {named[yes]} {named[no]}))")
            named.append(f"n{len(named)}")
        lets = ["(let (" + "\n".join(layer) + ")" for layer in layers if layer]
        return "\n".join(["(and true", *domains, *lets, named[states.root] + ")" * len(lets) + ")"])


def _text(term: Term) -> str:
    """z3's own text of a term, without its indentation."""
    return re.sub(r"\n\s+", "\n", term.sexpr())


def _binary(value: int, size: int) -> str:
    return f"(_ bv{value & ((1 << size) - 1)} {size})"


def decide(text: SystemText, invariant: Invariant | StateSet, seconds: float) -> tuple[str, str] | None:
    """The first obligation that z3 does not show, and z3's answer; None if it shows all."""
    head = "\n".join([*text.declarations, *text.definitions, text.definition(invariant)])
    for name, parts in text.obligations.items():
        solver = z3.SolverFor("QF_BV")
        solver.set("timeout", max(1, int(1000 * seconds)))
        solver.from_string(head + "".join(f"(assert {p})" for p in parts))
        answer = solver.check()
        if answer != z3.unsat:
            return name, solver.reason_unknown() if answer == z3.unknown else str(answer)
    return None
