/* optimizer.h - what the optimizers share.
 *
 * Inputs are param, grad and the slots, all of one shape; everything is updated in place,
 * element by element, so that neither chunks nor threads can change a bit. The learning
 * rate is ctx->lr; the step t = ctx->step + 1. Constants are worked out in double and
 * rounded once to the dtype; formulas and their order are Keras 3's. Weight decay is
 * decoupled, as in Keras: param -= lr weight_decay param before the gradient's step. */
#include "base/shape.h"
#include "kern/loop.h"

enum { OPTIMIZER_CHUNK = 1 << 14, MAX_SLOTS = 3 };

/* sqrt in the dtype: the double one would halve the lanes. */
#ifdef PA_REAL_IS_DOUBLE
#define PA_SQRT sqrt
#else
#define PA_SQRT sqrtf
#endif

#define WEIGHT_DECAY                                                                     \
    {                                                                                    \
        "weight_decay", PA_ATTR_REAL, 0, 0, 1e300,                                       \
            "decoupled decay, times the learning rate"                                   \
    }

/* For `grow`: the least that a denominator can be which is epsilon and something that is
 * not below zero, or a quotient's share if that is under 1; 0 where epsilon may be lost.
 */
static inline double optimizer_least(double epsilon)
{
    return epsilon < 1e-30 ? 0 : epsilon < 1 ? epsilon : 1;
}

static inline double larger(double a, double b)
{
    return a > b ? a : b;
}

typedef struct update {
    const pa_call *c;
    const pa_ctx *ctx;
    /* one chunk: (n,) */
    real *p, *slot[MAX_SLOTS];
    const real *g;
    size_t n;
} update;

/* Updates one chunk. */
typedef void update_fn(const update *u);

static pa_status optimizer_shape(pa_call *c, pa_error *err)
{
    static const char *const slot[] = {"slot 0", "slot 1", "slot 2"};
    const char *op = c->op->name;
    int n = c->op->slots(c->attr);
    pa_status st = pa_want_dtype(op, "param", c->in[0], PA_REAL, err);
    if (c->n_in != 2 + n)
        return pa_fail(err, PA_EVALUE,
                       "%s: got %d inputs, expected %d: param, grad and %d state arrays",
                       op, c->n_in, 2 + n, n);
    for (int i = 1; i < c->n_in && !st; i++) {
        const char *name = i == 1 ? "grad" : slot[i - 2];
        st = pa_want_dtype(op, name, c->in[i], PA_REAL, err);
        st = st ? st
                : pa_want_same(op, "param", c->in[0], name, c->in[i],
                               "every array must have param's shape", err);
    }
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = 10 * (double)c->in[0]->size;
    return st;
}

PA_INLINE void optimizer_chunk(const update *all, ptrdiff_t chunk, update_fn *fn)
{
    const pa_call *c = all->c;
    update u = *all;
    size_t lo, hi;
    pa_chunk(c->in[0]->size, OPTIMIZER_CHUNK, chunk, &lo, &hi);
    u.p = (real *)c->in[0]->data + lo;
    u.g = (const real *)c->in[1]->data + lo;
    for (int i = 2; i < c->n_in; i++)
        u.slot[i - 2] = (real *)c->in[i]->data + lo;
    u.n = hi - lo;
    fn(&u);
}

static void optimizer_run(const pa_call *c, const pa_ctx *ctx, pa_task *task)
{
    update u = {.c = c, .ctx = ctx};
    pa_run(ctx, task, &u, pa_chunks(c->in[0]->size, OPTIMIZER_CHUNK));
}
