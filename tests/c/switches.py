"""Switch functions in C: those of the library as they were published, and random ones."""

from __future__ import annotations

import random

BEGIN = """void NAME(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4, old_cr3;
    unsigned int old_pcid;
    u32 t;

"""
END = """    post_flush(t);
    local_irq_restore(flags);
}
"""
LIBRARY = {
    "xen/before-pcid": """
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
""",
    "xen/pcid-v4": """
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
        write_cr4(cr4 & ~X86_CR4_PGE);
    else if ( use_invpcid )
        invpcid_flush_all_nonglobals();
    write_cr3(cr3);
    if ( read_cr4() != cr4 )
        write_cr4(cr4);
""",
    "xen/pcid-v5": """
    old_pcid = cr3_pcid(read_cr3());
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
        write_cr4(cr4 & ~X86_CR4_PGE);
    else if ( use_invpcid )
        invpcid_flush_all_nonglobals();
    write_cr3(cr3);
    if ( read_cr4() != cr4 )
        write_cr4(cr4);
    else if ( old_pcid != cr3_pcid(cr3) )
        invpcid_flush_single_context(old_pcid);
""",
    "xen/pcid-committed": """
    old_pcid = cr3_pcid(read_cr3());
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    else if ( use_invpcid )
        invpcid_flush_all_nonglobals();
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
    else if ( old_pcid != cr3_pcid(cr3) )
        invpcid_flush_single_context(old_pcid);
""",
    "xen/xsa-292": """
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    else if ( use_invpcid )
        invpcid_flush_all_nonglobals();
    old_pcid = cr3_pcid(read_cr3());
    if ( old_pcid == cr3_pcid(cr3) )
        cr3 &= ~X86_CR3_NOFLUSH;
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
    if ( old_pcid != cr3_pcid(cr3) && !(cr4 & X86_CR4_PGE) && (old_cr4 & X86_CR4_PCIDE) <= (cr4 & X86_CR4_PCIDE) )
        invpcid_flush_single_context(old_pcid);
""",
    "xen/gp-fix": """
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
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
""",
    "xen/flush-once": """
    ASSERT(!(cr4 & X86_CR4_PCIDE) || !(cr4 & X86_CR4_PGE));
    local_irq_save(flags);
    t = pre_flush();
    old_cr4 = read_cr4();
    if ( !(old_cr4 & X86_CR4_PCIDE) && ((cr4 & X86_CR4_PCIDE) || (cr4 & old_cr4 & X86_CR4_PGE)) )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    if ( (old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE) )
        cr3 |= X86_CR3_NOFLUSH;
    write_cr3(cr3);
    if ( old_cr4 != cr4 )
        write_cr4(cr4);
    if ( cr4 & X86_CR4_PCIDE )
        invpcid_flush_all_nonglobals();
""",
}

# What a condition of a random function asks: of CR4, of whole addresses and PCIDs, and of bits of an address.
_PLAIN = (
    "cr4 & X86_CR4_PCIDE",
    "old_cr4 & X86_CR4_PCIDE",
    "cr4 & X86_CR4_PGE",
    "old_cr4 & X86_CR4_PGE",
    "(old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE)",
    "old_cr4 != cr4",
    "read_cr4() != cr4",
    "(cr4 ^ old_cr4) & (X86_CR4_PGE | X86_CR4_PCIDE)",
    "cr4 & old_cr4 & X86_CR4_PGE",
    "(s32)(cr4 ^ old_cr4) < 4",
    "use_invpcid",
)
_WHOLE = (
    "cr3_pa(cr3) != cr3_pa(old_cr3)",
    "(old_cr3 & X86_CR3_ADDR_MASK) == cr3_pa(cr3)",
    "old_cr3 >> 12 == (cr3 & ~X86_CR3_NOFLUSH) >> 12",
    "old_pcid != cr3_pcid(cr3)",
    "cr3_pcid(cr3) == cr3_pcid(read_cr3())",
    "(cr3 & ~X86_CR3_NOFLUSH) == read_cr3()",
    "cr3 & X86_CR3_NOFLUSH",
)
_BITS = (
    "(u32)cr3_pa(cr3)",
    "(int)cr3 < 0",
    "(u32)cr3 != (u32)old_cr3",
    "cr3_pa(cr3) > cr3_pa(old_cr3)",
    "cr3_pa(cr3) >> 12 & 7",
    "(cr3 ^ old_cr3) & 0x80000000UL",
    "(u16)(old_cr3 >> 12) == (u16)(cr3 >> 12)",
    "(cr3 & 0xfffff00000UL) != 0",
    "cr3_pa(cr3) - cr3_pa(old_cr3) == 0x1000",
)
_ACTIONS = (
    "invpcid_flush_all_nonglobals();",
    "invpcid_flush_all_nonglobals();",
    "invpcid_flush_all();",
    "invpcid_flush_single_context(old_pcid);",
    "write_cr4(cr4);",
    "write_cr4(cr4 & ~X86_CR4_PGE);",
    "write_cr4(read_cr4() & ~X86_CR4_PGE);",
    "cr3 &= ~X86_CR3_NOFLUSH;",
    "cr3 |= X86_CR3_NOFLUSH;",
    "old_cr4 = cr4;",
    "{ old_cr4 = cr4 & ~X86_CR4_PGE; write_cr4(old_cr4); }",
    "old_pcid = cr3_pcid(read_cr3());",
    "write_cr3(cr3);",
    "write_cr3(old_cr3);",
    "old_cr3 = read_cr3();",
)


def function(name: str, body: str) -> str:
    """A library switch, or any other body, as the function ``name``."""
    return BEGIN.replace("NAME", name) + body.lstrip("\n") + END


def random_body(number: int, seed: int = 2026) -> str:
    """A switch as somebody in a hurry might write it: a right one with conditions and steps changed, or one made up.

    One function in four looks at bits of a root's address. All are given by ``number`` and ``seed``.
    """
    draw = random.Random(f"{seed}:{number}")
    pool = _PLAIN + _WHOLE + (_BITS if draw.random() < 0.25 else ())

    def condition() -> str:
        one = draw.choice(pool)
        if draw.random() < 0.3:
            one = f"!({one})"
        if draw.random() < 0.35:
            one = f"({one}) {draw.choice(('&&', '||'))} ({draw.choice(pool)})"
        return one

    def statement() -> str:
        action = draw.choice(_ACTIONS)
        if draw.random() < 0.3:
            return f"    {action}\n"
        made = f"    if ( {condition()} )\n        {action}\n"
        return made + (f"    else\n        {draw.choice(_ACTIONS)}\n" if draw.random() < 0.25 else "")

    prologue = "    local_irq_save(flags);\n    t = pre_flush();\n    old_cr4 = read_cr4();\n    old_cr3 = read_cr3();\n    old_pcid = cr3_pcid(old_cr3);\n"
    if draw.random() < 0.5:
        parts = [statement() for _ in range(draw.randint(0, 2))] + ["    write_cr3(cr3);\n"] + [statement() for _ in range(draw.randint(1, 3))]
        return prologue + "".join(parts)
    lines = [
        f"    if ( {condition() if draw.random() < 0.3 else '!(old_cr4 & X86_CR4_PCIDE) && ((cr4 & X86_CR4_PCIDE) || (cr4 & old_cr4 & X86_CR4_PGE))'} )\n"
        "    {\n        old_cr4 = cr4 & ~X86_CR4_PGE;\n        write_cr4(old_cr4);\n    }\n",
        f"    if ( {condition() if draw.random() < 0.2 else '(old_cr4 & X86_CR4_PCIDE) > (cr4 & X86_CR4_PCIDE)'} )\n        cr3 |= X86_CR3_NOFLUSH;\n",
        "    write_cr3(cr3);\n",
        f"    if ( {condition() if draw.random() < 0.2 else 'old_cr4 != cr4'} )\n        write_cr4(cr4);\n",
        f"    if ( {f'(cr4 & X86_CR4_PCIDE) && ({condition()})' if draw.random() < 0.6 else 'cr4 & X86_CR4_PCIDE'} )\n        invpcid_flush_all_nonglobals();\n",
    ]
    for _ in range(draw.randint(0, 2)):
        at = draw.randrange(len(lines))
        match draw.choice(("drop", "swap", "add", "repeat")):
            case "drop" if len(lines) > 2:
                del lines[at]
            case "swap" if at + 1 < len(lines):
                lines[at], lines[at + 1] = lines[at + 1], lines[at]
            case "repeat":
                lines.insert(at, lines[at])
            case _:
                lines.insert(at, statement())
    return prologue + "".join(lines)


def random_roots(draw: random.Random, count: int) -> list[int]:
    """Addresses of root tables: 4 KiB aligned, below 2^52, none 0, no two the same; half of them corner values."""
    found: dict[int, None] = {}
    while len(found) < count:
        one = draw.randrange(1, 1 << 40) << 12
        match draw.randrange(12) if found else 11:
            case 0:  # the same low half as another
                one = draw.randrange(1 << 20) << 32 | draw.choice(list(found)) & 0xFFFFFFFF
            case 1:  # the same high half
                one = draw.choice(list(found)) & ~0xFFFFFFFF | draw.randrange(1 << 20) << 12
            case 2:  # no low half
                one &= ~0xFFFFFFFF
            case 3:  # few low bits
                one &= ~0xFFFFFF
            case 4:
                one = one & 0xFFFFFFFF & ~0x80000000 | draw.choice((0, 0x80000000))
            case 5:
                one |= 1 << 51
            case 6 | 7:  # one bit away from another
                one = draw.choice(list(found)) ^ 1 << draw.randrange(12, 52)
        if one:
            found.setdefault(one)
    return list(found)
