"""The environment of Xen's switch for a C function that stands in a file or a mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlbcheck import Model, Procedure, var
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.expr import eq, or_
from tlbcheck.lang.harness import Fact, Harness, Subject
from tlbcheck.lang.program import Assert, Do, Statement, walk
from tlbcheck.machine.x86 import CLI, INVPCID_ALL, MOV_TO_CR3, MOV_TO_CR4, POPF, PUSHF_CLI, X86_CR3_ADDR_MASK
from tlbcheck.mutate import Edit, edit_statements, procedures_in_role

from . import callers
from .c_names import VOCABULARY
from .contexts import Root, address
from .environment import switch_model
from .primitives import post_flush, pre_flush

PCID = Fact(
    "pcid",
    text="the code base knows PCIDs, so domains with and without them meet",
    otherwise="the code base knows no PCIDs (nothing that was read mentions them), so no domain has one",
    identifiers=frozenset({"get_pcid_bits", "PCID_PV_PRIV", "PCID_PV_USER"}),
    own=frozenset({"X86_CR4_PCIDE", "X86_CR3_PCID_MASK", "cr3_pcid", "invpcid_flush_single_context"}),  # elsewhere guests' PCIDs are meant, or none yet
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


def _only_roots(model: Model) -> Model:
    """``model`` with an assertion at each write of CR3: of an address that is no root table nothing could be walked, which would hide faults."""
    for procedure in procedures_in_role(model, HARNESS.role):
        edits = []
        for s in walk(procedure.body):
            if isinstance(s, Do) and s.operation is MOV_TO_CR3:
                root = or_(*(eq(s.args[0] & X86_CR3_ADDR_MASK, address(r)) for r in Root))
                edits.append(Edit(s, "before", (Assert(place=s.place, condition=root, text="the address that is loaded into CR3 is that of a root table"),)))
        if edits:
            model = edit_statements(model, procedure, edits)
    return model


def mends(procedure: Procedure, place: Place) -> Sequence[Sequence[Statement]]:
    """A flush of everything, alone and behind the write of CR4 that is asked for."""
    flush = Do(place=place, operation=INVPCID_ALL, args=())
    asked = next((q for q in procedure.parameters if q.name == "cr4"), None)
    write = [Do(place=place, operation=MOV_TO_CR4, args=(var(asked.name, asked.type),))] if asked is not None else []
    return [[flush], [*write, flush]] if write else [[flush]]


def build(subject: Subject) -> Model:
    """The switch among Xen's callers, as the library's own models have it.

    Raises ``InputError`` where what every switch does may stand among lines that were not seen.
    """
    procedure, assumed = _with_seen_end(subject)
    flags = {callers.PCID_EXISTS: PCID.name in subject.facts, callers.PV_EXISTS: PV.name in subject.facts}
    keeping = {callers.write_ptbase: callers.write_ptbase_keeping_cr4} if "cr4" in subject.ignores else {}
    if keeping:
        assumed += (f"{procedure.name} takes no CR4: only switches that are to leave CR4 as it is are judged",)
    model = switch_model(subject.name, subject.title, procedure, source=procedure.place.file, flags=flags, procedures=keeping)
    seen = {s.operation for q in procedures_in_role(model, HARNESS.role) for s in walk(q.body) if isinstance(s, Do)}
    for wanted, what in (({MOV_TO_CR3}, "writes no CR3"), ({PUSHF_CLI, CLI}, "does not turn interrupts off")):
        if subject.unseen is not None and not wanted & seen:
            raise InputError(f"what is seen of {procedure.name} {what}, and lines of it are missing", place=subject.unseen, hint="give the tree (--tree DIR)")
    said = (*subject.assumptions, *assumed, *(f.text if f.name in subject.facts else f.otherwise for f in (PV, PCID)))
    return replace(_only_roots(model), expected={}, expected_source="", assumptions=(*said, *model.assumptions))


HARNESS = Harness(
    name="xen",
    role="switch",
    files=("xen/arch/x86/flushtlb.c", "xen/include/asm-x86/pv/domain.h", "xen/arch/x86/include/asm/pv/domain.h"),
    profile=Path(__file__).with_name("xen.toml"),
    vocabulary=VOCABULARY,
    defines={"CONFIG_PV": "1"},  # Kconfig's default
    facts=(PV, PCID),
    build=build,
    forced=("xen/include/xen/config.h",),
    helpers=tuple(f"{folder}/{name}.h" for folder in ("xen/include/asm-x86", "xen/arch/x86/include/asm") for name in ("invpcid", "processor", "system")),
    bracket=(pre_flush.name, post_flush.name),
    mends=mends,
)
