/* loss_mae - mean absolute error
 *
 * l = |e|, e = pred - target; dl/de = sign e, 0 at e = 0. */
#include <math.h>
#include <stddef.h>

static inline double value(double e, double delta)
{
    (void)delta;
    return fabs(e);
}

static inline double slope(double e, double delta)
{
    (void)delta;
    return e > 0 ? 1 : e < 0 ? -1 : e; /* 0 and NaN stay */
}

#include "kern/loss_error.h"

const pa_op PA_(pa_op_loss_mae) = {
    .name = "loss_mae",
    .formula = "mean(w |pred - target|)",
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
