/* divide - y = a / b
 *
 * Derivative: dy/da = 1 / b, dy/db = -a / b^2 (computed as (a / b) / b: b^2 may underflow
 * where the answer does not). Division by 0 gives what IEEE 754 says. */
#include "kern/loop.h"

static inline real f(real a, real b)
{
    return a / b;
}

static inline double da(double a, double b, double dy)
{
    (void)a;
    return dy / b;
}

static inline double db(double a, double b, double dy)
{
    return -dy * (a / b / b);
}

enum { READS_IN = 1, DA_IS_DY = 0, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_divide) = {
    .name = "divide",
    .formula = "a / b",
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
