"""Functions in C text, parsed by tree-sitter, with every node's place in its source.

The text is cut into top-level definitions by its brackets, and only a function that is used is
expanded and parsed: what stands elsewhere need not be understood.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlbcheck.c.text import Text, Token
from tlbcheck.c.values import NOISE, SPELLINGS
from tlbcheck.errors import InputError, Place

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_BEFORE_EXPRESSION = frozenset({"return", "else", "do", "case"})
_TYPE_WORDS = frozenset(
    {*SPELLINGS.values(), "unsigned", "signed", "char", "short", "int", "long", "void", "float", "double", "bool", "_Bool", "size_t", "ssize_t", "ptrdiff_t", "intptr_t", "uintptr_t"}
)
_TYPE_WORDS |= {"const", "volatile", "struct", "union", "enum", "{"}
_NESTING = 120
_TOKENS = 20_000


@dataclass(eq=False)
class Segment:
    """The tokens of one definition at the top level.

    ``name`` is empty if it defines no function; ``damage`` says why it cannot be used. ``position``
    counts the definitions of all texts that were read.
    """

    tokens: list[Token]
    name: str = ""
    damage: InputError | None = None
    position: int = 0

    @property
    def origin(self) -> Text:
        return self.tokens[0].origin

    @property
    def lines(self) -> tuple[int, int]:
        """The indices of its first and last line."""
        return self.origin.line(self.tokens[0].start), self.origin.line(self.tokens[-1].end)

    @property
    def closed(self) -> bool:
        """Whether every brace that it opens is closed in the text, not only by what reading on put there (``segments``)."""
        braces = [t.text for t in self.tokens if t.text in ("{", "}") and t.start < t.end]
        return braces.count("{") == braces.count("}")

    @property
    def place(self) -> Place:
        return next((t.place for t in self.tokens if t.text == self.name), self.tokens[0].place)


def segments(tokens: list[Token], closing: bool) -> list[Segment]:
    """Cut active text into definitions; with ``closing``, one that the text breaks off is closed.

    A closing bracket that nothing opened damages the function before it: it may have ended too early.
    """
    made: list[Segment] = []
    start, depth, brace = 0, 0, None
    for i, t in enumerate(tokens):
        if t.kind == "punct" and t.text in ("{", "(", "["):
            if t.text == "{" and not depth:
                brace = t
            depth += 1
        elif t.kind == "punct" and t.text in ("}", ")", "]"):
            depth -= 1
            if depth < 0:
                depth = 0
                stray = InputError(f"this '{t.text}' closes nothing", place=t.place, hint="the function before it may end too early: mend the brackets")
                for s in reversed(made):
                    s.damage = s.damage or stray
                    if s.name:
                        break
            if not depth and t.text == "}" and (function := _function(tokens[start : i + 1])):
                made.append(Segment(tokens[start : i + 1], function))
                start, brace = i + 1, None
        elif t.kind == "punct" and t.text == ";" and not depth:
            made.append(Segment(tokens[start : i + 1]))
            start = i + 1
    rest = tokens[start:]
    if rest:
        name = _function(rest)
        damage = None
        if name and depth and closing:
            last = rest[-1]
            rest = rest + [Token("punct", "}", last.end, last.end, last.origin, True, last.when)] * depth
        elif depth:
            damage = InputError("this bracket is never closed", place=(brace or rest[0]).place, hint="give the whole function")
        made.append(Segment(rest, name, damage))
    return made


def _function(tokens: list[Token]) -> str:
    """The name of the function that ``tokens`` define, empty if they define none."""
    depth, name, found = 0, "", ""
    for t in tokens:
        if t.kind == "punct" and t.text in ("(", "["):
            if not depth and t.text == "(":
                found = name
            depth += 1
        elif t.kind == "punct" and t.text in (")", "]"):
            depth -= 1
        elif not depth:
            if t.text == "{":
                return found
            if t.text in ("=", ";"):
                return ""
            if t.kind == "name" and not t.text.startswith("__attribute"):
                name = t.text
            elif t.kind == "name":
                name = found
    return ""


def declared(tokens: Sequence[Token]) -> frozenset[str]:
    """Every name that text outside of functions may declare: more rather than fewer. Of branches that exclude each other all are meant."""
    if any(t.text == "enum" for t in tokens):
        return frozenset(t.text for t in tokens if t.kind == "name")
    found = set()
    depth = 0
    for t, after in zip(tokens, [*tokens[1:], None], strict=True):
        if t.kind == "punct":
            depth = max(0, depth + (t.text in ("{", "(", "[")) - (t.text in ("}", ")", "]")))
        elif t.kind == "name" and not depth and not (after is not None and after.kind == "name" and not after.text.startswith("__")):
            found.add(t.text)
    return frozenset(found) - _TYPE_WORDS - NOISE


@dataclass(eq=False)
class Syntax:
    """A parsed piece of C; ``root`` is the node that was asked for."""

    tokens: list[Token]
    starts: list[int]
    root: Node
    what: str
    at: Token | None = None
    _targets: dict[int, frozenset[str]] | None = field(default=None, init=False)

    def token(self, node: Node) -> Token:
        if self.at is not None:
            return self.at
        return self.tokens[max(0, min(bisect_right(self.starts, node.start_byte) - 1, len(self.tokens) - 1))]

    def place(self, node: Node) -> Place:
        return self.token(node).place

    def targets(self) -> dict[int, frozenset[str]]:
        """For each node inside which something is assigned, by its id, the names that are."""
        if self._targets is None:
            found: dict[int, set[str]] = {}
            above: list[tuple[Node, int]] = []
            for node, level in walk(self.root):
                above = [(n, x) for n, x in above[-_NESTING:] if x < level]
                above.append((node, level))
                side = {"assignment_expression": "left", "update_expression": "argument"}.get(node.type)
                if side is not None:
                    name = text_of(bare(part(node, side)))
                    for n, _ in above:
                        found.setdefault(n.id, set()).add(name)
            self._targets = {key: frozenset(names) for key, names in found.items()}
        return self._targets

    def source(self, node: Node) -> str:
        """The text of ``node`` as its source has it, on one line."""
        first = max(0, bisect_right(self.starts, node.start_byte) - 1)
        last = max(first, bisect_right(self.starts, max(node.start_byte, node.end_byte - 1)) - 1)
        mine = self.tokens[first : last + 1]
        if not mine:
            return ""
        origin, start, end = mine[0].origin, min(t.start for t in mine), max(t.end for t in mine)
        broken = any(t.origin is not origin for t in mine) or origin.text.find("/*", start, end) >= 0 or end - start > 400
        text = text_of(node) if broken else origin.text[start:end].replace("\\\n", " ")
        text = " ".join(text.split())
        return text if len(text) <= 120 else text[:117] + "..."

    def refuse(self, node: Node, what: str, hint: str) -> InputError:
        return InputError(f"{what} in {self.what}", place=self.place(node), hint=hint)


def text_of(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


_parser: Parser | None = None


def _tree_sitter() -> Parser:
    global _parser
    if _parser is None:
        import tree_sitter
        import tree_sitter_c

        _parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language()))
    return _parser


def parse_function(tokens: list[Token], name: str) -> Syntax:
    """Parse a function's expanded tokens. Raises ``InputError`` at what is no C."""
    depth = 0
    for i, t in enumerate(tokens):
        if t.kind == "punct" and t.text in ("{", "(", "["):
            depth += 1
        elif t.kind == "punct" and t.text in ("}", ")", "]"):
            depth -= 1
            if depth < 0 or (not depth and t.text == "}" and i + 1 < len(tokens)):
                raise InputError(f"the brackets of {name} do not match", place=t.place, hint="mend the brackets, or the macros that stand for them")
    syntax = _parse(tokens, name)
    children = [c for c in syntax.root.children if c.type != "comment"]
    if len(children) != 1 or children[0].type != "function_definition":
        raise InputError(f"{name} cannot be read as a function", place=tokens[0].place, hint="if a word before its name is a macro, define it in a profile's header")
    syntax.root = children[0]
    return syntax


def parse_expression(tokens: list[Token], what: str, at: Token | None = None) -> Syntax:
    """Parse an expression; ``at`` is where all of it is said to be."""
    first = at or tokens[0]

    def word(text: str, kind: str = "punct") -> Token:
        return Token(kind, text, first.start, first.end, first.origin, True)

    head = [word("void", "name"), word("f", "name"), word("("), word(")"), word("{")]
    syntax = _parse([*head, *tokens, word(";"), word("}")], what)
    syntax.at = at
    body = syntax.root.children[0].child_by_field_name("body")
    statements = [] if body is None else body.named_children
    if len(statements) != 1 or statements[0].type != "expression_statement" or len(statements[0].named_children) != 1:
        raise InputError(f"{what} is no expression", place=first.place, hint="write one C expression")
    syntax.root = statements[0].named_children[0]
    return syntax


def parse_declaration(tokens: list[Token], what: str) -> Syntax:
    """Parse a declaration, without its semicolon."""
    syntax = _parse([*tokens, Token("punct", ";", tokens[-1].start, tokens[-1].end, tokens[-1].origin)], what)
    if len(syntax.root.children) != 1 or syntax.root.children[0].type != "declaration":
        raise InputError(f"{what} is no declaration", place=tokens[0].place, hint='write it as C does: "unsigned long read_cr3(void)"')
    syntax.root = syntax.root.children[0]
    return syntax


def _unambiguous(tokens: list[Token]) -> list[Token]:
    """``tokens`` with ``(x) & y`` written ``((x)) & y`` where ``x`` is no type.

    The grammar, which does not know which names are types, would take it for a cast of ``&y``.
    """
    opened: list[int] = []
    wrapped: set[int] = set()
    for i, t in enumerate(tokens):
        if t.kind != "punct" or t.text not in ("(", ")"):
            continue
        if t.text == "(":
            opened.append(i)
        elif opened:
            start = opened.pop()
            before = tokens[start - 1] if start else None
            called = before is not None and (before.text in (")", "]") or (before.kind == "name" and before.text not in _BEFORE_EXPRESSION))
            operand = i + 1 < len(tokens) and tokens[i + 1].text in ("&", "*", "+", "-", "&&", "++", "--")
            if operand and not called and start + 1 < i and tokens[start + 1].text not in _TYPE_WORDS and tokens[i - 1].text != "*":
                wrapped |= {start, i}
    made = []
    for i, t in enumerate(tokens):
        made += [t, t] if i in wrapped else [t]
    return made


def _parse(tokens: list[Token], what: str) -> Syntax:
    tokens = _unambiguous(tokens)
    if len(tokens) > _TOKENS:
        raise InputError(f"{what} is too long", place=tokens[0].place, hint=f"at most {_TOKENS} words are read")
    depth = 0
    for t in tokens:
        if t.kind == "error":
            raise InputError(f"{t.text} in {what}", place=t.place, hint="mend the text")
        depth += (t.kind == "punct" and t.text in ("{", "(", "[")) - (t.kind == "punct" and t.text in ("}", ")", "]"))
        if depth > _NESTING:
            raise InputError(f"{what} is nested too deeply", place=t.place, hint="split it")
    starts, parts, at = [], [], 0
    for t in tokens:
        starts.append(at)
        parts.append(t.text.encode())
        at += len(parts[-1]) + 1
    tree = _tree_sitter().parse(b" ".join(parts))
    syntax = Syntax(tokens, starts, tree.root_node, what)
    for node, level in walk(tree.root_node):
        if node.is_error or node.is_missing:
            missing = f"'{node.type}' is missing" if node.is_missing else f"'{syntax.source(node)}' is no C"
            raise syntax.refuse(node, missing, "mend the text; if a word here is a macro, define it in a profile's header")
        if level > _NESTING:
            raise syntax.refuse(node, "nesting that is too deep", "split it")
    return syntax


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Every node below ``root`` with its depth, outer before inner, without recursion."""
    work = [(root, 0)]
    while work:
        node, level = work.pop()
        yield node, level
        work.extend((c, level + 1) for c in reversed(node.children))


def bare(node: Node) -> Node:
    """``node`` without the parentheses around it."""
    while node.type == "parenthesized_expression" and len(node.named_children) == 1 and node.named_children[0].type != "compound_statement":
        node = node.named_children[0]
    return node


def canonical(node: Node) -> str:
    """How profiles write a variable, member chain or per-CPU variable: without spaces and parentheses around."""
    node = bare(node)
    match node.type:
        case "field_expression":
            return f"{canonical(part(node, 'argument'))}{text_of(part(node, 'operator'))}{text_of(part(node, 'field'))}"
        case "call_expression":
            arguments = [canonical(a) for a in part(node, "arguments").named_children]
            return f"{canonical(part(node, 'function'))}({','.join(arguments)})"
        case "subscript_expression":
            return f"{canonical(part(node, 'argument'))}[{canonical(part(node, 'index'))}]"
        case "pointer_expression":
            return f"{text_of(part(node, 'operator'))}{canonical(part(node, 'argument'))}"
    return "".join(text_of(node).split()) if not node.named_children else " ".join(text_of(node).split())


def part(node: Node, name: str) -> Node:
    """The child in the field ``name``, which the grammar promises."""
    found: Node | None = node.child_by_field_name(name)
    if found is None:
        raise InputError(f"a {node.type.replace('_', ' ')} without {name}", hint="mend the text")
    return found
