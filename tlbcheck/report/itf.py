"""The Informal Trace Format of Apalache's ADR-015: one file for each violation."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.answers import in_full
from tlbcheck.report.caches import Cell, points
from tlbcheck.report.events import told, watched
from tlbcheck.report.lanes import kind_of

_TYPES = {"bool": "Bool", "enum": "Str", "int": "Int"}


def build(model: str, property_name: str, v: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """One violation as a trace; ``facts`` are those of its model."""
    names = _names(v["initial"]["variables"])
    types = {n: facts.get("variables", {}).get(n, {}).get("type", "int") for n in names}
    values = {n: _value(types[n], raw, v["initial"]["shown"][n]) for n, raw in v["initial"]["variables"].items()}
    states = []
    held, entries, about = points(v.get("caches"), len(v["steps"])), (v.get("caches") or {}).get("entries", []), watched(v)
    for i in range(len(v["steps"]) + 1):
        step = v["steps"][i - 1] if i else {}
        for n, (raw, shown) in step.get("after", {}).items():
            values[n] = _value(types[n], raw, shown)
        done = {k: step[k] for k in ("action", "actor", "cpu", "level", "text", "source") if k in step}
        cells = [_cell(c, entries[c.entry]["shown"], c.entry in about) for c in held[i]]
        states.append({"#meta": {"index": i, **done, "events": told(v)[i]}, **{names[n]: x for n, x in values.items()}, "tlb": {"#set": cells}})
    params = [names[n] for n in names if kind_of(n, facts.get("variables", {})) == "case"]
    trace = {
        "#meta": {
            "format": "ITF",
            "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
            "description": f"{model}: {property_name} ({v['clause']}) is violated: {v['summary']}",
            "source": model,
            "answers": in_full(v),
            "varTypes": {**{names[n]: _TYPES[types[n]] for n in names}, "tlb": _cell_type(entries)},
        },
        "params": params,
        "vars": [*(x for x in names.values() if x not in params), "tlb"],
        "states": states,
        **({} if v["loop"] is None else {"loop": v["loop"]}),
    }
    return json.dumps(trace, indent=1) + "\n"


def _names(variables: Mapping[str, Any]) -> dict[str, str]:
    """Each variable's name as an identifier, none twice and none called ``tlb``."""
    made: dict[str, str] = {}
    taken = {"tlb"}
    for n in variables:
        name = base = re.sub(r"\W", "_", n)
        for i in range(2, len(variables) + 3):
            if name not in taken:
                break
            name = f"{base}_{i}"
        taken.add(name)
        made[n] = name
    return made


def _value(type_: str, raw: int, shown: Any) -> Any:
    return bool(raw) if type_ == "bool" else str(shown) if type_ == "enum" else _int(raw)


def _int(n: int) -> dict[str, str]:
    return {"#bigint": str(n)}


def _cell(cell: Cell, shown: Mapping[str, Any], watched: bool) -> dict[str, Any]:
    fields = {_field(n): x if isinstance(x, bool | str) else _int(x) for n, x in shown.items()}
    return {"cpu": _int(cell.cpu), **fields, "stale": cell.stale_since is not None, "watched": watched}


def _field(name: str) -> str:
    """A record's field; readers in Python make names of them, so that none may be a word of the language; nor one of ours."""
    return f"{name}_" if keyword.iskeyword(name) or name in ("cpu", "stale", "watched") else name


def _cell_type(entries: Sequence[Mapping[str, Any]]) -> str:
    shown: dict[str, Any] = entries[0]["shown"] if entries else {}
    fields = {"cpu": "Int", **{_field(n): "Bool" if isinstance(x, bool) else "Str" if isinstance(x, str) else "Int" for n, x in shown.items()}, "stale": "Bool", "watched": "Bool"}
    return f"Set({{ {', '.join(f'{n}: {t}' for n, t in fields.items())} }})"
