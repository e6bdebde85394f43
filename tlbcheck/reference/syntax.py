"""What the author of a procedure wrote: Python's own syntax tree, what names in it denote, and the types of
expressions.
"""

from __future__ import annotations

import ast
import builtins
import enum
import functools
import inspect
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr
from tlbcheck.lang.types import BOOL, CPU, IntType, Type, WordType, enum_type, ordinal, type_of
from tlbcheck.reference.rules import arithmetic

OPERATORS = {
    ast.BitAnd: "band",
    ast.BitOr: "bor",
    ast.BitXor: "bxor",
    ast.Add: "add",
    ast.Sub: "sub",
    ast.LShift: "shl",
    ast.RShift: "shr",
}


@dataclass(frozen=True, eq=False)
class GeneralCall:
    """The only statement of a most general caller: any arguments of these domains with which what ``callee`` requires
    holds.
    """

    callee: p.Procedure
    domains: tuple[tuple[int, ...], ...]


class Function:
    """A procedure as it is written: ``requires`` are the conditions at its head, ``body`` the statements after them."""

    def __init__(self, procedure: p.Procedure) -> None:
        self.procedure, self.name, self.role, self.result = procedure, procedure.name, procedure.role, procedure.result
        self.parameters = [q.name for q in procedure.parameters]
        self.locals: dict[str, Type | None] = {q.name: q.type for q in procedure.parameters}
        self.requires: list[ast.Call] = []
        self.body: tuple[ast.stmt | GeneralCall, ...] = ()
        self._types: dict[ast.expr, Type | None] = {}
        if procedure.function is None:
            self.body = (_general_call(procedure),)
            return
        self.scope = {
            **vars(builtins),
            **procedure.function.__globals__,
            **inspect.getclosurevars(procedure.function).nonlocals,
        }
        statements = list(_definition(procedure).body)
        if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
            statements.pop(0)
        while (
            statements
            and isinstance(s := statements[0], ast.Expr)
            and isinstance(s.value, ast.Call)
            and self.denoted(s.value.func) is p.requires
        ):
            self.requires.append(s.value)
            statements.pop(0)
        self.body = tuple(statements)
        for s in statements:
            self._declare(s)

    def place(self, node: ast.AST | GeneralCall) -> Place:
        return Place(self.procedure.place.file, getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1)

    def objects(self) -> Iterator[Any]:
        """Everything that is named, in preconditions too."""
        for part in (*self.requires, *self.body):
            if isinstance(part, GeneralCall):
                yield part.callee
                continue
            for node in ast.walk(part):
                if isinstance(node, ast.Name | ast.Attribute):
                    yield self.denoted(node)

    # -- names

    def denoted(self, node: ast.expr) -> Any:
        """The Python object that a name, or a name with dots, denotes; None if it denotes none."""
        if isinstance(node, ast.Name):
            return None if node.id in self.locals else self.scope.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self.denoted(node.value), node.attr, None)
        return None

    def calls(self, node: ast.AST) -> Iterator[tuple[ast.Call, Any]]:
        """The calls in a part of the syntax, each with what is called: a state variable for ``get`` and ``set``."""
        for n in ast.walk(node):
            if isinstance(n, ast.Call):
                found = (
                    self.variable(n.func.value)
                    if isinstance(n.func, ast.Attribute) and n.func.attr in ("get", "set")
                    else None
                )
                yield n, found[0] if found else self.denoted(n.func)

    def variable(self, node: ast.expr) -> tuple[p.StateVar, ast.expr | None] | None:
        """The state variable, with the index, that ``get`` or ``set`` is written after."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "at":
            found = self.denoted(node.func.value)
            return (found, node.args[0]) if isinstance(found, p.StateVar) else None
        found = self.denoted(node)
        return (found, None) if isinstance(found, p.StateVar) else None

    # -- types

    def _declare(self, statement: ast.stmt) -> None:
        """A local has the type that it is declared with, else that of what it is given first, in the order of the
        text.
        """
        for node in _in_order(statement):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in self.locals:
                    self.locals[name] = self.type(value)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self.locals.setdefault(name, self._annotated(annotation))
                case ast.For(target=ast.Name(id=name)):
                    self.locals.setdefault(name, CPU)

    def _annotated(self, annotation: ast.expr) -> Type:
        return type_of(eval(compile(ast.Expression(annotation), self.procedure.place.file, "eval"), self.scope))

    def type(self, node: ast.expr) -> Type | None:
        """The type of an expression; None for a bare number, which takes that of what it meets."""
        if node not in self._types:
            self._types[node] = self._type(node)
        return self._types[node]

    def _type(self, node: ast.expr) -> Type | None:
        match node:
            case ast.Name(id=name) if name in self.locals:
                return self.locals[name]
            case ast.Constant() | ast.Name() | ast.Attribute():
                return constant(node.value if isinstance(node, ast.Constant) else self.denoted(node))[1]
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.Compare():
                return BOOL
            case ast.UnaryOp(op=op, operand=operand):
                type_ = self.type(operand)
                return (
                    IntType(-type_.high, -type_.low)
                    if isinstance(op, ast.USub) and isinstance(type_, IntType)
                    else type_
                )
            case ast.BinOp(left=left, op=ast.LShift() | ast.RShift()):
                return self.type(left)
            case ast.BinOp(left=left, op=op, right=right):
                type_ = joined(self.type(left), self.type(right))
                if not isinstance(type_, IntType):
                    return type_
                (a, b), (c, d) = self.range(left), self.range(right)
                return IntType(a - d, b - c) if isinstance(op, ast.Sub) else IntType(a + c, b + d)
            case ast.IfExp(body=body, orelse=orelse):
                type_ = joined(self.type(body), self.type(orelse))
                return (
                    joined(IntType(*self.range(body)), IntType(*self.range(orelse)))
                    if isinstance(type_, IntType)
                    else type_
                )
            case ast.Call(func=function, args=args):
                if (
                    isinstance(function, ast.Attribute)
                    and function.attr == "get"
                    and (found := self.variable(function.value))
                ):
                    return found[0].type
                match self.denoted(function):
                    case p.Operation(result=Expr(type=type_)):
                        return type_
                    case p.Procedure(result=type_) | p.Table(type=type_):
                        return type_
                    case p.this_cpu:
                        return CPU
                    case p.choose:
                        return self.domain(args[0])[1]
        raise InputError(
            f"the reference interpreter does not know '{ast.unparse(node)}'",
            place=self.place(node),
            hint="see docs/semantics.md",
        )

    def range(self, node: ast.expr) -> tuple[int, int]:
        """The least and the greatest value of an integer: of a bare number, which is a constant, that number."""
        type_ = self.type(node)
        if isinstance(type_, IntType):
            return type_.low, type_.high
        number = self.number(node)
        return number, number

    def number(self, node: ast.expr) -> int:
        """What a bare number is worth."""
        match node:
            case ast.UnaryOp(op=op, operand=operand):
                return ~self.number(operand) if isinstance(op, ast.Invert) else -self.number(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return arithmetic(OPERATORS[type(op)], self.number(left), self.number(right))
            case ast.Constant(value=value):
                return int(value)  # type: ignore[arg-type]  # a number, says the front end
        return constant(self.denoted(node))[0]

    def domain(self, node: ast.expr) -> tuple[tuple[int, ...], Type]:
        """The values that ``choose`` may give, in their order, and their type."""
        found = node.elts if isinstance(node, ast.Tuple) else self.denoted(node)
        if isinstance(found, list):
            values, type_ = tuple(self.number(x) for x in found), self.type(found[0])
            return values, type_ or IntType(min(values), max(values))
        if isinstance(found, tuple):
            values, type_ = tuple(constant(x)[0] for x in found), constant(found[0])[1]
            return values, type_ or IntType(min(values), max(values))
        if isinstance(found, p.CaseVar):
            return found.domain, found.type
        type_ = type_of(found)
        return type_.values(), type_


def is_set(node: ast.Call) -> bool:
    """Whether an access is ``set``."""
    return isinstance(node.func, ast.Attribute) and node.func.attr == "set"


def indexed(node: ast.Call) -> bool:
    """Whether an access is made by ``at``."""
    return isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call)


def constant(found: Any) -> tuple[int, Type | None]:
    """The value and the type of a Python object that stands in an expression."""
    match found:
        case bool():
            return int(found), BOOL
        case int():
            return found, None
        case enum.Enum():
            return ordinal(found), enum_type(type(found))
        case Expr(op="const"):
            return found.value, found.type
        case p.CaseVar():
            return 0, found.type
        case p.Flag():
            return 0, BOOL
    raise InputError(f"the reference interpreter does not know the value {found!r}", hint="see docs/semantics.md")


def joined(a: Type | None, b: Type | None) -> Type | None:
    """The type of what is either an ``a`` or a ``b``, and of what is computed from both."""
    if a is None or b is None:
        return a or b
    if isinstance(a, WordType) and isinstance(b, WordType):
        return a if a.width >= b.width else b
    if isinstance(a, IntType) and isinstance(b, IntType):
        return IntType(min(a.low, b.low), max(a.high, b.high))
    return a


def _in_order(statement: ast.stmt) -> Iterator[ast.stmt]:
    """A statement and those inside it, in the order of the text."""
    yield statement
    for part in ("body", "orelse"):
        for s in getattr(statement, part, ()):
            yield from _in_order(s)


def _general_call(procedure: p.Procedure) -> GeneralCall:
    """What ``most_general_caller`` made; anything else that is no Python function is refused."""
    match procedure.body:
        case [*choices, p.Call(general=general, procedure=callee)] if general:
            return GeneralCall(callee, tuple(c.domain for c in choices if isinstance(c, p.Choose)))
    raise InputError(
        f"{procedure.name}() is no Python function",
        place=procedure.place,
        hint="--engine reference interprets the Python source of procedures; use another engine",
    )


@functools.lru_cache(maxsize=64)
def _definitions(file: str, text: str) -> Mapping[int, ast.FunctionDef]:
    return {node.lineno: node for node in ast.walk(ast.parse(text, file)) if isinstance(node, ast.FunctionDef)}


def _definition(procedure: p.Procedure) -> ast.FunctionDef:
    file = procedure.place.file
    return _definitions(file, "".join(linecache.getlines(file)))[procedure.place.line]
