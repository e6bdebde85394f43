"""Today's switch under every caller that keeps to what it requires: what other models rely on.

``xen/flush-once`` has the switch among callers that load a vCPU's page tables. EFI calls load others, and a
procedure that takes any CR3 and CR4 promises its callers something for all of them.
"""

from __future__ import annotations

import enum
import itertools

from tlbcheck import Flag, Model, Table, Variant, choose, most_general_caller, procedure, require
from tlbcheck.lang.types import U64, enum_type
from tlbcheck.machine import x86

from . import callers, switch
from .contexts import MEANINGS, NOTATION, PCID_PV_PRIV, PCID_PV_USER, ROOTS, Kind, Root, address, current_is_idle, observed_kind, tlb, use_invpcid
from .environment import REPAIRS

_HOST_CR4 = callers.MMU_CR4_FEATURES & ~x86.X86_CR4_PGE
_CR3S = [address(root) | pcid for root in (Root.idle, Root.observed_kernel, Root.observed_user, Root.other_kernel) for pcid in (PCID_PV_PRIV, PCID_PV_USER)]
_CR4S = [_HOST_CR4 | flushing | other for flushing in (0, x86.X86_CR4_PGE, x86.X86_CR4_PCIDE, x86.X86_CR4_PGE | x86.X86_CR4_PCIDE) for other in (0, x86.X86_CR4_TSD)]

_HELD = [(cr3, cr4) for cr3, cr4 in itertools.product(_CR3S, _CR4S)]
Held = enum.Enum("Held", [f"cr3_{cr3:x}_cr4_{cr4:x}" for cr3, cr4 in _HELD])  # type: ignore[misc]  # its members are the pairs
cr3_of = Table("cr3_of", enum_type(Held), tuple(cr3 for cr3, _ in _HELD), U64)
cr4_of = Table("cr4_of", enum_type(Held), tuple(cr4 for _, cr4 in _HELD), U64)

any_caller = most_general_caller(callers.switch_cr3_cr4, domains={"cr3": [*_CR3S, *(cr3 | x86.X86_CR3_NOFLUSH for cr3 in _CR3S)], "cr4": _CR4S})


@procedure
def run_cpu() -> None:
    """The switch is called again and again."""
    while True:
        any_caller()


@procedure
def start() -> None:
    """Any page tables that a legal switch can have loaded, interrupts on or off; perhaps a vCPU's, kept lazily."""
    require(observed_kind == Kind.pv)  # some guest whose pages can be cached
    held = choose(Held)
    require(callers.may_be_loaded(cr3_of(held), cr4_of(held)))
    x86.CR0.set(x86.X86_CR0_PG)
    x86.CR3.set(cr3_of(held))
    x86.CR4.set(cr4_of(held))
    x86.IF.set(choose(bool))
    current_is_idle.set(choose(bool))


CLEAN = dict.fromkeys(("missing-flush", "switch-lands", "pge-with-pcide", "no-fault", "requires"), "proved")
switch_contract = Model(
    name="xen/switch-contract",
    title="switch_cr3_cr4 under its most general caller",
    source="xen edc426665f",
    init=start,
    task=run_cpu,
    interrupts=(callers.state_sync_ipi,),
    cache=tlb(tags=(PCID_PV_PRIV, PCID_PV_USER)),
    cases=(observed_kind, use_invpcid),
    settings={**x86.SETTINGS, "setting.invpcid": use_invpcid.expr},
    meanings={**MEANINGS, "usable": x86.USABLE},
    procedures={callers.switch_cr3_cr4: switch.switch_cr3_cr4_flush_once, callers.host_cr4: callers.mmu_cr4_features},
    flags={f: f.default for f in callers.FLAGS} | {f: f.default for f in vars(switch).values() if isinstance(f, Flag)},
    notation=NOTATION,
    repairs=REPAIRS,
    variants={
        "as-posted": Variant(
            "the patch as posted in its place",
            procedures={callers.switch_cr3_cr4: switch.write_cr3_cr4},
            expected={**CLEAN, "missing-flush": "violated", "no-fault": "violated"},
            source="xen-devel, 6 April 2018, [PATCH v5 7/7]",
        ),
    },
    expected=CLEAN,
    expected_source="properties.md 1 and 2",
    about=tuple(CLEAN),
    assumptions=(
        "the TLB at the start is the worst that the machine can hold",
        "CR4 differs in PGE, PCIDE and TSD (a bit without flush effect) only; other CPUs appear as the state-sync interrupt",
    ),
    scope={"roots": ROOTS, "pages": "one of each kind", "pcids": [0, 1]},
    depth=14,
)
