/*
 * A processor with PCIDs as the manuals describe it, small enough to be read: CR3, CR4, IF and every entry that
 * its TLB can hold. A switch function of Xen's is compiled against it as it stands.
 *
 * Rules, by Intel SDM 3A 4.10 (June 2016) and AMD APM 2 5.5, what both promise:
 *  - MOV to CR3: #GP for bits 62:52 and, without PCIDE, bit 63. Drops non-global entries of PCID 0 without PCIDE, of
 *    the new PCID with it unless bit 63 is set. Bit 63 is not stored.
 *  - MOV to CR4: #GP if PCIDE is set while CR3[11:0] is not 0, or if PAE is cleared. A change of PGE and the
 *    clearing of PCIDE drop everything.
 *  - INVPCID 1: #GP for bits above 11, and for a PCID that is not 0 without PCIDE. Drops that PCID's non-global entries. INVPCID 2
 *    drops everything, INVPCID 3 all that is not global.
 *  - At any instant a walk may cache any page of the tables under CR3, under the current PCID (0 without PCIDE),
 *    as a global entry if its leaf is one and PGE is set.
 * After every operation all that a walk can cache then is cached; nothing is evicted. That is the worst case.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed int s32;
typedef signed long s64;
typedef unsigned long paddr_t;
struct vcpu;

#define X86_CR3_NOFLUSH    (1ULL << 63)
#define X86_CR3_PCID_MASK  0x0fffULL
#define X86_CR3_ADDR_MASK  0x000ffffffffff000ULL
#define X86_CR4_TSD        0x00000004
#define X86_CR4_PSE        0x00000010
#define X86_CR4_PAE        0x00000020
#define X86_CR4_PGE        0x00000080
#define X86_CR4_FSGSBASE   0x00010000
#define X86_CR4_PCIDE      0x00020000
#define X86_CR4_OSXSAVE    0x00040000
#define X86_CR4_SMEP       0x00100000
#define X86_CR4_SMAP       0x00200000
#define ASSERT(x)          ((void)(x))
#define likely(x)          (!!(x))
#define unlikely(x)        (!!(x))

/* -- the tables: idle's, two of a domain's vCPUs, and one more domain of each kind */

enum kind { IDLE, HVM, PV, NOPCID, PCID };
enum page { SHARED, USER, KERNEL, PERDOMAIN, SELF, PAGES };
enum { ROOTS = 13, TAGS = 4, ENTRIES = ROOTS * PAGES * TAGS * 2 };

static struct { unsigned long address; enum kind kind; bool user; } root[ROOTS];

static struct { u8 root, page, tag, global; } entry[ENTRIES];

static bool maps(int r, enum page p)
{
    if ( p == SHARED || p == SELF )
        return true;
    if ( root[r].kind == IDLE || (root[r].kind == HVM && p != PERDOMAIN) )
        return false;
    return p != KERNEL || !root[r].user;
}

static bool leaf_is_global(enum page p) { return p == SHARED || p == USER; }

/* -- the processor */

static unsigned long cr3, cr4;
static bool interrupts, cached[ENTRIES], aged[ENTRIES];
static jmp_buf fault;
static char steps[512];

static unsigned int current_tag(void) { return cr4 & X86_CR4_PCIDE ? cr3 & X86_CR3_PCID_MASK : 0; }

static void walk_everything(void)
{
    for ( int e = 0; e < ENTRIES; e++ )
        if ( root[entry[e].root].address == (cr3 & X86_CR3_ADDR_MASK) && entry[e].tag == current_tag() &&
             maps(entry[e].root, entry[e].page) && entry[e].global == (leaf_is_global(entry[e].page) && (cr4 & X86_CR4_PGE)) )
            cached[e] = true;
}

/* Every tag, or one; global entries too, or not. */
static void drop(int tag, bool globals)
{
    for ( int e = 0; e < ENTRIES; e++ )
        if ( (tag < 0 || entry[e].tag == tag) && (globals || !entry[e].global) )
            cached[e] = aged[e] = false;
}

static void note(const char *format, unsigned long value, const char *more)
{
    size_t used = strlen(steps);

    snprintf(steps + used, sizeof(steps) - used, format, value, more);
}

static void write_cr3(unsigned long value)
{
    note(" W3[%lu%s]", value & X86_CR3_PCID_MASK, value & X86_CR3_NOFLUSH ? "n" : "f");
    if ( (value & ~X86_CR3_NOFLUSH) >> 52 || ((value & X86_CR3_NOFLUSH) && !(cr4 & X86_CR4_PCIDE)) )
        longjmp(fault, 1);
    cr3 = value & ~X86_CR3_NOFLUSH;
    if ( !(cr4 & X86_CR4_PCIDE) )
        drop(0, false);
    else if ( !(value & X86_CR3_NOFLUSH) )
        drop(value & X86_CR3_PCID_MASK, false);
    walk_everything();
}

static void write_cr4(unsigned long value)
{
    unsigned long changed = cr4 ^ value;

    note(" W4[%.0lu%s]", 0, value & X86_CR4_PGE ? "G" : value & X86_CR4_PCIDE ? "E" : "N");
    if ( (changed & value & X86_CR4_PCIDE && (cr3 & X86_CR3_PCID_MASK)) || (changed & cr4 & X86_CR4_PAE) )
        longjmp(fault, 1);
    cr4 = value;
    if ( changed & X86_CR4_PGE || changed & ~value & X86_CR4_PCIDE )
        drop(-1, true);
    walk_everything();
}

static unsigned long read_cr3(void) { return cr3; }
static unsigned long read_cr4(void) { return cr4; }

static void invpcid_flush_single_context(unsigned int pcid)
{
    note(" F1[%lu%s]", pcid, "");
    if ( pcid > X86_CR3_PCID_MASK || (pcid && !(cr4 & X86_CR4_PCIDE)) )
        longjmp(fault, 1);
    drop(pcid, false);
    walk_everything();
}

static void invpcid_flush_all(void) { note(" F%lu%s", 2, ""); drop(-1, true); walk_everything(); }
static void invpcid_flush_all_nonglobals(void) { note(" F%lu%s", 3, ""); drop(-1, false); walk_everything(); }

/* What is cached when interrupts go off, or at the clock's tick if that is later, has to be gone at the end. */
static bool save_interrupts(void)
{
    bool before = interrupts;

    memcpy(aged, cached, sizeof(aged));
    interrupts = false;
    return before;
}
#define local_irq_save(flags)    ((flags) = save_interrupts())
#define local_irq_restore(flags) (interrupts = (flags))

static u32 pre_flush(void) { memcpy(aged, cached, sizeof(aged)); return 1; }
static void post_flush(u32 t) { (void)t; }
static unsigned long cr3_pa(unsigned long value) { return value & X86_CR3_ADDR_MASK; }
static unsigned int cr3_pcid(unsigned long value) { return value & X86_CR3_PCID_MASK; }
static const bool use_invpcid = true;

/* -- what Xen asks a switch for */

struct context { int root; bool tsd; };

static unsigned long cr3_of(struct context c)
{
    return root[c.root].address | (root[c.root].kind == PCID ? X86_CR3_NOFLUSH | root[c.root].user : 0);
}

#define FEATURES (X86_CR4_PAE | X86_CR4_PSE | X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_FSGSBASE)

static unsigned long cr4_of(struct context c, unsigned long live)
{
    enum kind kind = root[c.root].kind;

    if ( kind == IDLE || kind == HVM )
        return (live & ~(unsigned long)(X86_CR4_PCIDE | X86_CR4_TSD)) | X86_CR4_PGE;
    return FEATURES | (kind == PCID ? X86_CR4_PCIDE : 0) | (kind == PV ? X86_CR4_PGE : 0) | (c.tsd ? X86_CR4_TSD : 0);
}

static int class_of(unsigned long value3, unsigned long value4)
{
    if ( value4 & X86_CR4_PGE )
        return 0;
    if ( !(value4 & X86_CR4_PCIDE) )
        return 1;
    return value3 & 1 ? 3 : 2;
}

static const char *const class_name[] = { "global", "nopcid", "kernel", "user" };

/* -- the rows */

/*
 * What happens to an entry depends on the registers alone, never on another entry. So all that can be cached with the same
 * registers is kept together: an entry is stale after a switch from there if it is after a switch from one of the caches.
 */
struct state { unsigned long cr3, cr4; bool cached[ENTRIES], waiting; };

enum { MOST_STATES = 20000 };

static struct state *states;
static int known, given;

static void reach(void)
{
    struct state *s = states;

    while ( s < states + known && (s->cr3 != cr3 || s->cr4 != cr4) )
        s++;
    if ( s < states + given )
        return;
    if ( s == states + known )
    {
        if ( known++ == MOST_STATES )
        {
            fprintf(stderr, "too many states\n");
            exit(2);
        }
        *s = (struct state){ .cr3 = cr3, .cr4 = cr4, .waiting = true };
    }
    for ( int e = 0; e < ENTRIES; e++ )
        if ( cached[e] && !s->cached[e] )
            s->cached[e] = s->waiting = true;
}

static void judge(int number, void (*function)(unsigned long, unsigned long), const struct state *from, struct context to)
{
    unsigned long value3 = cr3_of(to), value4 = cr4_of(to, from->cr4);
    unsigned long others = ~(unsigned long)(X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_SMEP);
    int old = class_of(from->cr3, from->cr4), new = class_of(value3, value4);
    const char *verdict = "clean";

    cr3 = from->cr3;
    cr4 = from->cr4;
    interrupts = true;
    memcpy(cached, from->cached, sizeof(cached));
    memset(aged, 0, sizeof(aged));
    walk_everything();
    steps[0] = 0;
    if ( setjmp(fault) )
        verdict = "fault";
    else
    {
        function(value3, value4);
        for ( int e = 0; e < ENTRIES; e++ )
            if ( cached[e] && (aged[e] || (entry[e].page != SHARED && root[entry[e].root].address != (cr3 & X86_CR3_ADDR_MASK))) )
                verdict = "stale";
        reach();
    }
    printf("%d %s %s %s %s%s\n", number, class_name[old], class_name[new], (from->cr4 ^ value4) & others ? "differ" : "same", verdict, steps);
}

/* Every row of one function; with_pcids: domains with PCIDs are there. */
static void rows(int number, void (*function)(unsigned long, unsigned long), bool with_pcids)
{
    struct context all[2 * ROOTS];
    int contexts = 0;

    for ( int r = 0; r < ROOTS; r++ )
        for ( int tsd = 0; tsd < 2; tsd++ )
            if ( (root[r].kind != PCID || with_pcids) && (!tsd || root[r].kind > HVM) )
                all[contexts++] = (struct context){ r, tsd };
    known = given = 0;
    for ( int i = 0; i < contexts; i++ )
    {
        cr3 = cr3_of(all[i]) & ~X86_CR3_NOFLUSH;
        cr4 = cr4_of(all[i], FEATURES);
        for ( int e = 0; e < ENTRIES; e++ )
            cached[e] = maps(entry[e].root, entry[e].page) && (!entry[e].global || leaf_is_global(entry[e].page)) &&
                        (cr4 & X86_CR4_PCIDE || !entry[e].tag) && (cr4 & X86_CR4_PGE || !entry[e].global);
        walk_everything();
        reach();
        given = known;
    }
    for ( bool more = true; more; )
    {
        more = false;
        for ( int n = 0; n < known; n++ )
        {
            if ( !states[n].waiting )
                continue;
            more = true;
            states[n].waiting = false;
            for ( int i = 0; i < contexts; i++ )
                judge(number, function, &states[n], all[i]);
        }
    }
}

/* The domain that both vCPUs are of has each kind in turn; the roots' addresses are given. */
static void begin(int argc, char **argv, enum kind kind)
{
    static const enum kind others[] = { HVM, HVM, PV, PV, NOPCID, NOPCID, PCID, PCID };
    int e = 0;

    if ( argc != ROOTS + 1 )
        exit(3);
    states = states ? states : malloc(MOST_STATES * sizeof(*states));
    for ( int r = 0; r < ROOTS; r++ )
    {
        root[r].address = strtoul(argv[r + 1], NULL, 0);
        root[r].kind = !r ? IDLE : r < 5 ? kind : others[r - 5];
        root[r].user = r && !(r & 1) && root[r].kind != HVM;
    }
    for ( int r = 0; r < ROOTS; r++ )
        for ( int p = 0; p < PAGES; p++ )
            for ( int tag = 0; tag < TAGS; tag++ )
                for ( int global = 0; global < 2; global++ )
                {
                    entry[e].root = r;
                    entry[e].page = p;
                    entry[e].tag = tag;
                    entry[e++].global = global;
                }
}
