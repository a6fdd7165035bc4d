/* conv.h - convolution of one image, channels last.
 *
 * An image is (H, W, C); the kernel (kh, kw, C / groups, O); the result (OH, OW, O).
 * Whoever calls has put the zeros of the padding around the image: (Hp, Wp, C).
 *
 * Three ways. An image of one channel with few results: `grey`, conv_grey.h. Where a
 * group has one channel (depthwise), lanes run along the row whatever the number of
 * channels: `thin`. Else it is a product of matrices whose left factor is read out of the
 * image where it lies, nothing is unrolled.
 *
 * Order of arithmetic: a result is the sum, in order, of blocks of at most 256
 * terms, each one chain of multiply-adds in the order of the kernel's memory, begun at
 * zero; the bias comes last. A gradient of the kernel is summed in blocks of rows within
 * an image, then over the images of a chunk, then over the chunks. The gradient of the
 * image is a convolution's result where it is made as one (conv_flip.h); else, for each
 * row of the kernel, the products over the results of a pixel are added row by row of
 * every kw-th pixel. What is mostly 0 has orders of its own (conv_window.h,
 * conv_sparse.h). */
#ifndef PA_KERN_CONV_H
#define PA_KERN_CONV_H

#include "op.h"

typedef struct pa_conv {
    size_t B, H, W, C, O, OH, OW;
    size_t kh, kw, sh, sw, dh, dw; /* kernel, stride, dilation */
    size_t top, left, Hp, Wp;      /* zeros before; size with zeros on all sides */
    size_t groups, Cg, Og;         /* channels of a group: in, out */
    size_t ph, pw, PH, PW;         /* max-pool behind it: window, 0 for none; results */
    bool thin, grey;
    size_t period; /* thin: vectors after which the channels come again */
} pa_conv;

/* Lanes that vectors may read past the end of an image. */
enum { PA_CONV_SLACK = 64 };

/* Whether what comes behind is max-pooling by windows of 2 x 2, which has ways of its
 * own. */
static inline bool pools_by_two(const pa_conv *g)
{
    return g->ph == 2 && g->pw == 2;
}

/* ---- as products ------------------------------------------------------------------- */

/* Three nested loops over terms, outermost first: counts and steps of a and b. */
typedef struct pa_conv_loop {
    size_t n[3];
    ptrdiff_t a[3], b[3];
} pa_conv_loop;

/* Reals of the kernel laid out for forward, and for the gradient of the image. */
size_t PA_(pa_conv_packed_size)(const pa_conv *g);
size_t PA_(pa_conv_packed_back_size)(const pa_conv *g);
void PA_(pa_conv_pack)(const pa_conv *g, const real *kernel, real *packed);
void PA_(pa_conv_pack_back)(const pa_conv *g, const real *kernel, real *packed);

/* y = x * kernel + bias. x: (Hp, Wp, C), bias: (O) or NULL, y: (OH, OW, O). */
void PA_(pa_conv_image)(const pa_conv *g, const real *x, const real *packed,
                        const real *bias, real *y);

/* dkernel = or += the gradient. x: (Hp, Wp, C); dz: (OH, OW, O), readable for
 * PA_CONV_SLACK more; dkernel: (kh, kw, Cg, O). */
void PA_(pa_conv_dkernel)(const pa_conv *g, const real *x, const real *dz, bool add,
                          real *dkernel);

/* dx += the gradient. dz: (OH, OW, O), dx: (Hp, Wp, C), columns: scratch of
 * pa_conv_columns reals. */
size_t PA_(pa_conv_columns)(const pa_conv *g);
void PA_(pa_conv_dimage)(const pa_conv *g, const real *dz, const real *packed,
                         real *columns, real *dx);

/* ---- thin -------------------------------------------------------------------------- */

/* Reals of a table with a row of `period` vectors for each place of the kernel, and one
 * more for the bias. */
size_t PA_(pa_thin_table)(const pa_conv *g);
void PA_(pa_thin_pack)(const pa_conv *g, const real *kernel, const real *bias,
                       real *table);

/* x: (Hp, Wp, O), every channel repeated Og times, readable for PA_CONV_SLACK more. */
void PA_(pa_thin_image)(const pa_conv *g, const real *x, const real *table, real *y);

/* table += the gradients, of the bias as well. x as above, dz: (OH, OW, O). */
void PA_(pa_thin_dkernel)(const pa_conv *g, const real *x, const real *dz, real *table);

/* Sums a table's lanes. dkernel: (kh, kw, 1, O) or NULL, dbias: (O) or NULL. */
void PA_(pa_thin_fold)(const pa_conv *g, const real *table, real *dkernel, real *dbias);

/* dx += the gradient. dz: (OH, OW, O), dx: (Hp, Wp, O). */
void PA_(pa_thin_dimage)(const pa_conv *g, const real *dz, const real *table, real *dx);

#endif
