/* conv_sums.h - what the gradient of a kernel is summed in where places or windows are
 * walked: for each result the kernel's rows, in whole vectors, then a vector for the
 * bias. */
#ifndef PA_KERN_CONV_SUMS_H
#define PA_KERN_CONV_SUMS_H

#include "kern/conv.h"
#include "kern/gemm_tile.h" /* PA_UNROLL */

enum { MOST_ROWS = 5, MOST_VECS = 2 }; /* of the kernel, in registers */

/* One function for each number of rows and vectors, and their table. */
#define EACH_SIZE(MAKE)                                                                  \
    MAKE(1, 1) MAKE(2, 1) MAKE(3, 1) MAKE(4, 1) MAKE(5, 1)                               \
    MAKE(1, 2) MAKE(2, 2) MAKE(3, 2) MAKE(4, 2) MAKE(5, 2)
#define BY_SIZE(name)                                                                    \
    {                                                                                    \
        {name##_1x1, name##_2x1, name##_3x1, name##_4x1, name##_5x1},                    \
        {name##_1x2, name##_2x2, name##_3x2, name##_4x2, name##_5x2},                    \
    }

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t in_vectors(size_t n)
{
    return (n + VR_N - 1) / VR_N * VR_N;
}

/* A row of the kernel for one result. */
static inline size_t row_of(const pa_conv *g)
{
    return in_vectors(g->kw * g->C);
}

static inline size_t sums_of_one(const pa_conv *g)
{
    return g->kh * row_of(g) + VR_N;
}

static inline size_t sums_size(const pa_conv *g)
{
    return g->O * sums_of_one(g);
}

/* sums += acc, rows `row` apart; bias, if it is there, += a vector of equal sums. */
PA_INLINE void add_sums(const int rows, const int vecs, vr (*acc)[MOST_VECS], vr sum,
                        real *bias, size_t row, real *sums)
{
    if (bias)
        vr_store(bias, vr_add(vr_load(bias), sum));
    PA_UNROLL
    for (int i = 0; i < rows; i++, sums += row) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            vr_store(sums + j * VR_N, vr_add(vr_load(sums + j * VR_N), acc[i][j]));
    }
}

#endif
