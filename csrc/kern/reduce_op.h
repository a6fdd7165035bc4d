/* reduce_op.h - what the operators sum, mean, max and logsumexp share: attributes, shape,
 * and the walk that spreads a gradient back over the folded axes. */
#include "base/shape.h"
#include "kern/loop.h"
#include "kern/reduce.h"

static const pa_attr_desc reduce_attrs[] = {
    {"axis", PA_ATTR_LIST, 0, -PA_MAX_RANK, PA_MAX_RANK - 1,
     "axes to fold; none means all"},
    {"keepdims", PA_ATTR_BOOL, 0, 0, 1, "keep folded axes as dims of 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

/* The folded axes as bits. */
static unsigned axes(const pa_call *c)
{
    unsigned set = 0;
    pa_axis_set(c->op->name, c->attr[0].list, c->attr[0].n, c->in[0]->rank, &set, NULL);
    return set;
}

static pa_status reduce_shape(pa_call *c, pa_error *err)
{
    const char *op = c->op->name;
    const pa_tensor *x = c->in[0];
    int64_t dim[PA_MAX_RANK];
    int rank = 0;
    unsigned set;
    pa_status st = pa_want_dtype(op, "x", x, PA_REAL, err);
    st = st ? st : pa_axis_set(op, c->attr[0].list, c->attr[0].n, x->rank, &set, err);
    if (st)
        return st;
    for (int i = 0; i < x->rank; i++) {
        if (!(set >> i & 1))
            dim[rank++] = x->dim[i];
        else if (c->attr[1].num != 0)
            dim[rank++] = 1;
    }
    st = pa_tensor_init(c->out[0], PA_REAL, rank, dim, err);
    if (st)
        return st;
    pa_fold fold;
    pa_fold_init(&fold, x, set);
    c->flops = (double)x->size;
    c->saved_bytes = 0;
    if (!pa_mul(fold.partial, sizeof(double), &c->scratch_bytes))
        return pa_fail(err, PA_EOVERFLOW, "%s: scratch does not fit in memory", op);
    return PA_OK;
}

/* ---- backward -------------------------------------------------------------------------
 */

typedef struct job {
    /* computes dx[at .. at + n) from the results o, o + step, ...; step is 0 or 1 */
    void (*spread)(const struct job *w, size_t at, size_t n, size_t o, size_t step);
    real *dx;
    const real *x, *y, *dy;
    const double *wide, *count; /* per result, as the operator needs them */
    double divisor;
    const pa_bcast *p; /* from here on by spread_all */
    size_t per;
} job;

static void spread_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    size_t lo, hi, step = w->p->sa[w->p->rank - 1];
    (void)worker;
    pa_chunk(w->p->size, w->per, chunk, &lo, &hi);
    pa_walk at;
    pa_walk_seek(&at, w->p, lo);
    while (lo < hi) {
        size_t n = pa_walk_run(&at, hi - lo);
        w->spread(w, lo, n, at.a, step);
        pa_walk_next(&at, n);
        lo += n;
    }
}

/* Calls w->spread for every run of in[0] with constant step, in chunks of `per`. */
static void spread_all(const pa_call *c, job *w, size_t per, const pa_ctx *ctx)
{
    pa_bcast p;
    pa_bcast_init_reduced(&p, c->in[0], axes(c));
    /* cppcheck-suppress autoVariables ; w is done with before p is gone */
    w->p = &p;
    w->per = per;
    pa_run(ctx, spread_chunk, w, pa_chunks(p.size, per));
}
