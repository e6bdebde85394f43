"""Where C keeps values: the locals of a function and the places that a profile knows, and what is known of each.

What is known of a local depends on the way that a run came; where two ways meet, only what both
know stays known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlbcheck.c.names import Constant, Names, UnknownName
from tlbcheck.c.preprocess import Dependency
from tlbcheck.c.profile import PlaceEntry
from tlbcheck.c.syntax import Syntax, bare, canonical, part, text_of
from tlbcheck.c.values import CBOOL, CType, Integer, Other, Value, convert, unknown
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, const, truth, var, word_op
from tlbcheck.lang.types import BOOL, Type, WordType

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(eq=False)
class Local:
    """A local: its name in the IR and its type; a structure has ``fields`` instead, with their bits."""

    name: str
    type: CType
    fields: dict[str, Local] = field(default_factory=dict)
    offset: int = 0
    bits: int = 0


_TREE = "give the tree (--tree DIR)"

Target = Local | PlaceEntry | Constant


@dataclass(frozen=True, eq=False)
class _Half:
    """One of the two writes that keep a copy equal to what it copies, ``at`` in the list of statements ``out``."""

    node: Node
    entry: PlaceEntry
    copy: bool
    value: Expr
    out: list[p.Statement]
    at: int


@dataclass(eq=False)
class Places(ABC):
    """Reads and writes the places of one function; ``out`` is the list that statements are being added to.

    ``state`` says of each local what is known of it, by its name in the IR; None where no run gets.
    ``given``: the text is the profile's own.
    """

    names: Names
    syntax: Syntax
    given: bool = False
    whole_text: bool = True
    """No lines of the function are missing."""
    out: list[p.Statement] = field(default_factory=list)
    scopes: list[dict[str, Local]] = field(default_factory=lambda: [{}])
    state: dict[str, Value] | None = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    stored: dict[str, Type] = field(default_factory=dict)
    escaped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    depends: set[Dependency] = field(default_factory=set)
    callees: dict[p.Procedure, None] = field(default_factory=dict)
    temporaries: int = 0
    half: _Half | None = None
    passed: dict[str, p.Parameter] = field(default_factory=dict)
    """What callers of the role pass and the function does not take, by name."""
    unset: dict[str, Node] = field(default_factory=dict)
    """Locals that were declared without a value, until they are given one."""

    # -- small services

    def add(self, statement: p.Statement) -> None:
        if self.state is not None:
            self.out.append(statement)

    def place(self, node: Node) -> Place:
        return self.syntax.place(node)

    def refuse(self, node: Node, what: str, hint: str) -> InputError:
        return self.syntax.refuse(node, what, hint)

    def note(self, text: str) -> None:
        """Something that the verdict has to repeat."""
        self.notes[text] = None

    def not_set(self, name: str) -> str:
        """What is wrong with a local that has no value on some way, as the end of a sentence."""
        return f"'{name}', which may not have been set" if self.whole_text else f"'{name}', whose value may be given in lines that are not in the mail"

    def temporary(self) -> str:
        self.temporaries += 1
        return f"%{self.temporaries}"

    def apart(self, read: Callable[[], Value]) -> tuple[Value, list[p.Statement]]:
        """What ``read`` returns, and the statements that it needs first."""
        outer, self.out = self.out, []
        value = read()
        made, self.out = self.out, outer
        return value, made

    def merged(self, one: dict[str, Value] | None, other: dict[str, Value] | None) -> dict[str, Value] | None:
        """What is known where two ways meet."""
        if one is None or other is None:
            return other if one is None else one
        made = {}
        for name in {**one, **other}:
            a, b = one.get(name), other.get(name)
            if a is not None and b is not None and a.same(b):
                made[name] = a
            else:
                why = next((v.why for v in (a, b) if v is not None and v.expr is None), "")
                made[name] = unknown(why or self.not_set(name), (a or b or unknown("")).type)
        return made

    def needed(self, node: Node, value: Value, what: str) -> Expr:
        """The expression of an integer that something depends on."""
        if value.expr is None or not isinstance(value.type, Integer):
            why = value.why or f"'{self.syntax.source(node)}', which is no integer"
            raise self.refuse(node, f"{what} depends on {why}", "only integers that the model knows can decide this" if self.whole_text else _TREE)
        return value.expr

    def fit(self, node: Node, value: Value, type_: Type | None, what: str) -> Expr:
        """``value`` as an operand of the machine."""
        if isinstance(type_, WordType):
            expr = self.needed(node, value, what)
            assert isinstance(value.type, Integer)
            found = convert(Value(value.type, expr), Integer(type_.width, type_.signed)).expr
            assert found is not None
            return found
        if value.expr is None:
            raise self.refuse(node, f"{what} depends on {value.why}", "give what the model knows" if self.whole_text else _TREE)
        if type_ is None and not isinstance(value.type, Integer):
            return value.expr
        if value.expr.type == type_ and (value.type == CBOOL or not isinstance(value.type, Integer)):
            return value.expr
        raise self.refuse(node, f"'{self.syntax.source(node)}' is no {type_ or 'page'} of the model, as {what} has to be", "pass on what the machine or the caller gave")

    def condition(self, node: Node) -> Expr:
        return truth(self.needed(node, self.value(node), "a condition"))

    @abstractmethod
    def value(self, node: Node) -> Value:
        """What an expression gives, once the statements that it needs are added."""

    # -- locals and other places

    def local(self, name: str) -> Local | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def declare(self, name: str, type_: CType, bits: int = 0, offset: int = 0) -> Local:
        unique = name
        while unique in self.declared:
            unique += "'"
        self.declared.add(unique)
        made = Local(unique, type_, bits=bits, offset=offset)
        if self.state is not None:
            self.state[unique] = unknown(self.not_set(name), type_)
        return made

    def target(self, node: Node) -> Target:
        """What an assignment's left side, or a name that is read, stands for."""
        node = bare(node)
        if node.type == "identifier" and (found := self.local(text_of(node))):
            return found
        if node.type == "field_expression":
            base = bare(part(node, "argument"))
            if base.type == "identifier" and (owner := self.local(text_of(base))) and owner.fields and text_of(part(node, "operator")) == ".":
                name = text_of(part(node, "field"))
                if name in owner.fields:
                    return owner.fields[name]
                raise self.refuse(node, f"'{text_of(base)}' has no member '{name}'", "its members are those of its declaration")
        if node.type == "identifier" and (constant := self.names.constant(text_of(node))):
            self.depends |= constant.depends
            return constant
        return self.entry(node)

    def entry(self, node: Node) -> PlaceEntry:
        name = canonical(node)
        found = self.names.variable(name)
        if found is None and node.type == "field_expression":
            base, chain = node, ""
            while base.type == "field_expression":
                chain = f"{text_of(part(base, 'operator'))}{text_of(part(base, 'field'))}{chain}"
                base = bare(part(base, "argument"))
            found = self.names.variable(chain) if base.type == "identifier" else None
        if found is None and name in self.names.assumed:
            self.note(f"{name} is assumed to have no effect on the TLB, as was asked for")
            return PlaceEntry(name, self.place(node), ignored=True)
        if found is None and node.type == "identifier":
            hint = f"if it is a macro of a header, give -D {name}=VALUE or --tree DIR; else {self.ways_out('places', name)}"
            raise UnknownName(name, f"'{name}' is not known in {self.syntax.what}", place=self.place(node), hint=hint)
        if found is None:
            raise self.refuse(node, f"'{name}' is not known", self.ways_out("places", name))
        return found

    def ways_out(self, table: str, name: str) -> str:
        key = name if name.replace("_", "a").isalnum() else f"'{name}'"
        return f"say what it means in a profile (--profile FILE with the lines [{table}.{key}] and effect = \"none\"), or give --assume-no-tlb-effect '{name}'"

    def load(self, node: Node, target: Target) -> Value:
        if isinstance(target, Constant):
            return target.value
        if isinstance(target, Local):
            if target.fields:
                return unknown(f"the structure '{target.name}'", target.type)
            return (self.state or {}).get(target.name) or unknown(self.not_set(target.name), target.type)
        if target.reason:
            self.note(f"{target.name}: {target.reason}")
        meaning = target.meaning
        if isinstance(meaning, p.CaseVar | p.Flag):
            type_ = meaning.expr.type
            return Value(CBOOL if type_ == BOOL else Integer(type_.width, type_.signed) if isinstance(type_, WordType) else Other(target.name), meaning.expr)
        if isinstance(meaning, p.StateVar):
            self.scalar(node, meaning)
            name = self.temporary()
            self.add(p.Read(place=self.place(node), variable=meaning, at=None, target=name))
            return Value(CBOOL if meaning.type == BOOL else Integer(meaning.type.width, meaning.type.signed) if isinstance(meaning.type, WordType) else Other(target.name), var(name, meaning.type))
        if target.parameter:
            parameter = self.passed.get(target.parameter)
            if parameter is None or not isinstance(parameter.type, WordType):
                raise self.refuse(node, f"'{target.name}' stands for '{target.parameter}', which callers pass to a function that does not take it, but", f"take '{target.parameter}'")
            return Value(Integer(parameter.type.width, parameter.type.signed), var(parameter.name, parameter.type))
        text = target.constant or target.read
        if text:
            outer, self.syntax = self.syntax, self.names.fragment(text, f"places.{target.name}", self.syntax.token(node), target.place)
            value = self.value(self.syntax.root)
            self.syntax = outer
            if target.constant and (value.expr is None or value.expr.op != "const"):
                raise InputError(f"places.{target.name}: '{text}' is no constant", place=target.place, hint="write a C constant")
            return value
        return unknown(f"the value of '{target.name}', which is not modelled")

    def scalar(self, node: Node, variable: p.StateVar) -> None:
        if variable.index is not None:
            raise self.refuse(node, f"{variable.name} is an array of the model", "map a variable that is none")

    def store(self, node: Node, target: Target, value: Value) -> Value:
        """Assign ``value``, converted; the value of the assignment."""
        here = self.place(node)
        if isinstance(target, Local):
            return self.store_local(node, target, value)
        if isinstance(target, Constant):
            raise self.refuse(node, "an assignment to a constant", "mend the text")
        if isinstance(target.meaning, p.StateVar):
            self.scalar(node, target.meaning)
            self.add(p.Write(place=here, variable=target.meaning, at=None, value=self.fit(node, value, target.meaning.type, target.name)))
            return value
        if target.copies is not None:
            self.halved(node, target, True, self.fit(node, value, target.copies.operands[0][1], target.name))
        elif not target.ignored:
            raise self.refuse(node, f"'{target.name}' cannot be assigned", f"its entry in the profile ({target.place}) says only what it is to read")
        if target.reason:
            self.note(f"{target.name}: {target.reason}")
        return value

    def written(self, node: Node, operation: p.Operation, value: Expr) -> None:
        """Assembly of the code base performs ``operation``: where something is a copy of what that writes, only half is done."""
        entry = self.names.copy_of(operation)
        if entry is not None and not self.given:
            self.halved(node, entry, False, value)

    def halved(self, node: Node, entry: PlaceEntry, copy: bool, value: Expr) -> None:
        """A copy, or what it copies, is written: the other has to be written with the same value before anything else happens."""
        if self.state is None:
            return
        first, self.half = self.half, None
        if first is None:
            self.half = _Half(node, entry, copy, value, self.out, len(self.out))
            return
        between = first.out[first.at + (not first.copy) :]
        beside = first.out is self.out and all(isinstance(x, p.Assign | p.Assert) for x in between)
        if not beside or first.entry is not entry or first.copy is copy or first.value is not value:
            raise self.half_done(first)

    def whole(self) -> None:
        """The function ends: nothing may be half done."""
        if self.half is not None:
            raise self.half_done(self.half)

    def half_done(self, half: _Half) -> InputError:
        name = half.entry.name
        what = f"'{name}' is written without what it is a copy of" if half.copy else f"{half.entry.copies.name if half.entry.copies else ''} without a write of its copy '{name}'"
        return self.refuse(half.node, what, f"write both, with the same value, one right after the other; reading '{name}' means {half.entry.read}")

    def store_local(self, node: Node, target: Local, value: Value) -> Value:
        if target.fields:
            raise self.refuse(node, "assignment of a structure", "assign its members")
        if isinstance(target.type, Integer) and isinstance(value.type, Integer):
            value = convert(value, target.type)
            if target.bits and value.expr is not None:
                value = Value(value.type, word_op("band", value.expr, const((1 << target.bits) - 1, target.type.word)))
        elif value.expr is not None and isinstance(target.type, Integer) and target.type.width < 64:
            value = unknown(f"'{target.name}', which is too narrow for what it was given", target.type)
        elif isinstance(value.type, Integer):
            value = unknown(f"'{target.name}' of type {target.type.text}", target.type) if isinstance(target.type, Other) else value
        name = target.name
        self.unset.pop(name, None)
        if name in self.escaped:
            value = unknown(self.escaped[name], target.type)
        if value.expr is not None:
            type_ = value.expr.type
            assert type_ is not None
            kept = name if self.stored.setdefault(name, type_) == type_ else f"{name}:{type_}"
            self.add(p.Assign(place=self.place(node), target=kept, value=value.expr))
            value = Value(value.type, var(kept, type_), value.why)
        if self.state is not None:
            self.state[name] = value
        return value
