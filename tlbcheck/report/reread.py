"""Reading a JSON result back: what ``tlbcheck replay`` runs again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.library import named
from tlbcheck.report.outputs import write
from tlbcheck.report.result import SCHEMA
from tlbcheck.report.retrace import difference
from tlbcheck.report.subject import Replayed

LARGEST = 256 << 20
"""Bytes of a result that are read at most."""
_COMMANDS = {"verify": "results", "review": "verdicts", "matrix": "rows", "list": "about"}
"""Whose results can be read, and a field that each has."""


def load(path: Path) -> dict[str, Any]:
    """A JSON result. Raises ``InputError`` if it is not one."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"is larger than {LARGEST >> 20} MiB", place=Place(str(path)), hint="give a file that 'tlbcheck verify --json' wrote")
        document = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(str(path))) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file", place=Place(str(path)), hint="give a file that 'tlbcheck verify --json' wrote") from None
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON: {error.msg}", place=Place(str(path), error.lineno, error.colno), hint="make it again with 'tlbcheck verify --json'") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or as many brackets
        raise InputError(f"broken JSON: {error}", place=Place(str(path)), hint="make it again with 'tlbcheck verify --json'") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or _COMMANDS.get(str(document.get("command"))) not in document:
        raise InputError(f"is not a result of tlbcheck {', '.join(_COMMANDS)} (schema {SCHEMA})", place=Place(str(path)), hint="make one with 'tlbcheck verify --json'")
    return document


def of_code(document: Mapping[str, Any]) -> bool:
    """Whether the result is of C or a mail, which are read again without anything being run."""
    results = document.get("results")
    entries = results if isinstance(results, list) else []
    return document["command"] == "review" or any(isinstance(e, dict) and e.get("origin") for e in (document, *entries))


def reports(document: Mapping[str, Any], path: Path, outputs: Sequence[Path]) -> list[str]:
    """Write reports of a result that was read from ``path``; see ``outputs.write``. Raises ``InputError`` too if it is broken."""
    try:
        return write(document, outputs)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"a field is missing or of the wrong kind ({type(error).__name__}: {error})", place=Place(str(path)), hint="the file was edited; make it again")


def replay_document(document: Mapping[str, Any], path: Path) -> Replayed:
    """Replay every violation of a result, and find again whatever else it says.

    Raises ``InputError`` if the file is broken, says something else than that, or what it is of has changed since.
    """
    place = Place(str(path))
    try:
        match document["command"]:
            case "verify":
                from tlbcheck.report.reverify import verify_again

                return verify_again(document, place)
            case "review":
                from tlbcheck.report.rereview import review_again

                return review_again(document, place)
            case command:
                hold_table(document, _TABLES[command](document), place)
                return Replayed()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _broken(path, error) from None


def hold_table(document: Mapping[str, Any], again: Mapping[str, Any], place: Place) -> None:
    """Hold the document of ``matrix`` or ``list`` against one made ``again``. Raises ``InputError``."""
    made, written = ({n: x for n, x in d.items() if n != "tool"} for d in (json.loads(json.dumps(again)), document))
    if differing := difference(made, written):
        raise InputError(f"made again, {differing}", place=place, hint="the file was edited, or what it is of has changed: make it again")


def _matrix(document: Mapping[str, Any]) -> Mapping[str, Any]:
    from tlbcheck.matrix import matrix_json

    origin, name = document.get("origin"), document["model"]
    if not origin:
        return matrix_json(named(name))
    from tlbcheck.review import model_again

    return matrix_json(model_again(origin))


def _list(_: Mapping[str, Any]) -> Mapping[str, Any]:
    from tlbcheck.library import models, properties
    from tlbcheck.report.catalogue import catalogue

    broken: list[InputError] = []
    known = models(broken=broken).values(), properties(broken=broken).values()
    return catalogue(*known, [str(error) for error in broken])


_TABLES = {"matrix": _matrix, "list": _list}
"""How the results without runs are made again."""
