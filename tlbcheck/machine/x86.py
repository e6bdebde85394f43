"""The x86 processor's TLB rules: control registers, PCIDs, global pages, invalidation, faults.

Sources: Intel SDM vol. 3A section 4.10 (numbers of the June 2016 edition), vol. 2 for the
instructions; AMD APM vol. 2 section 5.5. Rule ids (I-*, F-*, A-*) are those of the reference
page x86-tlb.md. Each operation is serializing, hence one step (SDM 8.3). A clause that only one
vendor promises is marked; the profile ``common`` keeps what both promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tlbcheck.errors import InputError
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, bit, const, eq, ite, not_, or_, var, word_op
from tlbcheck.lang.model import Amendment, CacheKind, Ghost, Notation, Property, Repair, operation, walk_from
from tlbcheck.lang.program import Clause, Operation, StateVar, setting
from tlbcheck.lang.scope import Names
from tlbcheck.lang.types import BOOL, U64, IntType, Type

X86_CR0_PG = 1 << 31
X86_CR3_NOFLUSH = 1 << 63
X86_CR3_PCID_MASK = 0xFFF
X86_CR3_ADDR_MASK = ((1 << 52) - 1) & ~0xFFF
X86_CR4_TSD = 1 << 2
X86_CR4_DE = 1 << 3
X86_CR4_PSE = 1 << 4
X86_CR4_PAE = 1 << 5
X86_CR4_PGE = 1 << 7
X86_CR4_FSGSBASE = 1 << 16
X86_CR4_PCIDE = 1 << 17
X86_CR4_OSXSAVE = 1 << 18
X86_CR4_SMEP = 1 << 20
X86_CR4_SMAP = 1 << 21

CR0 = StateVar("cr0", U64, per_cpu=True, register=True)
CR3 = StateVar("cr3", U64, per_cpu=True, register=True)
CR4 = StateVar("cr4", U64, per_cpu=True, register=True)
IF = StateVar("if", BOOL, per_cpu=True, register=True)

# What the processor supports and the mode it is in; a model says otherwise in Model.settings.
HAS_PCID = setting("pcid", BOOL)
HAS_INVPCID = setting("invpcid", BOOL)
LONG_MODE = setting("lma", BOOL)
SETTINGS: Mapping[str, Expr] = {"setting.pcid": TRUE, "setting.invpcid": TRUE, "setting.lma": TRUE}
MAXPHYADDR = ite(setting("maxphyaddr_is_52", BOOL), const(52, U64), setting("maxphyaddr", U64))
"""The width of physical addresses: 52 bits, the most that there are, unless the model's settings say another."""


def maxphyaddr(bits: int) -> Mapping[str, Expr]:
    """The settings of a processor whose physical addresses have so many bits (CPUID.80000008H:EAX[7:0]).

    Raises ``InputError`` for a width that no processor with IA-32e mode has.
    """
    if not 36 <= bits <= 52:
        raise InputError(f"physical addresses of {bits} bits", hint="36 to 52: what CPUID.80000008H:EAX[7:0] says")
    return {"setting.maxphyaddr_is_52": FALSE, "setting.maxphyaddr": const(bits, U64)}


_INTEL = frozenset({"intel"})
_AMD = frozenset({"amd"})


def _set(word: Expr, mask: int) -> Expr:
    return bit(word, mask.bit_length() - 1)


_VALUE = var("arg.value", U64)
_PG, _NEW_PG = _set(CR0.expr, X86_CR0_PG), _set(_VALUE, X86_CR0_PG)
_PGE, _NEW_PGE = _set(CR4.expr, X86_CR4_PGE), _set(_VALUE, X86_CR4_PGE)
_PCIDE, _NEW_PCIDE = _set(CR4.expr, X86_CR4_PCIDE), _set(_VALUE, X86_CR4_PCIDE)
_PAE, _NEW_PAE = _set(CR4.expr, X86_CR4_PAE), _set(_VALUE, X86_CR4_PAE)
_PSE, _NEW_PSE = _set(CR4.expr, X86_CR4_PSE), _set(_VALUE, X86_CR4_PSE)
_SMEP, _NEW_SMEP = _set(CR4.expr, X86_CR4_SMEP), _set(_VALUE, X86_CR4_SMEP)
_NOFLUSH = _set(_VALUE, X86_CR3_NOFLUSH)
_LOW12 = CR3.expr & X86_CR3_PCID_MASK

PCIDE = _PCIDE
ROOT_ADDRESS = CR3.expr & X86_CR3_ADDR_MASK
CURRENT_TAG = ite(_PCIDE, _LOW12, const(0, U64))
"""I-TAG1: the tag of entries created now."""

TAG = var("entry.tag", U64)
PAGE = var("entry.page", None)
GLOBAL = var("entry.global", BOOL)
USABLE = or_(eq(TAG, CURRENT_TAG), GLOBAL)
"""I-TAG3: a translation may use entries of the current tag, and global ones under every tag."""


def _differ(a: Expr, b: Expr) -> Expr:
    return not_(eq(a, b))


MOV_FROM_CR0 = Operation("MOV from CR0", result=CR0.expr, text="reads CR0")
MOV_TO_CR0 = Operation(
    "MOV to CR0",
    (("value", U64),),
    faults=(
        Clause("F-6: SDM 4.10.1, clearing CR0.PG with CR4.PCIDE=1", (_PG, not_(_NEW_PG), _PCIDE), exception="#GP"),
        Clause("F-6: SDM vol. 2 MOV CR, clearing CR0.PG in 64-bit mode", (_PG, not_(_NEW_PG), LONG_MODE), exception="#GP"),
    ),
    effects=((CR0, _VALUE),),
    drops=(
        Clause("SDM 4.10.4.1, APM 5.5: CR0.PG 1->0 drops everything", (_PG, not_(_NEW_PG))),
        Clause("APM 5.5: CR0.PG 0->1 drops everything", (not_(_PG), _NEW_PG), _AMD),
    ),
    text="writes CR0 := {value}",
)
MOV_FROM_CR3 = Operation("MOV from CR3", result=CR3.expr, text="reads CR3")  # F-3b: bit 63 is never stored
MOV_TO_CR3 = Operation(
    "MOV to CR3",
    (("value", U64),),
    faults=(
        # LAM, which gives bits 62:61 a meaning on some processors, is not modelled: they are reserved.
        Clause("F-1: SDM vol. 2 MOV CR, a bit of 62:MAXPHYADDR is set", (_differ(word_op("shr", _VALUE & ~X86_CR3_NOFLUSH, MAXPHYADDR), const(0, U64)),), exception="#GP"),
        Clause("F-2: SDM 4.5, bit 63 is reserved while CR4.PCIDE=0", (_NOFLUSH, not_(_PCIDE)), exception="#GP"),
    ),
    effects=((CR3, _VALUE & ~X86_CR3_NOFLUSH),),
    drops=(
        Clause("SDM 4.10.4.1: with PCIDE=0, non-global entries of PCID 0", (not_(_PCIDE), eq(TAG, 0), not_(GLOBAL))),
        Clause("SDM 4.10.4.1: with PCIDE=1 and bit 63 clear, non-global entries of the new PCID", (_PCIDE, not_(_NOFLUSH), eq(TAG, _VALUE & X86_CR3_PCID_MASK), not_(GLOBAL))),
    ),
    text="writes CR3 := {value}",
)
MOV_FROM_CR4 = Operation("MOV from CR4", result=CR4.expr, text="reads CR4")
MOV_TO_CR4 = Operation(
    "MOV to CR4",
    (("value", U64),),
    faults=(
        Clause("F-4: SDM 4.10.1, setting PCIDE while CR3[11:0] is not 0", (_NEW_PCIDE, not_(_PCIDE), _differ(_LOW12, const(0, U64))), exception="#GP"),
        Clause("F-4: SDM 4.10.1, setting PCIDE outside IA-32e mode", (_NEW_PCIDE, not_(_PCIDE), not_(LONG_MODE)), exception="#GP"),
        Clause("F-7: PCIDE is reserved where CPUID.1:ECX[17]=0", (_NEW_PCIDE, not_(HAS_PCID)), exception="#GP"),
        Clause("F-7: clearing PAE in IA-32e mode", (_PAE, not_(_NEW_PAE), LONG_MODE), exception="#GP"),
    ),
    effects=((CR4, _VALUE),),
    drops=(
        Clause("SDM 4.10.4.1, APM 5.5: a change of CR4.PGE drops everything", (_differ(_PGE, _NEW_PGE),)),
        Clause("SDM 4.10.4.1, APM 5.5: PCIDE 1->0 drops everything", (_PCIDE, not_(_NEW_PCIDE))),
        Clause("SDM 4.10.4.1: a change of CR4.PAE drops entries of the current PCID", (_differ(_PAE, _NEW_PAE), eq(TAG, CURRENT_TAG))),
        Clause("APM 5.5: a change of CR4.PAE drops everything", (_differ(_PAE, _NEW_PAE),), _AMD),
        Clause("APM 5.5: a change of CR4.PSE drops everything", (_differ(_PSE, _NEW_PSE),), _AMD),
        Clause("SDM 4.10.4.1: SMEP 0->1 drops entries of the current PCID", (not_(_SMEP), _NEW_SMEP, eq(TAG, CURRENT_TAG)), _INTEL),
    ),
    text="writes CR4 := {value}",
)

_LA = var("arg.page", None)
_CANONICAL = var("arg.canonical", BOOL)
_PCID = var("arg.pcid", U64)
INVLPG = Operation(
    "INVLPG",
    (("page", None), ("canonical", BOOL)),
    drops=(Clause("SDM 4.10.4.1: the page under the current PCID, and global under any", (_CANONICAL, eq(PAGE, _LA), USABLE)),),
    text="INVLPG {page}",
)

_UNDEFINED = Clause("F-8: SDM vol. 2 INVPCID, not enumerated in CPUID.7.0:EBX[10]", (not_(HAS_INVPCID),), exception="#UD")
_RESERVED = Clause("F-11: SDM vol. 2 INVPCID, descriptor bits 63:12 not 0", (_differ(word_op("shr", _PCID, const(12, U64)), const(0, U64)),), exception="#GP")
_NO_PCIDE = Clause("F-12: SDM vol. 2 INVPCID, types 0 and 1 with a PCID while PCIDE=0", (not_(_PCIDE), _differ(_PCID, const(0, U64))), exception="#GP")
INVPCID_ADDRESS = Operation(
    "INVPCID 0",
    (("pcid", U64), ("page", None), ("canonical", BOOL)),
    faults=(_UNDEFINED, _RESERVED, _NO_PCIDE, Clause("F-13: SDM vol. 2 INVPCID, type 0 with a non-canonical address", (not_(_CANONICAL),), exception="#GP")),
    drops=(Clause("SDM 4.10.4.1: the page under that PCID, not global", (eq(TAG, _PCID), not_(GLOBAL), eq(PAGE, _LA))),),
    text="INVPCID type 0: {page} of PCID {pcid}",
)
INVPCID_CONTEXT = Operation(
    "INVPCID 1",
    (("pcid", U64),),
    faults=(_UNDEFINED, _RESERVED, _NO_PCIDE),
    drops=(Clause("SDM 4.10.4.1: entries of that PCID, not global", (eq(TAG, _PCID), not_(GLOBAL))),),
    text="INVPCID type 1: everything but global entries of PCID {pcid}",
)
INVPCID_ALL = Operation(
    "INVPCID 2",
    faults=(_UNDEFINED,),
    drops=(Clause("SDM 4.10.4.1: everything", ()),),
    text="INVPCID type 2: everything, global entries too",
)
INVPCID_ALL_NONGLOBAL = Operation(
    "INVPCID 3",
    faults=(_UNDEFINED,),
    drops=(Clause("SDM 4.10.4.1: everything that is not global", (not_(GLOBAL),)),),
    text="INVPCID type 3: everything but global entries",
)

PUSHF = Operation("PUSHF", result=IF.expr, text="reads IF")
PUSHF_CLI = Operation("PUSHF; CLI", result=IF.expr, effects=((IF, const(0, BOOL)),), text="saves IF and disables interrupts")
POPF = Operation("POPF", (("flags", BOOL),), effects=((IF, var("arg.flags", BOOL)),), text="restores IF := {flags}")
CLI = Operation("CLI", effects=((IF, const(0, BOOL)),), text="disables interrupts")
STI = Operation("STI", effects=((IF, const(1, BOOL)),), text="enables interrupts")

OPERATIONS = (
    MOV_FROM_CR0, MOV_TO_CR0, MOV_FROM_CR3, MOV_TO_CR3, MOV_FROM_CR4, MOV_TO_CR4,
    INVLPG, INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NONGLOBAL, PUSHF_CLI, POPF, CLI, STI,
)  # fmt: skip


_DEEPEST = 7


@dataclass(frozen=True, eq=False)
class Sections:
    """How deep a role's code is inside sections with interrupts off, PUSHF; CLI to POPF, that nest."""

    depth: Ghost

    @property
    def outside(self) -> Expr:
        return eq(self.depth.expr, 0)

    @property
    def deeper(self) -> Expr:
        """The depth after one more PUSHF; CLI; beyond 7 it is not counted."""
        return self._after([*range(1, _DEEPEST + 1), _DEEPEST])

    @property
    def less_deep(self) -> Expr:
        """The depth after a POPF."""
        return self._after([0, *range(_DEEPEST)])

    def _after(self, depths: Sequence[int]) -> Expr:
        made = const(depths[-1], self.depth.type)
        for depth, after in reversed(list(enumerate(depths[:-1]))):
            made = ite(eq(self.depth.expr, depth), const(after, self.depth.type), made)
        return made


def sections(monitor: Property, role: str, at_start: Mapping[Ghost, Expr], *, frame: bool = False) -> Sections:
    """Follow the sections with interrupts off in ``role``'s code; where an outermost one begins, ghosts change as ``at_start`` says.

    A helper's section inside another is no beginning, and its end no end: interrupts stay off.
    """
    made = Sections(monitor.ghost("sections", IntType(0, _DEEPEST), frame=frame))
    begun = {ghost: ite(made.outside, value, ghost.expr) for ghost, value in at_start.items()}
    monitor.on(operation(PUSHF_CLI.name, within=role), {**begun, made.depth: made.deeper})
    monitor.on(operation(POPF.name, within=role), {made.depth: made.less_deep})
    return made


@dataclass(frozen=True, eq=False)
class Invariants:
    """What an x86 TLB never holds; proved for the operations above in tests/machine.

    ``tag`` (I-TAG4): while PCIDE=0 nothing is cached for a PCID other than 0. ``global_``: while
    PGE=0 no global entry is cached (I-G1, and a change of PGE drops everything).
    """

    tag: Expr
    global_: Expr


INVARIANTS = Invariants(tag=or_(_PCIDE, eq(TAG, 0)), global_=or_(_PGE, not_(GLOBAL)))

RELOAD_FLUSHES = Amendment(MOV_TO_CR3, "value", _VALUE & ~X86_CR3_NOFLUSH, "may reload the PCID that is in use without a flush", "clear bit 63 (NOFLUSH) of the value")
"""What a reviewer would try first of a CR3 value."""


def tlb(
    *,
    tags: tuple[int, ...],
    fields: tuple[tuple[str, Type, tuple[int, ...]], ...],
    walk: Expr,
    leaf_global: Expr,
    possible: Expr = TRUE,
    initial: Expr = TRUE,
    describe: Callable[[Mapping[str, int]], str],
) -> CacheKind:
    """The TLB of a model.

    ``fields`` are the model's own fields besides tag and global bit; ``page`` is the one that
    INVLPG and INVPCID 0 compare. ``walk``: the tree under CR3 maps what the entry says
    (I-FILL2: at any instant, whatever IF and the program). ``leaf_global``: its leaf has G set.
    """
    return CacheKind(
        name="TLB",
        fields=(("tag", U64, tags), ("global", BOOL, (0, 1)), *fields),
        possible=possible,
        fill=and_(_PG, eq(TAG, CURRENT_TAG), eq(GLOBAL, and_(leaf_global, _PGE)), walk),
        initial=and_(INVARIANTS.tag, INVARIANTS.global_, initial),
        describe=describe,
        scope={"tag": "pcids", **{n: f"{n}s" for n, _, _ in fields if n in ("page", "frame")}},
        tag="tag",
        names={"tag": Names(X86_CR3_PCID_MASK, {t: str(t) for t in tags}, {"cr3": 0, "entry.tag": 0}, chosen=True)},
        repairs=(
            *(Repair(f"INVLPG of {t.show(page)}", INVLPG, (const(page, t), TRUE)) for n, t, pages in fields if n == "page" for page in pages),
            Repair("a flush of everything (INVPCID type 2)", INVPCID_ALL),
            RELOAD_FLUSHES,
        ),
    )


def show_cr3(value: int) -> str:
    """CR3 for people: root address and PCID."""
    noflush = " NOFLUSH" if value & X86_CR3_NOFLUSH else ""
    return f"root {value & X86_CR3_ADDR_MASK:#x} PCID {value & X86_CR3_PCID_MASK}{noflush}"


_CR4_BITS = {name[8:]: mask for name, mask in sorted(globals().items(), key=lambda x: str(x[1])) if name.startswith("X86_CR4_")}


def show_cr4(value: int) -> str:
    """CR4 for people: the bits that matter for translations, and TSD, by name."""
    shown = [name for name in ("PGE", "PCIDE", "SMEP", "TSD") if value & _CR4_BITS[name]]
    return "|".join(shown) or "0"


def steps(action: str, operands: Mapping[str, int]) -> str | None:
    """The short notation of xen.md section 0: ``W4[E]``, ``W3[1n]``, ``F3``, ..."""
    value, pcid = operands.get("value", 0), operands.get("pcid", 0)
    match action:
        case "MOV to CR4":
            return f"W4[{'G' if value & X86_CR4_PGE else 'E' if value & X86_CR4_PCIDE else 'N'}]"
        case "MOV to CR3":
            return f"W3[{value & X86_CR3_PCID_MASK}{'n' if value & X86_CR3_NOFLUSH else 'f'}]"
        case "INVPCID 0":
            return f"F0({pcid},va)"
        case "INVPCID 1":
            return f"F1[{pcid}]"
        case "INVPCID 2" | "INVPCID 3":
            return f"F{action[-1]}"
        case "INVLPG":
            return "IV(va)"
    return None


def walks(registers: Mapping[str, str]) -> str:
    """Where a walk starts: at the root that CR3 holds, for the current PCID."""
    return walk_from(registers.get("cr3", ""))


NOTATION = Notation(
    values={"cr3": show_cr3, "cr4": show_cr4, "cr0": hex, "MOV to CR3.value": show_cr3, "MOV to CR4.value": show_cr4, "MOV to CR0.value": hex, "INVPCID 1.pcid": str, "INVPCID 0.pcid": str},
    fields={"cr3": {"root": X86_CR3_ADDR_MASK, "pcid": X86_CR3_PCID_MASK}, "cr4": {name: _CR4_BITS[name] for name in ("PGE", "PCIDE", "SMEP", "TSD")}},
    steps=steps,
    walks=walks,
)
