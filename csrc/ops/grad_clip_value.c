/* grad_clip_value - g = min(max(g, -clip), clip), in place; NaN stays NaN */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    return gradient_shape(c, false, err);
}

typedef struct bounds {
    real *g; /* (n,) */
    size_t n;
    real clip;
} bounds;

static void clip_chunk(void *arg, ptrdiff_t i, int worker)
{
    const bounds *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->n, PA_CHUNK_CHEAP, i, &lo, &hi);
    for (; lo < hi; lo++) {
        real g = w->g[lo];
        g = g > w->clip ? w->clip : g;
        w->g[lo] = g < -w->clip ? -w->clip : g;
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    bounds w = {c->in[0]->data, c->in[0]->size, (real)c->attr[0].num};
    pa_run(ctx, clip_chunk, &w, pa_chunks(w.n, PA_CHUNK_CHEAP));
}

const pa_op PA_(pa_op_grad_clip_value) = {
    .name = "grad_clip_value",
    .formula = "g = min(max(g, -clip), clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .in_names = "grad",
    .attrs = clip_attrs,
    .shape = shape,
    .forward = forward,
};
