/* conv_frame.h - images in a frame of zeros. */
#ifndef PA_KERN_CONV_FRAME_H
#define PA_KERN_CONV_FRAME_H

#include "kern/conv.h"
#include "simd/simd.h"

/* Images are copied into a frame: for the zeros around them, or to be read past the end.
 */
static inline bool framed(const pa_conv *g)
{
    return g->thin || g->grey || g->Hp != g->H || g->Wp != g->W;
}

/* Rows are short: a call of memcpy takes as long as the copy. */
PA_INLINE void copy_row(const real *from, size_t n, real *to)
{
    if (n < VR_N) {
        vr_store_n(to, vr_load_n(from, (int)n), (int)n);
        return;
    }
    for (size_t i = 0; i + VR_N < n; i += VR_N)
        vr_store(to + i, vr_load(from + i));
    vr_store(to + n - VR_N, vr_load(from + n - VR_N));
}

/* One image into a frame whose border is 0 already. x: (H, W, C), frame: (Hp, Wp, C) or,
 * thin, (Hp, Wp, O) with every channel repeated. */
static inline void into_frame(const pa_conv *g, const real *x, real *frame)
{
    const size_t wide = g->thin ? g->O : g->C, n = g->W * g->C, next = g->Wp * wide;
    const bool once = !g->thin || g->Og == 1;
    const real *from = x;
    real *to = frame + g->top * next + g->left * wide;
    for (size_t i = g->H; i > 0; i--, from += n, to += next) {
        if (once)
            copy_row(from, n, to);
        else if (g->Og <= VR_N)
            for (size_t j = 0; j < n; j++)
                vr_store_n(to + j * g->Og, vr_set1(from[j]), (int)g->Og);
        else
            for (size_t j = 0; j < n; j++)
                for (size_t k = 0; k < g->Og; k++)
                    to[j * g->Og + k] = from[j];
    }
}

static inline void out_of_frame(const pa_conv *g, const real *frame, real *x)
{
    const size_t wide = g->thin ? g->O : g->C, n = g->W * g->C;
    for (size_t i = 0; i < g->H; i++) {
        const real *from = frame + ((i + g->top) * g->Wp + g->left) * wide;
        real *to = x + i * n;
        if (!g->thin || g->Og == 1) {
            copy_row(from, n, to);
            continue;
        }
        for (size_t j = 0; j < n; j++) {
            real sum = from[j * g->Og];
            for (size_t k = 1; k < g->Og; k++)
                sum += from[j * g->Og + k];
            to[j] = sum;
        }
    }
}

#endif
