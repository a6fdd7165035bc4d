/* subtract - y = a - b
 *
 * Derivative: dy/da = 1, dy/db = -1. */
#include "kern/loop.h"

static inline real f(real a, real b)
{
    return a - b;
}

static inline double da(double a, double b, double dy)
{
    (void)a;
    (void)b;
    return dy;
}

static inline double db(double a, double b, double dy)
{
    (void)a;
    (void)b;
    return -dy;
}

enum { READS_IN = 0, DA_IS_DY = 1, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_subtract) = {
    .name = "subtract",
    .formula = "a - b",
    .kind = PA_KIND_BINARY,
    .flags = PA_IN_PLACE,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .in_names = "a, b",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
