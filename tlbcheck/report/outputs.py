"""Files that a command writes besides what it prints: ``-o FILE``, by ending, several at once.

Each is made from the JSON result alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlbcheck.errors import InputError
from tlbcheck.files import write_text
from tlbcheck.report.judge import each, facts_of
from tlbcheck.report.schema import property_of

ENDINGS = (".html", ".itf.json", ".json", ".sarif", ".xml", ".md")
"""Longest match first: an ``.itf.json`` is no ``.json``."""
_TRACES_ONLY = ".itf.json"
_PAGES = ".html"
_REFUSED = {
    "matrix": {".itf.json": "a matrix has no trace", ".sarif": "a matrix has no places"},
    "list": {".itf.json": "the library has no trace", ".sarif": "the library has no findings", ".xml": "the library has no verdicts of its own"},
}
"""What each command cannot write, and why."""


def ending(path: Path) -> str:
    """The ending that chooses the format. Raises ``InputError`` if no format has it."""
    for known in ENDINGS:
        if path.name.endswith(known):
            return known
    raise InputError(f"no report format ends like '{path.name}'", hint=f"use one of {', '.join(ENDINGS)}")


def check(paths: Sequence[Path], command: str) -> None:
    """Refuse, before anything is computed, what cannot be written. Raises ``InputError``."""
    for path in paths:
        if why := _REFUSED.get(command, {}).get(ending(path)):
            raise InputError(f"{why} for '{path.name}'", hint="use 'tlbcheck verify' for that")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.parent}")


def write(document: Mapping[str, Any], paths: Sequence[Path]) -> list[str]:
    """Write each file; gives a sentence about each. Raises ``InputError``, after the others, if one cannot be written."""
    said: list[str] = []
    failed: InputError | None = None
    for path in paths:
        try:
            if ending(path) == _TRACES_ONLY:
                said += _traces(document, path)
            elif ending(path) == _PAGES:
                said += _pages(document, path)
            else:
                write_text(path, _builder(ending(path))(document))
                said.append(f"wrote {path}")
        except InputError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return said


def _builder(ending: str) -> Callable[[Mapping[str, Any]], str]:
    match ending:
        case ".html":
            from tlbcheck.report.html import build
        case ".sarif":
            from tlbcheck.report.sarif import build
        case ".xml":
            from tlbcheck.report.junit import build
        case ".md":
            from tlbcheck.report.markdown import build
        case _:
            build = to_json
    return build


def to_json(document: Mapping[str, Any]) -> str:
    """What ``--json`` prints, and a ``.json`` file holds."""
    return json.dumps(document) + "\n"


def _traces(document: Mapping[str, Any], path: Path) -> list[str]:
    """A trace a file: the first is FILE, the others FILE with a number."""
    from tlbcheck.report import itf

    results = [(one, property_of(e)) for one in each(document) for e in [*(one.get("results") or []), *((one.get("verdicts") or {}).get("after") or [])]]
    runs = [(one, r, v) for one, r in results for v in r.told]
    if not runs:
        return [f"{path}: not written, since nothing is violated"]
    said = []
    for i, (one, r, v) in enumerate(runs, 1):
        file = path if i == 1 else path.with_name(f"{path.name.removesuffix(_TRACES_ONLY)}-{i}{_TRACES_ONLY}")
        write_text(file, itf.build(r.model, r.name, v.told, facts_of(one, r)))
        said.append(f"wrote {file} ({r.model}: {r.name})")
    return said


def _pages(document: Mapping[str, Any], path: Path) -> list[str]:
    """A page for each patch and file of a review: the first is FILE, the others FILE with a number."""
    said = []
    for i, one in enumerate(each(document), 1):
        file = path if i == 1 else path.with_name(f"{path.name.removesuffix(_PAGES)}-{i}{_PAGES}")
        write_text(file, _builder(_PAGES)(one))
        said.append(f"wrote {file}")
    return said
