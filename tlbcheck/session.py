"""Checking many models: each in a process of its own, what they rely on settled between them, results as JSON has them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbcheck.collecting import paused
from tlbcheck.errors import InputError, InternalError
from tlbcheck.report import progress
from tlbcheck.report.judge import INTERNAL, USAGE

if TYPE_CHECKING:
    from tlbcheck.engines.run import Limits, ModelResult
    from tlbcheck.lang.model import Model


@dataclass(frozen=True)
class Job:
    """What is asked of every model: ``told`` for traces and their causes, ``drawn`` for the graphs of reports, ``processor`` for another than the model's own."""

    properties: tuple[str, ...]
    limits: Limits
    engines: tuple[str, ...] = ()
    depth: int | None = None
    processor: str | None = None
    every_case: bool = False
    told: bool = True
    recheck: bool = False
    drawn: bool = False
    certificates: Path | None = None


class Checked(NamedTuple):
    """Entries of ``results``, facts about the model, and what went wrong (exit status and message) if something did."""

    entries: list[dict[str, Any]]
    facts: dict[str, Any]
    error: tuple[int, str] | None = None


def check_all(models: Sequence[Model], job: Job, workers: int) -> Iterator[tuple[Model, Checked]]:
    """What became of each model, in their order, with what it relies on held against what others show."""
    from tlbcheck.reliance import ranked, settle

    order = ranked(models)
    checked: dict[int, Checked] = {}
    shown: dict[tuple[str, str], dict[str, Any]] = {}
    waiting = list(range(len(models)))
    for i, found in zip(order, _each([models[i] for i in order], job, workers), strict=True):
        settle(found.entries, shown, (m.name for m in models))
        shown |= {(e["model"], e["property"]): e for e in found.entries}
        checked[i] = found
        while waiting and waiting[0] in checked:
            yield models[waiting[0]], checked[waiting.pop(0)]


def _each(models: Sequence[Model], job: Job, workers: int) -> Iterator[Checked]:
    if len(models) <= 1 or workers == 1:
        yield from (check_one(m, job) for m in models)
        return
    import tlbcheck.engines.run  # noqa: F401 (loaded once, before there are processes)

    _INHERITED[:] = [(m, job) for m in models]
    with ProcessPoolExecutor(min(workers, len(models)), mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_check_number, range(len(models)))


_INHERITED: list[tuple[Model, Job]] = []
"""What a pool checks: models are inherited by fork, since they cannot be pickled."""


def _check_number(n: int) -> Checked:
    return check_one(*_INHERITED[n])


@paused()
def check_one(model: Model, job: Job) -> Checked:
    """Check one model; an error becomes part of the result."""
    from tlbcheck.engines.run import ENGINES, check
    from tlbcheck.library import find_properties
    from tlbcheck.report.facts import model_facts
    from tlbcheck.report.result import model_json

    if job.processor:
        model = replace(model, profile=job.processor)
    try:
        result = check(
            model,
            find_properties(job.properties, model),
            engines=job.engines or ENGINES,
            depth=job.depth,
            limits=job.limits,
            every_case=job.every_case,
            cases=job.told,
            recheck=job.recheck,
            progress=progress.tracked(model.name),
            packed_progress=progress.packed(model.name),
            meanwhile=_blame if job.told else None,
            certify=job.certificates is not None,
        )
        entries = model_json(result, every_case=job.every_case, blame=result.blame)
        if job.certificates is not None:
            _certify(result, entries, job.certificates)
    except InputError as error:
        return Checked([], {}, (USAGE, " ".join(str(error).split())))
    except InternalError as error:
        return Checked([], {}, (INTERNAL, " ".join(str(error).split())))
    progress.clear()
    return Checked(entries, model_facts(result, drawn=job.drawn))


def _blame(*found: Any) -> Any:
    """``blame_shown``, loaded when there is something to blame."""
    from tlbcheck.blame import blame_shown

    return blame_shown(*found)


def _certify(result: ModelResult, entries: list[dict[str, Any]], folder: Path) -> None:
    """Write the certificates of a model's proofs, and say in its entries where they are: in ``certificate`` the first, in ``certificates`` all."""
    from tlbcheck.certificate.file import write

    for e in entries:
        if e["verdict"] == "proved" and not e["vacuous"]:
            e["certificates"] = [str(path) for path in write(folder, result, e["property"])]
            if e["certificates"]:
                e["certificate"] = e["certificates"][0]
