/* settle - a row of fresh, or of old where no element differs from it by more than
 * tolerance
 *
 * old: (B, ...), fresh: the same; y: the same. For iterations towards a fixed point: a
 * row that has come to rest stays. A NaN is never at rest. Not differentiable: what comes
 * out is a point to begin from. */
#include <string.h>

#include "base/shape.h"
#include "kern/loop.h"
#include "simd/simd.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *old = c->in[0], *fresh = c->in[1];
    char a[128], b[128];
    pa_status st = pa_want_dtype("settle", "old", old, PA_REAL, err);
    st = st ? st : pa_want_dtype("settle", "fresh", fresh, PA_REAL, err);
    if (st)
        return st;
    if (old->rank < 1 || old->rank != fresh->rank ||
        memcmp(old->dim, fresh->dim, (size_t)old->rank * sizeof *old->dim) != 0)
        return pa_fail(err, PA_EVALUE,
                       "settle: old has shape %s and fresh %s; expected equal shapes, "
                       "batch first",
                       pa_shape_text(old, a), pa_shape_text(fresh, b));
    c->flops = 3 * (double)old->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], PA_REAL, old->rank, old->dim, err);
}

/* Is each of n elements within the tolerance? */
static bool rests(const real *old, const real *fresh, size_t n, real tolerance)
{
    bool all = true;
    for (size_t j = 0; j < n; j++) {
        const real d = fresh[j] - old[j];
        all = all && d <= tolerance && -d <= tolerance;
    }
    return all;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const size_t size = c->out[0]->size, rows = (size_t)c->out[0]->dim[0];
    const size_t n = size ? size / rows : 0;
    const real *old = c->in[0]->data, *fresh = c->in[1]->data;
    real *y = c->out[0]->data;
    (void)ctx;
    for (size_t b = 0; b < rows && n > 0; b++, old += n, fresh += n, y += n)
        memcpy(y, rests(old, fresh, n, (real)c->attr[0].num) ? old : fresh,
               n * sizeof *y);
}

static const pa_attr_desc attrs[] = {
    {"tolerance", PA_ATTR_REAL, 1e-6, 0, INFINITY,
     "largest difference that counts as rest"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_settle) = {
    .name = "settle",
    .formula = "a row of fresh, or of old where |fresh - old| <= tolerance throughout",
    .kind = PA_KIND_LAYER,
    .flags = PA_NO_GRAD,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .no_din = 3,
    .in_names = "old, fresh",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
