"""C statements to the IR.

The IR's only loop asks its condition at its head. Loops that leave elsewhere keep a boolean that
says whether to go on, and what follows a ``break`` or ``continue`` is made conditional on not
having got there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlbcheck.c.expressions import Expressions
from tlbcheck.c.literals import integer
from tlbcheck.c.syntax import part, text_of
from tlbcheck.c.values import INT, VOID, CType, Integer, Other, Value, convert, integer_type, promoted, unknown
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, const, eq, not_, or_, var
from tlbcheck.lang.types import BOOL

if TYPE_CHECKING:
    from tree_sitter import Node

_SKIPPED = ("comment",)


@dataclass(eq=False)
class _Around:
    """A loop or switch that is being read: the locals that say whether it goes on and was jumped out of."""

    loop: bool
    go_on: str
    jumped: str


@dataclass(eq=False)
class Statements(Expressions):
    """Reads the body of one function."""

    result: CType = VOID
    returns: list[p.Return] = field(default_factory=list)
    unknown_result: bool = False
    around: list[_Around] = field(default_factory=list)

    def body(self, node: Node) -> list[p.Statement]:
        """The statements of the function; whether its value is known is said by ``unknown_result``."""
        self.block(node)
        self.whole()
        if self.state is not None and self.result != VOID:
            self.unknown_result = True  # it can end without a value, which C allows while nobody uses it
        if self.unknown_result or not isinstance(self.result, Integer):
            for r in self.returns:
                r.value = None
        return self.out

    def block(self, node: Node) -> None:
        self.scopes.append({})
        self.statements([c for c in node.named_children if c.type not in _SKIPPED])
        self.scopes.pop()

    def block_value(self, node: Node) -> Value:
        """GNU C's ``({ ... })``: the value of its last statement."""
        children = [c for c in node.named_children if c.type not in _SKIPPED]
        if not children or children[-1].type != "expression_statement" or any(_jumps(c) != (False, False) for c in children):
            raise self.refuse(node, "a block inside an expression", "write it as statements")
        self.scopes.append({})
        self.statements(children[:-1])
        value = self.value(children[-1].named_children[0]) if children[-1].named_children else unknown("nothing")
        self.scopes.pop()
        return value

    def statements(self, nodes: list[Node]) -> None:
        for i, node in enumerate(nodes):
            if self.state is None and node.type not in ("labeled_statement", "case_statement"):
                continue
            self.statement(node)
            breaks, continues = _jumps(node)
            if (breaks or continues) and i + 1 < len(nodes) and self.state is not None:
                loop = next((a for a in reversed(self.around) if a.loop), None)
                inside = [self.around[-1]] if breaks and self.around else []
                inside += [loop] if continues and loop and loop not in inside else []
                self.unless(node, or_(*(var(a.jumped, BOOL) for a in inside)), nodes[i + 1 :])
                return

    def unless(self, node: Node, jumped: Expr, rest: list[Node]) -> None:
        outer, self.out = self.out, []
        before = dict(self.state or {})
        self.statements(rest)
        made, self.out = self.out, outer
        after = self.state
        self.state = before
        self.add(p.If(place=self.place(node), condition=not_(jumped), then=made, orelse=[]))
        self.state = self.merged(after, before)

    def inside(self, node: Node | None) -> list[p.Statement]:
        """The statements of one arm, in a scope of its own."""
        outer, self.out = self.out, []
        if node is not None:
            self.scopes.append({})
            self.statements([node])
            self.scopes.pop()
        made, self.out = self.out, outer
        return made

    def statement(self, node: Node) -> None:
        here = self.place(node)
        match node.type:
            case "expression_statement":
                for child in node.named_children:
                    self.effect(child)
            case "declaration":
                self.declaration(node)
            case "compound_statement":
                self.block(node)
            case "if_statement":
                self.if_(node)
            case "while_statement":
                self.loop(node, part(node, "condition"), None, part(node, "body"))
            case "do_statement":
                self.do(node)
            case "for_statement":
                self.for_(node)
            case "switch_statement":
                self.switch(node)
            case "return_statement":
                self.return_(node)
            case "break_statement" | "continue_statement":
                around = next((a for a in reversed(self.around) if a.loop or node.type == "break_statement"), None)
                if around is None:
                    raise self.refuse(node, f"{node.type.split('_')[0]} outside a loop", "mend the text")
                if node.type == "break_statement" and around.loop:
                    self.add(p.Assign(place=here, target=around.go_on, value=FALSE))
                self.add(p.Assign(place=here, target=around.jumped, value=TRUE))
            case "comment" | ";":
                pass
            case _:
                what = {"goto_statement": "goto", "labeled_statement": "a label"}.get(node.type, node.type.replace("_", " "))
                raise self.refuse(node, f"{what} is not understood", "supported are declarations, if, while, for, do, switch, break, continue, return and expressions")

    # -- declarations

    def declaration(self, node: Node) -> None:
        words = {text_of(c) for c in node.children if c.type == "storage_class_specifier"}
        type_node = part(node, "type")
        type_ = self.base(type_node)
        for declarator in node.children_by_field_name("declarator"):
            value, inner = None, declarator
            if inner.type == "init_declarator":
                value, inner = part(inner, "value"), part(inner, "declarator")
            kind = ""
            while inner.type != "identifier":
                kind = kind or inner.type.removesuffix("_declarator")
                found = inner.child_by_field_name("declarator") or next((c for c in inner.named_children if c.type.endswith("declarator") or c.type == "identifier"), None)
                if found is None:
                    raise self.refuse(declarator, f"the declaration '{self.syntax.source(declarator)}'", "declare plain variables")
                inner = found
            name = text_of(inner)
            if "static" in words:
                raise self.refuse(declarator, f"'{name}', which keeps its value between calls,", "say what it means in a profile, as a variable outside the function")
            if kind == "function" or type_node.type == "macro_type_specifier":  # what lacks an operator or a semicolon looks like this
                raise self.refuse(declarator, f"'{self.syntax.source(node)}' declares no variable", "mend the text, or declare functions outside")
            mine: CType = type_ if kind in ("", "parenthesized") else Other(f"{text_of(type_node)} {kind}")
            fields = type_node.child_by_field_name("body") if type_node.type == "struct_specifier" and not kind else None
            if fields is not None:
                self.structure(node, name, fields, value)
                continue
            if value is None:
                self.scopes[-1][name] = local = self.declare(name, mine)
                self.unset[local.name] = declarator
            elif value.type == "initializer_list":
                for child in value.named_children:
                    self.effect(child.named_children[-1] if child.type == "initializer_pair" else child)
                self.scopes[-1][name] = self.declare(name, mine)
            else:
                before = self.value(value)
                self.scopes[-1][name] = local = self.declare(name, mine)
                self.store(declarator, local, before)

    def base(self, node: Node) -> CType:
        return integer_type(text_of(node).split()) or Other(" ".join(text_of(node).split())[:60])

    def structure(self, node: Node, name: str, members: Node, value: Node | None) -> None:
        """A local structure of integers, each a local of its own."""
        local = self.declare(name, Other("struct"))
        offset = 0
        for member in members.named_children:
            if member.type != "field_declaration":
                continue
            type_ = self.base(part(member, "type"))
            clause = next((c for c in member.named_children if c.type == "bitfield_clause"), None)
            found = None if clause is None else integer(text_of(clause.named_children[0]))
            for declarator in member.children_by_field_name("declarator"):
                if not isinstance(type_, Integer) or declarator.type != "field_identifier" or (clause is not None and found is None):
                    raise self.refuse(member, f"the member '{self.syntax.source(member)}'", "structures on the stack are read if their members are integers")
                bits = type_.width if found is None else found.value
                if found is not None and (type_.signed or type_.width < 64):
                    raise self.refuse(member, "a bit-field of a signed or narrower type, which C converts in its own way", "use one of unsigned 64 bits, or masks")
                if not 0 < bits <= type_.width:
                    raise self.refuse(member, f"a member of {bits} bits", "it is wider than its type")
                if found is None or offset // type_.width != (offset + bits - 1) // type_.width:
                    offset = -(-offset // type_.width) * type_.width
                label = text_of(declarator)
                local.fields[label] = self.declare(f"{name}.{label}", type_, 0 if found is None else bits, offset)
                offset += bits
        self.scopes[-1][name] = local
        if value is None:
            return
        if value.type != "initializer_list":
            raise self.refuse(node, "the initialiser of a structure", "give its members in braces")
        rest = list(local.fields)
        given: dict[str, Node] = {}
        for child in value.named_children:
            if child.type == "initializer_pair":
                label = text_of(part(child, "designator")).removeprefix(".").strip()
                child = part(child, "value")
                rest = rest[rest.index(label) + 1 :] if label in rest else []
            elif child.type in _SKIPPED:
                continue
            else:
                label, rest = (rest[0], rest[1:]) if rest else ("", [])
            if label not in local.fields:
                raise self.refuse(child, "an initialiser of no member", "name a member")
            given[label] = child
        values = dict(zip(given, self.sequence(list(given.values())), strict=True))
        for label, member_local in local.fields.items():
            self.store(node, member_local, values.get(label) or Value(INT, const(0, INT.word)))

    # -- branches

    def if_(self, node: Node) -> None:
        test, then = part(node, "condition"), part(node, "consequence")
        clause = node.child_by_field_name("alternative")
        orelse = None if clause is None else next((c for c in clause.named_children if c.type not in _SKIPPED), None)
        condition = self.condition(test)
        if condition.op == "const":
            taken = then if condition.value else orelse
            if taken is not None:
                self.scopes.append({})
                self.statements([taken])
                self.scopes.pop()
            return
        before = dict(self.state or {})
        yes = self.inside(then)
        after, self.state = self.state, dict(before)
        no = self.inside(orelse)
        other, self.state = self.state, before
        self.add(p.If(place=self.place(node), condition=condition, then=yes, orelse=no))
        self.state = self.merged(after, other)

    def switch(self, node: Node) -> None:
        here = self.place(node)
        test = part(node, "condition")
        value = self.value(test)
        expr = self.needed(test, value, "a switch")
        assert isinstance(value.type, Integer)
        type_ = promoted(value.type)
        subject = convert(Value(value.type, expr), type_).expr
        assert subject is not None
        name = self.temporary()
        self.add(p.Assign(place=here, target=name, value=subject))
        around = _Around(False, "", self.temporary())
        self.add(p.Assign(place=here, target=around.jumped, value=FALSE))
        groups: list[tuple[list[Expr], bool, list[Node]]] = [([], False, [])]
        for case in part(node, "body").named_children:
            if case.type in _SKIPPED:
                continue
            if case.type != "case_statement":
                raise self.refuse(case, "a statement before the first case", "put it before the switch")
            label = case.child_by_field_name("value")
            labels, default, body = groups[-1]
            if body:
                if not _ends(body[-1]):
                    raise self.refuse(case, "a case that the one before it falls into", "end each case with break or return")
                groups.append((labels := [], default := False, body := []))
            if label is not None:
                found = self.value(label)
                chosen = convert(found, type_).expr
                if chosen is None or chosen.op != "const":
                    raise self.refuse(case, "a case that is no constant", "name a constant")
                labels.append(eq(var(name, type_.word), chosen))
            groups[-1] = (labels, default or label is None, [*body, *(c for c in case.named_children if c != label and c.type not in _SKIPPED)])
        self.around.append(around)
        self.cases(node, groups, or_(*(x for labels, _, _ in groups for x in labels)))
        self.around.pop()

    def cases(self, node: Node, groups: list[tuple[list[Expr], bool, list[Node]]], any_: Expr) -> None:
        before = None if self.state is None else dict(self.state)
        ends: dict[str, Value] | None = None
        arms: list[tuple[Expr, list[p.Statement]]] = []
        for labels, default, body in groups:
            condition = or_(*labels, *([not_(any_)] if default else []))
            if condition is FALSE:
                continue
            outer, self.out = self.out, []
            self.scopes.append({})
            self.state = None if before is None else dict(before)
            self.statements(body[:-1] if body and body[-1].type == "break_statement" else body)
            self.scopes.pop()
            arms.append((condition, self.out))
            self.out = outer
            ends = self.merged(ends, self.state)
        covered = or_(*(c for c, _ in arms)) is TRUE or any(default for _, default, _ in groups)
        made: list[p.Statement] = []
        for condition, arm in reversed(arms):
            made = [p.If(place=self.place(node), condition=condition, then=arm, orelse=made)]
        self.state = before
        for s in made:
            self.add(s)
        self.state = ends if covered else self.merged(ends, before)

    # -- loops

    def for_(self, node: Node) -> None:
        self.scopes.append({})
        initial = node.child_by_field_name("initializer")
        if initial is not None:
            if initial.type == "declaration":
                self.declaration(initial)
            else:
                self.effect(initial)
        self.loop(node, node.child_by_field_name("condition"), node.child_by_field_name("update"), part(node, "body"))
        self.scopes.pop()

    def loop(self, node: Node, test: Node | None, update: Node | None, body: Node) -> None:
        here = self.place(node)
        before = dict(self.state or {})
        outer, self.out = self.out, []
        condition = TRUE if test is None else self.condition(test)
        hoisted, self.out = self.out, outer
        if condition is FALSE:
            self.out += hoisted
            return
        leaving = None if self.state is None else dict(self.state)
        breaks, continues = _jumps(body)
        around = _Around(True, self.temporary(), self.temporary())
        self.around.append(around)
        made = self.inside(body)
        self.around.pop()
        if update is not None and self.state is not None:
            outer, self.out = self.out, []
            broken = dict(self.state)
            self.effect(update)
            step, self.out = self.out, outer
            made += [p.If(place=here, condition=var(around.go_on, BOOL), then=step, orelse=[])] if breaks else step
            self.state = self.merged(self.state, broken) if breaks else self.state
        after = self.state
        self.steady(node, before, after)
        self.state = dict(before)
        if not hoisted and not breaks:
            if continues:
                made = [p.Assign(place=here, target=around.jumped, value=FALSE), *made]
            self.add(p.While(place=here, condition=condition, body=made))
            self.state = None if condition is TRUE else leaving
            return
        go_on = var(around.go_on, BOOL)
        start = p.Assign(place=here, target=around.go_on, value=TRUE)
        fresh = p.Assign(place=here, target=around.jumped, value=FALSE)
        if condition is TRUE:
            inner: list[p.Statement] = [*hoisted, fresh, *made]
        else:
            ends = p.Assign(place=here, target=around.go_on, value=FALSE)  # known to end, with no further way round
            inner = [*hoisted, p.If(place=here, condition=condition, then=[fresh, *made], orelse=[ends])]
        self.add(start)
        self.add(p.While(place=here, condition=go_on, body=inner))
        self.state = (after if breaks else None) if condition is TRUE else self.merged(leaving, after if breaks else None)

    def do(self, node: Node) -> None:
        here = self.place(node)
        test, body = part(node, "condition"), part(node, "body")
        breaks, continues = _jumps(body)
        before = dict(self.state or {})
        around = _Around(True, self.temporary(), self.temporary())
        go_on = var(around.go_on, BOOL)
        self.around.append(around)
        made = self.inside(body)
        self.around.pop()
        if self.state is None:
            self.state = before
            for s in made:
                self.add(s)
            self.state = None
            return
        outer, self.out = self.out, []
        broken = dict(self.state)
        condition = self.condition(test)
        asked, self.out = self.out, outer
        if condition is FALSE and not breaks and not continues:
            for s in (*made, *asked):
                self.add(s)
            return
        after = self.merged(self.state, broken) if breaks else self.state
        self.steady(node, before, after)
        asked = [*asked, p.Assign(place=here, target=around.go_on, value=condition)]
        fresh = p.Assign(place=here, target=around.jumped, value=FALSE)
        self.add(p.Assign(place=here, target=around.go_on, value=TRUE))
        inner = [fresh, *made, *([p.If(place=here, condition=go_on, then=asked, orelse=[])] if breaks else asked)]
        self.add(p.While(place=here, condition=go_on, body=inner))
        self.state = None if condition is TRUE and not breaks else after

    def steady(self, node: Node, before: dict[str, Value], after: dict[str, Value] | None) -> None:
        """What is known at a loop's head has to be known again when it comes round."""
        for name, value in before.items():
            then = None if after is None else after.get(name)
            if then is not None and value.expr is not None and not value.same(then):
                raise self.refuse(node, f"in this loop '{name}' becomes {then.why or 'another kind of value'}, which", "use another variable in the loop")

    def return_(self, node: Node) -> None:
        here = self.place(node)
        children = [c for c in node.named_children if c.type not in _SKIPPED]
        value = self.value(children[0]) if children else None
        made = p.Return(place=here, value=None)
        if isinstance(self.result, Integer):
            if value is None or value.expr is None or not isinstance(value.type, Integer):
                self.unknown_result = True
            else:
                made.value = convert(value, self.result).expr
        self.add(made)
        self.returns.append(made)
        self.state = None


def _jumps(node: Node) -> tuple[bool, bool]:
    """Whether ``node`` may leave by ``break`` and by ``continue`` what is around it."""
    breaks = continues = False
    work = [(node, False)]
    while work:
        n, in_switch = work.pop()
        if n.type == "break_statement":
            breaks = breaks or not in_switch
        elif n.type == "continue_statement":
            continues = True
        elif n.type in ("while_statement", "do_statement", "for_statement"):
            continue
        elif n.type.endswith("_statement") or n.type in ("else_clause",):
            work.extend((c, in_switch or n.type == "switch_statement") for c in n.named_children)
    return breaks, continues


def _ends(node: Node) -> bool:
    """Whether control cannot get past ``node``."""
    if node.type in ("break_statement", "return_statement", "continue_statement"):
        return True
    return node.type == "compound_statement" and bool(node.named_children) and _ends(node.named_children[-1])
