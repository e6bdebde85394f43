"""Where in somebody's file something is written: the call that made an object, or a name in a string.

Both are looked up only when there is something to say, or for objects of which a model has few.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType

from tlbcheck.errors import Place

_OWN = str(Path(__file__).resolve().parent)


def here() -> Place | None:
    """The place outside the language that is being executed: where a model or property calls it."""
    frame = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith(_OWN)
        or frame.f_code.co_filename == "<string>"
        or frame.f_globals.get("__name__") == "dataclasses"
    ):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return in_code(frame.f_code, frame.f_lasti, frame.f_lineno)


def in_code(code: CodeType, instruction: int, line: int | None) -> Place:
    """The place of an instruction, by its offset as frames and tracebacks have it (``f_lasti``, ``tb_lasti``)."""
    position = next(itertools.islice(code.co_positions(), max(instruction, 0) // 2, None), None)
    column = position[2] if position is not None else None
    return Place(code.co_filename, line or 0, 0 if column is None else column + 1)


def place_of(name: str, files: Iterable[str]) -> Place | None:
    """Where a string constant that is ``name`` stands first in one of these Python files; None if in none."""
    for file in dict.fromkeys(files):
        place = _constants(file).get(name)
        if place is not None:
            return place
    return None


@functools.lru_cache(maxsize=64)
def _constants(file: str) -> dict[str, Place]:
    """The first place of each string constant of a Python file; nothing of what is not Python."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8")) if file.endswith(".py") else None
    except (OSError, SyntaxError, ValueError):
        tree = None
    found: dict[str, Place] = {}
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = Place(file, node.lineno, node.col_offset + 1)
            found[node.value] = min(place, found.get(node.value, place))
    return found
