#include "kern/conv_flip.h"

#include "kern/conv_image.h"
#include "simd/simd.h"

/* Lanes of whole vectors. */
static size_t whole(size_t n)
{
    return (n + VR_N - 1) / VR_N * VR_N;
}

bool PA_(pa_conv_flip)(const pa_conv *g, pa_conv *back)
{
    const size_t high = (g->kh - 1) * g->dh, wide = (g->kw - 1) * g->dw;
    const size_t bottom = g->Hp - g->H - g->top, right = g->Wp - g->W - g->left;
    if (g->sh != 1 || g->sw != 1 || g->top > high || bottom > high || g->left > wide ||
        right > wide)
        return false;
    if (g->thin ? g->Og > 1 : 4 * g->kw * whole(g->Cg) > 5 * whole(g->kw * g->Cg))
        return false;
    *back = (pa_conv){.B = g->B, .H = g->OH, .W = g->OW, .C = g->O, .O = g->C};
    back->OH = g->H;
    back->OW = g->W;
    back->kh = g->kh;
    back->kw = g->kw;
    back->sh = back->sw = 1;
    back->dh = g->dh;
    back->dw = g->dw;
    back->top = high - g->top;
    back->left = wide - g->left;
    back->Hp = g->H + high;
    back->Wp = g->W + wide;
    back->groups = g->groups;
    back->Cg = g->Og;
    back->Og = g->Cg;
    PA_(pa_conv_plan)(back);
    return !back->grey && back->thin == g->thin;
}

void PA_(pa_conv_flip_kernel)(const pa_conv *g, const real *kernel, real *flipped)
{
    const size_t taps = g->kh * g->kw;
    for (size_t k = 0; k < taps; k++)
        for (size_t group = 0; group < g->groups; group++)
            for (size_t o = 0; o < g->Og; o++)
                for (size_t c = 0; c < g->Cg; c++)
                    flipped[(k * g->Og + o) * g->C + group * g->Cg + c] =
                        kernel[((taps - 1 - k) * g->Cg + c) * g->O + group * g->Og + o];
}
