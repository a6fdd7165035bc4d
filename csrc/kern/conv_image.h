/* conv_image.h - convolutions of a batch: images, chunks of images, and their scratch. */
#ifndef PA_KERN_CONV_IMAGE_H
#define PA_KERN_CONV_IMAGE_H

#include "kern/conv.h"
#include "kern/fused.h"

typedef struct pa_conv_job {
    const pa_conv *g;
    const real *x, *kernel, *bias; /* (B, H, W, C), (kh, kw, Cg, O), (O) or NULL */
    real *y;                       /* (B, OH, OW, O) */
    real *slope;                   /* y's shape or NULL: act', written forward */
    const real *dy;                /* y's shape */
    real *dx, *dkernel, *dbias;    /* NULL: not wanted */
    real *scratch;                 /* pa_conv_scratch reals */
    pa_fused act;
    bool relu; /* backward: act is relu, whose slope y shows */
} pa_conv_job;

/* Chooses the way: fills thin and period. */
void PA_(pa_conv_plan)(pa_conv *g);

/* Reals that forward and backward need; false when they do not fit in memory. */
bool PA_(pa_conv_scratch)(const pa_conv *g, size_t *n);

void PA_(pa_conv_forward)(const pa_conv_job *w, pa_pool *pool);
void PA_(pa_conv_backward)(const pa_conv_job *w, pa_pool *pool);

#endif
