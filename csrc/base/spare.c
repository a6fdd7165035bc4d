#include "base/spare.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/tensor.h"

enum {
    SLOTS = 32,
    LEAST = 128 << 10, /* bytes: what glibc begins to ask the system for */
};

/* A tool that looks for accesses to freed memory is to see it freed. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS 0
#else
#define KEEPS 1
#endif

typedef struct kept {
    void *data;
    size_t bytes;
} kept;

struct pa_spare {
    pa_atomic busy;
    int n;
    size_t bytes;
    kept slot[SLOTS]; /* the oldest first */
};

pa_spare *pa_spare_new(void)
{
    return calloc(1, sizeof(pa_spare));
}

static void *remove_slot(pa_spare *s, int i)
{
    void *data = s->slot[i].data;
    s->bytes -= s->slot[i].bytes;
    s->n--;
    memmove(s->slot + i, s->slot + i + 1, (size_t)(s->n - i) * sizeof *s->slot);
    return data;
}

static void drop_all(pa_spare *s)
{
    while (s->n > 0)
        pa_free(remove_slot(s, 0));
}

void pa_spare_free(pa_spare *s)
{
    if (s)
        drop_all(s);
    free(s);
}

/* False: another thread is at it. Nobody waits, so a fork in between hangs nobody. */
static bool enter(pa_spare *s, size_t bytes)
{
    return KEEPS && bytes >= LEAST && pa_atomic_swap(&s->busy, 1) == 0;
}

static void leave(pa_spare *s)
{
    pa_atomic_swap(&s->busy, 0);
}

void *pa_spare_take(pa_spare *s, size_t bytes)
{
    if (!enter(s, bytes))
        return pa_alloc(bytes);
    void *data = NULL;
    for (int i = s->n - 1; i >= 0 && !data; i--)
        if (s->slot[i].bytes == bytes)
            data = remove_slot(s, i);
    if (!data && !(data = pa_alloc(bytes))) {
        drop_all(s);
        data = pa_alloc(bytes);
    }
    leave(s);
    return data;
}

void pa_spare_give(pa_spare *s, void *p, size_t bytes)
{
    if (!p || bytes > PA_SPARE_BYTES || !enter(s, bytes)) {
        pa_free(p);
        return;
    }
    while (s->n == SLOTS || s->bytes + bytes > PA_SPARE_BYTES)
        pa_free(remove_slot(s, 0));
    s->slot[s->n++] = (kept){p, bytes};
    s->bytes += bytes;
    leave(s);
}
