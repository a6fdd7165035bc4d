/* binary.h - element-wise operators of two inputs that broadcast as in NumPy.
 *
 * An operator's file defines, before it includes this one,
 *     static real f(real a, real b)                        y
 *     static double da(double a, double b, double dy)      dy times df/da
 *     static double db(double a, double b, double dy)      dy times df/db
 *     enum { READS_IN }    1 when da or db look at a or b
 *     enum { DA_IS_DY }    1 when da returns dy
 *     enum { COST }        PA_CHUNK_CHEAP or PA_CHUNK_MATH
 * and gets `shape`, `forward` and `backward`. The gradient of a broadcast operand is the
 * sum over the dims along which it was repeated, added up in double. */
#include "base/shape.h"
#include "kern/loop.h"
#include "kern/reduce.h"

typedef struct job {
    const pa_call *c;
    const pa_bcast *p;
    const real *a, *b, *dy;
    real *y, *ga, *gb; /* ga, gb: as long as the output, or NULL */
} job;

/* The dims of out along which operand x is repeated. */
static unsigned repeated(const pa_tensor *out, const pa_tensor *x)
{
    unsigned set = 0;
    for (int i = 0; i < out->rank; i++) {
        int j = i - (out->rank - x->rank);
        set |= (j < 0 || x->dim[j] != out->dim[i] ? 1u : 0u) << i;
    }
    return set;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const char *op = c->op->name;
    int64_t dim[PA_MAX_RANK];
    int rank;
    pa_status st = pa_want_dtype(op, "a", c->in[0], PA_REAL, err);
    st = st ? st : pa_want_dtype(op, "b", c->in[1], PA_REAL, err);
    st = st ? st : pa_broadcast(op, c->in[0], c->in[1], &rank, dim, err);
    st = st ? st : pa_tensor_init(c->out[0], PA_REAL, rank, dim, err);
    if (st)
        return st;
    c->flops = (double)c->out[0]->size;
    c->saved_bytes = c->scratch_bytes = 0;
    for (int k = 0; k < 2; k++) { /* partial sums of a broadcast operand's gradient */
        pa_fold fold;
        if (c->in[k]->size == c->out[0]->size)
            continue;
        pa_fold_init(&fold, c->out[0], repeated(c->out[0], c->in[k]));
        size_t bytes;
        if (!pa_mul(fold.partial, sizeof(double), &bytes))
            return pa_fail(err, PA_EOVERFLOW, "%s: scratch does not fit in memory", op);
        if (bytes > c->scratch_bytes)
            c->scratch_bytes = bytes;
    }
    return PA_OK;
}

/* ---- forward --------------------------------------------------------------------------
 */

static void run_both(real *y, const real *a, const real *b, size_t n)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++)
        y[i] = f(a[i], b[i]);
}

static void run_b_fixed(real *y, const real *a, real b, size_t n)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++)
        y[i] = f(a[i], b);
}

static void run_a_fixed(real *y, real a, const real *b, size_t n)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++)
        y[i] = f(a, b[i]);
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    int last = w->p->rank - 1;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->p->size, COST, chunk, &lo, &hi);
    pa_walk at;
    pa_walk_seek(&at, w->p, lo);
    while (lo < hi) {
        size_t n = pa_walk_run(&at, hi - lo);
        if (w->p->sa[last] && w->p->sb[last])
            run_both(w->y + lo, w->a + at.a, w->b + at.b, n);
        else if (w->p->sa[last])
            run_b_fixed(w->y + lo, w->a + at.a, w->b[at.b], n);
        else
            run_a_fixed(w->y + lo, w->a[at.a], w->b + at.b, n);
        pa_walk_next(&at, n);
        lo += n;
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_bcast p;
    pa_bcast_init(&p, c->out[0], c->in[0], c->in[1]);
    job w = {
        .c = c, .p = &p, .a = c->in[0]->data, .b = c->in[1]->data, .y = c->out[0]->data};
    pa_run(ctx, forward_chunk, &w, pa_chunks(p.size, COST));
}

/* ---- backward -------------------------------------------------------------------------
 */

/* Where READS_IN is 0 the inputs' memory may be gone: it is not touched. */
PA_INLINE double load(const real *x, size_t i)
{
    return READS_IN ? (double)x[i] : 0.0;
}

/* dy may be ga: every element is read before its gradients are written. */
PA_INLINE void grad_run(real *ga, real *gb, const real *a, size_t sa, const real *b,
                        size_t sb, const real *dy, size_t n)
{
    PA_IVDEP
    for (size_t i = 0; i < n; i++) {
        double va = load(a, i * sa), vb = load(b, i * sb), d = (double)dy[i];
        if (gb)
            gb[i] = (real)db(va, vb, d);
        if (ga)
            ga[i] = (real)da(va, vb, d);
    }
}

static void grad_strided(real *ga, real *gb, const real *a, size_t sa, const real *b,
                         size_t sb, const real *dy, size_t n)
{
    if (ga && gb)
        grad_run(ga, gb, a, 1, b, 1, dy, n); /* both full: nothing is broadcast */
    else if (ga && sb)
        grad_run(ga, NULL, a, 1, b, 1, dy, n);
    else if (ga)
        grad_run(ga, NULL, a, 1, b, 0, dy, n);
    else if (sa)
        grad_run(NULL, gb, a, 1, b, 1, dy, n);
    else
        grad_run(NULL, gb, a, 0, b, 1, dy, n);
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    int last = w->p->rank - 1;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->p->size, COST, chunk, &lo, &hi);
    pa_walk at;
    pa_walk_seek(&at, w->p, lo);
    while (lo < hi) {
        size_t n = pa_walk_run(&at, hi - lo);
        grad_strided(w->ga ? w->ga + lo : NULL, w->gb ? w->gb + lo : NULL,
                     READS_IN ? w->a + at.a : NULL, w->p->sa[last],
                     READS_IN ? w->b + at.b : NULL, w->p->sb[last], w->dy + lo, n);
        pa_walk_next(&at, n);
        lo += n;
    }
}

PA_INLINE void fill_run(double *buf, const real *a, size_t sa, const real *b, size_t sb,
                        const real *dy, size_t n, bool for_b)
{
    for (size_t i = 0; i < n; i++) {
        double va = load(a, i * sa), vb = load(b, i * sb), d = (double)dy[i];
        buf[i] = for_b ? db(va, vb, d) : da(va, vb, d);
    }
}

PA_INLINE void fill(const void *src, double *buf, size_t from, size_t n, bool for_b)
{
    const job *w = src;
    int last = w->p->rank - 1;
    pa_walk at;
    pa_walk_seek(&at, w->p, from);
    for (size_t i = 0; i < n;) {
        size_t k = pa_walk_run(&at, n - i);
        const real *a = READS_IN ? w->a + at.a : NULL, *b = READS_IN ? w->b + at.b : NULL;
        const real *dy = w->dy + from + i;
        if (w->p->sa[last] && w->p->sb[last])
            fill_run(buf + i, a, 1, b, 1, dy, k, for_b);
        else if (w->p->sa[last])
            fill_run(buf + i, a, 1, b, 0, dy, k, for_b);
        else
            fill_run(buf + i, a, 0, b, 1, dy, k, for_b);
        pa_walk_next(&at, k);
        i += k;
    }
}

static void fill_a(const void *src, double *buf, size_t from, size_t n, size_t o,
                   size_t os)
{
    (void)o, (void)os;
    fill(src, buf, from, n, false);
}

static void fill_b(const void *src, double *buf, size_t from, size_t n, size_t o,
                   size_t os)
{
    (void)o, (void)os;
    fill(src, buf, from, n, true);
}

static void sum_into(const job *w, int k, const pa_ctx *ctx)
{
    const pa_call *c = w->c;
    pa_fold fold;
    pa_fold_init(&fold, c->out[0], repeated(c->out[0], c->in[k]));
    pa_reduction r = {.fold = &fold,
                      .fill = k ? fill_b : fill_a,
                      .src = w,
                      .divisor = 1,
                      .out = c->din[k]->data,
                      .partial = c->scratch};
    PA_(pa_reduce)(&r, ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    pa_bcast p;
    pa_bcast_init(&p, c->out[0], c->in[0], c->in[1]);
    job w = {.c = c,
             .p = &p,
             .a = c->in[0]->data,
             .b = c->in[1]->data,
             .dy = c->dout[0]->data};
    /* Sums first: din[0] may take dout[0]'s memory. */
    for (int k = 0; k < 2; k++) {
        if (!c->din[k])
            continue;
        if (c->in[k]->size != c->out[0]->size)
            sum_into(&w, k, ctx);
        else if (k)
            w.gb = c->din[1]->data;
        else
            w.ga = c->din[0]->data;
    }
    if (DA_IS_DY && w.ga == w.dy)
        w.ga = NULL; /* in place: it is there already */
    if (w.ga || w.gb)
        pa_run(ctx, backward_chunk, &w, pa_chunks(p.size, COST));
}
