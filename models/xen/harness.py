"""The environment of Xen's switch for a C function that stands in a file or a mail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlbcheck import Model, Procedure, var
from tlbcheck.lang.harness import Fact, Harness, Subject
from tlbcheck.lang.program import Do, walk
from tlbcheck.machine.x86 import POPF, PUSHF_CLI

from . import callers
from .c_names import VOCABULARY
from .environment import switch_model

PCID = Fact(
    "pcid",
    text="the code base knows PCIDs, so domains with and without them meet",
    otherwise="the code base knows no PCIDs (nothing that was read mentions them), so no domain has one",
    identifiers=frozenset({"X86_CR4_PCIDE", "X86_CR3_PCID_MASK", "cr3_pcid", "get_pcid_bits", "PCID_PV_PRIV", "PCID_PV_USER", "invpcid_flush_single_context"}),
)

PV = Fact("pv", text="PV guests are built in (CONFIG_PV)", otherwise="PV guests are not built in (CONFIG_PV is not defined)", define="CONFIG_PV")


def _with_seen_end(subject: Subject) -> tuple[Procedure, tuple[str, ...]]:
    """The procedure with interrupts restored at an end that was not seen, if they were saved and are not restored before."""
    saved = [s for s in walk(subject.procedure.body) if isinstance(s, Do) and s.operation is PUSHF_CLI]
    restored = any(isinstance(s, Do) and s.operation is POPF for s in walk(subject.procedure.body))
    if subject.unseen_end is None or restored or len(saved) != 1 or saved[0].target is None:
        return subject.procedure, ()
    restore = Do(place=subject.unseen_end, operation=POPF, args=(var(saved[0].target, PUSHF_CLI.result.type if PUSHF_CLI.result is not None else None),))
    return subject.procedure.with_body([*subject.procedure.body, restore]), ("the unseen end restores the interrupt flag that was saved",)


def build(subject: Subject) -> Model:
    """The switch among Xen's callers, as the library's own models have it."""
    procedure, assumed = _with_seen_end(subject)
    flags = {callers.PCID_EXISTS: PCID.name in subject.facts, callers.PV_EXISTS: PV.name in subject.facts}
    model = switch_model(subject.name, subject.title, procedure, source=procedure.place.file, flags=flags)
    low = "root tables stand at low addresses, so that code which loses upper bits of CR3's address is not caught at it"
    said = (*subject.assumptions, *assumed, low, *(f.text if f.name in subject.facts else f.otherwise for f in (PV, PCID)))
    return replace(model, expected={}, expected_source="", assumptions=(*said, *model.assumptions))


HARNESS = Harness(
    name="xen",
    role="switch",
    files=("xen/arch/x86/flushtlb.c", "xen/include/asm-x86/pv/domain.h", "xen/arch/x86/include/asm/pv/domain.h"),
    profile=Path(__file__).with_name("xen.toml"),
    vocabulary=VOCABULARY,
    defines={"CONFIG_PV": "1"},  # Kconfig's default
    facts=(PV, PCID),
    build=build,
)
