/* quick.h - y = f(y + bias) and slope = f'(y + bias) over a block of a matrix in one
 * pass, several vectors side by side: what a layer does with a block of its product.
 *
 * An operator's file defines, before it includes this one and map.h,
 *     QUICK_VECS              how many vectors go side by side
 *     static inline void quick_vectors(const int n, const vr *x, vr *y, vr *slope)
 *                             y[j] = f(x[j]), slope[j] = f'(x[j]) for j < n <= QUICK_VECS
 * and gets MAP_QUICK. */
#include "kern/gemm_bias.h"
#include "simd/simd.h"

enum { QUICK_AHEAD = 16 * VR_N };

#define MAP_QUICK quick

/* n vectors from y on. */
PA_INLINE void quick_group(const int n, real *y, real *slope, const real *bias)
{
    vr x[QUICK_VECS], v[QUICK_VECS], dv[QUICK_VECS];
    for (int j = 0; j < n; j++) {
        x[j] = vr_load(y + j * VR_N);
        if (bias)
            x[j] = vr_add(x[j], vr_load(bias + j * VR_N));
        if (slope) /* y has just been written; slope has not */
            PA_PREFETCH(slope + j * VR_N + QUICK_AHEAD);
    }
    quick_vectors(n, x, v, dv);
    for (int j = 0; j < n; j++)
        vr_store(y + j * VR_N, v[j]);
    for (int j = 0; slope && j < n; j++)
        vr_store(slope + j * VR_N, dv[j]);
}

/* The last n lanes of each row. */
PA_INLINE void quick_edge(size_t rows, int n, real *y, real *slope, size_t ld,
                          const real *bias)
{
    vr x, v, dv;
    for (size_t i = 0; i < rows; i++, y += ld, slope += slope ? ld : 0) {
        x = vr_load_n(y, n);
        if (bias)
            x = vr_add(x, vr_load_n(bias, n));
        quick_vectors(1, &x, &v, &dv);
        vr_store_n(y, v, n);
        if (slope)
            vr_store_n(slope, dv, n);
    }
}

static void quick(size_t rows, size_t cols, void *y_, void *slope_, size_t ld,
                  const void *bias_)
{
    real *y = y_, *slope = slope_;
    const real *bias = bias_;
    if (bias && ld == cols && cols % VR_N != 0) { /* no edges but the last */
        PA_(pa_bias_add)(rows, cols, y, ld, bias);
        bias = NULL;
    }
    if (!bias && ld == cols) {
        cols *= rows;
        ld = cols;
        rows = 1;
    }
    const size_t step = QUICK_VECS * VR_N, whole = cols - cols % VR_N;
    for (size_t i = 0; i < rows; i++) {
        real *yi = y + i * ld, *si = slope ? slope + i * ld : NULL;
        size_t j = 0;
        for (; j + step <= cols; j += step)
            quick_group(QUICK_VECS, yi + j, si ? si + j : NULL, bias ? bias + j : NULL);
        for (; j < whole; j += VR_N)
            quick_group(1, yi + j, si ? si + j : NULL, bias ? bias + j : NULL);
    }
    if (whole < cols)
        quick_edge(rows, (int)(cols - whole), y + whole, slope ? slope + whole : NULL, ld,
                   bias ? bias + whole : NULL);
}
