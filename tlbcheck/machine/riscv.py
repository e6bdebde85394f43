"""RISC-V's address-translation rules: satp, ASIDs, SFENCE.VMA.

Source: the privileged architecture's supervisor chapter; rule ids (RV-*) are those of the
reference page x86-tlb.md 4.2. Leaf entries only, which is exact for software that changes no
table above the leaves. Invalid entries may be cached too (RV-4): a model whose software makes a
page valid without a fence needs a field for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlbcheck.lang.expr import TRUE, Expr, and_, const, eq, not_, or_, var, word_op
from tlbcheck.lang.model import CacheKind, Notation, Repair, walk_from
from tlbcheck.lang.program import Clause, Operation, StateVar
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import BOOL, U64, Type

SATP_ASID_SHIFT = 44
SATP_PPN_MASK = (1 << SATP_ASID_SHIFT) - 1
SATP_ASID_MASK = 0xFFFF << SATP_ASID_SHIFT

SATP = StateVar("satp", U64, per_cpu=True, register=True)
SIE = StateVar("sie", BOOL, per_cpu=True, register=True)
"""sstatus.SIE: whether supervisor interrupts are taken."""


def satp(root: int, asid: int) -> int:
    """A value of satp; ``root`` is the root table's page number."""
    return root | asid << SATP_ASID_SHIFT


def _asid(value: Expr) -> Expr:
    return word_op("shr", value & SATP_ASID_MASK, const(SATP_ASID_SHIFT, U64))


_VALUE, _ASID, _PAGE = var("arg.value", U64), var("arg.asid", U64), var("arg.page", None)
ASID = var("entry.asid", U64)
GLOBAL = var("entry.global", BOOL)
PAGE = var("entry.page", None)
ROOT = SATP.expr & SATP_PPN_MASK
CURRENT_ASID = _asid(SATP.expr)
USABLE = or_(eq(ASID, CURRENT_ASID), GLOBAL)
"""RV-10: an entry matches by its ASID, or if it is global."""

CSRR_SATP = Operation("CSRR satp", result=SATP.expr, text="reads satp")
CSRW_SATP = Operation("CSRW satp", (("value", U64),), effects=((SATP, _VALUE),), text="writes satp := {value}")  # RV-1: drops nothing
SFENCE_VMA = Operation("SFENCE.VMA", drops=(Clause("RV-2: x0, x0: everything", ()),), text="SFENCE.VMA: everything")
SFENCE_VMA_ASID = Operation(
    "SFENCE.VMA asid",
    (("asid", U64),),
    drops=(Clause("RV-2: x0, asid: all of the ASID but global entries", (eq(ASID, _ASID), not_(GLOBAL))),),
    text="SFENCE.VMA: everything of ASID {asid}",
)
SFENCE_VMA_PAGE = Operation(
    "SFENCE.VMA page",
    (("page", None),),
    drops=(Clause("RV-2: va, x0: the page under every ASID, global too", (eq(PAGE, _PAGE),)),),
    text="SFENCE.VMA: {page} under every ASID",
)
SFENCE_VMA_PAGE_ASID = Operation(
    "SFENCE.VMA page asid",
    (("page", None), ("asid", U64)),
    drops=(Clause("RV-2: va, asid: the page under that ASID, not global", (eq(PAGE, _PAGE), eq(ASID, _ASID), not_(GLOBAL))),),
    text="SFENCE.VMA: {page} of ASID {asid}",
)


def tlb(
    *,
    asids: tuple[int, ...],
    fields: tuple[tuple[str, Type, tuple[int, ...]], ...],
    walk: Expr,
    leaf_global: Expr,
    possible: Expr = TRUE,
    initial: Expr,
    describe: Callable[[Mapping[str, int]], str],
) -> CacheKind:
    """The address-translation cache of a hart; see ``tlbcheck.machine.x86.tlb``. Walks start from satp alone (RV-5); ASID 0 is where software gives none."""
    return CacheKind(
        name="TLB",
        fields=(("asid", U64, asids), ("global", BOOL, (0, 1)), *fields),
        possible=possible,
        fill=and_(eq(ASID, CURRENT_ASID), eq(GLOBAL, leaf_global), walk),
        initial=initial,
        describe=describe,
        scope={"asid": "asids", **{n: f"{n}s" for n, _, _ in fields if n in ("page", "frame")}},
        tag="asid",
        names={"asid": Names(SATP_ASID_MASK, {a << SATP_ASID_SHIFT: str(a) for a in sorted({0, *asids})}, {"satp": 0, "entry.asid": SATP_ASID_SHIFT}, chosen=True)},
        repairs=(
            *(Repair(f"SFENCE.VMA of {t.show(page)} under every ASID", SFENCE_VMA_PAGE, (const(page, t),)) for n, t, pages in fields if n == "page" for page in pages),
            Repair("SFENCE.VMA of everything", SFENCE_VMA),
        ),
    )


def show_satp(value: int) -> str:
    return f"root {value & SATP_PPN_MASK:#x}, ASID {(value & SATP_ASID_MASK) >> SATP_ASID_SHIFT}"


NOTATION = Notation(
    values={"satp": show_satp, "CSRW satp.value": show_satp, "SFENCE.VMA asid.asid": str, "SFENCE.VMA page asid.asid": str},
    fields={"satp": {"asid": SATP_ASID_MASK, "root": SATP_PPN_MASK}},
    walks=lambda registers: walk_from(registers.get("satp", "")),
)
