/* metric_mean - the mean of a number a sample: [sum of weight times it, sum of weights]
 */
#include "base/shape.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    pa_status st = pa_want_dtype("metric_mean", "values", x, PA_REAL, err);
    if (!st && x->rank != 1)
        st = pa_fail(err, PA_EVALUE, "metric_mean: values: got %d axes, expected 1",
                     x->rank);
    if (!st && c->n_in == 2) {
        st = pa_want_dtype("metric_mean", "sample_weight", c->in[1], PA_REAL, err);
        st = st ? st
                : pa_want_same("metric_mean", "sample_weight", c->in[1], "values", x,
                               "one weight a sample", err);
    }
    c->flops = 2 * (double)x->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return st ? st : pa_tensor_init(c->out[0], PA_F64, 1, (int64_t[]){2}, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const real *x = c->in[0]->data, *weight = c->n_in == 2 ? c->in[1]->data : NULL;
    double *out = c->out[0]->data, sum = 0, total = 0;
    (void)ctx;
    for (size_t b = 0; b < c->in[0]->size; b++) {
        double w = weight ? (double)weight[b] : 1;
        sum += w * (double)x[b];
        total += w;
    }
    out[0] = sum;
    out[1] = total;
}

const pa_op PA_(pa_op_metric_mean) = {
    .name = "metric_mean",
    .formula = "mean of values",
    .kind = PA_KIND_METRIC,
    .flags = PA_NO_GRAD,
    .min_in = 1,
    .max_in = 2,
    .n_out = 1,
    .no_din = 3,
    .in_names = "values, sample_weight",
    .shape = shape,
    .forward = forward,
};
