"""An invariant in words: sentences of what is never so, as short as merging makes them.

Clauses that differ in one thing only are said together: bits of a tag become "tag 1, 2 or 3", and
the same fact at several points of a procedure is said once, with the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbcheck.engines.invariant import Invariant, Never
from tlbcheck.lang.expr import conjuncts
from tlbcheck.lang.types import BoolType, EnumType, IntType, Type
from tlbcheck.system.transition_system import TransitionSystem, Variable

Atom = str
"""A variable with few values, or one bit of a word: ``name#position``."""
Facts = tuple[tuple[Atom, frozenset[int]], ...]


def sentences(system: TransitionSystem, invariant: Invariant) -> list[str]:
    """What the invariant says, the most general first."""
    return _Words(system).all(invariant)


class _Words:
    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.variables = {v.name: v for v in (*system.control, *system.entry_variables, *system.entry_fields)}
        self.cached = set(system.cached.values())
        self.fields = {v.name for v in system.entry_fields}
        self.lines: dict[str, dict[int, str]] = {}
        for step in system.steps:
            for part in conjuncts(step.guard):
                if part.op == "eq" and part.args[0].op == "var" and part.args[1].op == "const" and str(part.args[0].value).endswith(".pc") and step.places:
                    at = f"{step.actor}:{step.places[0].line}"
                    self.lines.setdefault(part.args[0].value, {}).setdefault(part.args[1].value, at)

    def all(self, invariant: Invariant) -> list[str]:
        facts: dict[Facts, None] = {}
        for never in invariant.never:
            made = self._facts(never)
            if made is not None:
                facts[made] = None
        merged = self._merged(facts)
        return list(dict.fromkeys(self._sentence(f) for f in sorted(merged, key=lambda f: (sum(n.endswith(".pc") for n, _ in f), len(f), [(n, sorted(x)) for n, x in f]))))

    def _values(self, v: Variable) -> tuple[int, ...] | None:
        """All values of a variable that has few."""
        if v.name.endswith(".pc"):
            return tuple(sorted({0, *self.lines.get(v.name, {})}))
        if v.domain is not None and len(v.domain) <= 16:
            return tuple(v.domain)
        values = tuple(v.type.values()) if isinstance(v.type, BoolType | EnumType | IntType) else ()
        return values if 0 < len(values) <= 16 else None

    def _facts(self, never: Never) -> Facts | None:
        """The clause as sets of values; None if it only excludes values that no variable has."""
        bits: dict[str, dict[int, int]] = {}
        for name, position, value in never:
            bits.setdefault(name, {})[position] = value
        facts = []
        for name, wanted in bits.items():
            values = self._values(self.variables[name])
            if values is None:
                facts += [(f"{name}#{i}", frozenset({x})) for i, x in wanted.items()]
                continue
            fitting = frozenset(x for x in values if all(x >> i & 1 == b for i, b in wanted.items()))
            if not fitting:
                return None
            if len(fitting) < len(values):
                facts.append((name, fitting))
        return tuple(sorted(facts, key=lambda f: f[0]))

    def _merged(self, facts: Iterable[Facts]) -> list[Facts]:
        """Join what differs in the values of one thing only, until nothing does."""
        left = list(dict.fromkeys(facts))
        while True:
            joined: dict[tuple[Atom, Facts], dict[Facts, frozenset[int]]] = {}
            for f in left:
                for i, (name, values) in enumerate(f):
                    joined.setdefault((name, (*f[:i], *f[i + 1 :])), {})[f] = values
            made: dict[Facts, None] = {}
            used: set[Facts] = set()
            unions = {key: frozenset().union(*alike.values()) for key, alike in joined.items()}
            for (name, rest), union in sorted(unions.items(), key=lambda x: (-len(x[1]), x[0][0])):
                members = [f for f in joined[name, rest] if f not in used]
                if len(members) > 1:
                    used.update(members)
                    made[tuple(sorted((*rest, (name, union)), key=lambda f: f[0]))] = None
            if not made:
                return left
            left = list(dict.fromkeys([*made, *(f for f in left if f not in used)]))

    def _sentence(self, facts: Facts) -> str:
        where = [self._said(n, x) for n, x in facts if n.endswith(".pc")]
        entry = [self._said(n, x) for n, x in facts if n in self.fields]
        cached = [n for n, x in facts if n in self.cached and x == {1}]
        others = [self._said(n, x) for n, x in facts if not n.endswith(".pc") and n not in self.fields and n not in cached]
        at = f"{', '.join(where)}: " if where else ""
        if cached:
            about = f" with {' and '.join(entry)}" if entry else ""
            while_ = f" while {' and '.join(others)}" if others else ""
            return f"{at}no entry{about} is cached{while_}"
        if len(facts) - len(where) == 1 and not entry:
            return f"{at}never {others[0]}"
        return f"{at}never {' and '.join([*entry, *others])}" if entry or others else f"never {at.rstrip(': ')}"

    def _said(self, atom: Atom, values: frozenset[int]) -> str:
        name, _, position = atom.partition("#")
        v = self.variables[name]
        if name.endswith(".pc"):
            level = name.removesuffix(".pc")
            known = [self.lines.get(name, {}).get(x, "outside") for x in sorted(values)]
            return f"{level} at {_listed(dict.fromkeys(known))}"
        shown = self.named(name)
        if position:
            return f"{self._bit(name, shown, int(position))} is {'set' if values == {1} else 'clear'}"
        if isinstance(v.type, BoolType):
            return f"{shown} is {v.type.show(next(iter(values)))}"
        every = self._values(v) or ()
        rest = [x for x in every if x not in values]
        if len(rest) < len(values) and rest:
            return f"{shown} other than {_listed(self._shown(v.type, x) for x in rest)}"
        return f"{shown} {_listed(self._shown(v.type, x) for x in sorted(values))}"

    def named(self, name: str) -> str:
        """A variable as a person would call it."""
        if name in self.fields:
            return name.removeprefix("entry.")
        path, _, local = name.rpartition(":")
        if path:
            return f"{local} of {path.rpartition('/')[2].rpartition(':')[2].partition('@')[0]}"
        return name.replace("[entry]", " of the entry")

    def _bit(self, name: str, shown: str, position: int) -> str:
        tail = name.rpartition(":")[2] if ":" in name else name.partition(".")[2]
        fields: Mapping[str, int] = self.system.model.notation.fields.get(tail) or next((f for n, f in self.system.model.notation.fields.items() if n in tail), {})
        for field, mask in fields.items():
            if mask == 1 << position:
                return f"{shown}.{field.upper()}"
            if mask >> position & 1:
                low = (mask & -mask).bit_length() - 1
                return f"bit {position - low} of {shown}.{field}"
        return f"bit {position} of {shown}"

    def _shown(self, type_: Type, value: int) -> str:
        return type_.show(value).rstrip("_")


def _listed(words: Iterable[str]) -> str:
    known = list(words)
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)
