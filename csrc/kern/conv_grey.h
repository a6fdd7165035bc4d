/* conv_grey.h - convolution of an image of one channel into a few results.
 *
 * Every result is a plane of its own and lanes run along the row: with one channel a
 * product of matrices would leave most of a vector empty, and the same pixels serve all
 * the planes. Channels come together, and apart, when an image is done.
 *
 * Order of arithmetic: a result is one chain over the kernel's places, begun at zero;
 * the bias comes last. A gradient of the kernel is one chain for each lane over the rows
 * of an image, added to those of the images before; lanes are folded at the end. */
#ifndef PA_KERN_CONV_GREY_H
#define PA_KERN_CONV_GREY_H

#include "kern/conv.h"

enum { PA_GREY_MOST = 8 }; /* results */

/* Whether a shape may take this way. */
bool PA_(pa_grey_fits)(const pa_conv *g);

/* Reals that an image needs: planes, and rows of them. */
size_t PA_(pa_grey_room)(const pa_conv *g);

/* Planes in `room` = x * kernel + bias. x: (Hp, Wp), readable for PA_CONV_SLACK more;
 * kernel: (kh, kw, 1, O), bias: (O) or NULL. */
void PA_(pa_grey_image)(const pa_conv *g, const real *x, const real *kernel,
                        const real *bias, real *room);

/* y = the planes. y: (OH, OW, O). */
void PA_(pa_grey_out)(const pa_conv *g, real *room, real *y);

/* pools_by_two: y = the largest of each window, after relu if it is there, and where it
 * was. y: (PH, PW, O), mark: pa_grey_marks bytes or NULL. */
size_t PA_(pa_grey_marks)(const pa_conv *g);
void PA_(pa_grey_pool)(const pa_conv *g, bool relu, real *room, real *y,
                       unsigned char *mark);

/* ---- backward: `room` is to hold dz as planes ---------------------------------------
 */

/* dz: (OH, OW, O). */
void PA_(pa_grey_in)(const pa_conv *g, const real *dz, real *room);

/* dz = 0 but for d at the marks. d: (PH, PW, O). */
void PA_(pa_grey_unpool)(const pa_conv *g, const real *d, const unsigned char *mark,
                         real *room);

/* Reals of the sums for kernel and bias. */
size_t PA_(pa_grey_sums)(const pa_conv *g);

/* sums += the gradients. x as above. */
void PA_(pa_grey_dkernel)(const pa_conv *g, const real *x, const real *room, real *sums);

/* The same from windows of 2 x 2 that conv_window.h speaks of: one place in each, all
 * finite. It takes a room of its own. d: (OH / 2, OW / 2, O), at the marks. */
bool PA_(pa_grey_windows_fit)(const pa_conv *g);
size_t PA_(pa_grey_window_room)(const pa_conv *g);
void PA_(pa_grey_windows)(const pa_conv *g, const real *x, const real *d,
                          const unsigned char *mark, real *room, real *sums);

/* Marks of places as pa_window_find gives them. */
void PA_(pa_grey_mark)(const pa_conv *g, const unsigned char *place, unsigned char *mark);

/* dkernel, dbias = the sums' lanes added up, where they are not NULL. */
void PA_(pa_grey_fold)(const pa_conv *g, const real *sums, real *dkernel, real *dbias);

/* dx += the gradient. dx: (Hp, Wp), writable for PA_CONV_SLACK more. */
void PA_(pa_grey_dimage)(const pa_conv *g, const real *room, const real *kernel,
                         real *dx);

#endif
