/* rnn_shape.c - the recurrent operators' inputs, their checks, and where what they save
 * and need lies. */
#include <string.h>

#include "base/shape.h"
#include "kern/fused.h"
#include "kern/gemm.h"
#include "kern/rnn.h"

/* ---- what the inputs are ------------------------------------------------------------
 */

typedef struct operands { /* NULL where they are not given */
    const pa_tensor *x, *kernel, *recurrent, *bias, *h0, *c0, *mask, *scale;
} operands;

static operands operands_of(const pa_call *c, const pa_rnn_kind *kind)
{
    const pa_tensor *all[PA_MAX_IN + 1] = {0};
    for (int i = 0; i < c->n_in; i++)
        all[i] = c->in[i];
    const bool two = kind->states == 2;
    return (operands){all[0],           all[1],          all[2],
                      all[3],           all[4],          two ? all[5] : NULL,
                      all[two ? 6 : 5], all[two ? 7 : 6]};
}

static const pa_op *activation(const pa_call *c, int i)
{
    const int at = (int)c->attr[i].num;
    return at < 0 ? NULL : c->table->ops[at];
}

static bool named(const pa_op *op, const char *name)
{
    return op && strcmp(op->name, name) == 0;
}

enum {
    PACK_STEPS = 4, /* from here on a packed factor is used often enough */
    BLOCK_ROWS = 256,
    JOINED_BYTES = 512 * 1024, /* of both kernels: half of a second-level cache */
};

/* ---- memory --------------------------------------------------------------------------
 */

typedef struct cursor {
    char *base; /* NULL: sizes only */
    size_t used;
    bool fits;
} cursor;

static real *take(cursor *k, size_t a, size_t b, size_t c)
{
    size_t n;
    real *at = k->base ? (real *)(void *)(k->base + k->used) : NULL;
    k->fits = k->fits && pa_mul(a, b, &n) && pa_mul(n, c, &n) &&
              pa_mul(n, sizeof(real), &n) && n <= PTRDIFF_MAX - PA_ALIGN &&
              pa_add(k->used, pa_align(n), &k->used);
    return at;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* n reals, up to a whole number of cache lines */
static size_t align(size_t n)
{
    return pa_align(n * sizeof(real)) / sizeof(real);
}

static void lay_out_packed(pa_rnn *r, cursor *scratch)
{
    const size_t U = r->U, F = r->joined ? r->F : 0, last = r->N - r->M;
    const size_t main = PA_(pa_gemm_packed_size)(r->M, r->K);
    const size_t in = PA_(pa_gemm_packed_size)(last, F);
    const size_t rec = PA_(pa_gemm_packed_size)(last, U);
    const size_t back = PA_(pa_gemm_packed_size)(U, r->N);
    r->packed = take(scratch, most(main + in + rec, back), 1, 1);
    r->packed_in = r->packed ? r->packed + main : NULL;
    r->packed_rec = r->packed ? r->packed_in + in : NULL;
}

static void lay_out(pa_rnn *r, cursor *saved, cursor *scratch)
{
    const size_t B = r->B, T = r->T, U = r->U;
    r->xs = take(saved, r->joined ? T + 1 : T, B, r->ldx);
    if (r->joined && r->xs) {
        r->xs += align(r->F) - r->F;
        r->fed = r->xs + r->F;
    }
    if (!r->joined || r->scale || !r->kind->own_z)
        r->h = take(saved, T + 1, B, U);
    else
        r->h = r->fed;
    if (!r->joined)
        r->fed = r->scale ? take(saved, T, B, U) : r->h;
    if (r->kind->own_z)
        r->z = take(saved, T, B, r->N);
    else
        r->z = r->h ? r->h + B * r->ldh : NULL;
    r->slope = r->plain ? NULL : take(saved, T, B, r->N);
    r->c = r->kind->states == 2 ? take(saved, T + 1, B, U) : NULL;
    r->part = r->kind->own_z ? take(saved, T, B, U) : NULL;
    r->part_slope = r->plain || r->kind->states < 2 ? NULL : take(saved, T, B, U);
    lay_out_packed(r, scratch);
    r->sum = take(scratch, r->N, 1, 1);
    r->product = take(scratch, B, U, 1);
    r->dz = take(scratch, r->block, B, r->D);
    r->dh = take(scratch, B, U, 1);
    r->dc = r->kind->states == 2 ? take(scratch, B, U, 1) : NULL;
    r->dxs = take(scratch, T, B, r->F);
    r->sums = take(scratch, r->D, 2, 1);
}

static pa_rnn rnn_of(const pa_call *c, const pa_rnn_kind *kind)
{
    const operands in = operands_of(c, kind);
    pa_rnn r = {.kind = kind,
                .B = (size_t)in.x->dim[0],
                .T = (size_t)in.x->dim[1],
                .F = (size_t)in.x->dim[2],
                .U = (size_t)in.recurrent->dim[0],
                .go_backwards = c->attr[1].num != 0,
                .act = activation(c, 0)};
    r.N = (size_t)kind->gates * r.U;
    r.D = (size_t)kind->width * r.U;
    r.M = kind->bias_rows == 2 ? r.N - r.U : r.N;
    r.plain = named(r.act, "tanh");
    if (kind->gates > 1) {
        r.gate_act = activation(c, 2);
        r.plain = r.plain && named(r.gate_act, "sigmoid");
    }
    r.h0 = in.h0;
    r.c0 = in.c0;
    r.kernel = in.kernel->data;
    r.recurrent = in.recurrent->data;
    r.bias = in.bias->data;
    r.mask = in.mask ? in.mask->data : NULL;
    r.scale = in.scale ? in.scale->data : NULL;
    /* not a question of T: the parts of a sequence give the bits of the whole */
    r.joined = r.B > 1 &&
               ((double)r.F + (double)r.U) * (double)r.N * sizeof(real) <= JOINED_BYTES;
    r.packs = r.joined || (r.T >= PACK_STEPS && r.B > 1);
    /* enough rows that adding to the weights' gradients once a block costs little */
    const size_t rows = r.F + r.U > BLOCK_ROWS ? r.F + r.U : BLOCK_ROWS;
    r.block = r.B == 0 ? 1 : (rows + r.B - 1) / r.B;
    r.block = r.block < r.T ? r.block : r.T;
    r.K = r.joined ? r.F + r.U + 1 : r.U;
    r.ldx = r.joined ? align(r.F) + align(r.U + 1) : r.F;
    r.ldf = r.joined ? r.ldx : r.U;
    r.ldh = r.scale || !kind->own_z ? r.U : r.ldf;
    r.ldz = kind->own_z ? r.N : r.U;
    return r;
}

/* ---- shape ---------------------------------------------------------------------------
 */

static pa_status want(const pa_call *c, const char *name, const pa_tensor *t, int rank,
                      int64_t d0, int64_t d1, const char *because, pa_error *err)
{
    char text[128];
    if (!t)
        return PA_OK;
    pa_status st = pa_want_dtype(c->op->name, name, t, PA_REAL, err);
    if (st)
        return st;
    const int last = rank - 1;
    if (t->rank == rank && t->dim[last] == d1 && (rank == 1 || t->dim[0] == d0))
        return PA_OK;
    if (rank == 1)
        return pa_fail(err, PA_EVALUE, "%s: %s: got shape %s, expected (%lld,): %s",
                       c->op->name, name, pa_shape_text(t, text), (long long)d1, because);
    return pa_fail(err, PA_EVALUE, "%s: %s: got shape %s, expected (%lld, %lld): %s",
                   c->op->name, name, pa_shape_text(t, text), (long long)d0,
                   (long long)d1, because);
}

static pa_status check_weights(const pa_call *c, const pa_rnn_kind *kind,
                               const operands *in, pa_error *err)
{
    const char *op = c->op->name;
    char text[128];
    pa_status st = pa_want_dtype(op, "x", in->x, PA_REAL, err);
    if (st)
        return st;
    if (in->x->rank != 3)
        return pa_fail(err, PA_EVALUE,
                       "%s: x: got shape %s, expected (batch, steps, features)", op,
                       pa_shape_text(in->x, text));
    if (in->x->dim[1] < 1)
        return pa_fail(err, PA_EVALUE,
                       "%s: x: got shape %s, a sequence of length 0; expected at least "
                       "one step",
                       op, pa_shape_text(in->x, text));
    const pa_tensor *recurrent = in->recurrent;
    const int64_t U = recurrent->rank == 2 ? recurrent->dim[0] : -1;
    if (U < 1 || recurrent->dim[1] % kind->gates != 0 ||
        recurrent->dim[1] / kind->gates != U)
        return pa_fail(err, PA_EVALUE,
                       "%s: recurrent: got shape %s, expected (units, %d units), units "
                       "at least 1",
                       op, pa_shape_text(recurrent, text), kind->gates);
    const int64_t N = recurrent->dim[1];
    const char *why = "features of x by columns of recurrent";
    if ((st = pa_want_dtype(op, "recurrent", recurrent, PA_REAL, err)) ||
        (st = want(c, "kernel", in->kernel, 2, in->x->dim[2], N, why, err)))
        return st;
    why = "one for each column of recurrent";
    return kind->bias_rows == 1 ? want(c, "bias", in->bias, 1, 0, N, why, err)
                                : want(c, "bias", in->bias, 2, 2, N, why, err);
}

static pa_status check_rest(const pa_call *c, const pa_rnn_kind *kind, const operands *in,
                            pa_error *err)
{
    const int64_t B = in->x->dim[0], U = in->recurrent->dim[0];
    const char *why = "rows of x by units";
    pa_status st;
    if (kind->states == 2 && in->h0 && !in->c0)
        return pa_fail(err, PA_EVALUE, "%s: h0 is given without c0; give both or neither",
                       c->op->name);
    if ((st = want(c, "h0", in->h0, 2, B, U, why, err)) ||
        (st = want(c, "c0", in->c0, 2, B, U, why, err)) ||
        (st = want(c, "mask", in->mask, 2, B, in->x->dim[1], "rows and steps of x",
                   err)) ||
        (st = want(c, "scale", in->scale, 2, B, U, why, err)))
        return st;
    return PA_OK;
}

pa_status PA_(pa_rnn_shape)(pa_call *c, const pa_rnn_kind *kind, pa_error *err)
{
    const operands in = operands_of(c, kind);
    pa_status st = check_weights(c, kind, &in, err);
    st = st ? st : check_rest(c, kind, &in, err);
    if (st)
        return st;
    const int64_t U = in.recurrent->dim[0];
    const int64_t sequence[] = {in.x->dim[0], in.x->dim[1], U};
    const int64_t state[] = {in.x->dim[0], U};
    st = pa_tensor_init(c->out[0], PA_REAL, 3, sequence, err);
    for (int i = 1; i < c->n_out && !st; i++)
        st = pa_tensor_init(c->out[i], PA_REAL, 2, state, err);
    if (st)
        return st;
    pa_rnn r = rnn_of(c, kind);
    r.scale = in.scale ? (const real *)"" : NULL; /* shapes know no data */
    cursor saved = {.fits = true}, scratch = {.fits = true};
    lay_out(&r, &saved, &scratch);
    if (!saved.fits || !scratch.fits)
        return pa_fail(err, PA_EVALUE, "%s: more memory than can be addressed is needed",
                       c->op->name);
    c->saved_bytes = saved.used;
    c->scratch_bytes = scratch.used;
    c->flops = (2.0 * (double)(r.F + r.U) + 30) * (double)r.N * (double)(r.T * r.B);
    return PA_OK;
}

pa_rnn PA_(pa_rnn_bind)(const pa_call *c, const pa_rnn_kind *kind)
{
    pa_rnn r = rnn_of(c, kind);
    cursor saved = {.base = c->saved, .fits = true};
    cursor scratch = {.base = c->scratch, .fits = true};
    lay_out(&r, &saved, &scratch);
    return r;
}
