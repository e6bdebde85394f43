"""Which cases of a test ``make test`` runs; ``make test-all`` runs them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], *, keep: int) -> list[Any]:
    """The first ``keep`` cases as they are, the others marked ``long``; a tuple is the values of several arguments."""
    values = list(cases)
    return values[:keep] + [pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=pytest.mark.long) for x in values[keep:]]
