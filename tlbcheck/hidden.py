"""Whether lines that nobody sees could mend what is violated, so that it is no fault of the code that was sent.

A function that was rebuilt from hunks has gaps. What the code base does to the TLB or to control registers
may stand in them: the violation is held to be real only if it stays with such an operation in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import TypeVar

from tlbcheck.errors import InputError, Place
from tlbcheck.fit import unit_of
from tlbcheck.lang.harness import Harness, Reading
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Do, Procedure, walk
from tlbcheck.lang.source import Gap, Source
from tlbcheck.mutate import Edit, edit_statements, procedures_in_role

Violated = TypeVar("Violated")

_TREE = "give the tree (--tree DIR)"


def may_be_mended(
    model: Model,
    found: Set[Violated],
    again: Callable[[Model], Set[Violated]],
    source: Source | None,
    function: str,
    harness: Harness,
    reading: Reading,
) -> Iterator[tuple[str, Place]]:
    """What is assumed of the gaps of a function of which ``found`` is violated, each with its place; ``again`` says what a changed model violates.

    Raises ``InputError`` if lines in one of them may mend what is violated.
    """
    if source is None or not source.gaps or not found:
        return
    unit = unit_of(source, harness, reading)
    procedure = next(q for q in procedures_in_role(model, reading.role) if q.role == reading.role)
    gaps = unit.missing(unit.segments[function])
    acts = [s for s in walk(procedure.body) if isinstance(s, Do)]
    opened, closed = ([s.place for s in acts if s.operation.name == name] for name in harness.bracket)
    outside = [g for g in gaps if any(place.line <= g.place.line for place in closed) or (opened and all(g.place.line < place.line for place in opened))]
    if outside:
        places = " and ".join([*(f"before {p}" for p in opened[:1]), *(f"after {p}" for p in closed[:1])])
        yield f"nothing acts on the TLB {places}: assumed of the lines of {function} that are not in the mail", outside[0].place
    for gap in gaps:
        if gap in outside:
            continue
        for mended in _variants(model, procedure, gap, harness):
            if not found <= again(mended):
                raise InputError(f"{function} is wrong as far as the mail shows it, but lines of it that are not in the mail may mend that", place=gap.place, hint=_TREE)


def _variants(model: Model, procedure: Procedure, gap: Gap, harness: Harness) -> Iterator[Model]:
    """``model`` with each of the harness's mends in the gap."""
    body = model.resolve(procedure).body
    behind = next((s for s in body if s.place.line > gap.place.line or s.place == gap.place), None)
    for new in harness.mends(procedure, gap.place):
        yield edit_statements(model, procedure, [Edit(behind, "before", tuple(new)) if behind is not None else Edit(body[-1], "after", tuple(new))])
