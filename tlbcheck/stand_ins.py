"""What a verdict takes for granted of a stand-in beyond the promise that is shown (CONTRACT-4).

A promise speaks of properties, and a stand-in is a whole procedure: it writes, drops, returns, and leaves out what the
procedure itself does. No proof covers that, so a verdict says it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlbcheck.lang import program as p
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.declared import asked_names
from tlbcheck.lang.expr import Expr, variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.worlds import called, statements


def granted(model: Model, shows: Model, c: Contract, q: Property) -> str:
    """What a verdict on ``q`` takes for granted of the stand-in of ``c``, whose promise ``shows`` shows; empty if nothing."""
    real, stand_in = _Footprint(shows, c.procedure), _Footprint(model, c.stand_in)
    asked = _asked(model, q)
    parts = [f"what it writes to {', '.join(sorted(stand_in.written & asked))}"] if stand_in.written & asked else []
    parts += ["what it drops"] if stand_in.drops else []
    parts += ["what it returns"] if c.stand_in.result is not None else []
    parts += [f"that {name} stays as it is" for name in sorted((real.written - stand_in.written) & asked)]
    parts += [
        f"that nothing performs '{name}'" for name in sorted(real.performed - stand_in.performed) if _judges(q, name)
    ]
    if not parts:
        return ""
    promised = ", ".join(c.procedure.ensures)
    return f"{c.stand_in.name}() stands for {c.procedure.name}(), and beyond {promised} this is not shown: {'; '.join(parts)}"


class _Footprint:
    """What a procedure may do, with all that it calls.

    The names of variables ``written`` and of operations ``performed``, and whether it ``drops`` entries.
    """

    def __init__(self, model: Model, procedure: p.Procedure) -> None:
        self.written: set[str] = set()
        self.performed: set[str] = set()
        self.drops = False
        for s in (s for each in called(model, procedure) for s in statements(model, each)):
            if isinstance(s, p.Do):
                self.performed.add(s.operation.name)
                self.written |= {v.name for v, _ in s.operation.effects}
                self.drops = self.drops or bool(s.operation.drops)
            elif isinstance(s, p.Write):
                self.written.add(s.variable.name)


def _judges(q: Property, name: str) -> bool:
    """Whether ``q`` says anything about the operation."""
    return any(r.event.kind == "operation" and r.event.name in ("", name) for r in q.rules)


def _asked(model: Model, q: Property) -> set[str]:
    """The variables that something in the model, or the property, looks at."""
    names = set(asked_names(q))
    for s in (s for each in model.reachable() for s in statements(model, each)):
        names |= {s.variable.name} if isinstance(s, p.Read) else _names(p.expressions(s))
    rules: list[Expr] = [i.when for i in model.interrupts] + [*model.meanings.values(), *model.settings.values()]
    if model.cache is not None:
        rules += [model.cache.fill, model.cache.initial, model.cache.possible]
    return names | _names(rules) | {i.flag.name for i in model.interrupts if i.flag is not None}


def _names(expressions: Iterable[Expr]) -> set[str]:
    return {n for e in expressions for n in variables(e)}
