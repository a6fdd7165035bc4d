/* optimizer.h - what all optimizers share: one pass over flat runs of parameters.
 *
 * An optimizer's file defines
 *     static int slots(const pa_attr *a)                   slots for these attributes
 *     static void prepare(step *s, const pa_ctx *ctx)      numbers of this step
 *     static void update(const step *s, size_t lo, size_t hi)
 * after it includes this file, and gets `shape` and `forward`. The operands are (param,
 * grad, slots...), flat and of one length; param and slots change in place. r is the
 * learning rate, g the gradient.
 *
 * Weight decay w is decoupled, as in Keras: p is multiplied by 1 - r w before the update
 * (Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019). */
#include <math.h>

#include "kern/loop.h"

#ifdef PA_REAL_IS_DOUBLE
#define PA_SQRT sqrt
#else
#define PA_SQRT sqrtf
#endif

typedef struct step {
    const pa_attr *attr;
    real *p;       /* (n,) */
    const real *g; /* (n,) */
    real *slot[3]; /* (n,) each, or NULL */
    real keep;     /* 1 - r w */
    real k[8];     /* whatever `prepare` puts there */
} step;

static int slots(const pa_attr *a);
static void prepare(step *s, const pa_ctx *ctx);
static void update(const step *s, size_t lo, size_t hi);

enum { WEIGHT_DECAY = 0 }; /* attribute 0 of every optimizer */

#define WEIGHT_DECAY_ATTR                                                                \
    {                                                                                    \
        "weight_decay", PA_ATTR_REAL, 0, 0, HUGE_VAL, "share of r by which p shrinks"    \
    }

static pa_status shape(pa_call *c, pa_error *err)
{
    const char *op = c->op->name;
    int want = 2 + slots(c->attr);
    if (c->n_in != want)
        return pa_fail(err, PA_ETYPE,
                       "%s: got %d operands, expected %d: param, grad and %d slots", op,
                       c->n_in, want, want - 2);
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i]->dtype != PA_REAL)
            return pa_fail(err, PA_ETYPE, "%s: operand %d is %s, expected %s", op, i,
                           pa_dtype_name(c->in[i]->dtype), pa_dtype_name(PA_REAL));
        if (c->in[i]->size != c->in[0]->size)
            return pa_fail(err, PA_EVALUE,
                           "%s: operand %d has %zu elements, expected %zu as param has",
                           op, i, c->in[i]->size, c->in[0]->size);
    }
    c->flops = 8 * (double)c->in[0]->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return PA_OK;
}

typedef struct pass {
    step s;
    size_t n;
} pass;

static void chunk(void *arg, ptrdiff_t i, int worker)
{
    const pass *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->n, PA_CHUNK_CHEAP, i, &lo, &hi);
    update(&w->s, lo, hi);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pass w = {.n = c->in[0]->size};
    w.s.attr = c->attr;
    w.s.p = c->in[0]->data;
    w.s.g = c->in[1]->data;
    for (int i = 2; i < c->n_in; i++)
        w.s.slot[i - 2] = c->in[i]->data;
    w.s.keep = (real)(1 - ctx->lr * c->attr[WEIGHT_DECAY].num);
    prepare(&w.s, ctx);
    pa_run(ctx, chunk, &w, pa_chunks(w.n, PA_CHUNK_CHEAP));
}
