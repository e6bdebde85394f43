"""Mutated C and cut-off files: the front end reads them or refuses them, and always ends.

TLBCHECK_FUZZ=N tries N examples of each (default 60).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbcheck.c import load_profile, read_unit
from tlbcheck.c.profile import Profile
from tlbcheck.errors import InputError
from tlbcheck.lang.source import Gap, Source, source_of
from tlbcheck.library import _home, load_file

EXAMPLES = int(os.environ.get("TLBCHECK_FUZZ", "60"))
TEXT = """
#ifndef CONFIG_PV
# undef X86_CR4_PCIDE
# define X86_CR4_PCIDE 0
#endif
#define PCID(x) ((x) & X86_CR3_PCID_MASK)
static inline u32 helper(unsigned long x, const bool y) { return y ? x >> 3 : ~x; }
static void loop(void)
{
    unsigned int i = 0, n;
    for ( n = 4; i < n; i++ )
        if ( i & 1 ) continue; else { write_cr4(read_cr4()); break; }
    do { i--; } while ( i );
    switch ( n ) { case 1: invpcid_flush_all(); break; default: return; }
}
void switch_cr3_cr4(struct vcpu *v, unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4;
    struct { unsigned long pcid:12, rest:52; unsigned long addr; } desc = { .pcid = cr3 };
    ASSERT(!(cr4 & X86_CR4_PCIDE) || !(cr4 & X86_CR4_PGE));
    local_irq_save(flags);
    if ( (old_cr4 = read_cr4()) & X86_CR4_PGE && PCID(cr3) != helper(cr4, 1) )
        write_cr4(old_cr4 &= ~X86_CR4_PGE); /* off */
    else if ( use_invpcid )
        asm volatile ( "invpcid %[d], %q[t]" : : [d] "m" (desc), [t] "r" (3UL) : "memory" );
    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );
    this_cpu(pgtable_vcpu) = v;
    loop();
    local_irq_restore(flags);
}
"""
PIECES = [*"(){}[];,:?~!&|^+-*/<>=#\"'\\\n", "/*", "*/", "//", "\\\n", "#if 1\n", "#else\n", "#endif\n", "#define A A A\n", "#define B(x) x x x\n", "B(B(B(B(1))))"]
PIECES += [
    "if (",
    "else ",
    "while (1) ",
    "for (;;) ",
    "do ",
    "switch (cr3) { case 1: ",
    "return ",
    "goto x;",
    "asm (",
    "cr3",
    "cr4++",
    "helper(",
    "0x",
    "1UL << 64",
    "&cr3",
    "(u32)",
    "struct ",
    "\0",
    "é",
    "##",
]
PIECES += ["(" * 300, "!" * 3000, "{" * 500, "1 + " * 2000, "if (cr3) " * 500]


def profile() -> Profile:
    folder = _home("models") / "xen"
    return load_profile([folder / "xen.toml"], load_file(folder / "c_names.py").VOCABULARY)


PROFILE = profile()
_SETTINGS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def attempt(text: str, gaps: tuple[Gap, ...] = ()) -> bool:
    """Whether ``text`` can be read; only an ``InputError`` may say that it cannot."""
    source = source_of(text, "fuzz.c")
    try:
        unit = read_unit(Source("fuzz.c", source.lines, gaps), PROFILE)
        unit.assumptions(unit.procedure(role="switch"))
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        return False
    return True


def test_the_text_that_is_mutated_can_be_read() -> None:
    assert attempt(TEXT)


@_SETTINGS
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=5))
def test_mutated_text_is_read_or_refused(edits: list[tuple[int, int, str]]) -> None:
    text = TEXT
    for at, dropped, piece in edits:
        text = text[:at] + piece + text[at + dropped :]
    attempt(text)


@_SETTINGS
@given(st.integers(0, len(TEXT)), st.booleans())
def test_cut_off_text_is_refused_unless_the_rest_is_a_known_gap(at: int, known: bool) -> None:
    text = TEXT[:at]
    lines = source_of(text, "fuzz.c").lines
    gaps = (Gap(len(lines), "the end was not seen", lines[-1].place),) if known and lines else ()
    whole = attempt(text, gaps)
    assert not whole or known or text.rstrip().endswith("}")


@_SETTINGS
@given(st.lists(st.sampled_from([*PIECES, "void switch_cr3_cr4(unsigned long cr3) {", "x", " "]), max_size=40))
def test_heaps_of_pieces_are_refused(pieces: list[str]) -> None:
    attempt("".join(pieces))


@_SETTINGS
@given(st.text(max_size=200))
def test_any_text_in_a_body_is_read_or_refused(text: str) -> None:
    attempt("void switch_cr3_cr4(unsigned long cr3, unsigned long cr4) {\n" + text + "\n}\n")
