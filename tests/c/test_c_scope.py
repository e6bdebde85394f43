"""A C switch that looks at bits of a root's address or of a PCID is judged for the values that were tried, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from quick import sampled

from tlbcheck.cli import cli
from tlbcheck.engines.sufficiency import decide
from tlbcheck.library import find_models, find_properties
from tlbcheck.system.lower import lower

SWITCH = """
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4, old_cr3, number;
    u32 t = 0, half;
    u16 quarter;

    local_irq_save(flags);
    t = pre_flush();
    old_cr3 = read_cr3();
    old_cr4 = read_cr4();
    number = cr3 >> 12;
    half = cr3;
    quarter = old_cr3 >> 12;
    if ( !(old_cr4 & X86_CR4_PCIDE) &&
         ((cr4 & X86_CR4_PCIDE) || (cr4 & old_cr4 & X86_CR4_PGE)) )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    if ( (old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE) )
        cr3 |= X86_CR3_NOFLUSH;
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
    if ( (cr4 & X86_CR4_PCIDE) && (CONDITION) )
        invpcid_flush_all_nonglobals();
    post_flush(t);
    local_irq_restore(flags);
}
"""
WHOLE = (
    "1",
    "cr3 & X86_CR3_NOFLUSH",
    "cr3_pa(cr3) != cr3_pa(old_cr3)",
    "cr3 == old_cr3",
    "number == old_cr3 >> 12",
    "(old_cr3 ^ cr3) & X86_CR3_NOFLUSH",
    "cr3_pcid(cr3) == cr3_pcid(old_cr3)",
    "cr3_pcid(cr3) == 1",
)
ROOTS_COMPARED = ("cr3_pa(cr3) != cr3_pa(old_cr3)", "cr3 == old_cr3", "number == old_cr3 >> 12")
ROOT = (
    "(u32)cr3_pa(cr3)",
    "cr3_pa(cr3) >> 12 & 7",
    "(int)cr3 < 0",
    "(u32)cr3 != (u32)old_cr3",
    "cr3 & 0x80000000UL",
    "(cr3 & 0x3000) == 0x1000",
    "cr3_pa(cr3) < cr3_pa(old_cr3)",
    "cr3_pa(cr3)",
    "half & 0xfffff000U",
    "quarter == 3",
    "number & 1",
    "(u32)number != 5",
    "cr3_pa(cr3) - cr3_pa(old_cr3) == 0x1000",
    "(cr3_pa(cr3) ^ cr3_pa(old_cr3)) != 0",
    "cr3_pa(cr3) * 2 > old_cr3",
    "cr3_pa(cr3) / 8192 == 4",
    "cr3_pa(cr3) % 8192",
    "~cr3 & 0x1000",
    "-cr3 & 0x1000",
    "(cr3_pa(cr3) ? number : 0) == 3",
    "1UL << (cr3 >> 12 & 31)",
    "cr3_pa(cr3) == 0x5000",
    "cr3_pa(cr3) == 0x2492492492000UL",  # which is one of those here, by chance
)
PCIDS = ("cr3_pcid(cr3) > 1", "cr3 & 1", "(cr3 & 3) == 1", "cr3_pcid(cr3) < cr3_pcid(old_cr3)", "cr3_pcid(cr3) == 7", "cr3_pcid(cr3) + 1 == 2", "(u8)cr3 == 1")


def scope(tmp_path: Path, condition: str) -> dict[str, object]:
    path = tmp_path / "switch.c"
    path.write_text(SWITCH.replace("CONDITION", condition), encoding="utf-8")
    (model,) = find_models(str(path))
    return decide(lower(model, find_properties((), model))).scope()


@pytest.mark.parametrize("condition", sampled(WHOLE, keep=2))
def test_a_whole_address_or_pcid_may_be_compared(tmp_path: Path, condition: str) -> None:
    """Of two addresses that are compared, roots may be any; the other domains, whose root is one here, are named."""
    found = scope(tmp_path, condition)
    assert [found[n] for n in ("roots", "pcids")] == ["any", "any (named: 0, 1, 2, 3)"]
    two = condition in ROOTS_COMPARED
    assert [found[n] == "any" for n in ("vcpus", "domains")] == [not two, not two]


@pytest.mark.parametrize("condition", sampled(ROOT, keep=5))
def test_bits_of_a_roots_address_are_told(tmp_path: Path, condition: str) -> None:
    """Every address is in the scope, and so is the place; that any vCPUs and domains are covered is not said either."""
    found = scope(tmp_path, condition)
    assert isinstance(found["roots"], list)
    assert "observed_kernel (0x2492492492000)" in found["roots"]
    assert "any" not in (found["vcpus"], found["domains"])
    assert "switch.c:" in str(found["why"])


@pytest.mark.parametrize("condition", sampled(PCIDS, keep=3))
def test_bits_of_a_pcid_are_told(tmp_path: Path, condition: str) -> None:
    found = scope(tmp_path, condition)
    assert found["roots"] == "any"
    assert found["pcids"] == ["0", "1", "2", "3"]
    assert "switch.c:" in str(found["why"])


def test_a_matrix_says_for_which_roots_it_is(tmp_path: Path) -> None:
    path = tmp_path / "switch.c"
    path.write_text(SWITCH.replace("CONDITION", "(u32)cr3_pa(cr3)"), encoding="utf-8")
    done = CliRunner().invoke(cli, ["matrix", str(path)])
    assert "stale" not in done.stdout
    assert "roots: idle (0x9249249249000)" in done.stdout
    assert "switch.c:" in done.stdout
