/* Where stride along the row is 1, a row of the result is a run of OW O numbers, and the
 * vector at v uses the same weights as the vector at v + period. Where it is not, a
 * vector holds channels of one pixel. Both are: for each of `period` residues, `count`
 * vectors `step` apart that share their weights. */
#include "kern/conv.h"
#include "kern/gemm_tile.h" /* PA_UNROLL */

enum { MOST_ROWS = 3, MOST_VECS = 4 };

/* With many registers a row of the image, once loaded, serves all the rows of the kernel:
 * two loads in three cross a cache line, and there each costs two. */
#if TILE_ROWS >= 12
enum { TALL = 6, TAP_ROWS = 5, TAP_COLS = 5 };
#else
enum { TALL = 3, TAP_ROWS = 3, TAP_COLS = 3 };
#endif

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

/* y = acc + bias, which is the table's last row; `last` are the lanes of the last vector.
 */
PA_INLINE void finish(const int rows, const int vecs, const area *t, vr (*acc)[MOST_VECS],
                      vr bias, real *y, int last)
{
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
    finish(rows, vecs, t, acc, vr_load(table), y, last);
}

/* The same for a kernel `kh` high without stride or dilation, TALL rows high: each row of
 * the image meets the rows of the result that see it. */
PA_INLINE void tall(const int kh, const int vecs, const area *t, const real *x,
                    const real *table, real *y, int last)
{
    vr acc[TALL][MOST_VECS];
    const pa_conv *g = t->g;
    const ptrdiff_t width = (ptrdiff_t)(g->period * VR_N);
    PA_UNROLL
    for (int i = 0; i < TALL; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    const ptrdiff_t xv = t->xv, next = (ptrdiff_t)(g->dw * g->O);
    const ptrdiff_t row = width * (ptrdiff_t)g->kw;
    PA_UNROLL
    for (int k = 0; k < TALL + kh - 1; k++) {
        const real *p = x + k * t->xr, *w = table + k * row;
        for (size_t kx = g->kw; kx > 0; kx--, p += next, w += width) {
            vr v[MOST_VECS];
            PA_UNROLL
            for (int j = 0; j < vecs; j++)
                v[j] = vr_load(p + j * xv);
            PA_UNROLL
            for (int i = 0; i < TALL; i++) {
                if (i > k || k - i >= kh)
                    continue;
                const vr wi = vr_load(w - i * row);
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    acc[i][j] = vr_fma(wi, v[j], acc[i][j]);
            }
        }
    }
    finish(TALL, vecs, t, acc, vr_load(table + kh * row), y, last);
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

#define TALL_TILE(kh, vecs)                                                              \
    static void tall_##kh##x##vecs(const area *t, const real *x, const real *table,      \
                                   real *y, int last)                                    \
    {                                                                                    \
        tall(kh, vecs, t, x, table, y, last);                                            \
    }
/* clang-format off */
TALL_TILE(3, 1) TALL_TILE(3, 2) TALL_TILE(3, 3) TALL_TILE(3, 4)
TALL_TILE(5, 1) TALL_TILE(5, 2) TALL_TILE(5, 3) TALL_TILE(5, 4)
static tile_kernel *const talls[2][MOST_VECS] = {
    {tall_3x1, tall_3x2, tall_3x3, tall_3x4},
    {tall_5x1, tall_5x2, tall_5x3, tall_5x4},
};
/* clang-format on */

static void image_rows(const pa_conv *g, tile_kernel *const *kernels, const real *x,
                       const real *table, real *y)
{
    for (size_t r = 0; r < g->period; r++, x += VR_N, table += VR_N, y += VR_N) {
        const lane_set s = residue(g, r);
        const area t = {g,   (ptrdiff_t)(g->sh * g->Wp * g->O),
                        s.x, (ptrdiff_t)(g->OW * g->O),
                        s.y, s.n};
        for (size_t v = 0; v < s.count; v += MOST_VECS) {
            const size_t left = s.count - v;
            const size_t vecs = left < MOST_VECS ? left : MOST_VECS;
            kernels[vecs - 1](&t, x + (ptrdiff_t)v * s.x, table, y + (ptrdiff_t)v * s.y,
                              vecs == left ? s.last : s.n);
        }
    }
}

void PA_(pa_thin_image)(const pa_conv *g, const real *x, const real *table, real *y)
{
    const bool high = g->sh == 1 && g->dh == 1 && (g->kh == 3 || g->kh == 5);
    const size_t next = g->sh * g->Wp * g->O;
    for (size_t oy = 0; oy < g->OH;) {
        const size_t left = g->OH - oy;
        size_t rows = left < MOST_ROWS ? left : MOST_ROWS;
        tile_kernel *const *kernels = tiles[rows - 1];
        if (high && left >= TALL) {
            rows = TALL;
            kernels = talls[g->kh == 5];
        }
        image_rows(g, kernels, x + oy * next, table, y + oy * g->OW * g->O);
        oy += rows;
    }
}

/* ---- gradient of the kernel and the bias ---------------------------------------------
 */

/* Lanes beyond n are loaded as 0 on both sides: what lies there may be infinite. */
PA_INLINE vr lanes(const real *p, int n)
{
    return n == VR_N ? vr_load(p) : vr_load_n(p, n);
}

/* `high` x `wide` places of the kernel, from the rows [from, end) of dz under the first
 * of them, and those before under the others: so a row of the image, once loaded, serves
 * them all. */
PA_INLINE void gather(const int high, const int wide, const pa_conv *g, const lane_set *s,
                      const real *x, const real *dz, size_t from, size_t end, real *table)
{
    vr acc[TAP_ROWS][TAP_COLS];
    PA_UNROLL
    for (int i = 0; i < high; i++) {
        PA_UNROLL
        for (int k = 0; k < wide; k++)
            acc[i][k] = vr_zero();
    }
    const ptrdiff_t next = (ptrdiff_t)(g->dw * g->O), row = (ptrdiff_t)(g->OW * g->O);
    const ptrdiff_t xs = s->x, ys = s->y;
    for (size_t oy = from; oy < end; oy++) {
        const real *xv = x + oy * g->sh * g->Wp * g->O, *dv = dz + oy * g->OW * g->O;
        for (size_t v = 0; v < s->count; v++, xv += xs, dv += ys) {
            const int n = v + 1 < s->count ? s->n : s->last;
            vr xk[TAP_COLS];
            PA_UNROLL
            for (int k = 0; k < wide; k++)
                xk[k] = lanes(xv + k * next, n);
            PA_UNROLL
            for (int i = 0; i < high; i++) {
                const vr d = lanes(dv - i * row, n);
                PA_UNROLL
                for (int k = 0; k < wide; k++)
                    acc[i][k] = vr_fma(d, xk[k], acc[i][k]);
            }
        }
    }
    const size_t width = g->period * VR_N;
    PA_UNROLL
    for (int i = 0; i < high; i++) {
        PA_UNROLL
        for (int k = 0; k < wide; k++) {
            real *at = table + ((size_t)i * g->kw + (size_t)k) * width;
            vr_store(at, vr_add(vr_load(at), acc[i][k]));
        }
    }
}

typedef void gather_kernel(const pa_conv *g, const lane_set *s, const real *x,
                           const real *dz, size_t from, size_t end, real *table);
#define GATHER(high, wide)                                                               \
    static void gather_##high##x##wide(const pa_conv *g, const lane_set *s,              \
                                       const real *x, const real *dz, size_t from,       \
                                       size_t end, real *table)                          \
    {                                                                                    \
        gather(high, wide, g, s, x, dz, from, end, table);                               \
    }
/* clang-format off */
GATHER(1, 1) GATHER(1, 2) GATHER(1, 3) GATHER(3, 1) GATHER(3, 2) GATHER(3, 3)
#if TILE_ROWS >= 12
GATHER(1, 4) GATHER(1, 5) GATHER(3, 4) GATHER(3, 5)
GATHER(5, 1) GATHER(5, 2) GATHER(5, 3) GATHER(5, 4) GATHER(5, 5)
static gather_kernel *const gathers[3][TAP_COLS] = {
    {gather_1x1, gather_1x2, gather_1x3, gather_1x4, gather_1x5},
    {gather_3x1, gather_3x2, gather_3x3, gather_3x4, gather_3x5},
    {gather_5x1, gather_5x2, gather_5x3, gather_5x4, gather_5x5},
};
#else
static gather_kernel *const gathers[2][TAP_COLS] = {
    {gather_1x1, gather_1x2, gather_1x3},
    {gather_3x1, gather_3x2, gather_3x3},
};
#endif
/* clang-format on */

/* The places [kx, kx + wide) of `high` rows of the kernel, x and table at the first. */
static void gather_rows(const pa_conv *g, const lane_set *s, size_t high, size_t wide,
                        const real *x, const real *dz, real *table)
{
    const size_t row = g->period * VR_N * g->kw, OH = g->OH, lost = high - 1;
    if (OH > lost)
        gathers[high / 2][wide - 1](g, s, x, dz, lost, OH, table);
    for (size_t i = 0; lost > 0 && i < high; i++) { /* what is not under all of them */
        const real *xi = x + i * g->Wp * g->O;
        const size_t before = OH > lost ? lost - i : OH;
        gathers[0][wide - 1](g, s, xi, dz, 0, before, table + i * row);
        if (OH > lost)
            gathers[0][wide - 1](g, s, xi, dz, OH - i, OH, table + i * row);
    }
}

static void sum_rows(const pa_conv *g, const lane_set *s, const real *dz, real *sums)
{
    vr sum = vr_zero();
    for (size_t oy = 0; oy < g->OH; oy++, dz += g->OW * g->O)
        for (size_t v = 0; v < s->count; v++)
            sum = vr_add(
                sum, lanes(dz + (ptrdiff_t)v * s->y, v + 1 < s->count ? s->n : s->last));
    vr_store(sums, vr_add(vr_load(sums), sum));
}

void PA_(pa_thin_dkernel)(const pa_conv *g, const real *x, const real *dz, real *table)
{
    const size_t width = g->period * VR_N;
    const bool shared = g->sh == 1 && g->dh == 1;
    for (size_t r = 0; r < g->period; r++, x += VR_N, dz += VR_N, table += VR_N) {
        const lane_set s = residue(g, r);
        if (s.count == 0)
            continue;
        sum_rows(g, &s, dz, table + g->kh * g->kw * width);
        for (size_t ky = 0, high; ky < g->kh; ky += high) {
            const size_t left = g->kh - ky;
            high = shared && left >= TAP_ROWS ? TAP_ROWS : shared && left >= 3 ? 3 : 1;
            for (size_t kx = 0, wide; kx < g->kw; kx += wide) {
                wide = g->kw - kx < TAP_COLS ? g->kw - kx : TAP_COLS;
                gather_rows(g, &s, high, wide,
                            x + (ky * g->dh * g->Wp + kx * g->dw) * g->O, dz,
                            table + (ky * g->kw + kx) * width);
            }
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
