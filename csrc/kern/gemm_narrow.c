/* The lanes are rows of C. Blocks of A are transposed in registers while the sums of the
 * blocks before them, chains that nothing shortens, wait for one another. */
#include "kern/gemm_narrow.h"

#include "kern/gemm.h"
#include "kern/gemm_pack.h"

/* Columns [from, VT_COLS) of a block of A times as many rows of B. */
PA_INLINE void add_block(const int n, int from, const real *a, ptrdiff_t lda,
                         const real *b, ptrdiff_t brs, ptrdiff_t bcs,
                         vr sum[2][NARROW_COLS])
{
    vr col[2][VT_COLS];
    vr_columns(a, lda, col[0]);
    vr_columns(a + VR_N * lda, lda, col[1]);
    PA_UNROLL
    for (int p = 0; p < VT_COLS; p++) {
        if (p < from)
            continue;
        PA_UNROLL
        for (int j = 0; j < n; j++) {
            const vr x = vr_set1(b[p * brs + j * bcs]);
            sum[0][j] = vr_fma(col[0][p], x, sum[0][j]);
            sum[1][j] = vr_fma(col[1][p], x, sum[1][j]);
        }
    }
}

/* NARROW_ROWS rows of n columns. c: (n, NARROW_ROWS) */
PA_INLINE void narrow(const int n, size_t K, const real *a, ptrdiff_t lda, const real *b,
                      ptrdiff_t brs, ptrdiff_t bcs, real *c)
{
    const size_t KC = pa_gemm_block(K);
    for (size_t k0 = 0; k0 < K; k0 += KC) {
        size_t k = K - k0 < KC ? K - k0 : KC;
        vr sum[2][NARROW_COLS];
        for (int j = 0; j < n; j++)
            sum[0][j] = sum[1][j] = vr_zero();
        for (; k >= VT_COLS; k -= VT_COLS, a += VT_COLS, b += VT_COLS * brs)
            add_block(n, 0, a, lda, b, brs, bcs, sum);
        const int back = VT_COLS - (int)k; /* columns that have been added already */
        if (k > 0)
            add_block(n, back, a - back, lda, b - back * brs, brs, bcs, sum);
        a += k;
        b += (ptrdiff_t)k * brs;
        for (int i = 0; i < 2 * n; i++) {
            real *at = c + i * VR_N;
            const vr x = sum[i % 2][i / 2];
            vr_store(at, k0 > 0 ? vr_add(vr_load(at), x) : x);
        }
    }
}

void PA_(pa_gemm_narrow)(size_t M, size_t N, size_t K, const real *a, ptrdiff_t lda,
                         const real *b, ptrdiff_t brs, ptrdiff_t bcs, real *c,
                         ptrdiff_t ldc)
{
    real part[NARROW_COLS * NARROW_ROWS];
    for (;;) {
        if (N == 1)
            narrow(1, K, a, lda, b, brs, bcs, part);
        else
            narrow(2, K, a, lda, b, brs, bcs, part);
        PA_(pa_gemm_transpose)(N, NARROW_ROWS, part, NARROW_ROWS, c, ldc);
        if (M == NARROW_ROWS)
            return;
        /* the last rows are computed together with some of those before */
        const size_t step = M < 2 * NARROW_ROWS ? M - NARROW_ROWS : NARROW_ROWS;
        M -= step;
        a += (ptrdiff_t)step * lda;
        c += (ptrdiff_t)step * ldc;
    }
}
