"""Which bits of a machine word are always equal to each other: a word that names one of a few things may repeat itself.

The coarsest partition that the start and every update respect, guards ignored: it begins with all
bits of a word that agree at the start, and is only ever split, where an update may make two bits
differ. What no step splits holds of every reachable state, by induction.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from tlbcheck.lang.expr import Expr, nodes
from tlbcheck.lang.types import IntType, WordType
from tlbcheck.system.known_bits import KnownBits, computed_in
from tlbcheck.system.transition_system import Step, TransitionSystem, Variable

Signature = Hashable
"""What a bit is a function of: in one step, bits that have the same one are equal."""


def positions(mask: int) -> Iterator[int]:
    """The bits of a mask that are set, lowest first."""
    while mask:
        yield lowest(mask)
        mask &= mask - 1


def lowest(mask: int) -> int:
    """The lowest bit of a mask that is set."""
    return (mask & -mask).bit_length() - 1


class EqualBits:
    """``of(variable)`` gives masks, that with the lowest bit first: each bit that can vary is in one, and bits in one are always equal.

    The bits of numbers and of an enum's members are not compared: each stands for itself.
    """

    def __init__(self, system: TransitionSystem) -> None:
        self.known = KnownBits(system)
        self.classes: dict[str, tuple[int, ...]] = {}
        fixed = {v.name for v in system.entry_fields} | set(system.rigid)
        for v in (*system.control, *system.entry_fields):
            varying = positions(self.known.of(v).varying)
            values = v.domain if v.name in fixed else (v.initial,)
            if isinstance(v.type, WordType) and values:
                self.classes[v.name] = _grouped((i, _column(values, i)) for i in varying)
        changed = True
        while changed:
            changed = False
            for step in (*system.initial, *system.steps):
                changed |= self._split(step)

    def of(self, variable: Variable) -> tuple[int, ...]:
        if variable.name in self.classes:
            return self.classes[variable.name]
        return tuple(1 << i for i in positions(self.known.of(variable).varying))

    def _split(self, step: Step) -> bool:
        """Take apart what ``step`` may make different; whether there was anything."""
        found = False
        signatures: _Signatures | None = None
        for name, e in step.updates.items():
            classes = self.classes.get(name, ())
            if all(c.bit_count() == 1 for c in classes):
                continue
            signatures = signatures or _Signatures(self, step)
            new = _fitted(signatures.of(e), max(classes).bit_length())
            parts = [_grouped((i, new[i]) for i in positions(c)) for c in classes]
            if any(len(p) > 1 for p in parts):
                self.classes[name] = tuple(sorted((c for p in parts for c in p), key=lowest))
                found = True
        return found


class _Signatures:
    """The signature of each bit of a step's expressions: 0 and 1 are constants."""

    def __init__(self, equal: EqualBits, step: Step) -> None:
        self.equal = equal
        self.parameters = {q.name: q for q in step.parameters}
        self.known = equal.known.read(step)
        self.memo: dict[Expr, Sequence[Signature]] = {}

    def of(self, e: Expr) -> Sequence[Signature]:
        if e not in self.memo:
            for node in nodes(e, self.memo):
                known = self.known(node)
                made = self._compute(node)
                self.memo[node] = tuple(s if known.varying >> i & 1 else known.ones >> i & 1 for i, s in enumerate(made))
        return self.memo[e]

    def _compute(self, e: Expr) -> Sequence[Signature]:
        assert e.type is not None
        own: list[Signature] = [(id(e), i) for i in range(computed_in(e.type))]
        if isinstance(e.type, IntType):
            return own
        args = [self.memo[a] for a in e.args]
        match e.op:
            case "var" if e.value in self.parameters:
                return [(e.value, _column(self.parameters[e.value].domain, i)) for i in range(len(own))]
            case "var":
                for c in self.equal.classes.get(e.value, ()):
                    for i in positions(c):
                        own[i] = (e.value, c)
                return own
            case "table":
                return [(id(e.args[0]), _column(e.value, i)) for i in range(len(own))]
            case "ite":
                return [x if x == y else ("ite", id(e.args[0]), x, y) for x, y in zip(args[1], args[2], strict=True)]
            case "band" | "bor" | "bxor":
                a, b = (_fitted(x, len(own)) for x in args)
                return [_joined(e.op, x, y) for x, y in zip(a, b, strict=True)]
            case "bnot":
                return [_joined("bxor", 1, x) for x in args[0]]
            case "resize":
                return _fitted(args[0], len(own))
            case "shl" | "shr" if e.args[1].op == "const":
                by = e.args[1].value if e.op == "shr" else -e.args[1].value
                return [args[0][i + by] if 0 <= i + by < len(args[0]) else 0 for i in range(len(own))]
        return own


def _fitted(signatures: Sequence[Signature], size: int) -> Sequence[Signature]:
    """Cut to ``size`` bits; what a narrower value does not reach is 0."""
    return [*signatures[:size], *[0] * (size - len(signatures))]


def _joined(op: str, x: Signature, y: Signature) -> Signature:
    """A bit made of two; 0 and 1 that settle it are known already."""
    for one, other in ((x, y), (y, x)):
        if one == (1 if op == "band" else 0):
            return other
    return (op, frozenset((x, y)))


def _column(values: Iterable[int], position: int) -> tuple[int, ...]:
    return tuple(x >> position & 1 for x in values)


def _grouped(signed: Iterable[tuple[int, Signature]]) -> tuple[int, ...]:
    """Masks of the bits that have the same signature."""
    made: dict[Signature, int] = {}
    for i, signature in signed:
        made[signature] = made.get(signature, 0) | 1 << i
    return tuple(made.values())
