/* metric_mse - the mean of (pred - target)^2 */
enum { INDEX_TARGETS = 0, BY_ROW = 0 };

#include "kern/metric.h"

static double measure(const pa_attr *a, const real *pred, const void *target,
                      size_t width)
{
    double e = (double)pred[0] - (double)*(const real *)target;
    (void)a, (void)width;
    return e * e;
}

const pa_op PA_(pa_op_metric_mse) = {
    .name = "metric_mse",
    .formula = "mean of (pred - target)^2",
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
