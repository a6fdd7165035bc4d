/* greater_equal - y = 1 where a >= b, else 0; 0 where either is NaN
 *
 * Derivative: none; y is constant but for its jumps. */
#include "kern/loop.h"

static inline real f(real a, real b)
{
    return a >= b ? 1 : 0;
}

static inline double da(double a, double b, double dy)
{
    (void)a, (void)b, (void)dy;
    return 0;
}

static inline double db(double a, double b, double dy)
{
    (void)a, (void)b, (void)dy;
    return 0;
}

enum { READS_IN = 0, DA_IS_DY = 0, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_greater_equal) = {
    .name = "greater_equal",
    .formula = "1 where a >= b, else 0",
    .kind = PA_KIND_BINARY,
    .flags = PA_IN_PLACE | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .no_din = 3,
    .in_names = "a, b",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
