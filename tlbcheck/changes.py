"""Changes to a procedure that a reviewer would try: what blame and the telling apart of faults are made of.

A change says what is wrong and what would mend it, but it is only a proposal: those who show it
have applied it and searched the changed model first.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, not_, substitute, variables
from tlbcheck.lang.model import Amendment, Model, Repair
from tlbcheck.mutate import Edit, edit_statements

Line = tuple[str, int]
"""A file and a line of it: the lines of one function may come from a tree and from a mail."""


def line_of(place: Place) -> Line:
    return (place.file, place.line)


@dataclass(frozen=True, eq=False)
class Change:
    """``place`` is the statement that is at fault; ``fault`` says what is wrong with it, after "this line".

    ``fix`` is what to do. ``kind``: ``amended`` (an operand), ``misplaced`` (too early), ``skipped`` (not on every path),
    ``missing`` (inserted), ``needless`` (left out), ``decided`` (by another condition), ``variant``: what the model itself
    declares otherwise elsewhere, by ``flags`` set differently or procedures ``restored`` that others stand for.
    """

    kind: str
    operation: str
    place: Place
    procedure: str
    fault: str
    fix: str
    edits: tuple[Edit, ...]
    flags: tuple[tuple[p.Flag, bool], ...] = ()
    restored: tuple[p.Procedure, ...] = ()

    @property
    def text(self) -> str:
        """The sentence about the fault."""
        return f"line {self.place.line} of {self.procedure} ({source(self.place)}) {self.fault}"


def apply(model: Model, procedure: p.Procedure, changes: Sequence[Change]) -> Model:
    """``model`` with all of ``changes`` made to ``procedure`` at once."""
    model = replace(
        model,
        flags={**model.flags, **dict(f for c in changes for f in c.flags)},
        procedures={q: other for q, other in model.procedures.items() if not any(q in c.restored for c in changes)},
    )
    edits = [e for c in changes for e in c.edits]
    return edit_statements(model, procedure, edits) if edits else model


class Proposals:
    """The changes to one procedure of a model, by kind, each kind in source order.

    Statements are taken as the source's own lines: a statement of the procedure's body, with all
    that stands on its line.
    """

    def __init__(self, model: Model, procedure: p.Procedure) -> None:
        self.model = model
        self.procedure = model.resolve(procedure)
        self.body = self.procedure.body

    def amended(self) -> Iterator[Change]:
        """An operand written otherwise, as the model's amendments have it."""
        for repair in self.model.repairs:
            if isinstance(repair, Amendment):
                for s in p.walk(self.body):
                    if isinstance(s, p.Do) and s.operation is repair.operation:
                        yield self._amend(s, repair)

    def misplaced(self) -> Iterator[Change]:
        """What is read before interrupts go off, read just after."""
        flags = {i.flag.name for i in self.model.interrupts if i.flag is not None}
        masked = next((s for s in self.body if isinstance(s, p.Do) and any(v.name in flags for v, _ in s.operation.effects)), None)
        if masked is None:
            return
        masks = [s for s in self.body if line_of(s.place) == line_of(masked.place)]
        for s in self.body[: self.body.index(masks[0])]:
            if _reads(s):
                yield self._move(s, masks[-1])

    def skipped(self) -> Iterator[Change]:
        """An operation that only one branch performs, performed under its own condition elsewhere too.

        The narrowest first: what drops fewer entries has more conditions.
        """
        found = []
        for top in self.body:
            for guarded in _guarded([top]):
                found.append((-sum(len(c.parts) for c in guarded.operation.operation.drops), top, guarded))
        for _, top, guarded in sorted(found, key=lambda x: x[0]):
            for i, after in enumerate(self.body):
                known = {q.name for q in self.procedure.parameters} | {t for x in self.body[: i + 1] if (t := getattr(x, "target", None))}
                if _acts(after) and after is not top and guarded.needs <= known:
                    yield self._copy(guarded, after)

    def missing(self, *, before: int | None = None) -> Iterator[Change]:
        """A repair of the model inserted after each statement that acts, or only before statement ``before``."""
        for repair in self.model.repairs:
            if isinstance(repair, Repair):
                if before is not None:
                    yield self._insert(repair, self.body[before], "before")
                else:
                    for s in self._after_each():
                        yield self._insert(repair, s, "after")

    def position(self, lines: set[Line]) -> int | None:
        """The last statement of the body that has one of ``lines``."""
        found = [i for i, s in enumerate(self.body) if {line_of(x.place) for x in p.walk([s])} & lines]
        return found[-1] if found else None

    def _after_each(self) -> list[p.Statement]:
        """Statements after which something may be missing: first those that load page tables, then the last ones."""
        acting = [s for s in self.body if _acts(s)]
        loads = [s for s in acting if any(isinstance(x, p.Do) and x.operation.drops and x.operation.effects for x in p.walk([s])) and not isinstance(s, p.If)]
        return [*reversed(loads), *(s for s in reversed(acting) if s not in loads)]

    # -- each kind as data

    def _amend(self, s: p.Do, repair: Amendment) -> Change:
        names = [n for n, _ in s.operation.operands]
        new = substitute(repair.value, {f"arg.{n}": a for n, a in zip(names, s.args, strict=True)})
        args = tuple(new if n == repair.operand else a for n, a in zip(names, s.args, strict=True))
        return Change("amended", s.operation.name, s.place, self.procedure.name, repair.fault, f"{repair.fix} at line {s.place.line}", (Edit(s, "replace", (replace(s, args=args),)),))

    def _move(self, s: p.Statement, after: p.Statement) -> Change:
        line = [x for x in self.body if line_of(x.place) == line_of(s.place)]
        operation = next((x.operation.name for x in line if isinstance(x, p.Do)), "")
        edits = (*(Edit(x, "replace", ()) for x in line), Edit(after, "after", tuple(line)))
        return Change("misplaced", operation, s.place, self.procedure.name, "comes too early", f"move line {s.place.line} to after line {after.place.line} ({source(after.place)})", edits)

    def _copy(self, guarded: _Guarded, after: p.Statement) -> Change:
        s, last = guarded.operation, _last(after)
        new: p.Statement = p.If(place=s.place, condition=guarded.condition, then=[replace(s)], orelse=[])
        fix = f"do it after line {last.line} ({source(last)}) too, under its own condition"
        copies = (*(replace(x) for x in guarded.prepared), new)
        return Change("skipped", s.operation.name, s.place, self.procedure.name, "is skipped on some paths that need it", fix, (Edit(after, "after", copies),))

    def _insert(self, repair: Repair, at: p.Statement, where: str) -> Change:
        place = _last(at) if where == "after" else at.place
        what = repair.what
        new: p.Statement = p.Do(place=place, operation=what, args=repair.args) if isinstance(what, p.Operation) else p.Call(place=place, procedure=what, args=repair.args)
        return Change("missing", what.name, place, self.procedure.name, f"needs {repair.text} {where} it", f"insert {repair.text} {where} line {place.line}", (Edit(at, where, (new,)),))


def _reads(s: p.Statement) -> bool:
    """Whether a statement reads what others may change, and changes nothing itself."""
    inside = list(p.walk([s]))
    acts = any(isinstance(x, p.Write | p.Call) or (isinstance(x, p.Do) and (x.operation.effects or x.operation.drops)) for x in inside)
    return not acts and any(isinstance(x, p.Do | p.Read) for x in inside)


def _last(s: p.Statement) -> Place:
    return max((x.place for x in p.walk([s])), key=lambda q: q.line)


@dataclass(frozen=True, eq=False)
class _Guarded:
    """An operation inside a branch, the branch's condition, and what computes the condition just before it."""

    prepared: tuple[p.Statement, ...]
    condition: Expr
    operation: p.Do

    @property
    def needs(self) -> set[str]:
        """The locals that the operation and its condition read."""
        made = {t for x in self.prepared if (t := getattr(x, "target", None))}
        read = {n for e in (self.condition, *self.operation.args, *(e for x in self.prepared for e in _operands(x))) for n in variables(e)}
        return {n for n in read if "." not in n} - made


def _operands(s: p.Statement) -> tuple[Expr, ...]:
    return (s.value,) if isinstance(s, p.Assign) else s.args if isinstance(s, p.Call | p.Do) else ()


def _guarded(statements: list[p.Statement]) -> Iterator[_Guarded]:
    prepared: list[p.Statement] = []
    for s in statements:
        if isinstance(s, p.If):
            for condition, branch in ((s.condition, s.then), (not_(s.condition), s.orelse)):
                yield from (_Guarded(tuple(prepared), condition, x) for x in branch if isinstance(x, p.Do) and x.operation.drops)
                yield from _guarded(branch)
            prepared = []
        elif isinstance(s, p.Assign) or (isinstance(s, p.Call) and s.target is not None and not any(isinstance(x, p.Do | p.Write) for x in p.walk(s.procedure.body))):
            prepared.append(s)
        else:
            prepared = []


def _acts(s: p.Statement) -> bool:
    return any((isinstance(x, p.Do) and x.operation.effects) or isinstance(x, p.Call) for x in p.walk([s]))


def source(place: Place) -> str:
    """The text of a line of source, as a short quotation."""
    return linecache.getline(place.file, place.line).lstrip("> +\t").strip() or "?"
