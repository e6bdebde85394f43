"""What reports say of a result besides its verdict: the command that makes it again, and the facts of its model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.result import PropertyResult


def reproduce(results: Sequence[PropertyResult]) -> str:
    """The command that makes the results of one model again."""
    first = results[0]
    if first.origin.get("kind") == "review":
        tree = ["--tree", first.origin["tree"], "--rev", first.origin["revision"]] if first.origin["tree"] else []
        return shlex.join(["tlbcheck", "review", first.origin["file"], *tree])
    properties = [x for r in results for x in ("-p", r.name)]
    processor = ["--processor", first.scope.profile] if first.scope.profile != "common" else []
    return shlex.join(["tlbcheck", "verify", first.origin.get("file") or first.model, *properties, *processor])


def each(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A review as reviews of one patch and file each, all that was judged; any other result as it is."""
    return [document, *({**document, **other, "others": [], "passed": []} for other in document.get("others", ()))]


def facts_of(document: Mapping[str, Any], result: PropertyResult) -> Mapping[str, Any]:
    """What a document says of a result's model; a review of one patch has one model, the code with the patch."""
    models = document.get("models", {})
    facts: Mapping[str, Any] = models.get(result.model) or models.get("after") or {}
    return facts
