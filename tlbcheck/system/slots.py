"""Names of the entries that a rule speaks of, and systems that track several entries at once.

A rule names the entry that it looks at by ``entry.FIELD`` and the variables that go with it by
``...[entry]``; the second one is ``entry2``, and so on. A system that tracks k entries has fields
and variables for k such slots: what it tracks is a tuple of entries, one value of all their fields.
Engines then work as with one entry, whose fields are those of the tuple.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlbcheck.lang.expr import Expr, or_, substitute, var, variables

if TYPE_CHECKING:
    from tlbcheck.system.transition_system import Fill, TransitionSystem


def slot_name(name: str, slot: int) -> str:
    """What ``name``, a field or variable of the first entry, is called for the entry in ``slot`` (from 1)."""
    mine = "entry" if slot == 1 else f"entry{slot}"
    if name.startswith("entry."):
        return f"{mine}.{name.removeprefix('entry.')}"
    return name.removesuffix("[entry]") + f"[{mine}]" if name.endswith("[entry]") else name


def of_entry(name: str, slot: int | None = None) -> bool:
    """A field or variable of the entry in ``slot``; of any entry without."""
    head = name.partition(".")[0] if name.startswith("entry") else name[name.rfind("[") + 1 : -1] if name.endswith("]") else ""
    if not head.startswith("entry") or not (head[5:].isdigit() or head == "entry"):
        return False
    return slot is None or head == ("entry" if slot == 1 else f"entry{slot}")


def in_slot(e: Expr, slot: int, other: int | None = None) -> Expr:
    """A rule about the first entry (and entry2) as one about the entry in ``slot`` (and that in ``other``)."""
    names = {}
    for name, v in variables(e).items():
        if of_entry(name, 1):
            names[name] = var(slot_name(name, slot), v.type)
        elif of_entry(name, 2) and other is not None:
            names[name] = var(slot_name(first_name(name), other), v.type)
    return substitute(e, names) if names else e


def first_name(name: str) -> str:
    """The name of the second entry's field or variable for the first."""
    return name.replace("entry2.", "entry.", 1) if name.startswith("entry2.") else name.removesuffix("[entry2]") + "[entry]"


def mentions(e: Expr, slot: int) -> bool:
    """``e`` speaks of the entry in ``slot``."""
    return any(of_entry(name, slot) for name in variables(e))


def both_entries(values: Mapping[str, Expr]) -> Mapping[str, Expr]:
    """Values of the first entry's variables, and the same ones for the second."""
    return {**values, **{slot_name(name, 2): in_slot(e, 2) for name, e in values.items() if of_entry(name, 1)}}


def track(system: TransitionSystem, entries: int) -> TransitionSystem:
    """The same system, tracking a tuple of ``entries`` arbitrary ones.

    A fill that needs entry2 takes any other slot for it. Fills come from the last slot to the first,
    as often as there are slots, so that each may enable the others.
    """
    from dataclasses import replace

    from tlbcheck.system.transition_system import Fill, Variable

    slots = range(1, entries + 1)

    def fill(f: Fill, slot: int) -> Fill:
        when = or_(*(in_slot(f.when, slot, other) for other in slots if other != slot))
        return Fill(f.cpu, when, {slot_name(n, slot): in_slot(e, slot) for n, e in f.updates.items()}, frozenset(variables(when)))

    def copies(variables_: tuple[Variable, ...]) -> tuple[Variable, ...]:
        return tuple(replace(v, name=slot_name(v.name, slot)) for slot in slots for v in variables_)

    def spread(values: Mapping[str, Expr]) -> dict[str, Expr]:
        return {slot_name(n, slot): in_slot(e, slot) for slot in slots for n, e in values.items()}

    return replace(
        system,
        slots=entries,
        entry_fields=copies(system.entry_fields),
        entry_variables=copies(system.entry_variables),
        entry_initial=spread(system.entry_initial),
        entry_marked=spread(system.entry_marked),
        steps=tuple(replace(s, entry_updates=spread(s.entry_updates)) for s in system.steps),
        fills=tuple(fill(f, slot) for f in system.fills for _ in slots for slot in reversed(slots)),
    )
