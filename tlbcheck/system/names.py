"""Whether software treats numbers as names: copies them whole, and asks of two only whether they are the same.

A model has a few root tables, each at some address. Let another machine have others, at any other
addresses, no two the same and none 0. If every condition and every value that the model computes looks at an
address as a whole, then each run of one machine is one of the other, with the addresses exchanged: the few
stand for any. So a bit of an address may reach a word only in its own place and together with all others
(a copy, a mask that keeps the whole field, a choice between two), and only an equality of two whole ones may look at it.
A condition on a part (a mask within the field, a shift, a cast to fewer bits), an order, arithmetic,
an index, an equality with a number that is no name: each is told, and the scope then names the values.

The analysis is over the transition system and does not follow guards, so that it covers each run of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tlbcheck.lang.expr import Expr, nodes, var, variables
from tlbcheck.lang.program import ForCpus, expressions, walk
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import Type, WordType
from tlbcheck.system.execution import HALTED
from tlbcheck.system.members import Members
from tlbcheck.system.same import Same, is_number
from tlbcheck.system.sites import Site, sites
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.transition_system import TransitionSystem, Variable

_FEW = 32
"""Values of a word that are kept apart."""


@dataclass(frozen=True, slots=True)
class _Word:
    """What a word may hold: ``plain`` bits that are no part of a name, and bits of a ``name``.

    ``whole``: these are a whole one, ``down`` bits below its place. ``few``: all values, where no name is in them
    and they are not many.
    """

    plain: int = 0
    name: int = 0
    whole: bool = False
    down: int = 0
    few: frozenset[int] | None = None


class _Analysis:
    """The least fixed point of what every word may hold, for one kind of names."""

    def __init__(self, system: TransitionSystem, names: Names, sites: Sequence[Site]) -> None:
        self.system, self.names, self.sites = system, names, sites
        self.field = names.mask
        self.rigid = set(system.rigid)
        self.held: dict[str, _Word] = {}
        for v in (*system.control, *system.entry_fields):
            fixed = v.domain if v.domain and (v.name in self.rigid or v in system.entry_fields) else (v.initial,)
            self.held[v.name] = self.constants(fixed) if isinstance(v.type, WordType) else _Word()
        self.widths = {v.name: v.type.mask for v in (*system.control, *system.entry_fields) if isinstance(v.type, WordType)}
        self.holding = self.holders()
        for name, down in self.holding.items():
            self.held[name] = self.joined(self.held[name], _Word(0, self.at(down), True, down))
        changed = True
        while changed:
            changed = False
            for site in sites:
                read = self.reader(site)
                for name, e in site.updates.items():
                    if name in self.widths:
                        new = self.joined(self.held[name], self.fitted(read[e], self.widths[name]))
                        if new != self.held[name]:
                            self.held[name], changed = new, True
        self.read = [self.reader(site) for site in sites]

    def holders(self) -> dict[str, int]:
        """The registers that hold a name, each with how far below its place it stands; where software chooses them, every word that is copied into one."""
        registers = self.names.registers
        found = {n: registers[r] for n in self.widths for r in (n, n.partition(".")[2]) if r in registers}
        work = list(found) if self.names.chosen else []
        while work:
            target = work.pop()
            for site in self.sites:
                e = site.updates.get(target)
                for source in _copied(e, self.at(found[target])) if e is not None else ():
                    if source.value in self.widths and source.value not in found:
                        found[source.value] = found[target]
                        work.append(source.value)
        return found

    def at(self, down: int) -> int:
        """The field, ``down`` bits below its place."""
        return _down(self.field, down)

    def constants(self, values: Sequence[int]) -> _Word:
        word = self.constant(values[0])
        for value in values[1:]:
            word = self.joined(word, self.constant(value))
        return word

    def constant(self, value: int) -> _Word:
        field = value & self.field
        if field in self.names.values and not self.names.chosen:
            return _Word(value & ~self.field, self.field, True)
        return _plain(frozenset({value}))

    def is_name(self, word: _Word, down: int) -> bool:
        """Whether every value of a word without a name's bits is one all the same: a number that software chose, or none at all."""
        field = self.at(down)
        if not self.names.chosen:
            return not word.plain & field
        return word.few is not None and all(_down(value & field, -down) in self.names.values for value in word.few)

    def joined(self, a: _Word, b: _Word) -> _Word:
        if not a.name and not b.name:
            return _plain(None if a.few is None or b.few is None else a.few | b.few, a.plain | b.plain)
        whole = self.alike(a, b)
        down = (a if a.name else b).down if whole else 0
        field = self.at(down) if whole else 0
        return _Word((a.plain | b.plain) & ~field, a.name | b.name, whole, down)

    def alike(self, a: _Word, b: _Word) -> bool:
        """Whether both hold a whole name in the same place, or a number instead of one."""
        down = (a if a.name else b).down
        return all((w.whole and w.down == down) or (not w.name and self.is_name(w, down)) for w in (a, b))

    def fitted(self, a: _Word, bits: int) -> _Word:
        """The part of a word that fits in ``bits``."""
        kept = a.name & bits
        if a.few is not None:
            return _plain(frozenset(value & bits for value in a.few))
        return _Word(a.plain & bits, kept, a.whole and kept == a.name, a.down if kept else 0)

    def reader(self, site: Site) -> Mapping[Expr, _Word]:
        """What each part of a site's expressions may hold."""
        chosen = {q.name: self.constants(q.domain) for q in (site.step.parameters if site.step else ()) if isinstance(q.type, WordType)}
        # What this step stores as a name is one already where the same step looks at it.
        stored = {x: down for n, down in self.holding.items() if self.names.chosen and n in site.updates for x in _copied(site.updates[n], self.at(down))}
        memo: dict[Expr, _Word] = {}
        for e in site.expressions:
            for node in nodes(e, memo):
                word = self.computed(node, memo, chosen)
                down = stored.get(node, 0)
                memo[node] = _Word(word.plain & ~self.at(down), self.at(down), True, down) if node in stored else word
        return memo

    def computed(self, e: Expr, memo: Mapping[Expr, _Word], chosen: Mapping[str, _Word]) -> _Word:
        if not isinstance(e.type, WordType):
            return _Word()
        full = e.type.mask
        if e.op == "const":
            return self.constant(e.value)
        if e.op == "var":
            return chosen.get(e.value) or self.held.get(e.value) or _Word(full)
        if e.op == "table":
            return self.constants(e.value)
        args = [memo[a] for a in e.args]
        match e.op:
            case "ite":
                return self.joined(args[1], args[2])
            case "resize":
                return self.fitted(args[0] if isinstance(e.args[0].type, WordType) else _Word((1 << 32) - 1), full)
            case "band":
                return self.masked(e, args)
            case "bor" | "bxor" | "add":
                return self.combined(e.op, args, full)
            case "bnot":
                return _Word(full & ~args[0].name, args[0].name)
            case "shl" | "shr" if e.args[1].op == "const":
                return self.shifted(args[0], e.args[1].value if e.op == "shr" else -e.args[1].value, full)
        return _Word(full & ~self.above(args, full), self.above(args, full))

    def masked(self, e: Expr, args: Sequence[_Word]) -> _Word:
        for mask, (word, other) in zip(e.args[::-1], (args, args[::-1]), strict=True):
            # One that keeps the whole field is a mask, even where a name has all bits set.
            if mask.op == "const" and (not other.name or mask.value & self.field == self.field):
                return self.fitted(word, mask.value)
            if not other.name and word.name:  # a mask that is not known keeps any part
                return _Word(word.plain & other.plain, word.name & other.plain)
        a, b = args
        return _Word(a.plain & b.plain, (a.name | b.name) & (a.name | a.plain) & (b.name | b.plain))

    def shifted(self, a: _Word, n: int, full: int) -> _Word:
        """Moved down by ``n`` bits (up, if that is negative)."""
        if a.few is not None:
            return _plain(frozenset(_down(value, n) & full for value in a.few))
        plain, name = (_down(x, n) & full for x in (a.plain, a.name))
        return _Word(plain, name, a.whole and name.bit_count() == a.name.bit_count(), a.down + n if name else 0)

    def combined(self, op: str, args: Sequence[_Word], full: int) -> _Word:
        """``|``, ``^`` and ``+``: a name stays one where the other operand has no bit in its field, and nothing is carried."""
        a, b = args
        if op == "add" and (a.plain | a.name) & (b.plain | b.name):
            above = self.above(args, full)
            return _Word(full & ~above, above)
        if op != "add" and a.few is not None and b.few is not None and len(a.few) * len(b.few) <= _FEW:
            return _plain(frozenset(x | y if op == "bor" else x ^ y for x in a.few for y in b.few))
        whole = next((x for x, y in ((a, b), (b, a)) if x.whole and not y.name and not y.plain & x.name), _Word())
        return _Word(a.plain | b.plain, a.name | b.name, whole.whole, whole.down)

    def above(self, args: Sequence[_Word], full: int) -> int:
        """What arithmetic may make depend on a name: its lowest bit and all above; everything, where a name says by how much to shift."""
        bits = 0
        for a in args:
            bits |= a.name
        return full & -(bits & -bits) if bits else 0

    def tables(self) -> set[Expr]:
        """The tables that names come from."""
        if not self.names.chosen:
            return {e for site in self.sites for e in site.parts if e.op == "table" and isinstance(e.type, WordType) and self.constants(e.value).name}
        copies = ((e, self.at(down)) for site in self.sites for name, down in self.holding.items() if (e := site.updates.get(name)) is not None)
        return {part for e, mask in copies for part in _copied(e, mask) if part.op == "table"}

    def told(self) -> str:
        """What looks at more of a name than whether it is another one; empty if nothing does."""
        for site, read in zip(self.sites, self.read, strict=True):
            if any(any(read[a].name for a in e.args) and not self.harmless(e, read) for e in read):
                return site.what
        return ""

    def harmless(self, e: Expr, read: Mapping[Expr, _Word]) -> bool:
        if isinstance(e.type, WordType):
            # What a word is made of matters where it is looked at, but what chooses or shifts it is looked at here.
            decisive = {"table": e.args, "shl": e.args[1:], "shr": e.args[1:]}.get(e.op, ())
            return not any(read[a].name for a in decisive)
        if e.op == "ite":
            return True
        if e.op != "eq":
            return False
        a, b = (read[x] for x in e.args)
        return self.alike(a, b) and (self.names.chosen or (a.whole and b.whole))


def _plain(values: frozenset[int] | None, bits: int = 0) -> _Word:
    """A word of these values and bits, in which no name is."""
    for value in values or ():
        bits |= value
    return _Word(bits, few=values if values is not None and len(values) <= _FEW else None)


def _down(bits: int, n: int) -> int:
    return bits >> n if n > 0 else bits << -n


def _copied(e: Expr, mask: int) -> Iterator[Expr]:
    """The parts of ``e``, constants apart, whose bits within ``mask`` become those of ``e``."""
    if e.op == "const":
        return
    yield e
    match e.op:
        case "ite":
            for a in e.args[1:]:
                yield from _copied(a, mask)
        case "band":
            for a, other in zip(e.args, e.args[::-1], strict=True):
                kept = mask & other.value if other.op == "const" else mask
                yield from _copied(a, kept) if kept else ()
        case "bor" | "bxor" | "add" | "resize":
            for a in e.args:
                if isinstance(a.type, WordType):
                    yield from _copied(a, mask)


class Software:
    """What a system's software and rules ask of names, kinds and other CPUs; each answer in words, empty if nothing."""

    def __init__(self, system: TransitionSystem) -> None:
        self.whole = system
        self.analyses: dict[tuple[Names, bool], _Analysis] = {}
        self.kinds: dict[tuple[tuple[Type, ...], tuple[Names, ...]], Members] = {}
        self.answers: dict[object, str] = {}

    @cached_property
    def system(self) -> TransitionSystem:
        """Without what no verdict depends on."""
        return slice_system(self.whole)

    @cached_property
    def sites(self) -> Mapping[bool, Sequence[Site]]:
        """Everything that is computed, and what software computes."""
        return {control: list(sites(self.system, control=control)) for control in (False, True)}

    def once(self, question: object, answer: Callable[[], str]) -> str:
        """The answer, found once."""
        if question not in self.answers:
            self.answers[question] = answer()
        return self.answers[question]

    def analysis(self, names: Names, *, control: bool = False) -> _Analysis:
        found = self.analyses.get((names, control))
        if found is None:
            found = self.analyses[names, control] = _Analysis(self.system, names, self.sites[control])
        return found

    @cached_property
    def same(self) -> Same:
        return Same(self.system, self.sites[False])

    def looks_into(self, names: Names, *, control: bool = False) -> str:
        """What looks at more of one of ``names`` than whether two are the same. Of ``control`` alone: not which entries come and go."""

        def answer() -> str:
            analysis = self.analysis(names, control=control)
            return self._spelt(names) or analysis.told() or self._numbered(analysis.tables())

        return self.once(("looks", names, control), answer)

    def _spelt(self, names: Names) -> str:
        """Where C has a number that is a name here: the model gave that name by chance, and C means the number."""
        for procedure in () if names.chosen else self.system.model.reachable():
            for t in walk(procedure.body) if not procedure.place.file.endswith(".py") else ():
                for top in expressions(t):
                    spelt = {a.value for x in nodes(top) if x.op not in ("band", "bor") for a in x.args if a.op == "const" and isinstance(a.type, WordType)}  # those have masks
                    spelt = {value for value in spelt if value & names.mask in names.values}
                    if spelt and len(spelt) < len(names.values):  # else it is asked whether it is one at all
                        return f"the number {min(spelt):#x} at {Path(t.place.file).name}:{t.place.line}"
        return ""

    def _numbered(self, tables: Collection[Expr]) -> str:
        """What asks more of numbers by which software knows what ``tables`` hold, or of a member by a number that says which."""
        numbers = [t.args[0] for t in tables if is_number(t.args[0].type)]
        if numbers and (why := self.same.looks_into(numbers, tables=tables)):
            return why
        for site in self.sites[False]:
            for e in site.parts:
                if e.op == "table" and is_number(e.type) and any(t is not e and t.args[0].type == e.args[0].type and _decides(e, t) for t in tables) and e not in tables:
                    return site.what
        return ""

    def looks_into_tag(self, field: Variable) -> str:
        """The same of the numbers in an entry's field that software hands out, where nothing says where else they stand."""
        held = var(field.name, field.type)
        tables = {e for site in self.sites[False] for e in site.parts if e.op == "table" and self.same.of(e) is self.same.of(held)}
        values = field.domain or field.type.values()
        return self.once(("tag", field.name), lambda: self.same.looks_into([held], values, tables=tables) or self._numbered(tables))

    def compares_names(self, names: Names) -> str:
        """Where software compares two of ``names`` that it holds.

        That is fine as long as each thing has its own. Where a model gives several things one, such as all other domains
        one root table, it sees no difference between two of them.
        """
        return self.once(("compares", names), lambda: self._compares_names(self.analysis(names)))

    def _compares_names(self, analysis: _Analysis) -> str:
        for site, read in zip(analysis.sites, analysis.read, strict=True):
            for e in dict.fromkeys(x for top in site.control for x in nodes(top)):
                if e.op == "eq" and e not in site.needed and all(read[a].name and a.op != "const" and not _of_an_entry(a) for a in e.args):
                    return site.what
        return ""

    def members(self, types: Collection[Type], names: Sequence[Names] = ()) -> Members:
        """The members of ``types`` here: what tells two of a kind apart."""
        key = (tuple(types), tuple(names))
        if key not in self.kinds:
            self.kinds[key] = Members(self.system, self.sites[False], types, names)
        return self.kinds[key]

    def depends_on_others(self) -> str:
        """What a CPU has to do with another. A fault that ends the run counts for none: it is one on its own CPU alone, too."""
        model, system = self.system.model, self.system
        if any("cpu.self" in variables(e) or "cpu.acting" in variables(e) for e in _rules(system)):
            return "a rule that asks for the number of a CPU"
        rigid = {*system.rigid, HALTED}
        for s in system.steps:
            own = "" if s.cpu is None else f"cpu{s.cpu}."
            read = {n for e in (s.guard, *s.updates.values(), *(c.holds for c in s.checks)) for n in variables(e)} - {q.name for q in s.parameters} - rigid
            if any(not own or not n.startswith(own) for n in (*read, *(n for n in s.updates if n != HALTED))):
                return f"the step '{s.action}' of {'the environment' if s.cpu is None else 'a CPU'}"
            if s.cpu is not None and any(r.every_cpu and (r.event.kind, r.event.name) in {(e.kind, e.name) for e in s.events} for q in system.properties for r in q.rules):
                return f"the step '{s.action}', which a property judges of every CPU,"
        for procedure in model.reachable():
            if procedure is not model.resolve(model.init) and any(isinstance(t, ForCpus) or any("cpu.self" in variables(e) for e in expressions(t)) for t in walk(procedure.body)):
                return f"{procedure.name}()"
        return ""


def _rules(system: TransitionSystem) -> Iterator[Expr]:
    """What the properties, the cache and the model's own words say, as they are written."""
    model = system.model
    for q in system.properties:
        yield from (e for r in q.rules for _, e in (*r.bad, *r.updates))
        yield from (e for _, e in (*q.invariants, *q.liveness))
    yield from (*model.meanings.values(), *model.settings.values(), *(i.when for i in model.interrupts))
    if model.cache is not None:
        yield from (model.cache.fill, model.cache.initial, model.cache.possible)


def _of_an_entry(e: Expr) -> bool:
    return all(n.startswith("entry") for n in variables(e))


def _decides(e: Expr, table: Expr) -> bool:
    """What one table gives tells which of several values the other one gives."""
    pairs = set(zip(e.value, table.value, strict=True))
    return len({a for a, _ in pairs}) == len(pairs) and len(set(table.value)) > 1
