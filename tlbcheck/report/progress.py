"""A line on standard error that tells how far a search has come; on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click


def tracked(name: str) -> Callable[[int, int], None] | None:
    """Of the tracked search, while it takes over a second."""
    if not sys.stderr.isatty():
        return None
    began = time.monotonic()

    def show(states: int, depth: int) -> None:
        if time.monotonic() - began > 1:
            click.echo(f"\r\x1b[K{name}: {states:,} control states, depth {depth}", nl=False, err=True)

    return show


def packed(name: str) -> Callable[[Any], None] | None:
    """Of searches of the literal caches, after what they will take."""
    if not sys.stderr.isatty():
        return None
    beforehand: list[str] = []

    def show(p: Any) -> None:
        if p.beforehand:
            beforehand.append(p.beforehand)
        if p.seconds > 1:
            if beforehand:
                click.echo(f"\r\x1b[K{name}: {beforehand[-1]}", err=True)
                beforehand.clear()
            where = f", depth {p.depth}, {p.queue:,} waiting" if p.depth is not None else ""
            click.echo(f"\r\x1b[K{name}: {p.states:,} states, {p.rate:,.0f} a second{where}, {p.bytes >> 20:,} MiB", nl=False, err=True)

    return show


def clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
