"""What ``verify`` prints of its results: on a terminal lanes, else plain text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from tlbcheck.options import REFERENCE
from tlbcheck.reliance import unsettled
from tlbcheck.report.escape import visible
from tlbcheck.result import ModelResult, PropertyResult, RunResult, grounds


def print_model(model: ModelResult, expect: bool, every_case: bool, full: bool, *, several: bool) -> None:
    """The verdicts on one model, and unless they are held against what it declares, its runs, scope and assumptions."""
    from tlbcheck.report.story import render

    if sys.stdout.isatty():
        from tlbcheck.report.terminal import show

        show(model, expect=expect, stories=full or not several, full=full)
        return
    click.echo(f"{model.name}: {visible(model.title)}")
    for r in model:
        note = f"   UNEXPECTED: {r.surprise}" if expect and r.surprise else ""
        click.echo(f"  {r.name:<18} {r.words:<14} {visible(r.reason)}{note}")
        for note in r.beside:
            click.echo(f"  {'':<18} {visible(note)}")
    if expect and (rest := unsettled(model.results)):
        click.echo(f"  {visible(rest)}")
    if not expect:
        for r in model:
            for n, line in enumerate(r.engines[REFERENCE].run if REFERENCE in r.engines else ()):
                click.echo(
                    f"  {n:3d}. {visible(line)}"
                    if n
                    else f"\n{r.model}: {r.name} is violated (reference)\n    0. {visible(line)}"
                )
            for v in r.violations if every_case else r.violations[-1:]:
                click.echo("")
                click.echo(visible(render(r.model, r.name, v.told)))
                if not every_case and len(r.violations) > 1:
                    click.echo(
                        f"  The shortest run of all has {r.violations[0].depth} steps and is by the most general caller; --json tells both"
                    )
        _print_scope(model)
    click.echo("")


def print_proofs(model: ModelResult, invariant: bool) -> None:
    """Where the certificates are, and what the proofs rest on if asked for."""
    for r in model:
        for path in r.certificates or ():
            click.echo(f"  {r.name}: certificate {visible(path)}")
        if r.certificates == ():
            click.echo(
                f"  {r.name}: no certificate; engines pdr, abc and sets give one, if a solver shows what they found"
            )
        if invariant and r.invariant:
            click.echo(f"  {r.name} holds because in every reachable state")
            for sentence in r.invariant:
                click.echo(f"    - {visible(sentence)}")


def _print_scope(model: ModelResult) -> None:
    if model.results:
        click.echo("")
        for line in scope_lines(model.results):
            click.echo(visible(line))


def scope_lines(results: Sequence[PropertyResult]) -> Iterator[str]:
    """What the verdicts on a model cover and take for granted, and what no run executes."""
    for g in grounds(results):
        yield f"  scope{g.about}: {g.scope}"
        for a in g.assumptions:
            yield f"  assumes{g.about}: {a}"
    if results[0].unreached:
        yield f"  never executed: {'; '.join(results[0].unreached)}"


def print_total(run: RunResult) -> None:
    """How many verdicts of each kind, and how many are not as declared."""
    unexpected = sum(1 for r in run.results if r.surprise)
    failed = sum(1 for m in run.models if m.failure is not None)
    click.echo(
        run.counted
        + (f"; {unexpected} unexpected" if run.expect else "")
        + (f"; {failed} models could not be checked" if failed else "")
    )
