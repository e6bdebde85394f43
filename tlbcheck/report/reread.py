"""Reading a JSON result back: what ``tlbcheck replay`` runs again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.model import Model, Property
from tlbcheck.library import find_properties, named
from tlbcheck.replay.check import ReplayError, Story, Told, replay
from tlbcheck.replay.history import Event, History, confirm_history
from tlbcheck.report.outputs import write
from tlbcheck.report.result import SCHEMA, digest, masks_of
from tlbcheck.report.schema import property_of
from tlbcheck.result import PropertyResult

_COMMANDS = {"verify": "results", "review": "verdicts", "matrix": "rows", "list": "about"}
"""Whose results can be read, and a field that each has."""


def load(path: Path) -> dict[str, Any]:
    """A JSON result. Raises ``InputError`` if it is not one."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(str(path))) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file", place=Place(str(path)), hint="give a file that 'tlbcheck verify --json' wrote") from None
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON: {error.msg}", place=Place(str(path), error.lineno, error.colno), hint="make it again with 'tlbcheck verify --json'") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("command") not in _COMMANDS or _COMMANDS[document["command"]] not in document:
        raise InputError(f"is not a result of tlbcheck {', '.join(_COMMANDS)} (schema {SCHEMA})", place=Place(str(path)), hint="make one with 'tlbcheck verify --json'")
    return document


def of_code(document: Mapping[str, Any]) -> bool:
    """Whether the result is of C or a mail, which are read again without anything being run."""
    results = document.get("results")
    entries = results if isinstance(results, list) else []
    return document["command"] == "review" or any(isinstance(e, dict) and e.get("origin") for e in entries)


def reports(document: Mapping[str, Any], path: Path, outputs: Sequence[Path]) -> list[str]:
    """Write reports of a result that was read from ``path``; see ``outputs.write``. Raises ``InputError`` too if it is broken."""
    try:
        return write(document, outputs)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"a field is missing or of the wrong kind ({type(error).__name__}: {error})", place=Place(str(path)), hint="the file was edited; make it again")


def replay_document(document: Mapping[str, Any], path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Replay every violation of a result; gives (model, property, violation) for each confirmed one.

    Raises ``InputError`` if the file is broken or edited, or the model has changed since.
    """
    confirmed = []
    place = Place(str(path))
    try:
        results = _results(document)
        for result in results:
            model = _model(result)
            judged = find_properties([result.name], model)[0]
            _same_model(model, [r.name for r in results if r.model == result.model], result, place)
            for i, v in enumerate(result.violations):
                try:
                    _again(model, judged, v.told, first=i == 0)
                except ReplayError as error:
                    raise InputError(f"violation {i + 1} of {result.name} on {result.model} does not replay: {error}", place=place, hint="the file was edited; make it again") from None
                confirmed.append((result.model, result.name, v.told))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _broken(path, error) from None
    return confirmed


def _again(model: Model, q: Property, v: Mapping[str, Any], *, first: bool) -> None:
    """Run one violation again. Raises ``ReplayError``."""
    told = _story(model, q, v, first=first)
    if v["loop"] is None:
        properties = [*find_properties(None, model), *([model.case] if model.case else [])]
        replay(model, properties, told)
        if events := _events(model, v):
            confirm_history(model, properties, told, events)
        return
    from tlbcheck.replay.lasso import replay_lasso

    replay_lasso(model, [q], told, dict(q.liveness)[v["clause"]], int(v["loop"]))


def _results(document: Mapping[str, Any]) -> list[PropertyResult]:
    """The verdicts of ``verify``, or on both sides of a ``review``; other results have none."""
    entries = document.get("results", ()) if document["command"] != "review" else [e for side in document["verdicts"].values() for e in side or []]
    return [property_of(e) for e in entries]


def _model(result: PropertyResult) -> Model:
    if result.origin:
        from tlbcheck.review import model_again

        return model_again(result.origin)
    return replace(named(result.model), profile=result.scope.profile)


def _same_model(model: Model, judged: Sequence[str], result: PropertyResult, place: Place) -> None:
    """Raises ``InputError`` unless the model, with the properties ``judged``, is what the digest was made of."""
    from tlbcheck.system.lower import lower

    if digest(lower(model, find_properties(judged, model))) != result.model_digest:
        raise InputError(f"{model.name} is not the model that the result was made from", place=place, hint="the model or tlbcheck has changed: verify it again")


def _story(model: Model, q: Property, v: Mapping[str, Any], *, first: bool) -> Story:
    if v["depth"] != len(v["steps"]):
        raise ValueError(f"depth {v['depth']} with {len(v['steps'])} steps")
    initial = v["initial"]["variables"]
    state = dict(initial)
    steps = []
    for s in v["steps"]:
        state = _changed(model, state, s["changes"])
        tracked_in = None
        if v["tracked"] and "entry" in s and not v["initial"].get("everything"):
            tracked_in = tuple(int(c) for c in s["entry"]["on"])
        steps.append(Told(s["cpu"], s["level"], s["action"], tuple(int(c) for c in s["chosen"]), dict(state), tracked_in))
    fields = None
    everything = bool(v["initial"].get("everything"))
    if v["tracked"] and model.cache is not None and not everything:
        fields = tuple(int(v["tracked"]["fields"][f"entry.{n}"]) for n, _, _ in model.cache.fields)
    return Story(
        property=q.name,
        clause=v["clause"],
        case={f"case.{c.name}": int(initial.get(f"case.{c.name}", c.domain[0])) for c in model.cases},
        start_choices=tuple(int(c) for c in v["initial"]["chosen"]),
        initial={n: int(x) for n, x in initial.items()},
        tracked=fields,
        tracked_at_start=tuple(int(c) for c in v["initial"]["cached_on"]),
        first=first,
        steps=tuple(steps),
        everything=everything,
    )


def _events(model: Model, v: Mapping[str, Any]) -> History | None:
    """What is told of the watched entries; None of a result that is older than that, or about none."""
    points = [at.get("events") for at in (v["initial"], *v["steps"])]
    if all(events is None for events in points) and "watched" not in v:
        return None
    watched = [(int(w["entry"]), tuple(int(w["fields"][n]) for n, _, _ in model.cache.fields) if model.cache else ()) for w in v["watched"]]
    entries = dict(watched)

    def event(e: Mapping[str, Any]) -> Event:
        return Event(int(e["cpu"]), entries[e["entry"]], str(e["what"]), str(e.get("by", "")), None if e.get("since") is None else int(e["since"]))

    told = tuple(tuple(event(e) for e in events) for events in points)
    return History(tuple(e for _, e in watched), told) if watched or any(told) else None


def _changed(model: Model, state: Mapping[str, int], changes: Mapping[str, Any]) -> dict[str, int]:
    """The variables after a step, from the changes that the file tells."""
    after = dict(state)
    for name, (old, new) in changes.items():
        if name in after:
            if isinstance(new, str):
                del after[name]  # enums are compared through the choices that set them
            else:
                after[name] = int(new)
            continue
        base, _, field_name = name.rpartition(".")
        mask, shift = masks_of(model.notation.fields[base.partition(".")[2] if base.startswith("cpu") else base])[field_name]
        if after[base] & mask != int(old) << shift:
            raise ValueError(f"{name} was not {old}")
        after[base] = (after[base] & ~mask) | (int(new) << shift)
    return after
