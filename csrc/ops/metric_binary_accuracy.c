/* metric_binary_accuracy - how often (pred > threshold) is the target, 0 or 1 */
enum { INDEX_TARGETS = 0, BY_ROW = 0 };

#include "kern/metric.h"

static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    real said = (real)(pred[0] > (real)a[0].num);
    (void)width;
    return said == *(const real *)target;
}

static const pa_attr_desc attrs[] = {
    {"threshold", PA_ATTR_REAL, 0.5, -HUGE_VAL, HUGE_VAL, "above it pred means 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_metric_binary_accuracy) = {
    .name = "metric_binary_accuracy",
    .formula = "share of (pred > threshold) == target",
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
