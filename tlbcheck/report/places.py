"""Where a place of a review is in the mail, and where in the file that the patch makes.

A place is known as it was read: by the mail's lines what a patch adds or a mail alone shows, by the
lines of the tree before the patch what it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def line_in_mail(document: Mapping[str, Any], place: Mapping[str, Any]) -> int | None:
    """The line of the mail that shows a place; None if none does."""
    if place["file"] == document["patch"]["shown"]:
        return int(place["line"])
    found = (x["n"] for x in document["lines"] if x.get("old") == place["line"] and _same(x["file"], _path(document, place)))
    return next(found, None)


def after_patch(document: Mapping[str, Any], place: Mapping[str, Any]) -> Mapping[str, Any]:
    """The place in the file with the patch applied, for a review of a tree; otherwise as it is."""
    if document["command"] != "review" or not _origin(document).get("tree"):
        return place
    if place["file"] == document["patch"]["shown"]:
        shown = next((x for x in document["lines"] if x["n"] == place["line"] and x.get("new")), None)
        return place if shown is None else {**place, "file": shown["file"], "line": shown["new"], "column": 0}
    path = _path(document, place)
    kept = [x for x in document["lines"] if x.get("old") and x.get("new") and _same(x["file"], path)]
    above = max((x for x in kept if x["old"] <= place["line"]), key=lambda x: x["old"], default=None)
    return {**place, "file": kept[0]["file"] if kept else path, "line": place["line"] + (above["new"] - above["old"] if above else 0)}


def _origin(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((e["origin"] for side in document["verdicts"].values() for e in side or () if e.get("origin")), {})


def _path(document: Mapping[str, Any], place: Mapping[str, Any]) -> str:
    """A place's file without the commit that it was read from."""
    return str(place["file"]).removeprefix(f"{_origin(document).get('revision')}:")


def _same(name: str, path: str) -> bool:
    """The patch names a file from the tree's root; a place perhaps from elsewhere."""
    return name == path or path.endswith(f"/{name}") or name.endswith(f"/{path}")
