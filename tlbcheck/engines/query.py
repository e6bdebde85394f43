"""Questions to z3 about a transition system, each about one operation, walk or clause at a time.

In every state whose words have only the bits that can ever vary, those equal that always are (``system.known_bits``,
``system.equal_bits``): more states than are reachable, so that "unsat" holds for each reachable one.
"""

from __future__ import annotations

from collections.abc import Sequence

import z3

from tlbcheck.engines.encoding import Encoding, Term, Translator
from tlbcheck.errors import InternalError
from tlbcheck.lang.expr import Expr, and_, const, eq, or_, var, variables
from tlbcheck.lang.types import BoolType, Type
from tlbcheck.system.known_bits import width
from tlbcheck.system.slots import of_entry
from tlbcheck.system.transition_system import Parameter, TransitionSystem, Variable


class Query:
    """Formulas about a system over as many states and entries as one likes, told apart by marks."""

    def __init__(self, system: TransitionSystem, seconds: float) -> None:
        self.system = system
        self.encoding = Encoding(system)
        self.solver = z3.Solver()
        self.solver.set("timeout", int(seconds * 1000))
        self.control = {v.name: v for v in system.control}
        self.fields = {v.name: v for v in system.entry_fields}
        self.terms: dict[tuple[str, str], Term] = {}
        self.translators: dict[tuple[str, ...], Translator] = {}

    def holds(self, e: Expr, *, state: str = "", entry: str = "", whole: Sequence[str] = (), of: Sequence[Parameter] = (), choice: str = "") -> Term:
        """``e`` in the state, for the entry and with the choices that these marks stand for; fields in ``whole`` take any value."""
        names = {n: self._name(n, v, state, entry, whole, of, choice) for n, v in variables(e).items()}
        return Translator(names)(e)

    def _name(self, name: str, v: Expr, state: str, entry: str, whole: Sequence[str], of: Sequence[Parameter], choice: str) -> Term:
        if name in self.control:
            return self._constant(self.control[name], f"{name}|{state}", known=True)
        if name in self.fields:
            return self._constant(self.fields[name], f"{name}|{entry}", known=name not in whole)
        if of_entry(name) and not name.endswith("]"):
            return self._constant(Variable(name, _typed(v)), f"{name}|{entry}", known=False)
        declared = next((q for q in of if q.name == name), None)
        mark = choice if declared is not None else entry
        return self._constant(Variable(name, _typed(v)), f"{name}|{state}|{mark}|{'' if declared is None else declared.domain}", known=False)

    def _constant(self, v: Variable, name: str, *, known: bool) -> Term:
        key = (name, str(known))
        if key not in self.terms:
            if isinstance(v.type, BoolType):
                made: Term = z3.Bool(name)
                self.terms[key] = self.encoding.whole(v, made if self.encoding.carried(v) else None) if known else made
            else:
                size = len(self.encoding.carried(v)) if known else width(v.type)
                self.terms[key] = self.encoding.whole(v, z3.BitVec(name, size) if size else None) if known else z3.BitVec(name, size)
        return self.terms[key]

    def satisfiable(self, *parts: Term) -> bool:
        """Whether z3 cannot refute the conjunction of ``parts``."""
        self.solver.push()
        self.solver.add(*parts)
        answer = self.solver.check()
        self.solver.pop()
        return bool(answer != z3.unsat)


def _typed(v: Expr) -> Type:
    if v.type is None:
        raise InternalError(f"{v.value} has no type")
    return v.type


def domain(name: str, type_: Type, values: Sequence[int]) -> Expr:
    return or_(*(eq(var(name, type_), const(value, type_)) for value in values))


def domains(parameters: Sequence[Parameter]) -> Expr:
    """Each parameter has a value that can be chosen."""
    return and_(*(domain(q.name, q.type, q.domain) for q in parameters))


__all__ = ["Query", "Term", "domain", "domains"]
