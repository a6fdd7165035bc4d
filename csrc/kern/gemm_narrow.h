/* gemm_narrow.h - products of one or two columns: the last layer's, most often. */
#ifndef PA_GEMM_NARROW_H
#define PA_GEMM_NARROW_H

#include "kern/gemm_tile.h"
#include "simd/transpose.h"

enum {
    NARROW_COLS = 2,        /* most columns of C */
    NARROW_ROWS = 2 * VR_N, /* least rows, */
    NARROW_K = VT_COLS,     /* least terms */
};

/* C = A B by the order of gemm.h. a: (M, K) at row stride lda, b: (K, N) at strides brs
 * and bcs, c: (M, N) at row stride ldc. */
void PA_(pa_gemm_narrow)(size_t M, size_t N, size_t K, const real *a, ptrdiff_t lda,
                         const real *b, ptrdiff_t brs, ptrdiff_t bcs, real *c,
                         ptrdiff_t ldc);

#endif
