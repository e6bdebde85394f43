"""AMD SVM's guest tags: VMRUN, #VMEXIT, ASIDs and TLB_CONTROL.

Source: AMD APM vol. 2, 15.16; rule ids (A-*) are those of the reference page x86-tlb.md 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlbcheck.lang.expr import TRUE, Expr, and_, const, eq, not_, var
from tlbcheck.lang.model import Amendment, CacheKind
from tlbcheck.lang.program import Clause, Operation, StateVar
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import U32, Type

TLB_CONTROL_DO_NOTHING = 0
TLB_CONTROL_FLUSH_ALL_ASID = 1
TLB_CONTROL_FLUSH_ASID = 3

GUEST_ASID = StateVar("guest_asid", U32, per_cpu=True, register=True)
"""The ASID that the processor runs under; 0 is the host's."""

_ASID, _CONTROL = var("arg.asid", U32), var("arg.tlb_control", U32)
ASID = var("entry.asid", U32)
_AMD = frozenset({"amd"})
USABLE = and_(eq(ASID, GUEST_ASID.expr), not_(eq(GUEST_ASID.expr, const(0, U32))))
"""A-9: entries carry the ASID, and are global only within it."""

VMRUN = Operation(
    "VMRUN",
    (("asid", U32), ("tlb_control", U32)),
    faults=(Clause("A-12: ASID 0 is the host's", (eq(_ASID, const(0, U32)),), exception="VMEXIT_INVALID"),),
    effects=((GUEST_ASID, _ASID),),
    drops=(
        Clause("A-10: TLB_CONTROL 1: everything, under every ASID", (eq(_CONTROL, const(TLB_CONTROL_FLUSH_ALL_ASID, U32)),), _AMD),
        Clause("A-10: TLB_CONTROL 3: everything of this ASID", (eq(_CONTROL, const(TLB_CONTROL_FLUSH_ASID, U32)), eq(ASID, _ASID)), _AMD),
    ),
    text="VMRUN under ASID {asid}, TLB_CONTROL {tlb_control}",
)
VMEXIT = Operation("VMEXIT", effects=((GUEST_ASID, const(0, U32)),), text="#VMEXIT")  # drops nothing


def tlb(
    *,
    asids: tuple[int, ...],
    fields: tuple[tuple[str, Type, tuple[int, ...]], ...],
    walk: Expr,
    initial: Expr,
    describe: Callable[[Mapping[str, int]], str],
) -> CacheKind:
    """Guest entries of a processor; ``walk``: the running guest's tables map what the entry says."""
    return CacheKind(
        name="TLB",
        fields=(("asid", U32, asids), *fields),
        possible=TRUE,
        fill=and_(USABLE, walk),
        initial=initial,
        describe=describe,
        scope={"asid": "asids", **{n: f"{n}s" for n, _, _ in fields if n in ("page", "frame")}},
        tag="asid",
        names={"asid": Names(U32.mask, {a: str(a) for a in asids}, {"guest_asid": 0, "entry.asid": 0}, chosen=True)},
        repairs=(Amendment(VMRUN, "tlb_control", const(TLB_CONTROL_FLUSH_ALL_ASID, U32), "may keep what was cached under the ASID", "flush all ASIDs (TLB_CONTROL)"),),
    )
