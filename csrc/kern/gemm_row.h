/* gemm_row.h - one row times a matrix: a pass over B that is bound by memory, or, for
 * small B, by the latency of the multiply-adds. */
#ifndef PA_GEMM_ROW_H
#define PA_GEMM_ROW_H

#include "kern/gemm_tile.h"

/* c = a B or c += a B for cols columns, by the order of gemm.h. a: (K) at stride acs.
 * Columns come in panels of TILE_COLS, `panel` reals apart (TILE_COLS where B lies
 * unpacked), rows of B `ldb` apart. Reads no column from `cols` on. */
void PA_(pa_gemm_row)(size_t K, size_t cols, const real *a, ptrdiff_t acs, const real *b,
                      ptrdiff_t ldb, size_t panel, bool add, real *c);

#endif
