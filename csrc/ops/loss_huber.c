/* loss_huber - Huber loss: squares near 0, absolute values beyond delta
 *
 * l = e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2); dl/de = e, else
 * delta sign e. Reference: Huber, Robust estimation of a location parameter, 1964. */
#include <math.h>
#include <stddef.h>

static inline double value(double e, double delta)
{
    double a = fabs(e);
    return a <= delta ? 0.5 * e * e : delta * (a - 0.5 * delta);
}

static inline double slope(double e, double delta)
{
    return e > delta ? delta : e < -delta ? -delta : e;
}

#include "kern/loss_error.h"

static const pa_attr_desc attrs[] = {
    {"delta", PA_ATTR_REAL, 1, 0, 1e300, "where squares end and absolute values begin"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_loss_huber) = {
    .name = "loss_huber",
    .formula = "mean(w (e^2 / 2 if |e| <= delta else delta |e| - delta^2 / 2))",
    .kind = PA_KIND_LOSS,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .no_din = 6,
    .in_names = "pred, target, sample_weight",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
