/* minimum - y = min(a, b), NaN where either is NaN, as numpy.minimum
 *
 * Derivative: the whole gradient goes to the smaller one and, where a = b, to a, as in
 * TensorFlow. NaN in either sends it to a. */
#include "kern/loop.h"

static inline real f(real a, real b)
{
    return a <= b || a != a ? a : b;
}

static inline double da(double a, double b, double dy)
{
    return a > b ? 0 : dy;
}

static inline double db(double a, double b, double dy)
{
    return a > b ? dy : 0;
}

enum { READS_IN = 1, DA_IS_DY = 0, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_minimum) = {
    .name = "minimum",
    .formula = "min(a, b)",
    .kind = PA_KIND_BINARY,
    .flags = PA_IN_PLACE | PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .in_names = "a, b",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
