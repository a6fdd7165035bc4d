/* dropout - y = x / (1 - rate) with probability 1 - rate, else 0
 *
 * Derivative: dx = dy / (1 - rate) where x was kept, else 0. Which elements are kept is a
 * function of (seed, this call's key, step, index): backward computes it again, for any
 * number of threads.
 *
 * Source: Srivastava et al., Dropout, JMLR 15, 2014. */
#include <string.h>

#include "base/rng.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    if (x->dtype != PA_REAL)
        return pa_fail(err, PA_ETYPE, "dropout: x is %s, expected %s",
                       pa_dtype_name(x->dtype), pa_dtype_name(PA_REAL));
    if (c->attr[0].num >= 1)
        return pa_fail(err, PA_EVALUE,
                       "dropout: rate: got %g, expected a number from 0 to below 1",
                       c->attr[0].num);
    c->flops = 10 * (double)x->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], PA_REAL, x->rank, x->dim, err);
}

typedef struct job {
    real *to; /* (n,) */
    const real *from;
    size_t n;
    uint64_t stream;
    uint32_t threshold; /* kept when the 32 random bits reach it */
    real scale;
} job;

enum { WORDS = 64 };

/* One random word serves two neighbouring elements. Words are drawn first and looked at
 * afterwards, so that both loops run in vectors and none has to guess a branch. */
static void chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *w = arg;
    uint64_t words[WORDS];
    uint32_t bits[2 * WORDS];
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->n, PA_CHUNK_CHEAP, i, &lo, &hi); /* lo is even */
    for (; lo < hi; lo += 2 * WORDS) {
        size_t n = hi - lo < 2 * WORDS ? hi - lo : 2 * WORDS;
        for (size_t k = 0; k < (n + 1) / 2; k++)
            words[k] = pa_rng_at(w->stream, lo / 2 + k);
        memcpy(bits, words, (n + 1) / 2 * sizeof *words);
        real *to = w->to + lo, scale = w->scale;
        const real *from = w->from + lo;
        uint32_t threshold = w->threshold;
        PA_IVDEP
        for (size_t k = 0; k < n; k++) {
            real kept = from[k] * scale;
            to[k] = bits[k] < threshold ? 0 : kept;
        }
    }
}

static void run(const pa_call *c, const pa_tensor *to, const pa_tensor *from,
                const pa_ctx *ctx)
{
    double rate = c->attr[0].num, threshold = rate * 4294967296.0 + 0.5;
    job w = {.to = to->data,
             .from = from->data,
             .n = to->size,
             .stream = pa_rng_stream(ctx->seed, c->key, (uint64_t)ctx->step),
             .threshold = threshold < UINT32_MAX ? (uint32_t)threshold : UINT32_MAX,
             .scale = (real)(1 / (1 - rate))};
    pa_run(ctx, chunk, &w, pa_chunks(w.n, PA_CHUNK_CHEAP));
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    run(c, c->out[0], c->in[0], ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (c->din[0])
        run(c, c->din[0], c->dout[0], ctx);
}

static const pa_attr_desc attrs[] = {
    {"rate", PA_ATTR_REAL, 0.5, 0, 1, "probability of 0, below 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_dropout) = {
    .name = "dropout",
    .formula = "x / (1 - rate) with probability 1 - rate, else 0",
    .kind = PA_KIND_LAYER,
    .flags = PA_IN_PLACE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
