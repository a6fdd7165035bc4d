/* conv_sparse.h - gradients of a convolution from the places where dz is not 0.
 *
 * Behind max-pooling most of dz is 0, and adding a product with 0 changes nothing as long
 * as the other factor is finite. So where dz is mostly 0, and it, image and kernel are
 * finite, its other places alone are walked; small images behind windows of 2 x 2 have a
 * faster way, conv_window.h.
 *
 * Order of arithmetic: a gradient of the kernel is summed in blocks of rows, over the
 * pixels in the order of memory, then over the images of a chunk. The gradient of the
 * image is one chain over the results of a column of dz, down the column, and columns are
 * added from left to right; with stride, dilation or a large kernel it is one chain over
 * the results of a pixel, and such are added row by row of every kw-th pixel. Which
 * images take this way depends on their values alone. */
#ifndef PA_KERN_CONV_SPARSE_H
#define PA_KERN_CONV_SPARSE_H

#include "kern/conv.h"

/* Whether a shape may take this way: no groups, no dilation along the row, a kernel that
 * stays in cache. */
bool PA_(pa_sparse_fits)(const pa_conv *g);

/* Whether all of x is finite. x: (n). */
bool PA_(pa_sparse_finite)(const real *x, size_t n);

/* Whether one image does. dz: (OH, OW, O), x: (H, W, C). */
bool PA_(pa_sparse_pays)(const pa_conv *g, const real *dz, const real *x);

/* Reals of room for an image's rows and a block of dz. */
size_t PA_(pa_sparse_room)(const pa_conv *g);

/* sums (conv_sums.h) += the gradients of kernel and bias. x: (Hp, Wp, C), readable for
 * PA_CONV_SLACK more if `slack`; dz: (OH, OW, O); room: pa_sparse_room. */
void PA_(pa_sparse_dkernel)(const pa_conv *g, const real *x, bool slack, const real *dz,
                            real *room, real *sums);

/* dx += the gradient. dz: (OH, OW, O), packed: pa_conv_pack_back's, dx: (Hp, Wp, C),
 * writable for PA_CONV_SLACK more if `slack`. */
void PA_(pa_sparse_dimage)(const pa_conv *g, const real *dz, const real *packed,
                           bool slack, real *dx);

#endif
