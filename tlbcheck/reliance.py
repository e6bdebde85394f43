"""Whether what a model relies on is shown: what procedures ensure whose place a stand-in has taken.

A promise holds for every caller if a model shows it in which the most general caller calls the procedure
itself, and in the relying model if its own calls meet what the procedure requires. What is shown has to be what
the relying model stands for: the same flags and procedures wherever the procedure goes. Nothing may rest on
itself, so models do not rely on each other in a circle; and what rests on something open is open itself.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.expr import Expr, variables
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Call, Do, Procedure, Statement, walk

OPEN, SHOWN, BROKEN = "not checked in this run", "shown in this run", "not shown"
_REQUIRES = "requires"
"""The property that judges calls."""


def reliances(model: Model, above: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What ``model`` relies on, as JSON has it; ``settle`` says what has become of it.

    ``shown_as`` is the procedure that the showing model really runs, ``differs`` why that model shows nothing
    for this one. Raises ``InputError`` for a contract that its model cannot show, and for a circle.
    """
    made = []
    for c in model.relied_on():
        if c.shown_by in (*above, model.name):
            raise InputError(f"{' relies on '.join([*above, model.name, c.shown_by])}: a circle shows nothing", place=c.procedure.place, hint="let one of them run the procedures themselves")
        shows = _showing(c, (*above, model.name))
        differs = list(_differences(model, shows, c))
        made.append(
            {
                "procedure": c.procedure.name,
                "shown_as": shows.resolve(c.procedure).name,
                "properties": list(c.procedure.ensures),
                "requires": [r.text for _, r in model.requirements(c.procedure)],
                "shown_by": c.shown_by,
                "status": BROKEN if differs else OPEN,
                "differs": differs,
                "why": "; ".join(differs),
                "check": _command(model),
            }
        )
    return made


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
    for q in _called(there, c.procedure):
        theirs, own = there.resolve(q), here.resolve(q)
        if theirs is not own and not (q is c.procedure and own in (q, c.stand_in)):
            yield f"{q.name}() is {theirs.name}() in {shows.name} and {own.name if own.name != theirs.name else 'another'}() in {model.name}; a model with the same procedures has to show it"
        read |= {n.removeprefix("flag.") for s in _statements(there, q) for e in _expressions(s) for n in variables(e) if n.startswith("flag.")}
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


def _called(model: Model, procedure: Procedure) -> list[Procedure]:
    """The procedure and all that it calls, by the names that are written there."""
    found: dict[Procedure, None] = {}
    waiting = [procedure]
    while waiting:
        q = waiting.pop()
        if q not in found:
            found[q] = None
            waiting += [s.procedure for s in _statements(model, q) if isinstance(s, Call)]
    return list(found)


def _statements(model: Model, procedure: Procedure) -> Iterator[Statement]:
    """What a call of ``procedure`` runs itself, its preconditions included."""
    for _, r in model.requirements(procedure):
        yield r
        yield from walk(r.before)
    yield from walk(model.resolve(procedure).body)


def _expressions(s: Statement) -> Iterator[Expr]:
    """The expressions of a statement itself, and of the operation that it performs."""
    parts: list[Any] = [getattr(s, f.name) for f in dataclasses.fields(s)]
    if isinstance(s, Do):
        o = s.operation
        parts += [o.result, o.uses, tuple(e for _, e in o.effects), *(clause.parts for clause in (*o.faults, *o.drops))]
    for part in parts:
        yield from (x for x in (part if isinstance(part, tuple) else (part,)) if isinstance(x, Expr))


def ranked(models: Sequence[Model]) -> list[int]:
    """The positions of ``models``, those that others rely on first."""
    contracts = {m.name: m.contracts for m in models}

    def rank(name: str, above: tuple[str, ...] = ()) -> int:
        return max((1 + rank(c.shown_by, (*above, name)) for c in contracts.get(name, ()) if c.shown_by not in above), default=0)

    return sorted(range(len(models)), key=lambda i: rank(models[i].name))


def settle(entries: Iterable[dict[str, Any]], settled: Mapping[tuple[str, str], Mapping[str, Any]], run: Iterable[str]) -> None:
    """Say of ``entries``, the results of one model, whether what they rely on was shown, and take back proofs for which it was not.

    ``settled`` are results by model and property, settled themselves, of models that these rely on; ``run`` are
    the names of the models that are being checked. Entries may be settled again once more is known.
    """
    entries, names = list(entries), set(run)
    own = next((e for e in entries if e["property"] == _REQUIRES), None)
    for e in entries:
        e["reason"] = e["reason"].removeprefix(_caveat(e))
        before = [assumption(r) for r in e["relies"]]
        doubts = []
        for r in e["relies"]:
            failed, left = _judged(r, e, own, settled, names)
            r["status"] = BROKEN if failed else OPEN if left else SHOWN
            r["why"] = "; ".join(failed or left)
            doubts += failed
        now = dict(zip(before, map(assumption, e["relies"]), strict=True))
        e["assumptions"] = [now.get(a, a) for a in e["assumptions"]]
        if doubts and e["verdict"] == "proved":
            e["verdict"] = "unknown"
            e["reason"] = "; ".join([*dict.fromkeys(doubts), e["reason"]])
        e["reason"] = _caveat(e) + e["reason"]


def _judged(r: Mapping[str, Any], e: Mapping[str, Any], own: Mapping[str, Any] | None, settled: Mapping[tuple[str, str], Mapping[str, Any]], names: set[str]) -> tuple[list[str], list[str]]:
    """Why a reliance of entry ``e`` is broken, and why it is open."""
    failed, left = list(r["differs"]), []
    f, shows = f"{r['procedure']}()", r["shown_by"]
    profile = e.get("scope", {}).get("profile")
    if missing := [name for name in r["properties"] if (shows, name) not in settled]:
        left.append(f"{shows} was not checked for {', '.join(missing)}")
    for name in r["properties"]:
        x = settled.get((shows, name))
        if x is None:
            continue
        if not _holds(x):
            failed.append(f"{shows} does not show {name} of {f}")
        elif (shown_for := x.get("scope", {}).get("profile", "common")) not in ("common", profile):
            failed.append(f"{shows} shows {name} of {f} for {shown_for} processors only")
        elif not x.get("vacuity_checked", True):
            left.append(f"whether anything triggers {name} in {shows} was not looked at")
        elif any(y["status"] != SHOWN for y in x["relies"]):
            left.append(f"{shows} relies itself on what is open")
    if shows in names and not any(key[0] == shows for key in settled):
        failed.append(f"{shows}, which is to show what {f} ensures, could not be checked")
    if r["requires"] and own is None:
        left.append(f"whether calls here meet what {f} requires was not checked")
    elif r["requires"] and own is not None and own is not e and own["verdict"] != "not-applicable":  # not applicable: the most general caller alone calls it
        if own["verdict"] == "violated":
            failed.append(f"a call here breaks a precondition, and {f} ensures something only where its own holds")
        elif own["verdict"] != "proved":
            failed.append(f"it is not proved that calls here meet what {f} requires")
        elif own["vacuous"] and not own.get("vacuous_declared"):
            failed.append(f"no call that has to meet what {f} requires is reached here")
    return failed, list(dict.fromkeys(left))


def _holds(entry: Mapping[str, Any]) -> bool:
    return entry["verdict"] == "proved" and not entry["vacuous"]


# -- in words


def promise(r: Mapping[str, Any]) -> str:
    """What is relied on, and which procedure keeps it."""
    version = f" as {r['shown_as']}()" if r.get("shown_as", r["procedure"]) != r["procedure"] else ""  # results of older versions do not say
    return f"{r['procedure']}(){version} keeps {', '.join(r['properties'])}"


def assumption(r: Mapping[str, Any]) -> str:
    """What is relied on, and what is the case with it."""
    if r["status"] == SHOWN:
        return f"{promise(r)}: shown by {r['shown_by']} in this run"
    if r["status"] == BROKEN:
        return f"{promise(r)}: {BROKEN}: {r.get('why', '')}"
    because = f" ({r['why']})" if r.get("why") else ""
    return f"{promise(r)}, which {r['shown_by']} is to show: {OPEN}{because}: {r['check']}"


def rests_on(model: Model) -> str:
    """What proofs of ``model`` by themselves rest on; empty if nothing."""
    return "; ".join(f"{promise(r)}, which {r['shown_by']} {'does not show: ' + r['why'] if r['differs'] else 'is to show'}" for r in reliances(model))


def unsettled(entries: Sequence[Mapping[str, Any]]) -> str:
    """What a model's results rest on that was not shown, in a line; empty if there is nothing. A violation rests on its run."""
    found = [r for e in entries if e["verdict"] in ("proved", "bounded", "unknown") for r in e.get("relies", ())]
    broken, left = ([r for r in found if r["status"] == status] for status in (BROKEN, OPEN))
    parts = [f"{_listed(broken)}, not shown: {'; '.join(dict.fromkeys(r.get('why', '') for r in broken))}"] if broken else []
    parts += [f"{_listed(left)}, not checked in this run: {left[0]['check']}"] if left else []
    return f"relies on {'; and on '.join(parts)}" if parts else ""


def _caveat(e: Mapping[str, Any]) -> str:
    """What a proof's reason begins with if it rests on something open."""
    left = [r for r in e["relies"] if r["status"] == OPEN]
    return f"relies on {_listed(left)} (not checked in this run); " if left and e["verdict"] == "proved" else ""


def _listed(found: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(f"{r['procedure']}()" for r in found))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
