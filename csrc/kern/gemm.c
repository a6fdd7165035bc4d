/* Work is cut into chunks: a block of rows times a strip of columns. A chunk walks K in
 * blocks of KC; for each it packs its strip of B into panels on the stack (unless few
 * rows use them) and runs the tile kernels over its rows, reading A where it lies.
 * Every thread owns its strips: no barrier, no shared buffer, no memory from outside.
 *
 * Measured on AVX-512, tiles at 91 to 94 % of peak: reading A in place costs nothing,
 * except where the row stride is a multiple of 4 KB, so that all the rows of a tile
 * fall into one cache set (53 %); such rows are copied, a tile's worth at a time. */
#include "kern/gemm.h"

#include "kern/gemm_pack.h"
#include "kern/gemm_row.h"
#include "kern/gemm_tile.h"

enum {
    KC = PA_GEMM_KC,
    STRIP = 256 / sizeof(real), /* columns; 64 KB of packed B */
    MAX_ROWS = 256,             /* rows of A block: 256 KB in f32 */
    A_PAD = 64 / sizeof(real),  /* keeps copied rows out of one set */
    DIRECT_TILES = 3,           /* up to here B is not worth packing */
    MIN_CHUNK_FLOPS = 250000,
    MIN_CHUNKS = 8, /* a few us; finer is all overhead */
    ROW_STRIP = 512 / sizeof(real),
    MIN_PARALLEL_BYTES = 512 * 1024, /* of B for one row: about 10 us as well */
    MIN_PARALLEL_FLOPS = 1000000,    /* about 10 us */
};

#if defined(__GNUC__)
#define PREFETCH_L2(p)    __builtin_prefetch(p, 0, 2)
#define PREFETCH_WRITE(p) __builtin_prefetch(p, 1)
#else
#define PREFETCH_L2(p)    PA_PREFETCH(p)
#define PREFETCH_WRITE(p) PA_PREFETCH(p)
#endif

typedef struct gemm {
    size_t M, N, K;
    const real *a;
    ptrdiff_t ars, acs; /* strides of op(A): to the next row, to the next k */
    const real *b;
    ptrdiff_t ldb;
    bool tb, packed; /* packed: b holds whole panels of (K, TILE_COLS) */
    bool add;
    bool far; /* C does not stay in the first-level cache */
    real *c;
    ptrdiff_t ldc;
    const pa_gemm_epilogue *epi;
    size_t row_blocks, strips;
} gemm;

/* Part i of n cut into `parts` nearly equal parts: [*from, *from + *size). */
static void cut(size_t n, size_t parts, size_t i, size_t *from, size_t *size)
{
    const size_t q = n / parts, r = n % parts;
    *from = i * q + (i < r ? i : r);
    *size = q + (i < r);
}

static bool aliases(ptrdiff_t stride)
{
    return (stride * (ptrdiff_t)sizeof(real)) % 4096 == 0;
}

/* What is packed next, fetched a little at a time while tiles are computed: otherwise a
 * B from beyond the second-level cache costs 7 % of a step in f32, 25 % in f64. */
typedef struct ahead {
    const char *at;
    ptrdiff_t stride; /* bytes */
    size_t rows, bytes, rows_a_tile;
} ahead;

static void fetch(ahead *f)
{
    for (size_t i = 0; i < f->rows_a_tile && f->rows > 0; i++, f->rows--) {
        for (size_t j = 0; j < f->bytes; j += 64)
            PREFETCH_L2(f->at + j);
        f->at += f->stride;
    }
}

/* By the time a tile of C is stored it has come. */
static void fetch_tile(const gemm *g, const real *c, size_t rows, int cols)
{
    for (size_t i = 0; i < rows; i++, c += g->ldc)
        for (int j = 0; j < cols; j += 64 / (int)sizeof(real))
            PREFETCH_WRITE(c + j);
}

/* One block of K for rows x cols of C; b is the strip's first panel, panels being
 * `panel` apart. */
static void multiply_block(const gemm *g, size_t row, size_t rows, size_t k0, size_t k,
                           const real *b, ptrdiff_t ldb, size_t panel, real *c,
                           size_t cols, bool add, ahead *next)
{
    _Alignas(64) real copy[TILE_ROWS * (KC + A_PAD)];
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const bool rows_alias = g->acs == 1 && rows > 4 && aliases(g->ars);
    const bool columns_alias = g->ars == 1 && k > 4 && aliases(g->acs);
    const bool do_copy = (rows_alias || columns_alias) && cols > TILE_COLS;
    for (size_t t = 0; t < tiles; t++) {
        size_t i, m;
        cut(rows, tiles, t, &i, &m);
        const real *a = g->a + (ptrdiff_t)(row + i) * g->ars + (ptrdiff_t)k0 * g->acs;
        ptrdiff_t ars = g->ars, acs = g->acs;
        if (rows_alias && do_copy) {
            PA_(pa_gemm_copy)(m, k, a, ars, copy, KC + A_PAD);
            ars = KC + A_PAD;
            a = copy;
        } else if (do_copy) {
            PA_(pa_gemm_copy)(k, m, a, acs, copy, TILE_ROWS);
            acs = TILE_ROWS;
            a = copy;
        }
        const real *bj = b;
        for (size_t j = 0; j < cols; j += TILE_COLS, bj += panel) {
            const int n = cols - j < TILE_COLS ? (int)(cols - j) : TILE_COLS;
            const int vecs = (n + VR_N - 1) / VR_N;
            real *cij = c + (ptrdiff_t)i * g->ldc + j;
            if (next->rows > 0)
                fetch(next);
            if (g->far && k > 16)
                fetch_tile(g, cij, m, n);
            tile_table[vecs - 1][m - 1](k, a, ars, acs, bj, ldb, add, cij, g->ldc, n);
        }
    }
}

/* The part of B that comes after block k0 of strip `col`. */
static ahead next_part(const gemm *g, size_t col, size_t k0, size_t tiles)
{
    ahead f = {0};
    k0 += KC;
    if (k0 >= g->K) {
        k0 = 0;
        col += STRIP;
    }
    if (g->packed || col >= g->N)
        return f; /* packed panels lie in the order in which they are read */
    const size_t cols = g->N - col < STRIP ? g->N - col : STRIP;
    const size_t k = g->K - k0 < KC ? g->K - k0 : KC;
    f.at = (const char *)(g->tb ? g->b + (ptrdiff_t)col * g->ldb + (ptrdiff_t)k0
                                : g->b + (ptrdiff_t)k0 * g->ldb + (ptrdiff_t)col);
    f.stride = g->ldb * (ptrdiff_t)sizeof(real);
    f.rows = g->tb ? cols : k;
    f.bytes = (g->tb ? k : cols) * sizeof(real);
    f.rows_a_tile = (f.rows + tiles - 1) / tiles;
    return f;
}

/* A whole chunk but for the epilogue. */
static void multiply_chunk(const gemm *g, size_t row, size_t rows, size_t col,
                           size_t cols)
{
    _Alignas(64) real strip[KC * STRIP];
    real *c = g->c + (ptrdiff_t)row * g->ldc + col;
    const bool direct = !g->tb && !g->packed && rows <= DIRECT_TILES * TILE_ROWS &&
                        cols % VR_N == 0 && !aliases(g->ldb);
    const size_t tiles =
        ((rows + TILE_ROWS - 1) / TILE_ROWS) * ((cols + TILE_COLS - 1) / TILE_COLS);
    for (size_t k0 = 0; k0 < g->K; k0 += KC) {
        const size_t k = g->K - k0 < KC ? g->K - k0 : KC;
        const bool add = g->add || k0 > 0;
        const real *b = g->b;
        ptrdiff_t ldb = TILE_COLS;
        size_t panel = TILE_COLS * k;
        ahead next = {0};
        if (rows > DIRECT_TILES * TILE_ROWS)
            next = next_part(g, col, k0, tiles);
        if (g->packed) {
            b += col * g->K + k0 * TILE_COLS;
            panel = TILE_COLS * g->K;
        } else {
            b += g->tb ? (ptrdiff_t)col * g->ldb + (ptrdiff_t)k0
                       : (ptrdiff_t)k0 * g->ldb + (ptrdiff_t)col;
            if (direct) {
                ldb = g->ldb;
                panel = TILE_COLS;
            } else {
                PA_(pa_gemm_pack_b)(g->tb, k, cols, b, g->ldb, strip, panel);
                b = strip;
            }
        }
        multiply_block(g, row, rows, k0, k, b, ldb, panel, c, cols, add, &next);
    }
}

static void run_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const gemm *g = arg;
    (void)worker;
    size_t row, rows;
    const size_t strip = (size_t)chunk % g->strips;
    cut(g->M, g->row_blocks, (size_t)chunk / g->strips, &row, &rows);
    const size_t col = strip * STRIP, left = g->N - col;
    const size_t cols = left < STRIP ? left : STRIP;
    if (g->K > 0)
        multiply_chunk(g, row, rows, col, cols);
    else if (!g->add)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < cols; j++)
                g->c[(ptrdiff_t)(row + i) * g->ldc + (ptrdiff_t)(col + j)] = 0;
    if (g->epi)
        g->epi->run(g->epi->arg, row, rows, col, cols);
}

/* ---- one row
 * --------------------------------------------------------------------------- */

static void run_row_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const gemm *g = arg;
    (void)worker;
    size_t from, strips;
    cut((g->N + ROW_STRIP - 1) / ROW_STRIP, g->strips, (size_t)chunk, &from, &strips);
    const size_t col = from * ROW_STRIP, left = g->N - col;
    const size_t cols = left < strips * ROW_STRIP ? left : strips * ROW_STRIP;
    PA_(pa_gemm_row)
    (g->K, cols, g->a, g->acs, g->b + col * (g->packed ? g->K : 1), g->ldb,
     g->packed ? TILE_COLS * g->K : TILE_COLS, g->add, g->c + col);
    if (g->epi)
        g->epi->run(g->epi->arg, 0, 1, col, cols);
}

static void run_row(pa_pool *pool, gemm *g)
{
    const double bytes = (double)g->N * (double)g->K * sizeof(real);
    const size_t strips = (g->N + ROW_STRIP - 1) / ROW_STRIP;
    g->strips = 1;
    if (bytes >= MIN_PARALLEL_BYTES)
        g->strips = strips < MIN_CHUNKS ? strips : MIN_CHUNKS;
    pa_pool_run(pool, run_row_chunk, g, (ptrdiff_t)g->strips);
}

/* ---- many rows
 * -------------------------------------------------------------------------- */

static void run(pa_pool *pool, gemm *g)
{
    if (g->M == 0 || g->N == 0)
        return;
    if (g->M == 1 && !g->tb && g->K > 0) {
        run_row(pool, g);
        return;
    }
    const double flops = 2.0 * (double)g->M * (double)g->N * (double)g->K;
    g->far = (double)g->M * (double)g->N > (1 << 16) / (double)sizeof(real);
    g->strips = (g->N + STRIP - 1) / STRIP;
    g->row_blocks = (g->M + MAX_ROWS - 1) / MAX_ROWS;
    if (flops >= MIN_PARALLEL_FLOPS && g->row_blocks * g->strips < MIN_CHUNKS) {
        size_t want = (MIN_CHUNKS + g->strips - 1) / g->strips;
        const size_t worth = (size_t)(flops / (MIN_CHUNK_FLOPS * (double)g->strips));
        const size_t tiles = (g->M + TILE_ROWS - 1) / TILE_ROWS;
        want = want < worth ? want : worth;
        want = want < tiles ? want : tiles;
        g->row_blocks = want > g->row_blocks ? want : g->row_blocks;
    }
    pa_pool_run(flops < MIN_PARALLEL_FLOPS ? NULL : pool, run_chunk, g,
                (ptrdiff_t)(g->row_blocks * g->strips));
}

void PA_(pa_gemm)(pa_pool *pool, bool ta, bool tb, size_t M, size_t N, size_t K,
                  const real *a, size_t lda, const real *b, size_t ldb, bool accumulate,
                  real *c, size_t ldc, const pa_gemm_epilogue *epi)
{
    gemm g = {.M = M,
              .N = N,
              .K = K,
              .a = a,
              .ars = ta ? 1 : (ptrdiff_t)lda,
              .acs = ta ? (ptrdiff_t)lda : 1,
              .b = b,
              .ldb = (ptrdiff_t)ldb,
              .tb = tb,
              .add = accumulate,
              .c = c,
              .ldc = (ptrdiff_t)ldc,
              .epi = epi};
    run(pool, &g);
}

/* ---- packed once ----------------------------------------------------------------------
 */

size_t PA_(pa_gemm_packed_size)(size_t N, size_t K)
{
    return (N + TILE_COLS - 1) / TILE_COLS * TILE_COLS * K;
}

void PA_(pa_gemm_pack)(bool tb, size_t N, size_t K, const real *b, size_t ldb,
                       real *packed)
{
    PA_(pa_gemm_pack_b)(tb, K, N, b, (ptrdiff_t)ldb, packed, TILE_COLS * K);
}

void PA_(pa_gemm_packed)(pa_pool *pool, bool ta, size_t M, size_t N, size_t K,
                         const real *a, size_t lda, const real *packed, bool accumulate,
                         real *c, size_t ldc, const pa_gemm_epilogue *epi)
{
    gemm g = {.M = M,
              .N = N,
              .K = K,
              .a = a,
              .ars = ta ? 1 : (ptrdiff_t)lda,
              .acs = ta ? (ptrdiff_t)lda : 1,
              .b = packed,
              .ldb = TILE_COLS,
              .packed = true,
              .add = accumulate,
              .c = c,
              .ldc = (ptrdiff_t)ldc,
              .epi = epi};
    run(pool, &g);
}
