"""Every name that a model and its properties use is declared; another is refused, with its place and the nearest one.

Rules name things by strings, and what is not there would be a constant, or an event that never happens: a
misspelling would prove. What no model at all has is told from what this model does not have by ``tlbcheck.vocabulary``.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, conditions, evaluate, show, variables
from tlbcheck.lang.guarded import names_are_known
from tlbcheck.lang.model import EVENTS, PROFILES, VERDICTS, Amendment, Event, Ghost, Model, Property, Rule
from tlbcheck.lang.spelling import hint
from tlbcheck.lang.types import BOOL, IntType, Type, WordType
from tlbcheck.lang.where import place_of

_SAMPLE = 32
"""Entries that a cache's ``describe`` is tried on."""


@dataclass(frozen=True)
class _Scope:
    """What an expression may name: ``what`` and ``place`` tell where it stands; ``args`` None means any operand."""

    what: str
    files: tuple[str, ...]
    place: Place | None
    entries: tuple[str, ...] = ()
    cached: bool = True
    state: bool = True
    used: bool = False
    args: frozenset[str] | None = frozenset()
    ghosts: Mapping[str, Ghost] | None = None
    meanings: tuple[str, ...] = ()


def check_declared(model: Model, properties: Sequence[Property]) -> None:
    """Raise ``InputError`` for the first name in ``model``, or in what ``properties`` ask of it, that nothing declares.

    A property that ``model`` lacks a role or variable for is not applicable, and asks nothing.
    """
    declared = Declared(model)
    declared.data()
    declared.rules()
    for q in properties:
        declared.property(q)
    if model.case is not None:
        declared.monitor(model.case)


class Declared:
    """What one model declares."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.procedures = model.reachable()
        self.operations: dict[str, list[p.Operation]] = {}
        self.asserts: set[str] = set()
        self.required: set[str] = set()
        self.places: dict[str, Place] = {}
        for procedure in self.procedures:
            for s in p.walk(procedure.body):
                match s:
                    case p.Do():
                        known = self.operations.setdefault(s.operation.name, [])
                        if s.operation not in known:
                            known.append(s.operation)
                        self.places.setdefault(s.operation.name, s.place)
                    case p.Assert():
                        self.asserts.add(s.text)
                    case p.Call():
                        self.required |= {q.name for q, _ in model.requirements(s.procedure)}
        self.roles: dict[str, list[p.Procedure]] = {}
        for procedure in self.procedures:
            if procedure.role:
                self.roles.setdefault(procedure.role, []).append(procedure)
        self.files = tuple(
            dict.fromkeys([*([model.place.file] if model.place else []), *(q.place.file for q in self.procedures)])
        )
        self.variables = model.state_variables()
        self.named = model.names()
        self.state = {name: v.type for v in [*p.REGISTERS.values(), *self.variables] for name in self._names_of(v)}
        self.fields = {n: t for n, t, _ in model.cache.fields} if model.cache else {}
        self.cases = {c.name: c.type for c in model.cases}
        self.settings = p.SETTINGS | {n.removeprefix("setting.") for n in model.settings}

    def _names_of(self, v: p.StateVar) -> list[str]:
        """What rules may call a variable: by itself, or an element of an array."""
        if v.index is not None:
            return v.elements()
        return [v.name, *(f"cpu{c}.{v.name}" for c in range(self.model.cpus) if v.per_cpu)]

    def refuse(
        self, message: str, name: str, known: Iterable[str], scope: _Scope | None = None, otherwise: str = ""
    ) -> NoReturn:
        """Raise the error about ``name``, at the string that says it if that is found."""
        files, place = (scope.files, scope.place) if scope is not None else (self.files, self.model.place)
        full = [f"{name.rpartition('.')[0]}.{k}" for k in known] if "." in name else list(known)
        raise InputError(message, place=place_of(name, files) or place, hint=hint(name, full, otherwise))

    # -- expressions

    def expression(self, e: object, scope: _Scope, type_: Type | None = None) -> None:
        """Refuse what ``e`` names and may not; ``type_`` is what it has to be."""
        if not isinstance(e, Expr):
            raise InputError(
                f"{scope.what} is no expression: {e!r}",
                place=scope.place,
                hint="build it with eq, and_, not_, var, ... of tlbcheck.lang.expr",
            )
        if type_ is not None and e.type != type_:
            raise InputError(
                f"{scope.what} is a {e.type or 'number'}, not a {type_}",
                place=scope.place,
                hint="compare it with something: eq(..., ...)",
            )
        for part in conditions(e):
            if part.type is not None and part.type != BOOL:
                raise InputError(
                    f"{show(part)} is a {part.type}, and no condition, in {scope.what}",
                    place=next((at for n in variables(part) if (at := place_of(n, scope.files)) is not None), scope.place),
                    hint="compare it with something: eq(..., ...)",
                )
        for name, v in variables(e).items():
            declared = self.name(name, scope)
            if v.type is not None and declared is not None and v.type != declared:
                raise InputError(
                    f"'{name}' is a {declared}, not a {v.type}, in {scope.what}",
                    place=place_of(name, scope.files) or scope.place,
                    hint=f"write var('{name}', ...) with its own type",
                )

    def name(self, name: str, scope: _Scope) -> Type | None:
        """The type of what ``name`` stands for; None if it takes any."""
        head, dot, rest = name.partition(".")
        where = f"in {scope.what}"
        if not dot or head.removeprefix("cpu").isdecimal():
            return self.variable(name, scope)
        match head:
            case "entry" | "entry2" if head in scope.entries:
                if rest == "cached" and scope.cached:
                    return BOOL
                if rest not in self.fields:
                    self.refuse(
                        f"{self.model.name}'s cache has no field '{rest}', {where}",
                        name,
                        self.fields,
                        scope,
                        "the model has no cache" if not self.fields else "",
                    )
                return self.fields[rest]
            case "entry" | "entry2":
                raise InputError(
                    f"'{name}' stands for no entry {where}",
                    place=place_of(name, scope.files) or scope.place,
                    hint=f"entries are {' and '.join(scope.entries) or 'not looked at'} there",
                )
            case "used":
                if not scope.used or rest not in self.fields:
                    self.refuse(
                        f"'{name}' stands for nothing {where}",
                        name,
                        self.fields if scope.used else (),
                        scope,
                        "only an operation that goes through the cache has a used entry",
                    )
                return self.fields[rest]
            case "arg":
                if scope.args is not None and rest not in scope.args:
                    self.refuse(f"'{name}' is no operand {where}", name, scope.args, scope)
                return None
            case "ghost":
                if scope.ghosts is None or name not in scope.ghosts:
                    self.refuse(
                        f"'{name}' is no variable of the property, {where}",
                        name,
                        [n.rpartition(".")[2] for n in scope.ghosts or {}],
                        scope,
                    )
                return scope.ghosts[name].type
            case "meaning":
                return self.meaning(name, rest, scope)
            case "case":
                if rest not in self.cases:
                    self.refuse(
                        f"{self.model.name} uses the case variable {name} but does not list it, {where}",
                        name,
                        self.cases,
                        scope,
                        "add it to cases=(...)",
                    )
                return self.cases[rest]
            case "setting":
                if rest not in self.settings:
                    self.refuse(
                        f"no machine and no model has the setting '{rest}', {where}", name, self.settings, scope
                    )
                return None
            case "flag":
                names = {f.name for f in self.model.flags}
                if rest not in names:
                    self.refuse(
                        f"{self.model.name} uses a flag that it does not set: {name}, {where}",
                        name,
                        names,
                        scope,
                        "list it in flags={...}",
                    )
                return BOOL
            case "cpu" if rest in ("self", "acting"):
                return None
        text = f"'{name}' is nothing that a rule can name, {where}"
        raise InputError(text, place=place_of(name, scope.files) or scope.place, hint=hint(head, (*p.RESERVED, "flag")))

    def variable(self, name: str, scope: _Scope) -> Type | None:
        if not scope.state:
            self.refuse(
                f"'{name}' is no field of an entry, in {scope.what}", name, [f"entry.{n}" for n in self.fields], scope
            )
        if name not in self.state:
            arrays = [v for v in self.variables if v.name == name]
            if arrays:
                raise InputError(
                    f"{name} is an array, in {scope.what}",
                    place=place_of(name, scope.files) or scope.place,
                    hint=f"name an element: '{self._names_of(arrays[0])[0]}'",
                )
            self.refuse(
                f"{self.model.name} has no variable '{name}', in {scope.what}",
                name,
                [v.name for v in self.variables],
                scope,
                "some procedure has to read or write it",
            )
        return self.state[name]

    def meaning(self, name: str, rest: str, scope: _Scope) -> Type | None:
        if rest not in self.model.meanings:
            self.refuse(
                f"{self.model.name} does not say what '{rest}' means, in {scope.what}",
                name,
                self.model.meanings,
                scope,
                f"add it to meanings={{'{rest}': ...}}",
            )
        if rest in scope.meanings:
            raise InputError(
                f"the meaning '{rest}' is said by itself",
                place=place_of(rest, self.files) or self.model.place,
                hint=f"{' -> '.join((*scope.meanings, rest))}",
            )
        e = self.model.meanings[rest]
        what = f"the meaning '{rest}'{'' if scope.args is None else f', which {scope.what} asks for'}"
        meanings = (*scope.meanings, rest)
        self.expression(
            e, replace(scope, what=what, files=self.files, place=self.model.place, meanings=meanings, ghosts=None)
        )
        return e.type

    # -- the model

    def data(self) -> None:
        """What a model says of itself in words and names, expressions apart."""
        m = self.model
        if m.profile not in PROFILES:
            self.refuse(f"unknown processor '{m.profile}'", m.profile, PROFILES)
        self._alike("variables", list(self._every_variable()))
        self._alike("flags", list(m.flags))
        self._alike("case variables", list(m.cases))
        for c in (c for c in m.cases if isinstance(c, p.CaseVar)):
            self._values(f"the case variable '{c.name}'", c.name, c.type, c.domain)
        for name, type_, domain in m.cache.fields if m.cache is not None else ():
            self._values(f"the field '{name}' of {m.cache.name if m.cache else ''}", name, type_, domain)
        self._expected(m.expected, "expected")
        for name, variant in m.variants.items():
            self.variant(name)
            self._expected(variant.expected, f"what is expected of variant '{name}'")
        for c in m.matrix_case:
            if c not in m.cases:
                named = c.name if isinstance(c, p.CaseVar) else repr(c)
                raise InputError(
                    f"matrix_case fixes {named}, which is no case variable of {m.name}",
                    place=m.place,
                    hint="name one of cases=(...)",
                )
        ghosts = {g.name.rpartition(".")[2]: g for g in m.case.ghosts} if m.case else {}
        for name, _ in m.open_cases:
            if name not in ghosts:
                self.refuse(
                    f"open_cases speaks of '{name}', which the case monitor of {m.name} does not have", name, ghosts
                )
        for name, g in ghosts.items():
            if g.frame and name.startswith("this_") and name.removeprefix("this_") not in ghosts:
                self.refuse(
                    f"the case monitor of {m.name} has '{name}' and no '{name.removeprefix('this_')}'",
                    name.removeprefix("this_"),
                    [n for n in ghosts if not n.startswith("this_")],
                )
        taken = inspect.signature(m.resized).parameters if m.resized is not None else {}
        for number in m.numbers:
            if m.resized is not None and number not in taken:
                self.refuse(f"{m.name} has a number '{number}' that resized does not take", number, taken)
        for r in m.repairs:
            if isinstance(r, Amendment) and r.operand not in [n for n, _ in r.operation.operands]:
                self.refuse(
                    f"{r.operation.name} has no operand '{r.operand}'", r.operand, [n for n, _ in r.operation.operands]
                )

    def _every_variable(self) -> Iterator[p.StateVar]:
        """Each variable wherever one is read or written: two may have one name."""
        for q in self.procedures:
            for s in p.walk(q.body):
                if isinstance(s, p.Read | p.Write):
                    yield s.variable
                elif isinstance(s, p.Do):
                    yield from (v for v, _ in s.operation.effects)
        yield from (i.flag for i in self.model.interrupts if i.flag is not None)

    def _alike(self, what: str, declared: Sequence[p.StateVar] | Sequence[p.Flag] | Sequence[p.CaseVar]) -> None:
        """Refuse two things of one name: rules and traces could not tell them apart."""
        known: dict[str, object] = {}
        for x in declared:
            if isinstance(x, p.StateVar | p.Flag | p.CaseVar) and known.setdefault(x.name, x) is not x:
                raise InputError(
                    f"{self.model.name} has two {what} called '{x.name}'",
                    place=place_of(x.name, self.files) or self.model.place,
                    hint="rename one",
                )

    def _values(self, what: str, name: str, type_: Type, domain: Sequence[int]) -> None:
        """Refuse a choice of nothing (RUN-1, CACHE-1), and values that are none of the type (NUM-4)."""
        place = place_of(name, self.files) or self.model.place
        if not domain:
            raise InputError(f"{what} has no values", place=place, hint="give at least one")
        low, high = (type_.low, type_.high) if isinstance(type_, IntType) else (0, type_.mask if isinstance(type_, WordType) else type_.values()[-1])
        for x in domain:
            if not low <= x <= high:
                raise InputError(f"{what} has the value {x}, which is no {type_}", place=place, hint="widen the type, or leave it out")

    def variant(self, name: str) -> None:
        """Refuse a flag that a variant sets and nothing in it reads: the variant would be the model itself, under another name."""
        flags = self.model.variants[name].flags
        known = flags_read(self.model.variant(name)) if flags else set()
        for f in flags:
            if f.name not in known:
                unset = known - {g.name for g in (*self.model.flags, *flags)}
                self.refuse(
                    f"variant '{name}' of {self.model.name} sets {f.name}, which nothing in it reads",
                    f.name,
                    unset or known,
                    otherwise="leave it out",
                )

    def _expected(self, expected: Mapping[str, str], what: str) -> None:
        for name, verdict in expected.items():
            if verdict not in VERDICTS:
                self.refuse(
                    f"'{verdict}' for {name} in {what} of {self.model.name} is no verdict", str(verdict), VERDICTS
                )

    def rules(self) -> None:
        """What a model says in expressions: its cache, meanings, interrupts, settings, operations."""
        m = self.model
        mine = _Scope("", self.files, m.place)
        if m.cache is not None:
            entry = replace(mine, entries=("entry",))
            self.expression(
                m.cache.possible,
                replace(entry, what=f"the entries of {m.cache.name} that are possible", cached=False, state=False),
                BOOL,
            )
            self.expression(
                m.cache.fill, replace(entry, what=f"the walk of {m.cache.name}", entries=("entry", "entry2")), BOOL
            )
            self.expression(m.cache.initial, replace(entry, what=f"the initial content of {m.cache.name}"), BOOL)
            if m.cache.tag and m.cache.tag not in self.fields:
                self.refuse(f"the tag of {m.cache.name} is no field: '{m.cache.tag}'", m.cache.tag, self.fields)
            for names in m.cache.names.values():
                for register in names.registers:
                    self.name(register, replace(mine, what=f"what {m.cache.name} says of names", entries=("entry",)))
            self._described()
            for name in m.meanings:
                # What an operand is depends on who asks.
                self.meaning(
                    f"meaning.{name}",
                    name,
                    replace(mine, what=f"the meanings of {m.name}", entries=("entry", "entry2"), args=None, used=True),
                )
        for i in m.interrupts:
            self.expression(i.when, replace(mine, what=f"when {i.handler.name}() comes"), BOOL)
        for shown in m.notation.values.values():
            names_are_known(shown, 0)
        for operations in self.operations.values():
            for o in operations:
                self._operation(o)
        asked = {n for os in self.operations.values() for o in os for e in parts(o) for n in variables(e)}
        asked |= {
            n
            for e in (
                *m.meanings.values(),
                *((m.cache.fill, m.cache.initial) if m.cache else ()),
                *(i.when for i in m.interrupts),
            )
            for n in variables(e)
        }
        for name, e in m.settings.items():
            if name.removeprefix("setting.") not in p.SETTINGS and name not in asked:
                self.refuse(f"settings of {m.name} has '{name}', which nothing asks for", name, p.SETTINGS)
            self.expression(e, replace(mine, what=f"the setting '{name}'"))

    def _described(self) -> None:
        """Try the words for entries: a name in them that is no field shows at once."""
        cache = self.model.cache
        assert cache is not None
        names = [f"entry.{n}" for n in self.fields]
        for values in itertools.islice(itertools.product(*(domain for _, _, domain in cache.fields)), _SAMPLE):
            entry = dict(zip(names, values, strict=True))
            if evaluate(cache.possible, entry):
                cache.describe(entry)

    def _operation(self, o: p.Operation) -> None:
        scope = _Scope(
            f"the operation {o.name}", self.files, self.places.get(o.name), args=frozenset(n for n, _ in o.operands)
        )
        through = replace(scope, used=o.uses is not None)
        for e in (o.result, o.uses, *(e for _, e in o.effects), *(x for c in o.faults for x in c.parts)):
            if e is not None:
                self.expression(e, through)
        if self.model.cache is not None:
            for e in (x for c in o.drops for x in c.parts):
                self.expression(e, replace(scope, entries=("entry",)))

    # -- properties

    def property(self, q: Property) -> None:
        """Refuse what ``q`` names and nothing declares."""
        scope = _scope(q)
        judged = {clause for r in q.rules for clause, _ in r.bad} | {
            clause for clause, _ in (*q.invariants, *q.liveness)
        }
        if not judged:
            raise InputError(
                f"property {q.name} judges nothing",
                place=q.place,
                hint="say with on(..., bad=...), never() or eventually_not() what must not be",
            )
        for clause in q.clauses:
            if clause not in judged:
                self.refuse(
                    f"property {q.name} explains a clause '{clause}' that it never judges", clause, judged, scope
                )
        for event in (q.trigger, q.change):
            if event is not None:
                self._event(event, scope)
        self.monitor(q)

    def monitor(self, q: Property) -> None:
        """The same for rules alone, which a case monitor has too."""
        scope = _scope(q)
        for r in q.rules:
            self._event(r.event, replace(scope, place=r.place or q.place))
            for g, value in r.updates:
                if g not in q.ghosts:
                    name = g.name.removeprefix("ghost.") if isinstance(g, Ghost) else repr(g)
                    raise InputError(
                        f"property {q.name} sets {name}, which is no variable of its own",
                        place=r.place or q.place,
                        hint="declare it with ghost()",
                    )
                if value.type is not None and type(value.type) is not type(g.type):
                    raise InputError(
                        f"{g.name.removeprefix('ghost.')} is a {g.type} and is set to a {value.type}",
                        place=r.place or q.place,
                        hint="convert it explicitly",
                    )
        applies = q is self.model.case or self._applies(q)
        for r in q.rules:
            for what, e, type_ in [
                *((f"clause {c} of {q.name}", e, BOOL) for c, e in r.bad),
                *((f"an update of {g.name.removeprefix('ghost.')}", e, None) for g, e in r.updates),
            ]:
                self._ghosts_of(q, e, replace(scope, what=what, place=r.place or q.place))
                matches = list(self.matches(r)) if applies else []
                if matches:
                    args = frozenset.intersection(*(a for a, _ in matches))
                    used = all(u for _, u in matches)
                    entries = () if self.model.cache is None else ("entry", "entry2")
                    self.expression(
                        e,
                        replace(scope, what=what, place=r.place or q.place, args=args, used=used, entries=entries),
                        type_,
                    )
        for clause, e in (*q.invariants, *q.liveness):
            what = f"clause {clause} of {q.name}"
            self._ghosts_of(q, e, replace(scope, what=what))
            if applies:
                self.expression(
                    e, replace(scope, what=what, entries=() if self.model.cache is None else ("entry", "entry2")), BOOL
                )

    def _ghosts_of(self, q: Property, e: Expr, scope: _Scope) -> None:
        """Names that depend on no model."""
        for name in variables(e) if isinstance(e, Expr) else ():
            if name.startswith("ghost."):
                self.name(name, scope)

    def _applies(self, q: Property) -> bool:
        """Whether the model has what the property needs; lowering says what it lacks."""
        asked = asked_names(q)
        if self.model.cache is None and any(n.startswith("entry.") for n in asked):
            return False
        return all(n in self.roles for n in q.needs) and not {n for n in asked if "." not in n} - self.named

    def _event(self, e: Event, scope: _Scope) -> None:
        if e.kind not in EVENTS:
            self.refuse(f"'{e.kind}' is no kind of event", e.kind, EVENTS, scope)
        if e.parameters and e.kind != "enter":
            raise InputError(
                f"a rule about {e.kind} names parameters: {', '.join(e.parameters)}",
                place=scope.place,
                hint="only enter() has some; an operation's operands are arg.NAME as they are",
            )
        for q in self.roles.get(e.name, ()) if e.kind == "enter" else ():
            if len(e.parameters) > len(q.parameters):
                text = f"{q.name}() of role '{e.name}' has {len(q.parameters)} parameter(s), the rule names {len(e.parameters)}"
                raise InputError(text, place=scope.place, hint=f"they are ({', '.join(x.name for x in q.parameters)})")

    def matches(self, r: Rule) -> Iterator[tuple[frozenset[str], bool]]:
        """For each thing in the model that the rule reacts to: its operands, and whether it goes through the cache."""
        e = r.event
        if e.within and e.within not in self.roles:
            return
        match e.kind:
            case "operation" | "fault":
                for o in (o for os in self.operations.values() for o in os):
                    if e.kind == "fault" and (not o.faults or e.name not in ("", *(c.exception for c in o.faults))):
                        continue
                    if e.kind == "fault" or e.name in ("", o.name):
                        yield frozenset(n for n, _ in o.operands), o.uses is not None
            case "enter":
                for q in self.roles.get(e.name, ()) if e.name else [q for qs in self.roles.values() for q in qs]:
                    yield frozenset(e.parameters or (x.name for x in q.parameters)), False
            case "leave":
                if e.name in self.roles or (not e.name and self.roles):
                    yield frozenset(), False
            case "fill":
                if self.model.cache is not None:
                    yield frozenset(), False
            case "assert":
                if e.name in self.asserts or (not e.name and self.asserts):
                    yield frozenset(), False
            case "requires":
                if e.name in self.required or (not e.name and self.required):
                    yield frozenset(), False


def flags_read(model: Model) -> set[str]:
    """The flags on which anything in ``model`` depends: what its procedures do, its cache, meanings, settings and interrupts.

    Behind a contract too: what is relied on has to be shown under the same flags.
    """
    own = [*model.meanings.values(), *model.settings.values(), *(i.when for i in model.interrupts)]
    own += [model.cache.possible, model.cache.fill, model.cache.initial] if model.cache else []
    for procedure in dict.fromkeys([*model.reachable(), *replace(model, contracts=()).reachable()]):
        for s in p.walk(procedure.body):
            own += p.expressions(s)
            for _, required in model.requirements(s.procedure) if isinstance(s, p.Call) else ():
                own += [required.condition, *(e for t in p.walk(required.before) for e in p.expressions(t))]
    return {n.removeprefix("flag.") for e in dict.fromkeys(own) for n in variables(e) if n.startswith("flag.")}


def _scope(q: Property) -> _Scope:
    return _Scope("", () if q.place is None else (q.place.file,), q.place, ghosts={g.name: g for g in q.ghosts})


def asked_names(q: Property) -> set[str]:
    """Everything that a property's rules and invariants look at."""
    expressions = [e for _, e in (*q.invariants, *q.liveness)] + [e for r in q.rules for _, e in (*r.bad, *r.updates)]
    return {n for e in expressions if isinstance(e, Expr) for n in variables(e)}


def parts(o: p.Operation) -> list[Expr]:
    """The expressions of an operation: its result, effects, and what its clauses ask."""
    return [
        e
        for e in (o.result, o.uses, *(e for _, e in o.effects), *(x for c in (*o.faults, *o.drops) for x in c.parts))
        if e is not None
    ]
