/* metric_sparse_top_k - how often the target is among the k largest entries of pred */
enum { INDEX_TARGETS = 1, BY_ROW = 1 };

#include "kern/metric.h"

/* Is fewer than k of the row greater than the target's entry? Not when that is not
 * finite, as in TensorFlow's in_top_k. */
static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    int32_t label = *(const int32_t *)target;
    if (label < 0 || (size_t)label >= width) /* not a class: never found */
        return 0;
    real its = pred[label];
    size_t greater = 0;
    for (size_t i = 0; i < width; i++)
        greater += pred[i] > its;
    return isfinite(its) && (double)greater < a[0].num;
}

static const pa_attr_desc attrs[] = {
    {"k", PA_ATTR_INT, 5, 1, 2147483647, "how many of the largest count"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_metric_sparse_top_k) = {
    .name = "metric_sparse_top_k",
    .formula = "share of target among the k largest of pred",
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
