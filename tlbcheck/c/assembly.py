"""Inline assembly: MOV to and from CR3 and CR4, INVLPG and INVPCID; nothing else is guessed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbcheck.c.syntax import bare, part, text_of, walk
from tlbcheck.c.values import UNSIGNED_LONG, VOID, Integer, Value, convert, unknown
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, const, eq, resize, var, word_op
from tlbcheck.lang.types import U64, EnumType
from tlbcheck.machine import x86

if TYPE_CHECKING:
    from tree_sitter import Node

    from tlbcheck.c.expressions import Expressions
    from tlbcheck.c.places import Local

_READS = {"%%cr3": x86.MOV_FROM_CR3, "%%cr4": x86.MOV_FROM_CR4}
_WRITES = {"%%cr3": x86.MOV_TO_CR3, "%%cr4": x86.MOV_TO_CR4}
_INVPCID_BYTES = (0x66, 0x0F, 0x38, 0x82, 0x01)  # with the type in EAX and the descriptor's address in ECX
_HINT = "read are mov to and from %%cr3 and %%cr4, invlpg and invpcid; put the rest into a function that a profile knows"


@dataclass(frozen=True, eq=False)
class _Operand:
    node: Node
    name: str
    constraint: str
    value: Node
    output: bool


_ACTING = frozenset({"assignment_expression", "update_expression", "compound_statement"})
"""Each operand is computed once by the processor, but read here as often as the instructions name it."""


def read_assembly(reader: Expressions, node: Node) -> Value:
    """Add what an ``asm`` statement does; it has no value."""
    return _Assembly(reader, node).read()


class _Assembly:
    def __init__(self, reader: Expressions, node: Node) -> None:
        self.reader, self.node = reader, node
        self.operands: list[_Operand] = []
        for side in ("output_operands", "input_operands"):
            listed = node.child_by_field_name(side)
            for operand in [] if listed is None else listed.children_by_field_name("operand"):
                symbol = operand.child_by_field_name("symbol")
                name = "" if symbol is None else text_of(symbol)
                if not side.startswith("output") and any(n.type in _ACTING for n, _ in walk(part(operand, "value"))):
                    raise reader.refuse(operand, "an operand of asm that does something itself", "compute it in a statement before")
                self.operands.append(_Operand(operand, name, _string(part(operand, "constraint")), part(operand, "value"), side.startswith("output")))
        self.found: dict[int, Value] = {}

    def read(self) -> Value:
        reader, node = self.reader, self.node
        if node.child_by_field_name("goto_labels") is not None or any(text_of(c) == "goto" for c in node.children if c.type == "gnu_asm_qualifier"):
            raise reader.refuse(node, "asm goto", _HINT)
        template = _string(part(node, "assembly_code"))
        code: list[int] = []
        used: Counter[int] = Counter()
        for line in template.replace(";", "\n").replace("\\n", "\n").replace("\\t", " ").split("\n"):
            words = line.split(None, 1)
            if not words:
                continue
            operands = [o.strip() for o in words[1].split(",")] if len(words) > 1 else []
            if words[0] == ".byte":
                code += self.bytes(operands)
                continue
            used.update(found[0] for o in operands if (found := self.operand(o.strip("()"))))
            self.instruction(words[0], operands)
        if code:
            self.coded(code)
        for i, operand in enumerate(self.operands):
            if not operand.output and used[i] != 1 and not code and any(n.type == "call_expression" for n, _ in walk(operand.value)):
                raise reader.refuse(operand.node, "a call in an operand of asm that the instructions do not name once", "make it in a statement before")
        for i, operand in enumerate(self.operands):
            if operand.output:
                value = self.found.get(i)
                if value is None:
                    raise reader.refuse(operand.node, "an output that no instruction gives", _HINT)
                reader.store(operand.value, reader.target(operand.value), value)
        return unknown("assembly", VOID)

    def bytes(self, operands: list[str]) -> list[int]:
        try:
            return [int(o, 0) for o in operands]
        except ValueError:
            raise self.reader.refuse(self.node, "bytes that cannot be read", _HINT) from None

    def operand(self, text: str) -> tuple[int, _Operand] | None:
        """The operand that ``%0``, ``%q0`` or ``%[name]`` stands for."""
        inner = text.removeprefix("%")
        if inner == text or inner.startswith("%"):
            return None
        if inner[:1] in ("q", "k", "w", "b") and len(inner) > 1:
            inner = inner[1:]
        for i, operand in enumerate(self.operands):
            if inner == str(i) or (operand.name and inner == f"[{operand.name}]"):
                return i, operand
        return None

    def instruction(self, mnemonic: str, operands: list[str]) -> None:
        reader, here = self.reader, self.reader.place(self.node)
        if mnemonic in ("mov", "movq") and len(operands) == 2:
            source, target = operands
            if source in _READS and (found := self.operand(target)) and found[1].output and _register(found[1].constraint):
                local = reader.target(found[1].value)
                type_ = getattr(local, "type", UNSIGNED_LONG)
                if not isinstance(type_, Integer) or type_.width != 64:
                    raise reader.refuse(found[1].node, "a register of less than 64 bits", "MOV from a control register gives 64 bits")
                name = reader.temporary()
                reader.add(p.Do(place=here, operation=_READS[source], args=(), target=name))
                self.found[found[0]] = Value(UNSIGNED_LONG, var(name, U64))
                return
            if target in _WRITES and (found := self.operand(source)) and not found[1].output and _register(found[1].constraint):
                value = reader.value(found[1].value)
                expr = reader.needed(found[1].value, value, _WRITES[target].name)
                if not isinstance(value.type, Integer) or value.type.width != 64:
                    raise reader.refuse(found[1].node, "a register of less than 64 bits", "MOV to a control register takes 64 bits: cast the value")
                word = resize(expr, U64)
                reader.written(self.node, _WRITES[target], word)
                reader.add(p.Do(place=here, operation=_WRITES[target], args=(word,)))
                return
        if mnemonic == "invlpg" and len(operands) == 1:
            inside = operands[0].startswith("(") and operands[0].endswith(")")
            found = self.operand(operands[0].strip("()"))
            if found and not found[1].output and _register(found[1].constraint) == inside:
                self.invlpg(found[1], inside)
                return
        if mnemonic == "invpcid" and len(operands) == 2:
            descriptor, kind = self.operand(operands[0].strip("()")), self.operand(operands[1])
            if descriptor and kind and not descriptor[1].output and not kind[1].output:
                self.invpcid(descriptor[1], kind[1])
                return
        text = f"{mnemonic} {', '.join(operands)}".strip()
        raise reader.refuse(self.node, f"the assembly '{text}'", _HINT)

    def coded(self, code: list[int]) -> None:
        by_register = {o.constraint: o for o in self.operands}
        if tuple(code) != _INVPCID_BYTES or set(by_register) != {"a", "c"}:
            raise self.reader.refuse(self.node, "instructions given as bytes", _HINT)
        self.invpcid(by_register["c"], by_register["a"])

    def invlpg(self, operand: _Operand, register: bool) -> None:
        reader, node = self.reader, bare(operand.value)
        if not register:  # *(const char *)va
            if node.type != "pointer_expression" or text_of(part(node, "operator")) != "*":
                raise reader.refuse(node, f"the address of '{reader.syntax.source(node)}'", "write *(const char *)address")
            node = part(node, "argument")
        page = self.page(reader.value(node))
        if page is None:
            raise reader.refuse(node, f"INVLPG of '{reader.syntax.source(node)}', an address that the model does not know", "give the parameter that holds the address the type of the model's pages")
        reader.note(f"addresses given to INVLPG and INVPCID are canonical ({reader.place(node)})")
        reader.add(p.Do(place=reader.place(self.node), operation=x86.INVLPG, args=(page, TRUE)))

    def page(self, value: Value) -> Expr | None:
        return value.expr if value.expr is not None and isinstance(value.expr.type, EnumType) else None

    def descriptor(self, operand: _Operand) -> tuple[Expr | None, Value | None]:
        """The PCID word and the address of the descriptor, as far as they are known."""
        reader, node = self.reader, bare(operand.value)
        if node.type == "pointer_expression":  # & of the register form, * of the memory form
            node = bare(part(node, "argument"))
        local: Local | None = reader.local(text_of(node)) if node.type == "identifier" else None
        if local is None or not local.fields or reader.state is None:
            return None, None
        word: Expr | None = const(0, U64)
        address = None
        for member in local.fields.values():
            value = reader.state[member.name]
            if member.offset >= 64:
                address = value if member.offset == 64 and address is None else None
            elif value.expr is None or not isinstance(value.type, Integer) or word is None:
                word = None
            else:
                wide = convert(value, UNSIGNED_LONG).expr
                assert wide is not None
                word = word_op("bor", word, word_op("shl", wide, const(member.offset, U64)))
        return word, address

    def invpcid(self, descriptor: _Operand, kind: _Operand) -> None:
        reader, here = self.reader, self.reader.place(self.node)
        value = reader.value(kind.value)
        type_ = reader.needed(kind.value, value, "the type of INVPCID")
        assert isinstance(value.type, Integer)
        wide = convert(Value(value.type, type_), UNSIGNED_LONG).expr
        assert wide is not None
        pcid, address = self.descriptor(descriptor)
        page = None if address is None else self.page(address)

        def one(n: int) -> list[p.Statement]:
            if n in (0, 1) and pcid is None:
                raise reader.refuse(descriptor.value, "an INVPCID descriptor that is not understood", "make it a local structure of integers that is set here")
            assert n > 1 or pcid is not None
            match n:
                case 0 if page is not None and pcid is not None:
                    reader.note(f"addresses given to INVLPG and INVPCID are canonical ({here})")
                    return [p.Do(place=here, operation=x86.INVPCID_ADDRESS, args=(pcid, page, TRUE))]
                case 1 if pcid is not None:
                    return [p.Do(place=here, operation=x86.INVPCID_CONTEXT, args=(pcid,))]
                case 2:
                    return [p.Do(place=here, operation=x86.INVPCID_ALL, args=())]
                case 3:
                    return [p.Do(place=here, operation=x86.INVPCID_ALL_NONGLOBAL, args=())]
            # What it would drop is not known, so nothing is dropped, and no-fault shows that it is reached.
            what = "INVPCID of type 0 has an address that the model knows" if n == 0 else "INVPCID has a type from 0 to 3"
            return [p.Assert(place=here, condition=FALSE, text=what)]

        made = one(4)
        for n in (3, 2, 1, 0):
            if wide.op != "const":
                made = [p.If(place=here, condition=eq(wide, const(n, U64)), then=one(n), orelse=made)]
            elif wide.value == n:
                made = one(n)
                if n == 0 and page is None:
                    raise reader.refuse(descriptor.value, "INVPCID of an address that the model does not know", "give the parameter that holds the address the type of the model's pages")
        for statement in made:
            reader.add(statement)


def _register(constraint: str) -> bool:
    return bool(set(constraint) & set("rabcdSDqQR")) and not set(constraint) & set("mio")


def _string(node: Node) -> str:
    """The content of a string literal, or of several side by side."""
    if node.type == "concatenated_string":
        return "".join(_string(c) for c in node.named_children if c.type == "string_literal")
    return text_of(node).removeprefix('"').removesuffix('"')
