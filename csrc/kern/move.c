/* move.c - see move.h. One copy of this code for all operators: inlined into each of
 * them, it was 900 KB of the library. */
#include "kern/move.h"

#include <string.h>

#include "kern/gemm_pack.h"
#include "kern/loop.h"

enum { SIDE = 64 / sizeof(real) }; /* a line of memory */

/* Drops dims of 1 and joins neighbours that both sides step through alike. */
static void fold(pa_move *m)
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

static void move_row(real *to, ptrdiff_t ts, const real *from, ptrdiff_t fs, size_t n)
{
    if (ts == 1 && fs == 1)
        memcpy(to, from, n * sizeof *to);
    else if (ts == 1)
        for (size_t i = 0; i < n; i++)
            to[i] = from[(ptrdiff_t)i * fs];
    else
        for (size_t i = 0; i < n; i++)
            to[(ptrdiff_t)i * ts] = from[(ptrdiff_t)i * fs];
}

/* to[i ldt + j] = from[i + j ldf], line by line of what is read. */
static void transpose(size_t rows, size_t cols, real *to, ptrdiff_t ldt, const real *from,
                      ptrdiff_t ldf)
{
    for (size_t i = 0; i < rows; i += SIDE)
        PA_(pa_gemm_transpose)
    (cols, rows - i < SIDE ? rows - i : SIDE, from + i, ldf, to + (ptrdiff_t)i * ldt,
     ldt);
}

/* The two innermost dims in squares, so that whole lines of memory are read and written.
 */
static void move_plane(const pa_move *m, real *to, const real *from)
{
    const int r = m->rank;
    const size_t rows = m->dim[r - 2], cols = m->dim[r - 1];
    const ptrdiff_t ti = m->ts[r - 2], tj = m->ts[r - 1];
    const ptrdiff_t fi = m->fs[r - 2], fj = m->fs[r - 1];
    if (tj == 1 && fi == 1) {
        transpose(rows, cols, to, ti, from, fj);
        return;
    }
    if (ti == 1 && fj == 1) {
        transpose(cols, rows, to, tj, from, fi);
        return;
    }
    for (size_t i0 = 0; i0 < rows; i0 += SIDE)
        for (size_t j0 = 0; j0 < cols; j0 += SIDE) {
            const size_t i1 = rows - i0 < SIDE ? rows : i0 + SIDE;
            const size_t n = cols - j0 < SIDE ? cols - j0 : SIDE;
            for (size_t i = i0; i < i1; i++)
                move_row(to + (ptrdiff_t)i * ti + (ptrdiff_t)j0 * tj, tj,
                         from + (ptrdiff_t)i * fi + (ptrdiff_t)j0 * fj, fj, n);
        }
}

static void move_dims(const pa_move *m, int d, real *to, const real *from)
{
    const int last = m->rank - 1;
    const bool straight = m->ts[last] == 1 && m->fs[last] == 1;
    if (d == last)
        move_row(to, m->ts[d], from, m->fs[d], m->dim[d]);
    else if (d == last - 1 && !straight)
        move_plane(m, to, from);
    else
        for (size_t i = 0; i < m->dim[d]; i++)
            move_dims(m, d + 1, to + (ptrdiff_t)i * m->ts[d],
                      from + (ptrdiff_t)i * m->fs[d]);
}

typedef struct job {
    const pa_move *m;
    size_t per; /* indices of the outermost dim in one chunk */
} job;

static void move_chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *w = arg;
    pa_move part = *w->m;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->m->dim[0], w->per, i, &lo, &hi);
    part.dim[0] = hi - lo;
    move_dims(&part, 0, part.to + (ptrdiff_t)lo * part.ts[0],
              part.from + (ptrdiff_t)lo * part.fs[0]);
}

void PA_(pa_move_run)(pa_move *m, const pa_ctx *ctx)
{
    size_t size = 1;
    for (int i = 0; i < m->rank; i++)
        size *= m->dim[i];
    if (size == 0)
        return;
    fold(m);
    const size_t inner = size / m->dim[0];
    job w = {m, inner < PA_CHUNK_CHEAP ? PA_CHUNK_CHEAP / inner : 1};
    w.per = (w.per + SIDE - 1) / SIDE * SIDE; /* whole squares */
    pa_run(ctx, move_chunk, &w, pa_chunks(m->dim[0], w.per));
}
