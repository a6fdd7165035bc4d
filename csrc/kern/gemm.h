/* gemm.h - matrix products: C = op(A) op(B), or C += op(A) op(B), row-major.
 *
 * Order of arithmetic: K is cut into as few blocks of at most PA_GEMM_KC terms as there
 * can be, all of one length but for the last, which may be shorter; an element of C is
 * the sum, in order, of its blocks, each one chain of multiply-adds in rising k, begun at
 * zero. This holds for every size, tile, thread and path, so a result's bits depend on
 * its own row and column alone: not on the number of threads, not on how many rows are
 * computed together, and not on the ISA where that has fused multiply-add.
 *
 * No product with zero is skipped: 0 * inf is NaN, as IEEE 754 says.
 *
 * It never allocates; the calling and the pool's threads need 150 KB of stack. */
#ifndef PA_GEMM_H
#define PA_GEMM_H

#include "op.h"

enum { PA_GEMM_KC = 400 };

/* Terms of a block of K. */
static inline size_t pa_gemm_block(size_t K)
{
    const size_t blocks = (K + PA_GEMM_KC - 1) / PA_GEMM_KC;
    return blocks > 1 ? (K + blocks - 1) / blocks : K;
}

/* Called once for each finished block of C while the block is in cache, from any of the
 * pool's threads; blocks do not overlap and together cover C. */
typedef struct pa_gemm_epilogue {
    void (*run)(void *arg, size_t row, size_t rows, size_t col, size_t cols);
    void *arg;
} pa_gemm_epilogue;

/* op(A) is (M, K): a is (M, K) with row stride lda, or (K, M) if ta.
 * op(B) is (K, N): b is (K, N) with row stride ldb, or (N, K) if tb.
 * c is (M, N) with row stride ldc and overlaps neither a nor b. epi may be NULL. */
void PA_(pa_gemm)(pa_pool *pool, bool ta, bool tb, size_t M, size_t N, size_t K,
                  const real *a, size_t lda, const real *b, size_t ldb, bool accumulate,
                  real *c, size_t ldc, const pa_gemm_epilogue *epi);

/* A right factor laid out once for many products: pa_gemm_packed_size reals, 64-byte
 * aligned. The results are pa_gemm's, bit for bit. */
size_t PA_(pa_gemm_packed_size)(size_t N, size_t K);
void PA_(pa_gemm_pack)(bool tb, size_t N, size_t K, const real *b, size_t ldb,
                       real *packed);
void PA_(pa_gemm_packed)(pa_pool *pool, bool ta, size_t M, size_t N, size_t K,
                         const real *a, size_t lda, const real *packed, bool accumulate,
                         real *c, size_t ldc, const pa_gemm_epilogue *epi);

#endif
