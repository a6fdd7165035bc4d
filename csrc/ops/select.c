/* select - y = x where the condition is not 0, else 0
 *
 * Unlike a product with 0 and 1 it hides infinities and NaN. where(c, a, b) is
 * select(c, a) + select(c = 0, b).
 *
 * Derivative: dx = dy where the condition is not 0, else 0; none in the condition. */
#include "kern/loop.h"

static inline real f(real condition, real x)
{
    return condition != 0 ? x : 0;
}

static inline double da(double condition, double x, double dy)
{
    (void)condition, (void)x, (void)dy;
    return 0;
}

static inline double db(double condition, double x, double dy)
{
    (void)x;
    return condition != 0 ? dy : 0;
}

enum { READS_IN = 1, DA_IS_DY = 0, COST = PA_CHUNK_CHEAP };

#include "kern/binary.h"

const pa_op PA_(pa_op_select) = {
    .name = "select",
    .formula = "x where the condition is not 0, else 0",
    .kind = PA_KIND_BINARY,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .no_din = 1,
    .in_names = "condition, x",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
