#include "kern/gemm_row.h"

#include "kern/gemm.h"

/* Eight vectors keep the multiply-add units busy through their latency. Twice as many, in
 * registers that only AVX-512 has, read 1 KB of a row at a time, which caches and memory
 * serve better. AHEAD, in rows, is for B that comes from beyond the second-level cache:
 * 784 x 500 takes 15.9 us with eight vectors, 15.1 with sixteen, 14.1 with both. */
#if defined(__AVX512F__) && !defined(PA_SIMD_BASE)
#define ROW_VECS 16
#else
#define ROW_VECS 8
#endif
enum { PANEL_VECS = 8, AHEAD = 8, FAR = 256 * 1024 };

/* The first `vecs` vectors; the last holds `last` lanes, which matters if `part`. */
PA_INLINE void row(const int vecs, const bool part, const bool far, size_t k,
                   const real *a, ptrdiff_t acs, const real *b, ptrdiff_t ldb,
                   size_t panel, bool add, real *c, int last)
{
    const bool flat = far || vecs > PANEL_VECS; /* fewer pointers than registers */
    vr acc[ROW_VECS];
    const real *bj[ROW_VECS];
    PA_UNROLL
    for (int j = 0; j < vecs; j++) {
        acc[j] = vr_zero();
        bj[j] =
            b + (flat ? (size_t)(j * VR_N)
                      : (size_t)(j / TILE_VECS) * panel + (size_t)(j % TILE_VECS * VR_N));
    }
    ptrdiff_t at = 0;
    for (; k > 0; k--, a += acs, at += ldb) {
        const vr x = vr_set1(*a);
        PA_UNROLL
        for (int j = 0; far && j < vecs; j++)
            PA_PREFETCH((const char *)(bj[j] + at) +
                        AHEAD * ldb * (ptrdiff_t)sizeof(real));
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
#define ROW(name, vecs, far)                                                             \
    static void name(size_t k, const real *a, ptrdiff_t acs, const real *b,              \
                     ptrdiff_t ldb, size_t panel, bool add, real *c, int last)           \
    {                                                                                    \
        if (last == VR_N)                                                                \
            row(vecs, false, far, k, a, acs, b, ldb, panel, add, c, last);               \
        else                                                                             \
            row(vecs, true, far, k, a, acs, b, ldb, panel, add, c, last);                \
    }
typedef void row_kernel(size_t k, const real *a, ptrdiff_t acs, const real *b,
                        ptrdiff_t ldb, size_t panel, bool add, real *c, int last);

/* clang-format off */
ROW(row_1, 1, false) ROW(row_2, 2, false) ROW(row_3, 3, false) ROW(row_4, 4, false)
ROW(row_5, 5, false) ROW(row_6, 6, false) ROW(row_7, 7, false) ROW(row_8, 8, false)
#define NAMES_8 row_1, row_2, row_3, row_4, row_5, row_6, row_7, row_8
#if ROW_VECS == 8
static row_kernel *const table[ROW_VECS] = {NAMES_8};
#else
ROW(row_9, 9, false) ROW(row_10, 10, false) ROW(row_11, 11, false) ROW(row_12, 12, false)
ROW(row_13, 13, false) ROW(row_14, 14, false) ROW(row_15, 15, false) ROW(row_16, 16, false)
static row_kernel *const table[ROW_VECS] = {NAMES_8, row_9, row_10, row_11, row_12,
                                            row_13, row_14, row_15, row_16};
#endif
ROW(row_far, ROW_VECS, true)
/* clang-format on */

void PA_(pa_gemm_row)(size_t K, size_t cols, const real *a, ptrdiff_t acs, const real *b,
                      ptrdiff_t ldb, size_t panel, bool add, real *c)
{
    const bool flat = panel == TILE_COLS;
    const size_t wide = (flat ? ROW_VECS : PANEL_VECS) * VR_N;
    const size_t block = pa_gemm_block(K);
    const bool far = flat && K > FAR / sizeof(real) / (cols + 1);
    for (size_t j = 0; j < cols; j += wide) {
        const int n = cols - j < wide ? (int)(cols - j) : (int)wide;
        const int vecs = (n + VR_N - 1) / VR_N;
        const real *bj = b + j / TILE_COLS * panel;
        for (size_t k0 = 0; k0 < K; k0 += block) {
            const size_t k = K - k0 < block ? K - k0 : block;
            (far && vecs == ROW_VECS ? row_far : table[vecs - 1])(
                k, a + (ptrdiff_t)k0 * acs, acs, bj + (ptrdiff_t)k0 * ldb, ldb, panel,
                add || k0 > 0, c + j, n - (vecs - 1) * VR_N);
        }
    }
}
