#include "kern/rnn.h"

#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "kern/gemm.h"
#include "kern/gemm_bias.h"
#include "kern/loop.h"

enum {
    ROWS = 16,      /* of a batch, that go through time together */
    PACK_STEPS = 4, /* from here on a packed factor is used often enough */
};

/* ---- helpers -------------------------------------------------------------------------
 */

void PA_(pa_rnn_activate)(const pa_op *act, real *v, real *slope, size_t n)
{
    if (!act) {
        for (size_t i = 0; i < n; i++)
            slope[i] = 1;
        return;
    }
    real param = (real)(act->map->has_param ? act->attrs[0].init : 0);
    char *args[4];
    ptrdiff_t steps[4], count = (ptrdiff_t)n;
    int k = 0;
    args[k] = (char *)v;
    steps[k++] = sizeof(real);
    if (act->map->has_param) {
        args[k] = (char *)&param;
        steps[k++] = 0;
    }
    args[k] = (char *)v;
    steps[k++] = sizeof(real);
    args[k] = (char *)slope;
    steps[k] = sizeof(real);
    pa_map_both(act->map)(args, &count, steps, NULL);
}

static void scaled(real *to, const real *from, const real *scale, size_t n)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] * scale[i];
}

/* Between (B, T, F), as it is outside, and (T, B, F). What is left out counts as 0. */
static void turn(const pa_rnn *r, real *inside, real *outside, bool in)
{
    const size_t bytes = r->F * sizeof(real);
    for (size_t t = 0; t < r->T; t++) {
        const size_t at = r->go_backwards ? r->T - 1 - t : t;
        for (size_t b = 0; b < r->B; b++) {
            real *i = inside + (t * r->B + b) * r->F;
            real *o = outside + (b * r->T + at) * r->F;
            if (!in)
                memcpy(o, i, bytes);
            else if (pa_rnn_skips(r, t, b))
                memset(i, 0, bytes);
            else
                memcpy(i, o, bytes);
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

static void add_bias(void *arg, size_t row, size_t rows, size_t col, size_t cols)
{
    const pa_rnn *r = arg;
    PA_(pa_bias_add)(rows, cols, r->z + row * r->N + col, r->N, r->bias + col);
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

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    const size_t rows = hi - lo, U = r->U, N = r->N;
    const bool apart = r->kind->bias_rows == 2;
    for (size_t t = 0; t < r->T; t++) {
        const real *from = r->fed + (t * r->B + lo) * U;
        real *to = apart ? r->product + lo * N : r->z + (t * r->B + lo) * N;
        if (r->packed) {
            PA_(pa_gemm_packed)
            (NULL, false, rows, N, U, from, U, r->packed, !apart, to, N, NULL);
        } else {
            PA_(pa_gemm)
            (NULL, false, false, rows, N, U, from, U, r->recurrent, N, !apart, to, N,
             NULL);
        }
        r->kind->forward(r, t, lo, hi);
        leave_out(r, t, lo, hi);
        const real *h = r->h + (t + 1) * r->B * U;
        if (r->scale && t + 1 < r->T)
            scaled(r->fed + ((t + 1) * r->B + lo) * U, h + lo * U, r->scale + lo * U,
                   rows * U);
        for (size_t b = lo; b < hi; b++)
            memcpy(r->y + (b * r->T + t) * U, h + b * U, U * sizeof(real));
    }
}

static void run(const pa_rnn *r, const pa_ctx *ctx, pa_task *task)
{
    pa_rnn copy = *r;
    pa_run(ctx, task, &copy, pa_chunks(r->B, ROWS));
}

void PA_(pa_rnn_forward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind)
{
    pa_rnn r = PA_(pa_rnn_bind)(c, kind);
    const size_t BU = r.B * r.U;
    if (r.B == 0)
        return;
    r.y = c->out[0]->data;
    turn(&r, r.xs, c->in[0]->data, true);
    const pa_gemm_epilogue epi = {add_bias, &r};
    PA_(pa_gemm)
    (ctx->pool, false, false, r.T * r.B, r.N, r.F, r.xs, r.F, r.kernel, r.N, false, r.z,
     r.N, &epi);
    start(r.h, r.h0, BU);
    if (r.c)
        start(r.c, r.c0, BU);
    if (r.scale)
        scaled(r.fed, r.h, r.scale, BU);
    if (r.T >= PACK_STEPS && r.B > 1)
        PA_(pa_gemm_pack)(false, r.N, r.U, r.recurrent, r.N, r.packed);
    else
        r.packed = NULL;
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
    const real *dz = r->dz + (t * r->B + lo) * r->D;
    real *to = r->scale ? r->product + lo * U : r->dh + lo * U;
    if (r->packed) {
        PA_(pa_gemm_packed)
        (NULL, false, rows, U, r->N, dz, r->D, r->packed, !r->scale, to, U, NULL);
    } else {
        PA_(pa_gemm)
        (NULL, false, true, rows, U, r->N, dz, r->D, r->recurrent, r->N, !r->scale, to, U,
         NULL);
    }
    if (!r->scale)
        return;
    const real *scale = r->scale + lo * U;
    real *dh = r->dh + lo * U;
    PA_IVDEP
    for (size_t i = 0; i < rows * U; i++)
        dh[i] += to[i] * scale[i];
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_rnn *r = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(r->B, ROWS, chunk, &lo, &hi);
    for (size_t t = r->T; t-- > 0;) {
        size_t from = lo;
        for (size_t b = lo; r->mask && b < hi; b++) {
            if (!pa_rnn_skips(r, t, b))
                continue;
            backward_rows(r, t, from, b);
            from = b + 1;
            memset(r->dz + (t * r->B + b) * r->D, 0, r->D * sizeof(real));
            for (size_t j = 0; j < r->U; j += VR_N) {
                const int n = pa_rnn_lanes(r, j);
                pa_rnn_store(r->dh + b * r->U + j, pa_rnn_grad(r, t, b, j, n), n);
            }
        }
        backward_rows(r, t, from, hi);
    }
}

/* The parts of dz that belong to the kernel: columns [0, N) of it, or, where the products
 * are kept apart, dz holds the gates, the candidate's recurrent part and its input part.
 */
static void kernel_gradients(const pa_call *c, const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = r->T * r->B, N = r->N, U = r->U, D = r->D;
    const bool apart = r->kind->bias_rows == 2;
    const size_t first = apart ? N - U : N; /* columns before those apart */
    if (c->din[1]) {
        real *dk = c->din[1]->data;
        PA_(pa_gemm)
        (ctx->pool, true, false, r->F, first, rows, r->xs, r->F, r->dz, D, false, dk, N,
         NULL);
        if (apart)
            PA_(pa_gemm)
        (ctx->pool, true, false, r->F, U, rows, r->xs, r->F, r->dz + N, D, false,
         dk + first, N, NULL);
    }
    if (c->din[2])
        PA_(pa_gemm)
    (ctx->pool, true, false, U, N, rows, r->fed, U, r->dz, D, false, c->din[2]->data, N,
     NULL);
    if (c->din[0]) {
        PA_(pa_gemm)
        (ctx->pool, false, true, rows, r->F, first, r->dz, D, r->kernel, N, false, r->dxs,
         r->F, NULL);
        if (apart)
            PA_(pa_gemm)
        (ctx->pool, false, true, rows, r->F, U, r->dz + N, D, r->kernel + first, N, true,
         r->dxs, r->F, NULL);
        turn(r, r->dxs, c->din[0]->data, false);
    }
}

static void bias_gradient(const pa_call *c, const pa_ctx *ctx, const pa_rnn *r)
{
    const size_t rows = r->T * r->B, N = r->N, U = r->U;
    if (!c->din[3])
        return;
    real *db = c->din[3]->data;
    if (r->kind->bias_rows == 1) {
        PA_(pa_bias_grad)(ctx->pool, rows, N, r->dz, NULL, NULL, db);
        return;
    }
    PA_(pa_bias_grad)(ctx->pool, rows, r->D, r->dz, NULL, NULL, r->sums);
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
    run(&r, ctx, backward_chunk);
    if (dh0)
        memcpy(dh0->data, r.dh, BU * sizeof(real));
    if (dc0)
        memcpy(dc0->data, r.dc, BU * sizeof(real));
    kernel_gradients(c, ctx, &r);
    bias_gradient(c, ctx, &r);
}
