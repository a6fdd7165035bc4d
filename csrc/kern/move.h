/* move.h - copying between arrays of one shape whose strides differ: what transpose,
 * slice and broadcast_to come down to. */
#ifndef PA_KERN_MOVE_H
#define PA_KERN_MOVE_H

#include "op.h"

/* to[i . ts] = from[i . fs] over all indices i of `dim`; strides in elements. */
typedef struct pa_move {
    int rank;
    size_t dim[PA_MAX_RANK];
    ptrdiff_t ts[PA_MAX_RANK], fs[PA_MAX_RANK];
    real *to;
    const real *from;
} pa_move;

/* Runs the move; slabs of the outermost dim go to threads when there is much to do. Joins
 * the dims of `m` that both sides step through alike. */
void PA_(pa_move_run)(pa_move *m, const pa_ctx *ctx);

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
