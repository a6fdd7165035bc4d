/* settle - a row of fresh, or of old where no element differs from it by more than
 * tolerance; closes the loop that `reenter` began
 *
 * old: (B, ...), fresh: the same; scale: the same, or not given; y: the same; moving: (),
 * the number of rows that are not at rest. The tolerance is times the largest |scale| of
 * the row. For iterations towards a fixed point y = F(y): a row that has come to rest
 * stays, so what it becomes does not depend on the other rows, and when all rest the
 * rounds that are left would change nothing. A NaN is never at rest.
 *
 * Derivative: that of the fixed point, by the implicit function theorem. With J = dF/dy
 * at old, d fresh = v where v = dy + v J, found by the same iteration (graph/steps.c). */
#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "op.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    static const char *const names[] = {"old", "fresh", "scale"};
    for (int i = 0; i < c->n_in; i++) {
        pa_status st = pa_want_dtype("settle", names[i], c->in[i], PA_REAL, err);
        st = st ? st
                : pa_want_same("settle", "old", c->in[0], names[i], c->in[i],
                               "expected equal shapes, batch first", err);
        if (st)
            return st;
    }
    if (c->in[0]->rank < 1)
        return pa_fail(err, PA_EVALUE, "settle: old has no axes; expected batch first");
    c->flops = 3 * (double)c->in[0]->size;
    c->saved_bytes = c->scratch_bytes = 0;
    pa_status st = pa_tensor_init(c->out[1], PA_REAL, 0, NULL, err);
    return st ? st
              : pa_tensor_init(c->out[0], PA_REAL, c->in[0]->rank, c->in[0]->dim, err);
}

static real largest(const real *x, size_t n)
{
    real most = 0;
    for (size_t j = 0; j < n; j++) {
        const real size = x[j] < 0 ? -x[j] : x[j];
        most = size > most ? size : most;
    }
    return most;
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
    const real *scale = c->n_in > 2 ? c->in[2]->data : NULL;
    real *y = c->out[0]->data, moving = 0;
    (void)ctx;
    for (size_t b = 0; b < rows && n > 0; b++, old += n, fresh += n, y += n) {
        real tolerance = (real)c->attr[1].num;
        if (scale)
            tolerance *= largest(scale + b * n, n);
        const bool rest = rests(old, fresh, n, tolerance);
        moving += !rest;
        if (!rest || y != old) /* y may be old's memory */
            memcpy(y, rest ? old : fresh, n * sizeof *y);
    }
    *(real *)c->out[1]->data = moving;
}

static const pa_attr_desc attrs[] = {
    {"rounds", PA_ATTR_INT, 1, 1, INT32_MAX, "times that a loop runs at most"},
    {"tolerance", PA_ATTR_REAL, 1e-6, 0, INFINITY,
     "largest difference that counts as rest"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_settle) = {
    .name = "settle",
    .formula = "a row of fresh, or of old where |fresh - old| <= tolerance throughout",
    .kind = PA_KIND_LAYER,
    .flags = PA_NO_GRAD | PA_LOOP_END | PA_IN_PLACE,
    .min_in = 2,
    .max_in = 3,
    .n_out = 2,
    .no_din = 1 | 1 << 2,
    .in_names = "old, fresh, scale",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
