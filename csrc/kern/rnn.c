#include "kern/rnn.h"

#include <math.h>
#include <string.h>

#include "base/watch.h"
#include "kern/fused.h"
#include "kern/gemm.h"
#include "kern/gemm_bias.h"
#include "kern/gemm_pack.h"
#include "kern/loop.h"
#include "kern/rnn_product.h"

enum { ROWS = 16 }; /* of a batch, that go through time together */

/* ---- helpers -------------------------------------------------------------------------
 */

void PA_(pa_rnn_activate)(const pa_op *act, real *v, real *slope, size_t n)
{
    if (!act) {
        for (size_t i = 0; i < n; i++)
            slope[i] = 1;
        return;
    }
    const pa_fused f = {act, (real)(act->map->has_param ? act->attrs[0].init : 0)};
    pa_fused_run(&f, v, slope, n);
}

/* memcpy's call costs more than such a row. */
PA_INLINE void copy(real *to, const real *from, size_t n)
{
    size_t j = 0;
    for (; j + VR_N <= n; j += VR_N)
        vr_store(to + j, vr_load(from + j));
    if (j < n)
        vr_store_n(to + j, vr_load_n(from + j, (int)(n - j)), (int)(n - j));
}

/* What step t feeds back, of rows [lo, hi): h[t], times scale. */
static void feed(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    if (r->fed == r->h)
        return;
    for (size_t b = lo; b < hi; b++) {
        const real *from = pa_rnn_h(r, t, b);
        real *to = r->fed + (t * r->B + b) * r->ldf;
        if (!r->scale) {
            copy(to, from, r->U);
            continue;
        }
        const real *scale = r->scale + b * r->U;
        PA_IVDEP
        for (size_t j = 0; j < r->U; j++)
            to[j] = from[j] * scale[j];
    }
}

/* Where step t reads and writes outside. */
static size_t outside(const pa_rnn *r, size_t t)
{
    return r->go_backwards ? r->T - 1 - t : t;
}

/* The inputs of step t into xs, of rows [lo, hi); what is left out counts as 0. */
static void take_in(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    for (size_t b = lo; b < hi; b++) {
        real *to = r->xs + (t * r->B + b) * r->ldx;
        if (pa_rnn_skips(r, t, b))
            memset(to, 0, r->F * sizeof *to);
        else
            copy(to, r->x + (b * r->T + outside(r, t)) * r->F, r->F);
        if (r->joined)
            to[r->F + r->U] = 1;
    }
}

/* h[0], from a tensor or 0. */
static void start(const pa_rnn *r)
{
    for (size_t b = 0; b < r->B; b++)
        if (r->h0)
            copy(pa_rnn_h(r, 0, b), (const real *)r->h0->data + b * r->U, r->U);
        else
            memset(pa_rnn_h(r, 0, b), 0, r->U * sizeof(real));
    if (r->c && r->c0)
        memcpy(r->c, r->c0->data, r->B * r->U * sizeof(real));
    else if (r->c)
        memset(r->c, 0, r->B * r->U * sizeof(real));
    feed(r, 0, 0, r->B);
}

/* ---- forward -------------------------------------------------------------------------
 */

static void add_bias(void *arg, size_t row, size_t rows, size_t col, size_t cols)
{
    const pa_rnn *r = arg;
    PA_(pa_bias_add)(rows, cols, r->z + row * r->ldz + col, r->ldz, r->sum + col);
}

static void leave_out(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t U = r->U, step = r->B * U;
    for (size_t b = lo; r->mask && b < hi; b++) {
        if (!pa_rnn_skips(r, t, b))
            continue;
        copy(pa_rnn_h(r, t + 1, b), pa_rnn_h(r, t, b), U);
        if (r->c)
            copy(r->c + t * step + b * U + step, r->c + t * step + b * U, U);
    }
}

/* to += from (rows, U) times columns [M, ..) of recurrent, or all of [0, M). */
static void add_recurrent(const pa_rnn *r, size_t rows, const real *from, bool last,
                          real *to, size_t ldc)
{
    const size_t U = r->U, cols = last ? r->N - r->M : r->M;
    if (r->packed)
        PA_(pa_rnn_product)
    (rows, cols, U, from, r->ldf, last ? r->packed_rec : r->packed,
     PA_(pa_gemm_packed_size)(1, U), true, to, ldc);
    else PA_(pa_gemm)(NULL, false, false, rows, cols, U, from, r->ldf,
                      r->recurrent + (last ? r->M : 0), r->N, true, to, ldc, NULL);
}

/* Every row of c (rows, U) is bias. */
static void fill(size_t rows, size_t U, real *c, size_t ldc, const real *bias)
{
    for (size_t i = 0; i < rows; i++)
        copy(c + i * ldc, bias, U);
}

/* z of step t, and the product that is kept apart. */
static void multiply(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t rows = hi - lo, U = r->U, F = r->F;
    const real *from = r->fed + (t * r->B + lo) * r->ldf;
    real *z = r->z + (t * r->B + lo) * r->ldz, *apart = r->product + lo * U;
    if (!r->joined) {
        add_recurrent(r, rows, from, false, z, r->ldz);
    } else {
        const bool no_state = t == 0 && !r->h0 && F > 0;
        PA_(pa_rnn_product)
        (rows, r->M, no_state ? F : r->K, from - F, r->ldx, r->packed,
         PA_(pa_gemm_packed_size)(1, r->K), false, z, r->ldz);
        if (no_state)
            PA_(pa_bias_add)(rows, r->M, z, r->ldz, r->sum);
    }
    if (r->M == r->N)
        return;
    if (r->joined) {
        fill(rows, U, z + r->M, r->ldz, r->sum + r->M);
        PA_(pa_rnn_product)
        (rows, U, F, from - F, r->ldx, r->packed_in, PA_(pa_gemm_packed_size)(1, F), true,
         z + r->M, r->ldz);
    }
    fill(rows, U, apart, U, r->bias + r->N + r->M);
    add_recurrent(r, rows, from, true, apart, U);
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    for (size_t t = 0; t < r->T && !pa_watch_stops(pa_watch_in_pool()); t++) {
        if (r->joined)
            take_in(r, t, lo, hi);
        multiply(r, t, lo, hi);
        r->kind->forward(r, t, lo, hi);
        leave_out(r, t, lo, hi);
        if (t + 1 < r->T)
            feed(r, t + 1, lo, hi);
        for (size_t b = lo; b < hi; b++)
            copy(r->y + (b * r->T + t) * r->U, pa_rnn_h(r, t + 1, b), r->U);
    }
}

static void run(const pa_rnn *r, const pa_ctx *ctx, pa_task *task)
{
    pa_rnn copy = *r;
    pa_run(ctx, task, &copy, pa_chunks(r->B, ROWS));
}

/* Both kernels and the bias one below the other; what is kept apart, apart. */
static void pack_joined(const pa_rnn *r)
{
    const size_t N = r->N, M = r->M, U = r->U, panel = PA_(pa_gemm_packed_size)(1, r->K);
    real *p = r->packed;
    PA_(pa_gemm_pack_b)(false, r->F, M, r->kernel, (ptrdiff_t)N, p, panel);
    p += PA_(pa_gemm_packed_size)(1, r->F);
    PA_(pa_gemm_pack_b)(false, U, M, r->recurrent, (ptrdiff_t)N, p, panel);
    p += PA_(pa_gemm_packed_size)(1, U);
    PA_(pa_gemm_pack_b)(false, 1, M, r->sum, (ptrdiff_t)N, p, panel);
    PA_(pa_gemm_pack)(false, N - M, r->F, r->kernel + M, N, r->packed_in);
    PA_(pa_gemm_pack)(false, N - M, U, r->recurrent + M, N, r->packed_rec);
}

/* What all steps use; unless joined, the inputs and their part of z for all steps. */
static void prepare(pa_rnn *r, const pa_ctx *ctx)
{
    const size_t N = r->N, M = r->M, U = r->U;
    for (size_t j = 0; j < N; j++)
        r->sum[j] = M < N && j < M ? r->bias[j] + r->bias[N + j] : r->bias[j];
    if (r->joined) {
        pack_joined(r);
        return;
    }
    for (size_t t = 0; t < r->T; t++)
        take_in(r, t, 0, r->B);
    const pa_gemm_epilogue epi = {add_bias, r};
    PA_(pa_gemm)
    (ctx->pool, false, false, r->T * r->B, N, r->F, r->xs, r->F, r->kernel, N, false,
     r->z, r->ldz, &epi);
    if (r->packs) {
        PA_(pa_gemm_pack)(false, M, U, r->recurrent, N, r->packed);
        PA_(pa_gemm_pack)(false, N - M, U, r->recurrent + M, N, r->packed_rec);
    } else {
        r->packed = NULL;
    }
}

void PA_(pa_rnn_forward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind)
{
    pa_rnn r = PA_(pa_rnn_bind)(c, kind);
    const size_t BU = r.B * r.U;
    if (r.B == 0)
        return;
    r.x = c->in[0]->data;
    r.y = c->out[0]->data;
    start(&r);
    prepare(&r, ctx);
    run(&r, ctx, forward_chunk);
    real *last = c->out[1]->data;
    for (size_t b = 0; b < r.B; b++)
        copy(last + b * r.U, pa_rnn_h(&r, r.T, b), r.U);
    if (r.c)
        memcpy(c->out[2]->data, r.c + r.T * BU, BU * sizeof(real));
}

/* ---- backward ------------------------------------------------------------------------
 */

/* dz[t], then what is left for h[t] in dh, of rows [lo, hi) of which none is left out. */
static void backward_rows(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t rows = hi - lo, U = r->U;
    if (lo == hi)
        return;
    r->kind->backward(r, t, lo, hi);
    if (t == 0 && r->stop_at_first)
        return;
    const real *dz = pa_rnn_dz(r, t, lo);
    const bool adds = r->kind->keeps_dh && !r->scale;
    real *to = r->scale ? r->product + lo * U : r->dh + lo * U;
    if (r->packed) {
        PA_(pa_rnn_product)
        (rows, U, r->N, dz, r->D, r->packed, PA_(pa_gemm_packed_size)(1, r->N), adds, to,
         U);
    } else {
        PA_(pa_gemm)
        (NULL, false, true, rows, U, r->N, dz, r->D, r->recurrent, r->N, adds, to, U,
         NULL);
    }
    if (!r->scale)
        return;
    const real *scale = r->scale + lo * U;
    real *dh = r->dh + lo * U;
    PA_IVDEP
    for (size_t i = 0; i < rows * U; i++)
        dh[i] = r->kind->keeps_dh ? dh[i] + to[i] * scale[i] : to[i] * scale[i];
}

/* What comes from outside at step t, row by row far apart: asked for a step ahead, it is
 * there when it is needed. */
static void fetch_grad(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    for (size_t b = lo; b < hi; b++)
        for (size_t j = 0; j < r->U; j += 64 / sizeof(real))
            PA_PREFETCH(r->dy + (b * r->T + t) * r->U + j);
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    for (size_t t = r->end; t-- > r->begin;) {
        size_t from = lo;
        if (pa_watch_stops(pa_watch_in_pool()))
            return;
        if (t > 0)
            fetch_grad(r, t - 1, lo, hi);
        for (size_t b = lo; r->mask && b < hi; b++) {
            if (!pa_rnn_skips(r, t, b))
                continue;
            backward_rows(r, t, from, b);
            from = b + 1;
            memset(pa_rnn_dz(r, t, b), 0, r->D * sizeof(real));
            for (size_t j = 0; j < r->U; j += VR_N) {
                const int n = pa_rnn_lanes(r, j);
                pa_rnn_store(r->dh + b * r->U + j, pa_rnn_grad(r, t, b, j, n), n);
            }
        }
        backward_rows(r, t, from, hi);
    }
}

/* From dz of the steps [begin, end), while it is in cache. The gradients of weights are
 * sums over such blocks, the last first. Where the products are kept apart, dz holds the
 * gates, the candidate's recurrent part and its input part. */
static void weight_gradients(const pa_call *c, const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = (r->end - r->begin) * r->B, N = r->N, M = r->M, U = r->U;
    const bool add = r->end < r->T;
    const real *xs = r->xs + r->begin * r->B * r->ldx;
    const real *fed = r->fed + r->begin * r->B * r->ldf;
    real *dk = c->din[1] ? c->din[1]->data : NULL;
    real *dr = c->din[2] ? c->din[2]->data : NULL;
    const bool both = r->joined && dk && dr == dk + r->F * N; /* as in a model's block */
    /* before the first step there is no state, unless one is given */
    const size_t none = r->begin == 0 && !r->h0 ? r->B : 0;
    fed += none * r->ldf;
    const real *dz = r->dz + none * r->D;
    if (dk)
        PA_(pa_gemm)
    (ctx->pool, true, false, both ? r->F + U : r->F, M, rows, xs, r->ldx, r->dz, r->D,
     add, dk, N, NULL);
    if (dk && M < N)
        PA_(pa_gemm)
    (ctx->pool, true, false, r->F, U, rows, xs, r->ldx, r->dz + N, r->D, add, dk + M, N,
     NULL);
    if (dr && !both)
        PA_(pa_gemm)
    (ctx->pool, true, false, U, N, rows - none, fed, r->ldf, dz, r->D, add, dr, N, NULL);
    if (dr && both && M < N)
        PA_(pa_gemm)
    (ctx->pool, true, false, U, U, rows - none, fed, r->ldf, dz + M, r->D, add, dr + M, N,
     NULL);
}

static void input_gradients(const pa_call *c, const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = (r->end - r->begin) * r->B, N = r->N, D = r->D;
    real *dxs = r->dxs + r->begin * r->B * r->F;
    if (!c->din[0])
        return;
    PA_(pa_gemm)
    (ctx->pool, false, true, rows, r->F, r->M, r->dz, D, r->kernel, N, false, dxs, r->F,
     NULL);
    if (r->M < N)
        PA_(pa_gemm)
    (ctx->pool, false, true, rows, r->F, r->U, r->dz + N, D, r->kernel + r->M, N, true,
     dxs, r->F, NULL);
    for (size_t t = r->begin; t < r->end; t++)
        for (size_t b = 0; b < r->B; b++)
            copy((real *)c->din[0]->data + (b * r->T + outside(r, t)) * r->F,
                 r->dxs + (t * r->B + b) * r->F, r->F);
}

/* sums += the sums of dz's columns. */
static void bias_sums(const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = (r->end - r->begin) * r->B, D = r->D;
    const bool add = r->end < r->T;
    real *part = r->sums + D;
    PA_(pa_bias_grad)(ctx->pool, rows, D, r->dz, NULL, NULL, add ? part : r->sums);
    PA_IVDEP
    for (size_t j = 0; add && j < D; j++)
        r->sums[j] += part[j];
}

static void bias_gradient(const pa_call *c, const pa_rnn *r)
{
    const size_t N = r->N, U = r->U;
    if (!c->din[3])
        return;
    real *db = c->din[3]->data;
    if (r->kind->bias_rows == 1) {
        memcpy(db, r->sums, N * sizeof(real));
        return;
    }
    memcpy(db, r->sums, (N - U) * sizeof(real));
    memcpy(db + N - U, r->sums + N, U * sizeof(real));
    memcpy(db + N, r->sums, N * sizeof(real));
}

static void no_rows(const pa_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->din[i])
            memset(c->din[i]->data, 0, c->din[i]->size * sizeof(real));
}

void PA_(pa_rnn_backward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind)
{
    pa_rnn r = PA_(pa_rnn_bind)(c, kind);
    const size_t BU = r.B * r.U;
    const bool two = kind->states == 2;
    if (r.B == 0) {
        no_rows(c);
        return;
    }
    pa_tensor *dh0 = c->n_in > 4 ? c->din[4] : NULL;
    pa_tensor *dc0 = two && c->n_in > 5 ? c->din[5] : NULL;
    r.dy = c->dout[0]->data;
    r.stop_at_first = !dh0;
    memcpy(r.dh, c->dout[1]->data, BU * sizeof(real));
    if (two)
        memcpy(r.dc, c->dout[2]->data, BU * sizeof(real));
    if (r.T > 1)
        PA_(pa_gemm_pack)(true, r.U, r.N, r.recurrent, r.N, r.packed);
    else
        r.packed = NULL;
    for (r.end = r.T; r.end > 0; r.end = r.begin) {
        r.begin = r.end > r.block ? r.end - r.block : 0;
        run(&r, ctx, backward_chunk);
        weight_gradients(c, ctx, &r);
        input_gradients(c, ctx, &r);
        if (c->din[3])
            bias_sums(ctx, &r);
    }
    if (dh0)
        memcpy(dh0->data, r.dh, BU * sizeof(real));
    if (dc0)
        memcpy(dc0->data, r.dc, BU * sizeof(real));
    bias_gradient(c, &r);
}
