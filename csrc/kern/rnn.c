#include "kern/rnn.h"

#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "kern/fused.h"
#include "kern/gemm.h"
#include "kern/gemm_bias.h"
#include "kern/gemm_pack.h"
#include "kern/loop.h"

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
        const real *from = r->h + (t * r->B + b) * r->U;
        real *to = r->fed + (t * r->B + b) * r->ldf;
        if (r->joined)
            to[r->U] = 1;
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

/* Between (B, T, F), as it is outside, and (T, B, F) at row stride ld. What is left out
 * counts as 0. */
static void turn(const pa_rnn *r, real *inside, size_t ld, real *outside, bool in)
{
    for (size_t t = 0; t < r->T; t++) {
        const size_t at = r->go_backwards ? r->T - 1 - t : t;
        for (size_t b = 0; b < r->B; b++) {
            real *i = inside + (t * r->B + b) * ld;
            real *o = outside + (b * r->T + at) * r->F;
            if (!in)
                copy(o, i, r->F);
            else if (pa_rnn_skips(r, t, b))
                memset(i, 0, r->F * sizeof *i);
            else
                copy(i, o, r->F);
        }
    }
}

static void start(real *to, const pa_tensor *from, size_t n)
{
    if (from)
        memcpy(to, from->data, n * sizeof *to);
    else
        memset(to, 0, n * sizeof *to);
}

/* ---- forward -------------------------------------------------------------------------
 */

typedef struct biased { /* z: where the product goes, (rows, N) */
    const pa_rnn *r;
    real *z;
} biased;

static void add_bias(void *arg, size_t row, size_t rows, size_t col, size_t cols)
{
    const biased *to = arg;
    const size_t N = to->r->N;
    PA_(pa_bias_add)(rows, cols, to->z + row * N + col, N, to->r->bias + col);
}

static void leave_out(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t step = r->B * r->U;
    for (size_t b = lo; r->mask && b < hi; b++) {
        if (!pa_rnn_skips(r, t, b))
            continue;
        const size_t at = t * step + b * r->U;
        memcpy(r->h + at + step, r->h + at, r->U * sizeof(real));
        if (r->c)
            memcpy(r->c + at + step, r->c + at, r->U * sizeof(real));
    }
}

/* The recurrent part of step t: added to z[t], apart, or, joined, all of z[t]. */
static void multiply(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t rows = hi - lo, U = r->U, N = r->N;
    const bool apart = r->kind->bias_rows == 2;
    const real *from = r->fed + (t * r->B + lo) * r->ldf;
    real *to = apart ? r->product + lo * N : r->z + (t * r->B + lo) * N;
    if (r->joined && t == 0 && !r->h0) {
        PA_(pa_gemm)
        (NULL, false, false, rows, N, r->F, from - r->F, r->ldx, r->kernel, N, false, to,
         N, NULL);
        PA_(pa_bias_add)(rows, N, to, N, r->bias);
    } else if (r->joined) {
        PA_(pa_gemm_packed)
        (NULL, false, rows, N, r->ldx, from - r->F, r->ldx, r->packed, false, to, N,
         NULL);
    } else if (r->packed) {
        PA_(pa_gemm_packed)
        (NULL, false, rows, N, U, from, U, r->packed, !apart, to, N, NULL);
    } else {
        PA_(pa_gemm)
        (NULL, false, false, rows, N, U, from, U, r->recurrent, N, !apart, to, N, NULL);
    }
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    for (size_t t = 0; t < r->T; t++) {
        multiply(r, t, lo, hi);
        r->kind->forward(r, t, lo, hi);
        leave_out(r, t, lo, hi);
        if (t + 1 < r->T)
            feed(r, t + 1, lo, hi);
        const real *h = r->h + (t + 1) * r->B * r->U;
        for (size_t b = lo; b < hi; b++)
            copy(r->y + (b * r->T + t) * r->U, h + b * r->U, r->U);
    }
}

static void run(const pa_rnn *r, const pa_ctx *ctx, pa_task *task)
{
    pa_rnn copy = *r;
    pa_run(ctx, task, &copy, pa_chunks(r->B, ROWS));
}

/* Packs what all steps use; unless joined, makes the inputs' part of z for all steps. */
static void prepare(pa_rnn *r, const pa_ctx *ctx)
{
    if (r->joined) {
        const size_t panel = PA_(pa_gemm_packed_size)(1, r->ldx);
        real *p = r->packed;
        PA_(pa_gemm_pack_b)(false, r->F, r->N, r->kernel, (ptrdiff_t)r->N, p, panel);
        p += PA_(pa_gemm_packed_size)(1, r->F);
        PA_(pa_gemm_pack_b)(false, r->U, r->N, r->recurrent, (ptrdiff_t)r->N, p, panel);
        p += PA_(pa_gemm_packed_size)(1, r->U);
        PA_(pa_gemm_pack_b)(false, 1, r->N, r->bias, (ptrdiff_t)r->N, p, panel);
        return;
    }
    biased all = {r, r->z};
    const pa_gemm_epilogue epi = {add_bias, &all};
    PA_(pa_gemm)
    (ctx->pool, false, false, r->T * r->B, r->N, r->F, r->xs, r->F, r->kernel, r->N,
     false, r->z, r->N, &epi);
    if (r->packs)
        PA_(pa_gemm_pack)(false, r->N, r->U, r->recurrent, r->N, r->packed);
    else
        r->packed = NULL;
}

void PA_(pa_rnn_forward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind)
{
    pa_rnn r = PA_(pa_rnn_bind)(c, kind);
    const size_t BU = r.B * r.U;
    if (r.B == 0)
        return;
    r.y = c->out[0]->data;
    turn(&r, r.xs, r.ldx, c->in[0]->data, true);
    start(r.h, r.h0, BU);
    if (r.c)
        start(r.c, r.c0, BU);
    feed(&r, 0, 0, r.B);
    prepare(&r, ctx);
    run(&r, ctx, forward_chunk);
    memcpy(c->out[1]->data, r.h + r.T * BU, BU * sizeof(real));
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
        PA_(pa_gemm_packed)
        (NULL, false, rows, U, r->N, dz, r->D, r->packed, adds, to, U, NULL);
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

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    for (size_t t = r->end; t-- > r->begin;) {
        size_t from = lo;
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
    const size_t rows = (r->end - r->begin) * r->B, N = r->N, U = r->U, D = r->D;
    const bool apart = r->kind->bias_rows == 2, add = r->end < r->T;
    const size_t first = apart ? N - U : N; /* columns before those apart */
    const real *xs = r->xs + r->begin * r->B * r->ldx;
    const real *fed = r->fed + r->begin * r->B * r->ldf;
    real *dk = c->din[1] ? c->din[1]->data : NULL;
    real *dr = c->din[2] ? c->din[2]->data : NULL;
    const bool both = r->joined && dk && dr == dk + r->F * N; /* as in a model's block */
    if (dk)
        PA_(pa_gemm)
    (ctx->pool, true, false, both ? r->F + U : r->F, first, rows, xs, r->ldx, r->dz, D,
     add, dk, N, NULL);
    if (dk && apart)
        PA_(pa_gemm)
    (ctx->pool, true, false, r->F, U, rows, xs, r->ldx, r->dz + N, D, add, dk + first, N,
     NULL);
    /* before the first step there is no state, unless one is given */
    const size_t none = r->begin == 0 && !r->h0 && r->kind->bias_rows == 1 ? r->B : 0;
    if (dr && !both)
        PA_(pa_gemm)
    (ctx->pool, true, false, U, N, rows - none, fed + none * r->ldf, r->ldf,
     r->dz + none * D, D, add, dr, N, NULL);
}

static void input_gradients(const pa_call *c, const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = (r->end - r->begin) * r->B, N = r->N, U = r->U, D = r->D;
    const bool apart = r->kind->bias_rows == 2;
    const size_t first = apart ? N - U : N;
    real *dxs = r->dxs + r->begin * r->B * r->F;
    if (!c->din[0])
        return;
    PA_(pa_gemm)
    (ctx->pool, false, true, rows, r->F, first, r->dz, D, r->kernel, N, false, dxs, r->F,
     NULL);
    if (apart)
        PA_(pa_gemm)
    (ctx->pool, false, true, rows, r->F, U, r->dz + N, D, r->kernel + first, N, true, dxs,
     r->F, NULL);
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
    if (c->din[0])
        turn(&r, r.dxs, r.F, c->din[0]->data, false);
    bias_gradient(c, &r);
}
