"""Checks from Python: what the command line and the pytest plugin are written on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlbcheck.lang.model import Model, Property
from tlbcheck.library import find_models, find_properties

if TYPE_CHECKING:
    from tlbcheck.engines.run import ModelResult


def verify(model: Model | str, properties: Sequence[Property | str] | None = None, **options: Any) -> ModelResult:
    """Check ``properties`` (default: those that it is about) of a model, given as an object or by name.

    ``options`` are those of ``tlbcheck.engines.run.check``. Raises ``InputError`` for an unknown
    or unusable model and ``InternalError`` if engines disagree.
    """
    from tlbcheck.engines.run import check

    chosen = find_models(model)[0] if isinstance(model, str) else model
    names = [p for p in properties or () if isinstance(p, str)]
    given = [p for p in properties or () if not isinstance(p, str)]
    found = find_properties(names, chosen) if names or properties is None else []
    return check(chosen, [*given, *found], **options)
