#include "kern/gemm_pack.h"

#include "simd/transpose.h"

/* ---- rows of B are rows in memory -----------------------------------------------------
 */

static void pack_rows(size_t k, int cols, const real *b, ptrdiff_t ldb, real *dst)
{
    const int whole = cols / VR_N * VR_N;
    if (cols == TILE_COLS) {
        for (size_t p = 0; p < k; p++, b += ldb, dst += TILE_COLS)
            for (int j = 0; j < TILE_COLS; j += VR_N)
                vr_store(dst + j, vr_load(b + j));
        return;
    }
    for (size_t p = 0; p < k; p++, b += ldb, dst += TILE_COLS) {
        for (int j = 0; j < whole; j += VR_N)
            vr_store(dst + j, vr_load(b + j));
        if (whole < cols)
            vr_store(dst + whole, vr_load_n(b + whole, cols - whole));
    }
}

/* ---- rows of B are columns in memory
 * ---------------------------------------------------- */

static void pack_columns(size_t k, int cols, const real *b, ptrdiff_t ldb, real *dst)
{
    int j = 0;
    for (; j + VT_N <= cols; j += VT_N) {
        const real *src = b + j * ldb;
        size_t p = 0;
        for (; p + VT_N <= k; p += VT_N)
            vr_transpose(src + p, ldb, dst + p * TILE_COLS + j, TILE_COLS);
        for (; p < k; p++)
            for (int i = 0; i < VT_N; i++)
                dst[p * TILE_COLS + (size_t)(j + i)] = src[(ptrdiff_t)p + i * ldb];
    }
    if (cols % VR_N == 0)
        return;
    const size_t rest = (size_t)(VR_N - j % VR_N); /* to the end of the last vector */
    for (size_t p = 0; p < k; p++) {
        real t[VR_N] = {0};
        for (int i = 0; i < cols - j; i++)
            t[i] = b[(ptrdiff_t)p + (j + i) * ldb];
        memcpy(dst + p * TILE_COLS + j, t, rest * sizeof *t);
    }
}

void PA_(pa_gemm_pack_b)(bool tb, size_t k, size_t cols, const real *b, ptrdiff_t ldb,
                         real *dst, size_t panel)
{
    for (size_t j = 0; j < cols; j += TILE_COLS, dst += panel) {
        const int n = cols - j < TILE_COLS ? (int)(cols - j) : TILE_COLS;
        if (tb)
            pack_columns(k, n, b + (ptrdiff_t)j * ldb, ldb, dst);
        else
            pack_rows(k, n, b + j, ldb, dst);
    }
}

void PA_(pa_gemm_copy)(size_t rows, size_t k, const real *a, ptrdiff_t lda, real *dst,
                       ptrdiff_t ldd)
{
    const size_t whole = k - k % VR_N;
    for (size_t i = 0; i < rows; i++, a += lda, dst += ldd) {
        for (size_t p = 0; p < whole; p += VR_N)
            vr_store(dst + p, vr_load(a + p));
        if (whole < k)
            vr_store_n(dst + whole, vr_load_n(a + whole, (int)(k - whole)),
                       (int)(k - whole));
    }
}
