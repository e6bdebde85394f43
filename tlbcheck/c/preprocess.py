"""The preprocessor: conditions, definitions, and the expansion of macros.

``#include`` is never followed here. Of every name that decided a condition it is remembered what that
decided, so that a verdict can say which configuration it is about. Text is expanded only where a
function is used, with the definitions that were in force there.

A name that nothing defines and no option settles counts as not defined, as in C; whoever must not take
that for granted reads the text once more under the ``hypotheses`` that it is defined, and compares.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.c.literals import character, integer
from tlbcheck.c.text import Text, Token, retokenised, tokens_of
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, source_of

_EXPANDED = 50_000
_DEPTH = 64
_CONDITION = 2_000
_WORD = 200
_QUOTED = 10_000
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True)
class Dependency:
    """A name that decided which text is compiled: ``value`` is None where it was not defined.

    ``question`` is what nothing that was read answers: the name, of which it is not known whether it is
    defined, or the text of a condition that needs its value; empty where the answer is known.
    ``origin`` says in words where a definition was found, if not in the text itself.
    """

    name: str
    value: str | None
    place: Place
    question: str = ""
    origin: str = ""

    def __str__(self) -> str:
        decided = f"{self.name} is not defined" if self.value is None else f"{self.name} is defined as {self.value or 'nothing'}"
        return f"{decided}{self.origin} (it decides what is compiled at {self.place})"


@dataclass(frozen=True, eq=False)
class Macro:
    name: str
    parameters: tuple[str, ...] | None
    variadic: bool
    body: tuple[Token, ...]


@dataclass(eq=False)
class _Entry:
    when: int
    macro: Macro | None
    depends: frozenset[Dependency]


@dataclass(eq=False)
class Group:
    """An ``#if`` ... ``#endif``; ``closed`` is false if the text ended first.

    ``region`` from ``first`` to ``last`` is the text of all its branches, if it stands outside of functions.
    """

    origin: Text
    start: int
    end: int
    depends: frozenset[Dependency]
    closed: bool = True
    region: Sequence[Token] = ()
    first: int = 0
    last: int = 0

    @property
    def tokens(self) -> Sequence[Token]:
        return self.region[self.first : self.last]


@dataclass(eq=False)
class _Open:
    token: Token
    active_around: bool
    taken: bool
    active: bool
    depends: frozenset[Dependency]
    region: list[Token] | None
    """The text of all branches of the outermost condition, up to here; None inside brackets."""
    first: int

    def group(self, text: Text, end: int, closed: bool = True) -> Group:
        return Group(text, self.token.start, end, self.depends, closed, self.region or (), self.first, len(self.region or ()))


@dataclass(eq=False)
class Preprocessor:
    """``tokens`` are those of all active text in order; ``depends`` collects while text is expanded.

    ``given`` are the definitions of the command line, and ``undefined`` the names that it says are not
    defined. ``hypotheses`` answer questions (see ``Dependency``); ``settled`` are definitions that were
    found elsewhere, each with what decided it.
    """

    given: Mapping[str, str]
    undefined: frozenset[str] = frozenset()
    hypotheses: Mapping[str, bool] = field(default_factory=dict)
    settled: Sequence[tuple[Macro, frozenset[Dependency]]] = ()
    tokens: list[Token] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    history: dict[str, list[_Entry]] = field(default_factory=dict)
    when: int = 0
    depends: set[Dependency] = field(default_factory=set)
    left: int = _EXPANDED

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            lines = tokens_of(Text(_command_line(name, value)))
            if not lines or len(lines) > 1 or lines[0][0].kind != "name" or any(t.kind == "error" for t in lines[0]):
                raise InputError(f"-D {name}={value} defines nothing that C knows", hint="write -D NAME or -D NAME=VALUE")
            self.define(Macro(name, None, False, tuple(lines[0][1:])), frozenset())
        for macro, depends in self.settled:
            self.define(macro, depends)

    # -- definitions

    def define(self, macro: Macro, depends: frozenset[Dependency]) -> None:
        self.record(macro.name, macro, depends)

    def record(self, name: str, macro: Macro | None, depends: frozenset[Dependency]) -> None:
        self.when += 1
        self.history.setdefault(name, []).append(_Entry(self.when, macro, depends))

    def entry(self, name: str, when: int) -> _Entry | None:
        entries = self.history.get(name)
        if not entries:
            return None
        i = bisect_right(entries, when, key=lambda e: e.when)
        return entries[i - 1] if i else None

    def look_up(self, token: Token) -> Macro | None:
        """The macro that ``token`` names where it stands; remembers what that depends on."""
        found = self.entry(token.text, token.when)
        if found is None:
            return None
        self.depends |= found.depends
        if token.text in self.given and found.macro is not None:
            self.depends.add(Dependency(token.text, self.given[token.text], token.place))
        return found.macro

    # -- directives

    def add(self, text: Text) -> None:
        """Read a text after what was read before."""
        opened: list[_Open] = []
        active, depth = True, 0
        region: list[Token] = []
        for line in tokens_of(text):
            if line[0].text != "#" or line[0].kind != "punct":
                if opened:
                    region += line
                if active:
                    for t in line:
                        t.when = self.when
                        depth += (t.kind == "punct") * ((t.text in _OPENING) - (t.text in _CLOSING))
                    self.tokens += line
                continue
            word, rest = (line[1].text, line[2:]) if len(line) > 1 else ("", [])
            self.directive(text, line, active)
            match word:
                case "if" | "ifdef" | "ifndef":
                    seen, depends = self.decide(word, line[0], rest) if active else (False, frozenset[Dependency]())
                    region = region if opened else []
                    opened.append(_Open(line[0], active, seen, active and seen, depends, None if depth > 0 else region, len(region)))
                    active = active and seen
                case "elif" | "else" | "endif" if not opened:
                    self.unseen(text, line[0])
                case "elif" | "else":
                    top = opened[-1]
                    if top.active_around and not top.taken and word == "elif":
                        top.active, more = self.decide("if", line[0], rest)
                        top.depends |= more
                    else:
                        top.active = top.active_around and not top.taken
                    top.taken = top.taken or top.active
                    active = top.active
                case "endif":
                    top = opened.pop()
                    active = top.active_around
                    self.groups.append(top.group(text, line[0].end))
                case "define" | "undef":
                    depends = frozenset[Dependency]().union(*(o.depends for o in opened))
                    self.definition(word, line[0], rest, depends, active)
        for top in opened:
            self.groups.append(top.group(text, len(text.text), closed=False))

    def directive(self, text: Text, line: list[Token], active: bool) -> None:
        """A directive is read; for those who follow includes."""

    def unseen(self, text: Text, token: Token) -> None:
        """The end of a condition whose beginning is missing: where lines are known to be missing, an assumption."""
        if not any(g.before <= text.line(token.start) for g in text.source.gaps):
            raise InputError("this ends a condition that nothing began", place=token.place, hint="give the whole file")
        self.groups.append(Group(text, 0, token.end, frozenset({Dependency("the condition that ends here", "true, as it was not seen", token.place)})))

    def definition(self, word: str, hash_: Token, rest: list[Token], depends: frozenset[Dependency], active: bool) -> None:
        if not rest or rest[0].kind != "name":
            if active:
                raise InputError(f"#{word} without a name", place=hash_.place, hint="mend the line")
            return
        name = rest[0].text
        before = self.entry(name, self.when)
        if not active:  # it would be different if the condition were
            self.record(name, before.macro if before else None, (before.depends if before else frozenset()) | depends)
        elif word == "undef":
            self.record(name, None, depends)
        else:
            self.define(self.macro(rest), depends)

    def macro(self, line: list[Token]) -> Macro:
        name, rest = line[0], line[1:]
        if not rest or rest[0].text != "(" or rest[0].spaced:
            return Macro(name.text, None, False, tuple(rest))
        parameters: list[str] = []
        variadic, i = False, 1
        while i < len(rest) and rest[i].text != ")":
            if rest[i].text == "...":
                variadic = True
                parameters.append("__VA_ARGS__")
            elif rest[i].kind == "name":
                parameters.append(rest[i].text)
            elif rest[i].text != ",":
                break
            i += 1
        if i >= len(rest) or rest[i].text != ")":
            raise InputError(f"the parameters of macro {name.text} cannot be read", place=name.place, hint="macros have plain parameters, the last perhaps ...")
        return Macro(name.text, tuple(parameters), variadic, tuple(rest[i + 1 :]))

    # -- conditions

    def decide(self, word: str, hash_: Token, rest: list[Token]) -> tuple[bool, frozenset[Dependency]]:
        outer, self.depends = self.depends, set()
        try:
            if len(rest) > _CONDITION:
                raise InputError("a condition of too many words", place=hash_.place, hint="shorten it")
            for t in rest:
                t.when = self.when
            if word != "if":
                if not rest or rest[0].kind != "name":
                    raise InputError(f"#{word} without a name", place=hash_.place, hint="mend the line")
                return self.defined(rest[0], hash_) is (word == "ifdef"), frozenset(self.depends)
            made: list[Token] = []
            i = 0
            while i < len(rest):  # defined() looks at names before they are expanded
                t = rest[i]
                if t.text == "defined" and t.kind == "name":
                    bracket = i + 1 < len(rest) and rest[i + 1].text == "("
                    j = i + 2 if bracket else i + 1
                    if j >= len(rest) or rest[j].kind != "name" or (bracket and (j + 1 >= len(rest) or rest[j + 1].text != ")")):
                        raise InputError("defined without a name", place=t.place, hint="write defined(NAME)")
                    made.append(Token("number", "1" if self.defined(rest[j], hash_) else "0", t.start, t.end, t.origin))
                    i = j + (2 if bracket else 1)
                else:
                    made.append(t)
                    i += 1
            self.left = _EXPANDED
            expanded = self.expand(made)
            value = _Condition(self, expanded, hash_).value()
            return self.answer(expanded, hash_) if value is None else value != 0, frozenset(self.depends)
        finally:
            self.depends = outer

    def defined(self, name: Token, where: Token) -> bool:
        found = self.look_up(name)
        if found is None and self.entry(name.text, name.when) is None:
            return self.supposed(name.text, where)
        return found is not None

    def supposed(self, name: str, where: Token) -> bool:
        """Whether ``name``, which nothing that was read defines, counts as defined."""
        self.depends.add(Dependency(name, None, where.place, "" if name in self.undefined else name))
        return name not in self.undefined and self.hypotheses.get(name, False)

    def answer(self, condition: list[Token], where: Token) -> bool:
        """Whether a condition holds that needs the value of a name of which only that it is defined is supposed."""
        text = " ".join(t.text for t in condition)
        name = next(t.text for t in condition if t.kind == "name")
        self.depends.add(Dependency(name, None, where.place, f"#if {text}"))
        return self.hypotheses.get(f"#if {text}", False)

    # -- expansion

    def expanded(self, tokens: list[Token]) -> tuple[list[Token], set[Dependency]]:
        """``tokens`` with all macros expanded, and what that depended on."""
        self.depends, self.left = set(), _EXPANDED
        made = self.expand(tokens)
        return made, self.depends

    def expand(self, tokens: list[Token], depth: int = 0) -> list[Token]:
        if depth > _DEPTH:
            raise InputError("macros are nested too deeply", place=tokens[0].place if tokens else None, hint="expand it by hand")
        out: list[Token] = []
        stack = list(reversed(tokens))
        while stack:
            t = stack.pop()
            if t.kind != "name" or t.text in t.hidden:
                out.append(t)
                continue
            if t.text == "IS_ENABLED" and self.entry(t.text, t.when) is None and stack and stack[-1].text == "(":
                arguments, _ = self.arguments(t, stack)
                out.append(self.enabled(t, arguments))
                continue
            macro = self.look_up(t)
            if macro is None:
                out.append(t)
                continue
            end = t.end
            values: dict[str, list[Token]] = {}
            if macro.parameters is not None:
                if not stack or stack[-1].text != "(" or stack[-1].kind != "punct":
                    out.append(t)
                    continue
                given, close = self.arguments(t, stack)
                if close.origin is t.origin and close.end > t.start:
                    end = close.end
                values = self.bind(t, macro, given)
            body = self.substitute(t, macro, values, end, depth)
            self.left -= len(body) + 1
            if self.left < 0:
                raise InputError(f"macro {t.text} stands for too much text", place=t.place, hint="expand it by hand")
            stack.extend(reversed(body))
        return out

    def enabled(self, t: Token, arguments: list[list[Token]]) -> Token:
        """IS_ENABLED(CONFIG_X): 1 if it is defined as 1, else 0."""
        if len(arguments) != 1 or len(arguments[0]) != 1 or arguments[0][0].kind != "name":
            raise InputError("IS_ENABLED takes one name", place=t.place, hint="write IS_ENABLED(CONFIG_X)")
        name = arguments[0][0]
        known = self.defined(name, t)
        entry = self.entry(name.text, name.when)
        on = known and (entry is None or (entry.macro is not None and [x.text for x in entry.macro.body] == ["1"]))
        return Token("number", "1" if on else "0", t.start, t.end, t.origin, t.spaced, t.when)

    def arguments(self, name: Token, stack: list[Token]) -> tuple[list[list[Token]], Token]:
        opening = stack.pop()
        made: list[list[Token]] = [[]]
        depth = 1
        while stack:
            t = stack.pop()
            if t.text in ("(", "[", "{") and t.kind == "punct":
                depth += 1
            elif t.text in (")", "]", "}") and t.kind == "punct":
                depth -= 1
                if not depth:
                    return made, t
            if t.text == "," and t.kind == "punct" and depth == 1:
                made.append([])
            else:
                made[-1].append(t)
        raise InputError(f"the arguments of macro {name.text} do not end", place=opening.place, hint="close the parenthesis")

    def bind(self, name: Token, macro: Macro, given: list[list[Token]]) -> dict[str, list[Token]]:
        parameters = macro.parameters or ()
        if macro.variadic and len(given) >= len(parameters):
            fixed = len(parameters) - 1
            rest: list[Token] = []
            for i, argument in enumerate(given[fixed:]):
                if i:
                    rest.append(Token("punct", ",", name.start, name.end, name.origin))
                rest += argument
            given = [*given[:fixed], rest]
        elif macro.variadic and len(given) == len(parameters) - 1:
            given = [*given, []]
        if not parameters and given == [[]]:
            given = []
        if len(given) != len(parameters):
            raise InputError(f"macro {macro.name} takes {len(parameters)} argument(s), {len(given)} given", place=name.place, hint="mend the call or the macro")
        return dict(zip(parameters, given, strict=True))

    def substitute(self, use: Token, macro: Macro, values: dict[str, list[Token]], end: int, depth: int) -> list[Token]:
        hidden = use.hidden | {macro.name}
        ready: dict[str, list[Token]] = {}
        out: list[Token] = []

        def own(t: Token) -> Token:
            return Token(t.kind, t.text, use.start, end, use.origin, t.spaced, use.when, hidden)

        def passed(t: Token) -> Token:
            return Token(t.kind, t.text, t.start, t.end, t.origin, t.spaced, t.when, t.hidden | {macro.name})

        body, i = macro.body, 0
        while i < len(body):
            t = body[i]
            if t.text == "#" and macro.parameters is not None and i + 1 < len(body) and body[i + 1].text in values:
                quoted = " ".join(x.text for x in values[body[i + 1].text]).replace("\\", "\\\\").replace('"', '\\"')
                if len(quoted) > _QUOTED:
                    raise InputError(f"macro {macro.name} quotes too much text", place=use.place, hint="expand it by hand")
                out.append(own(Token("string", f'"{quoted}"', use.start, end, use.origin)))
                i += 2
            elif t.text == "##" and out and i + 1 < len(body):
                right = values[body[i + 1].text] if body[i + 1].text in values else [body[i + 1]]
                out += self.pasted(use, out.pop(), right[0], hidden) if right else []
                out += [passed(x) for x in right[1:]]
                i += 2
            elif t.text in values:
                if i + 1 < len(body) and body[i + 1].text == "##":
                    out += [passed(x) for x in values[t.text]]
                    if not values[t.text] and i + 2 < len(body):  # nothing to paste to
                        i += 1
                else:
                    if t.text not in ready:
                        ready[t.text] = self.expand(values[t.text], depth + 1)
                    out += [passed(x) for x in ready[t.text]]
                i += 1
            else:
                out.append(own(t))
                i += 1
            if len(out) > self.left:
                raise InputError(f"macro {macro.name} stands for too much text", place=use.place, hint="expand it by hand")
        return out

    def pasted(self, use: Token, left: Token, right: Token, hidden: frozenset[str]) -> list[Token]:
        if len(left.text) + len(right.text) > _WORD:
            raise InputError(f"macro {use.text} makes too long a word", place=use.place, hint="expand it by hand")
        made = retokenised(left.text + right.text, use)
        if len(made) != 1 or made[0].kind == "error":
            raise InputError(f"'{left.text}' and '{right.text}' make no word together", place=use.place, hint="mend the macro")
        made[0].hidden = hidden
        return made


def _command_line(name: str, value: str) -> Source:
    return source_of(f"{name} {value}", "<command line>")


_Number = tuple[int | None, bool]
"""A number and whether it is unsigned."""
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_LEVELS = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))


@dataclass(eq=False)
class _Condition:
    """Evaluates the expression of an ``#if``: integers of 64 bits, signed unless a suffix says not.

    A number is None where it is not known, being made of a name of which only that it is defined is supposed.
    """

    preprocessor: Preprocessor
    tokens: list[Token]
    where: Token
    at: int = 0

    def value(self) -> int | None:
        made = self.conditional()
        if self.at < len(self.tokens):
            raise self.refuse(f"'{self.tokens[self.at].text}' in a condition")
        return made[0]

    def refuse(self, what: str) -> InputError:
        place = self.tokens[self.at].place if self.at < len(self.tokens) else self.where.place
        return InputError(f"{what} cannot be read", place=place, hint="conditions are made of integers, names and operators")

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def take(self, *texts: str) -> str:
        found = self.peek()
        if found in texts and found:
            self.at += 1
            return found
        return ""

    def conditional(self) -> _Number:
        test = self.binary(0)
        if not self.take("?"):
            return test
        yes = self.conditional()
        if not self.take(":"):
            raise self.refuse("a '?' without ':'")
        no = self.conditional()
        chosen = None if test[0] is None else (yes if test[0] else no)[0]
        return _reduced(chosen, yes[1] or no[1])

    def binary(self, level: int) -> _Number:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while operator := self.take(*_LEVELS[level]):
            left = self.apply(operator, left, self.binary(level + 1))
        return left

    def apply(self, operator: str, left: _Number, right: _Number) -> _Number:
        unsigned = left[1] or right[1]
        if operator in ("||", "&&"):
            decides = operator == "||"
            truths = [None if n is None else n != 0 for n, _ in (left, right)]
            return (int(decides) if decides in truths else None if None in truths else int(not decides)), False
        a, b = _reduced(left[0], unsigned)[0], _reduced(right[0], unsigned)[0]
        if a is None or b is None:
            return None, unsigned and operator not in _COMPARISONS
        if operator in _COMPARISONS:
            holds = {"==": a == b, "!=": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator]
            return int(holds), False
        match operator:
            case "<<" | ">>":
                a, count = left[0], right[0]
                assert a is not None and count is not None
                if not 0 <= count < 64:
                    raise self.refuse(f"a shift by {count}")
                return _reduced(a << count if operator == "<<" else a >> count, left[1])
            case "/" | "%":
                if b == 0:
                    raise self.refuse("a division by 0")
                quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
                return _reduced(quotient if operator == "/" else a - quotient * b, unsigned)
        made = {"|": a | b, "^": a ^ b, "&": a & b, "+": a + b, "-": a - b, "*": a * b}[operator]
        return _reduced(made, unsigned)

    def unary(self) -> _Number:
        operators = []
        while operator := self.take("!", "~", "-", "+"):
            operators.append(operator)
        value, unsigned = self.primary()
        for operator in reversed(operators):
            if value is None:
                unsigned = unsigned and operator != "!"
            elif operator == "!":
                value, unsigned = int(not value), False
            else:
                value, unsigned = _reduced({"~": ~value, "-": -value, "+": value}[operator], unsigned)
        return value, unsigned

    def primary(self) -> _Number:
        if self.take("("):
            made = self.conditional()
            if not self.take(")"):
                raise self.refuse("a '(' without ')'")
            return made
        if self.at >= len(self.tokens):
            raise self.refuse("a condition that ends early")
        t = self.tokens[self.at]
        if t.kind == "number" and (number := integer(t.text)) is not None:
            self.at += 1
            return _reduced(number.value, not number.signed)
        if t.kind == "char" and (code := character(t.text)) is not None:
            self.at += 1
            return code, False
        if t.kind == "name":  # what is not defined counts as 0
            self.at += 1
            if t.text == "true":
                return 1, False
            return (None if self.preprocessor.supposed(t.text, self.where) else 0), False
        raise self.refuse(f"'{t.text}' in a condition")


def _reduced(value: int | None, unsigned: bool) -> _Number:
    if value is None:
        return None, unsigned
    value &= (1 << 64) - 1
    return (value if unsigned or value < 1 << 63 else value - (1 << 64)), unsigned
