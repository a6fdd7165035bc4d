/* gemm_bias.h - what surrounds the products of a dense layer: the bias on the way
 * forward, dz = dy f'(z) and the bias's gradient on the way back. */
#ifndef PA_GEMM_BIAS_H
#define PA_GEMM_BIAS_H

#include "op.h"

/* c[i, j] += bias[j]. c: (rows, cols) at row stride ldc, bias: (cols). */
void PA_(pa_bias_add)(size_t rows, size_t cols, real *c, size_t ldc, const real *bias);

/* dz = dy * slope and db[j] = sum over i of dz[i, j], in one pass. dy, slope, dz: (rows,
 * cols), contiguous; db: (cols). slope NULL: dz is dy and is not written; db NULL: not
 * wanted. dz may be slope. Sums are in order those of blocks of PA_GEMM_KC rows. */
void PA_(pa_bias_grad)(pa_pool *pool, size_t rows, size_t cols, const real *dy,
                       const real *slope, real *dz, real *db);

#endif
