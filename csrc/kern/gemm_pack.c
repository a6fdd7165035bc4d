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

/* ---- rows of B are columns in memory ---------------------------------------------- */

void PA_(pa_gemm_transpose)(size_t rows, size_t cols, const real *src, ptrdiff_t lds,
                            real *dst, ptrdiff_t ldd)
{
    const size_t whole = rows - rows % VT_N;
    for (size_t i = 0; i < whole; i += VT_N, src += VT_N * lds, dst += VT_N) {
        size_t j = 0;
        for (; j + VT_N <= cols; j += VT_N)
            vr_transpose(src + j, lds, dst + (ptrdiff_t)j * ldd, ldd);
        for (; j < cols; j++)
            for (int n = 0; n < VT_N; n++)
                dst[(ptrdiff_t)j * ldd + n] = src[(ptrdiff_t)j + n * lds];
    }
    for (size_t i = whole; i < rows; i++, src += lds, dst++)
        for (size_t j = 0; j < cols; j++)
            dst[(ptrdiff_t)j * ldd] = src[j];
}

static void pack_columns(size_t k, int cols, const real *b, ptrdiff_t ldb, real *dst)
{
    const int last = (cols - 1) / VR_N * VR_N; /* first column of the last vector */
    if (cols % VR_N != 0)
        for (size_t p = 0; p < k; p++)
            vr_store(dst + p * TILE_COLS + last, vr_zero());
    PA_(pa_gemm_transpose)((size_t)cols, k, b, ldb, dst, TILE_COLS);
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
