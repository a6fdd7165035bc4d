#include "kern/conv_grey.h"

#include "kern/conv_grey_room.h"
#include "simd/keep.h"

enum {
#if TILE_ROWS >= 12
    REGISTERS = 24, /* of accumulators */
#else
    REGISTERS = 10,
#endif
};

bool PA_(pa_grey_fits)(const pa_conv *g)
{
    return g->C == 1 && g->O <= MOST && g->sh == 1 && g->sw == 1;
}

size_t PA_(pa_grey_room)(const pa_conv *g)
{
    return MOST * plane(g) + 2 * MOST * strip(g);
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
    static void tile_##O(const pa_conv *g, const real *x, const real *kernel,            \
                         const real *bias, real *z)                                      \
    {                                                                                    \
        tile(O, WIDE(O), g, x, kernel, bias, z);                                         \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) static const struct {
    size_t wide;
    tile_kernel *run;
} tiles[MOST] = {
    {WIDE(1) * VR_N, tile_1}, {WIDE(2) * VR_N, tile_2}, {WIDE(3) * VR_N, tile_3},
    {WIDE(4) * VR_N, tile_4}, {WIDE(5) * VR_N, tile_5}, {WIDE(6) * VR_N, tile_6},
    {WIDE(7) * VR_N, tile_7}, {WIDE(8) * VR_N, tile_8},
};

/* The last tile begins early enough to be a whole one: one of fewer vectors takes as
 * long, since its multiply-adds wait for each other. */
void PA_(pa_grey_image)(const pa_conv *g, const real *x, const real *kernel,
                        const real *bias, real *room)
{
    const size_t n = up((g->OH - 1) * z_row(g) + g->OW, VR_N);
    const size_t wide = tiles[g->O - 1].wide;
    tile_kernel *const run = tiles[g->O - 1].run;
    size_t i = 0;
    for (; i + wide < n; i += wide)
        run(g, x + i, kernel, bias, room + i);
    i = n > wide ? n - wide : 0;
    run(g, x + i, kernel, bias, room + i);
}

void PA_(pa_grey_out)(const pa_conv *g, real *room, real *y)
{
    for (size_t i = 0; i < g->OH; i++)
        together(g, room + i * z_row(g), plane(g), g->OW, pixels_of(g, room),
                 (g->OH - i) * g->OW * g->O, y + i * g->OW * g->O);
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
            for (size_t j = g->OW; j < dz_row(g); j++)
                to[o * plane(g) + j] = 0;
    }
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
    add_group(high, wide, acc, one, sums);
}

typedef void gather_kernel(const patch *t, size_t one, real *sums);
#define GATHER(high, wide)                                                               \
    static void gather_##high##x##wide(const patch *t, size_t one, real *sums)           \
    {                                                                                    \
        gather(high, wide, t, one, sums);                                                \
    }
EACH_GROUP(GATHER)
static gather_kernel *const gathers[GROUP][TAPS] = BY_GROUP(gather);

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
