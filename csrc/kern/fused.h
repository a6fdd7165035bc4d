/* fused.h - an element-wise operator run by another one on results still in cache. */
#ifndef PA_KERN_FUSED_H
#define PA_KERN_FUSED_H

#include <math.h>

#include "base/shape.h"
#include "kern/gemm_bias.h"
#include "op.h"

typedef struct pa_fused {
    const pa_op *op; /* NULL: none */
    real param;
} pa_fused;

/* number: the operator's in the table, below 0 for none; param: NAN for its default. */
static inline pa_fused pa_fused_of(const pa_call *c, double number, double param)
{
    pa_fused f = {0};
    if (number >= 0)
        f.op = c->table->ops[(int)number];
    if (f.op && f.op->map->has_param)
        f.param = (real)(isnan(param) ? f.op->attrs[0].init : param);
    return f;
}

/* y = f(y) and, unless it is NULL, slope = f'(y before). y, slope: (n). */
static inline void pa_fused_run(const pa_fused *f, real *y, real *slope, size_t n)
{
    const pa_map *map = f->op->map;
    char *args[4];
    ptrdiff_t steps[4], count = (ptrdiff_t)n;
    int k = 0;
    if (map->quick && (slope || map->exact)) {
        map->quick(1, n, y, slope, n, NULL);
        return;
    }
    args[k] = (char *)y;
    steps[k++] = sizeof(real);
    if (map->has_param) {
        args[k] = (char *)(uintptr_t)&f->param; /* an input: the loop only reads it */
        steps[k++] = 0;
    }
    args[k] = (char *)y;
    steps[k++] = sizeof(real);
    args[k] = (char *)slope;
    steps[k] = sizeof(real);
    (slope ? map->f_and_grad : map->f)(args, &count, steps, NULL);
}

/* The same of y + bias for a block of a matrix. y, slope: (rows, cols) at row stride ld;
 * bias: (cols), or NULL. */
static inline void pa_fused_block(const pa_fused *f, size_t rows, size_t cols, real *y,
                                  real *slope, size_t ld, const real *bias)
{
    const pa_map *map = f->op ? f->op->map : NULL;
    if (map && map->quick && (slope || map->exact)) {
        map->quick(rows, cols, y, slope, ld, bias);
        return;
    }
    if (bias)
        PA_(pa_bias_add)(rows, cols, y, ld, bias);
    if (!map)
        return;
    if (cols == ld)
        pa_fused_run(f, y, slope, rows * cols);
    else
        for (size_t i = 0; i < rows; i++, y += ld, slope += slope ? ld : 0)
            pa_fused_run(f, y, slope, cols);
}

#endif
