"""One C file under one profile: its functions as procedures of the language."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tlbcheck.c.elsewhere import NOWHERE, Elsewhere, functions_elsewhere
from tlbcheck.c.enumerators import Enumerator, enumerators
from tlbcheck.c.names import Constant, Followed, Signature
from tlbcheck.c.preprocess import Dependency, Macro, Preprocessor
from tlbcheck.c.profile import CallEntry, PlaceEntry, Profile
from tlbcheck.c.statements import Statements
from tlbcheck.c.syntax import Segment, Syntax, declared, parse_declaration, parse_expression, parse_function, part, segments, text_of, walk
from tlbcheck.c.text import Text, Token, tokens_of
from tlbcheck.c.typedefs import Typedefs
from tlbcheck.c.unroll import unrolled
from tlbcheck.c.values import CType, Integer, Other, Value, integer_type, number, signed, unknown
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import var
from tlbcheck.lang.source import Gap, Source, SourceLine
from tlbcheck.lang.types import BOOL, Type, WordType

if TYPE_CHECKING:
    from tree_sitter import Node

_ASM = frozenset({"asm", "__asm__", "__asm"})
_KEYWORDS = frozenset({"static", "const", "volatile", "unsigned", "signed", "long", "int", "short", "char", "void", "struct", "union", "enum", "typedef", "extern", "inline", "bool", "return"})
_DEPTH = 32
_FUNCTIONS = 500

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Input that is nested beyond what Python can recurse into is an input error, too."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RecursionError:
            raise InputError("the C text is nested too deeply", hint="split its expressions and statements") from None

    return guarded


@dataclass(eq=False)
class _Read:
    """A function that was read, with what the verdict has to repeat of it."""

    segment: Segment
    notes: tuple[str, ...]
    depends: frozenset[Dependency]
    callees: tuple[p.Procedure, ...]
    names: frozenset[str]
    ignores: tuple[str, ...]


@dataclass(eq=False)
class CUnit:
    """What ``read_unit`` gives. ``functions`` are those that the file defines, with their places."""

    source: Source
    profile: Profile
    assumed: frozenset[str]
    preprocessor: Preprocessor
    segments: dict[str, Segment]
    own: Text
    types: Typedefs
    enumerations: Sequence[Segment]
    """Definitions that may hold enumeration constants."""
    declarations: Sequence[Segment]
    """What the file defines that is no function."""
    given: int
    """The position of the last of the profile's definitions."""
    damage: InputError | None = None
    given_values: Mapping[str, Place] = field(default_factory=dict)
    """Where the file itself gives a constant of its top level its value."""
    outer: Mapping[str, Segment] = field(default_factory=dict)
    """The functions of other files of the code base."""
    stands_in: Mapping[str, Segment] = field(default_factory=dict)
    """The profile's own definitions of functions that other files define, too."""
    changed: frozenset[str] = frozenset()
    """Names that a patch defines anew in other files."""
    functions: dict[str, Place] = field(init=False)
    acting: frozenset[str] = field(init=False)
    """Functions of the profile that contain assembly."""
    _parsed: dict[str, tuple[Syntax, frozenset[Dependency]]] = field(default_factory=dict)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of each function that was looked at, every name in it, before and after macros are expanded."""
    _aside: set[Dependency] = field(default_factory=set)
    """What the profile's own expressions depend on, where the file defines macros anew."""
    _followed: dict[tuple[str, tuple[Type | None, ...]], Followed] = field(default_factory=dict)
    _fragments: dict[tuple[str, Place], list[Token]] = field(default_factory=dict)
    _enumerators: dict[str, tuple[Enumerator, Segment, frozenset[Dependency]] | None] | None = None
    _constants: dict[str, Constant] = field(default_factory=dict)
    _read: dict[p.Procedure, _Read] = field(default_factory=dict)
    _stack: list[str] = field(default_factory=list)
    _tried: dict[str, InputError | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = {name: s.place for name, s in self.segments.items() if s.origin is self.own}
        self.acting = frozenset(name for name, s in self.segments.items() if s.origin is not self.own and any(t.text in _ASM for t in s.tokens))

    # -- for the command line

    @_guarded
    def procedure(self, name: str | None = None, role: str = "", parameters: Sequence[p.Parameter] | None = None) -> p.Procedure:
        """The function ``name``, or the one that the profile names for ``role``, as a procedure.

        ``parameters`` are what callers pass (default: those of the role's declaration). They are
        matched by name, the rest by position among the function's integers. A parameter of the
        function that callers do not pass is a value of which nothing is known; one that callers
        pass and the function lacks is ignored, and said to be. Raises ``InputError`` for a function
        that is not there or not understood.
        """
        self.enumerators()  # refused where no compiler would take them, whether or not they are used
        entry = self.profile.roles.get(role)
        if name is None:
            if entry is None:
                raise InputError(f"profile {self.profile.name} names no function for role '{role}'", hint=f"say which: --function NAME --role {role or 'ROLE'}")
            name = next((f for f in entry.functions if f in self.functions), None)
            if name is None:
                raise self.absent(f"no function of role '{role}' ({', '.join(entry.functions)})", f"say which: --function NAME --role {role}")
        if name not in self.functions:
            raise self.absent(f"no function '{name}'", f"it defines: {', '.join(sorted(self.functions)) or 'none'}")
        if parameters is None:
            declared = self.declaration(entry.declaration, f"roles.{role}") if entry is not None else self.signature(name, self.functions[name])
            parameters = [p.Parameter(n, t.type) for n, t in declared.parameters if isinstance(t, Integer)]
        return self.role_procedure(name, role, tuple(parameters))

    @_guarded
    def assumptions(self, procedure: p.Procedure) -> tuple[str, ...]:
        """What a verdict about ``procedure`` has to repeat, in the order in which it was met."""
        found: dict[str, None] = {}
        for read in self.closure(procedure):
            found |= dict.fromkeys(read.notes)
            found |= {f"{g.text} ({g.place})": None for g in self.missing(read.segment)}
            wanted = read.depends | self.around(read.segment)
            # one sentence for each name, however often it decides
            for d in sorted(wanted, key=lambda d: (d.name, d.place)):
                if not any(d.name == n and v == d.value for n, v in self._said(found)):
                    found[str(d)] = None
        return tuple(found)

    def taken(self, procedure: p.Procedure) -> tuple[str, ...]:
        """What a verdict has to say of operations of which no definition was seen."""
        used = {n for read in self.closure(procedure) for n in read.names}
        names = sorted(n for n in used - self.segments.keys() if (e := self.profile.calls.get(n)) is not None and e.meaning is not None)
        means = "mean" if len(names) > 1 else "means"
        return (f"what {', '.join(names)} {means} is as the profile says ({self.profile.name}): definitions that may stand elsewhere were not read",) if names else ()

    def _said(self, found: dict[str, None]) -> list[tuple[str, str | None]]:
        known = {str(d): (d.name, d.value) for r in self._read.values() for d in r.depends} | {str(d): (d.name, d.value) for g in self.preprocessor.groups for d in g.depends}
        return [known[text] for text in found if text in known]

    def gaps(self, procedure: p.Procedure) -> tuple[Gap, ...]:
        """Where lines of the functions that ``procedure`` runs were not seen."""
        return tuple(g for read in self.closure(procedure) for g in self.missing(read.segment))

    def missing(self, segment: Segment) -> list[Gap]:
        if segment.origin is not self.own and segment not in self.outer.values():
            return []
        first, last = segment.lines
        source = segment.origin.source
        # What was not seen behind a definition that is not closed is its end.
        return [g for g in source.gaps if first < g.before <= last or (not segment.closed and g.before >= len(source.lines))]

    def ignores(self, procedure: p.Procedure) -> tuple[str, ...]:
        """The parameters that callers of the role pass and that ``procedure`` does not take."""
        return self._read[procedure].ignores

    def uses(self, procedure: p.Procedure) -> frozenset[str]:
        """Every name that stands in the functions of the file that ``procedure`` runs, before macros are expanded.

        So a caller can see whether a version of the code knows PCIDs at all.
        """
        return frozenset(n for read in self.closure(procedure) if read.segment.origin is self.own for n in read.names)

    def words(self, name: str) -> tuple[str, ...]:
        """The code of a function as it is written, without comments and white space."""
        return tuple(t.text for t in self.segments[name].tokens)

    def lines(self, name: str) -> tuple[str, ...]:
        """The lines of a function, comments too."""
        first, last = self.segments[name].lines
        return tuple(line.text for line in self.segments[name].origin.source.lines[first : last + 1])

    def closure_words(self, name: str) -> dict[str, tuple[str, ...]]:
        """The code of a function and of what it names, directly or not (functions, constants, types), with all macros expanded."""
        found: dict[str, tuple[str, ...]] = {}
        used: set[str] = set()
        work = [name]
        while work:
            n = work.pop()
            if n in found or n not in self.segments:
                continue
            tokens = self.segments[n].tokens
            with suppress(InputError):  # then its macros cannot be expanded, which reading the function tells
                tokens, _ = self.preprocessor.expanded(tokens)
            found[n] = tuple(t.text for t in tokens)
            work += [t.text for t in tokens if t.kind == "name"]
            used |= {t.text for t in tokens if t.kind == "name"} - _KEYWORDS
        for segment in self.declarations:
            words = tuple(t.text for t in segment.tokens)
            if used.intersection(words):
                found[" ".join(words)] = words
        return found

    def closure(self, procedure: p.Procedure) -> list[_Read]:
        found: dict[p.Procedure, None] = {}
        work = [procedure]
        while work:
            q = work.pop()
            if q not in found and q in self._read:
                found[q] = None
                work.extend(reversed(self._read[q].callees))
        return [self._read[q] for q in found]

    def absent(self, what: str, hint: str) -> InputError:
        if self.damage is not None:
            return InputError(f"{self.source.name} has {what} that can be read: {self.damage.message}", place=self.damage.place, hint=self.damage.hint)
        place = self.source.lines[0].place if self.source.lines else Place(self.source.name)
        return InputError(f"{self.source.name} has {what}", place=Place(place.file), hint=hint)

    # -- for the reader of a function

    def call(self, name: str) -> CallEntry | None:
        return self.profile.calls.get(name)

    def copy_of(self, operation: p.Operation) -> PlaceEntry | None:
        return next((e for e in self.profile.places.values() if e.copies is operation), None)

    def variable(self, name: str) -> PlaceEntry | None:
        if name in self.profile.places:
            enumerated = self.enumerators().get(name)
            given = self.given_values.get(name) or (enumerated[0].name.place if enumerated else None)
            if given is not None:
                raise InputError(f"the file gives the constant {name} a value, but the profile says what it means", place=given, hint="take the value out, or the entry out of the profile")
        return self.profile.places.get(name)

    def constant(self, name: str) -> Constant | None:
        """The enumeration constant ``name``. Raises ``InputError`` if its value cannot be told."""
        if name not in self.enumerators() or self.variable(name) is not None:
            return None
        if name not in self._constants:
            found: tuple[Enumerator, Segment, frozenset[Dependency]] | None
            above, ahead, depends = name, 0, frozenset[Dependency]()
            while True:
                found = self.enumerators().get(above)
                if found is None:
                    raise self.no_constant(name, "which is declared twice," if above == name else f"whose value needs that of '{above}',")
                one, segment, more = found
                depends |= more
                if one.value or not one.previous:
                    break
                above, ahead = one.previous, ahead + 1
            if name in self._stack:
                raise self.no_constant(name, "whose value is made of itself,")
            self._stack.append(name)
            try:
                value = ahead + (self.evaluated(one, segment) if one.value else 0)
            finally:
                self._stack.pop()
            if not -(1 << 31) <= value < 1 << 31:
                raise self.no_constant(name, f"{value}, which is no int,")
            self._constants[name] = Constant(number(value), depends)
        return self._constants[name]

    def enumerators(self) -> Mapping[str, tuple[Enumerator, Segment, frozenset[Dependency]] | None]:
        """The enumeration constants of the text, each with what it depends on; None for one that is declared twice."""
        if self._enumerators is None:
            self._enumerators = made = {}
            for segment in self.enumerations:
                if self.missing(segment):
                    continue  # constants may be missing, too
                self.refuse_macros(segment)
                try:
                    tokens, depends = self.preprocessor.expanded(segment.tokens)
                except InputError:
                    continue
                for one in enumerators(tokens):
                    made[one.name.text] = None if one.name.text in made else (one, segment, frozenset(depends | self.around(segment)))
        return self._enumerators

    def refuse_macros(self, segment: Segment) -> None:
        """Refuse an enumeration that no compiler takes here, since a macro makes a number of a constant's name: which value counts is not known."""
        for one in enumerators(segment.tokens):
            try:
                stands_for, _ = self.preprocessor.expanded([one.name])
            except InputError:
                continue
            if stands_for and stands_for[0].kind != "name":
                raise InputError(f"the constant {one.name.text} is a macro where it is declared", place=one.name.place, hint="#undef the macro before, or take it out of the profile")

    def evaluated(self, one: Enumerator, segment: Segment) -> int:
        syntax = parse_expression(self.types.spelled(list(one.value), segment.position), f"the value of {one.name.text}")
        reader = Statements(self, syntax)
        value = reader.value(syntax.root)
        if value.expr is None or value.expr.op != "const" or not isinstance(value.type, Integer) or reader.out:
            raise syntax.refuse(syntax.root, "what is no constant", "write an integer")
        return signed(value.expr.value, value.type)

    def no_constant(self, name: str, why: str) -> InputError:
        found = self.enumerators()[name]
        return InputError(f"the constant '{name}', {why} is not known", place=found[0].name.place if found else Place(self.source.name), hint="give it a value of its own")

    def open(self, wanted: Collection[str] = ()) -> list[Dependency]:
        """What nothing that was read answers and may decide what the functions do that were looked at, or whether one of ``wanted`` is there.

        One for each question, in the order of their places. Beside what decided the text of a function, that
        is what decides whether something outside is there that bears a name which occurs in one.
        """
        found = {*self._aside}.union(*(c.depends for c in self._constants.values()), *(r.depends for r in self._read.values()), *(depends for _, depends in self._parsed.values()))
        for name in self._names:
            found |= self.around(self.segments[name])
        names = frozenset(wanted).union(*self._names.values())
        for group in self.preprocessor.groups:
            if group.tokens and any(d.question for d in group.depends) and not names.isdisjoint(declared(group.tokens)):
                found |= group.depends
        by_question = {d.question: d for d in sorted(found, key=lambda d: (d.place.file, d.place), reverse=True) if d.question}
        return sorted(by_question.values(), key=lambda d: (d.place.file, d.place, d.question))

    def around(self, segment: Segment) -> set[Dependency]:
        """What decided that the text of ``segment`` is compiled as it is."""
        a, b = segment.tokens[0].start, segment.tokens[-1].end
        return {d for group in self.preprocessor.groups if group.origin is segment.origin and group.start < b and a < group.end for d in group.depends}

    def stands_for(self, name: str, entry: CallEntry) -> None:
        """Refuse to leave a function unread, as its entry asks, where it names something that acts on the machine."""
        for t in self.segments[name].tokens:
            other = self.profile.calls.get(t.text) if t.kind == "name" else None
            if t.text in _ASM or t.text in self.acting or (other is not None and other is not entry and isinstance(other.meaning, p.Operation)):
                raise InputError(f"{name} is not read, as the profile asks, but it names {t.text}", place=t.place, hint=f"give a profile without instead_of_definition for {name}")

    def defines(self, name: str) -> bool:
        return name in self.segments

    def is_changed(self, name: str) -> bool:
        return name in self.changed

    def unreadable(self, name: str, place: Place) -> InputError | None:
        """Why a function that another file defines cannot be read, if it cannot; from then on the profile's own definition counts, if there is one.

        Raises ``InputError`` if a patch changes it, or if nothing else says what it means.
        """
        if self.segments.get(name) is not self.outer.get(name) or name not in self.outer:
            return None
        if name not in self._tried:
            self._tried[name] = None
            try:
                types = [t for _, t in self.signature(name, place).parameters]
                self.follow(name, tuple(t.type if isinstance(t, Integer) else None for t in types), place)
            except InputError as refused:
                self._tried[name] = refused
        error = self._tried[name]
        if error is None:
            return None
        if name in self.changed or (name not in self.stands_in and name not in self.profile.calls):
            whose = ", which the patch changes," if name in self.changed else ""
            raise InputError(f"{name}{whose} cannot be read: {error.message}", place=error.place or place, hint=error.hint)
        if name in self.stands_in:
            self.segments[name] = self.stands_in[name]
            self._parsed.pop(name, None)
        return error

    def signature(self, name: str, place: Place) -> Signature:
        syntax, _ = self.parsed(name)
        return self.declared(syntax, syntax.root)

    def declaration(self, source: Source, what: str) -> Signature:
        tokens = self.types.spelled([t for line in tokens_of(Text(source)) for t in line], self.given)
        if not tokens:
            raise InputError(f"{what} has an empty declaration", place=source.place(0, 0), hint='"unsigned long read_cr3(void)"')
        syntax = parse_declaration(tokens, what)
        return self.declared(syntax, syntax.root)

    def declared(self, syntax: Syntax, node: Node) -> Signature:
        """The signature that a definition or declaration gives."""
        result: CType = integer_type(text_of(part(node, "type")).split()) or Other(text_of(part(node, "type")))
        declarator = part(node, "declarator")
        while declarator.type != "function_declarator":
            if declarator.type == "pointer_declarator":
                result = Other(f"{text_of(part(node, 'type'))} *")
            inner = declarator.child_by_field_name("declarator")
            if inner is None:
                raise syntax.refuse(node, "a declaration of no function", 'write it as C does: "unsigned long read_cr3(void)"')
            declarator = inner
        made: list[tuple[str, CType]] = []
        listed = part(declarator, "parameters")
        for parameter in listed.named_children:
            if parameter.type == "comment":
                continue
            if parameter.type != "parameter_declaration":
                raise syntax.refuse(parameter, "a parameter of an unsupported kind", "functions have plain, named parameters")
            base = part(parameter, "type")
            inner = parameter.child_by_field_name("declarator")
            if inner is None:
                if text_of(base) == "void" and len(listed.named_children) == 1:
                    break
                made.append((f"parameter {len(made) + 1}", Other(text_of(base))))
                continue
            type_: CType = integer_type(text_of(base).split()) or Other(" ".join(text_of(base).split()))
            names = [n for n, _ in walk(inner) if n.type == "identifier"]
            if inner.type != "identifier":
                type_ = Other(f"{text_of(base)} *")
            made.append((text_of(names[0]) if names else f"parameter {len(made) + 1}", type_))
        names = [n for n, _ in walk(part(declarator, "declarator")) if n.type == "identifier"]
        return Signature(text_of(names[-1]) if names else "", result, tuple(made))

    def fragment(self, text: str, what: str, at: Token, origin: Place) -> Syntax:
        key = text, origin
        if key not in self._fragments:
            source = Source(origin.file, (SourceLine(" ".join(text.split()), origin),))
            tokens = [t for line in tokens_of(Text(source)) for t in line]
            for t in tokens:
                t.when = self.preprocessor.when
            expanded, depends = self.preprocessor.expanded(tokens)
            self._aside |= depends
            if not expanded:
                raise InputError(f"{what} is empty", place=origin, hint="write one C expression")
            self._fragments[key] = self.types.spelled(expanded, self.given)
        return parse_expression(self._fragments[key], what, at)

    def parsed(self, name: str) -> tuple[Syntax, frozenset[Dependency]]:
        found = self._parsed.get(name)
        if found is None:
            segment = self.segments[name]
            self._names[name] = frozenset(t.text for t in segment.tokens if t.kind == "name")
            if segment.damage is not None:
                raise InputError(f"{name} cannot be read: {segment.damage.message}", place=segment.damage.place, hint=segment.damage.hint)
            for group in self.preprocessor.groups:
                if not group.closed and group.origin is segment.origin and group.start < segment.tokens[-1].end:
                    raise InputError(f"{name} stands in a condition that is never closed", place=group.origin.place(group.start), hint="close it with #endif")
            tokens, depends = self.preprocessor.expanded(segment.tokens)
            self._names[name] |= {t.text for t in tokens if t.kind == "name"}
            found = self._parsed[name] = parse_function(self.types.spelled(tokens, segment.position), name), frozenset(depends)
        return found

    def follow(self, name: str, kinds: tuple[Type | None, ...], place: Place) -> Followed:
        if name in self._stack:
            raise InputError(f"{name} calls itself", place=place, hint="recursion is not supported: write a loop")
        if len(self._stack) >= _DEPTH or len(self._followed) >= _FUNCTIONS:
            raise InputError("too many functions are called", place=place, hint="say in a profile what one of them means")
        key = name, kinds
        if key not in self._followed:
            signature = self.signature(name, place)
            given = [None if kind is None else p.Parameter(n, kind) for (n, _), kind in zip(signature.parameters, kinds, strict=True)]
            self._followed[key] = self.read(name, signature, given, tuple(q for q in given if q is not None), "", ())
        return self._followed[key]

    def role_procedure(self, name: str, role: str, parameters: tuple[p.Parameter, ...]) -> p.Procedure:
        signature = self.signature(name, self.functions[name])
        by_name = {q.name: q for q in parameters}
        left = [q for q in parameters if q.name not in {n for n, _ in signature.parameters}]
        given: list[p.Parameter | None] = []
        notes = []
        for own, type_ in signature.parameters:
            chosen = by_name.get(own)
            if chosen is None and left and isinstance(type_, Integer):
                chosen = left.pop(0)
                notes.append(f"parameter '{own}' of {name} is taken for '{chosen.name}'")
            if chosen is not None and isinstance(chosen.type, WordType) and (not isinstance(type_, Integer) or type_.type != chosen.type):
                raise InputError(f"parameter '{own}' of {name} is no {chosen.type}, which callers pass", place=self.functions[name], hint="declare it unsigned long")
            given.append(chosen)
        for q in left:
            notes.append(f"{name} does not take '{q.name}', which its callers pass")
        return self.read(name, signature, given, parameters, role, tuple(notes), tuple(q.name for q in left)).procedure

    def read(self, name: str, signature: Signature, given: list[p.Parameter | None], parameters: tuple[p.Parameter, ...], role: str, notes: tuple[str, ...], ignores: tuple[str, ...] = ()) -> Followed:
        """Read the body of ``name``; ``given`` says for each of its parameters what is passed, if anything known is."""
        syntax, depends = self.parsed(name)
        segment = self.segments[name]
        for node, _ in walk(syntax.root):
            if node.type == "enumerator":
                raise syntax.refuse(node, "an enumeration inside a function", "declare it outside")
        of_profile = segment.origin is not self.own and self.outer.get(name) is not segment
        reader = Statements(self, syntax, given=of_profile, whole_text=not self.missing(segment), result=signature.result)
        for q in parameters:
            if q.name in ignores:
                reader.passed[q.name] = q
            reader.declared.add(q.name)
            reader.stored[q.name] = q.type
        for (own, type_), passed in zip(signature.parameters, given, strict=True):
            reader.declared.discard(passed.name if passed else own)
            local = reader.declare(passed.name if passed is not None else own, type_)
            reader.scopes[0][own] = local
            assert reader.state is not None
            if passed is None:
                reader.state[local.name] = unknown(f"parameter '{own}' of {name}, of which nothing is known", type_)
            elif isinstance(type_, Integer) and passed.type in (type_.word, BOOL):
                kept = passed.type == type_.type
                reader.state[local.name] = Value(type_ if kept else Other("a token of the machine"), var(passed.name, passed.type))
            else:
                reader.state[local.name] = Value(Other(f"parameter '{own}'"), var(passed.name, passed.type))
        self._stack.append(name)
        try:
            body = unrolled(reader.body(part(syntax.root, "body")))
        finally:
            self._stack.pop()
        for unset, node in reader.unset.items() if self.missing(segment) else ():
            reader.note(f"'{unset}' of {name} is given its value in lines that were not seen: assumed free of TLB effects ({syntax.place(node)})")
        known = isinstance(signature.result, Integer) and not reader.unknown_result
        result = signature.result.type if known and isinstance(signature.result, Integer) else None
        procedure = p.Procedure(name, parameters, segment.place, lambda: body, result, role, "")
        names = frozenset(t.text for t in segment.tokens if t.kind == "name")
        self._read[procedure] = _Read(segment, (*notes, *reader.notes), depends | reader.depends, tuple(reader.callees), names, ignores)
        return Followed(procedure, of_profile, outside=segment.origin is not self.own and not of_profile)


@_guarded
def read_unit(
    source: Source,
    profile: Profile,
    defines: Mapping[str, str] | None = None,
    assume_no_tlb_effect: Sequence[str] = (),
    *,
    undefines: Collection[str] = (),
    hypotheses: Mapping[str, bool] | None = None,
    settled: Sequence[tuple[Macro, frozenset[Dependency]]] = (),
    elsewhere: Elsewhere = NOWHERE,
) -> CUnit:
    """Read a C file. ``defines`` are the names that ``-D`` gives (an empty value counts as none), ``undefines`` those of ``-U``.

    ``hypotheses`` and ``settled`` are what is supposed and what was found out of names that the text does
    not define: see ``Preprocessor``. ``elsewhere`` are other files of the code base, whose functions are
    read there instead of being taken for what the profile says of their names.

    Raises ``InputError``, with its place, for text that cannot be taken apart; what stands inside a
    function is looked at when that function is asked for.
    """
    preprocessor = Preprocessor(dict(defines or {}), frozenset(undefines), hypotheses or {}, settled)
    for header in profile.headers:
        preprocessor.add(header)
    outer = functions_elsewhere(elsewhere, profile, preprocessor)
    before = len(preprocessor.tokens)
    text = Text(source)
    preprocessor.add(text)
    found: dict[str, Segment] = {}
    types = Typedefs()
    enumerations: list[Segment] = []
    declarations: list[Segment] = []
    position = profile_end = 0
    damage = None
    given: dict[str, Place] = {}
    stands_in: dict[str, Segment] = {}
    ends_in_gap = any(g.before >= len(source.lines) for g in source.gaps)
    for of_file, (tokens, closing) in enumerate(((preprocessor.tokens[:before], False), (preprocessor.tokens[before:], ends_in_gap))):
        profile_end = position
        if of_file:
            stands_in = {n: s for n, s in found.items() if n in outer}
            for s in outer.values():
                s.position = profile_end
            found |= outer
        for segment in segments(tokens, closing):
            segment.position = position = position + 1
            types.learn(segment.tokens, position)
            if not segment.name and any(t.text == "enum" for t in segment.tokens):
                enumerations.append(segment)
            damage = damage or segment.damage
            if segment.name and segment.name in found and found[segment.name].origin is segment.origin:
                segment.damage = InputError(f"there are two functions '{segment.name}'", place=segment.place, hint="the configuration may leave both in: give -D NAME")
            if segment.name:
                found[segment.name] = segment
            if not segment.name and segment.origin is text:
                declarations.append(segment)
            if not segment.name and segment.origin is text and any(t.text == "const" for t in segment.tokens):
                given |= {t.text: t.place for t, after in pairwise(segment.tokens) if t.kind == "name" and after.text == "="}
    assumed = frozenset("".join(n.split()) for n in assume_no_tlb_effect)
    return CUnit(source, profile, assumed, preprocessor, found, text, types, enumerations, declarations, profile_end, damage, given, outer, stands_in, elsewhere.changed)


__all__ = ["CUnit", "read_unit"]
