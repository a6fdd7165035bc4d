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

/* `tall` rows in blocks of `broad` columns, the last of which may cover some columns once
 * more. */
PA_INLINE void transpose_rows(const bool wide, size_t cols, const real *src,
                              ptrdiff_t lds, real *dst, ptrdiff_t ldd)
{
    const size_t broad = wide ? VT_COLS : VT_PART;
    for (;;) {
        if (wide) {
            vr col[VT_COLS];
            vr_columns(src, lds, col);
            for (int j = 0; j < VT_COLS; j++)
                vr_store(dst + j * ldd, col[j]);
        } else {
            vr_transpose_part(src, lds, dst, ldd);
        }
        if (cols == broad)
            return;
        const size_t step = cols < 2 * broad ? cols - broad : broad;
        cols -= step;
        src += step;
        dst += (ptrdiff_t)step * ldd;
    }
}

void PA_(pa_gemm_transpose)(size_t rows, size_t cols, const real *src, ptrdiff_t lds,
                            real *dst, ptrdiff_t ldd)
{
    const bool wide = rows >= VR_N && cols >= VT_COLS;
    const size_t tall = wide ? VR_N : VT_N;
    if (rows < tall || cols < VT_PART) {
        for (size_t i = 0; i < rows; i++, src += lds, dst++)
            for (size_t j = 0; j < cols; j++)
                dst[(ptrdiff_t)j * ldd] = src[j];
        return;
    }
    for (;;) {
        if (wide)
            transpose_rows(true, cols, src, lds, dst, ldd);
        else
            transpose_rows(false, cols, src, lds, dst, ldd);
        if (rows == tall)
            return;
        const size_t step = rows < 2 * tall ? rows - tall : tall;
        rows -= step;
        src += (ptrdiff_t)step * lds;
        dst += step;
    }
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
