"""Reading a JSON result back: what ``tlbcheck replay`` runs again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang.model import Model
from tlbcheck.library import find_properties, named
from tlbcheck.replay.check import ReplayError
from tlbcheck.report.judge import each
from tlbcheck.report.outputs import write
from tlbcheck.report.result import SCHEMA, assumed, covered, declared_of, digest, showing, stood_for, sufficiency_of
from tlbcheck.report.retrace import difference
from tlbcheck.report.schema import property_of
from tlbcheck.result import PropertyResult, Verdict

if TYPE_CHECKING:
    from tlbcheck.system.sufficiency import Sufficiency
    from tlbcheck.system.transition_system import TransitionSystem

LARGEST = 256 << 20
"""Bytes of a result that are read at most."""
_COMMANDS = {"verify": "results", "review": "verdicts", "matrix": "rows", "list": "about"}
"""Whose results can be read, and a field that each has."""


def load(path: Path) -> dict[str, Any]:
    """A JSON result. Raises ``InputError`` if it is not one."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"is larger than {LARGEST >> 20} MiB", place=Place(str(path)), hint="give a file that 'tlbcheck verify --json' wrote")
        document = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(str(path))) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file", place=Place(str(path)), hint="give a file that 'tlbcheck verify --json' wrote") from None
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON: {error.msg}", place=Place(str(path), error.lineno, error.colno), hint="make it again with 'tlbcheck verify --json'") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or as many brackets
        raise InputError(f"broken JSON: {error}", place=Place(str(path)), hint="make it again with 'tlbcheck verify --json'") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or _COMMANDS.get(str(document.get("command"))) not in document:
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

    What is given is computed again from the steps and choices in the file. Raises ``InputError`` if the file is
    broken, says something else than that, or the model has changed since.
    """
    confirmed = []
    try:
        everything = _results(document)
        for _, some in itertools.groupby(everything, key=lambda r: (r.model, json.dumps(r.origin))):
            results = list(some)
            subject = _Subject(results, Place(str(path)))
            subject.titled(document)
            for r in results:
                subject.hold(r)
                confirmed += [(r.model, r.name, told) for told in subject.confirmed(r)]
        if document["command"] == "review" and everything:
            from tlbcheck.report.rereview import again, hold_review

            hold_review(document, again(everything[0].origin), Place(str(path)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _broken(path, error) from None
    return confirmed


class _Subject:
    """The model that some results are of, made again."""

    def __init__(self, results: Sequence[PropertyResult], place: Place) -> None:
        """Raises ``InputError`` unless the model, with the properties judged, is what the digest was made of."""
        from tlbcheck.engines.run import how_many_entries
        from tlbcheck.options import Limits
        from tlbcheck.system.lower import lower
        from tlbcheck.system.sufficiency import FULL, as_they_are, represented

        self.place, self.model = place, _model(results[0])
        system = lower(self.model, find_properties([r.name for r in results], self.model))
        if any(digest(system) != r.model_digest for r in results):
            raise InputError(f"{self.model.name} is not the model that the result was made from", place=place, hint="the model or tlbcheck has changed: verify it again")
        decided, literal = how_many_entries(system, Limits()), as_they_are(system)
        self.systems: list[TransitionSystem] = [system if decided.entries == FULL else represented(system, decided), system]
        self.shown = showing(self.model)
        self.decided: list[Sufficiency] = [decided, literal, replace(literal, dimensions=decided.dimensions)]

    def titled(self, document: Mapping[str, Any]) -> None:
        """Hold what reports call the model and its properties by against the model. Raises ``InputError``."""
        facts = document["models"].get(self.model.name) if document["command"] == "verify" else None
        if not facts:
            return
        properties = {q.name: {"title": q.title, "source": q.source, "clauses": dict(q.clauses)} for q in self.systems[-1].properties}
        called = {"title": self.model.title, "variant": self.model.doc if "@" in self.model.name else "", "cpus": self.model.cpus, "properties": properties}
        differing = difference(called, {n: facts.get(n) for n in called})
        if differing:
            raise InputError(f"of {self.model.name}, {differing}", place=self.place, hint="the file was edited; make it again")

    def hold(self, r: PropertyResult) -> None:
        """Hold what a result says besides its runs against the model, and against itself. Raises ``InputError``."""
        scopes = [covered(self.model, d) for d in self.decided]
        q = next((q for q in self.systems[0].properties if q.name == r.name), None)
        if q is None:
            raise self._edited(r, "it is of another property than it was made for")
        more = stood_for(self.model, self.shown, q)
        premises = [(*self.model.assumptions, *d.assumptions, *assumed(self.model, self.systems[0]), *more) for d in self.decided]
        if r.scope not in scopes:
            raise self._edited(r, "its scope is not what the model gives")
        if r.premises not in premises:
            raise self._edited(r, "its assumptions are not the model's")
        if (r.expectation.verdict, r.expectation.source) != (declared_of(self.model, r.name), self.model.expected_source):
            raise self._edited(r, "what it says is declared is not what the model declares")
        if r.vacuity.declared is not (r.name in self.model.vacuous):
            raise self._edited(r, "what it says is declared vacuous is not what the model declares")
        if dict(r.sufficiency) not in [sufficiency_of(d) for d in self.decided]:
            raise self._edited(r, "why so many entries are enough is not what was decided")
        said = {a.verdict for a in r.engines.values()}
        if said & {Verdict.PROVED, Verdict.VIOLATED} - {r.found}:
            raise self._edited(r, f"it is {r.found}, which is not what its engines say")
        if r.invariant is not None and r.found is not Verdict.PROVED:
            raise self._edited(r, f"it has an invariant, and is {r.found}")
        depths = {*([min(r.depths.values())] if r.depths else []), *(a.depth for a in r.engines.values() if a.verdict is Verdict.VIOLATED and a.depth is not None)}
        if len(depths) > 1:
            raise self._edited(r, f"its shortest run has {' or '.join(map(str, sorted(depths)))} steps")
        for v in r.violations:
            if r.depths.get(v.clause, v.depth) > v.depth:
                raise self._edited(r, f"its shortest run has {r.depths[v.clause]} steps, and one of {v.depth} is told")

    def confirmed(self, r: PropertyResult) -> list[Mapping[str, Any]]:
        """Each violation of a result, computed again, and run by the replay interpreter. Raises ``InputError``."""
        from tlbcheck.blame import blame
        from tlbcheck.engines.run import confirm
        from tlbcheck.report.retrace import followed

        confirmed: list[Mapping[str, Any]] = []
        for i, v in enumerate(r.violations):
            try:
                system, violation, told = followed(self.systems, r.name, v.told)
                confirm(system, violation, "a file", first=i == 0)
            except (ReplayError, InternalError) as error:
                raise self._edited(r, f"violation {i + 1} does not replay: {error}") from None
            why = {"blame": v.told["blame"], "tried": v.told.get("tried", "")}
            if why["blame"] is not None or why["tried"]:
                found = blame(system, violation)
                if found != (why["blame"] or {"tried": why["tried"]}):
                    raise self._edited(r, f"violation {i + 1} names as the cause what is not: {found.get('text') or found['tried']}")
            confirmed.append({**told, **why})
        return confirmed

    def _edited(self, r: PropertyResult, why: str) -> InputError:
        return InputError(f"{r.name} on {r.model}: {why}", place=self.place, hint="the file was edited; make it again")


def _results(document: Mapping[str, Any]) -> list[PropertyResult]:
    """The verdicts of ``verify``, or on both sides of a ``review``; other results have none."""
    entries = document.get("results", ()) if document["command"] != "review" else [e for one in each(document) for side in one["verdicts"].values() for e in side or []]
    return [property_of(e) for e in entries]


def _model(result: PropertyResult) -> Model:
    if result.origin:
        from tlbcheck.review import model_again

        return model_again(result.origin)
    return replace(named(result.model), profile=result.scope.profile)
