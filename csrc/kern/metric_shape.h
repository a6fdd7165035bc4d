/* metric_shape.h - what all metrics of (pred, target[, sample_weight]) ask of shapes. */
#include <math.h>

#include "base/shape.h"
#include "base/watch.h"
#include "kern/loop.h"

static pa_status metric_shape(pa_call *c, bool index_targets, bool by_row, pa_error *err)
{
    const char *op = c->op->name;
    const pa_tensor *pred = c->in[0];
    pa_tensor want = *pred;
    pa_status st = pa_want_dtype(op, "pred", pred, PA_REAL, err);
    if (!st && pred->rank < 1 + (index_targets || by_row))
        st = pa_fail(err, PA_EVALUE, "%s: pred needs at least %d axes, the batch first",
                     op, 1 + (index_targets || by_row));
    if (st)
        return st;
    if (index_targets) {
        st = pa_tensor_init(&want, PA_I32, pred->rank - 1, pred->dim, err);
        st = st ? st : pa_want_dtype(op, "target", c->in[1], PA_I32, err);
    } else
        st = pa_want_dtype(op, "target", c->in[1], PA_REAL, err);
    st = st ? st
            : pa_want_same(op, "target", c->in[1],
                           index_targets ? "pred without its last axis" : "pred", &want,
                           "targets are never broadcast", err);
    if (!st && c->n_in == 3) {
        st = pa_want_dtype(op, "sample_weight", c->in[2], PA_REAL, err);
        st = st ? st
                : pa_want_weights(op, c->in[2], pred,
                                  pred->rank - (index_targets || by_row), err);
    }
    c->flops = (double)pred->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return st;
}

/* Is the caller to stop before sample b, each having `per` elements? *next: before which
 * to look; at first 0. The sums go from the first sample to the last, so there are no
 * chunks between which the pool would look. */
static inline bool metric_stops(size_t b, size_t per, size_t *next)
{
    if (b < *next)
        return false;
    *next = b + 1 + PA_CHUNK_CHEAP / (per ? per : 1);
    return pa_watch_stops(pa_watch_in_pool());
}

/* What counts as one: as many as there are weights, or else the rows of the batch. */
static size_t metric_samples(const pa_call *c)
{
    return c->n_in == 3 ? c->in[2]->size : (size_t)c->in[0]->dim[0];
}
