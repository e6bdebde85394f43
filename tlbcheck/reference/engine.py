"""The reference interpreter as an engine: ``--engine reference``, for small models written in Python."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tlbcheck.engines.trace import EngineResult, Violation
from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import REFERENCE
from tlbcheck.reference.search import Search


def interpret(model: Model, properties: Sequence[Property], *, max_states: int | None, seconds: float) -> EngineResult:
    """Every state of ``model``; its states are not those of the other engines, and its runs are told in words."""
    began = time.perf_counter()
    search = Search(model, properties)
    found = search.run(max_states=max_states, seconds=seconds)
    for name, error in found.errors.items():
        raise InputError(f"{model.name}, {name}: {error}", hint="widen the ghost's type, or guard the update", judging=name)
    triggers = {
        (q.trigger.kind, q.trigger.name): 1 for q in properties if q.trigger is not None and q.name in found.triggered
    }
    return EngineResult(
        REFERENCE,
        complete=found.complete,
        bound=found.depth,
        violations=[Violation(name, clause, (), depth) for (name, clause), (depth, _) in found.bad.items()],
        states=found.states,
        seconds=time.perf_counter() - began,
        moved=found.moved,
        fired=triggers | {("opened", name): 1 for name in found.opened},
        reason=found.reason,
        runs={
            name: tuple(min((way for (q, _), way in found.bad.items() if q == name), key=lambda way: way[0])[1])
            for name, _ in found.bad
        },
    )
