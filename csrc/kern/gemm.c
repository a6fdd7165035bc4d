/* Work is cut into chunks: a block of rows times a strip of columns. A chunk walks K in
 * blocks of KC; for each it packs its strip of B into panels on the stack (unless few
 * rows use them) and runs the tile kernels over its rows, reading A where it lies. Where
 * rows of B are rows in memory, the first tiles pack it while they multiply: a pass of
 * its own was 8 % of a product of 100 rows. Every thread owns its strips: no barrier, no
 * shared buffer, no memory from outside.
 *
 * Measured on AVX-512, tiles at 91 to 94 % of peak: reading A in place costs nothing,
 * except where its rows are a multiple of 4 KB apart, so that all the rows of a tile fall
 * into one set of the first-level cache. There lower tiles help (128 x 512 x 512 in
 * float64: 1.25 ms instead of 1.44); copying the rows was no better. */
#include "kern/gemm.h"

#include <string.h>

#include "kern/gemm_narrow.h"
#include "kern/gemm_pack.h"
#include "kern/gemm_row.h"
#include "kern/gemm_thin.h"
#include "kern/gemm_tile.h"

enum {
    STRIP = 256 / sizeof(real),      /* columns of a chunk; 100 KB of packed B */
    MAX_ROWS = 256,                  /* rows of a chunk; 256 KB of A in f32 */
    DIRECT_TILES = 3,                /* up to here B is not worth packing */
    FLIP_COLS = 16,                  /* most columns of C that are made rows, */
    FLIP_K = 8,                      /* where K pays for laying out A and C anew */
    MIN_PARALLEL_FLOPS = 1000000,    /* about 10 us */
    MIN_CHUNK_FLOPS = 250000,        /* a few us; finer is all overhead */
    MIN_CHUNKS = 8,                  /* wanted, where the above allows */
    ROW_STRIP = 1024 / sizeof(real), /* for one row of C: columns of a chunk */
    MIN_PARALLEL_BYTES = 512 * 1024, /* and how much of B takes 10 us */
};

typedef struct gemm {
    size_t M, N, K, KC; /* KC: terms of a block of K */
    const real *a;
    ptrdiff_t ars, acs; /* strides of op(A): to the next row, to the next k */
    const real *b;
    ptrdiff_t ldb;
    bool tb, packed; /* packed: b holds whole panels of (K, TILE_COLS) */
    bool flipped;    /* A, B and C have changed places with B', A' and C' */
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
            PA_PREFETCH_L2(f->at + j);
        f->at += f->stride;
    }
}

/* By the time a tile of C is stored it has come. */
static void fetch_tile(const real *c, ptrdiff_t ldc, size_t rows, int cols)
{
    for (size_t i = 0; i < rows; i++, c += ldc)
        for (int j = 0; j < cols; j += 64 / (int)sizeof(real))
            PA_PREFETCH_WRITE(c + j);
}

/* One block of K for a part of C. */
typedef struct block {
    size_t row, rows, k0, k, cols;
    const real *b; /* the strip's first panel, panels being `panel` apart */
    ptrdiff_t ldb;
    size_t panel;
    const real *raw; /* B itself, if the first tiles are to pack its whole panels */
    real *strip;     /* ... to here */
    real *c;
    ptrdiff_t ldc;
    bool add;
    ahead next;
} block;

static size_t tile_rows(const gemm *g)
{
    return g->acs == 1 && tile_aliases(g->ars) ? TILE_LOW : TILE_ROWS;
}

/* `rows` rows from row i of the block on; raw: NULL, or t->raw to pack it. */
PA_INLINE void multiply_tiles(const gemm *g, block *t, size_t i, size_t rows,
                              const real *raw)
{
    const real *a = g->a + (ptrdiff_t)(t->row + i) * g->ars + (ptrdiff_t)t->k0 * g->acs;
    const real *b = t->b;
    real *c = t->c + (ptrdiff_t)i * t->ldc;
    for (size_t j = 0; j < t->cols; j += TILE_COLS, b += t->panel, c += TILE_COLS) {
        const int n = t->cols - j < TILE_COLS ? (int)(t->cols - j) : TILE_COLS;
        const int vecs = (n + VR_N - 1) / VR_N;
        if (t->next.rows > 0)
            fetch(&t->next);
        if (g->far && t->k > 16)
            fetch_tile(c, t->ldc, rows, n);
        if (raw && n == TILE_COLS)
            PA_(pa_gemm_tile_keep)
        (rows, t->k, a, g->ars, g->acs, raw + j, g->ldb, t->add, c, t->ldc,
         t->strip + (b - t->b));
        else tile_table[vecs - 1][rows - 1](t->k, a, g->ars, g->acs, b, t->ldb, t->add, c,
                                            t->ldc, n);
    }
}

static void multiply_block(const gemm *g, block *t)
{
    const size_t most = tile_rows(g);
    size_t first = t->raw ? most : 0;
    if (t->raw && t->rows > first && t->rows - first < 4)
        first = TILE_LOW; /* so few rows would be a slow tile of their own */
    if (t->raw)
        multiply_tiles(g, t, 0, first, t->raw);
    for (size_t i = first, left = (t->rows - first + most - 1) / most; left > 0; left--) {
        const size_t m = (t->rows - i + left - 1) / left;
        multiply_tiles(g, t, i, m, NULL);
        i += m;
    }
}

/* The part of B that comes after block k0 of strip `col`, if packing it takes a pass of
 * its own. */
static ahead next_part(const gemm *g, size_t col, size_t k0, size_t tiles)
{
    ahead f = {0};
    k0 += g->KC;
    if (k0 >= g->K) {
        k0 = 0;
        col += STRIP;
    }
    if (!g->tb || col >= g->N)
        return f;
    const size_t k = g->K - k0 < g->KC ? g->K - k0 : g->KC;
    f.at = (const char *)(g->b + (ptrdiff_t)col * g->ldb + (ptrdiff_t)k0);
    f.stride = g->ldb * (ptrdiff_t)sizeof(real);
    f.rows = g->N - col < STRIP ? g->N - col : STRIP;
    f.bytes = k * sizeof(real);
    f.rows_a_tile = (f.rows + tiles - 1) / tiles;
    return f;
}

/* All of K for a part of C, c pointing at it. */
static void multiply(const gemm *g, size_t row, size_t rows, size_t col, size_t cols,
                     real *c, ptrdiff_t ldc)
{
    _Alignas(64) real strip[PA_GEMM_KC * STRIP];
    const bool few = rows <= DIRECT_TILES * TILE_ROWS;
    const bool direct =
        !g->tb && !g->packed && few && cols % VR_N == 0 && !tile_aliases(g->ldb);
    const size_t tiles =
        ((rows + TILE_ROWS - 1) / TILE_ROWS) * ((cols + TILE_COLS - 1) / TILE_COLS);
    block t = {
        .row = row, .rows = rows, .cols = cols, .c = c, .ldc = ldc, .strip = strip};
    for (; t.k0 < g->K; t.k0 += g->KC) {
        t.k = g->K - t.k0 < g->KC ? g->K - t.k0 : g->KC;
        t.add = g->add || t.k0 > 0;
        if (!few)
            t.next = next_part(g, col, t.k0, tiles);
        const real *b = g->tb ? g->b + (ptrdiff_t)col * g->ldb + (ptrdiff_t)t.k0
                              : g->b + (ptrdiff_t)t.k0 * g->ldb + (ptrdiff_t)col;
        if (g->packed) {
            t.b = g->b + col * g->K + t.k0 * TILE_COLS;
            t.ldb = TILE_COLS;
            t.panel = TILE_COLS * g->K;
        } else if (direct) {
            t.b = b;
            t.ldb = g->ldb;
            t.panel = TILE_COLS;
        } else {
            t.b = strip;
            t.ldb = TILE_COLS;
            t.panel = TILE_COLS * t.k;
            const size_t whole =
                !g->tb && rows >= tile_rows(g) ? cols / TILE_COLS * TILE_COLS : 0;
            t.raw = whole ? b : NULL;
            PA_(pa_gemm_pack_b)
            (g->tb, t.k, cols - whole, b + whole, g->ldb, strip + whole * t.k, t.panel);
        }
        multiply_block(g, &t);
    }
}

/* Neither of the next two serves where rows would fall into a few sets of the cache. */
static bool is_thin(const gemm *g)
{
    return g->K > 0 && g->K <= THIN_K && !g->packed && !tile_aliases(g->ldc);
}

/* The same for few terms. */
static void multiply_thin(const gemm *g, size_t row, size_t rows, size_t col, size_t cols,
                          real *c)
{
    real strip[THIN_K * STRIP];
    const real *a = g->a + (ptrdiff_t)row * g->ars, *b = g->b + col;
    ptrdiff_t ldb = g->ldb;
    if (g->tb) {
        PA_(pa_gemm_transpose)
        (cols, g->K, g->b + (ptrdiff_t)col * ldb, ldb, strip, STRIP);
        b = strip;
        ldb = STRIP;
    }
    PA_(pa_gemm_thin)(rows, cols, g->K, a, g->ars, g->acs, b, ldb, g->add, c, g->ldc);
}

static bool is_narrow(const gemm *g)
{
    return g->N <= NARROW_COLS && g->M >= NARROW_ROWS && g->K >= NARROW_K &&
           g->acs == 1 && !tile_aliases(g->ars) && !g->packed && !g->add;
}

/* The same for few columns. */
static void multiply_narrow(const gemm *g, size_t row, size_t rows, real *c)
{
    PA_(pa_gemm_narrow)
    (rows, g->N, g->K, g->a + (ptrdiff_t)row * g->ars, g->ars, g->b, g->tb ? 1 : g->ldb,
     g->tb ? g->ldb : 1, c, g->ldc);
}

/* The same for C = (op(B)' op(A)')'; row, rows, col, cols count in the transpose. */
static void multiply_flipped(const gemm *g, size_t rows, size_t col, size_t cols)
{
    _Alignas(64) real part[FLIP_COLS * STRIP];
    real *c = g->c + (ptrdiff_t)col * g->ldc;
    if (g->add)
        PA_(pa_gemm_transpose)(cols, rows, c, g->ldc, part, STRIP);
    multiply(g, 0, rows, col, cols, part, STRIP);
    PA_(pa_gemm_transpose)(rows, cols, part, STRIP, c, g->ldc);
}

static void clear(real *c, ptrdiff_t ldc, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++)
        memset(c + (ptrdiff_t)i * ldc, 0, cols * sizeof *c);
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
    real *c = g->c + (ptrdiff_t)row * g->ldc + (ptrdiff_t)col;
    if (g->flipped)
        multiply_flipped(g, rows, col, cols);
    else if (is_thin(g))
        multiply_thin(g, row, rows, col, cols, c);
    else if (is_narrow(g))
        multiply_narrow(g, row, rows, c);
    else if (g->K > 0)
        multiply(g, row, rows, col, cols, c, g->ldc);
    else if (!g->add)
        clear(c, g->ldc, rows, cols);
    if (g->epi && g->flipped)
        g->epi->run(g->epi->arg, col, cols, 0, rows);
    else if (g->epi)
        g->epi->run(g->epi->arg, row, rows, col, cols);
}

/* ---- one row ----------------------------------------------------------------------- */

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
    g->strips = 1; /* whole rows are read faster */
    if (bytes >= MIN_PARALLEL_BYTES && pa_pool_threads(pool) > 1)
        g->strips = strips < MIN_CHUNKS ? strips : MIN_CHUNKS;
    pa_pool_run(pool, run_row_chunk, g, (ptrdiff_t)g->strips);
}

/* ---- many rows --------------------------------------------------------------------- */

/* A C of few columns leaves many lanes of its last vector empty; its transpose does not.
 * Worth it from a quarter of a vector on (10 columns of 16: 1.45 times faster), or, where
 * A has to be transposed for it, up to half of the first vector. */
static bool flip_pays(const gemm *g)
{
    if (g->packed || g->M < 2 * VR_N || g->K < FLIP_K)
        return false;
    if (g->acs == 1)
        return g->N <= VR_N / 2;
    return g->N <= FLIP_COLS && !tile_aliases(g->acs) &&
           (VR_N - g->N % VR_N) % VR_N * 4 >= VR_N;
}

static void flip(gemm *g)
{
    gemm f = *g;
    f.flipped = true;
    f.M = g->N;
    f.N = g->M;
    f.a = g->b;
    f.ars = g->tb ? g->ldb : 1;
    f.acs = g->tb ? 1 : g->ldb;
    f.b = g->a;
    f.tb = g->acs == 1;
    f.ldb = f.tb ? g->ars : g->acs;
    *g = f;
}

static void run(pa_pool *pool, gemm *g)
{
    if (g->M == 0 || g->N == 0)
        return;
    if (g->M == 1 && !g->tb && g->K > 0) {
        run_row(pool, g);
        return;
    }
    if (!is_narrow(g) && flip_pays(g))
        flip(g);
    g->KC = pa_gemm_block(g->K);
    const double flops = 2.0 * (double)g->M * (double)g->N * (double)g->K;
    g->far =
        !g->flipped && (double)g->M * (double)g->N > (1 << 16) / (double)sizeof(real);
    g->strips = (g->N + STRIP - 1) / STRIP;
    g->row_blocks = (g->M + MAX_ROWS - 1) / MAX_ROWS;
    if (flops >= MIN_PARALLEL_FLOPS && g->row_blocks * g->strips < MIN_CHUNKS &&
        pa_pool_threads(pool) > 1) { /* each packs its strip of B */
        size_t want = (MIN_CHUNKS + g->strips - 1) / g->strips;
        const size_t worth = (size_t)(flops / (MIN_CHUNK_FLOPS * (double)g->strips));
        const size_t tiles =
            is_narrow(g) ? g->M / NARROW_ROWS : (g->M + TILE_ROWS - 1) / TILE_ROWS;
        want = want < worth ? want : worth;
        want = want < tiles ? want : tiles;
        g->row_blocks = want > g->row_blocks && !g->flipped ? want : g->row_blocks;
    }
    pa_pool_run(flops < MIN_PARALLEL_FLOPS ? NULL : pool, run_chunk, g,
                (ptrdiff_t)(g->row_blocks * g->strips));
}

void PA_(pa_gemm)(pa_pool *pool, bool ta, bool tb, size_t M, size_t N, size_t K,
                  const real *a, size_t lda, const real *b, size_t ldb, bool accumulate,
                  real *c, size_t ldc, const pa_gemm_epilogue *epi)
{
    gemm g = {.M = M, .N = N, .K = K, .a = a, .b = b, .c = c, .epi = epi};
    g.ars = ta ? 1 : (ptrdiff_t)lda;
    g.acs = ta ? (ptrdiff_t)lda : 1;
    g.ldb = (ptrdiff_t)ldb;
    g.tb = tb;
    g.add = accumulate;
    g.ldc = (ptrdiff_t)ldc;
    run(pool, &g);
}

/* ---- packed once ------------------------------------------------------------------- */

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
    gemm g = {.M = M, .N = N, .K = K, .a = a, .b = packed, .c = c, .epi = epi};
    g.ars = ta ? 1 : (ptrdiff_t)lda;
    g.acs = ta ? (ptrdiff_t)lda : 1;
    g.ldb = TILE_COLS;
    g.packed = true;
    g.add = accumulate;
    g.ldc = (ptrdiff_t)ldc;
    run(pool, &g);
}
