"""Whether what a model relies on is shown: what procedures ensure whose place a stand-in has taken.

A promise holds for every caller if a model shows it in which the most general caller calls the procedure
itself, and in the relying model if its own calls meet what the procedure requires. What is shown has to be what
the relying model stands for: the same flags and procedures wherever the procedure goes, and a world at least as wide (``tlbcheck.worlds``). Nothing may rest on
itself, so models do not rely on each other in a circle; and what rests on something open is open itself.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tlbcheck.errors import InputError
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.expr import variables
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Call, expressions, walk
from tlbcheck.result import PropertyResult, Reliance, Standing, Verdict, listed_procedures
from tlbcheck.worlds import called, narrower, statements

_REQUIRES = "requires"
"""The property that judges calls."""


def reliances(model: Model, above: tuple[str, ...] = ()) -> tuple[Reliance, ...]:
    """What ``model`` relies on, as far as it goes by itself; ``settle`` says what has become of it.

    Raises ``InputError`` for a contract that its model cannot show, and for a circle.
    """
    found = []
    for c in model.relied_on():
        if c.shown_by in (*above, model.name):
            raise InputError(f"{' relies on '.join([*above, model.name, c.shown_by])}: a circle shows nothing", place=c.procedure.place, hint="let one of them run the procedures themselves")
        shows = _showing(c, (*above, model.name))
        differs = (*_differences(model, shows, c), *narrower(model, shows, c))
        found.append(
            Reliance(
                procedure=c.procedure.name,
                shown_as=shows.resolve(c.procedure).name,
                properties=tuple(c.procedure.ensures),
                requires=tuple(r.text for _, r in model.requirements(c.procedure)),
                shown_by=c.shown_by,
                differs=differs,
                check=_command(model),
                standing=Standing.BROKEN if differs else Standing.OPEN,
                why="; ".join(differs),
            )
        )
    return tuple(found)


def _showing(c: Contract, above: tuple[str, ...]) -> Model:
    """The model that is to show the promise, in which the most general caller calls the procedure itself."""
    from tlbcheck.library import find_models

    if not c.procedure.ensures:
        raise InputError(f"{c.procedure.name}() ensures nothing that could be relied on", place=c.procedure.place, hint="name properties: @procedure(ensures=(...))")
    try:
        shows = find_models(c.shown_by)[0]
    except InputError as error:
        raise InputError(f"{c.procedure.name}() is to be shown by {c.shown_by}: {error.message}", place=c.procedure.place, hint=error.hint) from None
    general = [s for q in shows.reachable() for s in walk(q.body) if isinstance(s, Call) and s.general and s.procedure is c.procedure]
    if not general or c.stand_in in shows.resolution(c.procedure):
        raise InputError(f"{shows.name} does not show what {c.procedure.name}() ensures", place=c.procedure.place, hint="there the most general caller has to call the procedure itself")
    reliances(shows, above)
    return shows


def _command(model: Model) -> str:
    """The command that checks a model with all that it rests on, for the same processor."""
    from tlbcheck.library import find_models

    def below(m: Model) -> Iterator[str]:
        for c in m.relied_on():
            yield from below(find_models(c.shown_by)[0])
            yield c.shown_by

    processor = ["--processor", model.profile] if model.profile != "common" else []
    return shlex.join(["tlbcheck", "verify", *dict.fromkeys(below(model)), model.origin.get("file") or model.name, *processor])


def _differences(model: Model, shows: Model, c: Contract) -> Iterator[str]:
    """Why what ``shows`` runs for the procedure is not what ``model`` would run in the stand-in's place.

    Contracts of either count for nothing here: what they stand for is compared where they are shown.
    A version that the showing model alone puts in the procedure's own place is what the stand-in
    stands for; the result names it.
    """
    there, here = dataclasses.replace(shows, contracts=()), dataclasses.replace(model, contracts=())
    values = {f.name: on for f, on in model.flags.items()}
    read: set[str] = set()
    for q in called(there, c.procedure):
        theirs, own = there.resolve(q), here.resolve(q)
        if theirs is not own and not (q is c.procedure and own in (q, c.stand_in)):
            yield f"{q.name}() is {theirs.name}() in {shows.name} and {own.name if own.name != theirs.name else 'another'}() in {model.name}; a model with the same procedures has to show it"
        read |= {n.removeprefix("flag.") for s in statements(there, q) for e in expressions(s) for n in variables(e) if n.startswith("flag.")}
    for f in shows.flags:
        own_on = values.get(f.name, f.default)
        if f.name in read and shows.flags[f] != own_on:
            yield f"{f.name} is {_switched(shows.flags[f])} in {shows.name} and {_switched(own_on)} in {model.name}; a model with the same value has to show it"
    judged = {id(r) for _, r in model.requirements(c.procedure)}
    for owner, r in shows.requirements(c.procedure):
        if id(r) not in judged:
            yield f"{shows.name} takes for granted that callers of {owner.name}() keep to {r.text}, which is not asked of the calls in {model.name}"


def _switched(on: bool) -> str:
    return "on" if on else "off"


def ranked(models: Sequence[Model]) -> list[int]:
    """The positions of ``models``, those that others rely on first."""
    contracts = {m.name: m.contracts for m in models}

    def rank(name: str, above: tuple[str, ...] = ()) -> int:
        return max((1 + rank(c.shown_by, (*above, name)) for c in contracts.get(name, ()) if c.shown_by not in above), default=0)

    return sorted(range(len(models)), key=lambda i: rank(models[i].name))


def settle(results: Sequence[PropertyResult], shown: Mapping[tuple[str, str], PropertyResult], run: Iterable[str]) -> tuple[PropertyResult, ...]:
    """The results of one model with what has become of what they rely on.

    ``shown`` are results by model and property, settled themselves, of models that these rely on; ``run`` are
    the names of the models that are being checked. They may be settled again once more is known.
    """
    names = set(run)
    own = next((x for x in results if x.name == _REQUIRES), None)
    return tuple(replace(x, relies=tuple(_judged(r, x, own, shown, names) for r in x.relies)) for x in results)


def _judged(r: Reliance, x: PropertyResult, own: PropertyResult | None, shown: Mapping[tuple[str, str], PropertyResult], names: set[str]) -> Reliance:
    """What has become of a reliance of result ``x``; ``own`` is the verdict on the calls of its model."""
    failed, left = list(r.differs), []
    f, by = f"{r.procedure}()", r.shown_by
    if missing := [name for name in r.properties if (by, name) not in shown]:
        left.append(f"{by} was not checked for {', '.join(missing)}")
    for name in r.properties:
        there = shown.get((by, name))
        if there is None:
            continue
        if there.verdict is not Verdict.PROVED or there.vacuous:
            failed.append(f"{by} does not show {name} of {f}")
        elif there.scope.profile not in ("common", x.scope.profile):
            failed.append(f"{by} shows {name} of {f} for {there.scope.profile} processors only")
        elif not there.vacuity.looked:
            left.append(f"whether anything triggers {name} in {by} was not looked at")
        elif any(y.standing is not Standing.SHOWN for y in there.relies):
            left.append(f"{by} relies itself on what is open")
    if by in names and not any(model == by for model, _ in shown):
        failed.append(f"{by}, which is to show what {f} ensures, could not be checked")
    if r.requires and own is None:
        left.append(f"whether calls here meet what {f} requires was not checked")
    elif r.requires and own is not None and own is not x and own.found is not Verdict.NOT_APPLICABLE:  # not applicable: the most general caller alone calls it
        if own.found is Verdict.VIOLATED:
            failed.append(f"a call here breaks a precondition, and {f} ensures something only where its own holds")
        elif own.found is not Verdict.PROVED:
            failed.append(f"it is not proved that calls here meet what {f} requires")
        elif own.vacuous and not own.vacuity.declared:
            failed.append(f"no call that has to meet what {f} requires is reached here")
    standing = Standing.BROKEN if failed else Standing.OPEN if left else Standing.SHOWN
    return replace(r, standing=standing, why="; ".join(failed or dict.fromkeys(left)))


# -- in words


def rests_on(model: Model) -> str:
    """What proofs of ``model`` by themselves rest on; empty if nothing."""
    return "; ".join(f"{r.promise}, which {r.shown_by} {'does not show: ' + r.why if r.differs else 'is to show'}" for r in reliances(model))


def unsettled(results: Sequence[PropertyResult]) -> str:
    """What a model's results rest on that was not shown, in a line; empty if there is nothing. A violation rests on its run."""
    relies = [r for x in results if x.verdict in (Verdict.PROVED, Verdict.BOUNDED, Verdict.UNKNOWN) for r in x.relies]
    broken, left = ([r for r in relies if r.standing is standing] for standing in (Standing.BROKEN, Standing.OPEN))
    parts = [f"{listed_procedures(broken)}, not shown: {'; '.join(dict.fromkeys(r.why for r in broken))}"] if broken else []
    parts += [f"{listed_procedures(left)}, not checked in this run: {left[0].check}"] if left else []
    return f"relies on {'; and on '.join(parts)}" if parts else ""
