/* sum - y = sum of x over `axis` (all axes when none is named), added up in double
 *
 * Derivative: dx = dy, repeated. The sum of nothing is 0. */
#include "kern/reduce_total.h"

static double divisor(const pa_fold *fold)
{
    (void)fold;
    return 1;
}

const pa_op PA_(pa_op_sum) = {
    .name = "sum",
    .formula = "sum of x over axis",
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
