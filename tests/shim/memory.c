/* memory.c - a library to be preloaded: it counts the allocations that one module makes and
 * makes the n-th one fail, for a test that tries every n (tests/allocations.py).
 *
 * Between memory_arm and memory_disarm each malloc, calloc, realloc and posix_memalign whose
 * caller lies in the module's code takes the next number; the call with number `nth` (and with
 * `for_good` all after it) returns NULL. What the module has allocated and nobody has freed is
 * counted all the time. For glibc; several threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t),
    *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum { SLOTS = 1 << 16, SITES = 512 };

static uintptr_t low, high; /* the module's code */
static bool armed, for_good_;
static long at, nth_, hits, live, lost;
static void *slot[SLOTS]; /* what the module has allocated */
static uintptr_t site[SITES], hit;
static int n_sites;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void memory_of(uintptr_t from, uintptr_t to)
{
    low = from;
    high = to;
}

void memory_arm(long nth, int for_good)
{
    at = hits = 0;
    hit = 0;
    nth_ = nth;
    for_good_ = for_good;
    armed = true;
}

/* How many allocations there were. */
long memory_disarm(void)
{
    armed = false;
    return at;
}

long memory_hits(void) { return hits; }                      /* how many failed */
long memory_live(void) { return live; }                      /* not freed */
long memory_lost(void) { return lost; }                      /* the table was full: 0 */
uintptr_t memory_hit(void) { return hit ? hit - low : 0; }   /* the first that failed */
int memory_sites(void) { return n_sites; }                   /* places that have failed */

static bool ours(const void *caller)
{
    return (uintptr_t)caller - low < high - low;
}

static bool fails(const void *caller)
{
    if (!armed)
        return false;
    pthread_mutex_lock(&lock);
    const long k = at++;
    const bool now = k == nth_ || (for_good_ && k > nth_);
    if (now) {
        if (!hits++)
            hit = (uintptr_t)caller;
        int i = 0;
        while (i < n_sites && site[i] != (uintptr_t)caller)
            i++;
        if (i == n_sites && n_sites < SITES)
            site[n_sites++] = (uintptr_t)caller;
    }
    pthread_mutex_unlock(&lock);
    return now;
}

static size_t home(const void *p)
{
    return ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 48;
}

static void *note(void *p)
{
    if (!p)
        return p;
    pthread_mutex_lock(&lock);
    size_t i = home(p), tries = 0;
    while (slot[i] && slot[i] != (void *)1 && tries++ < SLOTS)
        i = (i + 1) % SLOTS;
    if (tries < SLOTS) {
        slot[i] = p;
        live++;
    } else {
        lost++;
    }
    pthread_mutex_unlock(&lock);
    return p;
}

static bool forget(const void *p)
{
    bool was = false;
    if (!p || high == 0)
        return false;
    pthread_mutex_lock(&lock);
    size_t i = home(p), tries = 0;
    while (slot[i] && slot[i] != p && tries++ < SLOTS)
        i = (i + 1) % SLOTS;
    if (slot[i] == p) {
        slot[i] = (void *)1; /* was used: the search goes on behind it */
        live--;
        was = true;
    }
    pthread_mutex_unlock(&lock);
    return was;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t n)
{
    if (!ours(CALLER))
        return __libc_malloc(n);
    return fails(CALLER) ? (errno = ENOMEM, (void *)0) : note(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    if (!ours(CALLER))
        return __libc_calloc(n, size);
    return fails(CALLER) ? (errno = ENOMEM, (void *)0) : note(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    if (!ours(CALLER))
        return __libc_realloc(p, n);
    if (fails(CALLER))
        return (errno = ENOMEM, (void *)0);
    forget(p);
    return note(__libc_realloc(p, n));
}

int posix_memalign(void **p, size_t align, size_t n)
{
    const bool counted = ours(CALLER);
    if (counted && fails(CALLER))
        return ENOMEM;
    void *made = __libc_memalign(align, n);
    *p = counted ? note(made) : made;
    return made ? 0 : ENOMEM;
}

void *aligned_alloc(size_t align, size_t n)
{
    const bool counted = ours(CALLER);
    if (counted && fails(CALLER))
        return (errno = ENOMEM, (void *)0);
    void *made = __libc_memalign(align, n);
    return counted ? note(made) : made;
}

void free(void *p)
{
    forget(p);
    __libc_free(p);
}
