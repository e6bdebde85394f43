"""The x86 rules once more, as plain Python: x86-tlb.md 1.2, 2 and 7.6, and A-2 for AMD.

Written from the reference page alone and importing nothing of tlbcheck, so that the machine in
``tlbcheck.machine.x86`` has something to be held against.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Registers:
    """The registers and settings that some rule reads, before the operation."""

    pg: bool = True
    pge: bool = False
    pcide: bool = False
    pae: bool = True
    pse: bool = False
    smep: bool = False
    cr3_low12: int = 0
    maxphyaddr: int = 52
    long_mode: bool = True
    has_pcid: bool = True
    has_invpcid: bool = True

    @property
    def current_tag(self) -> int:
        """I-TAG1."""
        return self.cr3_low12 if self.pcide else 0


@dataclass(frozen=True)
class Entry:
    tag: int
    is_global: bool
    page: int = 0


@dataclass(frozen=True)
class Op:
    """One operation with what it is given; ``kind`` is the name that the machine has for it, ``address_bit`` the highest bit of 62:12 that CR3 gets."""

    kind: str
    pg: bool = False
    pge: bool = False
    pcide: bool = False
    pae: bool = False
    pse: bool = False
    smep: bool = False
    low12: int = 0
    address_bit: int = 12
    bit63: bool = False
    descriptor: int = 0
    page: int = 0
    canonical: bool = True


def possible(k: Registers) -> bool:
    """I-TAG5 and what 64-bit mode needs: PCIDE only in IA-32e mode with PCIDs, which has paging and PAE on."""
    return (not k.pcide or (k.long_mode and k.has_pcid)) and (not k.long_mode or (k.pg and k.pae))


def can_be_cached(e: Entry, k: Registers) -> bool:
    """I-TAG4, and I-G1 with a change of PGE dropping everything."""
    return (k.pcide or e.tag == 0) and (k.pge or not e.is_global)


def fault(op: Op, k: Registers) -> str:
    """The exception that is raised, or nothing; #UD comes before #GP."""
    match op.kind:
        case "MOV to CR0":
            return "#GP" if k.pg and not op.pg and (k.pcide or k.long_mode) else ""
        case "MOV to CR3":
            return "#GP" if op.address_bit >= k.maxphyaddr or (op.bit63 and not k.pcide) else ""
        case "MOV to CR4":
            enabling = op.pcide and not k.pcide
            bad = (enabling and (not k.long_mode or k.cr3_low12 != 0)) or (op.pcide and not k.has_pcid) or (k.long_mode and k.pae and not op.pae)
            return "#GP" if bad else ""
        case "INVPCID 0" | "INVPCID 1" | "INVPCID 2" | "INVPCID 3":
            if not k.has_invpcid:
                return "#UD"
            if op.kind in ("INVPCID 2", "INVPCID 3"):
                return ""
            bad = op.descriptor >> 12 != 0 or (not k.pcide and op.descriptor != 0)
            return "#GP" if bad or (op.kind == "INVPCID 0" and not op.canonical) else ""
    return ""


def must_drop(op: Op, e: Entry, k: Registers, profile: str) -> bool:
    """Whether an operation that does not fault removes an entry; ``common`` keeps the rules that both manuals have."""
    intel, amd = profile == "intel", profile == "amd"
    match op.kind:
        case "MOV to CR0":
            return op.pg != k.pg if amd else k.pg and not op.pg
        case "MOV to CR3":
            if not k.pcide:
                return e.tag == 0 and not e.is_global
            return not op.bit63 and e.tag == op.low12 and not e.is_global
        case "MOV to CR4":
            if op.pge != k.pge or (k.pcide and not op.pcide):
                return True
            if amd and (op.pae != k.pae or op.pse != k.pse):
                return True
            return (op.pae != k.pae or (intel and op.smep and not k.smep)) and e.tag == k.current_tag
        case "INVLPG":
            return op.canonical and e.page == op.page and (e.tag == k.current_tag or e.is_global)
        case "INVPCID 0":
            return e.tag == op.descriptor and not e.is_global and e.page == op.page
        case "INVPCID 1":
            return e.tag == op.descriptor and not e.is_global
        case "INVPCID 2":
            return True
        case "INVPCID 3":
            return not e.is_global
    return False
