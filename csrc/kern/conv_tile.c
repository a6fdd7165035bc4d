#include "kern/conv_tile.h"

PA_INLINE void store(real *at, vr v, bool add, const real *bias, int n)
{
    if (n == VR_N) {
        if (add)
            v = vr_add(vr_load(at), v);
        if (bias)
            v = vr_add(v, vr_load(bias));
        vr_store(at, v);
        return;
    }
    if (add)
        v = vr_add(vr_load_n(at, n), v);
    if (bias)
        v = vr_add(v, vr_load_n(bias, n));
    vr_store_n(at, v, n);
}

/* Inlined into one function for each number of rows and vectors: see gemm_tile.c. */
PA_INLINE void tile(const int rows, const int vecs, const pa_conv_loop *loop,
                    const real *a, ptrdiff_t ars, const real *b, bool add,
                    const real *bias, real *c, ptrdiff_t ldc, int cols)
{
    vr acc[TILE_ROWS][TILE_VECS];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), row = ars * size;
    const ptrdiff_t next_a = loop->a[2] * size, next_b = loop->b[2] * size;
    for (size_t n0 = 0; n0 < loop->n[0]; n0++) {
        for (size_t n1 = 0; n1 < loop->n[1]; n1++) {
            const char *pa = (const char *)(a + (ptrdiff_t)n0 * loop->a[0] +
                                            (ptrdiff_t)n1 * loop->a[1]);
            const char *pb = (const char *)(b + (ptrdiff_t)n0 * loop->b[0] +
                                            (ptrdiff_t)n1 * loop->b[1]);
            for (size_t k = loop->n[2]; k > 0; k--) {
                vr bj[TILE_VECS];
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    bj[j] = vr_load((const real *)pb + j * VR_N);
                PA_UNROLL
                for (int i = 0; i < rows; i++) {
                    const vr ai = vr_set1(*(const real *)(pa + i * row));
                    PA_UNROLL
                    for (int j = 0; j < vecs; j++)
                        acc[i][j] = vr_fma(ai, bj[j], acc[i][j]);
                }
                pa += next_a;
                pb += next_b;
            }
        }
    }
    const int last = cols - (vecs - 1) * VR_N;
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            store(c + i * ldc + j * VR_N, acc[i][j], add, bias ? bias + j * VR_N : NULL,
                  j < vecs - 1 ? VR_N : last);
    }
}

/* The same for a pair of rows of pixels and one vector. */
PA_INLINE void pair(const int rows, const pa_conv_loop *loop, const real *a,
                    ptrdiff_t ars, const real *b, bool add, const real *bias, real *c,
                    ptrdiff_t ldc, int cols, pa_conv_below below)
{
    vr acc[2 * TILE_ROWS];
    PA_UNROLL
    for (int i = 0; i < rows; i++)
        acc[i] = acc[rows + i] = vr_zero();
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), row = ars * size;
    const ptrdiff_t next_a = loop->a[2] * size, next_b = loop->b[2] * size;
    for (size_t n0 = 0; n0 < loop->n[0]; n0++) {
        for (size_t n1 = 0; n1 < loop->n[1]; n1++) {
            const char *pa = (const char *)(a + (ptrdiff_t)n0 * loop->a[0] +
                                            (ptrdiff_t)n1 * loop->a[1]);
            const char *pb = (const char *)(b + (ptrdiff_t)n0 * loop->b[0] +
                                            (ptrdiff_t)n1 * loop->b[1]);
            const char *low = pa + below.a * size;
            for (size_t k = loop->n[2]; k > 0; k--) {
                const vr bk = vr_load((const real *)pb);
                PA_UNROLL
                for (int i = 0; i < rows; i++)
                    acc[i] = vr_fma(vr_set1(*(const real *)(pa + i * row)), bk, acc[i]);
                PA_UNROLL
                for (int i = 0; i < rows; i++)
                    acc[rows + i] = vr_fma(vr_set1(*(const real *)(low + i * row)), bk,
                                           acc[rows + i]);
                pa += next_a;
                low += next_a;
                pb += next_b;
            }
        }
    }
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        store(c + i * ldc, acc[i], add, bias, cols);
        store(c + below.c + i * ldc, acc[rows + i], add, bias, cols);
    }
}

#define PAIR(rows)                                                                       \
    static void pair_##rows(const pa_conv_loop *loop, const real *a, ptrdiff_t ars,      \
                            const real *b, bool add, const real *bias, real *c,          \
                            ptrdiff_t ldc, int cols, pa_conv_below below)                \
    {                                                                                    \
        pair(rows, loop, a, ars, b, add, bias, c, ldc, cols, below);                     \
    }

#define TILE(rows, vecs)                                                                 \
    static void tile_##rows##x##vecs(const pa_conv_loop *loop, const real *a,            \
                                     ptrdiff_t ars, const real *b, bool add,             \
                                     const real *bias, real *c, ptrdiff_t ldc, int cols) \
    {                                                                                    \
        tile(rows, vecs, loop, a, ars, b, add, bias, c, ldc, cols);                      \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) PAIR(rows)

/* clang-format off */
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5)
#define UP_TO_5(v) tile_1x##v, tile_2x##v, tile_3x##v, tile_4x##v, tile_5x##v
#if TILE_ROWS == 5
#define UP_TO_ALL UP_TO_5
#else
TILES(6)
#if TILE_ROWS == 6
#define UP_TO_ALL(v) UP_TO_5(v), tile_6x##v
#else
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12)
#define UP_TO_12(v) UP_TO_5(v), tile_6x##v, tile_7x##v, tile_8x##v, tile_9x##v, \
                    tile_10x##v, tile_11x##v, tile_12x##v
#if TILE_ROWS == 12
#define UP_TO_ALL UP_TO_12
#else
TILES(13) TILES(14)
#define UP_TO_ALL(v) UP_TO_12(v), tile_13x##v, tile_14x##v
#endif
#endif
#endif
pa_conv_pair *const conv_pairs[TILE_ROWS] = {
    pair_1, pair_2, pair_3, pair_4, pair_5,
#if TILE_ROWS >= 6
    pair_6,
#endif
#if TILE_ROWS >= 12
    pair_7, pair_8, pair_9, pair_10, pair_11, pair_12,
#endif
#if TILE_ROWS >= 14
    pair_13, pair_14,
#endif
};
/* clang-format on */

pa_conv_tile *const conv_tiles[TILE_VECS][TILE_ROWS] = {{UP_TO_ALL(1)}, {UP_TO_ALL(2)}};
