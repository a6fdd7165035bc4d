/* metric_sparse_categorical_accuracy - how often the largest entry of pred stands at the
 * target; of equal ones the first counts */
enum { INDEX_TARGETS = 1, BY_ROW = 1 };

#include "kern/metric.h"

static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    int32_t label = *(const int32_t *)target;
    size_t at = 0;
    (void)a;
    for (size_t i = 1; i < width; i++)
        if (pred[i] > pred[at] || (pred[i] != pred[i] && pred[at] == pred[at]))
            at = i; /* NaN is largest, as in NumPy */
    return (int32_t)at == label;
}

const pa_op PA_(pa_op_metric_sparse_categorical_accuracy) = {
    .name = "metric_sparse_categorical_accuracy",
    .formula = "share of argmax pred == target",
    .kind = PA_KIND_METRIC,
    .flags = PA_NO_GRAD,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 7,
    .in_names = "pred, target, sample_weight",
    .shape = shape,
    .forward = forward,
};
