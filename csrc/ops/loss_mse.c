/* loss_mse - mean squared error
 *
 * l = e^2, e = pred - target; dl/de = 2 e. */
#include <math.h>
#include <stddef.h>

static inline double value(double e, double delta)
{
    (void)delta;
    return e * e;
}

static inline double slope(double e, double delta)
{
    (void)delta;
    return 2 * e;
}

#include "kern/loss_error.h"

const pa_op PA_(pa_op_loss_mse) = {
    .name = "loss_mse",
    .formula = "mean(w (pred - target)^2)",
    .kind = PA_KIND_LOSS,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 6,
    .in_names = "pred, target, sample_weight",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
