#include "kern/gemm_bias.h"

#include "kern/gemm.h"
#include "kern/gemm_tile.h"

enum {
    FEW = 4,                /* columns */
    VECS = 4,               /* vectors of columns summed side by side */
    MIN_PARALLEL = 1 << 16, /* elements; some 10 us */
    MIN_CHUNK = 1 << 14,    /* elements */
};

/* Narrow rows that touch each other, as whole vectors: VR_N rows are `cols` of them. */
static void add_narrow(size_t rows, size_t cols, real *c, const real *bias)
{
    real again[VR_N * VR_N];
    for (size_t i = 0; i < VR_N * cols; i += cols)
        for (size_t j = 0; j < cols; j++)
            again[i + j] = bias[j];
    size_t n = rows * cols, j = 0;
    for (; n >= VR_N; n -= VR_N, c += VR_N) {
        vr_store(c, vr_add(vr_load(c), vr_load(again + j)));
        j = j + VR_N < VR_N * cols ? j + VR_N : 0;
    }
    for (size_t i = 0; i < n; i++)
        c[i] += again[j + i];
}

void PA_(pa_bias_add)(size_t rows, size_t cols, real *c, size_t ldc, const real *bias)
{
    if (ldc == cols && cols < VR_N && rows >= 2 * VR_N) {
        add_narrow(rows, cols, c, bias);
        return;
    }
    const size_t whole = cols - cols % VR_N;
    const int rest = (int)(cols - whole);
    if (cols <= FEW) { /* numbers just stored one by one are not to be had as a vector */
        for (size_t i = 0; i < rows; i++, c += ldc)
            for (size_t j = 0; j < cols; j++)
                c[j] += bias[j];
        return;
    }
    for (size_t i = 0; i < rows; i++, c += ldc) {
        for (size_t j = 0; j < whole; j += VR_N)
            vr_store(c + j, vr_add(vr_load(c + j), vr_load(bias + j)));
        if (rest)
            vr_store_n(c + whole,
                       vr_add(vr_load_n(c + whole, rest), vr_load_n(bias + whole, rest)),
                       rest);
    }
}

typedef struct job {
    size_t rows, cols, chunks;
    const real *dy, *slope;
    real *dz, *db;
} job;

/* The columns of `vecs` vectors from `col` on, the last of n lanes. */
PA_INLINE void columns(const job *g, size_t col, const int vecs, int n)
{
    const size_t cols = g->cols; /* for all a compiler knows, dz may be *g */
    const real *dy = g->dy + col, *slope = g->slope ? g->slope + col : NULL;
    real *dz = slope ? g->dz + col : NULL;
    vr sum[VECS];
    for (int v = 0; v < vecs; v++)
        sum[v] = vr_zero();
    for (size_t i = 0; i < g->rows; i += PA_GEMM_KC) {
        size_t left = g->rows - i < PA_GEMM_KC ? g->rows - i : PA_GEMM_KC;
        vr acc[VECS];
        PA_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[v] = vr_zero();
        for (; left > 0; left--, dy += cols) {
            PA_UNROLL
            for (int v = 0; v < vecs; v++) {
                const bool whole = v < vecs - 1 || n == VR_N;
                const int at = v * VR_N;
                vr x = whole ? vr_load(dy + at) : vr_load_n(dy + at, n);
                if (slope) {
                    x = vr_mul(x, whole ? vr_load(slope + at) : vr_load_n(slope + at, n));
                    if (whole)
                        vr_store(dz + at, x);
                    else
                        vr_store_n(dz + at, x, n);
                }
                acc[v] = vr_add(acc[v], x);
            }
            slope += slope ? cols : 0;
            dz += slope ? cols : 0;
        }
        PA_UNROLL
        for (int v = 0; v < vecs; v++)
            sum[v] = i == 0 ? acc[v] : vr_add(sum[v], acc[v]);
    }
    if (!g->db)
        return;
    for (int v = 0; v < vecs; v++)
        vr_store_n(g->db + col + (size_t)(v * VR_N), sum[v], v == vecs - 1 ? n : VR_N);
}

static void run_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *g = arg;
    (void)worker;
    const size_t groups = (g->cols + VECS * VR_N - 1) / (VECS * VR_N);
    size_t group = groups * (size_t)chunk / g->chunks * (VECS * VR_N);
    size_t end = groups * ((size_t)chunk + 1) / g->chunks * (VECS * VR_N);
    end = end < g->cols ? end : g->cols;
    for (; group + VECS * VR_N <= end; group += VECS * VR_N)
        columns(g, group, VECS, VR_N);
    for (; group < end; group += VR_N)
        columns(g, group, 1, end - group < VR_N ? (int)(end - group) : VR_N);
}

void PA_(pa_bias_grad)(pa_pool *pool, size_t rows, size_t cols, const real *dy,
                       const real *slope, real *dz, real *db)
{
    job g = {rows, cols, 1, dy, slope, dz, db};
    if (cols == 0 || (!slope && !db))
        return;
    const size_t n = rows * cols, groups = (cols + VECS * VR_N - 1) / (VECS * VR_N);
    if (n >= MIN_PARALLEL)
        g.chunks = n / MIN_CHUNK < groups ? n / MIN_CHUNK : groups;
    pa_pool_run(pool, run_chunk, &g, (ptrdiff_t)g.chunks);
}
