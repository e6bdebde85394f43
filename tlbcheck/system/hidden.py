"""What no state of a model shows, and so no ``never`` clause judges: values that are there within an indivisible block only (EVENT-5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_

from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, show, variables
from tlbcheck.lang.model import Model, Property


def written_twice(model: Model, q: Property) -> Iterator[tuple[str, Place]]:
    """The variables that ``never`` clauses of ``q`` read and that a block, or an action, writes more than once; and where."""
    asked = {name.partition("[")[0] for _, e in q.invariants for name in _read(model, e)}
    blocks = [(a.place, model.resolve(a).body) for a in model.actions]
    blocks += [(s.place, s.body) for procedure in model.reachable() if procedure is not model.resolve(model.init) for s in p.walk(procedure.body) if isinstance(s, p.AtomicBlock)]
    for place, body in blocks if asked else ():
        yield from ((name, place) for (name, _), times in sorted(_writes(model, body).items()) if times > 1 and name in asked)


def _read(model: Model, e: Expr) -> Iterable[str]:
    for name in variables(e):
        if name.startswith("meaning."):
            yield from _read(model, model.meanings[name.removeprefix("meaning.")])
        else:
            yield name


def _writes(model: Model, statements: Sequence[p.Statement]) -> Counter[tuple[str, str]]:
    """How often at most each variable, or each element of it, is written on a way through; a loop counts once."""
    found: Counter[tuple[str, str]] = Counter()
    for i, s in enumerate(statements):
        match s:
            case p.Write():
                found[s.variable.name, show(s.at) if s.at is not None else ""] += 1
            case p.Do():
                found.update({(v.name, ""): 1 for v, _ in s.operation.effects})
            case p.If():
                sides = [side for side in (s.then, s.orelse) if side and isinstance(side[-1], p.Return)]
                if sides:  # what follows is on the other way
                    others = [side for side in (s.then, s.orelse) if side not in sides]
                    ways = [*sides, *([*side, *statements[i + 1 :]] for side in others)]
                    return found + reduce(or_, (_writes(model, way) for way in ways))
                found += _writes(model, s.then) | _writes(model, s.orelse)
            case p.While() | p.ForCpus() | p.AtomicBlock():
                found += _writes(model, s.body)
            case p.Call():
                found += _writes(model, model.resolve(s.procedure).body)
    return found
