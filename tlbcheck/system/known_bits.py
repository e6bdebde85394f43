"""Which bits of a machine word can ever vary: splits words into what masks and values really use.

An abstract interpretation over all steps, guards ignored: a bit is known if every value that could
reach it agrees. Sound for any engine; words of 64 bits shrink to the few that matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tlbcheck.lang.expr import Expr, nodes
from tlbcheck.lang.types import BoolType, EnumType, IntType, Type, WordType
from tlbcheck.system.transition_system import Parameter, Step, TransitionSystem, Variable


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits that may be 1 and bits that may be 0."""

    ones: int
    zeros: int

    def join(self, other: Bits) -> Bits:
        return Bits(self.ones | other.ones, self.zeros | other.zeros)

    @property
    def varying(self) -> int:
        return self.ones & self.zeros

    @property
    def constant(self) -> int | None:
        return None if self.varying else self.ones


def width(type_: Type) -> int:
    """Bits that a value of ``type_`` takes; a bounded integer that can be negative is one in two's complement."""
    match type_:
        case BoolType():
            return 1
        case EnumType():
            return max(1, (len(type_.members) - 1).bit_length())
        case IntType():
            return max(1, type_.high.bit_length()) if type_.low >= 0 else computed_in(type_)
        case WordType():
            return type_.width


def computed_in(type_: Type) -> int:
    """Bits that an expression of ``type_`` is computed in: a bounded integer with its sign, so that nothing wraps (NUM-1)."""
    return max(type_.high.bit_length(), (~type_.low).bit_length() if type_.low < 0 else 0) + 1 if isinstance(type_, IntType) else width(type_)


def _extended(bits: Bits, have: int, want: int, type_: Type) -> Bits:
    """The same value in more bits: with its sign, if it has one."""
    above = ((1 << want) - 1) & ~((1 << have) - 1)
    if isinstance(type_, IntType):
        return Bits(bits.ones | above * (bits.ones >> have - 1 & 1), bits.zeros | above * (bits.zeros >> have - 1 & 1))
    return Bits(bits.ones, bits.zeros | above)


def _fitted(bits: Bits, e: Expr, size: int) -> Bits:
    """What a variable of ``size`` bits takes over of a value."""
    full = (1 << size) - 1
    if e.type is not None and (have := computed_in(e.type)) < size:
        bits = _extended(bits, have, size, e.type)
    return Bits(bits.ones & full, bits.zeros & full)


def _exactly(value: int, size: int) -> Bits:
    full = (1 << size) - 1
    return Bits(value & full, full & ~value)


def _any(size: int) -> Bits:
    full = (1 << size) - 1
    return Bits(full, full)


def _of(values: tuple[int, ...], size: int) -> Bits:
    made = _exactly(values[0], size)
    for v in values[1:]:
        made = made.join(_exactly(v, size))
    return made


class KnownBits:
    """``of(name)`` gives the possible bits of each control variable and entry field."""

    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.values: dict[str, Bits] = {}
        self.widths = {v.name: width(v.type) for v in (*system.control, *system.entry_fields, *system.entry_variables)}
        rigid = set(system.rigid)
        for v in system.control:
            size = width(v.type)
            self.values[v.name] = _of(v.domain, size) if v.name in rigid and v.domain else _exactly(v.initial, size)
        for v in (*system.entry_fields, *system.entry_variables):
            self.values[v.name] = _of(v.domain, width(v.type)) if v.domain else _any(width(v.type))
        changed = True
        while changed:
            changed = False
            for step in (*system.initial, *system.steps):
                changed |= self._apply(step)

    def of(self, variable: Variable) -> Bits:
        return self.values[variable.name]

    def read(self, step: Step) -> Callable[[Expr], Bits]:
        """The possible bits of expressions in ``step``."""
        scope = {q.name: _parameter(q) for q in step.parameters}
        memo: dict[Expr, Bits] = {}
        return lambda e: self._bits(e, scope, memo)

    def _apply(self, step: Step) -> bool:
        read = self.read(step)
        changed = False
        for name, e in step.updates.items():
            if name in self.values:
                new = self.values[name].join(_fitted(read(e), e, self.widths[name]))
                if new != self.values[name]:
                    self.values[name] = new
                    changed = True
        return changed

    def _bits(self, e: Expr, scope: Mapping[str, Bits], memo: dict[Expr, Bits]) -> Bits:
        if e not in memo:
            for node in nodes(e, memo):
                memo[node] = self._compute(node, scope, memo)
        return memo[e]

    def _compute(self, e: Expr, scope: Mapping[str, Bits], memo: dict[Expr, Bits]) -> Bits:
        assert e.type is not None
        size = computed_in(e.type)
        full = (1 << size) - 1
        if e.op == "const":
            return _exactly(e.value, size)
        if e.op == "var":
            found = scope.get(e.value) or self.values[e.value]
            if not isinstance(e.type, IntType):
                return found
            # What is never negative is kept without a sign.
            return Bits(found.ones, found.zeros | 1 << size - 1) if e.type.low >= 0 else found
        if e.op == "table":
            return _of(e.value, size)
        args = [memo[a] for a in e.args]
        if isinstance(e.type, IntType):
            args = [_fitted(x, a, size) if isinstance(a.type, IntType) else x for x, a in zip(args, e.args, strict=True)]
        match e.op:
            case "ite":
                if args[0].constant is not None:
                    return args[1] if args[0].constant else args[2]
                return args[1].join(args[2])
            case "band":
                return Bits(args[0].ones & args[1].ones, args[0].zeros | args[1].zeros)
            case "bor":
                return Bits(args[0].ones | args[1].ones, args[0].zeros & args[1].zeros)
            case "bxor":
                (a, b) = args
                return Bits((a.ones & b.zeros) | (a.zeros & b.ones), (a.ones & b.ones) | (a.zeros & b.zeros))
            case "bnot" | "not":
                return Bits(args[0].zeros & full, args[0].ones & full)
            case "shr" | "shl" if args[1].constant is not None:
                n = args[1].constant
                if e.op == "shr":
                    return Bits(args[0].ones >> n, (args[0].zeros >> n) | (full & ~(full >> n)))
                return Bits((args[0].ones << n) & full, ((args[0].zeros << n) & full) | ((1 << n) - 1 & full))
            case "resize":
                source = e.args[0].type
                assert source is not None
                above = full & ~((1 << width(source)) - 1)
                return Bits(args[0].ones & full, (args[0].zeros & full) | above)
            case _:
                return _any(size)


def _parameter(q: Parameter) -> Bits:
    return _of(q.domain, width(q.type))
