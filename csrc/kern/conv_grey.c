#include "kern/conv_grey.h"

#include "kern/gemm_tile.h" /* TILE_ROWS, PA_UNROLL */
#include "simd/keep.h"
#include "simd/transpose.h"
#include "simd/zip.h"

enum {
    MOST = PA_GREY_MOST,
#if TILE_ROWS >= 12
    REGISTERS = 24, /* of accumulators */
    GROUP = 3,      /* planes of a gradient at once, */
    TAPS = 5,       /* and places of the kernel along a row */
#else
    REGISTERS = 10,
    GROUP = 2,
    TAPS = 4,
#endif
};

static size_t up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

bool PA_(pa_grey_fits)(const pa_conv *g)
{
    return g->C == 1 && g->groups == 1 && g->O <= MOST && g->sh == 1 && g->sw == 1;
}

/* ---- room: planes; a row of pixels; a row of each plane
 * ---------------
 */

/* From row to row: of z, whose planes are runs over the frame, and of dz. */
static size_t z_row(const pa_conv *g)
{
    return g->Wp;
}

static size_t dz_row(const pa_conv *g)
{
    return up(g->OW, 2 * VR_N);
}

static size_t plane(const pa_conv *g)
{
    const size_t z = g->OH * z_row(g), dz = g->OH * dz_row(g);
    return up((z > dz ? z : dz) + 2 * VR_N + VT_N, VR_N);
}

static size_t strip(const pa_conv *g)
{
    return up(g->OW + 2 * VR_N + VT_N, VR_N); /* MOST of them hold what a row reaches */
}

size_t PA_(pa_grey_room)(const pa_conv *g)
{
    return MOST * plane(g) + 2 * MOST * strip(g);
}

static real *pixels_of(const pa_conv *g, real *room)
{
    return room + MOST * plane(g);
}

static real *rows_of(const pa_conv *g, real *room)
{
    return pixels_of(g, room) + MOST * strip(g);
}

/* What a row of n pixels touches when it is transposed in whole blocks. */
static size_t reach(const pa_conv *g, size_t n)
{
    return up(n, VT_N) * g->O + VT_N;
}

/* A row of pixels, one plane after the other, into (n, O). What is written behind it
 * comes later; where fewer than `left` elements do, it goes by way of `spare`. */
static void together(const pa_conv *g, const real *from, size_t apart, size_t n,
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
static void asunder(const pa_conv *g, const real *from, size_t n, real *spare,
                    size_t left, size_t apart, real *to)
{
    const size_t O = g->O;
    if (left < reach(g, n))
        from = memcpy(spare, from, n * O * sizeof *spare);
    for (size_t i = 0; i < n; i += VT_N)
        for (size_t o = 0; o < O; o += VT_N)
            vr_transpose(from + i * O + o, (ptrdiff_t)O, to + o * apart + i,
                         (ptrdiff_t)apart);
}

/* ---- forward -------------------------------------------------------------------------
 */

/* `vecs` vectors of O planes. The image's rows follow each other without a gap, so a
 * plane is one run; what it holds behind the end of a row nobody reads. */
PA_INLINE void tile(const int O, const int vecs, const pa_conv *g, const real *x,
                    const real *kernel, const real *bias, real *z)
{
    vr acc[MOST][4];
    PA_UNROLL
    for (int o = 0; o < O; o++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[o][j] = vr_zero();
    }
    const size_t next = g->dw, row = g->dh * g->Wp;
    for (size_t ky = 0; ky < g->kh; ky++, x += row) {
        const real *p = x;
        for (size_t kx = g->kw; kx > 0; kx--, p += next, kernel += O) {
            vr v[4];
            PA_UNROLL
            for (int j = 0; j < vecs; j++)
                v[j] = vr_keep(vr_load(p + j * VR_N));
            PA_UNROLL
            for (int o = 0; o < O; o++) {
                const vr w = vr_set1(kernel[o]);
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    acc[o][j] = vr_fma(w, v[j], acc[o][j]);
            }
        }
    }
    const size_t apart = plane(g);
    PA_UNROLL
    for (int o = 0; o < O; o++) {
        const vr b = bias ? vr_set1(bias[o]) : vr_zero();
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            vr_store(z + (size_t)o * apart + j * VR_N,
                     bias ? vr_add(acc[o][j], b) : acc[o][j]);
    }
}

typedef void tile_kernel(const pa_conv *g, const real *x, const real *kernel,
                         const real *bias, real *z);
#define WIDE(O) (REGISTERS / (O) >= 4 ? 4 : REGISTERS / (O) >= 2 ? REGISTERS / (O) : 1)
#define TILE(O)                                                                          \
    static void one_##O(const pa_conv *g, const real *x, const real *kernel,             \
                        const real *bias, real *z)                                       \
    {                                                                                    \
        tile(O, 1, g, x, kernel, bias, z);                                               \
    }                                                                                    \
    static void wide_##O(const pa_conv *g, const real *x, const real *kernel,            \
                         const real *bias, real *z)                                      \
    {                                                                                    \
        tile(O, WIDE(O), g, x, kernel, bias, z);                                         \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) static const struct {
    size_t vecs;
    tile_kernel *one, *wide;
} tiles[MOST] = {
    {WIDE(1), one_1, wide_1}, {WIDE(2), one_2, wide_2}, {WIDE(3), one_3, wide_3},
    {WIDE(4), one_4, wide_4}, {WIDE(5), one_5, wide_5}, {WIDE(6), one_6, wide_6},
    {WIDE(7), one_7, wide_7}, {WIDE(8), one_8, wide_8},
};

void PA_(pa_grey_image)(const pa_conv *g, const real *x, const real *kernel,
                        const real *bias, real *room)
{
    const size_t n = (g->OH - 1) * z_row(g) + g->OW, wide = tiles[g->O - 1].vecs * VR_N;
    size_t i = 0;
    for (; i + wide <= up(n, VR_N); i += wide)
        tiles[g->O - 1].wide(g, x + i, kernel, bias, room + i);
    for (; i < n; i += VR_N)
        tiles[g->O - 1].one(g, x + i, kernel, bias, room + i);
}

void PA_(pa_grey_out)(const pa_conv *g, real *room, real *y)
{
    for (size_t i = 0; i < g->OH; i++)
        together(g, room + i * z_row(g), plane(g), g->OW, pixels_of(g, room),
                 (g->OH - i) * g->OW * g->O, y + i * g->OW * g->O);
}

/* ---- max-pooling ---------------------------------------------------------------------
 */

bool PA_(pa_grey_pools)(const pa_conv *g)
{
    return g->pw == 2;
}

/* The next candidate, at `place` of its window. */
PA_INLINE void meet(vr v, int place, vr *top, vr *at)
{
    const vrm more = vrm_or(vr_gt(v, *top), vrm_and(vr_ne(v, v), vr_eq(*top, *top)));
    *top = vr_sel(more, v, *top);
    *at = vr_sel(more, vr_set1((real)place), *at);
}

/* Places of a row: whole vectors, (PH, O, place_row) bytes in all. */
static size_t place_row(const pa_conv *g)
{
    return up(g->PW, VR_N);
}

size_t PA_(pa_grey_places)(const pa_conv *g)
{
    return g->PH * g->O * place_row(g);
}

static void store_bytes(unsigned char *to, vr v)
{
    real lane[VR_N];
    unsigned char byte[VR_N];
    vr_store(lane, v);
    for (int i = 0; i < VR_N; i++)
        byte[i] = (unsigned char)(int)lane[i];
    memcpy(to, byte, VR_N);
}

static vr load_bytes(const unsigned char *from)
{
    real lane[VR_N];
    unsigned char byte[VR_N];
    memcpy(byte, from, VR_N);
    for (int i = 0; i < VR_N; i++)
        lane[i] = (real)byte[i];
    return vr_load(lane);
}

/* A row of windows of one plane. */
PA_INLINE void pool_row(const pa_conv *g, const bool relu, const int high, const real *z,
                        real *y, unsigned char *place)
{
    const size_t row = z_row(g);
    for (size_t j = 0; j < g->PW; j += VR_N) {
        const real *p = z + 2 * j;
        const vr a = vr_load(p), b = vr_load(p + VR_N);
        vr top = vr_even(a, b), at = vr_zero();
        meet(vr_odd(a, b), 1, &top, &at);
        for (int i = 1; i < high; i++) {
            const vr c = vr_load(p + (size_t)i * row),
                     d = vr_load(p + (size_t)i * row + VR_N);
            meet(vr_even(c, d), 2 * i, &top, &at);
            meet(vr_odd(c, d), 2 * i + 1, &top, &at);
        }
        if (relu) /* all of them 0: the first */
            at = vr_sel(vr_le(top, vr_zero()), vr_zero(), at);
        vr_store(y + j, top);
        if (place)
            store_bytes(place + j, at);
    }
}

void PA_(pa_grey_pool)(const pa_conv *g, bool relu, real *room, real *y,
                       unsigned char *place)
{
    const size_t apart = strip(g), bytes = place ? place_row(g) : 0;
    real *rows = rows_of(g, room);
    for (size_t i = 0; i < g->PH; i++, y += g->PW * g->O) {
        for (size_t o = 0; o < g->O; o++, place += bytes) {
            const real *z = room + o * plane(g) + i * g->ph * z_row(g);
            if (g->ph == 2)
                pool_row(g, relu, 2, z, rows + o * apart, place);
            else
                pool_row(g, relu, (int)g->ph, z, rows + o * apart, place);
        }
        together(g, rows, apart, g->PW, pixels_of(g, room), (g->PH - i) * g->PW * g->O,
                 y);
    }
}

/* ---- backward: dz as planes ----------------------------------------------------------
 */

void PA_(pa_grey_in)(const pa_conv *g, const real *dz, real *room)
{
    for (size_t i = 0; i < g->OH; i++) {
        real *to = room + i * dz_row(g);
        asunder(g, dz + i * g->OW * g->O, g->OW, pixels_of(g, room),
                (g->OH - i) * g->OW * g->O, plane(g), to);
        for (size_t o = 0; o < g->O; o++)
            for (size_t j = g->OW; j < up(g->OW, VT_N); j++)
                to[o * plane(g) + j] = 0;
    }
}

/* A row of windows of one plane. d: (PW) and vectors. */
static void unpool_row(const pa_conv *g, const real *d, const unsigned char *place,
                       real *dz)
{
    const vr zero = vr_zero();
    const size_t row = dz_row(g);
    for (size_t j = 0; j < g->PW; j += VR_N, dz += 2 * VR_N) {
        const int n = g->PW - j < VR_N ? (int)(g->PW - j) : VR_N;
        const vr v = vr_load_n(d + j, n), at = load_bytes(place + j);
        for (size_t i = 0; i < g->ph; i++) {
            const vr even = vr_set1((real)(2 * i)), odd = vr_set1((real)(2 * i + 1));
            const vr a = vr_sel(vr_eq(at, even), v, zero);
            const vr b = vr_sel(vr_eq(at, odd), v, zero);
            vr_store(dz + i * row, vr_zip_low(a, b));
            vr_store(dz + i * row + VR_N, vr_zip_high(a, b));
        }
    }
}

void PA_(pa_grey_unpool)(const pa_conv *g, const real *d, const unsigned char *place,
                         real *room)
{
    const size_t apart = strip(g);
    real *rows = rows_of(g, room);
    for (size_t i = 0; i < g->PH; i++, d += g->PW * g->O) {
        asunder(g, d, g->PW, pixels_of(g, room), (g->PH - i) * g->PW * g->O, apart, rows);
        for (size_t o = 0; o < g->O; o++, place += place_row(g))
            unpool_row(g, rows + o * apart, place,
                       room + o * plane(g) + i * g->ph * dz_row(g));
    }
}

/* For each result: a vector for each place of the kernel, and one for the bias. */
static size_t sums_of_one(const pa_conv *g)
{
    return (g->kh * g->kw + 1) * VR_N;
}

size_t PA_(pa_grey_sums)(const pa_conv *g)
{
    return g->O * sums_of_one(g);
}

typedef struct patch { /* of a gradient: planes and places of the kernel */
    const real *x, *dz;
    size_t rows, vecs, last; /* of dz; lanes of the last vector */
    size_t next_x, next_dz;  /* from row to row */
    size_t apart, dw;        /* from plane to plane, from place to place */
} patch;

/* n lanes of x; dz has zeros behind its row, but what x has there may be infinite. */
PA_INLINE void meet_vector(const int high, const int wide, const patch *t, const real *x,
                           const real *dz, int n, vr (*acc)[TAPS])
{
    vr d[GROUP];
    PA_UNROLL
    for (int o = 0; o < high; o++)
        d[o] = vr_load(dz + (size_t)o * t->apart);
    PA_UNROLL
    for (int k = 0; k < wide; k++, x += t->dw) {
        const vr v = vr_keep(n == VR_N ? vr_load(x) : vr_load_n(x, n));
        PA_UNROLL
        for (int o = 0; o < high; o++)
            acc[o][k] = vr_fma(d[o], v, acc[o][k]);
    }
}

PA_INLINE void gather(const int high, const int wide, const patch *t, size_t one,
                      real *sums)
{
    vr acc[GROUP][TAPS];
    PA_UNROLL
    for (int o = 0; o < high; o++) {
        PA_UNROLL
        for (int k = 0; k < wide; k++)
            acc[o][k] = vr_zero();
    }
    const real *x = t->x, *dz = t->dz;
    for (size_t i = 0; i < t->rows; i++, x += t->next_x, dz += t->next_dz) {
        size_t v = 0;
        for (; v + 1 < t->vecs; v++)
            meet_vector(high, wide, t, x + v * VR_N, dz + v * VR_N, VR_N, acc);
        meet_vector(high, wide, t, x + v * VR_N, dz + v * VR_N, (int)t->last, acc);
    }
    PA_UNROLL
    for (int o = 0; o < high; o++) {
        PA_UNROLL
        for (int k = 0; k < wide; k++) {
            real *at = sums + (size_t)o * one + k * VR_N;
            vr_store(at, vr_add(vr_load(at), acc[o][k]));
        }
    }
}

typedef void gather_kernel(const patch *t, size_t one, real *sums);
#define GATHER(high, wide)                                                               \
    static void gather_##high##x##wide(const patch *t, size_t one, real *sums)           \
    {                                                                                    \
        gather(high, wide, t, one, sums);                                                \
    }
/* clang-format off */
GATHER(1, 1) GATHER(1, 2) GATHER(1, 3) GATHER(1, 4)
GATHER(2, 1) GATHER(2, 2) GATHER(2, 3) GATHER(2, 4)
#if TILE_ROWS >= 12
GATHER(1, 5) GATHER(2, 5)
GATHER(3, 1) GATHER(3, 2) GATHER(3, 3) GATHER(3, 4) GATHER(3, 5)
static gather_kernel *const gathers[GROUP][TAPS] = {
    {gather_1x1, gather_1x2, gather_1x3, gather_1x4, gather_1x5},
    {gather_2x1, gather_2x2, gather_2x3, gather_2x4, gather_2x5},
    {gather_3x1, gather_3x2, gather_3x3, gather_3x4, gather_3x5},
};
#else
static gather_kernel *const gathers[GROUP][TAPS] = {
    {gather_1x1, gather_1x2, gather_1x3, gather_1x4},
    {gather_2x1, gather_2x2, gather_2x3, gather_2x4},
};
#endif
/* clang-format on */

static void add_bias(const pa_conv *g, const real *dz, real *sum)
{
    vr s = vr_load(sum);
    for (size_t i = 0; i < g->OH; i++, dz += dz_row(g))
        for (size_t j = 0; j < g->OW; j += VR_N)
            s = vr_add(s, vr_load(dz + j));
    vr_store(sum, s);
}

void PA_(pa_grey_dkernel)(const pa_conv *g, const real *x, const real *room, real *sums)
{
    const size_t one = sums_of_one(g), vecs = (g->OW + VR_N - 1) / VR_N;
    patch t = {.rows = g->OH, .vecs = vecs, .last = g->OW - (vecs - 1) * VR_N};
    t.next_x = g->Wp;
    t.next_dz = dz_row(g);
    t.apart = plane(g);
    t.dw = g->dw;
    for (size_t o = 0, high; o < g->O; o += high) {
        high = g->O - o < GROUP ? g->O - o : GROUP;
        t.dz = room + o * t.apart;
        for (size_t ky = 0; ky < g->kh; ky++)
            for (size_t kx = 0, wide; kx < g->kw; kx += wide) {
                wide = g->kw - kx < TAPS ? g->kw - kx : TAPS;
                t.x = x + ky * g->dh * g->Wp + kx * g->dw;
                gathers[high - 1][wide - 1](&t, one,
                                            sums + o * one + (ky * g->kw + kx) * VR_N);
            }
    }
    for (size_t o = 0; o < g->O; o++)
        add_bias(g, room + o * t.apart, sums + (o + 1) * one - VR_N);
}

void PA_(pa_grey_fold)(const pa_conv *g, const real *sums, real *dkernel, real *dbias)
{
    const size_t taps = g->kh * g->kw;
    for (size_t o = 0; o < g->O; o++, sums += sums_of_one(g)) {
        for (size_t k = 0; dkernel && k < taps; k++)
            dkernel[k * g->O + o] = vr_sum(vr_load(sums + k * VR_N));
        if (dbias)
            dbias[o] = vr_sum(vr_load(sums + taps * VR_N));
    }
}

void PA_(pa_grey_dimage)(const pa_conv *g, const real *room, const real *kernel, real *dx)
{
    for (size_t i = 0; i < g->OH; i++)
        for (size_t k = 0; k < g->kh * g->kw; k++) {
            const size_t ky = k / g->kw, kx = k % g->kw;
            real *to = dx + (i + ky * g->dh) * g->Wp + kx * g->dw;
            for (size_t j = 0; j < g->OW; j += VR_N) {
                const int n = g->OW - j < VR_N ? (int)(g->OW - j) : VR_N;
                vr sum = vr_load_n(to + j, n);
                for (size_t o = 0; o < g->O; o++)
                    sum = vr_fma(vr_set1(kernel[k * g->O + o]),
                                 vr_load(room + o * plane(g) + i * dz_row(g) + j), sum);
                vr_store_n(to + j, sum, n);
            }
        }
}
