"""The HTML report: one file that needs no network, made from the JSON result alone.

``verify``, ``matrix`` and ``review`` have a page each. Templates escape everything; the script
gets its data as JSON in which no markup can end, and the page allows no other script and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tlbcheck.report.html.pages import page as page_of


def build(document: Mapping[str, Any]) -> str:
    """The page of a result as text."""
    import jinja2

    files = resources.files(__package__) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = page_of(document)
    script = (files / "report.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = environment.get_template(f"{document['command']}.html").render(
        page=page,
        style=(files / "report.css").read_text(encoding="utf-8"),
        script=script,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'",
    )
    return text if text.endswith("\n") else text + "\n"
