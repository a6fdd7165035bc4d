/* metric_top_k - how often the largest entry of target is among the k largest of pred */
enum { INDEX_TARGETS = 0, BY_ROW = 1 };

#include "kern/metric.h"

/* Is fewer than k of the row greater than the target's entry? Not when that is not
 * finite, as in TensorFlow's in_top_k. */
static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    const real *t = target;
    size_t label = 0, greater = 0;
    for (size_t i = 1; i < width; i++)
        if (t[i] > t[label])
            label = i;
    for (size_t i = 0; i < width; i++)
        greater += pred[i] > pred[label];
    return isfinite(pred[label]) && (double)greater < a[0].num;
}

static const pa_attr_desc attrs[] = {
    {"k", PA_ATTR_INT, 5, 1, 2147483647, "how many of the largest count"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_metric_top_k) = {
    .name = "metric_top_k",
    .formula = "share of argmax target among the k largest of pred",
    .kind = PA_KIND_METRIC,
    .flags = PA_NO_GRAD,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 7,
    .in_names = "pred, target, sample_weight",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
