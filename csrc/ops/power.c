/* power - y = a^b
 *
 * Derivative: dy/da = b a^(b-1), 0 where b = 0; dy/db = a^b ln a, 0 where a = 0 (so that
 * constant exponents and zero bases meet no 0 * inf) and where a < 0 with an integer b,
 * for which y is an isolated point. A negative base with another exponent gives NaN, as
 * numpy.power does. float32 is computed in double and rounded once. */
#include "kern/loop.h"

#include <math.h>

static inline real f(real a, real b)
{
    /* The square is exact in double, and by far the most frequent power. */
    return (real)(b == 2 ? (double)a * (double)a : pow((double)a, (double)b));
}

static inline double da(double a, double b, double dy)
{
    return b == 0 ? 0 : b == 2 ? dy * (2 * a) : dy * (b * pow(a, b - 1));
}

static inline double db(double a, double b, double dy)
{
    if (a == 0)
        return 0;
    double y = pow(a, b);
    return a < 0 ? y * 0 : dy * (y * log(a));
}

enum { READS_IN = 1, DA_IS_DY = 0, COST = PA_CHUNK_MATH };

#undef PA_IVDEP /* a call of pow makes no vector loop, and clang would say so */
#define PA_IVDEP

#include "kern/binary.h"

const pa_op PA_(pa_op_power) = {
    .name = "power",
    .formula = "a^b",
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
