#include "kern/gemm_pack.h"

#include <string.h>

#include "simd/transpose.h"
#include "simd/zip.h"

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

/* Pairs that lie together, and two rows that become such. */
static void part_pairs(size_t n, const real *src, real *dst, ptrdiff_t ldd)
{
    for (; n >= VR_N; n -= VR_N, src += 2 * VR_N, dst += VR_N) {
        const vr a = vr_load(src), b = vr_load(src + VR_N);
        vr_store(dst, vr_even(a, b));
        vr_store(dst + ldd, vr_odd(a, b));
    }
    for (size_t i = 0; i < n; i++) {
        dst[i] = src[2 * i];
        dst[(ptrdiff_t)i + ldd] = src[2 * i + 1];
    }
}

static void join_pairs(size_t n, const real *src, ptrdiff_t lds, real *dst)
{
    for (; n >= VR_N; n -= VR_N, src += VR_N, dst += 2 * VR_N) {
        const vr a = vr_load(src), b = vr_load(src + lds);
        vr_store(dst, vr_zip_low(a, b));
        vr_store(dst + VR_N, vr_zip_high(a, b));
    }
    for (size_t i = 0; i < n; i++) {
        dst[2 * i] = src[i];
        dst[2 * i + 1] = src[(ptrdiff_t)i + lds];
    }
}

/* Inlined where ldd is known: addresses that are not are more than there are registers.
 */
PA_INLINE void transpose(size_t rows, size_t cols, const real *src, ptrdiff_t lds,
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

void PA_(pa_gemm_transpose)(size_t rows, size_t cols, const real *src, ptrdiff_t lds,
                            real *dst, ptrdiff_t ldd)
{
    if (cols == 2 && lds == 2)
        part_pairs(rows, src, dst, ldd);
    else if (rows == 2 && ldd == 2)
        join_pairs(cols, src, lds, dst);
    else if ((cols == 1 && lds == 1) || (rows == 1 && ldd == 1))
        memcpy(dst, src, rows * cols * sizeof *dst);
    else
        transpose(rows, cols, src, lds, dst, ldd);
}

static void pack_columns(size_t k, int cols, const real *b, ptrdiff_t ldb, real *dst)
{
    const int last = (cols - 1) / VR_N * VR_N; /* first column of the last vector */
    if (cols % VR_N != 0)
        for (size_t p = 0; p < k; p++)
            vr_store(dst + p * TILE_COLS + last, vr_zero());
    transpose((size_t)cols, k, b, ldb, dst, TILE_COLS);
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
