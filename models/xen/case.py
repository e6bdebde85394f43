"""Which switch a violation belongs to: who called it, from where to where (properties.md 1)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from tlbcheck import Property, enter, leave, var
from tlbcheck.lang.expr import const, eq, ite, not_
from tlbcheck.lang.types import U64
from tlbcheck.machine import x86

from .contexts import ContextClass, context_class
from .options import contexts_under, every_option


class Caller(enum.Enum):
    none = enum.auto()
    context_switch = enum.auto()
    state_sync = enum.auto()
    new_guest_cr3 = enum.auto()
    open = enum.auto()


class OtherCr4(enum.Enum):
    """Whether a CR4 bit without flush effect (TSD) differs between old and new."""

    none = enum.auto()
    same = enum.auto()
    differ = enum.auto()


_FLUSHING = x86.X86_CR4_PGE | x86.X86_CR4_PCIDE | x86.X86_CR4_PAE | x86.X86_CR4_PSE | x86.X86_CR4_SMEP


def _monitor() -> Property:
    case = Property("case", "the case of a violation", source="properties.md 1, case key")
    fields = {
        "caller": case.ghost("caller", Caller),
        "old": case.ghost("old", ContextClass),
        "left": case.ghost("left", ContextClass),
        "new": case.ghost("new", ContextClass),
        "other_cr4": case.ghost("other_cr4", OtherCr4),
        "interrupted": case.ghost("interrupted", bool),
    }
    frame = {name: case.ghost(f"this_{name}", g.type, frame=True) for name, g in fields.items()}
    root_at_call = case.ghost("root_at_call", U64, frame=True)
    forget = dict.fromkeys(fields.values(), 0)
    for caller in list(Caller)[1:]:
        case.on(enter(f"caller.{caller.name}"), {**forget, frame["caller"]: caller})
    cr3, cr4 = var("arg.cr3", U64), var("arg.cr4", U64)
    now = context_class(x86.CR3.expr, x86.CR4.expr)
    differ = not_(eq((x86.CR4.expr ^ cr4) & ~_FLUSHING, 0))
    case.on(
        enter("switch", "cr3", "cr4"),
        {
            frame["old"]: now,
            frame["left"]: now,
            frame["new"]: context_class(cr3, cr4),
            frame["other_cr4"]: ite(differ, OtherCr4.differ, OtherCr4.same),
            frame["interrupted"]: False,
            root_at_call: x86.ROOT_ADDRESS,
        },
    )
    left = {frame["left"]: now, frame["interrupted"]: not_(eq(root_at_call.expr, x86.ROOT_ADDRESS)), root_at_call: const(0, U64)}
    depth = x86.sections(case, "switch", left, frame=True).depth
    known = {fields[name]: g.expr for name, g in frame.items()}
    case.on(leave("switch"), {**known, **dict.fromkeys([*frame.values(), depth], 0)})
    return case


CASE = _monitor()


def options_for(case: Mapping[str, str]) -> dict[str, Any]:
    """The boot options under which the contexts of ``case`` can meet on one CPU."""
    wanted = {case[k].rstrip("_") for k in ("old", "left", "new") if case[k] != "none"}
    found = [o.describe() for o in every_option() if wanted <= contexts_under(o)]
    return {name: sorted({o[name] for o in found}) for name in (found[0] if found else {})} | {"count": len(found)}
