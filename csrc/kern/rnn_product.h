/* rnn_product.h - the product that a step of a recurrent layer makes: few rows, with a
 * right factor that was laid out once (pa_gemm_pack) and is used at every step.
 *
 * Its results are pa_gemm's, bit for bit. Few rows are all its tiles together: each panel
 * of the factor is taken from the second-level cache once for all of them. */
#ifndef PA_RNN_PRODUCT_H
#define PA_RNN_PRODUCT_H

#include "op.h"

/* C = A B, or C += A B if `add`, over the first K rows of B. a: (rows, K) at row stride
 * lda; packed: panels of B, `panel` reals apart; c: (rows, N) at row stride ldc. */
void PA_(pa_rnn_product)(size_t rows, size_t N, size_t K, const real *a, size_t lda,
                         const real *packed, size_t panel, bool add, real *c, size_t ldc);

#endif
