/* conv_chunk.h - a batch of convolutions, cut into chunks of images: where in scratch
 * memory everything lies. */
#ifndef PA_KERN_CONV_CHUNK_H
#define PA_KERN_CONV_CHUNK_H

#include <string.h>

#include "base/atomic.h"
#include "kern/conv_flip.h"
#include "kern/conv_frame.h"
#include "kern/conv_grey.h"
#include "kern/conv_image.h"

enum { LINE = 64 / sizeof(real) };

typedef struct layout { /* reals */
    size_t shared;      /* the kernel, laid out; then for each chunk sums, and a slot: */
    size_t partial, dbias, places, sums;
    size_t frame, dz, pool, columns, dframe, room, slot;
    size_t flipped, flat; /* in shared: laid out for `back`, and as it is; */
    size_t stamps;        /* and for windows */
    size_t chunks;
    bool may_sparse, may_window, flips;
    pa_conv back; /* conv_flip.h */
} layout;

layout PA_(pa_conv_layout)(const pa_conv *g);

static inline size_t line(size_t n)
{
    return (n + LINE - 1) / LINE * LINE;
}

static inline size_t frame_size(const pa_conv *g)
{
    const size_t wide = g->thin ? g->O : g->C;
    return framed(g) ? line(g->Hp * g->Wp * wide + PA_CONV_SLACK) : 0;
}

/* Zeros around an image, and behind it; the image itself is copied over what is there. */
static inline void clear_border(const pa_conv *g, real *frame)
{
    const size_t wide = g->thin ? g->O : g->C, image = g->W * wide, row = g->Wp * wide;
    if (!framed(g))
        return;
    size_t at = g->top * row + g->left * wide;
    memset(frame, 0, at * sizeof *frame);
    for (size_t i = 0; i + 1 < g->H; i++, at += row)
        memset(frame + at + image, 0, (row - image) * sizeof *frame);
    memset(frame + at + image, 0, (frame_size(g) - at - image) * sizeof *frame);
}

/* Elements of windows of 2 x 2. */
static inline size_t windows_size(const pa_conv *g)
{
    return (g->OH / 2) * (g->OW / 2) * g->O;
}

/* Reals for the places of windows that are found, and for marks of them. */
static inline size_t found_room(const pa_conv *g)
{
    const size_t bytes = windows_size(g) + (g->grey ? PA_(pa_grey_marks)(g) : 0);
    return line(bytes / sizeof(real) + 1);
}

typedef struct chunked {
    const pa_conv_job *w;
    layout s;
    bool may_sparse, may_window; /* backward: the shape may, the kernel is finite */
    pa_atomic dense; /* chunks that have written into `partial`, a bit for each */
    pa_atomic busy;  /* slots, a bit for each */
} chunked;

/* Image b of (B, n), if there is one, on its way into the cache while the one before is
 * worked on; of large images the processor sees the next line itself. */
static inline void fetch(const chunked *q, size_t b, const real *a, size_t n)
{
    enum { MOST = 16 * 1024 / sizeof(real) };
    if (b >= q->w->g->B || n > MOST)
        return;
    for (size_t i = 0; i < n; i += LINE)
        PA_PREFETCH(a + b * n + i);
}

static inline real *chunk_sums(const chunked *q, ptrdiff_t chunk)
{
    return q->w->scratch + q->s.shared + (size_t)chunk * q->s.sums;
}

/* Memory for a chunk while it runs: the first that no other uses, which so is
 * still in cache from the chunk before. */
static inline real *take_slot(chunked *q, int64_t *bit)
{
    int64_t busy, at;
    do {
        busy = pa_atomic_get(&q->busy);
        for (at = 0, *bit = 1; busy & *bit; *bit <<= 1)
            at++;
    } while (!pa_atomic_cas(&q->busy, busy, busy | *bit));
    return chunk_sums(q, (ptrdiff_t)q->s.chunks) + (size_t)at * q->s.slot;
}

static inline void leave_slot(chunked *q, int64_t bit)
{
    pa_atomic_add(&q->busy, -bit);
}

static inline void images(const chunked *q, ptrdiff_t chunk, size_t *lo, size_t *hi)
{
    const size_t n = q->s.chunks, B = q->w->g->B, i = (size_t)chunk;
    *lo = B / n * i + (i < B % n ? i : B % n);
    *hi = *lo + B / n + (i < B % n);
}

#endif
