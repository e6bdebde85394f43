"""What is in the library, as JSON: models with their variants, what each declares, and the properties with their sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlbcheck.lang.model import Model, Property
from tlbcheck.report.result import document


def catalogue(models: Iterable[Model], properties: Iterable[Property], errors: Sequence[str] = ()) -> dict[str, Any]:
    """The document of ``tlbcheck list --json``; ``errors`` says of files that cannot be used why."""
    known = list(properties)
    return document(
        "list", models=[_model(m) for m in models], properties={p.name: p.title for p in known}, about={p.name: _property(p) for p in known}, errors=list(errors)
    )


def _model(m: Model) -> dict[str, Any]:
    return {
        "model": m.name,
        "title": m.title,
        "source": m.source,
        "cpus": m.cpus,
        "expected": dict(m.expected),
        "variants": {n: v.doc for n, v in m.variants.items()},
        "variants_expected": {n: dict(v.expected) for n, v in m.variants.items()},
        "variants_source": {n: v.source for n, v in m.variants.items()},
    }


def _property(p: Property) -> dict[str, Any]:
    return {"title": p.title, "source": p.source, "clauses": dict(p.clauses), "needs": list(p.needs)}
