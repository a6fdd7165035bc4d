/* gemm_pack.h - lays parts of B out as the tile kernels read them fastest. */
#ifndef PA_GEMM_PACK_H
#define PA_GEMM_PACK_H

#include "kern/gemm_tile.h"

/* Columns [0, cols) of B (k, cols) into panels of TILE_COLS columns, each (k, TILE_COLS)
 * with `panel` reals from one panel to the next; columns are padded with zeros to whole
 * vectors. b: (k, cols) at row stride ldb, or (cols, k) if tb. */
void PA_(pa_gemm_pack_b)(bool tb, size_t k, size_t cols, const real *b, ptrdiff_t ldb,
                         real *dst, size_t panel);

/* dst[j ldd + i] = src[i lds + j]. src: (rows, cols), dst: (cols, rows). */
void PA_(pa_gemm_transpose)(size_t rows, size_t cols, const real *src, ptrdiff_t lds,
                            real *dst, ptrdiff_t ldd);

#endif
