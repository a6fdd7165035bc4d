/* conv_window.h - gradients of a convolution behind which a max-pool of 2 x 2 stands.
 *
 * Three quarters of dz are 0: of each window one pixel at most, for each result its own,
 * is not. Adding a product with 0 changes nothing as long as the other factor is finite;
 * so where gradient, image and kernel are, windows are walked instead of pixels, four
 * times fewer, and nothing in the walk depends on where in its window a place is but the
 * place that is read: with a kernel laid out for either column of a window, between rows
 * of zeros, a result adds the same rows and vectors whatever its place.
 *
 * Order of arithmetic: a gradient of the kernel is one chain over the windows of an image
 * in the order of memory, added to those of the images before. The gradient of the image
 * is one chain over the results of a window; windows are added in the order of memory.
 * Which images take this way depends on their values alone. */
#ifndef PA_KERN_CONV_WINDOW_H
#define PA_KERN_CONV_WINDOW_H

#include "kern/conv.h"

/* Whether a shape may take this way: no groups, stride or dilation, and a kernel and an
 * image that stay in the first-level cache. The windows need not be those of a pool. */
bool PA_(pa_window_fits)(const pa_conv *g);

/* Windows of a dz that has at most one place in each and none beside them. dz:
 * (OH, OW, O); d, place: (OH / 2, OW / 2, O). False: it has others. */
bool PA_(pa_window_find)(const pa_conv *g, const real *dz, real *d, unsigned char *place);

/* Reals of the kernel laid out, and of room for an image. */
size_t PA_(pa_window_packed)(const pa_conv *g);
size_t PA_(pa_window_room)(const pa_conv *g);

/* kernel: (kh, kw, C, O). */
void PA_(pa_window_pack)(const pa_conv *g, const real *kernel, real *packed);

/* sums (conv_sums.h) += the gradients of kernel and bias. x: (Hp, Wp, C), readable for
 * PA_CONV_SLACK more if `slack`; d, place: as above. */
void PA_(pa_window_dkernel)(const pa_conv *g, const real *x, bool slack, const real *d,
                            const unsigned char *place, real *room, real *sums);

/* dx += the gradient. room: as for the kernel's; dx: (Hp, Wp, C), writable for
 * PA_CONV_SLACK more if `slack`. */
void PA_(pa_window_dimage)(const pa_conv *g, const real *d, const unsigned char *place,
                           const real *packed, bool slack, real *room, real *dx);

#endif
