/* multiply - y = a b
 *
 * Derivative: dy/da = b, dy/db = a. */
#include "kern/loop.h"

static inline real f(real a, real b)
{
    return a * b;
}

static inline double da(double a, double b, double dy)
{
    (void)a;
    return dy * b;
}

static inline double db(double a, double b, double dy)
{
    (void)b;
    return dy * a;
}

enum { READS_IN = 1, DA_IS_DY = 0, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_multiply) = {
    .name = "multiply",
    .formula = "a * b",
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
