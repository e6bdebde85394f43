"""What a verdict amounts to: one exit status for each entry of a JSON result, the same for every report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

OK, VIOLATED, USAGE, UNDECIDED, INTERNAL = 0, 1, 2, 3, 4

WORDS = {"violated": "VIOLATED", "proved": "proved", "bounded": "bounded", "unknown": "UNKNOWN", "not-applicable": "not applicable"}
"""How people read a verdict."""


def verdict(entry: Mapping[str, Any]) -> str:
    """An entry's verdict in words."""
    return WORDS[entry["verdict"]] + (" (vacuous)" if entry["vacuous"] else "")


def status(entry: Mapping[str, Any], expect: bool) -> int:
    """``OK``, ``VIOLATED`` or ``UNDECIDED``; with ``expect``, whether it is what the model declares."""
    found = entry["verdict"]
    empty = found == "not-applicable" or entry["vacuous"]
    undecided = found in ("unknown", "bounded") or (empty and not entry["vacuous_declared"])
    if expect:
        expected = entry["expected"]
        if expected is None:
            return UNDECIDED if undecided else OK
        return OK if found == expected and not (undecided and expected == "proved") else UNDECIDED if undecided else VIOLATED
    return VIOLATED if found == "violated" else UNDECIDED if undecided else OK


def told(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The violations of an entry that reports tell: on call paths that the code has, where there are any."""
    real = [v for v in entry["violations"] if v["case"].get("caller") != "open"]
    return real or list(entry["violations"])


def reproduce(entries: Sequence[Mapping[str, Any]]) -> str:
    """The command that makes the results of one model again."""
    origin = entries[0].get("origin") or {}
    profile = entries[0]["scope"].get("profile", "common")
    if origin.get("kind") == "review":
        tree = ["--tree", origin["tree"], "--rev", origin["revision"]] if origin["tree"] else []
        return shlex.join(["tlbcheck", "review", origin["file"], *tree])
    properties = [x for e in entries for x in ("-p", e["property"])]
    processor = ["--processor", profile] if profile != "common" else []
    return shlex.join(["tlbcheck", "verify", origin.get("file") or entries[0]["model"], *properties, *processor])


def facts_of(document: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a result says of an entry's model; a review has one model, the code with the patch."""
    models = document.get("models", {})
    found: Mapping[str, Any] = models.get(entry["model"]) or models.get("after") or {}
    return found
