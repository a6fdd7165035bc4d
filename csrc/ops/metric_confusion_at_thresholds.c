/* metric_confusion_at_thresholds - weights of true positives, false positives, false
 * negatives and true negatives at n thresholds: rows 0 to 3 of a (4, n) array
 *
 * pred counts as positive when it is greater than the threshold, target when it is over
 * 0. For n = 1 the threshold is the attribute; for more they are, as in Keras,
 * -1e-7, 1/(n-1), 2/(n-1), ..., 1 + 1e-7. Each element is sorted into the gap between two
 * thresholds where it lies; sums over the gaps give the counts. */
#include "kern/metric_shape.h"

enum { N = 0, THRESHOLD = 1 };

/* Rounded to the dtype, so that a float32 prediction of 0.3 is not over a threshold of
 * 0.3. */
static real threshold(const pa_attr *a, size_t k)
{
    size_t n = (size_t)a[N].num;
    if (n == 1)
        return (real)a[THRESHOLD].num;
    double even = (double)k / (double)(n - 1);
    return (real)(k == 0 ? -1e-7 : k == n - 1 ? 1 + 1e-7 : even);
}

static pa_status confusion_shape(pa_call *c, pa_error *err)
{
    int64_t n = (int64_t)c->attr[N].num;
    pa_status st = metric_shape(c, false, false, err);
    c->scratch_bytes = 2 * ((size_t)n + 1) * sizeof(double);
    return st ? st : pa_tensor_init(c->out[0], PA_F64, 2, (int64_t[]){4, n}, err);
}

/* How many thresholds lie below p; none when p is NaN. */
static size_t below(const pa_attr *a, real p)
{
    size_t lo = 0, hi = (size_t)a[N].num;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p > threshold(a, mid))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void confusion(const pa_call *c, const pa_ctx *ctx)
{
    const pa_tensor *pred = c->in[0];
    const real *p = pred->data, *t = c->in[1]->data;
    const real *weight = c->n_in == 3 ? c->in[2]->data : NULL;
    size_t n = (size_t)c->attr[N].num, samples = metric_samples(c);
    size_t per = samples ? pred->size / samples : 0;
    double *positive = c->scratch, *negative = positive + n + 1, *out = c->out[0]->data;
    (void)ctx;
    for (size_t k = 0; k <= n; k++)
        positive[k] = negative[k] = 0;
    for (size_t b = 0, next = 0; b < samples; b++) {
        if (metric_stops(b, per, &next))
            return;
        for (size_t i = 0; i < per; i++, p++, t++)
            (*t > 0 ? positive : negative)[below(c->attr, *p)] +=
                weight ? (double)weight[b] : 1;
    }
    double tp = 0, fp = 0, fn = 0, tn = 0;
    for (size_t k = n; k-- > 0;) { /* an element in gap g is positive at thresholds < g */
        out[k] = tp += positive[k + 1];
        out[n + k] = fp += negative[k + 1];
    }
    for (size_t k = 0; k < n; k++) {
        out[2 * n + k] = fn += positive[k];
        out[3 * n + k] = tn += negative[k];
    }
}

static const pa_attr_desc attrs[] = {
    {"n", PA_ATTR_INT, 1, 1, 1 << 20, "number of thresholds"},
    {"threshold", PA_ATTR_REAL, 0.5, -HUGE_VAL, HUGE_VAL, "the only one, when n is 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_metric_confusion_at_thresholds) = {
    .name = "metric_confusion_at_thresholds",
    .formula = "weights of tp, fp, fn, tn of (pred > threshold) against (target > 0)",
    .kind = PA_KIND_METRIC,
    .flags = PA_NO_GRAD,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 7,
    .in_names = "pred, target, sample_weight",
    .attrs = attrs,
    .shape = confusion_shape,
    .forward = confusion,
};
