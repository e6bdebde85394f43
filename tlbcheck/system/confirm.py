"""What has to be true of a model before it can be lowered, whatever its procedures do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.types import BOOL, CPU, IntType, Type, require_range


def confirm(model: Model, properties: Sequence[Property]) -> None:
    """Raise ``InputError`` for what no run could have (RUN-5, INT-2, NUM-4)."""
    if not 1 <= model.cpus <= CPU.high + 1:
        raise InputError(f"{model.name} has {model.cpus} CPUs", place=model.init.place, hint=f"a model has 1 to {CPU.high + 1}")
    for what, type_, place in _declared(model, properties):
        try:
            require_range(type_)
        except InputError as error:
            raise InputError(f"{what}: {error.message}", place=place, hint=error.hint) from None
    for interrupt in model.interrupts:
        flag = interrupt.flag
        if flag is not None and (not flag.per_cpu or flag.type != BOOL):
            raise InputError(f"the flag of an interrupt, {flag.name}, is not a Boolean of each CPU", place=interrupt.handler.place, hint="declare it with per_cpu(name, bool)")
    for case in model.cases:
        if isinstance(case.type, IntType) and not all(case.type.low <= x <= case.type.high for x in case.domain):
            raise InputError(f"the domain of {case.name} leaves its range {case.type}", place=model.init.place, hint="widen the type or change the domain")
    for ghost in (g for q in properties for g in q.ghosts):
        if isinstance(ghost.type, IntType) and not ghost.type.low <= ghost.initial <= ghost.type.high:
            raise InputError(f"{ghost.name.removeprefix('ghost.')} starts with {ghost.initial}, outside of its range {ghost.type}", hint="give it an initial value in its range")
        if ghost.per_entry and ghost.type != BOOL:
            raise InputError(f"{ghost.name.removeprefix('ghost.')} is a {ghost.type} for each entry", hint="what a property remembers of an entry is yes or no: use a Boolean")


def _declared(model: Model, properties: Sequence[Property]) -> Iterator[tuple[str, Type, Place]]:
    """Every type that the model or a property declares, with what it is of."""
    for v in model.state_variables():
        yield v.name, v.type, model.init.place
        if v.index is not None:
            yield f"the index of {v.name}", v.index, model.init.place
    for q in model.reachable():
        yield from ((f"parameter '{x.name}' of {q.name}()", x.type, q.place) for x in q.parameters)
        if q.result is not None:
            yield f"the result of {q.name}()", q.result, q.place
    for property_ in properties:
        yield from ((g.name.removeprefix("ghost."), g.type, model.init.place) for g in property_.ghosts)
