"""The name that was meant: what is nearest to one that nothing declares."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable

_CLOSE = 0.6


def hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean ...?`` where something known is close to ``name``; else what there is, or ``otherwise``."""
    names = sorted(set(known))
    near = nearest(name, names)
    if near:
        return f"did you mean '{near}'?"
    return otherwise or f"there are: {', '.join(names) or 'none'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The closest of ``known``, where one is close; letters that only differ in case count as the same."""
    folded = {k.casefold(): k for k in sorted(known, reverse=True)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_CLOSE)
    return folded[near[0]] if near else ""


def slipped(name: str, meant: str) -> bool:
    """Whether ``name`` is ``meant`` with one slip of the pen: a letter too many, too few, wrong or swapped."""
    if name == meant or abs(len(name) - len(meant)) > 1:
        return False
    head = next((i for i, (a, b) in enumerate(zip(name, meant, strict=False)) if a != b), min(len(name), len(meant)))
    one, other = name[head:], meant[head:]
    single = one[1:] == other[1:] or one[1:] == other or one == other[1:]
    swapped = len(one) == len(other) > 1 and one[0] == other[1] and one[1] == other[0] and one[2:] == other[2:]
    # Two names of two letters are easily so near to each other.
    return (single or swapped) and max(len(name), len(meant)) > 2


def meant(error: BaseException) -> str:
    """``did you mean ...?`` for an error that Python raised about a name; empty if nothing is near."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    scope = (
        {**frame.tb_frame.f_builtins, **frame.tb_frame.f_globals, **frame.tb_frame.f_locals}
        if frame is not None
        else {}
    )
    name, known = "", list[str]()
    match error:
        case NameError():
            name, known = str(error.name or ""), list(scope)
        case AttributeError():
            name, known = str(error.name or ""), dir(error.obj)
        case ImportError() if found := re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error)):
            name, known = found[1], dir(sys.modules.get(found[2], None))
        case KeyError() if error.args and isinstance(error.args[0], str):
            name = error.args[0]
        case TypeError() if found := re.match(
            r"(?:(\w+)\.)?(\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error)
        ):
            name, function = found[3], scope.get(found[1] or found[2])
            known = list(inspect.signature(function).parameters) if callable(function) else []
    near = nearest(name, [k for k in known if k != name]) if name else ""
    return f"did you mean '{near}'?" if near else ""


__all__ = ["hint", "meant", "nearest", "slipped"]
