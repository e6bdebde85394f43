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

from collections.abc import Sequence
from dataclasses import dataclass, field

from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import known_engines
from tlbcheck.reliance import settle
from tlbcheck.report.story import render
from tlbcheck.result import ModelResult, PropertyResult, Standing, Verdict

DEFAULT_ENGINES = ("explicit",)
"""Complete, and quick enough for a test suite; each of its traces is replayed by independent code."""
_REQUIRES = "requires"
"""The property that judges calls."""


class ModelFailure(AssertionError):
    """A model is not as asserted; the message is the whole story, ``found`` what the checker said of it."""

    def __init__(self, message: str, found: ModelResult, property_name: str) -> None:
        super().__init__(message)
        self.found = found
        self.property_name = property_name


@dataclass(eq=False)
class Session:
    """What was explored so far in this process, by which engines: ``results`` of each model and property by itself,
    and ``settled``.

    ``drawn``: with the graphs of pages. ``beside``: what stands beside the verdicts that were asserted and not yet
    told (``pytest_plugin``).
    """

    engines: tuple[str, ...] = DEFAULT_ENGINES
    drawn: bool = False
    models: dict[str, Model] = field(default_factory=dict)
    results: dict[tuple[Model, Property], ModelResult] = field(default_factory=dict)
    settled: dict[tuple[Model, Property], ModelResult] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)

    def start(self, engines: Sequence[str] = DEFAULT_ENGINES, *, drawn: bool = False) -> None:
        """Forget everything, and use ``engines`` from here on. Raises ``InputError`` for one that does not exist."""
        self.engines, self.drawn = known_engines(engines), drawn
        self.models.clear()
        self.results.clear()
        self.settled.clear()
        self.beside.clear()


SESSION = Session()


def find_model(model: Model | str) -> Model:
    """The one model that is meant, the same object each time. Raises ``InputError`` if there is none, or several."""
    if isinstance(model, Model):
        return model
    if model not in SESSION.models:
        from tlbcheck.library import find_model as find_in_library

        SESSION.models[model] = find_in_library(model)
    return SESSION.models[model]


def find_property(name: Property | str) -> Property:
    """The property that is meant. Raises ``InputError`` if there is none of that name."""
    if isinstance(name, Property):
        return name
    from tlbcheck.library import find_properties

    return find_properties([name])[0]


def examine(model: Model | str, property: Property | str) -> PropertyResult:
    """The verdict on one property, held against the models that it relies on: these are explored too, once in a
    session.

    Raises ``InputError`` for what is unknown or cannot be checked.
    """
    wanted, asked = find_model(model), find_property(property)
    return examine_model(wanted, asked)[asked.name]


def examine_model(model: Model | str, property: Property | str) -> ModelResult:
    """As ``examine``, with the verdicts on all properties that were checked in the same exploration."""
    wanted, asked = find_model(model), find_property(property)
    if (wanted, asked) not in SESSION.settled:
        SESSION.settled[wanted, asked] = _settled(wanted, asked)
    found = SESSION.settled[wanted, asked]
    SESSION.beside += [f"{wanted.name}: {asked.name}: {note}" for note in found[asked.name].beside]
    return found


def _settled(model: Model, asked: Property) -> ModelResult:
    alone = _explored(model, asked)
    relies = alone[asked.name].relies
    if alone[asked.name].found is not Verdict.PROVED or not relies:
        return alone
    results = list(alone.results)
    if any(r.requires for r in relies) and not any(x.name == _REQUIRES for x in results):
        results.append(_explored(model, find_property(_REQUIRES))[_REQUIRES])
    shown = {(r.shown_by, n): examine(r.shown_by, n) for r in relies if not r.differs for n in r.properties}
    return ModelResult(alone.name, alone.title, settle(results, shown, ()), facts=alone.facts)


def _explored(model: Model, asked: Property) -> ModelResult:
    """Check ``asked``, and every property that the model is about in the same exploration where it allows that."""
    if (model, asked) in SESSION.results:
        return SESSION.results[model, asked]
    from tlbcheck.library import find_properties
    from tlbcheck.session import Job, judged

    def check(properties: Sequence[Property]) -> ModelResult:
        return judged(model, Job(tuple(properties), engines=SESSION.engines, blame=False, drawn=SESSION.drawn))

    together = [asked, *(q for q in find_properties(None, model) if q is not asked and q.name != asked.name)]
    try:
        found = check(together)
    except InputError:
        # A property that nobody asked for may need what this model does not say.
        together = [asked]
        found = check(together)
    for q in together:
        SESSION.results[model, q] = found
    return found


def assert_holds(model: Model | str, property: Property | str) -> None:
    """Fail unless ``property`` is proved of ``model``.

    It fails as well where nothing is violated and nothing proved: bounded, unknown, not
    applicable, or vacuous (unless the model declares that); and where what the proof relies on is not
    shown by the models that are to show it. Raises ``ModelFailure`` with the
    story, and ``InputError`` for what is unknown.
    """
    __tracebackhide__ = True
    asked = find_property(property)
    found = examine_model(model, asked)
    wrong = why_not_held(found[asked.name])
    if wrong:
        raise ModelFailure(wrong, found, asked.name)


def assert_violated(
    model: Model | str, property: Property | str, depth: int | None = None, clause: str | None = None
) -> None:
    """Fail unless ``property`` is violated; by a shortest run of ``depth`` steps, in ``clause``, where these are given.

    With ``clause``, ``depth`` is that of the shortest run to this clause. Raises
    ``ModelFailure``, and ``InputError`` for what is unknown.
    """
    __tracebackhide__ = True
    asked = find_property(property)
    found = examine_model(model, asked)
    wrong = why_not_violated(found[asked.name], asked, depth, clause)
    if wrong:
        raise ModelFailure(wrong, found, asked.name)


def why_not_held(result: PropertyResult) -> str:
    """Why a property does not count as holding, in full; empty if it does."""
    name = f"{result.model}: {result.name}"
    if result.verdict is Verdict.VIOLATED:
        return _story(result)
    if result.verdict is not Verdict.PROVED:
        return f"{name} is {result.verdict}, not proved{_because(result)}"
    if result.undecided:
        return f"{name} is vacuous: what it speaks of never happens in this model"
    left = [f"{r.promise}: {r.why}" for r in result.relies if r.standing is not Standing.SHOWN]
    return f"{name} is proved only as far as it relies on what is not shown: {'; '.join(left)}" if left else ""


def why_not_violated(
    result: PropertyResult, asked: Property, depth: int | None = None, clause: str | None = None
) -> str:
    """Why a property does not count as violated in this way; empty if it does. Raises ``InputError`` for a clause
    that it does not have.
    """
    name = f"{result.model}: {result.name}"
    if clause is not None and clause not in asked.clauses:
        raise InputError(f"property {asked.name} has no clause '{clause}'", hint=f"it has: {', '.join(asked.clauses)}")
    if result.verdict is not Verdict.VIOLATED:
        return f"{name} is {result.verdict}, not violated{_because(result)}"
    depths = {c: n for c, n in result.depths.items() if clause in (None, c)}
    if not depths:
        return f"{name} is violated, but not its clause {clause}\n\n{_story(result)}"
    shortest = min(depths.values())
    if depth is not None and shortest != depth:
        what = name if clause is None else f"{name} ({clause})"
        return f"{what} is violated after {shortest} steps, not {depth}\n\n{_story(result)}"
    return ""


def _because(result: PropertyResult) -> str:
    return f" ({result.reason})" if result.reason else ""


def _story(result: PropertyResult) -> str:
    """The shortest violation, step by step; by the reference interpreter, in its own words."""
    if not result.violations:
        return "\n".join(
            [f"{result.model}: {result.name} is violated", *(line for a in result.engines.values() for line in a.run)]
        )
    return render(result.model, result.name, result.violations[0].told)
