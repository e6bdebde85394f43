"""What a CPU can have loaded: contexts, root tables, pages and what they mean.

One guest address space is observed: the entries that are looked at were walked from its kernel or
user root, or from idle's. Every other guest address space is either a sibling (same domain) or
another domain's; at each switch the kind of the other one is chosen anew. Since only "same as the
observed one" is ever asked, this stands for any number of domains, vCPUs and root tables; whether
software asks more is looked into for each model (``tlbcheck.system.names``).

Sources: xen/arch/x86/mm.c, pv/domain.c and asm-x86/pv/domain.h at 5c81d260c2; xen.md 3.3, 3.4.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping
from dataclasses import replace

from tlbcheck import CacheKind, Table, case_variable, per_cpu
from tlbcheck.lang.expr import TRUE, Expr, and_, const, eq, ite, lookup, not_, or_, var
from tlbcheck.lang.scope import Kinds, Names
from tlbcheck.lang.types import BOOL, U64, enum_type
from tlbcheck.machine import x86


class Kind(enum.Enum):
    """What a vCPU's domain makes of CR4 and CR3 (xen.md 3.4)."""

    idle = enum.auto()
    hvm = enum.auto()
    """HVM, PVH on the host side: global pages, no PCID, a monitor table."""
    pv = enum.auto()
    """PV without XPTI and PCID (and 32-bit PV): global pages, no PCID."""
    nopcid = enum.auto()
    """PV with XPTI, without PCID: neither."""
    pcid = enum.auto()
    """PV with PCID, with or without XPTI: no global pages, PCID 0 in kernel and 1 in user mode."""


class Mode(enum.Enum):
    kernel = enum.auto()
    user = enum.auto()


class Space(enum.Enum):
    """Whose address space, seen from the observed one."""

    none = enum.auto()
    observed = enum.auto()
    sibling = enum.auto()
    other = enum.auto()


class Root(enum.Enum):
    """Top-level tables, each one content-lifetime (a root instance)."""

    idle = enum.auto()
    observed_kernel = enum.auto()
    observed_user = enum.auto()
    sibling_kernel = enum.auto()
    sibling_user = enum.auto()
    other_kernel = enum.auto()
    other_user = enum.auto()


class Page(enum.Enum):
    """A page of each kind of meaning (properties.md 1)."""

    shared = enum.auto()
    """Xen's text, stacks, directmap: the same in every root; global."""
    user = enum.auto()
    """The same in the kernel and the user root of one space; global if PGE."""
    kernel = enum.auto()
    """In the kernel root only, never global."""
    perdomain = enum.auto()
    """The same in all roots of a domain, never global."""
    self = enum.auto()
    """The linear map's own slot: it means the root that it was walked from."""


class ContextClass(enum.Enum):
    """The contexts of the report: what PGE, PCIDE and PCID say (design.md 5)."""

    none = enum.auto()
    global_ = enum.auto()
    nopcid = enum.auto()
    kernel = enum.auto()
    user = enum.auto()


PCID_PV_PRIV = 0
PCID_PV_USER = 1
PCID_PV_XPTI = 2


def _contexts() -> list[tuple[str, Kind, Mode, Space, bool]]:
    made = [("idle", Kind.idle, Mode.kernel, Space.none, False)]
    for space, kind in itertools.product((Space.observed, Space.sibling, Space.other), (Kind.hvm, Kind.pv, Kind.nopcid, Kind.pcid)):
        for mode, tsd in itertools.product(Mode, (False, True)):
            if kind is Kind.hvm and (mode is Mode.user or tsd):
                continue  # Xen's own CR4 never has TSD, and the guest's modes are not Xen's business
            if space is not Space.observed and kind is not Kind.pcid and mode is Mode.user:
                continue  # without PCIDs nothing tells another guest's modes apart
            if space is Space.sibling and tsd:
                continue  # TSD differs between observed and other already
            made.append((f"{space.name}_{kind.name}_{mode.name}{'_tsd' if tsd else ''}", kind, mode, space, tsd))
    return made


_ROWS = _contexts()
Context = enum.Enum("Context", [row[0] for row in _ROWS])  # type: ignore[misc]  # its members are the rows
"""A vCPU in a state in which its page tables can be loaded; a vCPU of idle is ``idle``."""

_INDEX = enum_type(Context)


def _table(name: str, members: list[enum.Enum]) -> Table:
    of = enum_type(type(members[0]))
    return Table(name, _INDEX, tuple(list(type(m)).index(m) for m in members), of)


def _root(mode: Mode, space: Space) -> Root:
    return Root.idle if space is Space.none else Root[f"{space.name}_{mode.name}"]


def address(root: Root) -> int:
    """Physical address of a root table: its number, once more in every three bits of CR3's address field.

    So each bit is set for some roots and clear for others, and code that loses or sets any of them loads no root.
    """
    return (list(Root).index(root) + 1) * sum(1 << at for at in range(12, 52, 3)) & x86.X86_CR3_ADDR_MASK


ROOTS = Names(x86.X86_CR3_ADDR_MASK, {address(r): r.name for r in Root}, {"cr3": 0})
"""Which root table it is, is all that may be asked of its address."""
VCPUS = Kinds((_INDEX,), (ROOTS,))
DOMAINS = Kinds((enum_type(Space), _INDEX), (ROOTS,))
kind = _table("kind", [r[1] for r in _ROWS])
mode = _table("mode", [r[2] for r in _ROWS])
space = _table("space", [r[3] for r in _ROWS])
tsd = Table("tsd", _INDEX, tuple(int(r[4]) for r in _ROWS), BOOL)
root_address = Table("root_address", _INDEX, tuple(address(_root(r[2], r[3])) for r in _ROWS), U64)
_NAMES = [r[0] for r in _ROWS]


def _toggled(row: tuple[str, Kind, Mode, Space, bool]) -> int:
    if row[1] in (Kind.idle, Kind.hvm):
        return _ROWS.index(row)
    other = Mode.user if row[2] is Mode.kernel else Mode.kernel
    found = (i for i, r in enumerate(_ROWS) if r[1] is row[1] and r[2] is other and r[3] is row[3] and r[4] == row[4])
    return next(found, _ROWS.index(row))


toggled = Table("toggled", _INDEX, tuple(_toggled(r) for r in _ROWS), _INDEX)
"""The same vCPU in the guest's other mode."""

observed_kind = case_variable("observed_kind", Kind, tuple(range(1, len(Kind))))
"""The kind of the observed domain (and so of its siblings)."""
use_invpcid = case_variable("use_invpcid", bool)
"""``invpcid=`` (default on) and the processor has it; no domain uses PCIDs without it."""

xpti_exists = case_variable("xpti_exists", bool)
"""``xpti=`` is on for some domain: guests run under PCIDs 2 and 3."""

current_is_idle = per_cpu("current_is_idle", bool)
"""``current == idle_vcpu[cpu]``: with another vCPU's tables still loaded, idle is lazy."""

# -- the TLB

_ROOT = var("entry.root", enum_type(Root))
_PAGE = var("entry.page", enum_type(Page))


def _is(e: Expr, *members: enum.Enum) -> Expr:
    return or_(*(eq(e, m) for m in members))


_FROM_OBSERVED = _is(_ROOT, Root.observed_kernel, Root.observed_user)
_POSSIBLE = and_(
    # which pages which root maps
    or_(
        _is(_PAGE, Page.shared, Page.self),
        and_(_is(_PAGE, Page.user, Page.perdomain), _FROM_OBSERVED),
        and_(eq(_PAGE, Page.kernel), eq(_ROOT, Root.observed_kernel)),
    ),
    # an entry is global only if its leaf is (I-G1)
    or_(not_(x86.GLOBAL), _is(_PAGE, Page.shared, Page.user)),
)
_HAS_GUEST_PAGES = not_(eq(observed_kind.expr, Kind.hvm))
"""A monitor table maps no guest page."""


def _loaded(root: Expr) -> Expr:
    """CR3 holds the address of ``root``."""
    addresses = tuple(address(r) for r in Root)
    return eq(x86.ROOT_ADDRESS, lookup(root, addresses, U64))


def _show_page(page: int) -> str:
    return {
        Page.shared: "a page of Xen's own",
        Page.user: "a guest user page",
        Page.kernel: "a guest kernel page",
        Page.perdomain: "a per-domain page",
        Page.self: "the linear self-map page",
    }[list(Page)[page]]


def _describe(entry: Mapping[str, int]) -> str:
    root = list(Root)[entry["entry.root"]]
    where = "idle's root" if root is Root.idle else f"the observed space's {root.name.removeprefix('observed_')} root"
    return f"{_show_page(entry['entry.page'])} walked from {where}, PCID {entry['entry.tag']}{', global' if entry['entry.global'] else ''}"


TAGS = (PCID_PV_PRIV, PCID_PV_USER, PCID_PV_XPTI | PCID_PV_PRIV, PCID_PV_XPTI | PCID_PV_USER)
OBSERVED_ROOTS = (Root.idle, Root.observed_kernel, Root.observed_user)


def tlb(pages: tuple[Page, ...] = tuple(Page), tags: tuple[int, ...] = TAGS, initial: Expr = TRUE) -> CacheKind:
    """The TLB over one page of each of ``pages`` and the PCIDs ``tags``; ``initial`` narrows what it holds at the start."""
    return x86.tlb(
        tags=tags,
        fields=(
            ("page", enum_type(Page), tuple(list(Page).index(q) for q in pages)),
            ("root", enum_type(Root), tuple(list(Root).index(r) for r in OBSERVED_ROOTS)),
        ),
        possible=_POSSIBLE,
        walk=and_(_loaded(_ROOT), or_(_is(_PAGE, Page.shared, Page.self, Page.perdomain), _HAS_GUEST_PAGES)),
        leaf_global=_is(_PAGE, Page.shared, Page.user),
        initial=and_(initial, or_(_is(_PAGE, Page.shared, Page.self, Page.perdomain), _HAS_GUEST_PAGES)),
        describe=_describe,
    )


def _root_is(*roots: Root) -> Expr:
    return or_(*(eq(x86.ROOT_ADDRESS, address(r)) for r in roots))


_OBSERVED = (Root.observed_kernel, Root.observed_user)
MEANINGS = {
    # The entry means the same in every root.
    "shared": eq(_PAGE, Page.shared),
    # The entry was walked from the root instance that CR3 holds.
    "from_loaded_root": _loaded(_ROOT),
    # What the entry says is something that its page may mean in the loaded root (may(), properties.md 1).
    "may": or_(
        eq(_PAGE, Page.shared),
        and_(eq(_PAGE, Page.user), _root_is(*_OBSERVED)),
        and_(eq(_PAGE, Page.kernel), _root_is(Root.observed_kernel)),
        and_(eq(_PAGE, Page.perdomain), _root_is(*_OBSERVED, Root.sibling_kernel, Root.sibling_user)),
        and_(eq(_PAGE, Page.self), _loaded(_ROOT)),
    ),
}


def context_class(cr3: Expr, cr4: Expr) -> Expr:
    """The context that a CR3 and CR4 value make."""
    class_ = enum_type(ContextClass)

    def is_(member: ContextClass) -> Expr:
        return const(list(ContextClass).index(member), class_)

    user = not_(eq(cr3 & x86.X86_CR3_PCID_MASK & PCID_PV_USER, 0))
    by_pcid = ite(user, is_(ContextClass.user), is_(ContextClass.kernel))
    without_global = ite(eq(cr4 & x86.X86_CR4_PCIDE, 0), is_(ContextClass.nopcid), by_pcid)
    return ite(eq(cr4 & x86.X86_CR4_PGE, 0), without_global, is_(ContextClass.global_))


def _show_cr3(value: int) -> str:
    root = next((r.name.replace("_", " ") for r in Root if address(r) == value & x86.X86_CR3_ADDR_MASK), hex(value & x86.X86_CR3_ADDR_MASK))
    noflush = ", NOFLUSH" if value & x86.X86_CR3_NOFLUSH else ""
    return f"{root} root, PCID {value & x86.X86_CR3_PCID_MASK}{noflush}"


NOTATION = replace(
    x86.NOTATION,
    values={
        **x86.NOTATION.values,
        **dict.fromkeys(("cr3", "MOV to CR3.value", "CR3 value as an address.value"), _show_cr3),
        **dict.fromkeys(("INVLPG.page", "INVPCID 0.page", "write flush_va.value", "page goes.va"), _show_page),
    },
)
