#include "kern/rnn_product.h"

#include "kern/gemm.h"
#include "kern/gemm_tile.h"

/* Columns [0, cols) of C, one panel wide. */
static void one_panel(size_t rows, int cols, size_t K, const real *a, size_t lda,
                      const real *b, bool add, real *c, size_t ldc)
{
    const size_t most = tile_aliases((ptrdiff_t)lda) ? TILE_LOW : TILE_ROWS;
    const size_t tiles = (rows + most - 1) / most;
    const int vecs = (cols + VR_N - 1) / VR_N;
    const size_t block = pa_gemm_block(K);
    for (size_t k0 = 0; k0 < K; k0 += block) {
        const size_t k = K - k0 < block ? K - k0 : block;
        for (size_t at = 0, i = 0; at < tiles; at++) {
            const size_t m = rows / tiles + (at < rows % tiles);
            tile_table[vecs - 1][m - 1](k, a + i * lda + k0, (ptrdiff_t)lda, 1,
                                        b + k0 * TILE_COLS, TILE_COLS, add || k0 > 0,
                                        c + i * ldc, (ptrdiff_t)ldc, cols);
            i += m;
        }
    }
}

void PA_(pa_rnn_product)(size_t rows, size_t N, size_t K, const real *a, size_t lda,
                         const real *packed, size_t panel, bool add, real *c, size_t ldc)
{
    for (size_t j = 0; j < N; j += TILE_COLS, packed += panel) {
        const int cols = N - j < TILE_COLS ? (int)(N - j) : TILE_COLS;
        one_panel(rows, cols, K, a, lda, packed, add, c + j, ldc);
    }
}
