"""XPTI: the guest runs on a copy of its root table that leaves Xen's own pages out (xen.md 1.6, 3.3).

On the way to the guest CR3 gets the per-CPU copy under PCID 2 or 3, on the way back the guest's own
table under PCID 0 or 1: with NOFLUSH each time, since tags keep the two views apart. An NMI may come
between any two steps; it saves what the paths keep in memory, and restores it.

With shadow page tables, a change of the guest's mode may bring another root table of the same mode: another
instance, under the same PCIDs. The values for both CR3 loads then go without NOFLUSH (329b00e4d4, XSA-294);
that of the first is the matter of xen/toggle. The entries that are looked at were walked from one of
the instances, or from the copy of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace

from tlbcheck import Flag, Interrupt, Model, Variant, atomic, case_variable, choose, per_cpu, procedure, require, u64, var
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, eq, ite, not_, or_
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86

from .contexts import PCID_PV_PRIV, PCID_PV_USER, PCID_PV_XPTI, Mode
from .primitives import write_cr3

EXIT_KEEPS_PCID = Flag("EXIT_KEEPS_PCID", False)
"""Fault: pv_cr3 is made without the XPTI bit: both views share a PCID."""

PV_CR3_NOFLUSH_SHADOW = Flag("PV_CR3_NOFLUSH_SHADOW", False)
"""Fault: NOFLUSH stays in pv_cr3 in shadow mode too."""

NMI_KEEPS_XEN_CR3 = Flag("NMI_KEEPS_XEN_CR3", False)
"""Fault: an NMI late in the exit path, or in the guest, returns without loading pv_cr3 again."""


class View(enum.Enum):
    """The table that an entry was walked from: the guest's own one of a mode, or the copy of it."""

    kernel = enum.auto()
    user = enum.auto()
    copy_of_kernel = enum.auto()
    copy_of_user = enum.auto()


class Page(enum.Enum):
    private = enum.auto()
    """Xen's own memory: mapped in the guest's own tables only."""
    visible = enum.auto()
    """Xen's entry code and stacks: mapped in both."""
    user = enum.auto()
    kernel = enum.auto()
    linear = enum.auto()
    """Xen's linear map of a shadow: it means the instance of the root that it was walked from."""


KERNEL_ROOT, USER_ROOT, ROOT_PGT = 0x1000, 0x2000, 0x3000
NEW_KERNEL_ROOT, NEW_USER_ROOT = 0x4000, 0x5000
"""Other instances than the watched ones."""
pcid = case_variable("pcid", bool)
"""The domain uses PCIDs (``pcid=xpti``, the default); else every CR3 write flushes."""

shadow = case_variable("shadow", bool)
"""The guest runs on shadow page tables."""

guest_mode = per_cpu("guest_mode", Mode)
"""TF_kernel_mode of the vCPU."""
guest_runs = per_cpu("guest_runs", bool)
xen_cr3 = per_cpu("xen_cr3", u64)
"""What an entry from the guest has to load; 0 while in Xen."""
pv_cr3 = per_cpu("pv_cr3", u64)
"""What the exit to the guest loads."""
use_pv_cr3 = per_cpu("use_pv_cr3", bool)
"""Late in the exit path: who interrupts has to come back to pv_cr3."""
root_pgt_changed = per_cpu("root_pgt_changed", bool)
root_pgt_of = per_cpu("root_pgt_of", Mode)
"""The mode whose root table the per-CPU copy was made from."""
on_new_root = per_cpu("on_new_root", bool)
"""v->arch.cr3 has another instance of the root table than the watched one."""
root_pgt_of_new_root = per_cpu("root_pgt_of_new_root", bool)
"""The per-CPU copy was made from such an instance."""


@procedure
def get_pcid_bits(mode: Mode, is_xpti: bool) -> u64:
    """The PCID of a mode and view, and NOFLUSH."""
    if not pcid:
        return 0
    bits: u64 = x86.X86_CR3_NOFLUSH | (PCID_PV_PRIV if mode == Mode.kernel else PCID_PV_USER)
    if is_xpti:
        bits |= PCID_PV_XPTI
    return bits


@procedure
def arch_cr3(mode: Mode, is_new: bool) -> u64:
    """v->arch.cr3: the guest's own table of the mode."""
    root: u64 = KERNEL_ROOT if mode == Mode.kernel else USER_ROOT
    if is_new:
        root = NEW_KERNEL_ROOT if mode == Mode.kernel else NEW_USER_ROOT
    return root | get_pcid_bits(mode, False)


@procedure(role="toggle")
def toggle_guest_mode() -> None:
    """The guest enters or leaves its kernel: the other root, and the copy has to be made anew."""
    with atomic("update_cr3(): the guest's other mode; in shadow mode perhaps on a new shadow root"):
        to_new_root = choose(bool)
        require(shadow or not to_new_root)
        mode = Mode.user if guest_mode.get() == Mode.kernel else Mode.kernel
        guest_mode.set(mode)
        on_new_root.set(to_new_root)
        root_pgt_changed.set(True)
    cr3 = arch_cr3(mode, to_new_root)
    pv: u64 = ROOT_PGT | get_pcid_bits(mode, not EXIT_KEEPS_PCID)
    if shadow:
        cr3 &= ~x86.X86_CR3_NOFLUSH
        if not PV_CR3_NOFLUSH_SHADOW:
            pv &= ~x86.X86_CR3_NOFLUSH
    pv_cr3.set(pv)
    write_cr3(cr3)


@procedure
def entry_from_guest() -> None:
    """System call, interrupt or exception in the guest: interrupts are off until Xen's CR3 is loaded."""
    with atomic("the guest enters Xen: reads xen_cr3"):
        guest_runs.set(False)
        cr3 = xen_cr3.get()
    if cr3 != 0:
        use_pv_cr3.set(False)
        write_cr3(cr3)
        xen_cr3.set(0)


@procedure(role="exit")
def restore_all_guest() -> None:
    """The exit to the guest, with interrupts off: renew the copy of the root table, load it."""
    changed = root_pgt_changed.get()
    if changed:
        with atomic("root_pgt_changed := no, copies the guest's root table into this CPU's root_pgt"):
            root_pgt_changed.set(False)
            root_pgt_of.set(guest_mode.get())
            root_pgt_of_new_root.set(on_new_root.get())
    with atomic("xen_cr3 := v->arch.cr3"):
        xen_cr3.set(arch_cr3(guest_mode.get(), on_new_root.get()))
    use_pv_cr3.set(True)
    write_cr3(pv_cr3.get())
    guest_runs.set(True)


@procedure
def nmi() -> None:
    """handle_ist_exception: to Xen's CR3 if need be, and back to what was interrupted."""
    ran = guest_runs.get()
    guest_runs.set(False)
    flag = use_pv_cr3.get()
    saved = xen_cr3.get()
    if saved != 0:
        use_pv_cr3.set(False)
        write_cr3(saved)
        xen_cr3.set(0)
    xen_cr3.set(saved)
    use_pv_cr3.set(flag)
    if flag and not NMI_KEEPS_XEN_CR3:
        write_cr3(pv_cr3.get())
    guest_runs.set(ran)


@procedure
def run_cpu() -> None:
    """The guest enters Xen, which serves it, perhaps changes its mode, and lets it run again. No step depends on IF."""
    while True:
        entry_from_guest()
        if choose(bool):
            toggle_guest_mode()
        restore_all_guest()


@procedure
def start() -> None:
    """A vCPU runs in kernel mode on the copy of its root table, nothing cached yet."""
    x86.CR0.set(x86.X86_CR0_PG)
    x86.CR3.set((ROOT_PGT | get_pcid_bits(Mode.kernel, not EXIT_KEEPS_PCID)) & ~x86.X86_CR3_NOFLUSH)
    if pcid:
        x86.CR4.set(x86.X86_CR4_PAE | x86.X86_CR4_PCIDE)
    else:
        x86.CR4.set(x86.X86_CR4_PAE)
    guest_mode.set(Mode.kernel)
    guest_runs.set(True)
    xen_cr3.set(arch_cr3(Mode.kernel, False))
    pv_cr3.set(ROOT_PGT | get_pcid_bits(Mode.kernel, not EXIT_KEEPS_PCID))
    use_pv_cr3.set(True)


_VIEW, _PAGE = var("entry.view", enum_type(View)), var("entry.page", enum_type(Page))


def _is(e: Expr, *members: enum.Enum) -> Expr:
    return or_(*(eq(e, m) for m in members))


_COPIES = _is(_VIEW, View.copy_of_kernel, View.copy_of_user)
_OF_KERNEL = _is(_VIEW, View.kernel, View.copy_of_kernel)
_WALK = ite(
    _COPIES,
    and_(eq(x86.ROOT_ADDRESS, ROOT_PGT), not_(root_pgt_of_new_root.expr), eq(eq(root_pgt_of.expr, Mode.kernel), _OF_KERNEL)),
    or_(and_(_OF_KERNEL, eq(x86.ROOT_ADDRESS, KERNEL_ROOT)), and_(not_(_OF_KERNEL), eq(x86.ROOT_ADDRESS, USER_ROOT))),
)


def _describe(entry: Mapping[str, int]) -> str:
    page = {
        Page.private: "a page of Xen's private memory",
        Page.visible: "a page of Xen's entry code",
        Page.user: "a guest user page",
        Page.kernel: "a guest kernel page",
        Page.linear: "the linear map",
    }
    view = list(View)[entry["entry.view"]]
    where = f"the per-CPU {view.name.replace('_', ' ')} root" if view.name.startswith("copy") else f"the guest's own {view.name} root"
    return f"{page[list(Page)[entry['entry.page']]]} walked from {where}, PCID {entry['entry.tag']}"


def _show_cr3(value: int) -> str:
    names = {KERNEL_ROOT: "guest kernel root", USER_ROOT: "guest user root", NEW_KERNEL_ROOT: "new guest kernel root", NEW_USER_ROOT: "new guest user root", ROOT_PGT: "per-CPU root copy"}
    noflush = ", NOFLUSH" if value & x86.X86_CR3_NOFLUSH else ""
    return f"{names.get(value & x86.X86_CR3_ADDR_MASK, hex(value))}, PCID {value & x86.X86_CR3_PCID_MASK}{noflush}" if value else "0"


_USER_MODE = or_(eq(x86.ROOT_ADDRESS, USER_ROOT), eq(x86.ROOT_ADDRESS, NEW_USER_ROOT))
_ON_NEW_ROOT = or_(
    eq(x86.ROOT_ADDRESS, NEW_KERNEL_ROOT), eq(x86.ROOT_ADDRESS, NEW_USER_ROOT), and_(eq(x86.ROOT_ADDRESS, ROOT_PGT), root_pgt_of_new_root.expr)
)  # fmt: skip
CLEAN = {"xpti-separation": "proved", "toggle": "proved", "no-fault": "proved"}
xpti = Model(
    name="xen/xpti",
    title="XPTI: entry from the guest, exit to it, NMIs in between",
    source="xen 5c81d260c2 and 065a499f78, xen/arch/x86/x86_64/entry.S, pv/domain.c",
    init=start,
    task=run_cpu,
    interrupts=(Interrupt(nmi, None, level="nmi"),),
    cache=x86.tlb(
        tags=(0, 1, 2, 3),
        fields=(("view", enum_type(View), tuple(range(len(View)))), ("page", enum_type(Page), tuple(range(len(Page))))),
        possible=and_(not_(x86.GLOBAL), or_(not_(eq(_PAGE, Page.private)), not_(_COPIES)), or_(not_(eq(_PAGE, Page.kernel)), _OF_KERNEL)),
        walk=_WALK,
        leaf_global=FALSE,
        initial=FALSE,
        describe=_describe,
    ),
    cases=(pcid, shadow),
    meanings={
        "usable": x86.USABLE,
        "guest_runs": guest_runs.expr,
        "visible_to_guest": not_(eq(_PAGE, Page.private)),
        "shared": eq(_PAGE, Page.visible),
        "current_space": TRUE,
        "kernel_page_in_user_mode": and_(eq(_PAGE, Page.kernel), _USER_MODE),
        "older_instance": and_(eq(_PAGE, Page.linear), _ON_NEW_ROOT),
    },
    flags={EXIT_KEEPS_PCID: False, PV_CR3_NOFLUSH_SHADOW: False, NMI_KEEPS_XEN_CR3: False},
    repairs=(x86.RELOAD_FLUSHES,),
    notation=replace(x86.NOTATION, values={**x86.NOTATION.values, **dict.fromkeys(("cr3", "xen_cr3", "pv_cr3", "MOV to CR3.value", "write xen_cr3.value", "write pv_cr3.value"), _show_cr3)}),
    variants={
        "exit-keeps-pcid": Variant(
            "pv_cr3 without the XPTI bit, and NOFLUSH", {EXIT_KEEPS_PCID: True}, expected={**CLEAN, "xpti-separation": "violated"}, source="[PATCH v5 7/7], get_pcid_bits(v, true), mutated"
        ),
        "pv-cr3-noflush-shadow": Variant(
            "in shadow mode pv_cr3 keeps NOFLUSH", {PV_CR3_NOFLUSH_SHADOW: True}, expected={**CLEAN, "toggle": "violated"}, source="xen 5c81d260c2, before 329b00e4d4 (XSA-294)"
        ),
        "nmi-keeps-xen-cr3": Variant(
            "an NMI returns without loading pv_cr3 again", {NMI_KEEPS_XEN_CR3: True}, expected={**CLEAN, "xpti-separation": "violated"}, source="x86-tlb.md 6, N-3; restore_all_xen, mutated"
        ),
    },
    expected=CLEAN,
    expected_source="properties.md 1 and 4",
    vacuous=("no-fault/#UD", "no-fault/assert"),
    about=tuple(CLEAN),
    assumptions=(
        "one CPU, since no other one touches what the paths keep (who changes a root table is xen/root-copy's matter); one vCPU stays on it: what a switch of vCPUs leaves is xen/flush-once's matter",
        "global pages are off for XPTI domains; rights in a cached entry do not stop a speculative read, so that existence is what counts",
        "NMIs do not nest (x86-tlb.md 6, N-4); #MC on top of an NMI is left out",
    ),
    scope={"pages": "one of each kind", "pcids": [0, 1, 2, 3]},
    depth=20,
)
