/* reduce.h - folding an array over a set of axes by + or max.
 *
 * Sums run in double whatever the dtype; inside a run of neighbouring terms there are
 * eight partial sums and short blocks, so that the error grows with log n rather than n.
 * The maximum propagates NaN. */
#ifndef PA_KERN_REDUCE_H
#define PA_KERN_REDUCE_H

#include "base/shape.h"
#include "kern/loop.h"

enum { PA_FILL_MAX = 1024 }; /* most terms asked of a fill at once */

/* Computes the terms at positions [at, at + n) of the folded array into buf: (n,),
 * n <= PA_FILL_MAX. They belong to the results o, o + o_step, o + 2 o_step ...; o_step is
 * 0 or 1. */
typedef void pa_fill(const void *src, double *buf, size_t at, size_t n, size_t o,
                     size_t o_step);

typedef struct pa_reduction {
    const pa_fold *fold;
    const real *x; /* the array, or NULL: the terms of a sum come from fill(src) */
    pa_fill *fill;
    const void *src;
    bool max;        /* max instead of + */
    double divisor;  /* results are divided by it; 1 unless a mean */
    real *out;       /* (n_out,) or NULL */
    double *wide;    /* (n_out,) or NULL: the results before rounding */
    double *partial; /* (fold->partial,) scratch */
} pa_reduction;

void PA_(pa_reduce)(const pa_reduction *r, const pa_ctx *ctx);

/* The sum of x: (n,), in double. */
double PA_(pa_reduce_row)(const real *x, size_t n);
double PA_(pa_reduce_row_wide)(const double *x, size_t n);

#endif
