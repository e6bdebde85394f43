"""The execution of a procedure's syntax, from where an activation waits to where it waits again.

The innermost frame stands at a statement of which a part may have been evaluated: ``log`` holds what the reads,
operations, choices and calls in it gave so far. The statement is evaluated again from its beginning, with these.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.model import LEVELS
from tlbcheck.lang.types import BOOL, Type
from tlbcheck.reference.machine import Blocked, Context, Machine, check
from tlbcheck.reference.rules import arithmetic, order, within
from tlbcheck.reference.syntax import OPERATORS, Function, GeneralCall, constant, joined

Todo = tuple[Any, Any] | None
"""What is still to be executed: the first, and the others."""

_COMPARED: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq, ast.Is: operator.eq, ast.NotEq: operator.ne, ast.IsNot: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_LOCAL_LIMIT = 20_000
"""Statements in one step after which a loop is taken for one without a step; one that comes back to where it was is one at once."""


class _Waits(Exception):
    """The next step begins here."""


class _Called(Exception):
    """A frame was put on the stack; the statement goes on when that returns."""


class _Enter(NamedTuple):
    """The beginning of a procedure, with its arguments."""

    args: tuple[int, ...]


class _End(NamedTuple):
    """The end of an ``atomic`` block."""


class _Cpus(NamedTuple):
    """A loop over the CPUs, and the number that comes next."""

    loop: ast.For
    following: int


class _Judged(NamedTuple):
    """A condition that is evaluated for itself."""

    condition: ast.expr


@dataclass
class Frame:
    """A procedure under way."""

    function: Function
    todo: Todo
    locals: dict[str, int]
    log: list[int | None] = field(default_factory=list)


def waiting(frames: Sequence[Frame]) -> tuple[Any, ...]:
    """Frames as a value."""
    return tuple((f.function, f.todo, tuple(sorted(f.locals.items())), tuple(f.log)) for f in frames)


def frames_of(stack: tuple[Any, ...]) -> list[Frame]:
    return [Frame(function, todo, dict(names), list(log)) for function, todo, names, log in stack]


def _before(statements: Sequence[Any], todo: Todo) -> Todo:
    for s in reversed(statements):
        todo = (s, todo)
    return todo


class Activation:
    """What runs on one CPU and level (CPU None: an action of the environment); ``go`` takes one step of it."""

    def __init__(self, machine: Machine, cpu: int | None, level: str, frames: list[Frame]) -> None:
        self.machine, self.cpu, self.level, self.frames = machine, cpu, level, frames
        self.performed, self.atomic = False, 0
        self.position = 0
        self.judged = True
        self.steps: list[tuple[str, str, Place]] = []

    def told(self) -> str:
        """The step for people."""
        whose = "environment" if self.cpu is None else f"CPU{self.cpu} {self.level}"
        return f"{whose}: {'; '.join(f'{name} {what} ({place})' for name, what, place in self.steps)}"

    # -- procedures

    def start(self, procedure: p.Procedure, args: Sequence[int]) -> None:
        """Put a call on the stack: of the procedure that stands in its place."""
        function = self.machine.world.functions[self.machine.world.chain(procedure)[-1]]
        named = dict(zip(function.parameters, args, strict=True))
        for q in function.procedure.parameters:
            check(q.type, named[q.name], function.procedure.place, f"parameter '{q.name}' of {function.name}()")
        self.frames.append(Frame(function, (_Enter(tuple(args)), _before(function.body, None)), named))

    def enter(self, function: Function, args: Sequence[int]) -> None:
        if function.role:
            self.machine.event(
                "enter",
                function.role,
                {f"arg.{n}": a for n, a in zip(function.parameters, args, strict=True)},
                self.here(),
                args,
            )

    def here(self) -> Context:
        level = self.level if self.level in LEVELS else "task"
        return Context(self.cpu, level, frozenset(f.function.role for f in self.frames if f.function.role))

    def finish(self, value: int | None) -> None:
        """The innermost procedure returns."""
        function = self.frames[-1].function
        if function.role:
            self.machine.event("leave", function.role, {}, self.here())
        if value is None and function.result is not None:
            raise InputError(
                f"{function.name} can end without returning a value",
                place=function.procedure.place,
                hint="return a value on every path",
            )
        self.frames.pop()
        if self.frames:
            self.frames[-1].log.append(value)

    def go(self) -> bool:
        """Go on to where the next step begins; False if the activation has ended."""
        rounds: set[tuple[Any, ...]] = set()
        for _ in range(_LOCAL_LIMIT):
            if not self.frames:
                return False
            frame = self.frames[-1]
            if frame.todo is None:
                self.finish(None)
                continue
            item, rest = frame.todo
            if isinstance(item, ast.While):
                before = (self.performed, waiting(self.frames), self.machine.value())
                if before in rounds:
                    break
                rounds.add(before)
            self.position = 0
            try:
                self.execute(frame, item, rest)
            except _Waits:
                return True
            except _Called:
                pass
        place = (
            self.frames[-1].function.place(self.frames[-1].todo[0])
            if self.frames[-1].todo
            else self.frames[-1].function.procedure.place
        )
        raise InputError(
            "a loop without a step",
            place=place,
            hint="every way round a loop needs an operation or an access to shared state",
        )

    # -- statements

    def execute(self, frame: Frame, item: Any, rest: Todo) -> None:
        """Execute a statement, and say what comes after it."""
        following = rest
        match item:
            case _Enter(args=args):
                self.enter(frame.function, args)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                frame.locals[name] = self.converted(value, frame.function.locals[name], name)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                frame.locals[name] = self.converted(value, frame.function.locals[name], name)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                type_ = joined(frame.function.type(target), frame.function.type(value))
                left = self.as_type(frame.locals[name], frame.function.type(target), type_)
                new = self.combined(op, left, value, type_)
                frame.locals[name] = self.fitting(new, type_, frame.function.locals[name], item, name)
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.If(test=test, body=body, orelse=orelse):
                following = _before(body if self.truth(test) else orelse, rest)
            case ast.While(test=test, body=body):
                if self.truth(test):
                    following = _before(body, (item, rest))
            case ast.For():
                following = (_Cpus(item, 0), rest)
            case _Cpus(loop=loop, following=number):
                if number < self.machine.model.cpus:
                    frame.locals[loop.target.id] = number  # type: ignore[attr-defined]  # a name, says the front end
                    following = _before(loop.body, (_Cpus(loop, number + 1), rest))
            case ast.Return(value=value):
                result = None if value is None else self.converted(value, frame.function.result, "the result")
                self.leave_blocks(rest)
                frame.log.clear()
                self.finish(result)
                return
            case ast.Assert(test=test):
                happened = self.machine.occurred if self.truth(test) else partial(self.machine.event, args={})
                happened("assert", ast.unparse(test), at=self.here())
            case ast.With(items=[ast.withitem()], body=body):
                self.begin_step()
                self.atomic += 1
                following = _before(body, (_End(), rest))
            case _End():
                self.atomic -= 1
                self.performed = self.performed or not self.atomic
            case _Judged(condition=condition):
                self.judged = self.truth(condition)
                self.frames.clear()
                return
            case GeneralCall():
                self.general_call(item)
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                raise InputError(
                    f"the reference interpreter does not know this {type(item).__name__.lower()}",
                    place=frame.function.place(item),
                    hint="see docs/semantics.md",
                )
        frame.todo = following
        frame.log.clear()

    def leave_blocks(self, todo: Todo) -> None:
        """A return out of indivisible blocks ends them."""
        while todo is not None:
            item, todo = todo
            if isinstance(item, _End):
                self.atomic -= 1
                self.performed = True

    # -- steps

    def begin_step(self) -> None:
        """What follows is a step of its own, unless it is a part of the one under way."""
        if self.performed and not self.atomic:
            raise _Waits

    def logged(self) -> bool:
        """Whether this part of the statement has been evaluated."""
        return self.position < len(self.frames[-1].log)

    def next_logged(self) -> int | None:
        self.position += 1
        return self.frames[-1].log[self.position - 1]

    def log(self, value: int | None) -> int | None:
        self.frames[-1].log.append(value)
        self.position += 1
        return value

    def step(self, what: str, node: ast.AST | GeneralCall) -> None:
        self.begin_step()
        self.performed = True
        function = self.frames[-1].function
        self.steps.append((function.name, what, function.place(node)))

    # -- calls

    def call(self, node: ast.Call) -> int | None:
        """The value of a call, if it has one."""
        function = self.frames[-1].function
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("get", "set")
            and (found := function.variable(node.func.value))
        ):
            return self.access(node, *found)
        target = function.denoted(node.func)
        match target:
            case p.this_cpu:
                return self.cpu
            case p.Table():
                index = self.value(node.args[0])
                if index not in target.index.values():
                    raise InputError(
                        f"{target.name} has no value for {index}",
                        place=function.place(node),
                        hint=f"its index is a {target.index}",
                    )
                return target.values[target.index.values().index(index)]
            case p.require:
                self.require(node.args[0])
                return None
            case p.choose:
                domain, _ = function.domain(node.args[0])
                return self.chosen(domain)
            case p.Operation():
                args = self.arguments(node, [n for n, _ in target.operands], [t for _, t in target.operands])
                if self.logged():
                    return self.next_logged()
                self.step(target.text or target.name, node)
                return self.log(self.machine.operate(target, args, self.here(), function.place(node)))
            case p.Procedure():
                args = self.arguments(node, [q.name for q in target.parameters], [q.type for q in target.parameters])
                if self.logged():
                    return self.next_logged()
                self.begin_judging(target, node)
                self.owed(target)
                for owner in self.unmet(target, args):
                    self.machine.event("requires", owner, {}, self.here())
                self.start(target, args)
                raise _Called
        raise InputError(
            f"the reference interpreter does not know '{ast.unparse(node.func)}'",
            place=function.place(node),
            hint="see docs/semantics.md",
        )

    def chosen(self, domain: Sequence[int]) -> int:
        """A free choice: no step, but made where the next one begins."""
        if self.logged():
            return self.next_logged() or 0
        self.begin_step()
        value = self.machine.choose(domain)
        self.log(value)
        return value

    def arguments(self, node: ast.Call, names: Sequence[str], types: Sequence[Type | None]) -> list[int]:
        """Evaluated in the order in which they are written, in the order of the parameters."""
        wanted = dict(zip(names, types, strict=True))
        written = {**dict(zip(names, node.args, strict=False)), **{k.arg: k.value for k in node.keywords if k.arg}}
        values = {name: self.converted(value, wanted[name], name) for name, value in written.items()}
        return [values[name] for name in names]

    def access(self, node: ast.Call, variable: p.StateVar, at: ast.expr | None) -> int | None:
        """``get`` and ``set``; each is a step."""
        machine, function = self.machine, self.frames[-1].function
        index = None if at is None else self.value(at)
        name = variable.name
        if variable.per_cpu:
            index = self.cpu if index is None else index
            if index not in range(machine.model.cpus):
                raise InputError(f"there is no CPU {index}", place=function.place(node), hint="guard the access")
            name = f"cpu{index}.{name}"
        elif variable.index is not None:
            if index not in variable.index.values():
                raise InputError(
                    f"{variable.name} has no element {index}",
                    place=function.place(node),
                    hint=f"its index is a {variable.index}",
                )
            name = f"{name}[{variable.index.show(index)}]"
        if node.func.attr == "get":  # type: ignore[attr-defined]  # an attribute, or this would not be called
            if self.logged():
                return self.next_logged()
            self.step(f"reads {name}", node)
            machine.accessed()
            return self.log(machine.memory[name])
        value = self.converted(node.args[0], variable.type, variable.name)
        if self.logged():
            return self.next_logged()
        self.step(f"{name} := {value}", node)
        machine.accessed()
        machine.memory[name] = value
        return self.log(None)

    def require(self, condition: ast.expr) -> None:
        """REQ: what happened before has happened; but one read, whose value does not do, is not made."""
        if self.truth(condition):
            return
        frame = self.frames[-1]
        if self.atomic or not self.performed:
            raise Blocked
        accesses = [found for node, found in frame.function.calls(condition) if self.machine.world.is_step(node, found)]
        if len(accesses) == 1 and isinstance(accesses[0], p.StateVar):
            raise Blocked
        frame.log.clear()
        raise _Waits

    # -- preconditions

    def unmet(self, procedure: p.Procedure, args: Sequence[int]) -> list[str]:
        """Whose preconditions do not hold now, of the procedure that is named and of what stands in its place."""
        world, names = self.machine.world, []
        for owner in world.chain(procedure):
            function = world.functions[owner]
            for required in function.requires:
                judge = Activation(
                    self.machine,
                    self.cpu,
                    self.level,
                    [
                        Frame(
                            function,
                            (_Judged(required.args[0]), None),
                            dict(zip(function.parameters, args, strict=True)),
                        )
                    ],
                )
                judge.atomic = 1  # to read the state is no step
                judge.go()
                if not judge.judged:
                    names.append(owner.name)
        return names

    def owed(self, procedure: p.Procedure) -> None:
        """A call that owes something is a trigger of what is said about such calls."""
        for owner in self.machine.world.chain(procedure):
            if self.machine.world.functions[owner].requires:
                self.machine.occurred("requires", owner.name, self.here())

    def begin_judging(self, procedure: p.Procedure, node: ast.AST | GeneralCall) -> None:
        """CALL-4: what something else may change meanwhile is judged in a step of its own."""
        if not self.atomic and self.machine.world.judged_apart(procedure, self.level):
            self.step(f"calls {procedure.name}()", node)

    def general_call(self, item: GeneralCall) -> None:
        """The most general caller: any arguments with which what is required holds."""
        args = [self.chosen(domain) for domain in item.domains]
        if self.logged():
            self.next_logged()
            return
        performed = self.performed
        self.begin_judging(item.callee, item)
        if self.unmet(item.callee, args):
            raise _Waits if performed and not self.atomic else Blocked
        self.machine.opened.add(item.callee.name)
        self.start(item.callee, args)
        raise _Called

    # -- expressions

    def truth(self, node: ast.expr) -> bool:
        return bool(self.value(node))

    def converted(self, node: ast.expr, type_: Type | None, what: str) -> int:
        """An expression's value, as a value of the type that takes it."""
        return self.fitting(self.value(node), self.frames[-1].function.type(node), type_, node, what)

    def fitting(self, value: int, source: Type | None, type_: Type | None, node: ast.AST, what: str) -> int:
        value = self.as_type(value, source, type_)
        if type_ is not None:
            check(type_, value, self.frames[-1].function.place(node), what)
        return value

    def as_type(self, value: int, source: Type | None, type_: Type | None) -> int:
        """A value in another type: words are cut, or extended by their sign; a condition asks for what is not 0."""
        if type_ == BOOL:
            return int(bool(value))
        return within(type_, order(source, value))

    def value(self, node: ast.expr) -> int:
        """What an expression is worth, in its own type, from left to right as Python does."""
        function = self.frames[-1].function
        match node:
            case ast.Name(id=name) if name in function.locals:
                if name not in self.frames[-1].locals:
                    raise InputError(
                        f"'{name}' has no value here", place=function.place(node), hint="give it one first"
                    )
                return self.frames[-1].locals[name]
            case ast.Constant(value=number):
                return int(number)  # type: ignore[arg-type]  # a number, says the front end
            case ast.Name() | ast.Attribute():
                return self.named(function.denoted(node))
            case ast.Call():
                value = self.call(node)
                assert value is not None
                return value
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return int(not self.truth(operand))
            case ast.UnaryOp(op=op, operand=operand):
                number = self.value(operand)
                return within(function.type(operand), ~number if isinstance(op, ast.Invert) else -number)
            case ast.BinOp(left=left, op=op, right=right):
                type_ = function.type(node)
                return self.combined(op, self.as_type(self.value(left), function.type(left), type_), right, type_)
            case ast.BoolOp(op=op, values=values):
                for x in values:
                    if self.truth(x) is isinstance(op, ast.Or):
                        return int(isinstance(op, ast.Or))
                return int(isinstance(op, ast.And))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                taken = body if self.truth(test) else orelse
                return self.as_type(self.value(taken), function.type(taken), function.type(node))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return int(self.compared(left, ops, comparators))
        raise InputError(
            f"the reference interpreter does not know '{ast.unparse(node)}'",
            place=function.place(node),
            hint="see docs/semantics.md",
        )

    def named(self, found: Any) -> int:
        """What an object of the module is worth: a constant, a case variable, a flag."""
        if isinstance(found, p.CaseVar):
            return self.machine.memory[f"case.{found.name}"]
        if isinstance(found, p.Flag):
            return int(self.machine.model.flags[found])
        return constant(found)[0]

    def combined(self, op: ast.operator, left: int, right: ast.expr, type_: Type | None) -> int:
        """``left``, which is of ``type_``, and the value of ``right``, combined to a value of that type."""
        number, source = self.value(right), self.frames[-1].function.type(right)
        if not isinstance(op, ast.LShift | ast.RShift):
            number = self.as_type(number, source, type_)
        return within(type_, arithmetic(OPERATORS[type(op)], left, number))

    def compared(self, left: ast.expr, ops: Sequence[ast.cmpop], rights: Sequence[ast.expr]) -> bool:
        """A chain of comparisons; it ends at the first that does not hold."""
        number, node = self.value(left), left
        for op, right in zip(ops, rights, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                written: list[ast.expr] = right.elts  # type: ignore[attr-defined]  # a tuple, says the front end
                members = [self.numbers(number, node, self.value(x), x) for x in written]
                if any(a == b for a, b in members) is not isinstance(op, ast.In):
                    return False
                continue
            other = self.value(right)
            if not _COMPARED[type(op)](*self.numbers(number, node, other, right)):
                return False
            number, node = other, right
        return True

    def numbers(self, left: int, left_node: ast.expr, right: int, right_node: ast.expr) -> tuple[int, int]:
        """Two values as the numbers that are compared."""
        sources = [self.frames[-1].function.type(n) for n in (left_node, right_node)]
        type_ = joined(*sources)
        a, b = (order(type_, self.as_type(x, t, type_)) for x, t in zip((left, right), sources, strict=True))
        return a, b
