/* dense - y = act(x kernel + bias), act an element-wise operator or none
 *
 * x: (..., K), kernel: (K, N), bias: (N,), y: (..., N). With z = x kernel + bias,
 * dz = dy act'(z):
 *     dx = dz kernel', dkernel = x' dz, dbias = sum of dz over all but the last axis.
 * Bias, activation and act'(z) are computed block by block as the product's blocks are
 * finished, while they are in cache. act'(z) is what is saved for backward; without an
 * activation nothing is. Sums keep the order of kern/gemm.h. */
#include <math.h>

#include "base/shape.h"
#include "kern/fused.h"
#include "kern/gemm.h"
#include "kern/gemm_bias.h"
#include "kern/largest.h"

enum { ACTIVATION, PARAM }; /* attributes */

static const pa_attr_desc attrs[] = {
    {"activation", PA_ATTR_MAP, -1, -1, 1e6,
     "element-wise operator applied to the result"},
    {"param", PA_ATTR_REAL, NAN, -HUGE_VAL, HUGE_VAL,
     "the activation's parameter (alpha, beta); default: its own"},
    {0},
};

enum { PREPARE_ROWS = 16 }; /* fewer stream the weights as they are */

typedef struct sizes {
    size_t M, N, K;
} sizes;

static sizes sizes_of(const pa_call *c)
{
    const pa_tensor *kernel = c->in[1];
    sizes s = {1, (size_t)kernel->dim[1], (size_t)kernel->dim[0]};
    for (int i = 0; i + 1 < c->in[0]->rank; i++)
        s.M *= (size_t)c->in[0]->dim[i];
    return s;
}

static const pa_op *activation(const pa_call *c)
{
    const int i = (int)c->attr[ACTIVATION].num;
    return i < 0 ? NULL : c->table->ops[i];
}

static pa_status check(const pa_call *c, pa_error *err)
{
    static const char *const names[] = {"x", "kernel", "bias"};
    char x_text[128], text[128];
    const char *op = c->op->name;
    const pa_tensor *x = c->in[0], *kernel = c->in[1];
    for (int i = 0; i < c->n_in; i++) {
        pa_status st = pa_want_dtype(op, names[i], c->in[i], PA_REAL, err);
        if (st)
            return st;
    }
    pa_shape_text(x, x_text);
    if (x->rank < 1)
        return pa_fail(err, PA_EVALUE, "%s: x: got a scalar, expected shape (..., K)",
                       op);
    const long long K = (long long)x->dim[x->rank - 1];
    if (kernel->rank != 2 || kernel->dim[0] != K)
        return pa_fail(
            err, PA_EVALUE,
            "%s: kernel: got shape %s, expected (%lld, N) because x has shape %s", op,
            pa_shape_text(kernel, text), K, x_text);
    if (c->n_in > 2 && (c->in[2]->rank != 1 || c->in[2]->dim[0] != kernel->dim[1]))
        return pa_fail(err, PA_EVALUE,
                       "%s: bias: got shape %s, expected (%lld,), one for each column of "
                       "kernel",
                       op, pa_shape_text(c->in[2], text), (long long)kernel->dim[1]);
    return PA_OK;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = check(c, err);
    if (st)
        return st;
    int64_t dim[PA_MAX_RANK];
    const int rank = c->in[0]->rank;
    for (int i = 0; i < rank; i++)
        dim[i] = c->in[0]->dim[i];
    dim[rank - 1] = c->in[1]->dim[1];
    st = pa_tensor_init(c->out[0], PA_REAL, rank, dim, err);
    if (st)
        return st;
    const size_t bytes = c->out[0]->size * sizeof(real);
    c->saved_bytes = c->scratch_bytes = activation(c) ? bytes : 0;
    c->flops = 2.0 * (double)c->in[0]->size * (double)c->in[1]->dim[1];
    const sizes s = sizes_of(c);
    if (s.M >= PREPARE_ROWS)
        c->prepared_bytes = PA_(pa_gemm_packed_size)(s.N, s.K) * sizeof(real);
    return PA_OK;
}

static void prepare(const pa_call *c, void *to)
{
    const sizes s = sizes_of(c);
    PA_(pa_gemm_pack)(false, s.N, s.K, c->in[1]->data, s.N, to);
}

/* ---- forward --------------------------------------------------------------------------
 */

typedef struct finish {
    size_t N;
    real *y, *slope; /* (M, N); slope may be NULL */
    const real *bias;
    pa_fused act;
} finish;

static void finish_block(void *arg, size_t row, size_t rows, size_t col, size_t cols)
{
    const finish *f = arg;
    const size_t at = row * f->N + col;
    pa_fused_block(&f->act, rows, cols, f->y + at, f->slope ? f->slope + at : NULL, f->N,
                   f->bias ? f->bias + col : NULL);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const sizes s = sizes_of(c);
    finish f = {.N = s.N, .y = c->out[0]->data, .slope = c->saved};
    if (c->n_in > 2)
        f.bias = c->in[2]->data;
    f.act = pa_fused_of(c, c->attr[ACTIVATION].num, c->attr[PARAM].num);
    const pa_gemm_epilogue finish_it = {finish_block, &f};
    const pa_gemm_epilogue *epi = f.bias || f.act.op ? &finish_it : NULL;
    if (c->prepared)
        PA_(pa_gemm_packed)
    (ctx->pool, false, s.M, s.N, s.K, c->in[0]->data, s.K, c->prepared, false, f.y, s.N,
     epi);
    else PA_(pa_gemm)(ctx->pool, false, false, s.M, s.N, s.K, c->in[0]->data, s.K,
                      c->in[1]->data, s.N, false, f.y, s.N, epi);
}

/* ---- backward
 * --------------------------------------------------------------------------- */

/* On the magnitudes of dkernel, by those of its factors where they are fewer numbers.
 * Twice, since sums are rounded. */
static double bound(const sizes *s, const real *x, const real *dz, const real *dkernel,
                    pa_pool *pool)
{
    if (s->M * (s->K + s->N) > s->K * s->N)
        return PA_(pa_largest)(dkernel, s->K * s->N, false, pool);
    return 2 * (double)s->M * PA_(pa_largest)(dz, s->M * s->N, false, pool) *
           PA_(pa_largest)(x, s->M * s->K, false, pool);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    const sizes s = sizes_of(c);
    const real *slope = activation(c) ? c->saved : NULL;
    const real *dz = slope ? c->scratch : c->dout[0]->data;
    real *db = c->n_in > 2 && c->din[2] ? c->din[2]->data : NULL;
    PA_(pa_bias_grad)(ctx->pool, s.M, s.N, c->dout[0]->data, slope, c->scratch, db);
    if (c->din[0]) /* (M, N) (N, K); first, so that dkernel is still near for others */
        PA_(pa_gemm)
    (ctx->pool, false, true, s.M, s.K, s.N, dz, s.N, c->in[1]->data, s.N, false,
     c->din[0]->data, s.K, NULL);
    if (c->din[1]) /* (K, M) (M, N) */
        PA_(pa_gemm)
    (ctx->pool, true, false, s.K, s.N, s.M, c->in[0]->data, s.K, dz, s.N, false,
     c->din[1]->data, s.N, NULL);
    if (c->din[1] && c->bound)
        *c->bound = bound(&s, c->in[0]->data, dz, c->din[1]->data, ctx->pool);
}

const pa_op PA_(pa_op_dense) = {
    .name = "dense",
    .formula = "activation(x kernel + bias)",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN | PA_SAVES_AT_WILL | PA_TELLS_BOUND | PA_SCRATCH_IS_SAVED,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .in_names = "x, kernel, bias",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .prepare = prepare,
};
