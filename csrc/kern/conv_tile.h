/* conv_tile.h - gemm_tile.h's kernel with its terms in three nested loops, so that a
 * factor can be read out of an image. */
#ifndef PA_CONV_TILE_H
#define PA_CONV_TILE_H

#include "kern/conv.h"
#include "kern/gemm_tile.h"

/* c = or += sum over the loops of a b, and bias on top where it is not NULL. Row i of the
 * tile reads a at i ars; b holds whole vectors; c: (rows, cols) at row stride ldc,
 * bias: (cols). */
typedef void pa_conv_tile(const pa_conv_loop *loop, const real *a, ptrdiff_t ars,
                          const real *b, bool add, const real *bias, real *c,
                          ptrdiff_t ldc, int cols);

/* One vector of columns for the rows of a tile and as many again: where a row of pixels
 * is short, two of them at once read the kernel once, and half as many inner loops end.
 */
typedef struct pa_conv_below { /* from the first rows to the second: */
    ptrdiff_t a, c;
} pa_conv_below;
typedef void pa_conv_pair(const pa_conv_loop *loop, const real *a, ptrdiff_t ars,
                          const real *b, bool add, const real *bias, real *c,
                          ptrdiff_t ldc, int cols, pa_conv_below below);

#define conv_pairs PA_(pa_conv_pair_table)
extern pa_conv_pair *const conv_pairs[TILE_ROWS]; /* by [rows - 1] */

/* By [vectors - 1][rows - 1]. */
#define conv_tiles PA_(pa_conv_tile_table)
extern pa_conv_tile *const conv_tiles[TILE_VECS][TILE_ROWS];

#endif
