#include <asm/flushtlb.h>

#define MINE(x) ((x) & X86_CR3_PCID_MASK)

static inline bool same(unsigned long a, unsigned long b)
{
    return MINE(a) == MINE(b);
}

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, old_cr4;
    unsigned int n;

    local_irq_save(flags);
    pre_flush();

    old_cr4 = read_cr4();
    if ( old_cr4 & X86_CR4_PGE )
    {
        old_cr4 = cr4 & ~X86_CR4_PGE;
        write_cr4(old_cr4);
    }
    else if ( use_invpcid )
        invpcid_flush_all();

    for ( n = 0; n < 2; n++ )
        barrier();

    write_cr3(cr3);

    if ( cr4 != old_cr4 )
        write_cr4(cr4);

    post_flush(0);
    local_irq_restore(flags);
}
