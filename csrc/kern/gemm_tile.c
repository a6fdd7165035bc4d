#include "kern/gemm_tile.h"

enum { AHEAD = 32 }; /* rows of B; the tile takes 14 cycles for one on AVX-512 */

/* Inlined into one function for each number of rows and vectors, so that all the loops
 * over them unroll and `acc` lives in registers. */
PA_INLINE void tile(const int rows, const int vecs, size_t k, const real *a,
                    ptrdiff_t ars, ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add,
                    real *c, ptrdiff_t ldc, int cols, const bool keeps, real *keep)
{
    vr acc[TILE_ROWS][TILE_VECS];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    /* Steps in bytes: in elements, gcc compiles the loop twice, once for steps of 1. */
    const char *pa = (const char *)a, *pb = (const char *)b;
    const ptrdiff_t row = ars * (ptrdiff_t)sizeof *a;
    const ptrdiff_t next_a = acs * (ptrdiff_t)sizeof *a,
                    next_b = ldb * (ptrdiff_t)sizeof *b;
    for (; k > 0; k--) {
        vr bj[TILE_VECS];
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            bj[j] = vr_load((const real *)pb + j * VR_N);
        if (keeps) {
            PA_UNROLL
            for (int j = 0; j < vecs; j++)
                vr_store(keep + j * VR_N, bj[j]);
            PA_UNROLL
            for (int j = 0; j < (int)(TILE_COLS * sizeof(real)); j += 64)
                PA_PREFETCH(pb + AHEAD * next_b + j);
            keep += TILE_COLS;
        }
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
    const int last = cols - (vecs - 1) * VR_N; /* lanes of the last vector */
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            real *at = c + i * ldc + j * VR_N;
            if (j < vecs - 1 || last == VR_N)
                vr_store(at, add ? vr_add(vr_load(at), acc[i][j]) : acc[i][j]);
            else
                vr_store_n(at, add ? vr_add(vr_load_n(at, last), acc[i][j]) : acc[i][j],
                           last);
        }
    }
}

#define TILE(rows, vecs)                                                                 \
    static void tile_##rows##x##vecs(size_t k, const real *a, ptrdiff_t ars,             \
                                     ptrdiff_t acs, const real *b, ptrdiff_t ldb,        \
                                     bool add, real *c, ptrdiff_t ldc, int cols)         \
    {                                                                                    \
        tile(rows, vecs, k, a, ars, acs, b, ldb, add, c, ldc, cols, false, NULL);        \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2)

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
    /* clang-format on */

    pa_tile *const tile_table[TILE_VECS][TILE_ROWS] = {{UP_TO_ALL(1)}, {UP_TO_ALL(2)}};

void PA_(pa_gemm_tile_keep)(size_t rows, size_t k, const real *a, ptrdiff_t ars,
                            ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add,
                            real *c, ptrdiff_t ldc, real *keep)
{
    if (rows == TILE_ROWS)
        tile(TILE_ROWS, TILE_VECS, k, a, ars, acs, b, ldb, add, c, ldc, TILE_COLS, true,
             keep);
    else
        tile(TILE_LOW, TILE_VECS, k, a, ars, acs, b, ldb, add, c, ldc, TILE_COLS, true,
             keep);
}
