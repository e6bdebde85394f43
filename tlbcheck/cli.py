"""The command line. Exit status: 0 holds, 1 violated, 2 wrong use or input, 3 undecided, 4 internal error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from tlbcheck import __version__
from tlbcheck.errors import InputError, InternalError

OK, VIOLATED, USAGE, UNDECIDED, INTERNAL = 0, 1, 2, 3, 4
_WORST = (INTERNAL, USAGE, VIOLATED, UNDECIDED, OK)


def worst(statuses: Sequence[int]) -> int:
    """Of several exit statuses the one that decides: 4, 2, 1, 3, 0."""
    return min(statuses, key=_WORST.index, default=OK)


def _fail(status: int, message: str) -> NoReturn:
    click.echo(f"tlbcheck: {' '.join(message.split())}", err=True)
    raise SystemExit(status)


class _Group(click.Group):
    """Turns every error into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(USAGE, str(error))
        except InternalError as error:
            _fail(INTERNAL, f"internal error: {error}")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlbcheck")
def cli() -> None:
    """A model checker for TLB coherence.

    After this code ran, can any CPU still use a translation that it must not?

    \b
    tlbcheck verify xen/pcid-v5        check a model, or everything
    tlbcheck matrix xen/pcid-v5        every pair of contexts: steps, verdict
    tlbcheck list                      the models and their variants

    \b
    Exit status: 0 all holds (with --expect: is as declared), 1 a property is
    violated (a verdict differs), 2 wrong use or input, 3 undecided, 4 internal error.
    """


def _progress(name: str) -> Callable[[int, int], None] | None:
    """A line on standard error while a search takes over a second; on a terminal only."""
    if not sys.stderr.isatty():
        return None
    began = time.monotonic()

    def show(states: int, depth: int) -> None:
        if time.monotonic() - began > 1:
            click.echo(f"\r\x1b[K{name}: {states:,} control states, depth {depth}", nl=False, err=True)

    return show


def _clear_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


_ENGINE = click.option("--engine", "engines", multiple=True, type=click.Choice(["explicit", "bmc"]), help="Use only this engine (default: both, which must agree).")


@cli.command(epilog="Example: tlbcheck verify xen/pcid-v5 --property missing-flush --all")
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("-p", "--property", "property_names", multiple=True, help="Check only this property (repeatable).")
@click.option("--all", "every_case", is_flag=True, help="One shortest trace for each distinct case, not only for each property.")
@click.option("--expect", is_flag=True, help="Succeed if the verdicts are what the models declare; includes their variants.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON result on standard output.")
@click.option("--depth", type=click.IntRange(0), help="Bound of the z3 engine's search (default: the model's).")
@click.option("--profile", type=click.Choice(["common", "intel", "amd"]), help="Whose guarantees the processor gives (default: what both promise).")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, help="Seconds for a solver.")
@click.option("--recheck", is_flag=True, help="Let the replay interpreter visit every configuration of the procedures too, on the literal TLB (slow).")
@click.option("-j", "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="Models checked at a time.")
@_ENGINE
def verify(
    names: tuple[str, ...],
    property_names: tuple[str, ...],
    every_case: bool,
    expect: bool,
    as_json: bool,
    depth: int | None,
    profile: str | None,
    timeout: float,
    recheck: bool,
    jobs: int,
    engines: tuple[str, ...],
) -> None:
    """Check models (default: all of the library) and tell the story of each violation.

    MODEL is a name from 'tlbcheck list', NAME@VARIANT, or a file or folder of models.
    """
    from tlbcheck.library import find_models, find_properties, models

    properties = [p.name for p in find_properties(list(property_names))]
    chosen = [m for n in names for m in find_models(n)] if names else list(models().values())
    if expect:
        chosen = [x for m in chosen for x in (m, *(m.variant(v) for v in m.variants))]
    jobs_ = [(m, properties, every_case, not expect, recheck, depth, profile, timeout, engines) for m in chosen]
    results: list[dict[str, Any]] = []
    statuses = []
    for m, (entries, error) in zip(chosen, _each(jobs_, jobs), strict=True):
        if error is not None:
            _clear_progress()
            kind, message = error
            click.echo(f"tlbcheck: {'internal error: ' if kind == INTERNAL else ''}{message}", err=True)
            statuses.append(kind)
            continue
        results += entries
        statuses += [_status(e, expect, m.vacuous) for e in entries]
        if not as_json:
            _print_model(m.name, m.title, entries, expect, every_case)
    if as_json:
        from tlbcheck.report.result import document

        click.echo(json.dumps(document("verify", results=results)))
    elif len(chosen) > 1:
        _print_total(results, expect)
    raise SystemExit(worst(statuses))


def _each(jobs: list[Any], workers: int) -> Iterator[tuple[list[dict[str, Any]], tuple[int, str] | None]]:
    """Check each job, several at a time in processes of their own where there are several."""
    if len(jobs) <= 1 or workers == 1:
        yield from map(_check_one, jobs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    _JOBS[:] = jobs
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_check_number, range(len(jobs)))


_JOBS: list[Any] = []
"""The jobs of a pool: models are inherited by fork, since they cannot be pickled."""


def _check_number(n: int) -> tuple[list[dict[str, Any]], tuple[int, str] | None]:
    return _check_one(_JOBS[n])


def _check_one(job: Any) -> tuple[list[dict[str, Any]], tuple[int, str] | None]:
    from dataclasses import replace

    from tlbcheck.blame import blame_shown
    from tlbcheck.engines.run import ENGINES, Limits, check
    from tlbcheck.library import find_properties
    from tlbcheck.report.result import model_json

    model, property_names, every_case, told, recheck, depth, profile, timeout, engines = job
    if profile:
        model = replace(model, profile=profile)
    try:
        result = check(
            model,
            find_properties(property_names),
            engines=engines or ENGINES,
            depth=depth,
            limits=Limits(seconds=timeout),
            every_case=every_case,
            cases=told,
            recheck=recheck,
            progress=_progress(model.name),
            meanwhile=blame_shown if told else None,
        )
    except InputError as error:
        return [], (USAGE, " ".join(str(error).split()))
    except InternalError as error:
        return [], (INTERNAL, " ".join(str(error).split()))
    _clear_progress()
    return model_json(result, every_case=every_case, blame=result.blame), None


def _status(entry: dict[str, Any], expect: bool, vacuous_allowed: Sequence[str]) -> int:
    verdict = entry["verdict"]
    empty = verdict == "not-applicable" or entry["vacuous"]
    undecided = verdict in ("unknown", "bounded") or (empty and entry["property"] not in vacuous_allowed)
    if expect:
        expected = entry["expected"]
        if expected is None:
            return UNDECIDED if undecided else OK
        return OK if verdict == expected and not (undecided and expected == "proved") else UNDECIDED if undecided else VIOLATED
    return VIOLATED if verdict == "violated" else UNDECIDED if undecided else OK


_MARK = {"violated": "VIOLATED", "proved": "proved", "bounded": "bounded", "unknown": "UNKNOWN", "not-applicable": "not applicable"}


def _print_model(name: str, title: str, entries: list[dict[str, Any]], expect: bool, every_case: bool) -> None:
    from tlbcheck.report.story import render

    click.echo(f"{name}: {title}")
    for e in entries:
        verdict = _MARK[e["verdict"]] + (" (vacuous)" if e["vacuous"] else "")
        note = f"   UNEXPECTED: the model declares {e['expected']}" if expect and e["expected"] not in (None, e["verdict"]) else ""
        click.echo(f"  {e['property']:<18} {verdict:<14} {e['reason']}{note}")
        if e["verdict"] == "violated" and e["callers"] == ["open"]:
            click.echo(f"  {'':<18} only with the most general caller; with the callers in the tree it is harmless")
    if not expect:
        for e in entries:
            for v in e["violations"] if every_case else e["violations"][-1:]:
                click.echo("")
                click.echo(render(e["model"], e["property"], v))
                if not every_case and len(e["violations"]) > 1:
                    click.echo(f"  The shortest run of all has {e['violations'][0]['depth']} steps and is by the most general caller; --json tells both")
        _print_scope(entries)
    click.echo("")


def _print_scope(entries: list[dict[str, Any]]) -> None:
    if not entries:
        return
    scope = ", ".join(f"{n}: {v}" for n, v in entries[0]["scope"].items())
    click.echo(f"\n  scope: {scope}")
    for a in entries[0]["assumptions"]:
        click.echo(f"  assumes: {a}")
    if entries[0]["unreached"]:
        click.echo(f"  never executed: {'; '.join(entries[0]['unreached'])}")


def _print_total(results: list[dict[str, Any]], expect: bool) -> None:
    counts: dict[str, int] = {}
    for e in results:
        counts[e["verdict"]] = counts.get(e["verdict"], 0) + 1
    unexpected = sum(1 for e in results if e["expected"] not in (None, e["verdict"]))
    told = ", ".join(f"{n} {v}" for v, n in sorted(counts.items()))
    click.echo(f"{len({e['model'] for e in results})} models, {len(results)} verdicts: {told}" + (f"; {unexpected} unexpected" if expect else ""))


@cli.command("matrix", epilog="Example: tlbcheck matrix xen/pcid-v5")
@click.argument("name", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON result on standard output.")
def matrix_command(name: str, as_json: bool) -> None:
    """Every pair of contexts: the steps that the switch executes, and its verdict.

    Contexts that the model cannot reach have no row. Exit status 1 if a row is not clean.
    """
    from tlbcheck.library import find_models, find_properties
    from tlbcheck.matrix import matrix

    found = find_models(name)
    if len(found) != 1:
        raise InputError(f"{name} defines {len(found)} models", hint="name one of them: " + ", ".join(m.name for m in found))
    rows = matrix(found[0], find_properties(["missing-flush"])[0])
    missing = 32 - len(rows)
    note = f"{missing} of 32 rows are missing: their contexts cannot be reached in this version" if missing else ""
    if as_json:
        from tlbcheck.report.result import document

        click.echo(json.dumps(document("matrix", model=found[0].name, rows=[r.as_json() for r in rows], note=note)))
    else:
        click.echo(f"{'old':<8}{'new':<8}{'other CR4':<11}{'verdict':<9}{'steps':<40}detail")
        for r in rows:
            click.echo(f"{r.old:<8}{r.new:<8}{r.other_cr4:<11}{r.verdict:<9}{' '.join(r.steps):<40}{r.detail}".rstrip())
        if note:
            click.echo(note)
    raise SystemExit(VIOLATED if any(r.verdict != "clean" for r in rows) else OK)


@cli.command("list", epilog="Example: tlbcheck list --json")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")
def list_command(as_json: bool) -> None:
    """The models with their variants, and the properties."""
    from tlbcheck.library import models, properties

    found = models()
    if as_json:
        from tlbcheck.report.result import document

        listed = [{"model": m.name, "title": m.title, "source": m.source, "expected": dict(m.expected), "variants": {n: v.doc for n, v in m.variants.items()}} for m in found.values()]
        click.echo(json.dumps(document("list", models=listed, properties={p.name: p.title for p in properties().values()})))
        return
    for m in found.values():
        click.echo(f"{m.name:<22} {m.title}  [{m.source}]")
        for n, v in m.variants.items():
            click.echo(f"  @{n:<28} {v.doc}")
    click.echo("")
    for p in properties().values():
        click.echo(f"{p.name:<22} {p.title}")


@cli.command("graph", epilog="Example: tlbcheck graph xen/before-pcid -o before.graphml")
@click.argument("name", metavar="MODEL")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="GraphML (.graphml), DOT (.dot) or node-link JSON (.json).")
def graph_command(name: str, output: Path) -> None:
    """Write the graph of all reachable control states, with labelled steps."""
    from tlbcheck.engines.explicit import Tracked
    from tlbcheck.graph import FORMATS, state_graph, write
    from tlbcheck.library import find_models, find_properties
    from tlbcheck.system.lower import lower

    if output.suffix not in FORMATS:
        raise InputError(f"no graph format is called '{output.suffix}'", hint=f"use one of {', '.join(FORMATS)}")
    model = find_models(name)[0]
    search = Tracked(lower(model, find_properties(None)), progress=_progress(name))
    search.run()
    _clear_progress()
    graph = state_graph(search)
    try:
        write(graph, output)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"{output}: {graph.number_of_nodes():,} control states, {graph.number_of_edges():,} steps")


@cli.command("replay", epilog="Example: tlbcheck replay v5.json, after: tlbcheck verify xen/pcid-v5 --json > v5.json")
@click.argument("file", type=click.Path(path_type=Path))
def replay_command(file: Path) -> None:
    """Run the violations of a JSON result again, by code that no engine shares.

    Exit status 1 if a violation is confirmed, 0 if the file has none, 2 if it is broken or edited.
    """
    from tlbcheck.report.reread import load, replay_document
    from tlbcheck.report.story import render

    confirmed = replay_document(load(file), file)
    for i, (model, name, violation) in enumerate(confirmed):
        click.echo(("\n" if i else "") + render(model, name, violation))
    click.echo(f"\n{len(confirmed)} violation(s) confirmed" if confirmed else "no violation in this file")
    raise SystemExit(VIOLATED if confirmed else OK)


def main() -> None:
    """Entry point; nothing escapes as a Python traceback."""
    try:
        cli()
    except KeyboardInterrupt:
        _fail(UNDECIDED, "interrupted")
    except RecursionError:
        _fail(USAGE, "an expression or procedure of the model is nested too deeply; simplify it")


if __name__ == "__main__":
    main()
