/* conv_grey_room.h - where planes and rows of them lie, and how channels come together
 * and apart. */
#ifndef PA_KERN_CONV_GREY_ROOM_H
#define PA_KERN_CONV_GREY_ROOM_H

#include "kern/conv_grey.h"
#include "kern/gemm_tile.h" /* TILE_ROWS, PA_UNROLL */
#include "simd/transpose.h"

enum {
    MOST = PA_GREY_MOST,
#if TILE_ROWS >= 12
    GROUP = 3, /* planes of a gradient at once, */
    TAPS = 5,  /* and places of the kernel along a row */
#else
    GROUP = 2,
    TAPS = 4,
#endif
};

/* One function for each number of planes and places, and their table. */
/* clang-format off */
#define UP_TO_4(name, high) name##_##high##x1, name##_##high##x2, name##_##high##x3, name##_##high##x4
#if TILE_ROWS >= 12
#define EACH_GROUP(MAKE)                                                  \
    MAKE(1, 1) MAKE(1, 2) MAKE(1, 3) MAKE(1, 4) MAKE(1, 5)                \
    MAKE(2, 1) MAKE(2, 2) MAKE(2, 3) MAKE(2, 4) MAKE(2, 5)                \
    MAKE(3, 1) MAKE(3, 2) MAKE(3, 3) MAKE(3, 4) MAKE(3, 5)
#define BY_GROUP(name) {{UP_TO_4(name, 1), name##_1x5}, \
                        {UP_TO_4(name, 2), name##_2x5}, \
                        {UP_TO_4(name, 3), name##_3x5}}
#else
#define EACH_GROUP(MAKE)                       \
    MAKE(1, 1) MAKE(1, 2) MAKE(1, 3) MAKE(1, 4) \
    MAKE(2, 1) MAKE(2, 2) MAKE(2, 3) MAKE(2, 4)
#define BY_GROUP(name) {{UP_TO_4(name, 1)}, {UP_TO_4(name, 2)}}
#endif
/* clang-format on */

static inline size_t up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- room: planes; a row of pixels; a row of each plane
 * ---------------
 */

/* From row to row: of z, whose planes are runs over the frame, and of dz. */
static inline size_t z_row(const pa_conv *g)
{
    return g->Wp;
}

static inline size_t dz_row(const pa_conv *g)
{
    return up(g->OW, 2 * VR_N);
}

static inline size_t plane(const pa_conv *g)
{
    const size_t z = g->OH * z_row(g), dz = g->OH * dz_row(g);
    return up((z > dz ? z : dz) + 4 * VR_N, VR_N); /* a tile, or rows of windows, more */
}

static inline size_t strip(const pa_conv *g)
{
    return up(g->OW + 2 * VR_N + VT_N, VR_N); /* MOST of them hold what a row reaches */
}

static inline real *pixels_of(const pa_conv *g, real *room)
{
    return room + MOST * plane(g);
}

static inline real *rows_of(const pa_conv *g, real *room)
{
    return pixels_of(g, room) + MOST * strip(g);
}

/* What a row of n pixels touches when it is transposed in whole blocks. */
static inline size_t reach(const pa_conv *g, size_t n)
{
    return up(n, VT_N) * g->O + VT_N;
}

/* A row of pixels, one plane after the other, into (n, O). What is written behind it
 * comes later; where fewer than `left` elements do, it goes by way of `spare`. */
static inline void together(const pa_conv *g, const real *from, size_t apart, size_t n,
                            real *spare, size_t left, real *to)
{
    const size_t O = g->O;
    const bool fits = left >= reach(g, n);
    real *row = fits ? to : spare;
    for (size_t i = 0; i < n; i += VT_N)
        for (size_t o = up(O, VT_N); o > 0; o -= VT_N)
            vr_transpose(from + (o - VT_N) * apart + i, (ptrdiff_t)apart,
                         row + i * O + o - VT_N, (ptrdiff_t)O);
    if (!fits)
        memcpy(to, spare, n * O * sizeof *to);
}

/* The other way round. */
static inline void asunder(const pa_conv *g, const real *from, size_t n, real *spare,
                           size_t left, size_t apart, real *to)
{
    const size_t O = g->O;
    if (left < up(n, VR_N) * O + VT_COLS)
        from = memcpy(spare, from, n * O * sizeof *spare);
    for (size_t i = 0; i < n; i += VR_N)
        for (size_t o = 0; o < O; o += VT_COLS) {
            vr plane[VT_COLS];
            vr_columns(from + i * O + o, (ptrdiff_t)O, plane);
            PA_UNROLL
            for (size_t k = 0; k < VT_COLS; k++)
                if (o + k < O)
                    vr_store(to + (o + k) * apart + i, plane[k]);
        }
}

/* For each result: a vector for each place of the kernel, and one for the bias. */
static inline size_t sums_of_one(const pa_conv *g)
{
    return (g->kh * g->kw + 1) * VR_N;
}

PA_INLINE void add_group(const int high, const int wide, vr (*acc)[TAPS], size_t one,
                         real *sums)
{
    PA_UNROLL
    for (int o = 0; o < high; o++) {
        PA_UNROLL
        for (int k = 0; k < wide; k++) {
            real *to = sums + (size_t)o * one + k * VR_N;
            vr_store(to, vr_add(vr_load(to), acc[o][k]));
        }
    }
}

#endif
