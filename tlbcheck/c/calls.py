"""What a call means: an operation of the model, an assertion, nothing, or a function that is read in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbcheck.c.names import Signature
from tlbcheck.c.profile import CallEntry
from tlbcheck.c.syntax import bare, canonical, part
from tlbcheck.c.values import VOID, CType, Integer, Other, Value, convert, unknown
from tlbcheck.errors import InputError
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, Expr, not_, truth, var
from tlbcheck.lang.types import WordType

if TYPE_CHECKING:
    from tree_sitter import Node

    from tlbcheck.c.expressions import Expressions


def read_call(reader: Expressions, node: Node) -> Value:
    """Add what a call does; its value."""
    function = bare(part(node, "function"))
    name = canonical(function)
    arguments = [a for a in part(node, "arguments").named_children if a.type != "comment"]
    if function.type == "identifier" and reader.local(name) is not None:
        raise reader.refuse(node, f"a call through the variable '{name}'", "call a function by its name")
    entry = reader.names.call(name)
    if entry is not None and entry.instead_of_definition and reader.names.defines(name):
        reader.names.stands_for(name, entry)
        reader.note(f"{name} is not read but taken for '{entry.meaning.name if entry.meaning else 'nothing'}': {entry.reason or 'the profile says so'}")
    elif name in reader.names.assumed:
        if entry is not None and not reader.names.defines(name):
            raise reader.refuse(node, f"{name} has a meaning in the profile ({entry.place})", f"leave out --assume-no-tlb-effect {name}")
        reader.note(f"{name} is assumed to have no effect on the TLB, as was asked for")
        reader.sequence(arguments)
        return unknown(f"the result of {name}, which is assumed to have no effect")
    elif reader.names.defines(name):
        if (unread := reader.names.unreadable(name, reader.place(node))) is None:
            return _followed(reader, node, name, arguments)
        reader.note(f"{name} is taken for what the profile says: its definition cannot be read, {unread.message} ({unread.place})")
        if entry is None or entry.meaning is None:
            return _followed(reader, node, name, arguments)
    elif entry is not None and reader.names.is_changed(name):
        raise reader.refuse(node, f"the patch changes {name}, and what it means then", f"give a profile with another entry for {name}")
    if entry is None:
        place = reader.names.variable(canonical(node))
        if place is not None or canonical(node) in reader.names.assumed:
            return reader.load(node, place or reader.entry(node))
        raise reader.refuse(node, f"the call of '{name}' is not known", reader.ways_out("calls", name))
    if entry.asserts is not None:
        return _assertion(reader, node, entry.asserts, arguments)
    if entry.meaning is None:
        if entry.reason:
            reader.note(f"{name} has no effect: {entry.reason}")
        reader.sequence([a for a in arguments if not (entry.names and a.type == "identifier")])
        return unknown(f"the result of {name}, which is not modelled")
    return _operation(reader, node, entry, arguments)


def _assertion(reader: Expressions, node: Node, wanted: bool, arguments: list[Node]) -> Value:
    here = reader.place(node)
    if not arguments:
        reader.add(p.Assert(place=here, condition=FALSE, text=reader.syntax.source(node)))
        return unknown("an assertion", VOID)
    if reader.writes(arguments[0]):
        raise reader.refuse(node, "an assertion that changes something", "assert what was computed before")
    value, made = reader.apart(lambda: reader.value(arguments[0]))
    for x in p.walk(made):
        if isinstance(x, p.Write | p.Call) or (isinstance(x, p.Do) and (x.operation.effects or x.operation.drops)):
            raise reader.refuse(node, "an assertion that does something on the machine", "assert what was computed before")
    if value.expr is None or not isinstance(value.type, Integer):
        reader.note(f"'{reader.syntax.source(node)}' is taken to hold, since it depends on {value.why or 'what is not modelled'} ({here})")
        return unknown("an assertion", VOID)
    reader.out += made
    condition, text = truth(value.expr), reader.syntax.source(arguments[0])
    reader.add(p.Assert(place=here, condition=condition if wanted else not_(condition), text=text if wanted else f"not ({text})"))
    return unknown("an assertion", VOID)


def _bound(reader: Expressions, node: Node, signature: Signature, arguments: list[Node], skip: str = "") -> dict[str, tuple[Node, Value]]:
    """The arguments by parameter, converted as a call of a declared function converts them."""
    if len(arguments) != len(signature.parameters):
        raise reader.refuse(node, f"{signature.name} takes {len(signature.parameters)} argument(s), {len(arguments)} given", "mend the call, or the declaration in the profile")
    wanted = [(q, a) for q, a in zip(signature.parameters, arguments, strict=True) if q[0] != skip]
    values = reader.sequence([a for _, a in wanted])
    made = {}
    for ((name, type_), argument), value in zip(wanted, values, strict=True):
        if isinstance(type_, Integer) and isinstance(value.type, Integer):
            value = convert(value, type_)
        elif isinstance(type_, Other) and isinstance(value.type, Integer):
            value = unknown(f"'{reader.syntax.source(argument)}'", type_)
        made[name] = (argument, value)
    return made


def _operation(reader: Expressions, node: Node, entry: CallEntry, arguments: list[Node]) -> Value:
    assert entry.meaning is not None and entry.declaration is not None
    here, meaning = reader.place(node), entry.meaning
    signature = reader.names.declaration(entry.declaration, f"calls.{entry.name}")
    given = _bound(reader, node, signature, arguments, entry.assigns)
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
        args.append(reader.fit(given[name][0], given[name][1], type_, f"{meaning.name}"))
    result_type = (meaning.result.type if meaning.result is not None else None) if isinstance(meaning, p.Operation) else meaning.result
    target = reader.temporary() if result_type is not None else None
    if isinstance(meaning, p.Operation):
        reader.add(p.Do(place=here, operation=meaning, args=tuple(args), target=target))
    else:
        reader.add(p.Call(place=here, procedure=meaning, args=tuple(args), target=target))
    result = unknown(f"the result of {entry.name}, which is not modelled", signature.result)
    if target is not None and result_type is not None:
        result = _given_back(var(target, result_type), signature.result, entry.name)
    if entry.assigns:
        position = next((i for i, (n, _) in enumerate(signature.parameters) if n == entry.assigns), None)
        if position is None:
            raise InputError(f"calls.{entry.name}: no parameter is called '{entry.assigns}'", place=entry.place, hint="assigns names a parameter of the declaration")
        reader.store(node, reader.target(arguments[position]), result)
        return unknown("nothing", VOID)
    return result


def _given_back(expr: Expr, declared: CType, name: str) -> Value:
    """What an operation gives: a word, or a token that can only be handed back."""
    if isinstance(expr.type, WordType):
        value = Value(Integer(expr.type.width, expr.type.signed), expr)
        return convert(value, declared) if isinstance(declared, Integer) else value
    return Value(Other(f"what {name} gave"), expr, f"what {name} gave, which can only be handed back")


def _followed(reader: Expressions, node: Node, name: str, arguments: list[Node]) -> Value:
    signature = reader.names.signature(name, reader.place(node))
    given = _bound(reader, node, signature, arguments)
    kinds = tuple(None if v.expr is None else v.expr.type if not isinstance(v.type, Integer) else v.type.type for _, v in given.values())
    made = reader.names.follow(name, kinds, reader.place(node))
    reader.callees[made.procedure] = None
    if made.outside:
        reader.note(f"{name} is read where another file defines it ({made.procedure.place})")
    if made.given:
        reader.note(f"{name} is taken to be what the profile defines ({made.procedure.place})")
    args = []
    for kind, (_, value) in zip(kinds, given.values(), strict=True):
        if kind is not None and value.expr is not None:
            args.append(value.expr)
    type_ = made.procedure.result
    target = reader.temporary() if type_ is not None else None
    reader.add(p.Call(place=reader.place(node), procedure=made.procedure, args=tuple(args), target=target))
    if target is None or type_ is None:
        return unknown(f"the result of {name}, which is not understood" if signature.result != VOID else "nothing", signature.result)
    return Value(signature.result, var(target, type_))
