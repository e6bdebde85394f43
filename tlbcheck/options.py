"""What may be asked of a check: engines by name, how deep, and within which limits; refused here where it is no use.

The command line, Python and the pytest plugin all ask through these, so that none takes what another refuses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tlbcheck.errors import InputError
from tlbcheck.lang.model import PROFILES

ENGINES = ("explicit", "bmc", "pdr")
"""The engines that are used unless others are named."""
OPTIONAL = ("abc",)
"""Engines that need a program which is not a part of tlbcheck."""
LITERAL = ("full", "sets")
"""Engines that search the literal caches."""
REFERENCE = "reference"
"""Interprets the procedures' own syntax (``tlbcheck.reference``)."""
ALL_ENGINES = (*ENGINES, *OPTIONAL, *LITERAL, REFERENCE)
_LEAST_MEMORY = 1 << 20
"""Bytes below which no process can even begin."""


@dataclass(frozen=True)
class Limits:
    """``seconds`` and ``memory`` (bytes) bound each child process; ``states`` the states of engines that enumerate.

    ``memory`` bounds these too. They use so many ``threads``; ``symmetry`` lets them keep one of
    several states that differ in names only (``engines.symmetry``). Once enumeration has decided
    everything, each other engine gets ``confirming`` seconds more. Raises ``InputError`` for what is no limit.
    """

    seconds: float = 600.0
    confirming: float = 12.0
    memory: int = 8 << 30
    states: int | None = None
    threads: int = 1
    symmetry: bool = True

    def __post_init__(self) -> None:
        for name, seconds in (("seconds", self.seconds), ("confirming", self.confirming)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise InputError(
                    f"a limit of {seconds} {'' if name == 'seconds' else 'confirming '}seconds",
                    hint="give a number above 0",
                )
        if self.memory < _LEAST_MEMORY:
            raise InputError(
                f"a limit of {self.memory:,} bytes of memory", hint=f"give at least {_LEAST_MEMORY >> 20} MiB"
            )
        if self.states is not None and self.states < 1:
            raise InputError(f"a limit of {self.states} states", hint="give at least 1")
        if self.threads < 1:
            raise InputError(f"a search by {self.threads} threads", hint="give at least 1")


def known_engines(engines: Sequence[str]) -> tuple[str, ...]:
    """``engines``, each once. Raises ``InputError`` for one that does not exist, and for none."""
    unknown = [e for e in engines if e not in ALL_ENGINES] if not isinstance(engines, str) else [engines]
    if unknown:
        raise InputError(
            f"unknown engine '{', '.join(unknown)}'",
            hint=f"engines are {', '.join(ALL_ENGINES[:-1])} and {ALL_ENGINES[-1]}",
        )
    if not engines:
        raise InputError("no engine is named", hint=f"engines are {', '.join(ALL_ENGINES[:-1])} and {ALL_ENGINES[-1]}")
    return tuple(dict.fromkeys(engines))


def known_depth(depth: int | None) -> int | None:
    """A bound of the bounded search, in steps; None: the model's own. Raises ``InputError`` for a negative one."""
    if depth is not None and depth < 0:
        raise InputError(f"a search to depth {depth}", hint="give 0 or more")
    return depth


def known_processor(processor: str | None) -> str | None:
    """Whose guarantees hold; None: those that the model names. Raises ``InputError`` for an unknown one."""
    if processor is not None and processor not in PROFILES:
        raise InputError(
            f"unknown processor '{processor}'", hint=f"processors are {', '.join(PROFILES[:-1])} and {PROFILES[-1]}"
        )
    return processor
