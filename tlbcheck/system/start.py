"""What ``init`` leaves behind: what it violated, what it marked, and where the model is wrong in it.

``init`` is one step before all others, at depth 0. Engines see its state alone, so what properties say of the events in it
(EVENT-6) is kept in variables of that state, and an error of the model (ERR) in one that a step of its own then reports.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, evaluate, or_, substitute, var, variables
from tlbcheck.lang.model import Model
from tlbcheck.lang.types import BOOL
from tlbcheck.system.slots import first_name, of_entry
from tlbcheck.system.transition_system import Bad, Step, Variable


class Start:
    """``steps`` are the ways through ``init`` as engines take them; ``before`` gives each variable's value before it."""

    def __init__(self, runs: tuple[Step, ...], before: Mapping[str, int], judged: Set[str], entry_variables: Sequence[Variable], model: Model) -> None:
        self.model = model
        self.before = before
        if not any(self.possible(s) for s in runs):
            raise InputError(f"{model.name} has no run: nothing meets what {model.init.name}() requires", place=model.init.place, hint="let init end in some way")
        self.invariants: list[Bad] = []
        self.errors: list[Step] = []
        self.flags: list[str] = []
        self.places: dict[Place | None, int] = {}
        unmarked = {v.name: const(v.initial, v.type) for v in entry_variables}
        self.marks = [{n: e for n, e in s.entry_updates.items() if e is not unmarked[n]} for s in runs if not s.checks]
        self.steps = tuple(self.left(s, judged) for s in runs)

    def possible(self, s: Step) -> bool:
        """Whether some case and choices let ``init`` go this way (RUN-4)."""
        guard = self.settled(s.guard)
        domains = {f"case.{c.name}": c.domain for c in self.model.cases} | {q.name: q.domain for q in s.parameters}
        asked = [n for n in variables(guard) if n in domains]
        return any(evaluate(guard, dict(zip(asked, values, strict=True))) for values in itertools.product(*(domains[n] for n in asked)))

    def left(self, s: Step, judged: Set[str]) -> Step:
        """A way through ``init`` with what it leaves of its violations and errors."""
        updates = dict(s.updates) if not s.checks else {}
        for check in s.checks:
            flag = self.flag(f"%wrong{len(self.errors)}")
            updates[flag] = TRUE
            told = replace(s, parameters=(), choices=(), operands={}, guard=var(flag, BOOL), updates={}, entry_updates={}, bads=(), checks=(check,), cpu=None, level="environment", fair="", events=())
            self.errors.append(told)
        for b in s.bads:
            when = self.settled(self.of_any_entry(b.when))
            if b.property in judged and when is not FALSE:
                flag = f"%init {b.property}.{b.clause} {self.places.setdefault(b.place, len(self.places))}"
                if flag not in self.flags:
                    self.invariants.append(replace(b, when=var(self.flag(flag), BOOL)))
                updates[flag] = or_(updates.get(flag, FALSE), when)
        return replace(s, updates=updates, entry_updates={}, bads=(), checks=())

    def flag(self, name: str) -> str:
        self.flags.append(name)
        return name

    def settled(self, e: Expr) -> Expr:
        """A rule about the state before ``init``, over choices and what is rigid."""
        return substitute(e, {n: const(self.before[n], v.type) for n, v in variables(e).items() if n in self.before and not n.startswith("case.")})

    def of_any_entry(self, e: Expr) -> Expr:
        """A clause that speaks of entries: it holds of some possible one."""
        cache = self.model.cache
        if cache is None or not any(of_entry(n) for n in variables(e)):
            return e
        found = []
        for values in itertools.product(*(domain for _, _, domain in cache.fields)):
            entry = {f"entry.{n}": const(x, t) for (n, t, _), x in zip(cache.fields, values, strict=True)}
            of_this = substitute(e, entry)
            if any(of_entry(n, 2) for n in variables(of_this)):
                second = {n: var(first_name(n), v.type) for n, v in variables(of_this).items() if of_entry(n, 2)}
                of_this = self.of_any_entry(substitute(of_this, second))
            found.append(and_(substitute(cache.possible, entry), of_this))
        return or_(*found)

    def marked(self) -> dict[str, Expr]:
        """What ``init`` marked, by the entry's variable. Raises ``InputError`` where that depends on its choices."""
        made = [{n: self.settled(e) for n, e in marks.items()} for marks in self.marks]
        for marks in made:
            chosen = [n for e in marks.values() for n in variables(e) if not of_entry(n) and not n.startswith("case.")]
            if chosen or marks != made[0]:
                raise InputError(f"{self.model.init.name}: which entries a property marks depends on what is chosen", place=self.model.init.place, hint="choose after init, or by a case variable")
        return made[0] if made else {}
