/* metric_categorical_accuracy - how often the largest entries of pred and target stand at
 * the same place; of equal ones the first counts */
enum { INDEX_TARGETS = 0, BY_ROW = 1 };

#include "kern/metric.h"

static size_t argmax(const real *x, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[at] ||
            (x[i] != x[i] && x[at] == x[at])) /* NaN is largest, as in NumPy */
            at = i;
    return at;
}

static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    (void)a;
    return argmax(pred, width) == argmax(target, width);
}

const pa_op PA_(pa_op_metric_categorical_accuracy) = {
    .name = "metric_categorical_accuracy",
    .formula = "share of argmax pred == argmax target",
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
