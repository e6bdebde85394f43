"""Assertions about models, for a test suite of one's own.

    from tlbcheck.testing import assert_holds, assert_violated

    def test_the_switch_leaves_nothing_stale():
        assert_holds("xen/flush-once", "missing-flush")

    def test_the_early_read_is_found():
        assert_violated("xen/pcid-v5@only-cr3-read-early", "no-fault", clause="#GP")

A model is given as an object, by name, or as the path of a file; a property as an object or by
name. What fails says why in full: its message is the story of the shortest run. Each model is
explored once in a process and serves all its properties. What a model relies on by contracts has to
hold as well: the models that show it are explored in the same session. ``tlbcheck.pytest_plugin``
has a marker for the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model, Property
from tlbcheck.reliance import SHOWN, promise, reliances, settle

if TYPE_CHECKING:
    from tlbcheck.engines.run import ModelResult, PropertyResult
    from tlbcheck.system.transition_system import TransitionSystem

DEFAULT_ENGINES = ("explicit",)
"""Complete, and quick enough for a test suite; each of its traces is replayed by independent code."""


class ModelFailure(AssertionError):
    """A model is not as asserted; the message is the whole story, ``found`` what the checker said of it."""

    def __init__(self, message: str, found: ModelResult, property_name: str) -> None:
        super().__init__(message)
        self.found = found
        self.property_name = property_name


@dataclass(eq=False)
class Session:
    """What was explored so far in this process, and by which engines."""

    engines: tuple[str, ...] = DEFAULT_ENGINES
    models: dict[str, Model] = field(default_factory=dict)
    results: dict[tuple[Model, Property, tuple[str, ...]], tuple[ModelResult, PropertyResult]] = field(default_factory=dict)

    def start(self, engines: Sequence[str] = DEFAULT_ENGINES) -> None:
        """Forget everything, and use ``engines`` from here on. Raises ``InputError`` for one that does not exist."""
        known = ("explicit", "bmc", "pdr")
        if not engines or any(e not in known for e in engines):
            raise InputError(f"unknown engine '{', '.join(engines)}'", hint=f"engines are {', '.join(known[:-1])} and {known[-1]}")
        self.engines = tuple(engines)
        self.models.clear()
        self.results.clear()


SESSION = Session()


def find_model(model: Model | str) -> Model:
    """The one model that is meant, the same object each time. Raises ``InputError`` if there is none, or several."""
    if isinstance(model, Model):
        return model
    if model not in SESSION.models:
        from tlbcheck.library import find_models

        found = find_models(model)
        if len(found) > 1:
            raise InputError(f"{model} has several models: {', '.join(m.name for m in found)}", hint="name one of them")
        SESSION.models[model] = found[0]
    return SESSION.models[model]


def find_property(name: Property | str) -> Property:
    """The property that is meant. Raises ``InputError`` if there is none of that name."""
    if isinstance(name, Property):
        return name
    from tlbcheck.library import find_properties

    return find_properties([name])[0]


def examine(model: Model | str, property: Property | str) -> PropertyResult:
    """The verdict on one property. Raises ``InputError`` for what is unknown or cannot be checked."""
    return examine_model(model, property)[1]


def examine_model(model: Model | str, property: Property | str) -> tuple[ModelResult, PropertyResult]:
    """As ``examine``, with all that was found of the model in the same exploration."""
    wanted, asked = find_model(model), find_property(property)
    key = (wanted, asked, SESSION.engines)
    if key not in SESSION.results:
        _explore(wanted, asked)
    return SESSION.results[key]


def _explore(model: Model, asked: Property) -> None:
    """Check ``asked``, and every library property in the same exploration where the model allows it."""
    from tlbcheck.check import verify
    from tlbcheck.library import find_properties

    others = [q for q in find_properties(None, model) if q is not asked and q.name != asked.name]
    try:
        found = verify(model, [asked, *others], engines=SESSION.engines)
    except InputError:
        # A property that nobody asked for may need what this model does not say.
        found = verify(model, [asked], engines=SESSION.engines)
    for result in found.results:
        SESSION.results[model, result.property, SESSION.engines] = (found, result)


def assert_holds(model: Model | str, property: Property | str) -> None:
    """Fail unless ``property`` is proved of ``model``.

    It fails as well where nothing is violated and nothing proved: bounded, unknown, not
    applicable, or vacuous (unless the model declares that); and where what the proof relies on is not
    shown by the models that are to show it. Raises ``ModelFailure`` with the
    story, and ``InputError`` for what is unknown.
    """
    __tracebackhide__ = True
    found, result = examine_model(model, property)
    wrong = why_not_held(found.system, result)
    if wrong:
        raise ModelFailure(wrong, found, result.property.name)


def assert_violated(model: Model | str, property: Property | str, depth: int | None = None, clause: str | None = None) -> None:
    """Fail unless ``property`` is violated; by a shortest run of ``depth`` steps, in ``clause``, where these are given.

    With ``clause``, ``depth`` is that of the shortest run to this clause. Raises
    ``ModelFailure``, and ``InputError`` for what is unknown.
    """
    __tracebackhide__ = True
    found, result = examine_model(model, property)
    wrong = why_not_violated(found.system, result, depth, clause)
    if wrong:
        raise ModelFailure(wrong, found, result.property.name)


def why_not_held(system: TransitionSystem, result: PropertyResult) -> str:
    """Why a property does not count as holding, in full; empty if it does."""
    name = f"{system.model.name}: {result.property.name}"
    if result.verdict == "violated":
        return _story(system, result)
    if result.verdict != "proved":
        return f"{name} is {result.verdict}, not proved{_because(result)}"
    if result.vacuous and result.property.name not in system.model.vacuous:
        return f"{name} is vacuous: what it speaks of never happens in this model"
    entry = _standing(system.model, result.property)
    if entry["verdict"] != "proved":
        return f"{name} is {entry['verdict']}, not proved ({entry['reason']})"
    left = [f"{promise(r)}: {r['why']}" for r in entry["relies"] if r["status"] != SHOWN]
    return f"{name} is proved only as far as it relies on what is not shown: {'; '.join(left)}" if left else ""


def _standing(model: Model, asked: Property) -> dict[str, Any]:
    """What JSON says of a verdict's standing, held against the models that it relies on: these are explored too, once in a session."""
    relies = reliances(model)
    entries = [_standing_alone(model, asked, relies)]
    if any(r["requires"] for r in relies) and asked.name != "requires":
        entries.append(_standing_alone(model, find_property("requires"), relies))
    settled = {(r["shown_by"], n): _standing(find_model(r["shown_by"]), find_property(n)) for r in relies if not r["differs"] for n in r["properties"]}
    settle(entries, settled, ())
    return entries[0]


def _standing_alone(model: Model, asked: Property, relies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    result = examine(model, asked)
    return {
        "property": asked.name,
        "verdict": result.verdict,
        "vacuous": result.vacuous,
        "vacuous_declared": asked.name in model.vacuous,
        "vacuity_checked": result.looked,
        "scope": {"profile": model.profile},
        "assumptions": [],
        "reason": result.reason,
        "relies": [dict(r) for r in relies],
    }


def why_not_violated(system: TransitionSystem, result: PropertyResult, depth: int | None = None, clause: str | None = None) -> str:
    """Why a property does not count as violated in this way; empty if it does."""
    name = f"{system.model.name}: {result.property.name}"
    if clause is not None and clause not in result.property.clauses:
        raise InputError(f"property {result.property.name} has no clause '{clause}'", hint=f"it has: {', '.join(result.property.clauses)}")
    if result.verdict != "violated":
        return f"{name} is {result.verdict}, not violated{_because(result)}"
    found = [v for v in result.violations if clause in (None, v.clause)]
    if not found:
        return f"{name} is violated, but not its clause {clause}\n\n{_story(system, result)}"
    shortest = min(v.depth for v in found)
    if depth is not None and shortest != depth:
        what = name if clause is None else f"{name} ({clause})"
        return f"{what} is violated after {shortest} steps, not {depth}\n\n{_story(system, result)}"
    return ""


def _because(result: PropertyResult) -> str:
    return f" ({result.reason})" if result.reason else ""


def _story(system: TransitionSystem, result: PropertyResult) -> str:
    """The trace of the shortest violation."""
    from tlbcheck.report.story import tell

    return tell(system, next(v for v in result.violations if v.trace is not None))
