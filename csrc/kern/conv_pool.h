/* conv_pool.h - max-pooling of one image behind its convolution, while it is in cache.
 *
 * Windows of (ph, pw) pixels lie side by side. A place counts the pixels of a window row
 * by row; the first of the largest is taken, the first NaN where there is one. */
#ifndef PA_KERN_CONV_POOL_H
#define PA_KERN_CONV_POOL_H

#include "kern/conv.h"

/* y = the largest of each window, after relu if it is there, and its place. z: (OH, OW,
 * O), readable for PA_CONV_SLACK more; y: (PH, PW, O); place: y's shape or NULL; room: a
 * row of y and PA_CONV_SLACK more. */
void PA_(pa_conv_pool)(const pa_conv *g, bool relu, const real *z, real *y,
                       unsigned char *place, real *room);

/* dz = 0 but for d at the places. dz: (OH, OW, O), d, place: (PH, PW, O). */
void PA_(pa_conv_unpool)(const pa_conv *g, const real *d, const unsigned char *place,
                         real *dz);

#endif
