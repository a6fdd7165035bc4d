/* mean - y = mean of x over `axis` (all axes when none is named), added up in double
 *
 * Derivative: dx = dy / n, repeated. The mean of nothing is NaN. */
#include "kern/reduce_total.h"

static double divisor(const pa_fold *fold)
{
    return (double)fold->terms;
}

const pa_op PA_(pa_op_mean) = {
    .name = "mean",
    .formula = "mean of x over axis",
    .kind = PA_KIND_REDUCE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = reduce_attrs,
    .shape = reduce_shape,
    .forward = forward,
    .backward = backward,
};
