"""The guest enters and leaves its kernel: _toggle_guest_pt(), with shadow page tables too.

In shadow mode update_cr3() may install another shadow of the same guest table: a new root
instance, in the same mode of the same vCPU, and so under the same PCID (xen.md 2.1, XSA-294).
Here the ``sibling`` roots are those other instances. What differs between two instances are
Xen's linear page tables: a guest's own pages mean the same in both.
"""

from __future__ import annotations

from dataclasses import replace

from tlbcheck import Flag, Variant, atomic, case_variable, choose, procedure, require, u64, var
from tlbcheck.lang.expr import Expr, and_, eq, not_, or_
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86

from . import callers, switch
from .contexts import MEANINGS, NOTATION, PCID_PV_PRIV, Context, Page, Root, Space, address, current_is_idle, kind, mode, space, toggled, tsd
from .environment import CLEAN, switch_model
from .primitives import write_cr3

TOGGLE_NOFLUSH_SHADOW = Flag("TOGGLE_NOFLUSH_SHADOW", False)
"""Fault: NOFLUSH stays in the value for CR3 in shadow mode too."""

shadow = case_variable("shadow", bool)
"""The guest runs on shadow page tables."""


@procedure(role="toggle")
def toggle_guest_pt() -> None:
    """_toggle_guest_pt() since 329b00e4d4: in shadow mode the new root may be another one, so its PCID is flushed."""
    with atomic("update_cr3(): the guest's other mode; in shadow mode perhaps on another root, a new shadow"):
        require(not current_is_idle.get())
        v = callers.loaded_pv_vcpu()
        new = choose(Context)
        require(kind(new) == kind(v) and mode(new) == mode(toggled(v)) and mode(new) != mode(v) and tsd(new) == tsd(v))
        require(space(new) == space(v) or (shadow and space(v) in (Space.observed, Space.sibling) and space(new) in (Space.observed, Space.sibling)))
    cr3 = callers.make_cr3(new)
    if shadow and not TOGGLE_NOFLUSH_SHADOW:
        cr3 &= ~x86.X86_CR3_NOFLUSH
    write_cr3(cr3)


@procedure
def same_pcid_bits(v: Context) -> u64:
    """Fault: kernel and user mode of a guest share a PCID."""
    return x86.X86_CR3_NOFLUSH | PCID_PV_PRIV


def _loaded(*roots: Root) -> Expr:
    return or_(*(eq(x86.ROOT_ADDRESS, address(r)) for r in roots))


_PAGE, _ROOT = var("entry.page", enum_type(Page)), var("entry.root", enum_type(Root))
_GUESTS = (Root.observed_kernel, Root.observed_user, Root.sibling_kernel, Root.sibling_user)
_USER_MODE = _loaded(Root.observed_user, Root.sibling_user)
_LOADED_INSTANCE = MEANINGS["from_loaded_root"]
_ALL = {**CLEAN, "toggle": "proved"}
_NAMES = {
    Root.observed_kernel: "the guest's kernel root",
    Root.observed_user: "the guest's user root",
    Root.sibling_kernel: "another kernel root of the guest",
    Root.sibling_user: "another user root of the guest",
}


def _show_cr3(value: int) -> str:
    root = next((r for r in Root if address(r) == value & x86.X86_CR3_ADDR_MASK), Root.idle)
    noflush = ", NOFLUSH" if value & x86.X86_CR3_NOFLUSH else ""
    return f"{_NAMES.get(root, root.name.replace('_', ' ') + ' root')}, PCID {value & x86.X86_CR3_PCID_MASK}{noflush}"


toggle = switch_model(
    "xen/toggle",
    "_toggle_guest_pt(), between the switches of today's Xen",
    switch.switch_cr3_cr4_flush_once,
    source="xen 329b00e4d4 (XSA-294), xen/arch/x86/pv/domain.c",
    depth=14,
    procedures={callers.host_cr4: callers.mmu_cr4_features, callers.toggle_guest_pt: toggle_guest_pt},
    flags={TOGGLE_NOFLUSH_SHADOW: False},
    extra_cases=(shadow,),
    meanings={
        "current_space": and_(_loaded(*_GUESTS), not_(eq(_ROOT, Root.idle))),
        "kernel_page_in_user_mode": and_(eq(_PAGE, Page.kernel), _USER_MODE),
        "older_instance": and_(eq(_PAGE, Page.self), not_(_LOADED_INSTANCE)),
        "may": or_(
            eq(_PAGE, Page.shared),
            and_(or_(eq(_PAGE, Page.user), eq(_PAGE, Page.perdomain)), _loaded(*_GUESTS)),
            and_(eq(_PAGE, Page.kernel), _loaded(Root.observed_kernel, Root.sibling_kernel)),
            and_(eq(_PAGE, Page.self), _LOADED_INSTANCE),
        ),
    },
    variants={
        "toggle-noflush-shadow": Variant(
            "in shadow mode CR3 is loaded with NOFLUSH too",
            {TOGGLE_NOFLUSH_SHADOW: True},
            expected={**_ALL, "toggle": "violated", "stale-translation": "violated"},
            source="xen 5c81d260c2, before 329b00e4d4 (XSA-294)",
        ),
        "user-same-pcid": Variant(
            "kernel and user mode share PCID 0",
            procedures={callers.get_pcid_bits: same_pcid_bits},
            expected={**_ALL, "toggle": "violated", "stale-translation": "violated"},
            source="[PATCH v5 7/7], get_pcid_bits(), mutated",
        ),
    },
    expected={"toggle": "proved"},
    expected_source="properties.md 1 and 4, xen.md 2.1",
    vacuous=("toggle/view",),
    about=tuple(_ALL),
    notation=replace(NOTATION, values={**NOTATION.values, **dict.fromkeys(("cr3", "MOV to CR3.value"), _show_cr3)}),
)
