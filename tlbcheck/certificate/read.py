"""Reads a certificate strictly: these commands in this order, and nothing else.

What a solver is given later is put together from the parts that were recognised, never the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlbcheck.engines.obligations import OBLIGATIONS
from tlbcheck.errors import InputError, Place

LARGEST = 64 << 20
"""Bytes of a file that is looked at."""
FUNCTIONS = ("init", "step", "bad-state", "bad-step")
_TOKEN = re.compile(r";[^\n]*|\s+|(\|[^|]*\||\"(?:[^\"]|\"\")*\"|[()]|[^\s()|\";]+)")
_WORDS = frozenset(["and", "or", "not", "xor", "=>", "=", "ite", "distinct", "_", "extract", "concat", "bvand", "bvor", "bvxor", "bvnot", "bvult", "bvule", "zero_extend", "true", "false", "let"])
_BOUND = re.compile(r"[bn]\d+")
"""What the invariant may name by itself: bits and nodes of a decision diagram."""
_LITERAL = re.compile(r"bv\d+|\d+|#b[01]+|#x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Certificate:
    """``declarations`` and ``definitions`` (by name) as text with single spaces; ``asserts`` for each obligation."""

    path: Path
    about: dict[str, str]
    declarations: tuple[str, ...]
    definitions: dict[str, str]
    signature: str
    obligations: dict[str, tuple[str, ...]]

    @property
    def head(self) -> str:
        """Everything that the obligations speak of."""
        return "\n".join([*self.declarations, *self.definitions.values()])


def normal(text: str) -> str:
    """SMT-LIB text with single spaces and without comments."""
    return " ".join(token for token, _ in _tokens(text))


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(at)
        if found.group(1):
            yield found.group(1), at
        at = found.end()


def load(path: Path) -> Certificate:
    """The certificate in a file. Raises ``InputError`` for anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST >> 20} MiB", hint="this is no certificate of tlbcheck")
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", hint="name a file that 'tlbcheck verify --certificates' wrote") from None
    return _Reader(path, text).read()


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.commands = list(self._commands())
        self.next = 0

    def refuse(self, what: str, at: int | None = None) -> InputError:
        line = self.text.count("\n", 0, at) + 1 if at is not None else 0
        return InputError(what, place=Place(str(self.path), line), hint="the certificate is refused: it is edited, or none of tlbcheck's")

    def _commands(self) -> Iterator[tuple[list[str], int]]:
        depth, began = 0, 0
        tokens: list[str] = []
        try:
            for token, at in _tokens(self.text):
                if depth == 0:
                    if token != "(":
                        raise self.refuse(f"'{token[:20]}' stands outside of a command", at)
                    tokens, began = [], at
                depth += (token == "(") - (token == ")")
                tokens.append(token)
                if depth == 0:
                    yield tokens, began
        except ValueError as error:
            raise self.refuse("this is no SMT-LIB text", error.args[0]) from None
        if depth:
            raise self.refuse("the file ends within a command", began)

    def take(self, name: str) -> list[str] | None:
        """The next command's tokens if it has this name."""
        if self.next < len(self.commands) and self.commands[self.next][0][1:2] == [name]:
            self.next += 1
            return self.commands[self.next - 1][0]
        return None

    def expect(self, command: str, wanted: str) -> None:
        tokens = self.take(command)
        if tokens is None or " ".join(tokens) != normal(wanted):
            at = self.commands[min(self.next - (tokens is not None), len(self.commands) - 1)][1] if self.commands else 0
            raise self.refuse(f"'{wanted if len(wanted) < 40 else wanted[:40] + '...'}' is expected here", at)

    def read(self) -> Certificate:
        about: dict[str, str] = {}
        while tokens := self.take("set-info"):
            at = self.commands[self.next - 1][1]
            if len(tokens) != 5 or not tokens[2].startswith(":"):
                raise self.refuse("this is no line of a certificate's head", at)
            if tokens[2][1:] in about:
                raise self.refuse(f"the head says '{tokens[2][1:]}' twice", at)
            about[tokens[2][1:]] = tokens[3].strip("|")
        if "tlbcheck-certificate" not in about:
            raise self.refuse("this is no certificate of tlbcheck")
        self.expect("set-logic", "(set-logic QF_BV)")
        declarations, declared = [], set()
        while tokens := self.take("declare-const"):
            if not tokens[2].startswith("|"):
                raise self.refuse(f"'{tokens[2]}' is no name of a certificate's constant")
            declared.add(tokens[2])
            declarations.append(" ".join(tokens))
        definitions = {}
        for name in FUNCTIONS:
            tokens = self.take("define-fun")
            if tokens is None or tokens[2:6] != [name, "(", ")", "Bool"]:
                raise self.refuse(f"the definition of '{name}' is missing")
            definitions[name] = " ".join(tokens)
        signature, parameters = self._invariant(definitions)
        obligations = self._obligations(parameters, declared)
        self.expect("exit", "(exit)")
        if self.next != len(self.commands):
            raise self.refuse("there is something behind the end of the certificate", self.commands[self.next][1])
        return Certificate(self.path, about, tuple(declarations), definitions, signature, obligations)

    def _invariant(self, definitions: dict[str, str]) -> tuple[str, list[str]]:
        tokens = self.take("define-fun")
        if tokens is None or tokens[2:4] != ["invariant", "("]:
            raise self.refuse("the definition of 'invariant' is missing")
        end, depth, parameters = 4, 1, []
        while depth:
            depth += (tokens[end] == "(") - (tokens[end] == ")")
            if tokens[end] == "(" and depth == 2:
                parameters.append(tokens[end + 1])
            end += 1
        known = set(parameters)
        # The bindings of each "let" that is open: how deep they stand, and what is known behind them.
        lists: list[tuple[int, set[str]]] = []
        depth = 0
        for before, token in itertools.pairwise(tokens[end:]):
            depth += (token == "(") - (token == ")")
            if token == "(" and before == "let":
                lists.append((depth, set()))
            elif token == ")" and lists and depth < lists[-1][0]:
                known |= lists.pop()[1]
            elif before == "(" and lists and depth == lists[-1][0] + 1 and _BOUND.fullmatch(token):
                lists[-1][1].add(token)
            elif token not in "()" and token not in known and token not in _WORDS and not _LITERAL.fullmatch(token):
                raise self.refuse(f"the invariant speaks of '{token}', which is not a part of the state")
        definitions["invariant"] = " ".join(tokens)
        return " ".join(tokens[: end + 1]), parameters

    def _obligations(self, parameters: list[str], declared: set[str]) -> dict[str, tuple[str, ...]]:
        def applied(vector: str) -> str:
            named = [f"|{vector}:{p[1:-1]}|" for p in parameters]
            return "(invariant " + " ".join(n if n in declared else f"|field:{p[1:-1]}|" for n, p in zip(named, parameters, strict=True)) + ")"

        both = {"now": applied("now"), "next": applied("next")}
        made = {}
        for name, parts in OBLIGATIONS.items():
            made[name] = tuple(p.format(**both) for p in parts)
            self.expect("push", "(push 1)")
            for p in made[name]:
                self.expect("assert", f"(assert {p})")
            self.expect("check-sat", "(check-sat)")
            self.expect("pop", "(pop 1)")
        return made
