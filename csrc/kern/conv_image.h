/* conv_image.h - convolutions of a batch: images, chunks of images, and their scratch. */
#ifndef PA_KERN_CONV_IMAGE_H
#define PA_KERN_CONV_IMAGE_H

#include "kern/conv.h"
#include "kern/fused.h"

typedef struct pa_conv_job {
    const pa_conv *g;
    const real *x, *kernel, *bias; /* (B, H, W, C), (kh, kw, Cg, O), (O) or NULL */
    real *y;                       /* (B, PH, PW, O) */
    real *slope;                   /* y's shape or NULL: act', written forward */
    unsigned char *place;          /* pa_conv_places bytes or NULL: of the largest */
    const real *dy;                /* y's shape */
    real *dx, *dkernel, *dbias;    /* NULL: not wanted */
    real *scratch;                 /* pa_conv_scratch reals */
    pa_fused act;
    bool relu; /* act is relu, whose slope y shows */
} pa_conv_job;

/* Number i of a list attribute; of an empty list `otherwise`. */
static inline size_t pa_conv_at(const pa_attr *a, int i, size_t otherwise)
{
    return a->n ? (size_t)a->list[i] : otherwise;
}

/* Fills strides, dilation, padding (top, bottom, left, right) and the padded size; H and
 * W are known. */
static inline void pa_conv_windows(pa_conv *g, const pa_attr *strides,
                                   const pa_attr *dilation, const pa_attr *padding)
{
    g->sh = pa_conv_at(strides, 0, 1);
    g->sw = pa_conv_at(strides, 1, 1);
    g->dh = pa_conv_at(dilation, 0, 1);
    g->dw = pa_conv_at(dilation, 1, 1);
    g->top = pa_conv_at(padding, 0, 0);
    g->left = pa_conv_at(padding, 2, 0);
    g->Hp = g->H + g->top + pa_conv_at(padding, 1, 0);
    g->Wp = g->W + g->left + pa_conv_at(padding, 3, 0);
}

/* Chooses the way: fills thin, grey and period, and the size behind max-pooling. */
void PA_(pa_conv_plan)(pa_conv *g);

/* Reals that forward and backward need; false when they do not fit in memory. */
bool PA_(pa_conv_scratch)(const pa_conv *g, size_t *n);

/* Bytes that tell where in their windows the largest of an image were. */
size_t PA_(pa_conv_places)(const pa_conv *g);

void PA_(pa_conv_forward)(const pa_conv_job *w, pa_pool *pool);
void PA_(pa_conv_backward)(const pa_conv_job *w, pa_pool *pool);

#endif
