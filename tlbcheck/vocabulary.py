"""What a model and its properties name and this model does not have: somebody has to, or it is a misspelling.

A property of the library is judged of many models, and one that lacks a role, an operation or a variable is
no mistake. A name that neither the machines nor any model of the library, of the working directory or of the
model's own file have is one, and so is one that this model has with a slip of the pen.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import tlbcheck.machine
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.declared import Declared, asked_names, parts
from tlbcheck.lang.expr import variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.program import Operation, Procedure, StateVar
from tlbcheck.lang.spelling import hint, nearest, slipped
from tlbcheck.lang.where import place_of
from tlbcheck.replay.staleness import MEANINGS as STALENESS


@dataclass
class Names:
    """Names by what they are of."""

    roles: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    exceptions: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    meanings: set[str] = field(default_factory=set)
    assertions: set[str] = field(default_factory=set)
    procedures: set[str] = field(default_factory=set)

    def __or__(self, other: Names) -> Names:
        return Names(**{kind: names | getattr(other, kind) for kind, names in vars(self).items()})

    def operation(self, o: Operation) -> None:
        self.operations.add(o.name)
        self.exceptions |= {c.exception for c in o.faults}


_KINDS = {
    "roles": "role of a procedure",
    "operations": "operation or marker",
    "exceptions": "exception",
    "variables": "variable",
    "meanings": "meaning",
    "assertions": "assertion",
    "procedures": "procedure that requires something",
}


def check_vocabulary(model: Model, properties: Sequence[Property]) -> None:
    """Raise ``InputError`` for a name that ``properties``, or the model's case monitor, ask for and nobody has."""
    mine = names_of(model)
    for q in (*properties, *([model.case] if model.case is not None else [])):
        asked = asked_of(q)
        for kind, names in vars(asked).items():
            for name in sorted(names - getattr(mine, kind)):
                _somebodys(model, q, kind, name, getattr(mine, kind), getattr(asked, kind))


def _somebodys(model: Model, q: Property, kind: str, name: str, mine: set[str], asked: set[str]) -> None:
    """Refuse ``name``, which ``model`` lacks, if nobody has it; or if the model has it misspelt."""
    files = [] if q.place is None else [q.place.file]
    known = set().union(*(getattr(names, kind) for names in _sources(model, q, kind, name)), mine)
    full = f"meaning.{name}" if kind == "meanings" else name
    if name not in known:
        raise InputError(
            f"property {q.name} speaks of '{name}', and no {_KINDS[kind]} is called so",
            place=place_of(full, files) or q.place,
            hint=hint(name, known, "declare it in a model"),
        )
    instead = next((own for own in sorted(mine - asked - _machines_names(kind)) if slipped(own, name)), "")
    if instead:
        place = place_of(instead, Declared(model).files) or model.place
        text = f"{model.name} has a {_KINDS[kind]} called '{instead}', and property {q.name} speaks of '{name}'"
        raise InputError(
            text, place=place, hint=f"did you mean '{name}'? Else call it something that is not taken for it"
        )


def _sources(model: Model, q: Property, kind: str, name: str) -> Iterator[Names]:
    """Where ``name`` may be declared, the nearest first, for as long as it was not found."""
    for names in _lazily(model, q):
        yield names
        if name in getattr(names, kind):
            return


def _lazily(model: Model, q: Property) -> Iterator[Names]:
    yield _machines()
    files = {p.file for p in (model.place, q.place) if p is not None} | set(Declared(model).files)
    yield _declared_in(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) in files)
    from tlbcheck.library import modules

    loaded = modules(model)
    yield _declared_in(loaded)
    for module in loaded:
        for value in list(vars(module).values()):
            if isinstance(value, Model):
                for m in (value, *(value.variant(v) for v in value.variants)):
                    yield names_of(m)


@functools.cache
def _machines() -> Names:
    """What the machines have."""
    found = [
        importlib.import_module(f"tlbcheck.machine.{m.name}") for m in pkgutil.iter_modules(tlbcheck.machine.__path__)
    ]
    return _declared_in(found)


def _machines_names(kind: str) -> set[str]:
    names: set[str] = getattr(_machines(), kind)
    return names


def _declared_in(found: Iterable[types.ModuleType]) -> Names:
    """What stands in modules by itself, or in a tuple."""
    made = Names()
    for module in found:
        for value in list(vars(module).values()):
            for x in value if isinstance(value, tuple) else (value,):
                match x:
                    case Operation():
                        made.operation(x)
                    case Procedure():
                        made.roles |= {x.role} - {""}
                    case StateVar():
                        made.variables.add(x.name)
                    case Model():
                        made.meanings |= set(x.meanings)
    return made


def names_of(model: Model) -> Names:
    """What a model has: what its procedures do, and what it says."""
    declared = Declared(model)
    made = Names(
        roles=set(declared.roles),
        variables=declared.named | set(declared.state),
        meanings=set(model.meanings),
        assertions=declared.asserts,
        procedures=declared.required,
    )
    for o in (o for operations in declared.operations.values() for o in operations):
        made.operation(o)
    # What an access is called in a trace.
    made.operations |= {f"{does} {v.name}" for v in declared.variables for does in ("read", "write")}
    return made


def asked_of(q: Property) -> Names:
    """What a property asks for by name."""
    made = Names(roles=set(q.needs))
    for e in (*(r.event for r in q.rules), *(e for e in (q.trigger, q.change) if e is not None)):
        made.roles |= {e.within}
        match e.kind:
            case "enter" | "leave":
                made.roles.add(e.name)
            case "operation":
                made.operations.add(e.name)
            case "fault":
                made.exceptions.add(e.name)
            case "assert":
                made.assertions.add(e.name)
            case "requires":
                made.procedures.add(e.name)
    asked = asked_names(q)
    made.variables |= {n for n in asked if "." not in n}
    made.meanings |= {n.removeprefix("meaning.") for n in asked if n.startswith("meaning.")}
    for names in vars(made).values():
        names.discard("")
    return made


def refuse_unknown(model: Model, known: Mapping[str, Property], *, complete: bool = True) -> None:
    """Raise ``InputError`` for a property that ``model`` speaks of and that is not ``known``, if these are all."""
    for procedure in (*model.reachable(), *model.procedures, *(c.procedure for c in model.contracts)):
        for n in procedure.ensures:
            if n not in known and complete:
                raise InputError(
                    f"{procedure.name}() ensures an unknown property '{n}'",
                    place=procedure.place,
                    hint=properties_there(n, known),
                )
    spoken = [(n, "what it is about") for n in model.about]
    spoken += [(n.partition("/")[0], "vacuous") for n in model.vacuous]
    spoken += [(n, "expected") for n in model.expected]
    spoken += [(n, f"what is expected of variant '{v}'") for v, x in model.variants.items() for n in x.expected]
    for n, where in spoken:
        if n not in known and complete and n not in _made_in_python():
            raise InputError(
                f"unknown property '{n}' in {where} of {model.name}",
                place=_said(model, n),
                hint=properties_there(n, known),
            )
    for n in model.vacuous:
        name, slash, clause = n.partition("/")
        if slash and name in known and clause not in known[name].clauses:
            raise InputError(
                f"property {name} has no clause '{clause}', in vacuous of {model.name}",
                place=_said(model, n),
                hint=hint(clause, known[name].clauses),
            )
    _refuse_idle_meanings(model, known)


def _refuse_idle_meanings(model: Model, known: Mapping[str, Property]) -> None:
    """Refuse a meaning that nothing asks for, where it is one that is asked for and that ``model`` does not say, with a slip of the pen."""
    within = {n for os in Declared(model).operations.values() for o in os for e in parts(o) for n in variables(e)}
    within |= {n for e in model.meanings.values() for n in variables(e)}
    if model.cache is not None:
        within |= {n for e in (model.cache.fill, model.cache.initial) for n in variables(e)}
    asked = {n.removeprefix("meaning.") for n in within if n.startswith("meaning.")} | STALENESS
    asked |= {n for q in (*known.values(), *([model.case] if model.case else [])) for n in asked_of(q).meanings}
    for name in model.meanings:
        meant = next((n for n in sorted(asked - set(model.meanings)) if slipped(name, n)), "") if name not in asked else ""
        if meant:
            raise InputError(
                f"{model.name} says what '{name}' means, and nothing asks for it",
                place=place_of(name, Declared(model).files) or model.place,
                hint=f"did you mean '{meant}'?",
            )


def _made_in_python() -> set[str]:
    """Properties that stand in Python modules and in no folder of properties: tests make some."""
    loaded = list(sys.modules.values())
    return {x.name for m in loaded for x in list(getattr(m, "__dict__", {}).values()) if type(x) is Property}


def _said(model: Model, name: str) -> Place | None:
    return place_of(name, [] if model.place is None else [model.place.file]) or model.place


def properties_there(name: str, known: Iterable[str]) -> str:
    """What to do about a property that there is not."""
    near = nearest(name, known)
    return f"did you mean '{near}'?" if slipped(name, near) else f"there are: {', '.join(known)}"
