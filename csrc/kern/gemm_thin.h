/* gemm_thin.h - products of few terms: from few inputs, or back from few results. */
#ifndef PA_GEMM_THIN_H
#define PA_GEMM_THIN_H

#include "kern/gemm_tile.h"

enum { THIN_K = 4 }; /* most terms */

/* C = A B or C += A B by the order of gemm.h, K from 1 to THIN_K. a: (M, K) at strides
 * ars and acs, b: (K, N) at row stride ldb, c: (M, N) at ldc. */
void PA_(pa_gemm_thin)(size_t M, size_t N, size_t K, const real *a, ptrdiff_t ars,
                       ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add, real *c,
                       ptrdiff_t ldc);

#endif
