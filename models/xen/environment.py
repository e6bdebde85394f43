"""Everything around a switch: the model that each version puts its own lines into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tlbcheck import Flag, Model, Procedure, Repair, Variant, procedure, u64, var
from tlbcheck.lang.expr import Expr
from tlbcheck.lang.model import Notation
from tlbcheck.lang.program import CaseVar
from tlbcheck.lang.types import U64
from tlbcheck.machine import x86

from . import callers, switch
from .case import CASE, Caller, options_for
from .contexts import DOMAINS, MEANINGS, NOTATION, ROOTS, VCPUS, observed_kind, tlb, use_invpcid
from .primitives import read_cr4, write_cr4

ASSUMPTIONS = (
    "context_switch and the state sync call with interrupts off, new_guest_cr3 with interrupts on (properties.md 2); caller 'open' stands for any other",
    "left out: EFI runtime calls, kexec, MTRR updates, 32-bit PV's SMEP toggles, XPTI's per-CPU root copies and entry/exit, NMI handlers that write CR3",
    "guests flush what they changed themselves (NEW_USER_BASEPTR, their own page-table entries)",
    "host-tagged entries of 4K pages only; paging-structure caches need no model here (W3, W4, INVPCID 1 to 3 treat them as non-global leaves); no errata",
    "one CPU: other CPUs appear as the state-sync interrupt; NMI and #MC handlers only read through the loaded tables, which fills cover",
)
_FLAGS = {f: f.default for module in (callers, switch) for f in vars(module).values() if isinstance(f, Flag)}


@procedure
def set_pcide(cr4: u64) -> None:
    """The new CR4, wherever that sets PCIDE: what a CR3 value with a PCID or NOFLUSH needs."""
    if (read_cr4() & x86.X86_CR4_PCIDE) < (cr4 & x86.X86_CR4_PCIDE):
        write_cr4(cr4)


# What a reviewer would try first.
REPAIRS = (
    x86.RELOAD_FLUSHES,
    Repair("a write of CR4.PCIDE wherever the new CR4 sets it", set_pcide, (var("cr4", U64),)),
    Repair("a flush of all PCIDs (INVPCID type 3)", x86.INVPCID_ALL_NONGLOBAL),
    Repair("a write of the new CR4", x86.MOV_TO_CR4, (var("cr4", U64),)),
    Repair("a flush of everything (INVPCID type 2)", x86.INVPCID_ALL),
)

CLEAN = dict.fromkeys(("missing-flush", "stale-translation", "switch-lands", "pge-with-pcide", "no-fault"), "proved")


def switch_model(
    name: str,
    title: str,
    switch_procedure: Procedure,
    *,
    source: str,
    flags: Mapping[Flag, bool] | None = None,
    procedures: Mapping[Procedure, Procedure] | None = None,
    meanings: Mapping[str, Expr] | None = None,
    extra_cases: tuple[CaseVar, ...] = (),
    variants: Mapping[str, Variant] | None = None,
    expected: Mapping[str, str] | None = None,
    expected_source: str = "xen.md 1.2 and 1.4",
    depth: int = 23,
    about: tuple[str, ...] = tuple(CLEAN),
    notation: Notation = NOTATION,
    **more: Any,
) -> Model:
    """A model of ``switch_procedure`` among its callers; ``expected`` lists what is not proved.

    ``depth`` suffices for a switch, a toggle and a second switch: twice the longest path plus one.
    """
    return Model(
        name=name,
        title=title,
        source=source,
        init=callers.start,
        task=callers.run_cpu,
        interrupts=(callers.state_sync_ipi,),
        cache=replace(tlb(), scope={**tlb().scope, "frame": "frames"}),  # nothing here is about frames
        cases=(observed_kind, use_invpcid, *extra_cases),
        settings={**x86.SETTINGS, "setting.invpcid": use_invpcid.expr},
        meanings={**MEANINGS, "usable": x86.USABLE, **(meanings or {})},
        procedures={callers.switch_cr3_cr4: switch_procedure, **(procedures or {})},
        flags={**_FLAGS, **(flags or {})},
        case=CASE,
        open_cases=frozenset({("caller", list(Caller).index(Caller.open))}),
        matrix_case={use_invpcid: 1},
        notation=notation,
        repairs=REPAIRS,
        options=options_for,
        variants=variants or {},
        expected={**CLEAN, **(expected or {})},
        expected_source=expected_source,
        assumptions=ASSUMPTIONS,
        depth=depth,
        about=about,
        scope={"cpus": 1, "vcpus": VCPUS, "domains": DOMAINS, "roots": ROOTS},
        **more,
    )
