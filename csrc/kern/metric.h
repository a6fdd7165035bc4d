/* metric.h - metrics that are means: two sums a batch, [weighted sum, weight].
 *
 * An operator's file defines, before it includes this one,
 *     enum { INDEX_TARGETS }   1 when targets are class labels, int32 of pred's shape
 *                              without its last axis; else they have pred's shape
 *     enum { BY_ROW }          1 when `measure` looks at a row of the last axis, else at
 *                              one element
 * and after it `measure`; it gets `shape` and `forward`. Of a sample of several rows or
 * elements the mean is taken; a sample counts with its weight, 1 when there are no
 * weights. Weights of more axes make each step a sample. */
#include "kern/metric_shape.h"

/* What one row or element counts: 0 or 1, or an error. */
static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width);

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = metric_shape(c, INDEX_TARGETS, BY_ROW, err);
    return st ? st : pa_tensor_init(c->out[0], PA_F64, 1, (int64_t[]){2}, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_tensor *pred = c->in[0];
    const real *p = pred->data, *weight = c->n_in == 3 ? c->in[2]->data : NULL;
    const char *t = c->in[1]->data;
    size_t samples = metric_samples(c), per = samples ? pred->size / samples : 0;
    size_t width = BY_ROW || INDEX_TARGETS ? (size_t)pred->dim[pred->rank - 1] : 1;
    size_t items = width ? per / width : 0;
    size_t target_step = INDEX_TARGETS ? sizeof(int32_t) : width * sizeof(real);
    double *out = c->out[0]->data, sum = 0, total = 0;
    size_t next = 0;
    (void)ctx;
    for (size_t b = 0; b < samples; b++) {
        double mean = 0, w = weight ? (double)weight[b] : 1;
        if (metric_stops(b, per, &next))
            return;
        for (size_t i = 0; i < items; i++, p += width, t += target_step)
            mean += measure(c->attr, p, t, width);
        sum += w * mean / (double)items;
        total += w;
    }
    out[0] = sum;
    out[1] = total;
}
