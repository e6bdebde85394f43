"""C expressions to the IR: values, and the statements that computing them needs, in C's order.

What C leaves open is not guessed: operands whose order matters to locals are refused, and of
operands that each do something on the machine the left one is taken to go first, which is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbcheck.c import syntax as s
from tlbcheck.c.calls import read_call
from tlbcheck.c.literals import character
from tlbcheck.c.places import Local, Places
from tlbcheck.c.syntax import bare, part, text_of
from tlbcheck.c.values import INT, UNSIGNED_LONG, VOID, CType, Integer, Other, Value, boolean, common, convert, integer_type, literal, number, promoted, shifted_right, signed, unknown
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, apply, const, eq, ite, not_, or_, resize, truth, var, word_op
from tlbcheck.lang.types import BOOL

if TYPE_CHECKING:
    from tree_sitter import Node

_BITS = {"&": "band", "|": "bor", "^": "bxor", "+": "add", "-": "sub"}


@dataclass(eq=False)
class Expressions(Places):
    """Reads expressions of one function."""

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
                return read_call(self, node)
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
            case "sizeof_expression":
                return self.size(node)
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
            a, b = (signed(v, type_) for v in (x.value, y.value))
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

    def size(self, node: Node) -> Value:
        """``sizeof``, which evaluates nothing: of types, and of variables by their names."""
        named, operand = node.child_by_field_name("type"), node.child_by_field_name("value")
        type_: CType | None = None if named is None else self.type_named(named)
        if operand is not None and bare(operand).type in ("identifier", "field_expression"):
            target = self.target(operand)
            type_ = target.type if isinstance(target, Local) else None
        if isinstance(type_, Integer):
            return number(type_.width // 8, UNSIGNED_LONG)
        return unknown(f"'{self.syntax.source(node)}'", UNSIGNED_LONG)

    def pointer(self, node: Node) -> Value:
        argument = bare(part(node, "argument"))
        if text_of(part(node, "operator")) == "*":
            return self.load(node, self.entry(node))
        if argument.type == "identifier" and (found := self.local(text_of(argument))):
            self.unset.pop(found.name, None)
            for one in (found, *found.fields.values()):
                self.escaped[one.name] = f"'{one.name}', whose address was taken"
                if self.state is not None:
                    self.state[one.name] = unknown(self.escaped[one.name], one.type)
        return unknown(f"the address '{self.syntax.source(node)}'", Other("pointer"))
