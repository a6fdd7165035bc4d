/* conv_flip.h - the gradient of the image as a convolution itself.
 *
 * Without stride, dx is the convolution of dz, zeros around it, with the kernel turned by
 * half a circle and its channels and results exchanged. So it needs no unrolled gradient
 * and is one chain over results and places, as a result of conv.h is. */
#ifndef PA_KERN_CONV_FLIP_H
#define PA_KERN_CONV_FLIP_H

#include "kern/conv.h"

/* Fills the geometry, its image being dz and its result dx; false where the shape has
 * none, or where it would be slower. g and back: planned. */
bool PA_(pa_conv_flip)(const pa_conv *g, pa_conv *back);

/* flipped: (kh, kw, Og, C). */
void PA_(pa_conv_flip_kernel)(const pa_conv *g, const real *kernel, real *flipped);

#endif
