"""Checking many models: each in a process of its own, what they rely on settled between them, one result of all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbcheck.collecting import paused
from tlbcheck.errors import InputError, InternalError, OutputError, shown_file, unforeseen
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import ENGINES, Limits, known_depth, known_engines, known_processor
from tlbcheck.report import progress
from tlbcheck.result import Failure, ModelResult, PropertyResult, RunResult, Status, Verdict

if TYPE_CHECKING:
    from tlbcheck.engines.run import ModelEvidence


@dataclass(frozen=True)
class Job:
    """What is asked of every model. Raises ``InputError`` for what cannot be asked.

    ``properties`` by name or as objects (none: those that a model is about); ``processor`` another than the model's
    own; ``cases`` tells the cases of violations apart, ``blame`` looks for what mends them; ``watched`` shows how far
    searches have come, on a terminal; ``drawn`` keeps the graphs of reports; ``certificates`` is the folder for those
    of proofs.
    """

    properties: tuple[Property | str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    engines: tuple[str, ...] = ENGINES
    depth: int | None = None
    processor: str | None = None
    every_case: bool = False
    cases: bool = True
    blame: bool = True
    recheck: bool = False
    watched: bool = False
    drawn: bool = False
    certificates: Path | None = None

    def __post_init__(self) -> None:
        known_engines(self.engines)
        known_depth(self.depth)
        known_processor(self.processor)

    def properties_of(self, model: Model) -> list[Property]:
        """The properties to check of ``model``. Raises ``InputError`` for an unknown one."""
        from tlbcheck.library import find_properties
        from tlbcheck.vocabulary import check_vocabulary

        given = [q for q in self.properties if isinstance(q, Property)]
        names = [q for q in self.properties if not isinstance(q, Property)]
        check_vocabulary(model, given)
        return [*given, *(find_properties(names, model) if names or not given else ())]


def unusable(error: InputError) -> ModelResult:
    """What stands in a run for a file of models that cannot be used."""
    return ModelResult("" if error.place is None else shown_file(error.place.file), failure=Failure(Status.USAGE, _line(str(error))))


def check_together(models: Sequence[Model], job: Job, workers: int = 1, *, expect: bool = False) -> RunResult:
    """What became of all of ``models``, settled between them."""
    return RunResult(tuple(check_all(models, job, workers)), expect)


def check_all(models: Sequence[Model], job: Job, workers: int = 1) -> Iterator[ModelResult]:
    """What became of each model, in their order, with what it relies on held against what others show.

    One that cannot be checked says why, and the others go on; so does one of which some properties cannot be judged, after its verdicts. Raises ``InputError`` for different models of one name,
    and for less than one at a time.
    """
    from tlbcheck.reliance import ranked, settle

    if workers < 1:
        raise InputError(f"{workers} models checked at a time", hint="give at least 1")
    models = each_once(models)
    order = ranked(models)
    checked: dict[int, ModelResult] = {}
    shown: dict[tuple[str, str], PropertyResult] = {}
    waiting = list(range(len(models)))
    for i, alone in zip(order, _each([models[i] for i in order], job, workers), strict=True):
        checked[i] = replace(alone, results=settle(alone.results, shown, (m.name for m in models)))
        shown |= {(x.model, x.name): x for x in checked[i]}
        while waiting and waiting[0] in checked:
            yield from _apart(checked[waiting.pop(0)])


def _apart(m: ModelResult) -> tuple[ModelResult, ...]:
    """The verdicts on a model, and apart from them why some property of it has none."""
    return (m,) if m.failure is None or not m.results else (replace(m, failure=None), ModelResult(m.name, m.title, failure=m.failure))


def each_once(models: Sequence[Model]) -> list[Model]:
    """``models`` without repetitions. Raises ``InputError`` if two that are not the same have one name."""
    kept: dict[str, Model] = {}
    for m in models:
        before = kept.setdefault(m.name, m)
        if not _one_and_the_same(before, m):
            raise InputError(
                f"two models are called {m.name}, here and in {before.init.place}",
                place=m.init.place,
                hint="rename one, or check them one by one",
            )
    return list(kept.values())


def _one_and_the_same(one: Model, other: Model) -> bool:
    """Whether two models of one name are the same: what was found, read or made by the same name again is."""
    if one is other or (one.origin and one.origin == other.origin):
        return True
    if one.numbers:
        # Made anew each time that it is named.
        made = [(m.init.place, m.numbers, {f.name: on for f, on in m.flags.items()}) for m in (one, other)]
        return made[0] == made[1]
    by_value = ("name", "doc", "source", "profile", "flags", "procedures", "expected", "variants", "numbers")
    pairs = [(f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(x is y or (name in by_value and x == y) for name, x, y in pairs)


def _each(models: Sequence[Model], job: Job, workers: int) -> Iterator[ModelResult]:
    if len(models) <= 1 or workers == 1:
        yield from (check_one(m, job) for m in models)
        return
    import tlbcheck.engines.run  # noqa: F401 (loaded once, before there are processes)

    _INHERITED[:] = [(m, job) for m in models]
    with _pool(min(workers, len(models))) as pool:
        waiting = [pool.submit(_check_number, n) for n in range(len(models))]
        for n, one in enumerate(waiting):
            try:
                yield one.result()
            except BrokenProcessPool:
                yield _alone(n)


def _pool(workers: int) -> ProcessPoolExecutor:
    from tlbcheck.engines.child import end_with_parent

    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"), initializer=end_with_parent)


def _alone(n: int) -> ModelResult:
    """Check a model again that was not done when some process of the pool died: was it its own?"""
    try:
        with _pool(1) as pool:
            return pool.submit(_check_number, n).result()
    except BrokenProcessPool:
        model, _ = _INHERITED[n]
        return ModelResult(
            model.name,
            model.title,
            failure=Failure(
                Status.INTERNAL,
                f"internal error: {model.name}: the process that checked it died; it may have been killed for its memory",
            ),
        )


_INHERITED: list[tuple[Model, Job]] = []
"""What a pool checks: models are inherited by fork, since they cannot be pickled."""


def _check_number(n: int) -> ModelResult:
    return check_one(*_INHERITED[n])


def check_one(model: Model, job: Job) -> ModelResult:
    """Check one model; an error of any kind becomes part of the result."""
    try:
        return judged(model, job)
    except OutputError as error:
        failure = Failure(Status.INTERNAL, _line(str(error)))
    except InputError as error:
        failure = Failure(Status.USAGE, _line(str(error)))
    except InternalError as error:
        failure = Failure(Status.INTERNAL, f"internal error: {_line(str(error))}")
    except RecursionError:
        failure = Failure(Status.USAGE, f"{model.name}: an expression or procedure is nested too deeply; simplify it")
    except MemoryError:
        failure = Failure(Status.INTERNAL, f"{model.name}: out of memory")
    except Exception as error:
        failure = Failure(Status.INTERNAL, f"internal error: {model.name}: {unforeseen(error)}")
    return ModelResult(model.name, model.title, failure=failure)


def _line(text: str) -> str:
    return " ".join(text.split())


@paused()
def judged(model: Model, job: Job) -> ModelResult:
    """The verdicts on one model, settled as far as it goes by itself. Raises ``InputError`` and ``InternalError``."""
    from tlbcheck.report.facts import model_facts
    from tlbcheck.report.result import model_result

    evidence, refused = _judgeable(model, job)
    result = model_result(evidence, every_case=job.every_case)
    if job.certificates is not None:
        result = replace(result, results=tuple(_certified(x, evidence, job.certificates) for x in result))
    failure = Failure(Status.USAGE, "; ".join(_line(str(error)) for error in refused)) if refused else None
    return replace(result, failure=failure, facts=model_facts(evidence, drawn=job.drawn))


def _judgeable(model: Model, job: Job) -> tuple[ModelEvidence, list[InputError]]:
    """What the engines find of the properties that can be judged, and why others cannot (ERR-1). Raises ``InputError`` if none can."""
    refused: list[InputError] = []
    while True:
        try:
            return explored(model, job), refused
        except InputError as error:
            properties = job.properties_of(model) if error.judging else []
            left = tuple(q for q in properties if q.name != error.judging)
            if not left or len(left) == len(properties):
                raise
            refused.append(error)
            job = replace(job, properties=left)


def explored(model: Model, job: Job) -> ModelEvidence:
    """What the engines find of one model; the same errors."""
    from tlbcheck.engines.run import check

    if job.processor:
        model = replace(model, profile=job.processor)
    try:
        return check(
            model,
            job.properties_of(model),
            engines=job.engines,
            depth=job.depth,
            limits=job.limits,
            every_case=job.every_case,
            cases=job.cases,
            recheck=job.recheck,
            progress=progress.tracked(model.name) if job.watched else None,
            packed_progress=progress.packed(model.name) if job.watched else None,
            meanwhile=_blame if job.cases and job.blame else None,
            certify=job.certificates is not None,
        )
    finally:
        if job.watched:
            progress.clear()


def _blame(*found: Any) -> Mapping[int, Mapping[str, Any]]:
    """``blame_shown``, loaded when there is something to blame."""
    from tlbcheck.blame import blame_shown

    return blame_shown(*found)


def _certified(x: PropertyResult, evidence: ModelEvidence, folder: Path) -> PropertyResult:
    """The result with the files written of its proof; a verdict that is no proof has no certificate to ask for."""
    from tlbcheck.certificate.file import write

    if x.verdict is not Verdict.PROVED or x.undecided:
        return x
    return replace(x, certificates=tuple(str(path) for path in write(folder, evidence, x.name)))
