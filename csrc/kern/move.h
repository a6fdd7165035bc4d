/* move.h - copying between arrays of one shape whose strides differ: what transpose,
 * slice, concatenate and broadcast_to come down to. */
#ifndef PA_KERN_MOVE_H
#define PA_KERN_MOVE_H

#include <string.h>

#include "kern/loop.h"

enum { PA_MOVE_SIDE = 16 }; /* side of the squares of a transposition */

/* to[i . ts] = from[i . fs] over all indices i of `dim`; strides in elements. */
typedef struct pa_move {
    int rank; /* at least 1 after pa_move_fold */
    size_t dim[PA_MAX_RANK];
    ptrdiff_t ts[PA_MAX_RANK], fs[PA_MAX_RANK];
    real *to;
    const real *from;
    bool add; /* add to what is there instead of writing over it */
} pa_move;

/* Drops dims of 1 and joins neighbours that both sides step through alike. */
static inline void pa_move_fold(pa_move *m)
{
    int n = 0;
    for (int i = 0; i < m->rank; i++) {
        if (m->dim[i] == 1)
            continue;
        if (n && m->ts[n - 1] == m->ts[i] * (ptrdiff_t)m->dim[i] &&
            m->fs[n - 1] == m->fs[i] * (ptrdiff_t)m->dim[i]) {
            m->dim[n - 1] *= m->dim[i];
            m->ts[n - 1] = m->ts[i];
            m->fs[n - 1] = m->fs[i];
        } else {
            m->dim[n] = m->dim[i];
            m->ts[n] = m->ts[i];
            m->fs[n] = m->fs[i];
            n++;
        }
    }
    if (n == 0) {
        m->dim[0] = 1;
        m->ts[0] = m->fs[0] = 1;
        n = 1;
    }
    m->rank = n;
}

static inline void pa_move_row(real *to, ptrdiff_t ts, const real *from, ptrdiff_t fs,
                               size_t n, bool add)
{
    if (add)
        for (size_t i = 0; i < n; i++)
            to[(ptrdiff_t)i * ts] += from[(ptrdiff_t)i * fs];
    else if (ts == 1 && fs == 1)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++)
            to[(ptrdiff_t)i * ts] = from[(ptrdiff_t)i * fs];
}

/* The two innermost dims in squares of 16, so that a transposition reads and writes whole
 * lines of memory. */
static inline void pa_move_plane(const pa_move *m, real *to, const real *from)
{
    int r = m->rank;
    size_t rows = m->dim[r - 2], cols = m->dim[r - 1];
    for (size_t i0 = 0; i0 < rows; i0 += PA_MOVE_SIDE)
        for (size_t j0 = 0; j0 < cols; j0 += PA_MOVE_SIDE) {
            size_t i1 = rows - i0 < PA_MOVE_SIDE ? rows : i0 + PA_MOVE_SIDE;
            size_t n = cols - j0 < PA_MOVE_SIDE ? cols - j0 : PA_MOVE_SIDE;
            for (size_t i = i0; i < i1; i++)
                pa_move_row(
                    to + (ptrdiff_t)i * m->ts[r - 2] + (ptrdiff_t)j0 * m->ts[r - 1],
                    m->ts[r - 1],
                    from + (ptrdiff_t)i * m->fs[r - 2] + (ptrdiff_t)j0 * m->fs[r - 1],
                    m->fs[r - 1], n, m->add);
        }
}

static inline void pa_move_dims(const pa_move *m, int d, real *to, const real *from)
{
    bool straight = m->ts[m->rank - 1] == 1 && m->fs[m->rank - 1] == 1;
    if (d == m->rank - 1)
        pa_move_row(to, m->ts[d], from, m->fs[d], m->dim[d], m->add);
    else if (d == m->rank - 2 && !straight && !m->add)
        pa_move_plane(m, to, from);
    else
        for (size_t i = 0; i < m->dim[d]; i++)
            pa_move_dims(m, d + 1, to + (ptrdiff_t)i * m->ts[d],
                         from + (ptrdiff_t)i * m->fs[d]);
}

typedef struct pa_move_job {
    const pa_move *m;
    size_t per; /* indices of the outermost dim in one chunk */
} pa_move_job;

static inline void pa_move_chunk(void *arg, ptrdiff_t i, int worker)
{
    const pa_move_job *w = arg;
    pa_move part = *w->m;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->m->dim[0], w->per, i, &lo, &hi);
    part.dim[0] = hi - lo;
    pa_move_dims(&part, 0, part.to + (ptrdiff_t)lo * part.ts[0],
                 part.from + (ptrdiff_t)lo * part.fs[0]);
}

/* Runs the move; slabs of the outermost dim go to threads when there is much to do. */
static inline void pa_move_run(pa_move *m, const pa_ctx *ctx)
{
    size_t size = 1;
    for (int i = 0; i < m->rank; i++)
        size *= m->dim[i];
    if (size == 0)
        return;
    pa_move_fold(m);
    size_t inner = size / m->dim[0];
    pa_move_job w = {m, inner < PA_CHUNK_CHEAP ? PA_CHUNK_CHEAP / inner : 1};
    w.per = (w.per + PA_MOVE_SIDE - 1) / PA_MOVE_SIDE * PA_MOVE_SIDE; /* whole squares */
    pa_run(ctx, pa_move_chunk, &w, pa_chunks(m->dim[0], w.per));
}

/* C-order strides of a shape, in elements. */
static inline void pa_strides(const pa_tensor *t, ptrdiff_t s[PA_MAX_RANK])
{
    ptrdiff_t step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        s[i] = step;
        step *= t->dim[i] ? (ptrdiff_t)t->dim[i] : 1;
    }
}

#endif
