/* softmax.h - the pieces of softmax, log_softmax and the cross-entropies, row by row.
 *
 * With m = max x, e_k = exp(x_k - m) and rest = sum of all e but one of the largest,
 *     softmax = e / (1 + rest),   log_softmax = (x - m) - log1p(rest).
 * Keeping `rest` apart from the 1 is what keeps the digits of a dominant class, where
 * log_softmax = -rest and 1 - softmax = rest / (1 + rest).
 *
 * Everything runs in double; the float64 variants carry the rounding errors of x - m, of
 * exp and of the sum along as a second double. NaN, +inf, and a row of -inf give NaN. */
#ifndef PA_KERN_SOFTMAX_H
#define PA_KERN_SOFTMAX_H

#include <math.h>

#include "kern/loop.h"

enum { PA_SOFT_BLOCK = 1024 }; /* most elements of one call */

typedef struct pa_soft {
    double max;
    double below, below_lo; /* sum of e over the elements under max */
    double ties;            /* elements equal to max */
    /* by pa_soft_finish: */
    double rest, rest_lo;
    double sum, sum_lo; /* 1 + rest */
} pa_soft;

/* The largest of x: (n,) and `max`; NaN is passed over. */
double PA_(pa_soft_max)(const real *x, size_t n, double max);

/* e = exp(x - s->max), for x: (n,), e: (n,), n <= PA_SOFT_BLOCK, added to the sums of s.
 * e_lo: (n,), the rounding errors of e, written by the float64 variants only. */
void PA_(pa_soft_exps)(double *e, double *e_lo, const real *x, size_t n, pa_soft *s);

/* The same with all of e added to s->below, for who needs no `rest`: 12 % faster. */
void PA_(pa_soft_exps_whole)(double *e, double *e_lo, const real *x, size_t n,
                             pa_soft *s);

/* y = e / s->sum, for y: (n,). */
void PA_(pa_soft_scale)(real *y, const double *e, const double *e_lo, size_t n,
                        const pa_soft *s);

/* log(sum of e) = log1p(rest) = the result + *lo. */
double PA_(pa_soft_log)(const pa_soft *s, double *lo);

static inline pa_soft pa_soft_start(double max)
{
    return (pa_soft){.max = max};
}

static inline void pa_soft_finish(pa_soft *s)
{
    double more = s->ties - 1; /* an integer, so this loses nothing where it matters */
    s->rest = s->below + more;
    s->rest_lo = (more - (s->rest - s->below)) + s->below_lo;
    double big = s->rest > 1 ? s->rest : 1, small = s->rest > 1 ? 1 : s->rest;
    s->sum = s->rest + 1;
    s->sum_lo = (small - (s->sum - big)) + s->rest_lo;
}

/* The rows of an array along one axis. */
typedef struct pa_soft_rows {
    size_t n, inner, rows; /* length, stride and number */
    size_t per;            /* rows of one chunk */
} pa_soft_rows;

static inline pa_soft_rows pa_soft_rows_of(const pa_tensor *x, int axis)
{
    pa_soft_rows g = {(size_t)x->dim[axis], 1, 0, 1};
    for (int i = axis + 1; i < x->rank; i++)
        g.inner *= (size_t)x->dim[i];
    g.rows = g.n ? x->size / g.n : 0;
    g.per = g.n && g.n < PA_CHUNK_MATH ? PA_CHUNK_MATH / g.n : 1;
    return g;
}

/* Where row r begins. */
static inline size_t pa_soft_base(const pa_soft_rows *g, size_t r)
{
    return g->inner == 1 ? r * g->n : r / g->inner * g->n * g->inner + r % g->inner;
}

/* A row of any stride. */
typedef struct pa_soft_row {
    const real *x;
    size_t stride, n;
} pa_soft_row;

/* Elements [from, from + n) of the row, gathered into tmp: (PA_SOFT_BLOCK,) if need be.
 */
static inline const real *pa_soft_piece(pa_soft_row r, size_t from, size_t n, real *tmp)
{
    if (r.stride == 1)
        return r.x + from;
    for (size_t i = 0; i < n; i++)
        tmp[i] = r.x[(from + i) * r.stride];
    return tmp;
}

/* The sums of a row. Where it is no longer than PA_SOFT_BLOCK, e and e_lo hold its
 * exponentials afterwards. `whole`: only the sum is wanted, not `rest`. */
PA_INLINE pa_soft pa_soft_row_sums(pa_soft_row r, double *e, double *e_lo, real *tmp,
                                   bool whole)
{
    double max = -INFINITY;
    for (size_t i = 0; i < r.n; i += PA_SOFT_BLOCK) {
        size_t k = r.n - i < PA_SOFT_BLOCK ? r.n - i : PA_SOFT_BLOCK;
        max = PA_(pa_soft_max)(pa_soft_piece(r, i, k, tmp), k, max);
    }
    pa_soft s = pa_soft_start(max);
    for (size_t i = 0; i < r.n; i += PA_SOFT_BLOCK) {
        size_t k = r.n - i < PA_SOFT_BLOCK ? r.n - i : PA_SOFT_BLOCK;
        const real *x =
            r.n > PA_SOFT_BLOCK || r.stride == 1 ? pa_soft_piece(r, i, k, tmp) : tmp;
        if (whole)
            PA_(pa_soft_exps_whole)(e, e_lo, x, k, &s);
        else
            PA_(pa_soft_exps)(e, e_lo, x, k, &s);
    }
    if (whole) {
        s.sum = s.below;
        s.sum_lo = s.below_lo;
    } else {
        pa_soft_finish(&s);
    }
    return s;
}

#endif
