"""C expressions to the IR: values, and the statements that computing them needs, in C's order.

What C leaves open is not guessed: operands whose order matters to locals are refused, and of
operands that each do something on the machine the left one is taken to go first, which is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tlbcheck.c import syntax as s
from tlbcheck.c.literals import character
from tlbcheck.c.profile import CallEntry, PlaceEntry
from tlbcheck.c.syntax import Syntax, bare, canonical, part, text_of
from tlbcheck.c.text import Token
from tlbcheck.c.values import CBOOL, INT, UNSIGNED_LONG, VOID, CType, Integer, Other, Value, boolean, common, convert, integer_type, literal, number, promoted, shifted_right, unknown
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, apply, const, eq, ite, not_, or_, resize, truth, var, word_op
from tlbcheck.lang.source import Source
from tlbcheck.lang.types import BOOL, Type, WordType

if TYPE_CHECKING:
    from tree_sitter import Node

_BITS = {"&": "band", "|": "bor", "^": "bxor", "+": "add", "-": "sub"}


@dataclass(frozen=True)
class Signature:
    """What a declaration says of a function."""

    name: str
    result: CType
    parameters: tuple[tuple[str, CType], ...]


@dataclass(frozen=True)
class Followed:
    """A function that was read; ``given`` if the profile defines it and not the file."""

    procedure: p.Procedure
    given: bool


class Names(Protocol):
    """What the names in a function mean: the unit that it belongs to."""

    assumed: frozenset[str]

    def call(self, name: str) -> CallEntry | None: ...
    def variable(self, name: str) -> PlaceEntry | None: ...
    def defines(self, name: str) -> bool: ...

    def stands_for(self, name: str, entry: CallEntry) -> None: ...
    def signature(self, name: str, place: Place) -> Signature: ...
    def declaration(self, source: Source, what: str) -> Signature: ...
    def fragment(self, text: str, what: str, at: Token, origin: Place) -> Syntax: ...
    def follow(self, name: str, kinds: tuple[Type | None, ...], place: Place) -> Followed: ...


@dataclass(eq=False)
class Local:
    """A local: its name in the IR and its type; a structure has ``fields`` instead, with their bits."""

    name: str
    type: CType
    fields: dict[str, Local] = field(default_factory=dict)
    offset: int = 0
    bits: int = 0


Target = Local | PlaceEntry


@dataclass(eq=False)
class Expressions:
    """Reads expressions of one function; ``out`` is the list that statements are being added to.

    ``state`` says of each local what is known of it, by its name in the IR; None where no run gets.
    """

    names: Names
    syntax: Syntax
    out: list[p.Statement] = field(default_factory=list)
    scopes: list[dict[str, Local]] = field(default_factory=lambda: [{}])
    state: dict[str, Value] | None = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    stored: dict[str, Type] = field(default_factory=dict)
    escaped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    callees: dict[p.Procedure, None] = field(default_factory=dict)
    temporaries: int = 0

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
                made[name] = unknown(why or f"'{name}', which may not have been set", (a or b or unknown("")).type)
        return made

    def needed(self, node: Node, value: Value, what: str) -> Expr:
        """The expression of an integer that something depends on."""
        if value.expr is None or not isinstance(value.type, Integer):
            why = value.why or f"'{self.syntax.source(node)}', which is no integer"
            raise self.refuse(node, f"{what} depends on {why}", "only integers that the model knows can decide this")
        return value.expr

    def condition(self, node: Node) -> Expr:
        return truth(self.needed(node, self.value(node), "a condition"))

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
            self.state[unique] = unknown(f"'{name}', which may not have been set", type_)
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
        if found is None:
            raise self.refuse(node, f"'{name}' is not known", self.ways_out("places", name))
        return found

    def ways_out(self, table: str, name: str) -> str:
        key = name if name.replace("_", "a").isalnum() else f"'{name}'"
        return f"say what it means in a profile (--profile FILE with the lines [{table}.{key}] and effect = \"none\"), or give --assume-no-tlb-effect '{name}'"

    def load(self, node: Node, target: Target) -> Value:
        if isinstance(target, Local):
            if target.fields:
                return unknown(f"the structure '{target.name}'", target.type)
            return (self.state or {}).get(target.name) or unknown(f"'{target.name}', which may not have been set", target.type)
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
        if isinstance(target.meaning, p.StateVar):
            self.scalar(node, target.meaning)
            self.add(p.Write(place=here, variable=target.meaning, at=None, value=self.fit(node, value, target.meaning.type, target.name)))
            return value
        if not target.ignored:
            raise self.refuse(node, f"'{target.name}' cannot be assigned", f"its entry in the profile ({target.place}) says only what it is to read")
        if target.reason:
            self.note(f"{target.name}: {target.reason}")
        return value

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

    # -- expressions

    def effect(self, node: Node) -> None:
        """An expression whose value is not used."""
        self.value(node)

    def value(self, node: Node) -> Value:
        match node.type:
            case "parenthesized_expression":
                inner = [c for c in node.named_children if c.type != "comment"]
                if len(inner) == 1 and inner[0].type == "compound_statement":
                    return self.block_value(inner[0])
                return self.value(inner[0])
            case "identifier" | "field_expression" | "subscript_expression":
                return self.load(node, self.target(node))
            case "number_literal":
                found = literal(text_of(node))
                if found is None:
                    raise self.refuse(node, f"the number '{text_of(node)}'", "write an integer that fits 64 bits")
                return found
            case "char_literal":
                code = character(text_of(node))
                if code is None:
                    raise self.refuse(node, f"the character {text_of(node)}", "write a plain one")
                return number(code)
            case "true" | "false":
                return number(int(node.type == "true"))
            case "null" | "string_literal" | "concatenated_string":
                return unknown(f"'{self.syntax.source(node)}'", Other("pointer"))
            case "call_expression":
                return self.call(node)
            case "unary_expression":
                return self.unary(node)
            case "binary_expression":
                return self.binary_expression(node)
            case "assignment_expression":
                return self.assignment(node)
            case "update_expression":
                return self.update(node)
            case "conditional_expression":
                return self.conditional(node)
            case "comma_expression":
                self.effect(part(node, "left"))
                return self.value(part(node, "right"))
            case "cast_expression":
                return self.cast(node)
            case "pointer_expression":
                return self.pointer(node)
            case "gnu_asm_expression":
                from tlbcheck.c.assembly import read_assembly

                return read_assembly(self, node)
        raise self.refuse(
            node, f"'{self.syntax.source(node)}' ({node.type.replace('_', ' ')}) is not understood", "supported are names, integers, calls, C's operators on integers, casts and assignments"
        )

    def block_value(self, node: Node) -> Value:
        raise self.refuse(node, "a block inside an expression", "write it as statements")

    def sequence(self, nodes: list[Node]) -> list[Value]:
        """Operands that C evaluates in no particular order."""
        for i, one in enumerate(nodes):
            writes = self.writes(one)
            for other in (*nodes[:i], *nodes[i + 1 :]):
                clash = writes & ({text_of(n) for n, _ in s.walk(other) if n.type == "identifier"} if writes else frozenset())
                if clash:
                    raise self.refuse(one, f"'{min(clash)}' is changed here and used by another operand, in no order that C gives,", "use two statements")
        made, acting = [], 0
        for node in nodes:
            value, before = self.apart(lambda node=node: self.value(node))  # type: ignore[misc]
            acting += any(isinstance(x, p.Do | p.Read | p.Write | p.Call) for x in p.walk(before))
            self.out += before
            made.append(value)
        if acting > 1:
            self.note(f"the operands of '{self.syntax.source(nodes[0].parent or nodes[0])}' are evaluated from left to right, which C leaves open ({self.place(nodes[0])})")
        return made

    def writes(self, node: Node) -> frozenset[str]:
        """The names that are assigned somewhere in ``node``."""
        return self.syntax.targets().get(node.id, frozenset())

    def unary(self, node: Node) -> Value:
        operator = text_of(part(node, "operator"))
        value = self.value(part(node, "argument"))
        if value.expr is None or not isinstance(value.type, Integer):
            return unknown(value.why or "a token of the machine", INT if operator == "!" else value.type)
        if operator == "!":
            return boolean(not_(truth(value.expr)))
        value = convert(value, promoted(value.type))
        assert value.expr is not None and isinstance(value.type, Integer)
        word = value.type.word
        if operator == "~":
            return Value(value.type, apply("bnot", (value.expr,), word))
        if operator == "-":
            return Value(value.type, word_op("sub", const(0, word), value.expr))
        return value

    def binary_expression(self, node: Node) -> Value:
        operator = text_of(part(node, "operator"))
        left, right = part(node, "left"), part(node, "right")
        if operator in ("&&", "||"):
            return self.junction(node, operator == "&&", left, right)
        a, b = self.sequence([left, right])
        return self.binary(node, operator, a, b)

    def binary(self, node: Node, operator: str, a: Value, b: Value) -> Value:
        comparison = operator in ("==", "!=", "<", "<=", ">", ">=")
        if a.expr is None or b.expr is None or not isinstance(a.type, Integer) or not isinstance(b.type, Integer):
            why = next((v.why for v in (a, b) if v.why), f"'{self.syntax.source(node)}'")
            return unknown(why, INT if comparison else a.type if isinstance(a.type, Integer) else b.type)
        if operator in ("<<", ">>"):
            return self.shift(node, operator, a, b)
        if a.expr.type == BOOL and b.expr.type == BOOL and operator in ("&", "|", "^", "==", "!="):
            same = eq(a.expr, b.expr)
            made = {"&": and_(a.expr, b.expr), "|": or_(a.expr, b.expr), "^": not_(same), "==": same, "!=": not_(same)}[operator]
            return boolean(made)
        type_ = common(a.type, b.type)
        x, y = convert(a, type_).expr, convert(b, type_).expr
        assert x is not None and y is not None
        match operator:
            case "==":
                return boolean(eq(x, y))
            case "!=":
                return boolean(not_(eq(x, y)))
            case "<":
                return boolean(x < y)
            case "<=":
                return boolean(x <= y)
            case ">":
                return boolean(y < x)
            case ">=":
                return boolean(y <= x)
        if operator in _BITS:
            return Value(type_, word_op(_BITS[operator], x, y))
        return Value(type_, self.product(node, operator, x, y, type_))

    def product(self, node: Node, operator: str, x: Expr, y: Expr, type_: Integer) -> Expr:
        """``* / %``: of constants, or by a power of two."""
        word = type_.word
        if x.op == "const" and y.op == "const":
            a, b = (v - (1 << word.width) if word.signed and v >> (word.width - 1) else v for v in (x.value, y.value))
            if operator == "*":
                return const(a * b, word)
            if b:
                quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
                return const(quotient if operator == "/" else a - quotient * b, word)
        if operator == "*" and x.op == "const":
            x, y = y, x
        if y.op == "const" and y.value and not y.value & (y.value - 1):
            n = y.value.bit_length() - 1
            if operator == "*":
                return word_op("shl", x, const(n, word))
            if not word.signed:
                return word_op("shr", x, const(n, word)) if operator == "/" else word_op("band", x, const(y.value - 1, word))
        raise self.refuse(node, f"'{operator}' in '{self.syntax.source(node)}'", "it is read for constants and powers of two")

    def shift(self, node: Node, operator: str, a: Value, b: Value) -> Value:
        assert isinstance(a.type, Integer) and isinstance(b.type, Integer)
        type_ = promoted(a.type)
        x, n = convert(a, type_).expr, convert(b, promoted(b.type)).expr
        assert x is not None and n is not None
        width = const(type_.width, promoted(b.type).word)
        inside = and_(const(0, n.type) <= n, n < width)
        if inside is FALSE:
            raise self.refuse(node, f"a shift of {type_.width} bits by {n.value}", "C gives it no value")
        if inside is not TRUE:
            self.add(p.Assert(place=self.place(node), condition=inside, text=f"{self.syntax.source(node)}: the shift is less than {type_.width}"))
        if operator == "<<":
            return Value(type_, word_op("shl", x, resize(n, type_.word)))
        made = shifted_right(x, type_, n)
        if made is None:
            raise self.refuse(node, "a right shift of a signed value by a variable", "make it unsigned, or shift by a constant")
        return Value(type_, made)

    def junction(self, node: Node, conjunction: bool, left: Node, right: Node) -> Value:
        first = self.value(left)
        decided = first.expr is not None and isinstance(first.type, Integer) and truth(first.expr).op == "const" and bool(truth(first.expr).value) is not conjunction
        if decided:
            return number(0 if conjunction else 1)
        before = None if self.state is None else dict(self.state)
        second, made = self.apart(lambda: self.value(right))
        if first.expr is None or not isinstance(first.type, Integer):
            if made:
                self.needed(left, first, f"whether '{self.syntax.source(right)}' happens")
            return unknown(first.why or "a token of the machine", INT)
        condition = truth(first.expr)
        if condition.op == "const":
            self.out += made
            return unknown(second.why, INT) if second.expr is None or not isinstance(second.type, Integer) else boolean(truth(second.expr))
        usable = second.expr is not None and isinstance(second.type, Integer)
        rest = truth(second.expr) if usable and second.expr is not None else FALSE
        if not made:
            if not usable:
                return unknown(second.why or "a token of the machine", INT)
            return boolean(and_(condition, rest) if conjunction else or_(condition, rest))
        self.state = self.merged(before, self.state)
        here, name = self.place(node), self.temporary()
        later = [*made, p.Assign(place=here, target=name, value=rest)]
        known: list[p.Statement] = [p.Assign(place=here, target=name, value=FALSE if conjunction else TRUE)]
        self.add(p.If(place=here, condition=condition, then=later if conjunction else known, orelse=known if conjunction else later))
        return boolean(var(name, BOOL)) if usable else unknown(second.why, INT)

    def conditional(self, node: Node) -> Value:
        test, other = part(node, "condition"), part(node, "alternative")
        chosen = node.child_by_field_name("consequence")
        first = self.value(test)
        condition = truth(self.needed(test, first, "a condition"))
        before = None if self.state is None else dict(self.state)
        yes, yes_made = (first, list[p.Statement]()) if chosen is None else self.apart(lambda: self.value(chosen))
        after = self.state
        self.state = before if before is None else dict(before)
        no, no_made = self.apart(lambda: self.value(other))
        integers = isinstance(yes.type, Integer) and isinstance(no.type, Integer)
        if integers and isinstance(yes.type, Integer) and isinstance(no.type, Integer):
            lazy = yes.expr is not None and no.expr is not None and yes.expr.type == BOOL and no.expr.type == BOOL
            type_: CType = INT if lazy else common(yes.type, no.type)
            if not lazy and isinstance(type_, Integer):
                yes, no = convert(yes, type_), convert(no, type_)
        else:
            type_ = yes.type
        if condition.op == "const":
            if condition.value:
                self.state = after
            self.out += yes_made if condition.value else no_made
            return yes if condition.value else no
        self.state = self.merged(after, self.state)
        here = self.place(node)
        if yes.expr is None or no.expr is None or not integers:
            if yes_made or no_made:
                self.add(p.If(place=here, condition=condition, then=yes_made, orelse=no_made))
            return unknown(yes.why or no.why or f"'{self.syntax.source(node)}'", type_)
        if not yes_made and not no_made:
            return Value(type_, ite(condition, yes.expr, no.expr))
        assert yes.expr.type is not None
        name = self.temporary()
        self.add(p.If(place=here, condition=condition, then=[*yes_made, p.Assign(place=here, target=name, value=yes.expr)], orelse=[*no_made, p.Assign(place=here, target=name, value=no.expr)]))
        return Value(type_, var(name, yes.expr.type))

    def assignment(self, node: Node) -> Value:
        operator, left, right = text_of(part(node, "operator")), part(node, "left"), part(node, "right")
        target = self.target(left)
        if operator == "=":
            return self.store(node, target, self.value(right))
        if text_of(bare(left)) in self.writes(right):
            raise self.refuse(node, f"'{text_of(bare(left))}' is changed on both sides", "use two statements")
        if isinstance(target, Local):
            value = self.value(right)
            return self.store(node, target, self.binary(node, operator[:-1], self.load(left, target), value))
        before = self.load(left, target)
        return self.store(node, target, self.binary(node, operator[:-1], before, self.value(right)))

    def update(self, node: Node) -> Value:
        operator, argument = text_of(part(node, "operator")), part(node, "argument")
        target = self.target(argument)
        before = self.load(argument, target)
        prefix = part(node, "operator").start_byte < argument.start_byte
        if not prefix and before.expr is not None and before.expr.type is not None:
            name = self.temporary()
            self.add(p.Assign(place=self.place(node), target=name, value=before.expr))
            before = Value(before.type, var(name, before.expr.type))
        after = self.store(node, target, self.binary(node, operator[0], before, number(1)))
        return after if prefix else before

    def type_named(self, node: Node) -> CType:
        """The type that a type descriptor, or the start of a declaration, names."""
        declarator = node.child_by_field_name("declarator")
        if declarator is not None and declarator.type.startswith("abstract"):
            return Other(" ".join(text_of(node).split()))
        type_ = part(node, "type")
        return integer_type(text_of(type_).split()) or Other(" ".join(text_of(type_).split()))

    def cast(self, node: Node) -> Value:
        type_, value = self.type_named(part(node, "type")), self.value(part(node, "value"))
        if type_ == VOID:
            return unknown("nothing", VOID)
        if isinstance(type_, Integer):
            if isinstance(value.type, Integer):
                return convert(value, type_)
            if value.expr is not None and type_.width == 64:
                return value  # a pointer that the model knows stays what it is
            return unknown(value.why or f"'{self.syntax.source(node)}'", type_)
        if isinstance(value.type, Integer):
            return unknown(value.why or f"the pointer '{self.syntax.source(node)}'", type_)
        return Value(type_, value.expr, value.why)

    def pointer(self, node: Node) -> Value:
        argument = bare(part(node, "argument"))
        if text_of(part(node, "operator")) == "*":
            return self.load(node, self.entry(node))
        if argument.type == "identifier" and (found := self.local(text_of(argument))):
            for one in (found, *found.fields.values()):
                self.escaped[one.name] = f"'{one.name}', whose address was taken"
                if self.state is not None:
                    self.state[one.name] = unknown(self.escaped[one.name], one.type)
        return unknown(f"the address '{self.syntax.source(node)}'", Other("pointer"))

    # -- calls

    def call(self, node: Node) -> Value:
        function = bare(part(node, "function"))
        name = canonical(function)
        arguments = [a for a in part(node, "arguments").named_children if a.type != "comment"]
        if function.type == "identifier" and self.local(name) is not None:
            raise self.refuse(node, f"a call through the variable '{name}'", "call a function by its name")
        entry = self.names.call(name)
        if entry is not None and entry.instead_of_definition and self.names.defines(name):
            self.names.stands_for(name, entry)
            self.note(f"{name} is not read but taken for '{entry.meaning.name if entry.meaning else 'nothing'}': {entry.reason or 'the profile says so'}")
        elif name in self.names.assumed:
            if entry is not None and not self.names.defines(name):
                raise self.refuse(node, f"{name} has a meaning in the profile ({entry.place})", f"leave out --assume-no-tlb-effect {name}")
            self.note(f"{name} is assumed to have no effect on the TLB, as was asked for")
            self.sequence(arguments)
            return unknown(f"the result of {name}, which is assumed to have no effect")
        elif self.names.defines(name):
            return self.followed(node, name, arguments)
        if entry is None:
            place = self.names.variable(canonical(node))
            if place is not None or canonical(node) in self.names.assumed:
                return self.load(node, place or self.entry(node))
            raise self.refuse(node, f"the call of '{name}' is not known", self.ways_out("calls", name))
        if entry.asserts is not None:
            return self.assertion(node, entry.asserts, arguments)
        if entry.meaning is None:
            if entry.reason:
                self.note(f"{name} has no effect: {entry.reason}")
            self.sequence(arguments)
            return unknown(f"the result of {name}, which is not modelled")
        return self.operation(node, entry, arguments)

    def assertion(self, node: Node, wanted: bool, arguments: list[Node]) -> Value:
        here = self.place(node)
        if not arguments:
            self.add(p.Assert(place=here, condition=FALSE, text=self.syntax.source(node)))
            return unknown("an assertion", VOID)
        if self.writes(arguments[0]):
            raise self.refuse(node, "an assertion that changes something", "assert what was computed before")
        value, made = self.apart(lambda: self.value(arguments[0]))
        for x in p.walk(made):
            if isinstance(x, p.Write | p.Call) or (isinstance(x, p.Do) and (x.operation.effects or x.operation.drops)):
                raise self.refuse(node, "an assertion that does something on the machine", "assert what was computed before")
        if value.expr is None or not isinstance(value.type, Integer):
            self.note(f"'{self.syntax.source(node)}' is taken to hold, since it depends on {value.why or 'what is not modelled'} ({here})")
            return unknown("an assertion", VOID)
        self.out += made
        condition, text = truth(value.expr), self.syntax.source(arguments[0])
        self.add(p.Assert(place=here, condition=condition if wanted else not_(condition), text=text if wanted else f"not ({text})"))
        return unknown("an assertion", VOID)

    def bound(self, node: Node, signature: Signature, arguments: list[Node], skip: str = "") -> dict[str, tuple[Node, Value]]:
        """The arguments by parameter, converted as a call of a declared function converts them."""
        if len(arguments) != len(signature.parameters):
            raise self.refuse(node, f"{signature.name} takes {len(signature.parameters)} argument(s), {len(arguments)} given", "mend the call, or the declaration in the profile")
        wanted = [(q, a) for q, a in zip(signature.parameters, arguments, strict=True) if q[0] != skip]
        values = self.sequence([a for _, a in wanted])
        made = {}
        for ((name, type_), argument), value in zip(wanted, values, strict=True):
            if isinstance(type_, Integer) and isinstance(value.type, Integer):
                value = convert(value, type_)
            elif isinstance(type_, Other) and isinstance(value.type, Integer):
                value = unknown(f"'{self.syntax.source(argument)}'", type_)
            made[name] = (argument, value)
        return made

    def fit(self, node: Node, value: Value, type_: Type | None, what: str) -> Expr:
        """``value`` as an operand of the machine."""
        if isinstance(type_, WordType):
            expr = self.needed(node, value, what)
            assert isinstance(value.type, Integer)
            found = convert(Value(value.type, expr), Integer(type_.width, type_.signed)).expr
            assert found is not None
            return found
        if value.expr is None:
            raise self.refuse(node, f"{what} depends on {value.why}", "give what the model knows")
        if type_ is None and not isinstance(value.type, Integer):
            return value.expr
        if value.expr.type == type_ and (value.type == CBOOL or not isinstance(value.type, Integer)):
            return value.expr
        raise self.refuse(node, f"'{self.syntax.source(node)}' is no {type_ or 'page'} of the model, as {what} has to be", "pass on what the machine or the caller gave")

    def operation(self, node: Node, entry: CallEntry, arguments: list[Node]) -> Value:
        assert entry.meaning is not None and entry.declaration is not None
        here, meaning = self.place(node), entry.meaning
        signature = self.names.declaration(entry.declaration, f"calls.{entry.name}")
        given = self.bound(node, signature, arguments, entry.assigns)
        operands = meaning.operands if isinstance(meaning, p.Operation) else tuple((q.name, q.type) for q in meaning.parameters)
        order = list(given) if len(given) == len(operands) else [n for n, _ in operands]
        args = []
        for name, (operand, type_) in zip(order, operands, strict=True):
            if name not in given:
                raise InputError(
                    f"calls.{entry.name}: no parameter is called '{operand}', which {meaning.name} needs",
                    place=entry.place,
                    hint="name the parameters of the declaration after the operation's operands",
                )
            args.append(self.fit(given[name][0], given[name][1], type_, f"{meaning.name}"))
        result_type = (meaning.result.type if meaning.result is not None else None) if isinstance(meaning, p.Operation) else meaning.result
        target = self.temporary() if result_type is not None else None
        if isinstance(meaning, p.Operation):
            self.add(p.Do(place=here, operation=meaning, args=tuple(args), target=target))
        else:
            self.add(p.Call(place=here, procedure=meaning, args=tuple(args), target=target))
        result = unknown(f"the result of {entry.name}, which is not modelled", signature.result)
        if target is not None and result_type is not None:
            result = self.given_back(var(target, result_type), signature.result, entry.name)
        if entry.assigns:
            position = next((i for i, (n, _) in enumerate(signature.parameters) if n == entry.assigns), None)
            if position is None:
                raise InputError(f"calls.{entry.name}: no parameter is called '{entry.assigns}'", place=entry.place, hint="assigns names a parameter of the declaration")
            self.store(node, self.target(arguments[position]), result)
            return unknown("nothing", VOID)
        return result

    def given_back(self, expr: Expr, declared: CType, name: str) -> Value:
        """What an operation gives: a word, or a token that can only be handed back."""
        if isinstance(expr.type, WordType):
            value = Value(Integer(expr.type.width, expr.type.signed), expr)
            return convert(value, declared) if isinstance(declared, Integer) else value
        return Value(Other(f"what {name} gave"), expr, f"what {name} gave, which can only be handed back")

    def followed(self, node: Node, name: str, arguments: list[Node]) -> Value:
        signature = self.names.signature(name, self.place(node))
        given = self.bound(node, signature, arguments)
        kinds = tuple(None if v.expr is None else v.expr.type if not isinstance(v.type, Integer) else v.type.type for _, v in given.values())
        made = self.names.follow(name, kinds, self.place(node))
        self.callees[made.procedure] = None
        if made.given:
            self.note(f"{name} is taken to be what the profile defines ({made.procedure.place})")
        args = []
        for kind, (_, value) in zip(kinds, given.values(), strict=True):
            if kind is not None and value.expr is not None:
                args.append(value.expr)
        type_ = made.procedure.result
        target = self.temporary() if type_ is not None else None
        self.add(p.Call(place=self.place(node), procedure=made.procedure, args=tuple(args), target=target))
        if target is None or type_ is None:
            return unknown(f"the result of {name}, which is not understood" if signature.result != VOID else "nothing", signature.result)
        return Value(signature.result, var(target, type_))


__all__ = ["UNSIGNED_LONG", "Expressions", "Followed", "Local", "Names", "Signature", "Target"]
