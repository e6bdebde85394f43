"""Which CPUs may hold something of a domain: dirty masks among context switches, state syncs and EFI calls."""

from __future__ import annotations

from dataclasses import replace

from tlbcheck import Interrupt, Model, Variant, choose, cpus, procedure, require
from tlbcheck.lang.expr import and_, eq, not_, var
from tlbcheck.lang.scope import Alone
from tlbcheck.lang.types import enum_type
from tlbcheck.machine import x86

from . import callers, contexts, efi, lazy_state
from .contexts import MEANINGS, NOTATION, Context, Kind, Page, Root, current_is_idle, observed_kind, tlb, use_invpcid
from .contracts import CONTRACTS, TODAY
from .lazy_state import curr_vcpu

FLAGS = (lazy_state.MASK_CLEARED_EARLY, efi.EFI_LAZY_SYNC)


@procedure
def run_cpu() -> None:
    """The scheduler runs, or an EFI call is made, in any order."""
    while True:
        if choose(bool):
            lazy_state.schedule()
        else:
            efi.efi_runtime_call()


@procedure
def start() -> None:
    """All CPUs are idle, and hold nothing of the domain."""
    require(observed_kind == Kind.pcid and use_invpcid)
    for cpu in cpus():
        x86.CR0.at(cpu).set(x86.X86_CR0_PG)
        x86.CR3.at(cpu).set(callers.IDLE_ROOT)
        x86.CR4.at(cpu).set(callers.MMU_CR4_FEATURES)
        x86.IF.at(cpu).set(True)
        current_is_idle.at(cpu).set(True)


_OF_DOMAIN = not_(eq(var("entry.root", enum_type(Root)), Root.idle))
CLEAN = {"dirty-mask": "proved", "no-fault": "proved", "requires": "proved"}


def _show_cr3(value: int) -> str:
    return "the firmware's page tables, PCID 0" if value == efi.EFI_ROOT else NOTATION.values["cr3"](value)


ROOTS = replace(contexts.ROOTS, values={**contexts.ROOTS.values, efi.EFI_ROOT: "firmware"})
DOMAINS = replace(contexts.DOMAINS, names=(ROOTS,))


def _model(cpus: int) -> Model:
    return Model(
        name="xen/dirty-mask",
        title="dirty masks, lazy vCPUs and EFI calls",
        source="xen 622c9a5ba9, xen/arch/x86/domain.c, common/efi/runtime.c",
        cpus=cpus,
        init=start,
        task=run_cpu,
        actions=(lazy_state.flush_for_domain,),
        interrupts=(Interrupt(lazy_state.invalidate_interrupt, x86.IF, when=and_(current_is_idle.expr, not_(eq(curr_vcpu.expr, Context["idle"])))),),
        cache=tlb(pages=(Page.user, Page.self), tags=(0, 1), initial=not_(_OF_DOMAIN)),
        cases=(observed_kind, use_invpcid),
        settings={**x86.SETTINGS, "setting.invpcid": use_invpcid.expr},
        meanings={**MEANINGS, "usable": x86.USABLE, "of_domain": _OF_DOMAIN},
        procedures=TODAY,
        contracts=CONTRACTS,
        flags={f: f.default for f in (*callers.FLAGS, *FLAGS)},
        notation=replace(NOTATION, values={**NOTATION.values, "cr3": _show_cr3}),
        variants={
            "mask-cleared-early": Variant(
                "the CPU leaves the mask before write_ptbase()", {lazy_state.MASK_CLEARED_EARLY: True}, expected={**CLEAN, "dirty-mask": "violated"}, source="xen.md 4.3, mutated"
            ),
            "efi-lazy-sync": Variant(
                "an EFI call saves a lazy vCPU's CR3, and a sync comes in between",
                {efi.EFI_LAZY_SYNC: True},
                expected={"dirty-mask": "violated", "no-fault": "violated", "requires": "violated"},
                source="xen before 622c9a5ba9 (XSA-494)",
            ),
        },
        expected=CLEAN,
        expected_source="properties.md 4, xen.md 2.4",
        vacuous=("no-fault/#UD",),
        about=tuple(CLEAN),
        assumptions=(
            "whether a CPU is in the mask, and what it holds, depends on that CPU alone; the one that reads the mask may be any other, at any time: so one CPU stands for any number",
            "guests with PCIDs; other domains are one other vCPU, of which nothing is watched; a state sync may be asked for at any time",
        ),
        scope={"cpus": Alone(), "domains": DOMAINS, "pages": 2, "pcids": [0, 1]},
        depth=14,
        numbers={"cpus": cpus},
        resized=_model,
    )


dirty_mask = _model(cpus=1)
