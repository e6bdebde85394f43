"""The same switch written in C and in Python: z3 decides that it compiles to equivalent steps."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
import z3
from quick import sampled

from tlbcheck.c import load_profile, read_unit
from tlbcheck.engines.encoding import Translator
from tlbcheck.lang.expr import TRUE, Expr, and_, const, eq, or_, substitute, var, variables, word_op
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import source_of
from tlbcheck.lang.types import BoolType, WordType
from tlbcheck.library import _home, find_models, load_file, properties
from tlbcheck.system.known_bits import width
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import Bad, Step, TransitionSystem

FLUSH_ONCE = """
void switch_cr3_cr4_flush_once(struct vcpu *next, unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4;
    u32 stamp = 0;

    ASSERT(!(cr4 & X86_CR4_PCIDE) || !(cr4 & X86_CR4_PGE));
    local_irq_save(flags);
    if ( tlb_clk_enabled )
        stamp = pre_flush();
    hvm_flush_guest_tlbs();
    old_cr4 = read_cr4();
    ASSERT((old_cr4 & X86_CR4_PCIDE) == 0 || (old_cr4 & X86_CR4_PGE) == 0);
    if ( !(X86_CR4_PCIDE & old_cr4) && ((cr4 & X86_CR4_PCIDE) || (old_cr4 & cr4 & X86_CR4_PGE)) )
        write_cr4(old_cr4 = cr4 & ~(unsigned long)X86_CR4_PGE);
    cr3 |= (old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE) ? X86_CR3_NOFLUSH : 0;
    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );
    this_cpu(pgtable_vcpu) = next;
    if ( !(old_cr4 == cr4) )
        write_cr4(cr4);
    if ( cr4 & X86_CR4_PCIDE ) /* the only flush that is left */
        invpcid_flush_all_nonglobals();
    if ( tlb_clk_enabled )
        post_flush(stamp);
    local_irq_restore(flags);
}
"""
V5 = """
#define PCID(x) ((x) & X86_CR3_PCID_MASK)
void write_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;
    unsigned long old_pcid = PCID(read_cr3());
    u32 t;

    local_irq_save(flags);
    t = pre_flush();
    unsigned long old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
        /* PCIDs are off */
        write_cr4(cr4 & ~X86_CR4_PGE);
    else if ( likely(use_invpcid) )
        invpcid_flush_all_nonglobals();
    write_cr3(cr3);
    if ( read_cr4() != cr4 )
        write_cr4(cr4);
    else if ( old_pcid != PCID(cr3) )
        invpcid_flush_single_context(old_pcid);
    post_flush(t);
    local_irq_restore(flags);
}
"""
XSA_292 = """
void switch_cr3_cr4_xsa_292(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4;
    unsigned int old_pcid, t;

    local_irq_save(flags);
    t = pre_flush();
    if ( (old_cr4 = read_cr4()) & X86_CR4_PGE )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    else if ( use_invpcid )
    {
        invpcid_flush_all_nonglobals();
        if ( (cr4 & X86_CR4_PCIDE) > (old_cr4 & X86_CR4_PCIDE) )
        {
            write_cr4(cr4);
            old_cr4 = cr4;
        }
    }
    old_pcid = cr3_pcid(read_cr3());
    if ( old_pcid == cr3_pcid(cr3) )
        cr3 &= ~X86_CR3_NOFLUSH;
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
    if ( old_pcid != cr3_pcid(cr3) && !(cr4 & X86_CR4_PGE) && (old_cr4 & X86_CR4_PCIDE) <= (cr4 & X86_CR4_PCIDE) )
        invpcid_flush_single_context(old_pcid);
    post_flush(t);
    local_irq_restore(flags);
}
"""
SAME = {"xen/flush-once": FLUSH_ONCE, "xen/pcid-v5": V5, "xen/gp-fix": XSA_292}
CHANGED = [
    ("xen/flush-once", "if ( !(old_cr4 == cr4) )", "if ( (u32)old_cr4 == cr4 )"),
    ("xen/flush-once", "> (cr4 & X86_CR4_PCIDE) ?", ">= (cr4 & X86_CR4_PCIDE) ?"),
    ("xen/flush-once", "~(unsigned long)X86_CR4_PGE", "~(u32)X86_CR4_PGE"),
    ("xen/flush-once", '"r" (cr3)', '"r" (cr3 + 0x1000)'),
    ("xen/pcid-v5", "((x) & X86_CR3_PCID_MASK)", "((x) & 0x7ff)"),
    ("xen/gp-fix", "cr3 &= ~X86_CR3_NOFLUSH", "cr3 &= ~(u32)X86_CR3_NOFLUSH"),
    ("xen/gp-fix", "old_cr4 = cr4;", "old_cr4 = cr3;"),
]


def in_c(name: str, text: str) -> Model:
    """The model ``name`` with its switch replaced by one in C."""
    folder = _home("models") / "xen"
    callers = load_file(folder / "callers.py")
    profile = load_profile([folder / "xen.toml"], load_file(folder / "c_names.py").VOCABULARY)
    unit = read_unit(source_of(text, "switch.c"), profile)
    [function] = [f for f in unit.functions if f.startswith(("switch", "write"))]
    (model,) = find_models(name)
    # The variants repair lines of the Python that the C takes the place of.
    return replace(model, procedures={**model.procedures, callers.switch_cr3_cr4: unit.procedure(function, "switch")}, variants={})


@cache
def in_python(name: str) -> TransitionSystem:
    (model,) = find_models(name)
    return lower(model, list(properties().values()))


_CALL = re.compile(r"(\w+)@(\d+)\.(\d+)")


def numbered(system: TransitionSystem) -> dict[str, str]:
    """Names of variables with the places of calls replaced by their order."""
    names = [v.name for v in system.control]
    calls = sorted({(m[1], int(m[2]), int(m[3])) for n in names for m in _CALL.finditer(n)})
    order = {f"{f}@{line}.{column}": f"{f}#{sum(c[0] == f and c < (f, line, column) for c in calls)}" for f, line, column in calls}
    return {n: _CALL.sub(lambda m: order[m[0]], n) for n in names}


def shape(step: Step) -> tuple[object, ...]:
    """What a step is; a failed assertion is named by its text, which the languages write differently."""
    return step.action, step.exception, step.level, step.roles, [(e.kind, "" if e.kind == "assert" else e.name) for e in step.events]


def judged(bad: Bad) -> tuple[str, str]:
    return bad.property, "" if bad.property == "no-fault" else bad.clause


class Comparison:
    def __init__(self, one: TransitionSystem, other: TransitionSystem) -> None:
        self.systems = (one, other)
        self.renamed = [numbered(s) for s in self.systems]
        types = {self.renamed[0].get(v.name, v.name): v.type for v in (*one.control, *one.entry_fields, *one.entry_variables)}
        theirs = {self.renamed[1].get(v.name, v.name): v.type for v in (*other.control, *other.entry_fields, *other.entry_variables)}
        # a narrower local is compared as the wide one that it is a part of
        self.types = {n: max((x for x in (types.get(n), theirs.get(n)) if x is not None), key=width) for n in {**types, **theirs}}
        self.shapes = (types.keys(), theirs.keys())

    def expr(self, side: int, e: Expr) -> Expr:
        return substitute(e, {n: var(self.renamed[side][n], v.type) for n, v in variables(e).items() if n in self.renamed[side]})

    def differs(self, a: Expr, b: Expr, given: Expr = TRUE) -> bool:
        names = variables(a) | variables(b) | variables(given)
        terms = {n: z3.Bool(n) if isinstance(v.type, BoolType) else z3.BitVec(n, width(v.type)) for n, v in names.items() if v.type is not None}
        translate = Translator(terms)
        x, y = translate(a), translate(b)
        if not z3.is_bool(x) and x.size() != y.size():
            size = max(x.size(), y.size())
            x, y = (z3.ZeroExt(size - t.size(), t) for t in (x, y))
        solver = z3.Solver()
        solver.add(translate(given), x != y)
        return bool(solver.check() != z3.unsat)

    def small(self, e: Expr) -> Expr:
        assert isinstance(e.type, WordType)
        return eq(word_op("shr", e, const(12, e.type)), const(0, e.type))

    def first_difference(self) -> str:
        """What differs first, empty if nothing does."""
        one, other = self.systems
        if set(self.shapes[0]) != set(self.shapes[1]):
            return f"variables {sorted(set(self.shapes[0]) ^ set(self.shapes[1]))}"
        if len(one.steps) != len(other.steps):
            return "number of steps"
        for a, b in zip((*one.initial, *one.steps), (*other.initial, *other.steps), strict=True):
            if found := self.step(a, b):
                return f"{a.action}: {found}"
        return ""

    def step(self, a: Step, b: Step) -> str:
        if shape(a) != shape(b):
            return "what it is"
        # C hands PCIDs on as unsigned int: the same as long as no local holds more, which each step preserves
        small = and_(*(self.small(var(n, t)) for n, t in self.types.items() if n.endswith(":old_pcid")))
        mine_now, theirs_now = and_(small, self.expr(0, a.guard)), and_(small, self.expr(1, b.guard))
        if self.differs(mine_now, theirs_now):
            return "its guard"
        guard = mine_now
        for kind in ("updates", "entry_updates"):
            mine = {self.renamed[0].get(n, n): self.expr(0, e) for n, e in getattr(a, kind).items()}
            theirs = {self.renamed[1].get(n, n): self.expr(1, e) for n, e in getattr(b, kind).items()}
            for n in {**mine, **theirs}:
                kept = (mine.get(n) or theirs[n]).type if (n in mine) != (n in theirs) else None
                if self.differs(mine.get(n, var(n, kept)), theirs.get(n, var(n, kept)), guard):
                    return f"what becomes of {n}"
                if n.endswith(":old_pcid") and n in mine and n in theirs and any(self.differs(self.small(e), TRUE, guard) for e in (mine[n], theirs[n])):
                    return f"{n} is no PCID"
        for clause in {judged(x) for x in (*a.bads, *b.bads)}:
            bad = [or_(*(self.expr(i, x.when) for x in s.bads if judged(x) == clause)) for i, s in enumerate((a, b))]
            if self.differs(bad[0], bad[1], guard):
                return f"clause {clause}"
        return ""


def compared(name: str, text: str) -> str:
    return Comparison(lower(in_c(name, text), list(properties().values())), in_python(name)).first_difference()


@pytest.mark.parametrize("name", sampled(SAME, keep=1))
def test_c_and_python_compile_to_equivalent_steps(name: str) -> None:
    assert compared(name, SAME[name]) == ""


@pytest.mark.parametrize(("name", "line", "other"), sampled(CHANGED, keep=1))
def test_a_changed_line_is_told_apart(name: str, line: str, other: str) -> None:
    assert SAME[name].count(line) == 1
    assert compared(name, SAME[name].replace(line, other)) != ""


def test_the_comparison_sees_a_constant() -> None:
    comparison = Comparison(in_python("xen/flush-once"), in_python("xen/flush-once"))
    system = in_python("xen/flush-once")
    word = next(v for v in system.control if v.name == "cpu0.cr4")
    assert comparison.differs(var(word.name, word.type), const(0, word.type))
