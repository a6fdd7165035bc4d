/* matmul - y = op(a) op(b), op being the identity or the transpose of the last two axes
 *
 * a: (..., M, K), b: (..., K, N), y: (..., M, N). The leading (batch) dims are equal, or
 * one factor has none and serves all the products; its gradient is then the sum over
 * them. Derivative, for plain a and b: da = dy b', db = a' dy. Sums keep the order of
 * kern/gemm.h; a shared b makes one tall product out of many wherever a is not
 * transposed. */
#include <stdio.h>
#include <string.h>

#include "base/shape.h"
#include "kern/gemm.h"

enum { TRANSPOSE_A, TRANSPOSE_B }; /* attributes */

static const pa_attr_desc attrs[] = {
    {"transpose_a", PA_ATTR_BOOL, 0, 0, 1, "swap the last two axes of a"},
    {"transpose_b", PA_ATTR_BOOL, 0, 0, 1, "swap the last two axes of b"},
    {0},
};

/* ---- shape
 * ------------------------------------------------------------------------------ */

static pa_status check(const pa_call *c, bool ta, bool tb, pa_error *err)
{
    static const char *const names[] = {"a", "b"};
    char at[128], bt[128], expected[64];
    const char *op = c->op->name;
    const pa_tensor *a = c->in[0], *b = c->in[1];
    for (int i = 0; i < 2; i++) {
        pa_status st = pa_want_dtype(op, names[i], c->in[i], PA_REAL, err);
        if (st)
            return st;
        if (c->in[i]->rank < 2)
            return pa_fail(
                err, PA_EVALUE,
                "%s: %s: got shape %s, expected two dimensions or more; add an "
                "axis of 1",
                op, names[i], pa_shape_text(c->in[i], at));
    }
    const long long K = (long long)a->dim[a->rank - (ta ? 2 : 1)];
    if (b->dim[b->rank - (tb ? 1 : 2)] != K) {
        snprintf(expected, sizeof expected, tb ? "(..., N, %lld)" : "(..., %lld, N)", K);
        return pa_fail(err, PA_EVALUE,
                       "%s: b: got shape %s, expected %s because a%s has "
                       "shape %s",
                       op, pa_shape_text(b, bt), expected, ta ? ", transposed," : "",
                       pa_shape_text(a, at));
    }
    bool fits = a->rank == 2 || b->rank == 2 || a->rank == b->rank;
    for (int i = 0; fits && a->rank == b->rank && i < a->rank - 2; i++)
        fits = a->dim[i] == b->dim[i];
    if (!fits)
        return pa_fail(err, PA_EVALUE,
                       "%s: a has shape %s and b has shape %s; expected the same leading "
                       "dimensions, or two dimensions for one of them",
                       op, pa_shape_text(a, at), pa_shape_text(b, bt));
    return PA_OK;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const bool ta = c->attr[TRANSPOSE_A].num != 0, tb = c->attr[TRANSPOSE_B].num != 0;
    const pa_tensor *a = c->in[0], *b = c->in[1];
    pa_status st = check(c, ta, tb, err);
    if (st)
        return st;
    const pa_tensor *lead = a->rank > 2 ? a : b;
    int64_t dim[PA_MAX_RANK];
    for (int i = 0; i < lead->rank - 2; i++)
        dim[i] = lead->dim[i];
    dim[lead->rank - 2] = a->dim[a->rank - (ta ? 1 : 2)];
    dim[lead->rank - 1] = b->dim[b->rank - (tb ? 2 : 1)];
    st = pa_tensor_init(c->out[0], PA_REAL, lead->rank, dim, err);
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops =
        st ? 0 : 2.0 * (double)c->out[0]->size * (double)a->dim[a->rank - (ta ? 2 : 1)];
    return st;
}

/* ---- many products
 * ------------------------------------------------------------------------ */

/* One factor, or the result, of `n` products. */
typedef struct factor {
    real *data;
    bool t;      /* transposed */
    size_t ld;   /* row stride */
    size_t step; /* to the next product's; 0: the same for all, or the sum of all */
} factor;

typedef struct products {
    size_t n, M, N, K;
    factor a, b, c;
    size_t chunk; /* products of one chunk */
} products;

static void one(const products *p, pa_pool *pool, size_t i, bool add)
{
    PA_(pa_gemm)
    (pool, p->a.t, p->b.t, p->M, p->N, p->K, p->a.data + i * p->a.step, p->a.ld,
     p->b.data + i * p->b.step, p->b.ld, add, p->c.data + i * p->c.step, p->c.ld, NULL);
}

static void run_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const products *p = arg;
    const size_t from = (size_t)chunk * p->chunk;
    const size_t end = p->n - from < p->chunk ? p->n : from + p->chunk;
    (void)worker;
    for (size_t i = from; i < end; i++)
        one(p, NULL, i, false);
}

/* Big products share the threads one after another, small ones side by side. */
static void run(products *p, pa_pool *pool)
{
    enum { BIG = 4000000, CHUNK = 250000 }; /* flops */
    const double flops = 2.0 * (double)p->M * (double)p->N * (double)p->K + 1;
    if (p->c.step == 0 && p->n != 1) {
        if (p->n == 0)
            for (size_t i = 0; i < p->M; i++)
                memset(p->c.data + i * p->c.ld, 0, p->N * sizeof(real));
        for (size_t i = 0; i < p->n; i++)
            one(p, pool, i, i > 0);
    } else if (flops >= BIG || p->n == 1) {
        for (size_t i = 0; i < p->n; i++)
            one(p, pool, i, false);
    } else {
        p->chunk = flops >= CHUNK ? 1 : (size_t)(CHUNK / flops) + 1;
        pa_pool_run(pool, run_chunk, p, (ptrdiff_t)((p->n + p->chunk - 1) / p->chunk));
    }
}

/* ---- the three products
 * -------------------------------------------------------------------- */

typedef struct layout {
    bool ta, tb;
    size_t n, M, N, K;
    factor a, b, y;
} layout;

static factor factor_of(const pa_tensor *x, bool t)
{
    const size_t rows = (size_t)x->dim[x->rank - 2], cols = (size_t)x->dim[x->rank - 1];
    return (factor){x->data, t, cols, x->rank > 2 ? rows * cols : 0};
}

/* The data of `y` are those of out or of dout. A shared b is folded into one product
 * over all rows where a's rows follow each other. */
static layout layout_of(const pa_call *c, pa_tensor *y)
{
    layout l = {.ta = c->attr[TRANSPOSE_A].num != 0, .tb = c->attr[TRANSPOSE_B].num != 0};
    l.n = 1;
    for (int i = 0; i < y->rank - 2; i++)
        l.n *= (size_t)y->dim[i];
    l.a = factor_of(c->in[0], l.ta);
    l.b = factor_of(c->in[1], l.tb);
    l.y = factor_of(y, false);
    l.M = (size_t)y->dim[y->rank - 2];
    l.N = (size_t)y->dim[y->rank - 1];
    l.K = (size_t)c->in[0]->dim[c->in[0]->rank - (l.ta ? 2 : 1)];
    if (c->in[0]->rank > 2 && c->in[1]->rank == 2 && !l.ta) {
        l.M *= l.n;
        l.n = 1;
    }
    return l;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const layout l = layout_of(c, c->out[0]);
    products p = {l.n, l.M, l.N, l.K, l.a, l.b, l.y, 1};
    run(&p, ctx->pool);
}

static factor to(factor f, bool t)
{
    f.t = t;
    return f;
}

static factor grad(factor f, const pa_tensor *d)
{
    f.data = d->data;
    return f;
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    const layout l = layout_of(c, c->dout[0]);
    if (c->din[0]) {
        const factor da = grad(l.a, c->din[0]);
        products p = l.ta ? (products){l.n, l.K, l.M, l.N, l.b, to(l.y, true), da, 1}
                          : (products){l.n, l.M, l.K, l.N, l.y, to(l.b, !l.tb), da, 1};
        run(&p, ctx->pool);
    }
    if (c->din[1]) {
        const factor db = grad(l.b, c->din[1]);
        products p = l.tb ? (products){l.n, l.N, l.K, l.M, to(l.y, true), l.a, db, 1}
                          : (products){l.n, l.K, l.N, l.M, to(l.a, !l.ta), l.y, db, 1};
        run(&p, ctx->pool);
    }
}

const pa_op PA_(pa_op_matmul) = {
    .name = "matmul",
    .formula = "a b, over the last two axes",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .in_names = "a, b",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
