"""Whether what a model relies on is shown: what procedures ensure whose place a stand-in has taken.

A promise holds for every caller if a model shows it in which the most general caller calls the procedure
itself, and in the relying model if its own calls meet what the procedure requires. Nothing may rest on
itself, so models do not rely on each other in a circle.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Call, walk

OPEN, SHOWN, BROKEN = "not checked in this run", "shown in this run", "not shown"
_REQUIRES = "requires"
"""The property that judges calls."""


def reliances(model: Model, above: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What ``model`` relies on, as JSON has it.

    Raises ``InputError`` for a contract that its model cannot show, and for a circle.
    """
    base = model.name.partition("@")[0].partition(":")[0]
    made = []
    for c in model.relied_on():
        if c.shown_by in (*above, base):
            raise InputError(f"{' relies on '.join([*above, base, c.shown_by])}: a circle shows nothing", place=c.procedure.place, hint="let one of them run the procedures themselves")
        _check_shown(c, (*above, base))
        made.append(
            {
                "procedure": c.procedure.name,
                "properties": list(c.procedure.ensures),
                "requires": [r.text for _, r in model.requirements(c.procedure)],
                "shown_by": c.shown_by,
                "status": OPEN,
                "check": shlex.join(["tlbcheck", "verify", c.shown_by, model.name]),
            }
        )
    return made


def _check_shown(c: Contract, above: tuple[str, ...]) -> None:
    """The model that is to show the promise has the procedure itself, called by the most general caller."""
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


def ranked(models: Sequence[Model]) -> list[int]:
    """The positions of ``models``, those that others rely on first."""
    contracts = {m.name: m.contracts for m in models}

    def rank(name: str, above: tuple[str, ...] = ()) -> int:
        return max((1 + rank(c.shown_by, (*above, name)) for c in contracts.get(name, ()) if c.shown_by not in above), default=0)

    return sorted(range(len(models)), key=lambda i: rank(models[i].name))


def settle(entries: Iterable[dict[str, Any]], settled: Mapping[tuple[str, str], Mapping[str, Any]], run: Iterable[str]) -> None:
    """Say of ``entries``, the results of one model, whether what they rely on was shown, and take back proofs for which it was not.

    ``settled`` are results by model and property, of models that these rely on; ``run`` are the names of the
    models that are being checked.
    """
    entries, names = list(entries), set(run)
    own = next((e for e in entries if e["property"] == _REQUIRES and e["verdict"] != "not-applicable"), None)
    for e in entries:
        doubts = []
        for r in e.get("relies", ()):
            found = [settled.get((r["shown_by"], name)) for name in r["properties"]]
            failed = [f"{r['shown_by']} does not show {name} of {r['procedure']}()" for name, x in zip(r["properties"], found, strict=True) if x is not None and not _holds(x)]
            if r["shown_by"] in names and not any(key[0] == r["shown_by"] for key in settled):
                failed.append(f"{r['shown_by']}, which is to show what {r['procedure']}() ensures, could not be checked")
            if r["requires"] and own is not None and own is not e and not _holds(own):
                failed.append(f"a call here breaks a precondition, and {r['procedure']}() ensures something only where its own holds")
            shown = all(x is not None for x in found) and (not r["requires"] or own is not None)
            r["status"] = BROKEN if failed else SHOWN if shown else OPEN
            doubts += failed
        if doubts and e["verdict"] == "proved":
            e["verdict"] = "unknown"
            e["reason"] = "; ".join([*dict.fromkeys(doubts), e["reason"]])


def _holds(entry: Mapping[str, Any]) -> bool:
    return entry["verdict"] == "proved" and not entry["vacuous"]
