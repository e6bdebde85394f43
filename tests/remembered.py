"""Replaying a result searches its model again; where only what the file says is edited, once is enough for all edits."""

from __future__ import annotations

from typing import Any

import pytest

from tlbcheck.report import reverify

_KNOWN: dict[Any, Any] = {}


def remember_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test a model that was searched again in this process is not searched once more, if as many runs of it are told by the same engines."""
    search = reverify._searched

    def remembered(model: Any, properties: Any, results: Any, **more: Any) -> Any:
        told = [(r.name, {n: a.verdict for n, a in r.engines.items()}, len(r.violations)) for r in results]
        key = (model.name, model.profile, str(model.origin), more["expect"], str(told))
        if key not in _KNOWN:
            _KNOWN[key] = search(model, properties, results, **more)
        return _KNOWN[key]

    monkeypatch.setattr(reverify, "_searched", remembered)
