"""Random models for tests: a random switch of address spaces on the x86 machine, among random callers.

A ``Spec`` is plain data, so that Hypothesis can print and shrink it; ``build`` makes the model
from the IR directly, so that no front end stands between a test and what it tests.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import TRUE, Expr, bit, const, eq, lookup, not_, or_, var, word_op
from tlbcheck.lang.model import CacheKind, Interrupt, Model
from tlbcheck.lang.types import BOOL, U64, IntType, enum_type
from tlbcheck.machine import x86


class Page(enum.Enum):
    shared = enum.auto()
    """The same in both roots."""
    private = enum.auto()
    """Another one in each root."""


class Root(enum.Enum):
    first = enum.auto()
    second = enum.auto()


PAGE, ROOT = enum_type(Page), enum_type(Root)
TAGS = (0, 1)


def address(root: int) -> int:
    """Its number, twice: a word with bits that are always equal."""
    return (root + 1) * (1 << 12 | 1 << 20)


@dataclass(frozen=True)
class Op:
    """A statement of the switch; ``arg`` names one of the values or conditions below."""

    kind: str
    arg: str = ""
    then: tuple[Op, ...] = ()
    orelse: tuple[Op, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a switch may be asked to load; a PCID goes with CR4.PCIDE."""

    root: int
    pcid: int | None
    noflush: bool
    pge: bool

    @property
    def cr3(self) -> int:
        return address(self.root) | (self.pcid or 0) | (x86.X86_CR3_NOFLUSH if self.noflush else 0)

    @property
    def cr4(self) -> int:
        return x86.X86_CR4_PAE | (x86.X86_CR4_PCIDE if self.pcid is not None else 0) | (x86.X86_CR4_PGE if self.pge else 0)


@dataclass(frozen=True)
class Spec:
    """A model in short. ``entries`` says which pages and roots the TLB is watched for."""

    body: tuple[Op, ...]
    targets: tuple[Target, ...]
    interrupt: str = ""
    global_pages: tuple[int, ...] = ()
    pages: tuple[int, ...] = (0, 1)
    roots: tuple[int, ...] = (0, 1)
    tags: tuple[int, ...] = TAGS


# -- what the statements may say

_CR3, _CR4 = var("cr3", U64), var("cr4", U64)
_OLD_CR3, _OLD_CR4 = var("old_cr3", U64), var("old_cr4", U64)
_QUIRK = p.CaseVar("quirk", BOOL, (0, 1))


def _pcid(cr3: Expr) -> Expr:
    return cr3 & x86.X86_CR3_PCID_MASK


def _has(word: Expr, mask: int) -> Expr:
    return bit(word, mask.bit_length() - 1)


CR3_VALUES: Mapping[str, Expr] = {
    "as asked": _CR3,
    "flushing": _CR3 & ~x86.X86_CR3_NOFLUSH,
    "noflush": _CR3 | x86.X86_CR3_NOFLUSH,
    "old": _OLD_CR3 | const(address(0), U64),
}
CR4_VALUES: Mapping[str, Expr] = {
    "as asked": _CR4,
    "no PGE": _CR4 & ~x86.X86_CR4_PGE,
    "PGE": _CR4 | x86.X86_CR4_PGE,
    "PGE toggled": _OLD_CR4 ^ x86.X86_CR4_PGE,
    "no PCIDE": _CR4 & ~x86.X86_CR4_PCIDE,
    "PCIDE": _CR4 | x86.X86_CR4_PCIDE,
}
PCIDS: Mapping[str, Expr] = {"zero": const(0, U64), "one": const(1, U64), "new": _pcid(_CR3), "old": _pcid(_OLD_CR3)}
CONDITIONS: Mapping[str, Expr] = {
    "old PGE": _has(_OLD_CR4, x86.X86_CR4_PGE),
    "old PCIDE": _has(_OLD_CR4, x86.X86_CR4_PCIDE),
    "new PGE": _has(_CR4, x86.X86_CR4_PGE),
    "new PCIDE": _has(_CR4, x86.X86_CR4_PCIDE),
    "new NOFLUSH": _has(_CR3, x86.X86_CR3_NOFLUSH),
    "same CR4": eq(_OLD_CR4, _CR4),
    "PCID changes": not_(eq(_pcid(_OLD_CR3), _pcid(_CR3))),
    "PCIDE goes": word_op("band", _CR4, const(x86.X86_CR4_PCIDE, U64)) < word_op("band", _OLD_CR4, const(x86.X86_CR4_PCIDE, U64)),
    "quirk": _QUIRK.expr,
}
_TICK = p.marker("clock tick", "ticks the TLB flush clock")


@dataclass
class _Builder:
    """Statements from ops; each has a line of its own, by which call sites are told apart."""

    page: int
    line: int = 0
    names: int = 0

    def place(self) -> Place:
        self.line += 1
        return Place("random", self.line)

    def do(self, operation: p.Operation, *args: Expr, target: str | None = None) -> p.Statement:
        return p.Do(place=self.place(), operation=operation, args=args, target=target)

    def block(self, ops: Sequence[Op]) -> list[p.Statement]:
        return [s for o in ops for s in self.statements(o)]

    def statements(self, o: Op) -> list[p.Statement]:
        match o.kind:
            case "CR3":
                return [self.do(x86.MOV_TO_CR3, CR3_VALUES[o.arg])]
            case "CR4":
                return [self.do(x86.MOV_TO_CR4, CR4_VALUES[o.arg])]
            case "read CR3":
                return [self.do(x86.MOV_FROM_CR3, target="old_cr3")]
            case "read CR4":
                return [self.do(x86.MOV_FROM_CR4, target="old_cr4")]
            case "INVPCID 0":
                return [self.do(x86.INVPCID_ADDRESS, PCIDS[o.arg], const(self.page, PAGE), TRUE)]
            case "INVPCID 1":
                return [self.do(x86.INVPCID_CONTEXT, PCIDS[o.arg])]
            case "INVPCID 2":
                return [self.do(x86.INVPCID_ALL)]
            case "INVPCID 3":
                return [self.do(x86.INVPCID_ALL_NONGLOBAL)]
            case "INVLPG":
                return [self.do(x86.INVLPG, const(self.page, PAGE), TRUE)]
            case "tick":
                return [self.do(_TICK)]
            case "PUSHF; CLI":
                return [self.do(x86.PUSHF_CLI, target="flags")]
            case "POPF":
                return [self.do(x86.POPF, var("flags", BOOL))]
            case "assert":
                return [p.Assert(place=self.place(), condition=CONDITIONS[o.arg], text=o.arg)]
            case "if":
                return [p.If(place=self.place(), condition=CONDITIONS[o.arg], then=self.block(o.then), orelse=self.block(o.orelse))]
            case "either":
                self.names += 1
                name = f"either{self.names}"
                chosen = p.Choose(place=self.place(), target=name, domain=(0, 1), type=BOOL)
                return [chosen, p.If(place=self.place(), condition=var(name, BOOL), then=self.block(o.then), orelse=self.block(o.orelse))]
        raise AssertionError(o.kind)

    def procedure(self, name: str, body: list[p.Statement], *, parameters: tuple[p.Parameter, ...] = (), role: str = "") -> p.Procedure:
        return p.Procedure(name, parameters, self.place(), lambda: body, role=role)


def _loaded(root: Expr) -> Expr:
    return eq(x86.ROOT_ADDRESS, lookup(root, tuple(map(address, ROOT.values())), U64))


def tlb(spec: Spec) -> CacheKind:
    root, page = var("entry.root", ROOT), var("entry.page", PAGE)
    leaf_global = or_(*(eq(page, g) for g in spec.global_pages))
    return x86.tlb(
        tags=spec.tags,
        fields=(("page", PAGE, spec.pages), ("root", ROOT, spec.roots)),
        possible=or_(not_(x86.GLOBAL), leaf_global),
        walk=_loaded(root),
        leaf_global=leaf_global,
        describe=str,
    )


def build(spec: Spec) -> Model:
    """The model: a CPU that switches to any target, again and again, perhaps interrupted."""
    b = _Builder(page=spec.pages[0])
    index = IntType(0, len(spec.targets) - 1)
    target = var("target", index)
    cr3 = lookup(target, tuple(t.cr3 for t in spec.targets), U64)
    cr4 = lookup(target, tuple(t.cr4 for t in spec.targets), U64)

    def forget(name: str) -> p.Statement:
        return p.Assign(place=b.place(), target=name, value=const(0, U64))

    def write(variable: p.StateVar, value: Expr) -> p.Statement:
        return p.Write(place=b.place(), variable=variable, at=None, value=value)

    def choose() -> p.Statement:
        return p.Choose(place=b.place(), target="target", domain=index.values(), type=index)

    switch = b.procedure("switch", [forget("old_cr3"), forget("old_cr4"), *b.block(spec.body)], parameters=(p.Parameter("cr3", U64), p.Parameter("cr4", U64)), role="switch")

    def call() -> list[p.Statement]:
        return [choose(), p.Call(place=b.place(), procedure=switch, args=(cr3, cr4))]

    handlers: dict[str, list[p.Statement]] = {
        "flush": [b.do(x86.INVPCID_ALL_NONGLOBAL)],
        "load": [b.do(x86.MOV_TO_CR3, const(address(0), U64))],
        "switch": call(),
    }
    start = [
        choose(),
        write(x86.CR0, const(x86.X86_CR0_PG, U64)),
        write(x86.CR3, cr3 & ~x86.X86_CR3_NOFLUSH),
        write(x86.CR4, cr4),
        write(x86.IF, TRUE),
    ]
    task: list[p.Statement] = [p.While(place=b.place(), condition=TRUE, body=call())]
    page = var("entry.page", PAGE)
    from_loaded_root = _loaded(var("entry.root", ROOT))
    shared = eq(page, Page.shared)
    return Model(
        name="random",
        title="a random switch",
        init=b.procedure("start", start),
        task=b.procedure("task", task),
        interrupts=(Interrupt(b.procedure("handler", handlers[spec.interrupt]), x86.IF),) if spec.interrupt else (),
        cache=tlb(spec),
        cases=(_QUIRK,),
        settings=x86.SETTINGS,
        meanings={"shared": shared, "from_loaded_root": from_loaded_root, "may": or_(shared, from_loaded_root), "usable": x86.USABLE},
    )


# -- strategies

_FLUSHES = st.one_of(
    st.sampled_from(["INVPCID 2", "INVPCID 3", "INVLPG"]).map(Op),
    st.builds(Op, st.sampled_from(["INVPCID 0", "INVPCID 1"]), st.sampled_from(sorted(PCIDS))),
)
_WRITES = st.one_of(
    st.builds(Op, st.just("CR3"), st.sampled_from(sorted(CR3_VALUES))),
    st.builds(Op, st.just("CR4"), st.sampled_from(sorted(CR4_VALUES))),
)
_READS = st.sampled_from(["read CR3", "read CR4"]).map(Op)
_SIMPLE = st.one_of(_FLUSHES, _WRITES, _READS)
_INNER = st.lists(_SIMPLE, min_size=0, max_size=2).map(tuple)
_BRANCHES = st.one_of(
    st.builds(Op, st.just("if"), st.sampled_from(sorted(CONDITIONS)), _INNER, _INNER),
    st.builds(Op, st.just("either"), st.just(""), _INNER, _INNER),
)
_ASSERTIONS = st.builds(Op, st.just("assert"), st.sampled_from(sorted(CONDITIONS)))
_ANY = st.one_of(_FLUSHES, _WRITES, _READS, _BRANCHES, _ASSERTIONS)

_WITHOUT_PCID = st.builds(Target, st.sampled_from((0, 1)), st.none(), st.just(False), st.sampled_from((True, True, False)))
_WITH_PCID = st.builds(Target, st.sampled_from((0, 1)), st.sampled_from(TAGS), st.booleans(), st.just(False))
_ALL_ON = st.builds(Target, st.sampled_from((0, 1)), st.sampled_from(TAGS), st.booleans(), st.just(True))


@st.composite
def _targets(draw: st.DrawFn) -> tuple[Target, ...]:
    """Half of the models know PCIDs; few have targets with everything on, which policy forbids."""
    one = draw(st.sampled_from([st.one_of(_WITHOUT_PCID, _WITH_PCID), _WITHOUT_PCID, _WITH_PCID, _WITHOUT_PCID, st.one_of(_WITH_PCID, _ALL_ON), _WITHOUT_PCID]))
    first = draw(one)
    # What makes a switch worth while: the other root, or the other tag.
    others = draw(st.lists(one.filter(lambda t: (t.root, t.pcid) != (first.root, first.pcid)), min_size=1, max_size=2, unique=True))
    return first, *others


# A sound way to load both registers: PCIDE is set before a CR3 that needs it, PGE goes first.
_LOADS = (
    (Op("CR4", "no PGE"), Op("CR3", "as asked"), Op("CR4", "as asked")),
    (Op("CR4", "as asked"), Op("CR3", "as asked")),
    (Op("CR3", "flushing"), Op("CR4", "as asked")),
    (Op("read CR4"), Op("if", "PCIDE goes", (Op("CR3", "noflush"), Op("CR4", "as asked")), (Op("CR4", "as asked"), Op("CR3", "as asked")))),
)
_ENDS = ((Op("INVPCID 2"),), (), (), (Op("INVPCID 3"),), (Op("INVPCID 1", "old"),), (Op("INVPCID 2"),))


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[Op, ...]:
    """A way to load CR3 and CR4 with anything in between, often with a flush at the end."""
    early = draw(st.lists(_READS, max_size=1))
    middle = list(draw(st.sampled_from(_LOADS)))
    for extra in draw(st.lists(_ANY, max_size=2)):
        middle.insert(draw(st.integers(0, len(middle))), extra)
    if draw(st.integers(0, 5)) == 0:
        middle.pop(draw(st.integers(0, len(middle) - 1)))
    middle += draw(st.sampled_from(_ENDS))
    first, last = draw(st.sampled_from([((Op("PUSHF; CLI"),), (Op("POPF"),)), ((Op("PUSHF; CLI"), Op("tick")), (Op("POPF"),)), ((Op("tick"),), ())]))
    return (*early, *first, *middle, *last)


def _ends_in_a_step(body: Sequence[Op]) -> bool:
    """Whether an operation comes after the last free choice: a handler that can end without one is refused (STEP-3, STEP-6)."""
    last = max((i for i, x in enumerate(body) if x.kind == "either"), default=-1)
    return any(x.kind not in ("if", "assert", "read CR3", "read CR4") for x in body[last + 1 :])


@st.composite
def specs(draw: st.DrawFn, *, few_entries: bool = False) -> Spec:
    """A random model; with ``few_entries``, one whose TLB has at most four, for exponential engines."""
    global_pages: tuple[int, ...] = draw(st.sampled_from([(0,), (0, 1), (0,), ()]))
    interrupt = draw(st.sampled_from(["", "flush", "", "load", "switch", ""]))
    body, targets = draw(_bodies().filter(_ends_in_a_step)), draw(_targets())
    if not few_entries:
        return Spec(body, targets, interrupt, global_pages)
    pages = draw(st.sampled_from([(1,), (0,)]))
    return Spec(body, targets, interrupt, global_pages, pages, draw(st.sampled_from([(0,), (0, 1)])), draw(st.sampled_from([TAGS, (0,)])))
