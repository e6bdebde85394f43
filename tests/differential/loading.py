"""Model files that are texts in memory."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Sequence
from typing import Any

from tlbcheck.lang.model import Model, Property

_numbers = itertools.count()


def load(text: str) -> tuple[Model, Sequence[Property]]:
    """The model and the properties that a text defines. Raises what running it raises."""
    name = f"<random model {next(_numbers)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": name, "__file__": name}
    exec(compile(text, name, "exec"), names)
    return names["model"], names["PROPERTIES"]


def forget() -> None:
    """Forget the texts of all models that were loaded."""
    for name in [n for n in linecache.cache if n.startswith("<random model ")]:
        del linecache.cache[name]
