"""Which names mean integer types where: the typedefs of a text, in their order.

Where a function gives a type's name to something else, C's scopes would have to be followed to tell
the two apart; such a function is refused.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from tlbcheck.c.text import Token
from tlbcheck.c.values import NOISE, SIZE_WORDS, SPELLINGS, Integer, integer_type
from tlbcheck.errors import InputError

_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_NO_TYPE_BEFORE = frozenset({".", "->", "struct", "union", "enum", "goto"})
"""After these stands a member, a tag or a label, which are names of another kind."""
_BEFORE_TYPE = frozenset({"", "(", ")", ",", ";", "{", "}", ":", "typedef", *NOISE})
_AFTER_TYPE = frozenset({"*", "(", ")", ",", ":", "["})


@dataclass(eq=False)
class Typedefs:
    """Of each name the types that it was given, each from a position in the text on; None where that is no integer."""

    found: dict[str, list[tuple[int, Integer | None]]] = field(default_factory=dict)

    def learn(self, tokens: list[Token], position: int) -> None:
        """Read a definition of the top level, if it is a ``typedef``."""
        if tokens[0].text != "typedef" or tokens[-1].text != ";":
            return
        base: list[str] = []
        at = 1
        while tokens[at].kind == "name" and (tokens[at].text in NOISE or tokens[at].text in SIZE_WORDS or not base):
            base += [] if tokens[at].text in NOISE else [tokens[at].text]
            at += 1
        known = self.meaning(base[0], position) if len(base) == 1 else None
        type_ = known or integer_type(base)
        for declarator in _declarators(tokens[at:-1]):
            if len(declarator) == 1 and declarator[0].kind == "name" and isinstance(type_, Integer):
                self.found.setdefault(declarator[0].text, []).append((position, type_))
                continue
            for t, after in zip(declarator, [*declarator[1:], tokens[-1]], strict=True):  # which of them it declares need not be known
                if t.text in self.found and after.kind != "name" and after.text != "*":
                    self.found[t.text].append((position, None))

    def meaning(self, name: str, position: int) -> Integer | None:
        """The integer type that ``name`` means at ``position``, None if it means none."""
        entries = self.found.get(name, [])
        i = bisect_right(entries, position, key=lambda e: e[0])
        return entries[i - 1][1] if i else None

    def spelled(self, tokens: list[Token], position: int) -> list[Token]:
        """``tokens``, which stand at ``position``, with names of integer types in words that C's grammar knows as types.

        Raises ``InputError`` where such a name is that of something else as well.
        """
        made: list[Token] = []
        opened: list[str] = []
        for i, t in enumerate(tokens):
            before = tokens[i - 1].text if i else ""
            if t.kind == "punct" and t.text in _OPENING:
                opened.append(t.text)
            elif t.kind == "punct" and t.text in _CLOSING and opened:
                opened.pop()
            type_ = self.meaning(t.text, position) if t.kind == "name" and before not in _NO_TYPE_BEFORE else None
            if type_ is None:
                made.append(t)
                continue
            after = tokens[i + 1] if i + 1 < len(tokens) else None
            declared = before == "," and (not opened or opened[-1] == "{")  # int a, b;
            declared = declared or (before == "(" and i > 1 and self.names_type(tokens[i - 2], position))  # int (a);
            followed = after is None or after.kind == "name" or after.text in _AFTER_TYPE
            if before not in _BEFORE_TYPE or declared or not followed:
                raise InputError(f"'{t.text}' is the name of a type, and here of something else", place=t.place, hint="give the variable another name")
            made.append(Token(t.kind, SPELLINGS[type_], t.start, t.end, t.origin, t.spaced, t.when, t.hidden))
        return made

    def names_type(self, token: Token, position: int) -> bool:
        return token.kind == "name" and (token.text in SIZE_WORDS or self.meaning(token.text, position) is not None or integer_type([token.text]) is not None)


def _declarators(tokens: list[Token]) -> list[list[Token]]:
    """What stands between the commas."""
    made: list[list[Token]] = [[]]
    depth = 0
    for t in tokens:
        depth += (t.text in _OPENING) - (t.text in _CLOSING)
        if t.text == "," and not depth:
            made.append([])
        else:
            made[-1].append(t)
    return made
