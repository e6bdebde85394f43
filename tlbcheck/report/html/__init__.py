"""The HTML report: one file that needs no network, made from the JSON result alone.

``verify``, ``matrix``, ``review`` and ``list`` have a page each. Templates escape everything; the script
gets its data as JSON in which no markup can end, and the page allows no other script and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tlbcheck.report.drawing import STYLE
from tlbcheck.report.escape import visible
from tlbcheck.report.html.pages import page as page_of


def build(document: Mapping[str, Any]) -> str:
    """The page of a result as text. Raises ``KeyError`` if it lacks a field."""
    import jinja2

    files = resources.files(__package__) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = page_of(_spelled(document))
    script = (files / "report.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    try:
        text = environment.get_template(f"{document['command']}.html").render(
            page=page,
            style=(files / "report.css").read_text(encoding="utf-8") + STYLE,
            script=script,
            policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'",
        )
    except jinja2.UndefinedError as error:
        raise KeyError(str(error)) from None  # a field that the result lacks, as anywhere else
    return text if text.endswith("\n") else text + "\n"


def _spelled(value: Any) -> Any:
    """A result without characters that HTML does not allow, or that would reorder what is read."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {_spelled(k): _spelled(v) for k, v in value.items()}
    return [_spelled(v) for v in value] if isinstance(value, list | tuple) else value
