/* conv_pool.h - max-pooling of one image behind its convolution, while it is in cache.
 *
 * Windows of (ph, pw) pixels lie side by side. A place counts the pixels of a window row
 * by row; the first of the largest is taken, the first NaN where there is one. */
#ifndef PA_KERN_CONV_POOL_H
#define PA_KERN_CONV_POOL_H

#include "kern/conv.h"
#include "simd/simd.h"

/* *top = the larger, v if it is or if it is the first NaN; whether it is v. */
PA_INLINE vrm pa_pool_meet(vr v, vr *top)
{
    const vrm more = vrm_and(vrm_not(vr_ge(*top, v)), vr_eq(*top, *top));
    *top = vr_sel(more, v, *top);
    return more;
}

/* The largest of v[0] v[1] over v[2] v[3], after relu if it is there, and whether it was
 * in the second row and column: where relu leaves nothing, it was the first. */
PA_INLINE vr pa_pool_four(const bool relu, const vr *v, vrm *row, vrm *column)
{
    vr top = v[0], low = v[2];
    if (relu) /* not of the others, which are then no larger */
        top = vr_max(vr_zero(), top);
    const vrm right = pa_pool_meet(v[1], &top), low_right = pa_pool_meet(v[3], &low);
    *row = pa_pool_meet(low, &top);
    *column = vrm_or(vrm_and(*row, low_right), vrm_and(vrm_not(*row), right));
    return relu ? vr_add(top, vr_zero()) : top;
}

/* y = the largest of each window, after relu if it is there, and its place. z: (OH, OW,
 * O), readable for PA_CONV_SLACK more; y: (PH, PW, O); place: y's shape or NULL; room: a
 * row of y and PA_CONV_SLACK more. */
void PA_(pa_conv_pool)(const pa_conv *g, bool relu, const real *z, real *y,
                       unsigned char *place, real *room);

/* dz = 0 but for d at the places. dz: (OH, OW, O), d, place: (PH, PW, O). */
void PA_(pa_conv_unpool)(const pa_conv *g, const real *d, const unsigned char *place,
                         real *dz);

#endif
