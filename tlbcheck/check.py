"""Checks from Python: what the command line and the pytest plugin say, from the same code.

from tlbcheck import Verdict, verify

result = verify("xen/shootdown", ["shootdown"])
assert result["shootdown"].verdict is Verdict.PROVED
print(result["shootdown"].reason)       # begins with what it relies on that was not checked
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model, Property
from tlbcheck.library import find_model
from tlbcheck.options import ENGINES, Limits, known_engines
from tlbcheck.result import ModelResult, RunResult

if TYPE_CHECKING:
    from tlbcheck.engines.run import ModelEvidence


def verify(
    model: Model | str,
    properties: Sequence[Property | str] | None = None,
    *,
    engines: Sequence[str] = ENGINES,
    depth: int | None = None,
    processor: str | None = None,
    limits: Limits | None = None,
    every_case: bool = False,
    cases: bool = True,
    recheck: bool = False,
    blame: bool = True,
    certificates: Path | None = None,
) -> ModelResult:
    """Check ``properties`` (default: those that it is about) of one model, given as an object, by name or as a path.

    ``engines`` must agree; ``depth`` (steps) bounds the bounded search, default the model's; ``processor`` is
    ``common``, ``intel`` or ``amd`` instead of the model's; ``every_case`` tells a run for each distinct case, and
    without ``cases`` none are told apart, which is quicker; ``recheck`` lets the replay interpreter search too;
    ``blame`` looks for what mends a violation; ``certificates`` is a folder for those of proofs. What the model
    relies on by contracts is not checked: a result says so, and ``verify_all`` checks several together. Raises
    ``InputError`` for what cannot be asked or checked, and ``InternalError`` if engines or replay disagree.
    """
    from tlbcheck.session import Job, judged

    job = Job(
        _given(properties),
        limits or Limits(),
        known_engines(engines),
        depth,
        processor,
        every_case,
        cases,
        blame=blame,
        recheck=recheck,
        certificates=certificates,
    )
    return judged(find_model(model), job)


def verify_all(
    models: Sequence[Model | str],
    properties: Sequence[Property | str] | None = None,
    *,
    engines: Sequence[str] = ENGINES,
    depth: int | None = None,
    processor: str | None = None,
    limits: Limits | None = None,
    every_case: bool = False,
    cases: bool = True,
    recheck: bool = False,
    blame: bool = True,
    certificates: Path | None = None,
    jobs: int = 1,
    expect: bool = False,
) -> RunResult:
    """As ``verify``, for several models, ``jobs`` of them at a time: what one relies on is held against what another
    shows.

    A model that cannot be checked has a ``failure``, and the others go on. ``expect`` holds verdicts against what
    models declare (``RunResult.status``). Raises ``InputError`` for what cannot be asked, and for an unknown model.
    """
    from tlbcheck.session import Job, check_together

    job = Job(
        _given(properties),
        limits or Limits(),
        known_engines(engines),
        depth,
        processor,
        every_case,
        cases,
        blame=blame,
        recheck=recheck,
        certificates=certificates,
    )
    if isinstance(models, str):
        raise InputError(f"'{models}' is a name, and no list of models", hint="write verify_all([...])")
    return check_together([find_model(m) for m in models], job, jobs, expect=expect)


def explore(
    model: Model | str,
    properties: Sequence[Property | str] | None = None,
    *,
    engines: Sequence[str] = ENGINES,
    depth: int | None = None,
    limits: Limits | None = None,
    every_case: bool = False,
    cases: bool = True,
    recheck: bool = False,
) -> ModelEvidence:
    """What the engines find, for those who need more than verdicts: searches, runs with all their states, invariants.

    Without ``cases`` none are told apart, which is quicker. What a model relies on is not looked at: a verdict is
    ``verify``'s. The same errors.
    """
    from tlbcheck.session import Job, explored

    job = Job(
        _given(properties),
        limits or Limits(),
        known_engines(engines),
        depth,
        every_case=every_case,
        cases=cases,
        recheck=recheck,
        blame=False,
    )
    return explored(find_model(model), job)


def _given(properties: Sequence[Property | str] | None) -> tuple[Property | str, ...]:
    """The properties that are asked for. Raises ``InputError`` for none, and for a name where a list is meant."""
    if isinstance(properties, str):
        raise InputError(f"'{properties}' is a name, and no list of properties", hint=f"write ['{properties}']")
    if properties is not None and not properties:
        raise InputError(
            "no property is named", hint="name at least one, or leave them out for those that the model is about"
        )
    return tuple(properties or ())
