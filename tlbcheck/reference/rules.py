"""What the expressions of rules are worth: those of caches, operations, properties and meanings, which are data."""

from __future__ import annotations

from collections.abc import Callable

from tlbcheck.lang.expr import Expr
from tlbcheck.lang.types import Type, WordType

Find = Callable[[Expr], int]
"""What a variable in an expression stands for, as a number."""


def worth(e: Expr, find: Find) -> int:
    """The value of ``e``: truth as 0 or 1, a member of an enum as its position, a word as its bit pattern."""
    args = e.args
    match e.op:
        case "const":
            return int(e.value)
        case "var":
            return find(e)
        case "not":
            return 1 - worth(args[0], find)
        case "and":
            return int(all(worth(a, find) for a in args))
        case "or":
            return int(any(worth(a, find) for a in args))
        case "ite":
            return worth(args[1] if worth(args[0], find) else args[2], find)
        case "eq":
            return int(worth(args[0], find) == worth(args[1], find))
        case "lt":
            return int(order(args[0].type, worth(args[0], find)) < order(args[1].type, worth(args[1], find)))
        case "le":
            return int(order(args[0].type, worth(args[0], find)) <= order(args[1].type, worth(args[1], find)))
        case "table":
            return int(e.value[worth(args[0], find)])
        case "bnot":
            return within(e.type, ~worth(args[0], find))
        case "resize":
            return within(e.type, worth(args[0], find))
    left, right = (worth(a, find) for a in args)
    return within(e.type, arithmetic(e.op, left, right))


def arithmetic(op: str, left: int, right: int) -> int:
    """A sum, a difference, bits or a shift, as of numbers without a width."""
    match op:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "band":
            return left & right
        case "bor":
            return left | right
        case "bxor":
            return left ^ right
        case "shl":
            return left << right if right < 4096 else 0
        case "shr":
            return left >> right
    raise AssertionError(op)


def within(type_: Type | None, number: int) -> int:
    """What a word keeps of a number: its low bits."""
    return number & ((1 << type_.width) - 1) if isinstance(type_, WordType) else number


def order(type_: Type | None, pattern: int) -> int:
    """The number that a value is compared as."""
    if isinstance(type_, WordType) and type_.signed and pattern >> (type_.width - 1):
        return pattern - (1 << type_.width)
    return pattern


def names_in(e: Expr) -> set[str]:
    """The variables that an expression names."""
    return {e.value} if e.op == "var" else {name for a in e.args for name in names_in(a)}
