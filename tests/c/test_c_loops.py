"""Loops that count: right, whatever counts them and wherever they take their steps, or refused; never wrong."""

from __future__ import annotations

import pytest

from tlbcheck.errors import InputError
from tlbcheck.fit import fit
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.source import source_of
from tlbcheck.library import find_properties
from tlbcheck.matrix import matrix

FLUSH = "{ write_cr4(cr4 & ~X86_CR4_PGE); write_cr4(cr4); }"
SWITCH = """
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;
    DECLARED;

    local_irq_save(flags);
    write_cr3(cr3 & ~X86_CR3_NOFLUSH);
    LOOP
    local_irq_restore(flags);
}
"""


def clean(declared: str, loop: str) -> bool:
    """Whether the switch is clean whose flush of global entries is FLUSH in ``loop``. Without PV guests: every context has PGE."""
    text = SWITCH.replace("DECLARED", declared).replace("LOOP", loop.replace("FLUSH", FLUSH))
    model = fit(source_of(text, "switch.c"), Reading(undefines=("CONFIG_PV",)))
    return all(row.verdict == "clean" for row in matrix(model, find_properties(["missing-flush"])[0]))


@pytest.mark.parametrize(
    ("declared", "loop", "right"),
    [
        ("unsigned int n = 3", "while ( n-- ) write_cr3(read_cr3()); FLUSH", True),
        ("unsigned int n = 3", "while ( n-- ) FLUSH", True),
        ("unsigned int n = 0", "while ( n-- ) FLUSH", False),
        ("unsigned int n = 2", "while ( --n ) FLUSH", True),
        ("unsigned int n = 1", "while ( --n ) FLUSH", False),
        ("u8 n = 250; unsigned int k = 0", "while ( n++ ) k++; if ( k == 6 ) FLUSH", True),
        ("u8 n = 250; unsigned int k = 0", "while ( n++ ) k++; if ( k == 7 ) FLUSH", False),
        ("unsigned int n, m = 10", "for ( n = 0; n < m; n++ ) m--; if ( n == 5 ) FLUSH", True),
        ("unsigned int n, m = 10", "for ( n = 0; n < m; n++ ) m--; if ( n == 10 ) FLUSH", False),
        ("int n", "for ( n = 4; n >= 0; n-- ) if ( n == 0 ) FLUSH", True),
        ("int n", "for ( n = 4; n > 0; n-- ) if ( n == 0 ) FLUSH", False),
        ("unsigned int i, j, k = 0", "for ( i = 0; i < 5; i++ ) for ( j = 0; j < 5; j++ ) k++; if ( k == 25 ) FLUSH", True),
        ("unsigned int i, j, k = 0", "for ( i = 0; i < 5; i++ ) for ( j = 0; j < i; j++ ) k++; if ( k == 25 ) FLUSH", False),
        ("unsigned int n = 5, k = 0", "while ( n-- && k < 3 ) k++; if ( n == 1 ) FLUSH", True),
        ("unsigned int n = 5, k = 0", "while ( n-- && k < 3 ) k++; if ( n == 2 ) FLUSH", False),
        ("unsigned int n = 5, k = 0", "while ( n-- ) { if ( n & 1 ) continue; k++; } if ( k == 3 ) FLUSH", True),
        ("unsigned int n = 5, k = 0", "while ( n-- ) { if ( n & 1 ) continue; k++; } if ( k == 2 ) FLUSH", False),
        ("unsigned int n = 3", "do { if ( n == 1 ) FLUSH } while ( --n );", True),
        ("unsigned int n = 3", "do { if ( n == 0 ) FLUSH } while ( --n );", False),
        ("unsigned int n", "for ( n = 0; ; n++ ) { if ( n == 4 ) break; if ( n == 3 ) FLUSH }", True),
        ("unsigned int n", "for ( n = 0; ; n++ ) { if ( n == 3 ) break; if ( n == 3 ) FLUSH }", False),
        ("unsigned int n", "for ( n = 0; n < 300; n++ ) if ( n == 299 ) FLUSH", True),
        ("unsigned int n", "for ( n = 0; n < 300; n++ ) if ( n == 300 ) FLUSH", False),
        ("unsigned int n = 3", "while ( n-- ) { if ( read_cr4() & X86_CR4_PGE ) FLUSH }", True),
        ("unsigned int n = 300", "while ( n ) n--; if ( !n ) FLUSH", True),
    ],
)
def test_a_loop_that_counts_is_counted(declared: str, loop: str, right: bool) -> None:
    assert clean(declared, loop) is right


@pytest.mark.parametrize(
    ("declared", "loop"),
    [
        ("unsigned int n", "for ( n = 4; n >= 0; n-- ) barrier(); FLUSH"),
        pytest.param("u8 n", "for ( n = 0; n < 300; n++ ) barrier(); FLUSH", marks=pytest.mark.long),
        ("unsigned int n", "for ( n = 0; n < 1000000; n++ ) barrier(); FLUSH"),
    ],
    ids=["never-negative", "never-300", "too-many"],
)
def test_a_loop_that_cannot_be_counted_is_refused(declared: str, loop: str) -> None:
    with pytest.raises(InputError, match="a loop without a step"):
        clean(declared, loop)


def test_a_step_in_each_of_300_turns() -> None:
    assert clean("unsigned int n", "for ( n = 0; n < 300; n++ ) write_cr3(read_cr3()); FLUSH")
