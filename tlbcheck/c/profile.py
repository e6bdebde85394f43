"""Profiles: what the names of a code base mean to the machine, as data.

A profile is a TOML file. What C can say is said in C, in its ``header``; its tables say the rest::

    name = "example"
    header = '''
    #define PAGE_FLAG 0x80
    typedef unsigned int u32;
    static inline unsigned long pcid(unsigned long cr3) { return cr3 & 0xfff; }
    '''

    [roles.switch]                      # how to find the function of a role, and how it is called
    functions = ["switch_cr3_cr4"]
    declaration = "void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)"

    [calls.write_cr3]                   # a call that is an operation of the model
    declaration = "void write_cr3(unsigned long value)"
    operation = "MOV to CR3"

    [calls.local_irq_save]              # a macro that assigns its argument
    declaration = "void local_irq_save(unsigned long flags)"
    operation = "PUSHF; CLI"
    assigns = "flags"

    [calls.pre_flush]                   # a function of the file itself that is not to be read
    declaration = "unsigned int pre_flush(void)"
    operation = "clock tick"
    instead_of_definition = true
    reason = "the flush clock is modelled as a marker"

    [calls.perfc_incr]                  # a call that changes nothing that the model knows
    effect = "none"
    names = true                        # names among its arguments are its own business
    reason = "a performance counter"

    [calls.ASSERT]
    assert = true                       # its argument must hold; false: it must not

    [places.use_invpcid]                # a variable, member chain or per-CPU variable
    model = "use_invpcid"               # an object of the model: case variable, flag, state variable
    [places.clock_enabled]
    constant = "1"                      # a C constant
    reason = "..."
    [places."get_cpu_info()->cr4"]
    read = "read_cr4()"                 # reading it means this C expression
    copies = "MOV to CR4"               # writing it is half of that operation: the other half has to stand beside it
    [places.features]                   # what callers of the role pass, to a function that does not take it
    parameter = "cr4"
    [places."->arch.cr3"]               # a member chain of any variable
    effect = "none"                     # writing it changes nothing that the model knows

Operations and objects are names of the vocabulary that the family of models hands in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlbcheck.c.syntax import canonical, parse_expression
from tlbcheck.c.text import Text, tokens_of
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.program import CaseVar, Flag, Operation, Procedure, StateVar
from tlbcheck.lang.source import Source, SourceLine, read_text, source_of

Meaning = Operation | Procedure | CaseVar | Flag | StateVar
Vocabulary = Mapping[str, Meaning]

_CALL = {"declaration": str, "operation": str, "assigns": str, "effect": str, "reason": str, "assert": bool, "instead_of_definition": bool, "names": bool}
_PLACE = {"model": str, "constant": str, "read": str, "copies": str, "parameter": str, "effect": str, "reason": str}
_ROLE = {"functions": list, "declaration": str}


@dataclass(frozen=True, eq=False)
class CallEntry:
    """What a call of ``name`` means: an operation, an assertion, or nothing that the model knows."""

    name: str
    place: Place
    meaning: Operation | Procedure | None = None
    declaration: Source | None = None
    assigns: str = ""
    asserts: bool | None = None
    instead_of_definition: bool = False
    names: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False)
class PlaceEntry:
    """What reading and writing a variable means; ``copies`` is the operation that writes what it is a copy of.

    ``parameter`` is one of the role that the function itself does not take.
    """

    name: str
    place: Place
    meaning: CaseVar | Flag | StateVar | None = None
    constant: str = ""
    read: str = ""
    copies: Operation | None = None
    ignored: bool = False
    reason: str = ""
    parameter: str = ""


@dataclass(frozen=True, eq=False)
class RoleEntry:
    name: str
    place: Place
    functions: tuple[str, ...]
    declaration: Source


@dataclass(frozen=True, eq=False)
class Profile:
    """Several files put together; of an entry that is in two of them the later one counts."""

    name: str
    headers: tuple[Text, ...] = ()
    calls: Mapping[str, CallEntry] = field(default_factory=dict)
    places: Mapping[str, PlaceEntry] = field(default_factory=dict)
    roles: Mapping[str, RoleEntry] = field(default_factory=dict)


def load_profile(paths: Sequence[Path], vocabulary: Vocabulary) -> Profile:
    """Read profiles; later files extend and override earlier ones.

    Raises ``InputError`` with file and line for one that cannot be read or names what the
    vocabulary does not have.
    """
    headers: list[Text] = []
    calls: dict[str, CallEntry] = {}
    places: dict[str, PlaceEntry] = {}
    roles: dict[str, RoleEntry] = {}
    names = []
    for path in paths:
        file = _File(path, read_text(path), vocabulary)
        names.append(file.data.get("name", path.stem))
        headers += file.header()
        calls |= {name: file.call(name, table) for name, table in file.tables("calls", _CALL)}
        for name, table in file.tables("places", _PLACE):
            entry = file.variable(name, table)
            places[entry.name] = entry
        roles |= {name: file.role(name, table) for name, table in file.tables("roles", _ROLE)}
    return Profile(" and ".join(names), tuple(headers), calls, places, roles)


class _File:
    """One profile and where in it things stand."""

    def __init__(self, path: Path, text: str, vocabulary: Vocabulary) -> None:
        self.path, self.text, self.vocabulary = path, text, vocabulary
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line, column = _position(str(error))
            raise InputError(f"is no TOML: {str(error).split(' (at ')[0]}", place=Place(str(path), line, column), hint="mend the line") from None
        except RecursionError:
            raise InputError("is nested too deeply", place=Place(str(path)), hint="a profile is made of short tables") from None
        for key, value in self.data.items():
            if key not in ("name", "header", "calls", "places", "roles"):
                raise self.refuse(f"'{key}' is no part of a profile", "it has name, header, [calls.NAME], [places.NAME] and [roles.NAME]", key)
            if not isinstance(value, str if key in ("name", "header") else dict):
                raise self.refuse(f"'{key}' is of the wrong kind", "name and header are text, the others tables", key)

    def line(self, *keys: str) -> int:
        """The line of a key: the last of ``keys``, after those of the tables around it."""
        lines = self.text.splitlines()
        at = 0
        for key in keys:
            found = next((i for i in range(at, len(lines)) if key in lines[i] and not lines[i].lstrip().startswith("#")), None)
            at = at if found is None else found
        return at + 1

    def place(self, *keys: str) -> Place:
        return Place(str(self.path), self.line(*keys))

    def refuse(self, what: str, hint: str, *keys: str) -> InputError:
        return InputError(what, place=self.place(*keys), hint=hint)

    def tables(self, kind: str, known: Mapping[str, type]) -> list[tuple[str, dict[str, Any]]]:
        made = []
        for name, table in self.data.get(kind, {}).items():
            if not isinstance(table, dict):
                raise self.refuse(f"{kind}.{name} is no table", f"write [{kind}.{name}] and its lines below", kind, name)
            for key, value in table.items():
                if key not in known:
                    raise self.refuse(f"{kind}.{name} has no '{key}'", f"it may have: {', '.join(known)}", name, key)
                if not isinstance(value, known[key]):
                    raise self.refuse(f"{kind}.{name}: '{key}' is of the wrong kind", f"it is a {known[key].__name__}", name, key)
            if table.get("effect", "none") != "none":
                raise self.refuse(f"{kind}.{name}: the effect '{table['effect']}' is not known", 'write effect = "none", or operation = "..."', name, "effect")
            made.append((name, table))
        return made

    def header(self) -> list[Text]:
        content = self.data.get("header", "")
        if not content:
            return []
        at = self.text.find(content)
        first = self.text.count("\n", 0, at) + 1 if at >= 0 else 0
        source = source_of(content, str(self.path))
        lines = tuple(SourceLine(line.text, Place(str(self.path), first + i if first else 0, 1 if first else 0)) for i, line in enumerate(source.lines))
        return [Text(Source(str(self.path), lines))]

    def source(self, text: str, place: Place) -> Source:
        return Source(place.file, (SourceLine(" ".join(text.split()), place),))

    def meaning(self, name: str, wanted: str, *keys: str) -> Meaning:
        found = self.vocabulary.get(wanted)
        if found is None:
            raise self.refuse(f"{name}: the models have no '{wanted}'", f"they have: {', '.join(sorted(self.vocabulary))}", *keys)
        return found

    def call(self, name: str, table: dict[str, Any]) -> CallEntry:
        place = self.place("calls", name)
        says = [k for k in ("operation", "effect", "assert") if k in table]
        if len(says) != 1:
            raise self.refuse(f"calls.{name} has to say one thing", 'operation, effect = "none" or assert', "calls", name)
        meaning = None
        if "operation" in table:
            found = self.meaning(f"calls.{name}", table["operation"], name, "operation")
            if not isinstance(found, Operation | Procedure):
                raise self.refuse(f"calls.{name}: '{table['operation']}' is no operation", "name an operation or a procedure of the models", name, "operation")
            if "declaration" not in table:
                raise self.refuse(f"calls.{name} has no declaration", f'declaration = "void {name}(unsigned long value)"', "calls", name)
            meaning = found
        declaration = self.source(table["declaration"], self.place(name, "declaration")) if "declaration" in table else None
        return CallEntry(
            name, place, meaning, declaration, table.get("assigns", ""), table.get("assert"), table.get("instead_of_definition", False), table.get("names", False), table.get("reason", "")
        )

    def variable(self, name: str, table: dict[str, Any]) -> PlaceEntry:
        place = self.place("places", name)
        meaning = None
        if "model" in table:
            found = self.meaning(f"places.{name}", table["model"], name, "model")
            if not isinstance(found, CaseVar | Flag | StateVar):
                raise self.refuse(f"places.{name}: '{table['model']}' is no variable", "name a case variable, a flag or a state variable of the models", name, "model")
            meaning = found
        copies = self.meaning(f"places.{name}", table["copies"], name, "copies") if "copies" in table else None
        if copies is not None and not (isinstance(copies, Operation) and len(copies.operands) == 1):
            raise self.refuse(f"places.{name}: '{table['copies']}' is no operation of one operand", "name the operation that writes what this is a copy of", name, "copies")
        if copies is not None and ("effect" in table or "read" not in table):
            raise self.refuse(f"places.{name}: a copy is written beside what it copies, and reading it means something", 'give read = "..." and no effect', name, "copies")
        if sum(k in table for k in ("model", "constant", "read", "parameter")) > 1 or not table.keys() & {"model", "constant", "read", "parameter", "effect"}:
            raise self.refuse(f"places.{name} has to say one thing", 'model, constant, read, parameter or effect = "none"', "places", name)
        key = name
        if not name.startswith(("->", ".")):
            tokens = [t for line in tokens_of(Text(self.source(name, place))) for t in line]
            if not tokens:
                raise self.refuse("a place without a name", "name a variable", "places")
            key = canonical(parse_expression(tokens, f"places.{name}").root)
        return PlaceEntry(key, place, meaning, table.get("constant", ""), table.get("read", ""), copies, "effect" in table, table.get("reason", ""), table.get("parameter", ""))

    def role(self, name: str, table: dict[str, Any]) -> RoleEntry:
        functions = table.get("functions", [])
        if not functions or not all(isinstance(f, str) for f in functions) or "declaration" not in table:
            raise self.refuse(f"roles.{name} needs functions and a declaration", 'functions = ["f"], declaration = "void f(unsigned long cr3)"', "roles", name)
        return RoleEntry(name, self.place("roles", name), tuple(functions), self.source(table["declaration"], self.place(name, "declaration")))


def _position(message: str) -> tuple[int, int]:
    """The line and column that a message of tomllib ends with."""
    words = message.replace(",", " ").replace(")", " ").split()
    try:
        return int(words[words.index("line") + 1]), int(words[words.index("column") + 1])
    except (ValueError, IndexError):
        return 0, 0
