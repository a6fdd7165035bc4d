/* quick.h - y = f(y + bias) and slope = f'(y + bias) over a block of a matrix in one
 * pass, several vectors side by side: what a layer does with a block of its product.
 *
 * An operator's file defines, before it includes this one and map.h,
 *     static inline void quick_vectors(const int n, const vr *x, vr *y, vr *slope)
 *                             y[j] = f(x[j]), slope[j] = f'(x[j]) for j < n <= QUICK_VECS
 * and gets MAP_QUICK. */
#include "kern/gemm_bias.h"
#include "simd/simd.h"

enum { QUICK_VECS = 4, QUICK_AHEAD = 16 * VR_N };

#define MAP_QUICK quick

/* The vectors of n places: offsets `at` in y and slope, bias[j] in bias. */
PA_INLINE void quick_group(const int n, real *y, real *slope, const size_t *at,
                           const vr *bias)
{
    vr x[QUICK_VECS], v[QUICK_VECS], dv[QUICK_VECS];
    for (int j = 0; j < n; j++)
        x[j] = bias ? vr_add(vr_load(y + at[j]), bias[j]) : vr_load(y + at[j]);
    quick_vectors(n, x, v, dv);
    for (int j = 0; j < n; j++)
        vr_store(y + at[j], v[j]);
    for (int j = 0; slope && j < n; j++)
        vr_store(slope + at[j], dv[j]);
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

/* All whole vectors, n at a time while so many are left: they may be of several rows. */
PA_INLINE void quick_walk(const int n, size_t *left, size_t *at, size_t *col,
                          size_t whole, real *y, real *slope, size_t ld, const real *bias)
{
    for (; *left >= (size_t)n; *left -= (size_t)n) {
        size_t place[QUICK_VECS];
        vr b[QUICK_VECS];
        for (int j = 0; j < n; j++) {
            place[j] = *at;
            if (slope) /* y has just been written; slope has not */
                PA_PREFETCH(slope + *at + QUICK_AHEAD);
            if (bias)
                b[j] = vr_load(bias + *col);
            *at += VR_N;
            *col += VR_N;
            if (*col == whole) {
                *at += ld - whole;
                *col = 0;
            }
        }
        quick_group(n, y, slope, place, bias ? b : NULL);
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
    const size_t whole = cols - cols % VR_N;
    size_t left = rows * (whole / VR_N), at = 0, col = 0;
    quick_walk(QUICK_VECS, &left, &at, &col, whole, y, slope, ld, bias);
    quick_walk(1, &left, &at, &col, whole, y, slope, ld, bias);
    if (whole < cols)
        quick_edge(rows, (int)(cols - whole), y + whole, slope ? slope + whole : NULL, ld,
                   bias ? bias + whole : NULL);
}
