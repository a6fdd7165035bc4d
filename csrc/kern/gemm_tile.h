/* gemm_tile.h - the innermost kernels of gemm: one tile of C in registers.
 *
 * A tile is `rows` x `cols` with rows <= TILE_ROWS and cols <= TILE_COLS = TILE_VECS
 * vectors. Every element is one chain of multiply-adds over k in rising order, begun at
 * zero; so neither the tile's size nor its place changes a bit of the result. */
#ifndef PA_GEMM_TILE_H
#define PA_GEMM_TILE_H

#include "simd/simd.h"

/* Accumulators fill the register file, two registers hold a row of B, one an element of
 * A: 28 + 3 of 32 on AVX-512, 12 + 3 of 16 on AVX2. Two vectors wide is the least that
 * hides the loads behind the multiply-adds, and wastes least on narrow C. */
#if defined(PA_SIMD_BASE)
#define TILE_ROWS 5 /* products need a register of their own */
#elif defined(__AVX512F__)
#define TILE_ROWS 14
#elif defined(__AVX2__)
#define TILE_ROWS 6
#else
#define TILE_ROWS 12 /* 32 registers */
#endif
#define TILE_LOW  (TILE_ROWS < 7 ? TILE_ROWS : 7) /* of 8 ways of a cache set */
#define TILE_VECS 2
#define TILE_COLS (TILE_VECS * VR_N)

/* Before a loop whose every turn works on registers of its own. */
#if defined(__clang__)
#define PA_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define PA_UNROLL _Pragma("GCC unroll 16")
#else
#define PA_UNROLL
#endif

/* Do rows so many reals apart, a multiple of 4 KB, fall into one set of the first-level
 * cache? Then a tile takes TILE_LOW rows of A. */
static inline bool tile_aliases(ptrdiff_t stride)
{
    return (stride * (ptrdiff_t)sizeof(real)) % 4096 == 0;
}

/* C = A B, or C += A B if `add`, over k terms. a: (rows, k) at strides ars and acs,
 * b: (k, TILE_COLS) at row stride ldb, of which columns from `cols` on may hold anything
 * finite but must be readable up to the next whole vector; c: (rows, cols) at ldc. */
typedef void pa_tile(size_t k, const real *a, ptrdiff_t ars, ptrdiff_t acs, const real *b,
                     ptrdiff_t ldb, bool add, real *c, ptrdiff_t ldc, int cols);

/* By [vectors - 1][rows - 1]. */
#define tile_table PA_(pa_gemm_tile_table)
extern pa_tile *const tile_table[TILE_VECS][TILE_ROWS];

/* TILE_ROWS or TILE_LOW rows and TILE_COLS columns, also laying the rows of b out at
 * `keep`, TILE_COLS apart. The stores hide behind the multiply-adds: the first tile that
 * reads a panel packs it for nothing. */
void PA_(pa_gemm_tile_keep)(size_t rows, size_t k, const real *a, ptrdiff_t ars,
                            ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add,
                            real *c, ptrdiff_t ldc, real *keep);

#endif
