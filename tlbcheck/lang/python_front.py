"""The Python front end: reads the source of a function and makes a procedure of it.

The function is parsed, never run. Every call of an operation inside an expression becomes a
statement of its own in Python's evaluation order; ``and``/``or`` and conditional expressions
whose later operands contain one become branches.
"""

from __future__ import annotations

import ast
import builtins
import enum
import functools
import inspect
import linecache
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, eq, ite, lift, lookup, not_, or_, range_of, resize, truth, var, word_op
from tlbcheck.lang.spelling import hint, nearest, slipped
from tlbcheck.lang.types import BOOL, CPU, BoolType, EnumType, IntType, Type, WordType, require_range, type_of

_BINARY = {ast.BitAnd: "band", ast.BitOr: "bor", ast.BitXor: "bxor", ast.Add: "add", ast.Sub: "sub", ast.LShift: "shl", ast.RShift: "shr"}
_PLAIN = {"band": operator.and_, "bor": operator.or_, "bxor": operator.xor, "add": operator.add, "sub": operator.sub, "shl": operator.lshift, "shr": operator.rshift}
_SUPPORTED = "supported are assignments, if/elif/else, while, for c in cpus(), return, assert, with atomic, and calls"


@overload
def procedure(function: Callable[..., Any], /) -> p.Procedure: ...
@overload
def procedure(*, role: str = ..., ensures: Sequence[str] = ...) -> Callable[[Callable[..., Any]], p.Procedure]: ...
def procedure(function: Callable[..., Any] | None = None, /, *, role: str = "", ensures: Sequence[str] = ()) -> Any:
    """Declare a procedure of a model; ``role`` tells the properties what it is.

    ``ensures`` names the properties that it keeps for every caller who meets its ``requires``.
    Raises ``InputError``, with file, line and column, for what the language does not have.
    """

    def declare(f: Callable[..., Any]) -> p.Procedure:
        return _declare(f, role, (ensures,) if isinstance(ensures, str) else tuple(ensures))

    return declare if function is None else declare(function)


@functools.lru_cache(maxsize=8)
def _definitions(text: str) -> Mapping[int, ast.FunctionDef]:
    """The functions of a source file, by the line where their first decorator stands."""
    found = {}
    statements: list[ast.AST] = list(ast.parse(text).body)
    while statements:
        n = statements.pop()
        if isinstance(n, ast.FunctionDef):
            found[min([n.lineno, *(d.lineno for d in n.decorator_list)])] = n
        statements += [part for name in ("body", "orelse", "handlers", "finalbody", "cases") for part in getattr(n, name, ())]
    return found


def _declare(function: Callable[..., Any], role: str, ensures: tuple[str, ...]) -> p.Procedure:
    source_file = inspect.getsourcefile(function) or "<unknown>"
    linecache.checkcache(source_file)
    definition = _definitions("".join(linecache.getlines(source_file, function.__globals__))).get(function.__code__.co_firstlineno)
    if definition is None:
        raise InputError(f"the source of {function.__name__} cannot be read", hint="procedures have to be defined in a file")
    node = definition

    def place(n: ast.AST) -> Place:
        return Place(source_file, getattr(n, "lineno", node.lineno), getattr(n, "col_offset", 0) + 1)

    scope = dict(inspect.getclosurevars(function).nonlocals)
    names = _Names(function.__globals__, scope)
    here = place(node)
    if node.args.vararg or node.args.kwarg or node.args.kwonlyargs or node.args.defaults:
        raise InputError(f"{node.name} has parameters of an unsupported kind", place=here, hint="use plain positional parameters")
    other = function.__globals__.get(function.__name__) if function.__qualname__ == function.__name__ else None
    if isinstance(other, p.Procedure) and other.place.file == source_file:
        raise InputError(f"{node.name}() is declared twice, first in line {other.place.line}", place=here, hint="rename one: who calls it would call the latter")
    parameters = tuple(p.Parameter(a.arg, _annotation(a.annotation, names, place(a), a.arg)) for a in node.args.args)
    result = None
    if node.returns is not None and not (isinstance(node.returns, ast.Constant) and node.returns.value is None):
        result = _annotation(node.returns, names, place(node.returns), "the result")

    def parse() -> list[p.Statement]:
        reader = _Reader(node.name, names, place, {q.name: q.type for q in parameters}, result)
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        statements = reader.procedure(body)
        _refuse_unread(node, place)
        return statements

    return p.Procedure(node.name, parameters, here, parse, result, role, inspect.getdoc(function) or "", ensures, function)


def _refuse_unread(function: ast.FunctionDef, place: Callable[[ast.AST], Place]) -> None:
    """Refuse a local that nothing reads, where it can only be a slip: its value does nothing by itself, or another name was meant."""
    read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    read |= {n.target.id for n in ast.walk(function) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
    for n in ast.walk(function):
        target = n.targets[0] if isinstance(n, ast.Assign) else n.target if isinstance(n, ast.AnnAssign | ast.For) else None
        if not isinstance(target, ast.Name) or target.id in read or target.id.startswith("_"):
            continue
        meant = next((name for name in sorted(read | {a.arg for a in function.args.args}) if slipped(target.id, name)), "")
        steps = isinstance(n, ast.For) or any(isinstance(x, ast.Call) for x in ast.walk(n))
        if meant or not steps:
            otherwise = "leave it out, or begin its name with _"
            raise InputError(f"'{target.id}' is assigned in {function.name} and never read", place=place(n), hint=f"did you mean '{meant}'?" if meant else otherwise)


def _annotation(node: ast.expr | None, names: _Names, place: Place, what: str, *, local: bool = False) -> Type:
    if node is None:
        raise InputError(f"{what} has no type", place=place, hint="annotate it: bool, an enum, u64, Range(low, high)")
    scope = {**vars(builtins), **names.module, **names.closure}
    expression = ast.Expression(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        expression = ast.parse(node.value, mode="eval")
    try:
        type_ = type_of(eval(compile(ast.fix_missing_locations(expression), "<annotation>", "eval"), scope))
        if local:
            require_range(type_)
        return type_
    except InputError as error:
        raise InputError(error.message, place=place, hint=error.hint) from None
    except Exception as error:
        raise InputError(f"the type of {what} cannot be read: {error}", place=place, hint="define or import it before the procedure") from None


def _of_value(value: Expr) -> Type:
    """The type of a local that is first given ``value`` (NUM-2)."""
    assert value.type is not None
    return range_of(value) if isinstance(value.type, IntType) and value.op != "const" else value.type


def _returns(statements: list[p.Statement]) -> bool:
    """Whether every path through ``statements`` returns."""
    return any(isinstance(s, p.Return) or (isinstance(s, p.If) and _returns(s.then) and _returns(s.orelse)) for s in statements)


@dataclass(frozen=True)
class _Names:
    module: dict[str, Any]
    closure: dict[str, Any]

    def find(self, name: str) -> Any:
        for scope in (self.closure, self.module, vars(builtins)):
            if name in scope:
                return scope[name]
        raise KeyError(name)


@dataclass(frozen=True)
class _Element:
    """``variable.at(index)``, on the way to its ``get`` or ``set``."""

    variable: p.StateVar
    index: Expr


@dataclass(frozen=True)
class _Method:
    owner: p.StateVar | _Element
    name: str


@dataclass
class _Reader:
    """Reads one function body; ``out`` is the list that statements are being added to."""

    name: str
    names: _Names
    place: Callable[[ast.AST], Place]
    locals: dict[str, Type | None]
    result: Type | None
    out: list[p.Statement] = field(default_factory=list)
    temporaries: int = 0
    kinds: dict[str, Type] = field(default_factory=dict)
    """The type of every local that was given one so far: it has one only (NUM-2)."""

    # -- statements

    def procedure(self, body: list[ast.stmt]) -> list[p.Statement]:
        """A whole body: what it requires, and then what it does."""
        head: list[p.Statement] = []
        for s in body:
            if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and isinstance(s.value.func, ast.Name | ast.Attribute) and self.reach(s.value.func) is p.requires):
                break
            head.append(self.precondition(s.value))
        return [*head, *self.block(body[len(head) :])]

    def precondition(self, node: ast.Call) -> p.Requires:
        if len(node.args) != 1 or node.keywords:
            raise self.refuse(node, "requires() takes one condition", "write: requires(condition)")
        condition, before = self.apart(lambda: self.condition(node.args[0]))
        for s in p.walk(before):
            if not isinstance(s, p.Assign | p.If | p.Read | p.Call):
                done = s.operation.name if isinstance(s, p.Do) else type(s).__name__.lower()
                raise InputError(f"requires() of {self.name} performs {done}", place=s.place, hint="a precondition is no step: read registers and shared state with .get()")
        return p.Requires(place=self.place(node), condition=condition, before=before, text=ast.unparse(node.args[0]))

    def block(self, body: list[ast.stmt]) -> list[p.Statement]:
        outer, self.out = self.out, []
        for s in body:
            self.statement(s)
        made, self.out = self.out, outer
        return made

    def add(self, statement: p.Statement) -> None:
        self.out.append(statement)

    def refuse(self, node: ast.AST, what: str, hint: str = _SUPPORTED) -> InputError:
        return InputError(f"{what} in {self.name}", place=self.place(node), hint=hint)

    def statement(self, node: ast.stmt) -> None:
        here = self.place(node)
        match node:
            case ast.Pass():
                pass
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.Expr(value=ast.Call() as call):
                self.call(call, wanted=False)
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                self.assign(node, target, self.value(value, self.locals.get(target)))
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                declared = _annotation(node.annotation, self.names, here, target, local=True)
                self.assign(node, target, self.fit(node, self.value(value, declared), declared, target), declared)
            case ast.AugAssign(target=ast.Name(id=target), op=op, value=value):
                self.own(node, target)
                left = self.local(node, target)
                self.assign(node, target, self.binary(node, op, left, self.value(value, left.type)))
            case ast.If(test=test, body=body, orelse=orelse):
                condition = self.condition(test)
                if condition.op == "const":
                    self.out.extend(self.block(body if condition.value else orelse))
                else:
                    self.branches(here, condition, body, orelse)
            case ast.While(test=test, body=body, orelse=[]):
                self.while_(node, test, body)
            case ast.For(target=ast.Name(id=target), iter=ast.Call(func=function, args=[], keywords=[]), body=body, orelse=[]) if self.reach(function) is p.cpus:
                self.own(node, target)
                self.for_cpus(here, target, body)
            case ast.Return(value=value):
                if value is None:
                    if self.result is not None:
                        raise self.refuse(node, "return without a value", f"return a {self.result}")
                    self.add(p.Return(place=here, value=None))
                else:
                    if self.result is None:
                        raise self.refuse(node, "return of a value from a procedure without a result type", "annotate it: def f(...) -> u64")
                    self.add(p.Return(place=here, value=self.fit(node, self.value(value, self.result), self.result, "the result")))
            case ast.Assert(test=test):
                self.add(p.Assert(place=here, condition=self.condition(test), text=ast.unparse(test)))
            case ast.With(items=[ast.withitem(context_expr=expression, optional_vars=None)], body=body) if not isinstance(expression, ast.Call) and isinstance(self.reach(expression), p.Atomic):
                self.add(p.AtomicBlock(place=here, body=self.block(body)))
            case ast.With(items=[ast.withitem(context_expr=ast.Call(func=function, args=[ast.Constant(value=str(text))], keywords=[]), optional_vars=None)], body=body) if isinstance(
                self.reach(function), p.Atomic
            ):
                self.add(p.AtomicBlock(place=here, body=self.block(body), text=text))
            case _:
                raise self.refuse(node, f"unsupported statement '{type(node).__name__.lower()}'")

    def branches(self, here: Place, condition: Expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        """An ``if``: afterwards a local is defined if it is on every path that gets there."""
        before = dict(self.locals)
        then, after_then = self.block(body), self.locals
        self.locals = dict(before)
        other, after_other = self.block(orelse), self.locals
        if _returns(then) or _returns(other):
            self.locals = after_other if _returns(then) else after_then
        else:
            self.locals = {n: t for n, t in after_then.items() if n in after_other}
        self.locals |= {n: t for n, t in (after_then | after_other).items() if n.startswith("%")}
        self.add(p.If(place=here, condition=condition, then=then, orelse=other))

    def own(self, node: ast.stmt, target: str) -> None:
        """Refuse a local that would hide something of the model: that was meant, or is called so by mistake."""
        try:
            hidden = None if target in self.locals else self.names.find(target)
        except KeyError:
            return
        match hidden:
            case p.StateVar():
                at = ".at(...)" if hidden.index is not None else ""
                value = getattr(node, "value", None)
                raise self.refuse(node, f"'{target}' is a variable of the model, which an assignment does not change,", f"write {target}{at}.set({ast.unparse(value) if value is not None else '...'})")
            case p.CaseVar() | p.Flag() | p.Table() | p.Operation() | p.Procedure():
                raise self.refuse(node, f"'{target}' is a {type(hidden).__name__.lower()} of the model, which an assignment does not change,", "call the local otherwise")

    def assign(self, node: ast.stmt, target: str, value: Expr, declared: Type | None = None) -> None:
        self.own(node, target)
        known = self.locals.get(target) or self.kinds.get(target)
        if known is not None and declared is not None and declared != known:
            raise self.refuse(node, f"'{target}' is a {known} and cannot be declared as a {declared} too", "give the second one a name of its own")
        if known is not None:
            value = self.fit(node, value, known, target)
        elif value.type is None:
            raise self.refuse(node, f"the type of '{target}' is not known", f"say it: {target}: u64 = ...")
        type_ = self.locals[target] = self.kinds[target] = known or declared or _of_value(value)
        if self.out and isinstance(last := self.out[-1], p.Choose) and value.op == "var" and value.value == last.target:
            last.label = target
        self.add(p.Assign(place=self.place(node), target=target, value=value, type=type_))

    def while_(self, node: ast.While, test: ast.expr, body: list[ast.stmt]) -> None:
        outer, self.out = self.out, []
        condition = self.condition(test)
        hoisted, self.out = self.out, outer
        if hoisted:
            raise self.refuse(node, "a while condition that reads shared state", "write: while True: x = v.get(); if ...: return; or wait with require(condition)")
        before = dict(self.locals)
        self.add(p.While(place=self.place(node), condition=condition, body=self.block(body)))
        if condition is not TRUE:
            self.locals = before

    def for_cpus(self, here: Place, target: str, body: list[ast.stmt]) -> None:
        """``for c in cpus()``; what it defines may be used afterwards, since there is at least one CPU."""
        if self.kinds.setdefault(target, CPU) != CPU:
            raise InputError(f"'{target}' of {self.name} is a {self.kinds[target]} and cannot number CPUs too", place=here, hint="give the loop a name of its own")
        self.locals[target] = CPU
        self.add(p.ForCpus(place=here, target=target, body=self.block(body)))

    # -- expressions

    def unknown(self, node: ast.AST, name: str) -> InputError:
        near = nearest(name, [n for n in (*self.locals, *self.names.closure, *self.names.module) if not n.startswith(("%", "__"))])
        return self.refuse(node, f"'{name}' is not defined", f"did you mean '{near}'?" if near else "define it first, or import it into the module")

    def local(self, node: ast.AST, name: str) -> Expr:
        if name not in self.locals:
            raise self.unknown(node, name)
        return var(name, self.locals[name])

    def fit(self, node: ast.AST, value: Expr, type_: Type, what: str) -> Expr:
        """``value`` as a ``type_``, or an error that names what was to receive it."""
        if not (value.type is None and isinstance(type_, EnumType)):
            value = lift(value, type_)
        if value.op == "const" and isinstance(type_, IntType) and not type_.low <= value.value <= type_.high:
            raise self.refuse(node, f"{value.value} is out of range for {what} ({type_})", "widen the type or change the value")
        if type_ == BOOL and value.type is not None and isinstance(value.type, WordType):
            return truth(value)
        same_kind = type(value.type) is type(type_) and (not isinstance(type_, EnumType) or value.type == type_)
        if not same_kind:
            raise self.refuse(node, f"{what} is a {type_} and cannot take a {value.type or 'number'}", "convert it explicitly")
        if isinstance(type_, WordType):
            return resize(value, type_)
        if isinstance(type_, IntType):
            return const(value.value, type_) if value.op == "const" else value
        return value

    def value(self, node: ast.expr, like: Type | None = None) -> Expr:
        return self.as_value(node, self.reach(node, like), like)

    def as_value(self, node: ast.expr, found: Any, like: Type | None) -> Expr:
        """What ``reach`` gave for ``node``, as an expression: ``node`` is read once only."""
        if isinstance(found, p.CaseVar | p.Flag):
            return found.expr
        if isinstance(found, Expr):
            return lift(found, like)
        if isinstance(found, bool | int | enum.Enum):
            if isinstance(found, int) and isinstance(like, WordType) and not -(1 << like.width) <= found <= like.mask:  # down to the complement of a word
                raise self.refuse(node, f"{found:#x} is out of range for a {like}", "use a wider word or change the value")
            # A bare number is no member of an enum.
            return lift(found, None if isinstance(like, EnumType) else like)
        raise self.refuse(node, f"'{ast.unparse(node)}' is not a value of the language", "values are booleans, integers, words and enum members")

    def condition(self, node: ast.expr) -> Expr:
        value = self.value(node)
        if value.op == "const" and value.type is None:
            return TRUE if value.value else FALSE
        if isinstance(value.type, EnumType):
            raise self.refuse(node, f"a {value.type} used as a condition", "compare it with a member")
        return truth(value)

    def reach(self, node: ast.expr, like: Type | None = None) -> Any:
        """The Python object or the expression that ``node`` denotes."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name in self.locals:
                    return self.local(node, name)
                try:
                    return self.names.find(name)
                except KeyError:
                    raise self.unknown(node, name) from None
            case ast.Attribute(value=base, attr=attribute):
                owner = self.reach(base)
                if isinstance(owner, p.StateVar | _Element):
                    return _Method(owner, attribute)
                if isinstance(owner, Expr) or not hasattr(owner, attribute):
                    names = [] if isinstance(owner, Expr) else [n for n in dir(owner) if not n.startswith("_")]
                    raise self.refuse(node, f"'{ast.unparse(node)}' is not defined", hint(attribute, names, "only modules, enums and state variables have attributes"))
                return getattr(owner, attribute)
            case ast.Call():
                return self.call(node, wanted=True)
            case ast.UnaryOp(op=op, operand=operand):
                return self.unary(node, op, operand, like)
            case ast.BinOp(left=left, op=op, right=right):
                a = self.value(left, like)
                b = self.value(right, a.type)
                return self.binary(node, op, a, b)
            case ast.BoolOp(op=op, values=values):
                return self.junction(node, isinstance(op, ast.And), values)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.compare(node, left, ops, comparators)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.conditional(node, test, body, orelse, like)
        raise self.refuse(node, f"unsupported expression '{ast.unparse(node)}'", "supported are names, constants, calls, & | ^ ~ + - << >>, comparisons, and/or/not, a if c else b")

    def unary(self, node: ast.AST, op: ast.unaryop, operand: ast.expr, like: Type | None) -> Any:
        if isinstance(op, ast.Not):
            return not_(self.condition(operand))
        found = self.reach(operand, like)
        if isinstance(found, int) and not isinstance(found, bool):
            return ~found if isinstance(op, ast.Invert) else -found if isinstance(op, ast.USub) else found
        value = self.as_value(operand, found, like)
        if isinstance(op, ast.Invert) and isinstance(value.type, WordType):
            return ~value
        if isinstance(op, ast.Invert) and value.type is None:
            return const(~value.value, None)
        if isinstance(op, ast.USub) and isinstance(value.type, IntType):
            return const(0, IntType(0, 0)) - value
        raise self.refuse(node, f"'{ast.unparse(node)}' is not supported", "~ works on words, - on bounded integers")

    def binary(self, node: ast.AST, op: ast.operator, a: Expr, b: Expr) -> Expr:
        name = _BINARY.get(type(op))
        if name is None:
            raise self.refuse(node, f"unsupported operator '{type(op).__name__}'", "supported are & | ^ + - << >>")
        a, b = lift(a, b.type), lift(b, a.type)
        if a.type == BOOL and name in ("band", "bor", "bxor"):
            return {"band": and_, "bor": or_, "bxor": lambda x, y: not_(eq(x, y))}[name](a, truth(b))
        if isinstance(a.type, IntType) and name in ("add", "sub") and isinstance(b.type, IntType):
            return word_op(name, a, b)
        if a.type is None and b.type is None:
            return const(_PLAIN[name](a.value, b.value), None)
        if not (isinstance(a.type, WordType) and isinstance(b.type, WordType)):
            raise self.refuse(node, f"'{name}' of a {a.type} and a {b.type}", "bit operations need words")
        if a.type != b.type and name not in ("shl", "shr"):
            wide = a.type if a.type.width >= b.type.width else b.type
            a, b = resize(a, wide), resize(b, wide)
        return word_op(name, a, b)

    def compare(self, node: ast.AST, left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr]) -> Expr:
        return self.chain(node, self.value(left), ops, rights)

    def chain(self, node: ast.AST, a: Expr, ops: list[ast.cmpop], rights: list[ast.expr]) -> Expr:
        """A chain of comparisons: what follows is evaluated only where the first one holds (STEP-4)."""
        first, b = self.comparison(node, a, ops[0], rights[0])
        if len(ops) == 1 or first is FALSE:
            return first
        rest, made = self.apart(lambda: self.chain(node, b, ops[1:], rights[1:]))
        return self.lazily(node, True, first, rest, made) if made else and_(first, rest)

    def comparison(self, node: ast.AST, a: Expr, op: ast.cmpop, right: ast.expr) -> tuple[Expr, Expr]:
        """Whether it holds, and what the next one of a chain compares."""
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise self.refuse(node, "membership in something else than a literal tuple", "write: x in (a, b)")
            member = or_(*(eq(a, self.comparable(node, a, self.value(x, a.type))) for x in right.elts))
            return member if isinstance(op, ast.In) else not_(member), a
        b = self.value(right, a.type)
        a = lift(a, b.type) if not isinstance(b.type, EnumType) else a
        b = self.comparable(node, a, b)
        match op:
            case ast.Eq() | ast.Is():
                return eq(a, b), b
            case ast.NotEq() | ast.IsNot():
                return not_(eq(a, b)), b
            case ast.Lt():
                return a < b, b
            case ast.LtE():
                return a <= b, b
            case ast.Gt():
                return b < a, b
            case ast.GtE():
                return b <= a, b
        raise self.refuse(node, f"unsupported comparison '{type(op).__name__}'")

    def comparable(self, node: ast.AST, a: Expr, b: Expr) -> Expr:
        if a.type != b.type and not (type(a.type) is type(b.type) and isinstance(a.type, WordType | IntType)):
            raise self.refuse(node, f"comparison of a {a.type or 'number'} with a {b.type or 'number'}", "compare values of one type")
        return b

    def apart(self, read: Callable[[], Expr]) -> tuple[Expr, list[p.Statement]]:
        """What ``read`` returns, and the statements that it needs first."""
        outer, self.out = self.out, []
        value = read()
        made, self.out = self.out, outer
        return value, made

    def temporary(self, type_: Type) -> str:
        self.temporaries += 1
        name = f"%{self.temporaries}"
        self.locals[name] = type_
        return name

    def junction(self, node: ast.AST, conjunction: bool, values: list[ast.expr]) -> Expr:
        first = self.condition(values[0])
        if len(values) == 1 or (first.op == "const" and bool(first.value) is not conjunction):
            return first
        rest, made = self.apart(lambda: self.junction(node, conjunction, values[1:]))
        if not made:
            return and_(first, rest) if conjunction else or_(first, rest)
        return self.lazily(node, conjunction, first, rest, made)

    def lazily(self, node: ast.AST, conjunction: bool, first: Expr, rest: Expr, made: list[p.Statement]) -> Expr:
        """``first and rest`` (or ``first or rest``), where ``rest`` needs statements that are reached only if ``first`` does not settle it."""
        here, name = self.place(node), self.temporary(BOOL)
        later = [*made, p.Assign(place=here, target=name, value=rest, type=BOOL)]
        known: list[p.Statement] = [p.Assign(place=here, target=name, value=FALSE if conjunction else TRUE, type=BOOL)]
        self.add(p.If(place=here, condition=first, then=later if conjunction else known, orelse=known if conjunction else later))
        return var(name, BOOL)

    def conditional(self, node: ast.AST, test: ast.expr, body: ast.expr, orelse: ast.expr, like: Type | None) -> Expr:
        condition = self.condition(test)
        then, then_made = self.apart(lambda: self.value(body, like))
        other, other_made = self.apart(lambda: self.value(orelse, then.type))
        then = lift(then, other.type)
        if then.type is None or type(then.type) is not type(other.type):
            raise self.refuse(node, "the two sides of a conditional expression differ in type", "give both the same type")
        if not then_made and not other_made:
            return ite(condition, then, other)
        type_ = range_of(then).hull(range_of(other)) if isinstance(then.type, IntType) else then.type
        here, name = self.place(node), self.temporary(type_)
        sides = [[*made, p.Assign(place=here, target=name, value=x, type=type_)] for made, x in ((then_made, then), (other_made, other))]
        self.add(p.If(place=here, condition=condition, then=sides[0], orelse=sides[1]))
        return var(name, type_)

    # -- calls

    def call(self, node: ast.Call, *, wanted: bool) -> Any:
        target = self.reach(node.func)
        if isinstance(target, Expr):
            raise self.refuse(node, f"call of '{ast.unparse(node.func)}', which is a value")
        if node.keywords and not isinstance(target, p.Operation | p.Procedure):
            raise self.refuse(node, "keyword arguments", "pass them by position")
        only_a_value = isinstance(target, p.Table) or target in (p.choose, p.this_cpu) or (isinstance(target, _Method) and target.name == "at")
        if only_a_value and not wanted:  # a read is a step all the same
            raise self.refuse(node, f"nothing is done with the value of '{ast.unparse(node)}'", "give it a name, or write .at(index).set(value)")
        match target:
            case p.Operation():
                return self.operation(node, target, wanted)
            case p.Procedure():
                return self.procedure_call(node, target, wanted)
            case p.Table():
                if len(node.args) != 1:
                    raise self.refuse(node, f"{target.name}() takes one argument, {len(node.args)} given", f"pass a member of {target.index}")
                index = self.value(node.args[0], target.index)
                if index.type != target.index and not (isinstance(index.type, IntType) and isinstance(target.index, IntType)):
                    raise self.refuse(node, f"{target.name}() takes a {target.index}, not a {index.type or 'number'}", "pass a value of its index")
                index = self.fit(node, index, target.index, f"the index of {target.name}()")
                low = target.index.low if isinstance(target.index, IntType) else 0
                return lookup(index - low if low else index, target.values, target.type)
            case _Method():
                return self.method(node, target, wanted)
            case p.choose:
                return self.choice(node)
            case p.this_cpu:
                return p.CPU_SELF
            case p.require:
                if len(node.args) != 1:
                    raise self.refuse(node, "require() takes one condition", "write: require(condition)")
                condition, before = self.apart(lambda: self.condition(node.args[0]))
                self.add(p.Require(place=self.place(node), condition=condition, before=before))
                return TRUE
            case p.requires:
                raise self.refuse(node, "requires() after other statements", "preconditions come first; write require(condition) for what only runs that go on from here meet")
        raise self.refuse(node, f"call of '{ast.unparse(node.func)}', which is no operation, procedure or table", "declare it with @procedure, or use an operation of the machine")

    def arguments(self, node: ast.Call, names: list[str], types: list[Type | None], what: str) -> tuple[Expr, ...]:
        given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in given:
                raise self.refuse(node, f"{what} has no parameter '{keyword.arg}' left", f"it takes ({', '.join(names)})")
            given[keyword.arg] = keyword.value
        if len(node.args) > len(names) or len(given) != len(names):
            raise self.refuse(node, f"{what} takes {len(names)} argument(s), {len(node.args) + len(node.keywords)} given", f"it takes ({', '.join(names)})")
        declared, values = dict(zip(names, types, strict=True)), {}
        for name, argument in given.items():  # in the order in which they are written
            type_ = declared[name]
            value = self.value(argument, type_)
            values[name] = value if type_ is None else self.fit(node, value, type_, f"parameter '{name}' of {what}")
        return tuple(values[name] for name in names)

    def operation(self, node: ast.Call, operation: p.Operation, wanted: bool) -> Expr:
        args = self.arguments(node, [n for n, _ in operation.operands], [t for _, t in operation.operands], operation.name)
        target = None
        if operation.result is not None:
            assert operation.result.type is not None
            target = self.temporary(operation.result.type)
        elif wanted:
            raise self.refuse(node, f"{operation.name} gives no value", "call it as a statement")
        self.add(p.Do(place=self.place(node), operation=operation, args=args, target=target))
        return var(target, self.locals[target]) if target else TRUE

    def procedure_call(self, node: ast.Call, callee: p.Procedure, wanted: bool) -> Expr:
        args = self.arguments(node, [q.name for q in callee.parameters], [q.type for q in callee.parameters], f"{callee.name}()")
        if wanted and callee.result is None:
            raise self.refuse(node, f"{callee.name}() gives no value", "annotate its result type")
        target = self.temporary(callee.result) if callee.result is not None else None
        self.add(p.Call(place=self.place(node), procedure=callee, args=args, target=target))
        return var(target, self.locals[target]) if target else TRUE

    def method(self, node: ast.Call, method: _Method, wanted: bool) -> Any:
        here, owner = self.place(node), method.owner
        variable = owner.variable if isinstance(owner, _Element) else owner
        at = owner.index if isinstance(owner, _Element) else None
        match method.name, len(node.args):
            case "get", 0:
                self.indexed(node, variable, at)
                target = self.temporary(variable.type)
                self.add(p.Read(place=here, variable=variable, at=at, target=target))
                return var(target, variable.type)
            case "set", 1:
                if wanted:
                    raise self.refuse(node, "set() gives no value", "call it as a statement")
                self.indexed(node, variable, at)
                value = self.fit(node, self.value(node.args[0], variable.type), variable.type, variable.name)
                self.add(p.Write(place=here, variable=variable, at=at, value=value))
                return TRUE
            case "at", 1 if at is None:
                index = self.value(node.args[0], variable.index)
                return _Element(variable, index if variable.index is None else self.fit(node, index, variable.index, f"the index of {variable.name}"))
        raise self.refuse(node, f"'{ast.unparse(node.func)}' with {len(node.args)} argument(s)", "a state variable has get(), set(value) and at(index)")

    def indexed(self, node: ast.AST, variable: p.StateVar, at: Expr | None) -> None:
        if variable.index is not None and at is None:
            raise self.refuse(node, f"{variable.name} is an array", f"say which element: {variable.name}.at(i)")
        if variable.index is None and not variable.per_cpu and at is not None:
            raise self.refuse(node, f"{variable.name} is no array", "leave out .at()")

    def choice(self, node: ast.Call) -> Expr:
        if len(node.args) != 1:
            raise self.refuse(node, "choose() takes one domain", "an enum class, a type or a tuple")
        argument = node.args[0]
        found = None if isinstance(argument, ast.Tuple) else self.reach(argument)
        if isinstance(argument, ast.Tuple) or isinstance(found, tuple):
            values = [self.value(x) for x in argument.elts] if isinstance(argument, ast.Tuple) else [lift(x) for x in found or ()]
            if any(v.op != "const" for v in values) or not values:
                raise self.refuse(node, "choose() needs constants", "list the values")
            if len({v.type for v in values}) > 1:
                raise self.refuse(node, "choose() of values of different types", "list values of one type")
            type_ = values[0].type or IntType(min(v.value for v in values), max(v.value for v in values))
            domain = tuple(v.value for v in values)
        else:
            type_ = found.type if isinstance(found, p.CaseVar) else self.type_named(node, found)
            domain = found.domain if isinstance(found, p.CaseVar) else type_.values()
        name = self.temporary(type_)
        self.add(p.Choose(place=self.place(node), target=name, domain=domain, type=type_))
        return var(name, type_)

    def type_named(self, node: ast.AST, found: Any) -> Type:
        try:
            type_ = type_of(found)
            require_range(type_)
            if isinstance(type_, BoolType | EnumType | IntType):
                return type_
        except InputError as error:
            raise self.refuse(node, error.message, error.hint) from None
        raise self.refuse(node, f"choose() over a {type_}", "choose from an enum, a Range or a tuple of values")
