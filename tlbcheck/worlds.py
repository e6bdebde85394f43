"""Whether a promise was shown for at least the world that a model relies on it in, as data.

Both models are walked through, each without its caches. Of every state in which the procedure is called it is noted what the call
depends on: its arguments, the variables, cases and settings that the procedure and its preconditions read, on the CPU
that calls. Each such call of the relying model has to be one that the most general caller makes where the promise is shown.
Names (root tables by their addresses) count by whether they are the same. Besides are compared: who else may write those variables while the
procedure runs, how many CPUs there are for a promise about others, what the promise's words mean, and which entries a
cache can hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tlbcheck.lang import program as p
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.expr import Expr, evaluate, var, variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import IntType, Type
from tlbcheck.system.lower import lower
from tlbcheck.system.names import Software

_STATES = 200_000
"""Control states of a model that are looked at; a model with more has calls that are not known."""
_CALL = "%call"
_LISTED = 3
Call = tuple[tuple[str, int], ...]
"""What a call depends on, by name."""
Reads = tuple[tuple[str, int], ...]
"""What a procedure looks at, with the values that these have before anybody writes them."""


@dataclass(frozen=True)
class _Calls:
    """The calls of a procedure in a model; not all of them, if it is not ``complete``."""

    made: frozenset[Call]
    complete: bool


def narrower(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """What of the world in which ``model`` relies on ``c`` is not covered where ``shows`` shows it, in words."""
    reads = _reads(shows, c.procedure)
    relied, shown = _calls(_relying(model, c), reads), _shown(shows, c.procedure, reads)
    names = [n for n in shows.scope.values() if isinstance(n, Names)]
    names = [n for n in names if not Software(lower(shows, _ensured(shows, c))).looks_into(n)] if names else []
    held = [(n, _holding(shown.made, n)) for n in names]
    known = {_canonical(call, held) for call in shown.made}
    missing = [call for call in sorted(relied.made) if _canonical(call, held) not in known]
    if missing:
        yield f"{shows.name} does not call {c.procedure.name}() with {_differing(missing[0], shown.made)}, as {model.name} does"
    if not relied.complete:
        yield f"{model.name} has too many states to know how {c.procedure.name}() is called there"
    yield from _interference(model, shows, c)
    yield from _about_others(model, shows, c)
    yield from _meanings(model, shows, c)
    yield from _entries(model, shows, c)


# -- calls


def _probed(procedure: p.Procedure, q: p.Procedure) -> p.Procedure:
    """A step that tells the arguments of a call that keeps to what ``procedure`` requires, and then ``q``, which takes its place.

    Of another call it is the property ``requires`` that judges.
    """
    probe = p.Operation(_CALL, tuple((x.name, x.type) for x in procedure.parameters), text="calls")
    place, inside = q.place, tuple(var(x.name, x.type) for x in procedure.parameters)

    def call(target: p.Procedure, general: str = "") -> list[p.Statement]:
        returned = None if q.result is None else "%result"
        last: list[p.Statement] = [] if returned is None else [p.Return(place=place, value=var(returned, q.result))]
        return [p.Call(place=place, procedure=target, args=inside, target=returned, general=general), *last]

    told = [p.Do(place=place, operation=probe, args=inside)]
    keeping = p.Procedure(f"{q.name}%kept", procedure.parameters, place, lambda: [*procedure.requires, *told, *call(q)], q.result)
    return p.Procedure(f"{q.name}%probed", procedure.parameters, place, lambda: call(keeping, "where what is required holds"), q.result)


def _relying(model: Model, c: Contract) -> Model:
    """``model`` with a probe at each call of the stand-in."""
    probed = _probed(c.procedure, c.stand_in)
    return replace(model, cache=None, case=None, contracts=tuple(replace(k, stand_in=probed) if k is c else k for k in model.contracts))


@lru_cache(maxsize=16)
def _shown(shows: Model, procedure: p.Procedure, reads: Reads) -> _Calls:
    """The calls of the procedure itself where the promise is shown: the most general caller's, and any others, which are judged alike."""
    own = shows.resolve(procedure)
    probed = _probed(procedure, own.with_body(list(own.body)))
    return _calls(replace(shows, cache=None, case=None, procedures={**shows.procedures, procedure: probed}), reads)


def _calls(model: Model, reads: Reads) -> _Calls:
    """The calls that the probes of ``model`` tell."""
    from tlbcheck.engines.explicit import Tracked

    search = Tracked(lower(model, []), limit=_STATES)
    complete = search.run().complete
    cases = {f"case.{c.name}": c.domain for c in model.cases}
    made = set()
    for s, edges in search.edges.items():
        before = search.values(s)
        free = [n for n in cases if n not in before]
        for index, chosen, _ in edges:
            step = search.system.steps[index]
            if step.action == _CALL:
                scope = {**before, **dict(zip((q.name for q in step.parameters), map(int, chosen), strict=True))}
                args = {n: evaluate(e, scope) for n, e in step.operands.items()}
                for values in itertools.product(*(cases[n] for n in free)):
                    made.add(_call(model, reads, {**before, **dict(zip(free, values, strict=True))}, step.cpu or 0, args))
    return _Calls(frozenset(made), complete)


def _call(model: Model, reads: Reads, before: Mapping[str, int], cpu: int, args: Mapping[str, int]) -> Call:
    known = {f"argument {n}": x for n, x in args.items()}
    for name, initial in reads:
        if name.startswith("setting."):
            setting = model.settings.get(name)
            known[name] = 1 if setting is None else evaluate(setting, before)
        else:  # what nobody writes there has its initial value
            known[name] = before.get(f"cpu{cpu}.{name}", before.get(name, initial))
    return tuple(sorted(known.items()))


def _holding(made: frozenset[Call], names: Names) -> set[str]:
    """Which of what a call depends on holds names: nothing but these where the promise is shown."""
    fields: dict[str, set[int]] = {}
    for call in made:
        for name, value in call:
            fields.setdefault(name, set()).add(value & names.mask)
    return {name for name, found in fields.items() if found - {0} and found <= {0, *names.values}}


def _canonical(call: Call, held: list[tuple[Names, set[str]]]) -> Call:
    """The call with each name replaced by its number in order."""
    made, numbers = [], dict[int, int]()
    for name, value in call:
        for n, words in held:
            if name in words and not n.chosen and (field := value & n.mask):
                value = value & ~n.mask | numbers.setdefault(field, len(numbers) + 1) << n.mask.bit_length()
        made.append((name, value))
    return tuple(made)


def _differing(call: Call, shown: frozenset[Call]) -> str:
    """What is special about a call that is not among those shown."""
    own = dict(call)
    single = [f"{n} = {_number(x)}" for n, x in call if not any(dict(other).get(n) == x for other in shown)]
    return " and ".join(single[:_LISTED] or [f"{n} = {_number(x)}" for n, x in own.items()]) or "what it depends on"


def _number(value: int) -> str:
    return hex(value) if value > 9 else str(value)


# -- what a procedure depends on


def called(model: Model, procedure: p.Procedure) -> list[p.Procedure]:
    """The procedure and all that it calls, as they are resolved."""
    found: dict[p.Procedure, None] = {}
    waiting = [procedure]
    while waiting:
        q = waiting.pop()
        if q not in found:
            found[q] = None
            waiting += [s.procedure for s in statements(model, q) if isinstance(s, p.Call)]
    return list(found)


def statements(model: Model, procedure: p.Procedure) -> Iterator[p.Statement]:
    for _, r in model.requirements(procedure):
        yield r
        yield from p.walk(r.before)
    yield from p.walk(model.resolve(procedure).body)


def _reads(shows: Model, procedure: p.Procedure) -> Reads:
    """The variables, registers, cases and settings that the procedure and its preconditions look at."""
    found: dict[str, int] = {}
    for q in called(shows, procedure):
        for s in statements(shows, q):
            if isinstance(s, p.Read):
                found |= dict.fromkeys(_copies(s, shows.cpus), _initial(s.variable.type))
            names = {n for e in p.expressions(s) for n in variables(e) if n.startswith(("case.", "setting."))}
            names |= {n for e in (_asked(s.operation) if isinstance(s, p.Do) else ()) for n in variables(e) if "." not in n}
            found |= dict.fromkeys(names, 0)
    for setting in [shows.settings[n] for n in found if n in shows.settings]:
        found |= dict.fromkeys((n for n in variables(setting) if n.startswith("case.")), 0)
    return tuple(sorted(found.items()))


def _copies(s: p.Read, cpus: int) -> list[str]:
    """The variables that an access may mean."""
    v = s.variable
    if v.index is not None:
        return v.elements()
    return [v.name] if s.at is None else [f"cpu{c}.{v.name}" for c in range(cpus)]


def _initial(type_: Type) -> int:
    return max(type_.low, min(0, type_.high)) if isinstance(type_, IntType) else 0


def _asked(o: p.Operation) -> list[Expr]:
    """What an operation reads of registers."""
    parts = [x for clause in (*o.faults, *o.drops) for x in clause.parts] + [e for _, e in o.effects]
    return parts + [e for e in (o.result, o.uses) if e is not None]


# -- what else is there


def _interference(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """Variables that somebody else may write while the procedure runs here, and by procedures that do not run where the promise is shown."""
    read = {s.variable for q in called(shows, c.procedure) for s in statements(shows, q) if isinstance(s, p.Read)}
    own = replace(model, contracts=tuple(k for k in model.contracts if k is not c))
    here, there = _writers(own), _writers(shows)
    for v in sorted(read, key=lambda v: v.name):
        for writer in sorted(here.get(v, set()) - there.get(v, set())):
            yield f"{writer}() may write {v.name} while {c.procedure.name}() runs in {model.name}, and does not in {shows.name}"


def _writers(model: Model) -> dict[p.StateVar, set[str]]:
    """For each variable the procedures by which another activation than a task's own can write it."""
    made: dict[p.StateVar, set[str]] = {}
    others = [i.handler for i in model.interrupts] + list(model.actions)
    if model.task is not None and model.cpus > 1:
        others.append(model.task)
    for root in others:
        for q in called(model, root):
            for s in p.walk(model.resolve(q).body):
                if isinstance(s, p.Write) and not (root is model.task and s.variable.per_cpu and s.at is None):
                    made.setdefault(s.variable, set()).add(q.name)
    return made


def _about_others(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """A promise about other CPUs, or a procedure that looks at them, is shown for no more CPUs than there are."""
    if shows.cpus >= model.cpus:
        return
    looks = any(
        isinstance(s, p.ForCpus) or any("cpu.self" in variables(e) for e in p.expressions(s)) or (isinstance(s, p.Read | p.Write) and s.variable.per_cpu and s.at is not None)
        for q in called(shows, c.procedure)
        for s in statements(shows, q)
    )
    shared = any(isinstance(s, p.Read) and not s.variable.per_cpu for q in called(shows, c.procedure) for s in statements(shows, q))
    if looks or shared or any(r.every_cpu for q in _ensured(shows, c) for r in q.rules):
        yield f"{shows.name} has {shows.cpus} CPU{'s' if shows.cpus > 1 else ''}, {model.name} {model.cpus}"


def _ensured(shows: Model, c: Contract) -> list[Property]:
    from tlbcheck.library import find_properties

    return find_properties(list(c.procedure.ensures), shows)


def _meanings(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """The words of the promise mean the same."""
    asked = {n for q in _ensured(shows, c) for r in q.rules for _, e in (*r.bad, *r.updates) for n in variables(e) if n.startswith("meaning.")}
    asked |= {n for q in _ensured(shows, c) for _, e in q.invariants for n in variables(e) if n.startswith("meaning.")}
    for name in sorted(asked):
        word = name.partition(".")[2]
        mine, theirs = model.meanings.get(word), shows.meanings.get(word)
        if mine is not None and theirs is not None and mine is not theirs:
            yield f"'{word}' means something else in {shows.name} than in {model.name}"


def _entries(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """A promise about entries is shown for those that the relying model's cache can hold."""
    if model.cache is None or not any(n.startswith("entry.") for q in _ensured(shows, c) for r in q.rules for _, e in (*r.bad, *r.updates) for n in variables(e)):
        return
    if shows.cache is None:
        yield f"{shows.name} has no cache"
        return
    mine, theirs = ({n: d for n, _, d in cache.fields} for cache in (model.cache, shows.cache))
    if mine.keys() != theirs.keys():
        yield f"entries of the cache are others in {shows.name} than in {model.name}"
        return
    for name, values in mine.items():
        lacking = [x for x in values if x not in theirs[name]]
        if lacking and name != model.cache.tag:
            yield f"{shows.name} has no entry whose {name} is {lacking[0]}, as {model.name} has"
