/* A tile of so few terms is stored as soon as it is begun: here B stays in registers
 * while rows of C are written one behind the other. */
#include "kern/gemm_thin.h"

/* With all of B go a row's sums and an element of A: into 32 registers, or into 16. */
#if TILE_ROWS > 6
#define THIN_VECS 4
#else
#define THIN_VECS 2
#endif

/* `vecs` vectors of columns, the last of n lanes. */
PA_INLINE void thin(const int k, const int vecs, size_t rows, const real *a,
                    ptrdiff_t ars, ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add,
                    real *c, ptrdiff_t ldc, int n)
{
    vr bk[THIN_K][THIN_VECS];
    PA_UNROLL
    for (int p = 0; p < k; p++, b += ldb) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            bk[p][j] = vr_load_n(b + j * VR_N, j < vecs - 1 ? VR_N : n);
    }
    for (; rows > 0; rows--, a += ars, c += ldc) {
        vr acc[THIN_VECS];
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[j] = vr_zero();
        PA_UNROLL
        for (int p = 0; p < k; p++) {
            const vr x = vr_set1(a[p * acs]);
            PA_UNROLL
            for (int j = 0; j < vecs; j++)
                acc[j] = vr_fma(x, bk[p][j], acc[j]);
        }
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            real *at = c + j * VR_N;
            if (j < vecs - 1 || n == VR_N)
                vr_store(at, add ? vr_add(vr_load(at), acc[j]) : acc[j]);
            else
                vr_store_n(at, add ? vr_add(vr_load_n(at, n), acc[j]) : acc[j], n);
        }
    }
}

#define THIN(k)                                                                          \
    static void thin_##k(size_t M, size_t N, const real *a, ptrdiff_t ars,               \
                         ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add, real *c, \
                         ptrdiff_t ldc)                                                  \
    {                                                                                    \
        const size_t wide = THIN_VECS * VR_N;                                            \
        for (; N >= wide; N -= wide, b += wide, c += wide)                               \
            thin(k, THIN_VECS, M, a, ars, acs, b, ldb, add, c, ldc, VR_N);               \
        for (; N > 0; N -= N < VR_N ? N : VR_N, b += VR_N, c += VR_N)                    \
            thin(k, 1, M, a, ars, acs, b, ldb, add, c, ldc, N < VR_N ? (int)N : VR_N);   \
    }
/* clang-format off */
THIN(1) THIN(2) THIN(3) THIN(4)
/* clang-format on */

void PA_(pa_gemm_thin)(size_t M, size_t N, size_t K, const real *a, ptrdiff_t ars,
                       ptrdiff_t acs, const real *b, ptrdiff_t ldb, bool add, real *c,
                       ptrdiff_t ldc)
{
    (K == 1   ? thin_1
     : K == 2 ? thin_2
     : K == 3 ? thin_3
              : thin_4)(M, N, a, ars, acs, b, ldb, add, c, ldc);
}
