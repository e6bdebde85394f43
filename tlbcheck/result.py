"""What a check says, typed: the one truth that JSON, text, reports, the pytest plugin and Python are made from.

A ``RunResult`` has a ``ModelResult`` for each model, and this a ``PropertyResult`` for each property. What engines
found (``engines.run.ModelEvidence``) becomes one in ``report.result``; ``reliance.settle`` then says what has become
of what it relies on. Nothing else decides a verdict, an exit status, or whether something is as declared.
``report.schema`` writes these as JSON and reads them back.

Each thing has one place:

- what one engine says of a property: ``EngineAnswer``;
- whether anything happens that a property speaks of, and which clauses attach to no step: ``Vacuity``;
- what the model declares: ``Expectation``;
- what a verdict covers: ``Scope``, with ``sufficiency`` for why;
- what is taken for granted: ``PropertyResult.premises``, and what another model is to show, for which world:
  ``Reliance``;
- a run that breaks a property, with its steps and their events: ``Counterexample``, which ``report.result.Teller``
  tells.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


class Verdict(enum.StrEnum):
    """What is decided of a property of a model."""

    VIOLATED = "violated"
    PROVED = "proved"
    BOUNDED = "bounded"
    """Holds up to a depth, and no more is known."""
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not-applicable"
    """The model has nothing that the property speaks of."""

    @property
    def words(self) -> str:
        """How people read it."""
        return _WORDS[self]


_WORDS = {
    Verdict.VIOLATED: "VIOLATED",
    Verdict.PROVED: "proved",
    Verdict.BOUNDED: "bounded",
    Verdict.UNKNOWN: "UNKNOWN",
    Verdict.NOT_APPLICABLE: "not applicable",
}


class Status(enum.IntEnum):
    """Exit statuses."""

    HOLDS = 0
    VIOLATED = 1
    USAGE = 2
    UNDECIDED = 3
    INTERNAL = 4


_DECIDES = (Status.INTERNAL, Status.USAGE, Status.VIOLATED, Status.UNDECIDED, Status.HOLDS)


def worst(statuses: Sequence[int]) -> Status:
    """Of several exit statuses the one that decides: 4, 2, 1, 3, 0; of none, 0."""
    return min(map(Status, statuses), key=_DECIDES.index, default=Status.HOLDS)


@dataclass(frozen=True)
class EngineAnswer:
    """What one engine says of one property.

    ``depth``: of its shortest run in steps, or up to which it looked; ``states`` and ``transitions`` that were
    visited, ``kept`` the states that stood for all of these; ``clauses`` of an invariant and ``nodes`` of a set that
    z3 showed to be one, ``unshown`` why another solver did not; ``run`` a shortest violation as the reference
    interpreter tells it; ``reason`` why it does not know.
    """

    verdict: Verdict
    depth: int | None = None
    seconds: float = 0.0
    states: int | None = None
    transitions: int | None = None
    entries_ever_cached: int | None = None
    kept: int | None = None
    clauses: int | None = None
    nodes: int | None = None
    run: tuple[str, ...] = ()
    unshown: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Unjudged:
    """A clause that attaches to no step of the model, in a sentence; ``declared``: the model says so itself."""

    clause: str
    text: str
    declared: bool = False


@dataclass(frozen=True)
class Vacuity:
    """Whether anything happens in the model that a property speaks of.

    ``vacuous``: nothing does, so that a proof says nothing; ``declared``: the model says so itself; ``looked``: no
    proof without a look, which only enumeration can take. ``unjudged``: the clauses that nothing attaches to.
    """

    vacuous: bool = False
    declared: bool = False
    looked: bool = True
    unjudged: tuple[Unjudged, ...] = ()


@dataclass(frozen=True)
class Expectation:
    """What the model declares of a property (None: nothing), and where that is known from."""

    verdict: Verdict | None = None
    source: str = ""


@dataclass(frozen=True)
class Scope:
    """What a verdict covers: how many CPUs, which pages, roots and so on, by name, as the model and
    ``system.sufficiency`` say.
    """

    parts: Mapping[str, Any]

    @property
    def profile(self) -> str:
        """Whose processors' guarantees it takes: ``common``, ``intel`` or ``amd``."""
        return str(self.parts.get("profile", "common"))

    def __str__(self) -> str:
        return ", ".join(f"{n}: {v}" for n, v in self.parts.items())


class Standing(enum.StrEnum):
    """What has become of something that is relied on."""

    OPEN = "not checked in this run"
    SHOWN = "shown in this run"
    BROKEN = "not shown"


@dataclass(frozen=True)
class Reliance:
    """What a model relies on: a procedure whose place a stand-in has taken keeps ``properties`` wherever what it
    ``requires`` holds.

    ``shown_by`` is the model that is to show it, ``shown_as`` the procedure that this one really runs, ``differs``
    why what it shows is not what is relied on (another world); ``check`` the command that checks both. ``why`` says
    what makes it open or broken.
    """

    procedure: str
    shown_as: str
    properties: tuple[str, ...]
    requires: tuple[str, ...]
    shown_by: str
    differs: tuple[str, ...]
    check: str
    standing: Standing = Standing.OPEN
    why: str = ""

    @property
    def promise(self) -> str:
        """What is relied on, and which procedure keeps it."""
        version = f" as {self.shown_as}()" if self.shown_as != self.procedure else ""
        return f"{self.procedure}(){version} keeps {', '.join(self.properties)}"

    @property
    def assumption(self) -> str:
        """What is relied on, and what is the case with it."""
        match self.standing:
            case Standing.SHOWN:
                return f"{self.promise}: shown by {self.shown_by} in this run"
            case Standing.BROKEN:
                return f"{self.promise}: {self.standing}: {self.why}"
            case Standing.OPEN:
                because = f" ({self.why})" if self.why else ""
                return f"{self.promise}, which {self.shown_by} is to show: {self.standing}{because}: {self.check}"


@dataclass(frozen=True)
class Counterexample:
    """A run that breaks a property. ``told`` is all that is known of it, as JSON has it (``report.result.Teller``)."""

    told: Mapping[str, Any]

    @property
    def clause(self) -> str:
        """The clause of the property that it breaks."""
        return str(self.told["clause"])

    @property
    def depth(self) -> int:
        """Its length in steps."""
        return int(self.told["depth"])

    @property
    def case(self) -> Mapping[str, Any]:
        """The case that it happens in, by name."""
        case: Mapping[str, Any] = self.told["case"]
        return case

    @property
    def summary(self) -> str:
        """What is wrong, in a sentence."""
        return str(self.told["summary"])


@dataclass(frozen=True, kw_only=True)
class PropertyResult:
    """The verdict on one property of one model, with all that it rests on.

    ``found`` and ``how`` are what the engines say together; ``verdict`` and ``reason`` what that is worth, given what
    it relies on. ``sufficiency`` says why the scope is as it is, ``premises`` what is taken for granted besides what
    the model ``relies`` on, ``unreached`` which lines no run executes, ``invariant`` in sentences what a proof rests
    on (None: none was found). ``cases`` in which it is violated are counted, by ``callers``; ``depths`` gives for
    each violated clause the length of its shortest run. ``certificates`` are the files written (None: none were asked
    for). ``origin`` says of a model that was made of somebody else's source how to make it again. ``notes`` say what a
    proof may hide.
    """

    model: str
    name: str
    found: Verdict
    how: str = ""
    model_digest: str = ""
    engines: Mapping[str, EngineAnswer] = field(default_factory=dict)
    vacuity: Vacuity = Vacuity()
    expectation: Expectation = Expectation()
    scope: Scope = Scope({})
    sufficiency: Mapping[str, str] = field(default_factory=dict)
    premises: tuple[str, ...] = ()
    relies: tuple[Reliance, ...] = ()
    unreached: tuple[str, ...] = ()
    invariant: tuple[str, ...] | None = None
    callers: tuple[str, ...] = ()
    cases: int = 0
    depths: Mapping[str, int] = field(default_factory=dict)
    violations: tuple[Counterexample, ...] = ()
    certificates: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def beside(self) -> tuple[str, ...]:
        """What stands beside the verdict, in sentences: who alone breaks it, clauses that judge nothing and are not
        declared to, and what a proof may hide.
        """
        alone = ("only with the most general caller; with the callers in the tree it is harmless",) if self.only_open else ()
        return (*alone, *(x.text for x in self.vacuity.unjudged if not x.declared), *self.notes)

    @property
    def verdict(self) -> Verdict:
        """What is decided: a proof that rests on a broken promise is none."""
        broken = any(r.standing is Standing.BROKEN for r in self.relies)
        return Verdict.UNKNOWN if self.found is Verdict.PROVED and broken else self.found

    @property
    def reason(self) -> str:
        """How that is known, beginning with what it rests on that was not shown."""
        parts = [self.how] if self.vacuity.looked else [self.how, "whether its trigger occurs was not looked at"]
        if self.found is Verdict.PROVED:
            left = [r for r in self.relies if r.standing is Standing.OPEN]
            broken = [r.why for r in self.relies if r.standing is Standing.BROKEN]
            caveat = [f"relies on {listed_procedures(left)} (not checked in this run)"] if left and not broken else []
            parts = [*caveat, *dict.fromkeys(broken), *parts]
        return "; ".join(parts)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What is taken for granted, with what is relied on and what is the case with it."""
        return (*self.premises, *(r.assumption for r in self.relies))

    @property
    def vacuous(self) -> bool:
        """Whether a proof says nothing; a violation always says something."""
        return self.vacuity.vacuous and self.verdict is not Verdict.VIOLATED

    @property
    def words(self) -> str:
        """The verdict as people read it."""
        return self.verdict.words + (" (vacuous)" if self.vacuous else "")

    @property
    def undecided(self) -> bool:
        """Whether nothing is decided: neither violated, nor proved of something that is known to happen, nor declared to be
        about nothing.
        """
        unlooked = self.verdict is Verdict.PROVED and not self.vacuity.looked
        about_nothing = self.verdict is Verdict.NOT_APPLICABLE or self.vacuous or unlooked
        return self.verdict in (Verdict.UNKNOWN, Verdict.BOUNDED) or (about_nothing and not self.vacuity.declared)

    def status(self, expect: bool = False) -> Status:
        """The exit status that it amounts to; with ``expect``, whether it is what the model declares."""
        if not expect:
            return (
                Status.VIOLATED
                if self.verdict is Verdict.VIOLATED
                else Status.UNDECIDED
                if self.undecided
                else Status.HOLDS
            )
        if self.verdict == self.expectation.verdict and not (self.undecided and self.verdict is Verdict.PROVED):
            return Status.HOLDS
        if self.undecided:
            return Status.UNDECIDED
        nothing_declared = self.expectation.verdict is None and self.verdict is not Verdict.VIOLATED
        return Status.HOLDS if nothing_declared else Status.VIOLATED

    @property
    def surprise(self) -> str:
        """How the verdict differs from what the model declares; empty if it does not."""
        declared = self.expectation.verdict
        if declared is None:
            return "not declared" if self.verdict is Verdict.VIOLATED else ""
        return "" if declared is self.verdict else f"the model declares {declared}"

    @property
    def told(self) -> tuple[Counterexample, ...]:
        """The violations that reports tell: on call paths that the code has, where there are any."""
        real = tuple(v for v in self.violations if v.case.get("caller") != "open")
        return real or self.violations

    @property
    def only_open(self) -> bool:
        """Whether only callers more general than those in the tree break it."""
        return self.verdict is Verdict.VIOLATED and self.callers == ("open",)


@dataclass(frozen=True)
class Failure:
    """Why a model could not be checked, in one line; ``status`` is ``USAGE`` or ``INTERNAL``."""

    status: Status
    message: str


@dataclass(frozen=True)
class ModelResult:
    """The verdicts on one model, and why there are none, or none on some property (``failure``). ``facts`` is what
    reports show of it besides (``report.facts``).
    """

    name: str
    title: str = ""
    results: tuple[PropertyResult, ...] = ()
    failure: Failure | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __getitem__(self, name: str) -> PropertyResult:
        """The verdict on the property of that name. Raises ``KeyError`` if it was not checked."""
        for r in self.results:
            if r.name == name:
                return r
        raise KeyError(name)

    def __iter__(self) -> Iterator[PropertyResult]:
        return iter(self.results)

    def status(self, expect: bool = False) -> Status:
        """The exit status that it amounts to."""
        return self.failure.status if self.failure is not None else worst([r.status(expect) for r in self.results])


@dataclass(frozen=True)
class RunResult:
    """What was said of all models of one run; ``expect``: held against what they declare."""

    models: tuple[ModelResult, ...]
    expect: bool = False

    def __getitem__(self, name: str) -> ModelResult:
        """The results of the model of that name. Raises ``KeyError`` if it was not checked."""
        for m in self.models:
            if m.name == name:
                return m
        raise KeyError(name)

    @property
    def results(self) -> tuple[PropertyResult, ...]:
        """All verdicts, model after model."""
        return tuple(r for m in self.models for r in m.results)

    @property
    def status(self) -> Status:
        """The exit status of the run."""
        return worst([m.status(self.expect) for m in self.models])

    @property
    def counted(self) -> str:
        """How many models and verdicts there are, of each kind."""
        counts = {v: sum(r.verdict is v for r in self.results) for v in sorted(Verdict)}
        told = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
        return f"{len({r.model for r in self.results})} models, {len(self.results)} verdicts: {told}"


@dataclass(frozen=True)
class Grounds:
    """What the verdicts on some ``properties`` of a model cover and take for granted; no properties: all of them
    alike.
    """

    properties: tuple[str, ...]
    scope: Scope
    sufficiency: Mapping[str, str]
    assumptions: tuple[str, ...]

    @property
    def about(self) -> str:
        """For whom, as a reader needs it: empty, or `` (p, q)``."""
        return f" ({', '.join(self.properties)})" if self.properties else ""


def grounds(results: Sequence[PropertyResult]) -> list[Grounds]:
    """The grounds of a model's verdicts, those that differ apart. A property that does not apply rests on nothing,
    where others do.
    """
    some = [r for r in results if r.verdict is not Verdict.NOT_APPLICABLE] or list(results)
    apart: list[Grounds] = []
    for r in some:
        mine = Grounds((r.name,), r.scope, r.sufficiency, r.assumptions)
        at = next((i for i, g in enumerate(apart) if replace(mine, properties=g.properties) == g), None)
        if at is None:
            apart.append(mine)
        else:
            apart[at] = replace(apart[at], properties=(*apart[at].properties, r.name))
    return [replace(apart[0], properties=())] if len(apart) == 1 else apart


def listed_procedures(relies: Sequence[Reliance]) -> str:
    """The procedures that are relied on: ``a(), b() and c()``."""
    names = list(dict.fromkeys(f"{r.procedure}()" for r in relies))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
