"""How reports word what a result says: values, places, what a step does, how a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def yes_no(shown: Any) -> str:
    """A value for people: Python's truth values are no words of theirs."""
    return {"True": "yes", "False": "no"}.get(str(shown), str(shown))


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def place(s: Mapping[str, Any]) -> str:
    """``file:line`` of a step; empty where it has none."""
    return file_and_line(s["source"][0]) if s["source"] else ""


def file_and_line(at: Mapping[str, Any]) -> str:
    """``file:line`` of a place."""
    return f"{at['file']}:{at['line']}"


def what(s: Mapping[str, Any]) -> str:
    """What a step does, with the choices made in it."""
    chosen = ", ".join(f"{n} = {yes_no(x)}" for n, x in s.get("chose", s["choices"]).items() if not n.startswith("%") and n != "doing")
    return f"{s['text']}{' [' + chosen + ']' if chosen else ''}"


def for_ever(v: Mapping[str, Any]) -> str:
    """How a run that never ends goes on; empty for one that ends. ``loop`` is the number of steps before what repeats."""
    if v["loop"] is None:
        return ""
    return "And so for ever: no CPU's software can go on." if v["loop"] == v["depth"] else f"And so for ever: the run goes on with step {v['loop'] + 1} again."
