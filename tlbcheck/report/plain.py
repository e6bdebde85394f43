"""What ``verify`` prints of its results: on a terminal lanes, else plain text."""

from __future__ import annotations

import sys
from typing import Any

import click

from tlbcheck.reliance import unsettled
from tlbcheck.report.escape import visible
from tlbcheck.report.judge import verdict


def print_model(name: str, title: str, entries: list[dict[str, Any]], facts: dict[str, Any], expect: bool, every_case: bool, full: bool, *, several: bool) -> None:
    from tlbcheck.report.story import render

    if sys.stdout.isatty():
        from tlbcheck.report.terminal import show

        show(name, title, entries, facts, expect=expect, stories=full or not several, full=full)
        return
    click.echo(f"{name}: {visible(title)}")
    for e in entries:
        note = f"   UNEXPECTED: the model declares {e['expected']}" if expect and e["expected"] not in (None, e["verdict"]) else ""
        click.echo(f"  {e['property']:<18} {verdict(e):<14} {visible(e['reason'])}{note}")
        if e["verdict"] == "violated" and e["callers"] == ["open"]:
            click.echo(f"  {'':<18} only with the most general caller; with the callers in the tree it is harmless")
    if expect and (rest := unsettled(entries)):
        click.echo(f"  {visible(rest)}")
    if not expect:
        for e in entries:
            for n, line in enumerate(e["engines"].get("reference", {}).get("run", ())):
                click.echo(f"  {n:3d}. {visible(line)}" if n else f"\n{e['model']}: {e['property']} is violated (reference)\n    0. {visible(line)}")
            for v in e["violations"] if every_case else e["violations"][-1:]:
                click.echo("")
                click.echo(visible(render(e["model"], e["property"], v)))
                if not every_case and len(e["violations"]) > 1:
                    click.echo(f"  The shortest run of all has {e['violations'][0]['depth']} steps and is by the most general caller; --json tells both")
        _print_scope(entries)
    click.echo("")


def print_proofs(entries: list[dict[str, Any]], invariant: bool) -> None:
    """Where the certificates are, and what the proofs rest on if asked for."""
    for e in entries:
        for path in e.get("certificates", ()):
            click.echo(f"  {e['property']}: certificate {visible(path)}")
        if e.get("certificates") == []:
            click.echo(f"  {e['property']}: no certificate; engines pdr, abc and sets give one, if a solver shows what they found")
        if invariant and e.get("invariant"):
            click.echo(f"  {e['property']} holds because in every reachable state")
            for sentence in e["invariant"]:
                click.echo(f"    - {visible(sentence)}")


def _print_scope(entries: list[dict[str, Any]]) -> None:
    if not entries:
        return
    scope = ", ".join(f"{n}: {v}" for n, v in entries[0]["scope"].items())
    click.echo(visible(f"\n  scope: {scope}"))
    for a in entries[0]["assumptions"]:
        click.echo(visible(f"  assumes: {a}"))
    if entries[0]["unreached"]:
        click.echo(visible(f"  never executed: {'; '.join(entries[0]['unreached'])}"))


def print_total(results: list[dict[str, Any]], expect: bool) -> None:
    counts: dict[str, int] = {}
    for e in results:
        counts[e["verdict"]] = counts.get(e["verdict"], 0) + 1
    unexpected = sum(1 for e in results if e["expected"] not in (None, e["verdict"]))
    told = ", ".join(f"{n} {v}" for v, n in sorted(counts.items()))
    click.echo(f"{len({e['model'] for e in results})} models, {len(results)} verdicts: {told}" + (f"; {unexpected} unexpected" if expect else ""))
