#include "kern/gemm_row.h"

#include "kern/gemm.h"

/* Eight vectors keep the multiply-add units busy through their latency, and read 512
 * bytes of a row at a time on AVX-512. */
enum { ROW_VECS = 8 };

/* The first `vecs` vectors; the last holds `last` lanes, which matters if `part`. */
PA_INLINE void row(const int vecs, const bool part, size_t k, const real *a,
                   ptrdiff_t acs, const real *b, ptrdiff_t ldb, size_t panel, bool add,
                   real *c, int last)
{
    vr acc[ROW_VECS];
    const real *bj[ROW_VECS];
    PA_UNROLL
    for (int j = 0; j < vecs; j++) {
        acc[j] = vr_zero();
        bj[j] = b + (size_t)(j / TILE_VECS) * panel + (size_t)(j % TILE_VECS * VR_N);
    }
    ptrdiff_t at = 0;
    for (; k > 0; k--, a += acs, at += ldb) {
        const vr x = vr_set1(*a);
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            const real *p = bj[j] + at;
            acc[j] = vr_fma(x, part && j == vecs - 1 ? vr_load_n(p, last) : vr_load(p),
                            acc[j]);
        }
    }
    PA_UNROLL
    for (int j = 0; j < vecs; j++, c += VR_N) {
        if (part && j == vecs - 1)
            vr_store_n(c, add ? vr_add(vr_load_n(c, last), acc[j]) : acc[j], last);
        else
            vr_store(c, add ? vr_add(vr_load(c), acc[j]) : acc[j]);
    }
}

/* One function for each number of vectors, so that the accumulators are registers. */
#define ROW(vecs)                                                                        \
    static void row_##vecs(size_t k, const real *a, ptrdiff_t acs, const real *b,        \
                           ptrdiff_t ldb, size_t panel, bool add, real *c, int last)     \
    {                                                                                    \
        if (last == VR_N)                                                                \
            row(vecs, false, k, a, acs, b, ldb, panel, add, c, last);                    \
        else                                                                             \
            row(vecs, true, k, a, acs, b, ldb, panel, add, c, last);                     \
    }
/* clang-format off */
ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
    /* clang-format on */

    typedef void row_kernel(size_t k, const real *a, ptrdiff_t acs, const real *b,
                            ptrdiff_t ldb, size_t panel, bool add, real *c, int last);
static row_kernel *const table[ROW_VECS] = {row_1, row_2, row_3, row_4,
                                            row_5, row_6, row_7, row_8};

void PA_(pa_gemm_row)(size_t K, size_t cols, const real *a, ptrdiff_t acs, const real *b,
                      ptrdiff_t ldb, size_t panel, bool add, real *c)
{
    enum { WIDE = ROW_VECS * VR_N };
    for (size_t j = 0; j < cols; j += WIDE) {
        const int n = cols - j < WIDE ? (int)(cols - j) : WIDE;
        const int vecs = (n + VR_N - 1) / VR_N;
        const real *bj = b + j / TILE_COLS * panel;
        for (size_t k0 = 0; k0 < K; k0 += PA_GEMM_KC) {
            const size_t k = K - k0 < PA_GEMM_KC ? K - k0 : PA_GEMM_KC;
            table[vecs - 1](k, a + (ptrdiff_t)k0 * acs, acs, bj + (ptrdiff_t)k0 * ldb,
                            ldb, panel, add || k0 > 0, c + j, n - (vecs - 1) * VR_N);
        }
    }
}
