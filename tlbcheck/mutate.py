"""Changing models: other operations, and statements removed, inserted or moved.

Blame tries repairs this way, and the mutation tests of the machine and of Xen's switches are made
of it. Nothing here changes what it is given: a mutant is a new model that shares everything
untouched, so that statements found in the old model can be named in the new one too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tlbcheck.errors import InputError
from tlbcheck.lang.expr import const, not_
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Assign, AtomicBlock, Call, Clause, Do, ForCpus, If, Operation, Procedure, Statement, While, walk
from tlbcheck.lang.types import BOOL

_Rewrite = Callable[[Statement], list[Statement]]


@dataclass(frozen=True, eq=False)
class Edit:
    """What becomes of ``statement``: ``new`` comes ``before`` or ``after`` it, or ``replace``s it."""

    statement: Statement
    where: str
    new: tuple[Statement, ...]


# -- what a model runs


def procedures_in_role(model: Model, role: str) -> list[Procedure]:
    """The procedures of ``role`` and all that they call."""
    roots = [procedure for procedure in model.reachable() if procedure.role == role]
    found: dict[Procedure, None] = {}
    for root in roots:
        _collect(model, root, found)
    return list(found)


def _collect(model: Model, procedure: Procedure, found: dict[Procedure, None]) -> None:
    if procedure not in found:
        found[procedure] = None
        for s in walk(procedure.body):
            if isinstance(s, Call):
                _collect(model, model.resolve(s.procedure), found)


def operations(model: Model) -> list[Operation]:
    """The machine's operations that ``model`` uses, in order of first occurrence."""
    return list(dict.fromkeys(s.operation for procedure in model.reachable() for s in walk(procedure.body) if isinstance(s, Do)))


# -- mutants of a model


def replace_operation(model: Model, old: Operation, new: Operation) -> Model:
    """``model`` with ``new`` wherever one of its procedures performs ``old``."""

    def edit(s: Statement) -> list[Statement]:
        return [replace(s, operation=new)] if isinstance(s, Do) and s.operation is old else [s]

    changed = {}
    for procedure in model.reachable():
        body = _rebuilt(procedure.body, edit)
        if body is not procedure.body:
            changed[procedure] = procedure.with_body(body)
    return _with(model, changed)


def remove_statement(model: Model, procedure: Procedure, statement: Statement) -> Model:
    """``model`` without ``statement`` of ``procedure``; where its value is read later, that is 0.

    Raises ``InputError`` if the procedure does not have the statement.
    """
    return _edited(model, procedure, statement, _nothing)


def insert_statement(model: Model, procedure: Procedure, after: Statement | None, new: Statement) -> Model:
    """``model`` with ``new`` straight after ``after`` in ``procedure``, or first of all if that is None.

    Raises ``InputError`` if the procedure does not have the statement.
    """
    if after is None:
        current = model.resolve(procedure)
        return _with(model, {current: current.with_body([new, *current.body])})
    return _edited(model, procedure, after, lambda s: [s, new])


def move_statement(model: Model, procedure: Procedure, statement: Statement, after: Statement | None) -> Model:
    """``model`` with ``statement`` of ``procedure`` moved to straight after ``after`` (None: to the beginning).

    Only statements without a value can move, since what reads it would come too early.
    Raises ``InputError`` for others, and if the procedure does not have both statements.
    """
    if after is statement:
        raise InputError("a statement cannot be moved to after itself", place=statement.place)
    if after is not None and any(s is after for s in walk([statement])):
        raise InputError("a statement cannot be moved into itself", place=statement.place)
    if getattr(statement, "target", None) is not None:
        raise InputError("a statement whose value is used cannot be moved", place=statement.place, hint="move one that only acts")
    current = model.resolve(procedure)

    def edit(s: Statement) -> list[Statement]:
        return [] if s is statement else [s, statement] if s is after else [s]

    body = _rebuilt(current.body, edit)
    made = [statement, *body] if after is None else body
    present = list(walk(current.body))
    for s in (statement, after):
        if s is not None and not any(x is s for x in present):
            raise InputError(f"{current.name} has no such statement", place=s.place)
    return _with(model, {current: current.with_body(made)})


def edit_statements(model: Model, procedure: Procedure, edits: Sequence[Edit]) -> Model:
    """``model`` with all of ``edits`` made to ``procedure`` at once, those of one statement in their order.

    Raises ``InputError`` if the procedure does not have one of the statements.
    """
    current = model.resolve(procedure)
    present = {id(s) for s in walk(current.body)}
    for e in edits:
        if id(e.statement) not in present:
            raise InputError(f"{current.name} has no such statement", place=e.statement.place)

    def rewrite(s: Statement) -> list[Statement]:
        mine = [e for e in edits if e.statement is s]
        replaced = [x for e in mine if e.where == "replace" for x in e.new] if any(e.where == "replace" for e in mine) else [s]
        return [*(x for e in mine if e.where == "before" for x in e.new), *replaced, *(x for e in mine if e.where == "after" for x in e.new)]

    return _with(model, {current: current.with_body(_rebuilt(current.body, rewrite))})


def _nothing(s: Statement) -> list[Statement]:
    """What stays of a removed statement: the value that later ones read."""
    if isinstance(s, Do) and s.target is not None:
        assert s.operation.result is not None
        return [Assign(place=s.place, target=s.target, value=const(0, s.operation.result.type or BOOL))]
    if isinstance(s, Call) and s.target is not None:
        return [Assign(place=s.place, target=s.target, value=const(0, s.procedure.result or BOOL))]
    return []


def _edited(model: Model, procedure: Procedure, statement: Statement, edit: _Rewrite) -> Model:
    current = model.resolve(procedure)
    body = _rebuilt(current.body, lambda s: edit(s) if s is statement else [s])
    if body is current.body:
        raise InputError(f"{current.name} has no such statement", place=statement.place)
    return _with(model, {current: current.with_body(body)})


def _with(model: Model, changed: Mapping[Procedure, Procedure]) -> Model:
    return replace(model, procedures={**model.procedures, **changed}) if changed else model


def _rebuilt(statements: list[Statement], edit: _Rewrite) -> list[Statement]:
    """``statements`` after ``edit`` of each, at any depth; the same list if that changes nothing."""
    made: list[Statement] = []
    for s in statements:
        edited = edit(s)
        made += [_inside(s, edit)] if len(edited) == 1 and edited[0] is s else [_inside(x, edit) if x is s else x for x in edited]
    same = len(made) == len(statements) and all(a is b for a, b in zip(made, statements, strict=True))
    return statements if same else made


def _inside(s: Statement, edit: _Rewrite) -> Statement:
    """A compound statement with its parts edited; ``s`` itself if nothing in it changes."""
    match s:
        case If():
            then, orelse = _rebuilt(s.then, edit), _rebuilt(s.orelse, edit)
            return s if then is s.then and orelse is s.orelse else replace(s, then=then, orelse=orelse)
        case While() | AtomicBlock() | ForCpus():
            body = _rebuilt(s.body, edit)
            return s if body is s.body else replace(s, body=body)
    return s


# -- mutants of an operation


@dataclass(frozen=True, eq=False)
class OperationMutant:
    """An operation with one clause changed: ``text`` says how."""

    text: str
    operation: Operation


_BOTH = frozenset({"intel", "amd"})


def clause_mutants(operation: Operation) -> Iterator[OperationMutant]:
    """Every way to weaken or strengthen one clause of what ``operation`` drops or when it faults.

    A clause is left out; a condition of it is left out, or negated; and it is promised by one
    vendor more or less.
    """
    for text, new in _changes(operation.drops, by_vendor=True):
        yield OperationMutant(f"{operation.name}, drops {text}", replace(operation, drops=new))
    for text, new in _changes(operation.faults, by_vendor=False):
        yield OperationMutant(f"{operation.name}, faults {text}", replace(operation, faults=new))


def _changes(clauses: tuple[Clause, ...], *, by_vendor: bool) -> Iterator[tuple[str, tuple[Clause, ...]]]:
    for i, clause in enumerate(clauses):
        for text, changed in _clause_changes(clause, by_vendor=by_vendor):
            yield f"[{clause.rule}]: {text}", (*clauses[:i], *changed, *clauses[i + 1 :])


def _clause_changes(clause: Clause, *, by_vendor: bool) -> Iterator[tuple[str, tuple[Clause, ...]]]:
    yield "clause left out", ()
    for i, part in enumerate(clause.parts):
        rest = (*clause.parts[:i], *clause.parts[i + 1 :])
        yield f"without the condition {part}", (replace(clause, parts=rest),)
        yield f"with {not_(part)} instead of {part}", (replace(clause, parts=(*clause.parts[:i], not_(part), *clause.parts[i + 1 :])),)
    if by_vendor:
        for vendors in (_BOTH, *(frozenset({v}) for v in sorted(_BOTH))):
            if vendors != clause.vendors:
                yield f"promised by {' and '.join(sorted(vendors))}", (replace(clause, vendors=vendors),)
