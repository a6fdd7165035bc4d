/* Where stride along the row is 1, a row of the result is a run of OW O numbers, and the
 * vector at v uses the same weights as the vector at v + period. Where it is not, a
 * vector holds channels of one pixel. Both are: for each of `period` residues, `count`
 * vectors `step` apart that share their weights. */
#include "kern/conv.h"
#include "kern/gemm_tile.h" /* PA_UNROLL */

enum { MOST_ROWS = 3, MOST_VECS = 4, MOST_TAPS = 7 };

typedef struct lane_set { /* the vectors of one residue along a row */
    size_t count;         /* vectors */
    ptrdiff_t x, y;       /* from one to the next, in the image and in the result */
    int n, last;          /* lanes of each, lanes of the last */
} lane_set;

static lane_set residue(const pa_conv *g, size_t r)
{
    lane_set s;
    if (g->sw == 1) {
        const size_t all = g->OW * g->O, vecs = (all + VR_N - 1) / VR_N;
        s.count = r < vecs ? (vecs - r - 1) / g->period + 1 : 0;
        s.x = s.y = (ptrdiff_t)(g->period * VR_N);
        s.n = s.last = VR_N;
        if (s.count > 0 && (vecs - 1) % g->period == r)
            s.last = (int)(all - (vecs - 1) * VR_N);
    } else {
        const size_t left = g->O - r * VR_N;
        s.count = g->OW;
        s.x = (ptrdiff_t)(g->sw * g->O);
        s.y = (ptrdiff_t)g->O;
        s.n = s.last = left < VR_N ? (int)left : VR_N;
    }
    return s;
}

size_t PA_(pa_thin_table)(const pa_conv *g)
{
    return (g->kh * g->kw + 1) * g->period * VR_N;
}

static void fill(const pa_conv *g, const real *from, real *row)
{
    for (size_t i = 0, c = 0; i < g->period * VR_N; i++, c = c + 1 < g->O ? c + 1 : 0)
        row[i] = from ? from[c] : 0;
}

void PA_(pa_thin_pack)(const pa_conv *g, const real *kernel, const real *bias,
                       real *table)
{
    const size_t width = g->period * VR_N;
    for (size_t k = 0; k < g->kh * g->kw; k++)
        fill(g, kernel + k * g->O, table + k * width);
    fill(g, bias, table + g->kh * g->kw * width);
}

/* ---- forward -------------------------------------------------------------------------
 */

typedef struct area { /* of one residue: strides of the image and the result */
    const pa_conv *g;
    ptrdiff_t xr, xv, yr, yv;
    int n;
} area;

PA_INLINE void tile(const int rows, const int vecs, const area *t, const real *x,
                    const real *table, real *y, int last)
{
    vr acc[MOST_ROWS][MOST_VECS];
    const pa_conv *g = t->g;
    const size_t width = g->period * VR_N;
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    const ptrdiff_t xr = t->xr, xv = t->xv, next = (ptrdiff_t)(g->dw * g->O);
    for (size_t ky = 0; ky < g->kh; ky++) {
        const real *p = x + ky * g->dh * g->Wp * g->O;
        for (size_t kx = g->kw; kx > 0; kx--, p += next, table += width) {
            const vr w = vr_load(table);
            PA_UNROLL
            for (int i = 0; i < rows; i++) {
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    acc[i][j] = vr_fma(w, vr_load(p + i * xr + j * xv), acc[i][j]);
            }
        }
    }
    const vr bias = vr_load(table); /* the table's last row */
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            const int n = j == vecs - 1 ? last : t->n;
            real *at = y + i * t->yr + j * t->yv;
            if (n == VR_N)
                vr_store(at, vr_add(acc[i][j], bias));
            else
                vr_store_n(at, vr_add(acc[i][j], bias), n);
        }
    }
}

typedef void tile_kernel(const area *t, const real *x, const real *table, real *y,
                         int last);
#define TILE(rows, vecs)                                                                 \
    static void tile_##rows##x##vecs(const area *t, const real *x, const real *table,    \
                                     real *y, int last)                                  \
    {                                                                                    \
        tile(rows, vecs, t, x, table, y, last);                                          \
    }
/* clang-format off */
TILE(1, 1) TILE(1, 2) TILE(1, 3) TILE(1, 4)
TILE(2, 1) TILE(2, 2) TILE(2, 3) TILE(2, 4)
TILE(3, 1) TILE(3, 2) TILE(3, 3) TILE(3, 4)
static tile_kernel *const tiles[MOST_ROWS][MOST_VECS] = {
    {tile_1x1, tile_1x2, tile_1x3, tile_1x4},
    {tile_2x1, tile_2x2, tile_2x3, tile_2x4},
    {tile_3x1, tile_3x2, tile_3x3, tile_3x4},
};
/* clang-format on */

void PA_(pa_thin_image)(const pa_conv *g, const real *x, const real *table, real *y)
{
    for (size_t oy = 0; oy < g->OH; oy += MOST_ROWS) {
        const size_t rows = g->OH - oy < MOST_ROWS ? g->OH - oy : MOST_ROWS;
        for (size_t r = 0; r < g->period; r++) {
            const lane_set s = residue(g, r);
            const area t = {g,   (ptrdiff_t)(g->sh * g->Wp * g->O),
                            s.x, (ptrdiff_t)(g->OW * g->O),
                            s.y, s.n};
            const real *xr = x + oy * g->sh * g->Wp * g->O + r * VR_N;
            real *yr = y + oy * g->OW * g->O + r * VR_N;
            for (size_t v = 0; v < s.count; v += MOST_VECS) {
                const size_t left = s.count - v;
                const size_t vecs = left < MOST_VECS ? left : MOST_VECS;
                tiles[rows - 1][vecs - 1](&t, xr + (ptrdiff_t)v * s.x, table + r * VR_N,
                                          yr + (ptrdiff_t)v * s.y,
                                          vecs == left ? s.last : s.n);
            }
        }
    }
}

/* ---- gradient of the kernel and the bias ---------------------------------------------
 */

/* `taps` places of a row of the kernel, and, if `bias`, the sum of dz. Lanes beyond n are
 * loaded as 0 on both sides: what lies there may be infinite. */
PA_INLINE void gather(const int taps, const pa_conv *g, const lane_set *s, const real *x,
                      const real *dz, bool bias, real *table, real *sums)
{
    vr acc[MOST_TAPS], sum = vr_zero();
    PA_UNROLL
    for (int k = 0; k < taps; k++)
        acc[k] = vr_zero();
    const ptrdiff_t next = (ptrdiff_t)(g->dw * g->O), xs = s->x, ys = s->y;
    const size_t whole = s->n < VR_N ? 0 : s->count - (s->last < VR_N);
    for (size_t oy = 0; oy < g->OH; oy++) {
        const real *xv = x + oy * g->sh * g->Wp * g->O, *dv = dz + oy * g->OW * g->O;
        for (size_t v = 0; v < whole; v++, xv += xs, dv += ys) {
            const vr d = vr_load(dv);
            sum = vr_add(sum, d);
            PA_UNROLL
            for (int k = 0; k < taps; k++)
                acc[k] = vr_fma(d, vr_load(xv + k * next), acc[k]);
        }
        for (size_t v = whole; v < s->count; v++, xv += xs, dv += ys) {
            const vr d = vr_load_n(dv, s->last);
            sum = vr_add(sum, d);
            PA_UNROLL
            for (int k = 0; k < taps; k++)
                acc[k] = vr_fma(d, vr_load_n(xv + k * next, s->last), acc[k]);
        }
    }
    const size_t width = g->period * VR_N;
    PA_UNROLL
    for (int k = 0; k < taps; k++, table += width)
        vr_store(table, vr_add(vr_load(table), acc[k]));
    if (bias)
        vr_store(sums, vr_add(vr_load(sums), sum));
}

typedef void gather_kernel(const pa_conv *g, const lane_set *s, const real *x,
                           const real *dz, bool bias, real *table, real *sums);
#define GATHER(taps)                                                                     \
    static void gather_##taps(const pa_conv *g, const lane_set *s, const real *x,        \
                              const real *dz, bool bias, real *table, real *sums)        \
    {                                                                                    \
        gather(taps, g, s, x, dz, bias, table, sums);                                    \
    }
/* clang-format off */
GATHER(1) GATHER(2) GATHER(3) GATHER(4) GATHER(5) GATHER(6) GATHER(7)
static gather_kernel *const gathers[MOST_TAPS] = {
    gather_1, gather_2, gather_3, gather_4, gather_5, gather_6, gather_7,
};
/* clang-format on */

void PA_(pa_thin_dkernel)(const pa_conv *g, const real *x, const real *dz, real *table)
{
    const size_t width = g->period * VR_N;
    for (size_t r = 0; r < g->period; r++) {
        const lane_set s = residue(g, r);
        if (s.count == 0)
            continue;
        for (size_t ky = 0; ky < g->kh; ky++)
            for (size_t kx = 0; kx < g->kw; kx += MOST_TAPS) {
                const size_t left = g->kw - kx;
                const size_t taps = left < MOST_TAPS ? left : MOST_TAPS;
                gathers[taps - 1](g, &s,
                                  x + (ky * g->dh * g->Wp + kx * g->dw) * g->O + r * VR_N,
                                  dz + r * VR_N, ky + kx == 0,
                                  table + (ky * g->kw + kx) * width + r * VR_N,
                                  table + g->kh * g->kw * width + r * VR_N);
            }
    }
}

void PA_(pa_thin_fold)(const pa_conv *g, const real *table, real *dkernel, real *dbias)
{
    const size_t taps = g->kh * g->kw, width = g->period * VR_N;
    for (size_t k = 0; k <= taps; k++, table += width) {
        real *to = k < taps ? (dkernel ? dkernel + k * g->O : NULL) : dbias;
        for (size_t c = 0; to && c < g->O; c++) {
            real sum = 0;
            for (size_t i = c; i < width; i += g->O)
                sum += table[i];
            to[c] = sum;
        }
    }
}

/* ---- gradient of the image -----------------------------------------------------------
 */

void PA_(pa_thin_dimage)(const pa_conv *g, const real *dz, const real *table, real *dx)
{
    const size_t width = g->period * VR_N;
    for (size_t oy = 0; oy < g->OH; oy++)
        for (size_t k = 0; k < g->kh * g->kw; k++) {
            const size_t ky = k / g->kw, kx = k % g->kw;
            real *to = dx + ((oy * g->sh + ky * g->dh) * g->Wp + kx * g->dw) * g->O;
            const real *from = dz + oy * g->OW * g->O;
            for (size_t r = 0; r < g->period; r++) {
                const lane_set s = residue(g, r);
                const vr w = vr_load(table + k * width + r * VR_N);
                real *p = to + r * VR_N;
                const real *d = from + r * VR_N;
                for (size_t v = 0; v < s.count; v++, p += s.x, d += s.y) {
                    const int n = v + 1 < s.count ? s.n : s.last;
                    if (n == VR_N)
                        vr_store(p, vr_fma(w, vr_load(d), vr_load(p)));
                    else
                        vr_store_n(p, vr_fma(w, vr_load_n(d, n), vr_load_n(p, n)), n);
                }
            }
        }
}
