"""Enumeration constants: where a text declares them, and what each one's value is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tlbcheck.c.text import Token


@dataclass(frozen=True, eq=False)
class Enumerator:
    """``value`` is the expression that it is given; without one it is one more than ``previous``, or 0."""

    name: Token
    value: tuple[Token, ...]
    previous: str


def enumerators(tokens: Sequence[Token]) -> Iterator[Enumerator]:
    """The constants of every ``enum { ... }`` in expanded ``tokens``, without those that are not understood."""
    for i, t in enumerate(tokens):
        if t.text != "enum" or t.kind != "name":
            continue
        opening = i + 1 + (i + 1 < len(tokens) and tokens[i + 1].kind == "name")
        if opening < len(tokens) and tokens[opening].text == "{":
            yield from _listed(tokens[opening + 1 :])


def _listed(tokens: Sequence[Token]) -> Iterator[Enumerator]:
    previous, depth = "", 0
    one: list[Token] = []
    for t in tokens:
        ends = not depth and t.kind == "punct" and t.text in (",", "}")
        if ends and one:
            if one[0].kind == "name" and (len(one) == 1 or (one[1].text == "=" and len(one) > 2)):
                yield Enumerator(one[0], tuple(one[2:]), previous)
            previous = one[0].text
        if ends:
            one = []
            if t.text == "}":
                return
            continue
        depth += (t.text in ("(", "[", "{")) - (t.text in (")", "]", "}"))
        one.append(t)
