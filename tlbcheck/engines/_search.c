/* Breadth-first search over packed states: the fixed loop that engines/packed.py drives by tables.
 *
 * A state is one key of 32, 64 or 128 bits made of fields. Tables are looked up by the values of a few
 * fields and list differences to add to the key; a compound row tests and changes fields one by one.
 * Rows of class 0 cost nothing and are closed over before rows of class 1 make the next layer. A pass
 * is one round of class 0 inside a layer; which states are in which pass does not depend on threads.
 *
 * The file includes itself once for each width of key.
 */
#ifndef KEY

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { FIELDS = 64, BATCH = 1024, CHUNK = 1024, PARALLEL = 32768, THREADS = 64 };
enum { DONE, AGAIN, OUT_OF_MEMORY, STATE_LIMIT, TOO_DEEP, VIOLATED };

typedef struct {
    uint32_t n_fields, field[4], position[4];
    uint32_t *start; /* by the joint value of the fields: where its list begins; one more at the end */
    void *delta;
    uint8_t *used;
} Table;

typedef struct {
    uint32_t field;
    uint32_t *start, *rows;
} Dispatch;

typedef struct {
    uint32_t field;
    const uint8_t *holds;
} Test;

typedef struct {
    uint32_t field;
    const void *delta;
} Change;

typedef struct {
    uint32_t n_tests, n_changes;
    const Test *tests;
    const Change *changes;
    uint8_t *used;
} Compound;

typedef struct {
    uint32_t n_tests, later; /* later: violated by taking a step, one deeper than the state */
    const Test *tests;
    uint64_t property; /* a bit of its own */
} Bad;

/* Orbits, see engines/orbits.py. */

typedef struct {
    uint32_t shift, mask;
    const uint16_t *rank; /* by value: its class */
    const void *put;      /* by class: what it adds to the key */
} Member;

typedef struct {
    uint32_t n, n_ranks;
    const Member *members;
    const uint16_t *acts; /* for each wide renaming, by class */
    const uint64_t *sizes;
} Peers;

typedef struct {
    uint32_t shift, mask;
    const uint64_t *sizes;
    const void *images; /* for each wide renaming, by joint value */
} Chunk;

typedef struct {
    /* what to search */
    uint32_t n_fields, key_bits, threads, order; /* order: how many wide renamings there are; 0 without symmetry */
    uint32_t shift[FIELDS], mask[FIELDS];
    uint32_t n_tables[2], n_closures, n_dispatches[2], n_bads, n_peers, n_chunks;
    const Table *tables[2], *closures;
    const Dispatch *dispatches[2];
    const Compound *compounds;
    const Bad *bads;
    const Peers *peers;
    const Chunk *chunks;
    const uint32_t *tried_from, *tried; /* by the value of the first chunk, which wide renamings to try; or NULL */
    uint64_t kept[2]; /* the bits of a key that no renaming changes */
    uint64_t properties; /* when all of them are violated, the search is over */
    uint64_t max_states, max_bytes, fanout; /* fanout: the most successors of any state */
    /* what was found */
    uint64_t count, transitions, whole_count, whole_transitions;
    uint32_t *bad_depth;
    uint64_t *pass_start;
    uint32_t *pass_depth, n_passes, max_passes;
    /* where the search stands */
    uint64_t next, end, layer, bytes;
    uint32_t depth, phase;
    void *queue, *seen;
    uint64_t queue_bytes, seen_bytes, slots; /* slots: 0 for a set of bits */
} Search;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *reserve(uint64_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Every property is violated, at a depth that later layers cannot undercut. */
static int all_violated(const Search *s) {
    uint64_t found = 0;
    for (uint32_t b = 0; b < s->n_bads; b++)
        if (s->bad_depth[b] != UINT32_MAX) found |= s->bads[b].property;
    return s->properties && found == s->properties;
}

static int new_pass(Search *s) {
    if (s->n_passes == s->max_passes) return TOO_DEEP;
    s->pass_start[s->n_passes] = s->count;
    s->pass_depth[s->n_passes++] = s->depth;
    return DONE;
}

#define JOIN(a, b) a##b
#define NAMED(a, b) JOIN(a, b)
#define N(name) NAMED(name, BITS)
#define BITS 32
#define KEY uint32_t
#include __FILE__
#undef KEY
#undef BITS
#define BITS 64
#define KEY uint64_t
#include __FILE__
#undef KEY
#undef BITS
#define BITS 128
#define KEY unsigned __int128
#include __FILE__

int search_init(Search *s, const void *starts, uint64_t n) {
    return s->key_bits == 32 ? init32(s, starts, n) : s->key_bits == 64 ? init64(s, starts, n) : init128(s, starts, n);
}

/* Go on for so many seconds. */
int search_run(Search *s, double seconds) {
    return s->key_bits == 32 ? run32(s, seconds) : s->key_bits == 64 ? run64(s, seconds) : run128(s, seconds);
}

/* The least state of the queue from `from` to `to` that bad `wanted` holds in; or, without one, that a row of
 * class `cls` leads from to `target`. False if there is none. */
int search_find(Search *s, uint64_t from, uint64_t to, int32_t wanted, uint32_t cls, const void *target, void *found) {
    return s->key_bits == 32 ? find32(s, from, to, wanted, cls, target, found)
         : s->key_bits == 64 ? find64(s, from, to, wanted, cls, target, found)
                             : find128(s, from, to, wanted, cls, target, found);
}

void search_free(Search *s) {
    if (s->queue) munmap(s->queue, s->queue_bytes);
    if (s->seen) munmap(s->seen, s->seen_bytes);
    s->queue = s->seen = NULL;
}

uint64_t search_size(void) { return sizeof(Search); }

#else

/* The representative of a state's orbit; and, if asked, how many states are in that. */
static inline KEY N(representative)(const Search *s, KEY t, uint64_t *size) {
    uint16_t ranks[FIELDS], sorted[FIELDS];
    uint32_t joints[FIELDS], n = 0, ties = 0;
    KEY kept = t & ((KEY)s->kept[0] | (sizeof(KEY) > 8 ? (KEY)s->kept[1] << (sizeof(KEY) > 8 ? 64 : 0) : 0)), least = 0;
    for (uint32_t i = 0; i < s->n_peers; i++)
        for (uint32_t m = 0; m < s->peers[i].n; m++) {
            const Member *member = &s->peers[i].members[m];
            ranks[n++] = member->rank[(uint32_t)(t >> member->shift) & member->mask];
        }
    for (uint32_t i = 0; i < s->n_chunks; i++) joints[i] = (uint32_t)(t >> s->chunks[i].shift) & s->chunks[i].mask;
    const uint32_t *tried = s->tried;
    uint32_t e = tried ? s->tried_from[joints[0]] : 0, end = tried ? s->tried_from[joints[0] + 1] : s->order;
    for (; e < end; e++) {
        uint32_t k = tried ? tried[e] : e;
        KEY made = kept;
        for (uint32_t i = 0; i < s->n_chunks; i++) made |= ((const KEY *)s->chunks[i].images)[(uint64_t)k * (s->chunks[i].mask + 1) + joints[i]];
        n = 0;
        for (uint32_t i = 0; i < s->n_peers; i++) {
            const Peers *p = &s->peers[i];
            const uint16_t *act = p->acts + (uint64_t)k * p->n_ranks;
            for (uint32_t m = 0; m < p->n; m++) {
                uint16_t rank = act[ranks[n + m]];
                uint32_t at = m;
                for (; at > 0 && sorted[at - 1] > rank; at--) sorted[at] = sorted[at - 1];
                sorted[at] = rank;
            }
            for (uint32_t m = 0; m < p->n; m++) made |= ((const KEY *)p->members[m].put)[sorted[m]];
            n += p->n;
        }
        if (!ties || made < least) least = made, ties = 0;
        ties += made == least;
    }
    if (size) {
        uint64_t all = s->order / ties;
        for (uint32_t i = 0; i < s->n_chunks; i++) all *= s->chunks[i].sizes[joints[i]];
        n = 0;
        for (uint32_t i = 0; i < s->n_peers; i++) {
            const Peers *p = &s->peers[i];
            uint64_t arrangements = 1;
            for (uint32_t m = 0; m < p->n; m++) {
                uint32_t same = 1;
                for (uint32_t o = 0; o < m; o++) same += ranks[n + o] == ranks[n + m];
                arrangements = arrangements * (m + 1) / same;
                all *= p->sizes[ranks[n + m]];
            }
            all *= arrangements;
            n += p->n;
        }
        *size = all;
    }
    return least;
}

static inline void N(decode)(const Search *s, KEY k, uint32_t *v) {
    for (uint32_t f = 0; f < s->n_fields; f++) v[f] = (uint32_t)(k >> s->shift[f]) & s->mask[f];
}

static inline uint32_t N(joint)(const Table *t, const uint32_t *v) {
    uint32_t j = v[t->field[0]];
    for (uint32_t i = 1; i < t->n_fields; i++) j |= v[t->field[i]] << t->position[i];
    return j;
}

static inline KEY N(settle)(const Search *s, KEY t) {
    if (s->n_closures) {
        uint32_t v[FIELDS];
        N(decode)(s, t, v);
        for (uint32_t i = 0; i < s->n_closures; i++) {
            const Table *c = &s->closures[i];
            KEY d = ((const KEY *)c->delta)[N(joint)(c, v)];
            if (d) {
                t += d;
                N(decode)(s, t, v);
            }
        }
    }
    return s->order ? N(representative)(s, t, NULL) : t;
}

static inline int N(holds)(const Test *tests, uint32_t n, const uint32_t *v) {
    for (uint32_t i = 0; i < n; i++)
        if (!tests[i].holds[v[tests[i].field]]) return 0;
    return 1;
}

/* Write the successors of `k` by class `cls` to `out`: at most `fanout`. */
static inline uint32_t N(expand)(const Search *s, KEY k, const uint32_t *v, uint32_t cls, KEY *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_tables[cls]; i++) {
        const Table *t = &s->tables[cls][i];
        uint32_t j = N(joint)(t, v), to = t->start[j + 1];
        if (t->start[j] == to) continue;
        t->used[j] = 1;
        const KEY *d = t->delta;
        for (uint32_t e = t->start[j]; e < to; e++) out[n++] = N(settle)(s, k + d[e]);
    }
    for (uint32_t i = 0; i < s->n_dispatches[cls]; i++) {
        const Dispatch *d = &s->dispatches[cls][i];
        for (uint32_t e = d->start[v[d->field]]; e < d->start[v[d->field] + 1]; e++) {
            const Compound *c = &s->compounds[d->rows[e]];
            if (!N(holds)(c->tests, c->n_tests, v)) continue;
            *c->used = 1;
            KEY t = k;
            for (uint32_t u = 0; u < c->n_changes; u++) t += ((const KEY *)c->changes[u].delta)[v[c->changes[u].field]];
            out[n++] = N(settle)(s, t);
        }
    }
    return n;
}

/* -- the set of states seen: a bit for each possible key, or open addressing with linear probing */

#define EMPTY ((KEY)~(KEY)0)

static inline uint64_t N(hash)(KEY k) {
    uint64_t h = (uint64_t)k;
    if (sizeof(KEY) > 8) h ^= (uint64_t)(k >> (sizeof(KEY) > 8 ? 64 : 0)) * 0xD6E8FEB86659FD93u;
    h *= 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static inline void N(prefetch)(const Search *s, KEY k) {
    if (s->slots) __builtin_prefetch((const KEY *)s->seen + (N(hash)(k) & (s->slots - 1)));
    else __builtin_prefetch((const uint64_t *)s->seen + ((uint64_t)k >> 6));
}

/* True if `k` was not there before. */
static inline int N(insert)(Search *s, KEY k, int shared) {
    if (!s->slots) {
        uint64_t *word = (uint64_t *)s->seen + ((uint64_t)k >> 6), bit = 1ull << ((uint64_t)k & 63);
        if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit) return 0;
        if (shared) return !(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit);
        *word |= bit;
        return 1;
    }
    KEY *slot = s->seen;
    for (uint64_t i = N(hash)(k) & (s->slots - 1);; i = (i + 1) & (s->slots - 1)) {
        if (slot[i] == k) return 0;
        if (slot[i] == EMPTY) {
            slot[i] = k;
            return 1;
        }
    }
}

/* Make room for `more` states, or as many as there can be. */
static int N(make_room)(Search *s, uint64_t more) {
    uint64_t wanted = s->count + more;
    if (!s->slots && wanted > s->seen_bytes * 8) wanted = s->seen_bytes * 8;
    if (wanted * sizeof(KEY) > s->queue_bytes) return OUT_OF_MEMORY;
    if (!s->slots || wanted * 5 <= s->slots * 3) {
        s->bytes = s->seen_bytes + s->count * sizeof(KEY);
        return s->seen_bytes + wanted * sizeof(KEY) > s->max_bytes ? OUT_OF_MEMORY : DONE;
    }
    uint64_t slots = s->slots;
    while (wanted * 5 > slots * 3) slots *= 2;
    uint64_t bytes = slots * sizeof(KEY) + s->seen_bytes + s->count * sizeof(KEY); /* both tables, while moving */
    if (bytes > s->max_bytes) return OUT_OF_MEMORY;
    s->bytes = bytes;
    KEY *moved = reserve(slots * sizeof(KEY));
    if (!moved) return OUT_OF_MEMORY;
    memset(moved, 0xff, slots * sizeof(KEY));
    if (s->seen) munmap(s->seen, s->seen_bytes);
    s->seen = moved, s->seen_bytes = slots * sizeof(KEY), s->slots = slots;
    for (uint64_t i = 0; i < s->count; i++) N(insert)(s, ((KEY *)s->queue)[i], 0);
    return DONE;
}

/* -- the search */

typedef struct {
    Search *s;
    uint64_t transitions, whole_count, whole_transitions;
    int shared;
    KEY *out;
} N(Worker);

/* Keep what is new among the first `n` successors. There is room: `make_room` saw to it. */
static void N(probe)(N(Worker) *w, uint32_t n) {
    Search *s = w->s;
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < n; i++)
        if (N(insert)(s, w->out[i], w->shared)) w->out[fresh++] = w->out[i];
    if (!fresh) return;
    uint64_t at = s->count;
    if (w->shared) at = __atomic_fetch_add(&s->count, fresh, __ATOMIC_RELAXED);
    else s->count += fresh;
    memcpy((KEY *)s->queue + at, w->out, fresh * sizeof(KEY));
}

/* Expand states of the pass, chunk by chunk, until none is left. */
static void *N(work)(void *argument) {
    N(Worker) *w = argument;
    Search *s = w->s;
    uint32_t v[FIELDS], n = 0;
    for (;;) {
        uint64_t from = __atomic_fetch_add(&s->next, CHUNK, __ATOMIC_RELAXED);
        if (from >= s->end) break;
        uint64_t to = from + CHUNK < s->end ? from + CHUNK : s->end;
        for (uint64_t i = from; i < to; i++) {
            KEY k = ((const KEY *)s->queue)[i];
            N(decode)(s, k, v);
            uint32_t made = N(expand)(s, k, v, s->phase, w->out + n);
            for (uint32_t j = n; j < n + made; j++) N(prefetch)(s, w->out[j]);
            w->transitions += made;
            if (s->order) {
                uint64_t orbit;
                N(representative)(s, k, &orbit);
                w->whole_transitions += orbit * made;
                if (s->phase) w->whole_count += orbit;
            }
            if (s->phase)
                for (uint32_t b = 0; b < s->n_bads; b++)
                    if (N(holds)(s->bads[b].tests, s->bads[b].n_tests, v)) {
                        uint32_t depth = s->depth + s->bads[b].later;
                        if (depth < __atomic_load_n(&s->bad_depth[b], __ATOMIC_RELAXED)) __atomic_store_n(&s->bad_depth[b], depth, __ATOMIC_RELAXED);
                    }
            n += made;
            if (n > BATCH) N(probe)(w, n), n = 0;
        }
    }
    N(probe)(w, n);
    return NULL;
}

/* Expand the states between next and end, a part at a time, so that there is room for what a part makes. */
static int N(pass)(Search *s, double until, N(Worker) *workers) {
    uint64_t whole = s->end;
    while (s->next < whole) {
        uint64_t part = whole - s->next, most = 1u << 20;
        if (s->slots) most = 1024 + s->count / 4 / s->fanout;
        if (part > most) part = most;
        int status = N(make_room)(s, part * s->fanout);
        if (status) return status;
        s->end = s->next + part;
        uint32_t threads = s->slots || part < PARALLEL ? 1 : s->threads, started = 1;
        pthread_t thread[THREADS];
        for (uint32_t i = 0; i < threads; i++) workers[i].shared = threads > 1;
        while (started < threads && !pthread_create(&thread[started], NULL, N(work), &workers[started])) started++;
        N(work)(&workers[0]);
        for (uint32_t i = 1; i < started; i++) pthread_join(thread[i], NULL);
        s->next = s->end;
        s->end = whole;
        if (s->count > s->max_states) return STATE_LIMIT;
        if (now() > until) return s->next < whole ? AGAIN : DONE;
    }
    return DONE;
}

static int N(rounds)(Search *s, double until, N(Worker) *workers) {
    for (;;) {
        int status = N(pass)(s, until, workers);
        if (status) return status;
        if (s->phase == 0 && s->count > s->end) { /* another round of class 0 */
            s->end = s->count;
            if ((status = new_pass(s))) return status;
            s->pass_start[s->n_passes - 1] = s->next;
        } else if (s->phase == 0) { /* the layer is closed */
            s->phase = 1;
            s->next = s->layer;
        } else if (s->count == s->end || all_violated(s)) {
            return s->count == s->end ? DONE : VIOLATED;
        } else { /* the next layer */
            s->layer = s->next = s->end;
            s->end = s->count;
            s->phase = 0;
            s->depth++;
            if ((status = new_pass(s))) return status;
            s->pass_start[s->n_passes - 1] = s->next;
        }
        if (now() > until) return AGAIN;
    }
}

static int N(run)(Search *s, double seconds) {
    N(Worker) workers[THREADS];
    for (uint32_t i = 0; i < s->threads; i++) {
        workers[i] = (N(Worker)){.s = s, .out = malloc((BATCH + 1 + s->fanout) * sizeof(KEY))};
        if (!workers[i].out) {
            s->threads = i;
            break;
        }
    }
    int status = s->threads ? N(rounds)(s, now() + seconds, workers) : OUT_OF_MEMORY;
    for (uint32_t i = 0; i < s->threads; i++) {
        s->transitions += workers[i].transitions;
        s->whole_count += workers[i].whole_count;
        s->whole_transitions += workers[i].whole_transitions;
        free(workers[i].out);
    }
    return status;
}

static int N(init)(Search *s, const void *starts, uint64_t n) {
    s->queue = reserve(s->queue_bytes);
    if (!s->queue) return OUT_OF_MEMORY;
    if (s->seen_bytes) {
        s->seen = reserve(s->seen_bytes);
        if (!s->seen) return OUT_OF_MEMORY;
    } else {
        s->slots = 1024;
    }
    int status = N(make_room)(s, n + s->slots);
    if (status) return status;
    for (uint64_t i = 0; i < n; i++) {
        KEY k = N(settle)(s, ((const KEY *)starts)[i]);
        if (N(insert)(s, k, 0)) ((KEY *)s->queue)[s->count++] = k;
    }
    s->end = s->count;
    status = new_pass(s);
    if (!status) s->pass_start[0] = 0;
    return status;
}

static int N(find)(Search *s, uint64_t from, uint64_t to, int32_t wanted, uint32_t cls, const void *target, void *found) {
    KEY best = EMPTY, *out = malloc((1 + s->fanout) * sizeof(KEY));
    uint32_t v[FIELDS];
    int any = 0;
    if (!out) return 0;
    for (uint64_t i = from; i < to; i++) {
        KEY k = ((const KEY *)s->queue)[i];
        if (any && k >= best) continue;
        N(decode)(s, k, v);
        int hit = 0;
        if (wanted >= 0) {
            hit = N(holds)(s->bads[wanted].tests, s->bads[wanted].n_tests, v);
        } else {
            uint32_t made = N(expand)(s, k, v, cls, out);
            for (uint32_t j = 0; j < made && !hit; j++) hit = out[j] == *(const KEY *)target;
        }
        if (hit) best = k, any = 1;
    }
    free(out);
    if (any) memcpy(found, &best, sizeof(KEY));
    return any;
}

#undef EMPTY
#endif
