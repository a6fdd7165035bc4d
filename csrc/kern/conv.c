#include "kern/conv.h"

#include "base/watch.h"
#include "kern/conv_tile.h"
#include "kern/gemm.h"

enum {
    KC = 256,                           /* terms of a chain */
    CHAIN = 512,                        /* terms of a kernel's gradient in one chain */
    COLUMNS = 32 * 1024 / sizeof(real), /* of unrolled gradient: the first-level cache */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Part `at` of n cut into `parts` nearly equal parts: [*from, *from + size). */
static size_t part(size_t n, size_t parts, size_t at, size_t *from)
{
    const size_t q = n / parts, r = n % parts;
    *from = at * q + least(at, r);
    return q + (at < r);
}

/* Neighbours along a row of the kernel lie side by side in the image. */
static bool joined(const pa_conv *g)
{
    return g->dw == 1 && g->groups == 1;
}

/* ---- the kernel, laid out ------------------------------------------------------------
 */

static size_t terms(const pa_conv *g)
{
    return g->kh * g->kw * g->Cg;
}

size_t PA_(pa_conv_packed_size)(const pa_conv *g)
{
    return g->groups * PA_(pa_gemm_packed_size)(g->Og, terms(g));
}

void PA_(pa_conv_pack)(const pa_conv *g, const real *kernel, real *packed)
{
    const size_t size = PA_(pa_gemm_packed_size)(g->Og, terms(g));
    for (size_t i = 0; i < g->groups; i++)
        PA_(pa_gemm_pack)
    (false, g->Og, terms(g), kernel + i * g->Og, g->O, packed + i * size);
}

/* For each group and row of the kernel the transpose of (kw Cg, Og). */
size_t PA_(pa_conv_packed_back_size)(const pa_conv *g)
{
    return g->groups * g->kh * PA_(pa_gemm_packed_size)(g->kw * g->Cg, g->Og);
}

void PA_(pa_conv_pack_back)(const pa_conv *g, const real *kernel, real *packed)
{
    const size_t N = g->kw * g->Cg, size = PA_(pa_gemm_packed_size)(N, g->Og);
    for (size_t i = 0; i < g->groups; i++)
        for (size_t ky = 0; ky < g->kh; ky++)
            PA_(pa_gemm_pack)
    (true, N, g->Og, kernel + ky * N * g->O + i * g->Og, g->O,
     packed + (i * g->kh + ky) * size);
}

/* The watch to ask between the rows of an image that takes long by itself. */
static pa_watch *watch_of(const pa_conv *g)
{
    const double flops = 2.0 * (double)(g->OH * g->OW) * (double)(g->O * terms(g));
    return flops < 5e7 ? NULL : pa_watch_in_pool();
}

/* ---- forward -------------------------------------------------------------------------
 */

typedef struct block { /* of the kernel: rows, columns and channels of it */
    size_t y, ny, x, nx, c, nc;
} block;

/* All pixels of the image for the columns [col, col + cols) of a group and the block. */
static void image_block(const pa_conv *g, const block *t, size_t group, size_t col,
                        size_t cols, const real *x, const real *panel, const real *bias,
                        bool add, real *y)
{
    const ptrdiff_t C = (ptrdiff_t)g->C, width = (ptrdiff_t)g->Wp * C;
    const bool join = joined(g) && t->nc == g->C;
    const pa_conv_loop loop = {
        {t->ny, join ? 1 : t->nx, join ? t->nx * t->nc : t->nc},
        {(ptrdiff_t)g->dh * width, (ptrdiff_t)g->dw * C, 1},
        {(ptrdiff_t)(g->kw * g->Cg * TILE_COLS), (ptrdiff_t)(g->Cg * TILE_COLS),
         TILE_COLS},
    };
    x += (t->y * g->dh * g->Wp + t->x * g->dw) * g->C + group * g->Cg + t->c;
    y += group * g->Og + col;
    panel += ((t->y * g->kw + t->x) * g->Cg + t->c) * TILE_COLS;
    const size_t vecs = (cols + VR_N - 1) / VR_N;
    const size_t tiles = (g->OW + TILE_ROWS - 1) / TILE_ROWS;
    pa_watch *watch = watch_of(g);
    const pa_conv_below below = {(ptrdiff_t)g->sh * width, (ptrdiff_t)(g->OW * g->O)};
    const ptrdiff_t right = (ptrdiff_t)g->sw * C, O = (ptrdiff_t)g->O;
    for (size_t oy = 0, high; oy < g->OH && !pa_watch_stops(watch); oy += high) {
        high = vecs == 1 && oy + 1 < g->OH ? 2 : 1;
        for (size_t i = 0; i < tiles; i++) {
            size_t ox, rows = part(g->OW, tiles, i, &ox);
            const real *from = x + (ptrdiff_t)oy * below.a + (ptrdiff_t)ox * right;
            real *to = y + (oy * g->OW + ox) * g->O;
            if (high == 2)
                conv_pairs[rows - 1](&loop, from, right, panel, add, bias, to, O,
                                     (int)cols, below);
            else
                conv_tiles[vecs - 1][rows - 1](&loop, from, right, panel, add, bias, to,
                                               O, (int)cols);
        }
    }
}

/* The blocks of the kernel, at most KC terms each, in the order of its memory. */
static void image_columns(const pa_conv *g, size_t group, size_t col, const real *x,
                          const real *panel, const real *bias, real *y)
{
    const size_t cols = least(g->Og - col, TILE_COLS);
    const size_t nc = least(g->Cg, KC);
    const size_t nx = nc == g->Cg ? least(g->kw, KC / nc) : 1;
    const size_t ny = nx == g->kw ? least(g->kh, KC / (nc * nx)) : 1;
    block t;
    for (t.y = 0; t.y < g->kh; t.y += ny)
        for (t.x = 0; t.x < g->kw; t.x += nx)
            for (t.c = 0; t.c < g->Cg; t.c += nc) {
                t.ny = least(ny, g->kh - t.y);
                t.nx = least(nx, g->kw - t.x);
                t.nc = least(nc, g->Cg - t.c);
                const bool first = t.y + t.x + t.c == 0;
                const bool last =
                    t.y + t.ny == g->kh && t.x + t.nx == g->kw && t.c + t.nc == g->Cg;
                image_block(g, &t, group, col, cols, x, panel,
                            last && bias ? bias + group * g->Og + col : NULL, !first, y);
            }
}

void PA_(pa_conv_image)(const pa_conv *g, const real *x, const real *packed,
                        const real *bias, real *y)
{
    const size_t K = terms(g);
    for (size_t i = 0; i < g->groups; i++)
        for (size_t col = 0; col < g->Og; col += TILE_COLS) {
            image_columns(g, i, col, x, packed, bias, y);
            packed += TILE_COLS * K;
        }
}

/* ---- gradient of the kernel ----------------------------------------------------------
 */

/* `n` neighbouring rows of the kernel's gradient, from the rows [oy, oy + rows) of dz. */
static void dkernel_rows(const pa_conv *g, size_t n, size_t col, size_t cols, size_t rows,
                         const real *x, const real *dz, bool add, real *dkernel)
{
    const pa_conv_loop loop = {
        {1, rows, g->OW},
        {0, (ptrdiff_t)(g->sh * g->Wp * g->C), (ptrdiff_t)(g->sw * g->C)},
        {0, (ptrdiff_t)(g->OW * g->O), (ptrdiff_t)g->O},
    };
    const size_t tiles = (n + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t j = 0; j < cols; j += TILE_COLS) {
        const size_t wide = least(cols - j, TILE_COLS), vecs = (wide + VR_N - 1) / VR_N;
        for (size_t i = 0; i < tiles; i++) {
            size_t at, high = part(n, tiles, i, &at);
            conv_tiles[vecs - 1][high - 1](&loop, x + at, 1, dz + col + j, add, NULL,
                                           dkernel + at * g->O + col + j, (ptrdiff_t)g->O,
                                           (int)wide);
        }
    }
}

void PA_(pa_conv_dkernel)(const pa_conv *g, const real *x, const real *dz, bool add,
                          real *dkernel)
{
    const bool join = joined(g);
    const size_t nx = join ? 1 : g->kw, n = join ? g->kw * g->Cg : g->Cg;
    const size_t most = g->OW < CHAIN ? CHAIN / g->OW : 1;
    pa_watch *watch = watch_of(g);
    for (size_t oy = 0; oy < g->OH && !pa_watch_stops(watch); oy += most) {
        const size_t rows = least(most, g->OH - oy);
        for (size_t ky = 0; ky < g->kh; ky++)
            for (size_t kx = 0; kx < nx; kx++)
                for (size_t i = 0; i < g->groups; i++)
                    dkernel_rows(
                        g, n, i * g->Og, g->Og, rows,
                        x + ((oy * g->sh + ky * g->dh) * g->Wp + kx * g->dw) * g->C +
                            i * g->Cg,
                        dz + oy * g->OW * g->O, add || oy > 0,
                        dkernel + (ky * g->kw + kx) * g->Cg * g->O);
    }
}

/* ---- gradient of the image -----------------------------------------------------------
 */

static size_t column_rows(const pa_conv *g)
{
    const size_t row = g->OW * g->kw * g->Cg;
    return row < COLUMNS ? least(COLUMNS / row, g->OH) : 1;
}

size_t PA_(pa_conv_columns)(const pa_conv *g)
{
    return column_rows(g) * g->OW * g->kw * g->Cg;
}

PA_INLINE void add_run(real *to, const real *from, size_t n)
{
    size_t i = 0;
    for (; i + VR_N <= n; i += VR_N)
        vr_store(to + i, vr_add(vr_load(to + i), vr_load(from + i)));
    if (i < n) {
        const int k = (int)(n - i);
        vr_store_n(to + i, vr_add(vr_load_n(to + i, k), vr_load_n(from + i, k)), k);
    }
}

/* Rows of unrolled gradient onto dx. Neighbouring pixels overlap: they are taken kw
 * apart, in all the rows, so that no addition waits for one just before it. columns:
 * (rows, OW, kw, Cg). */
static void add_rows(const pa_conv *g, size_t rows, const real *columns, real *dx)
{
    const bool join = joined(g);
    const size_t nx = join ? 1 : g->kw, n = join ? g->kw * g->Cg : g->Cg;
    for (size_t phase = 0; phase < g->kw; phase++)
        for (size_t r = 0; r < rows; r++)
            for (size_t ox = phase; ox < g->OW; ox += g->kw)
                for (size_t kx = 0; kx < nx; kx++)
                    add_run(dx + (r * g->sh * g->Wp + ox * g->sw + kx * g->dw) * g->C,
                            columns + ((r * g->OW + ox) * g->kw + kx) * g->Cg, n);
}

void PA_(pa_conv_dimage)(const pa_conv *g, const real *dz, const real *packed,
                         real *columns, real *dx)
{
    const size_t N = g->kw * g->Cg, size = PA_(pa_gemm_packed_size)(N, g->Og);
    const size_t most = column_rows(g);
    pa_watch *watch = watch_of(g);
    for (size_t oy = 0; oy < g->OH && !pa_watch_stops(watch); oy += most) {
        const size_t rows = least(most, g->OH - oy);
        for (size_t i = 0; i < g->groups; i++)
            for (size_t ky = 0; ky < g->kh; ky++) {
                PA_(pa_gemm_packed)
                (NULL, false, rows * g->OW, N, g->Og, dz + oy * g->OW * g->O + i * g->Og,
                 g->O, packed + (i * g->kh + ky) * size, false, columns, N, NULL);
                add_rows(g, rows, columns,
                         dx + ((oy * g->sh + ky * g->dh) * g->Wp) * g->C + i * g->Cg);
            }
    }
}
