/* grad_clip_value - every element of every gradient is cut to [-clip, clip], in place
 *
 * NaN stays NaN. */
#include "kern/gradient.h"

static void task(void *arg, ptrdiff_t chunk, int worker)
{
    const gradient *s = arg;
    real *g = s->g, top = (real)s->clip;
    size_t lo, hi;
    (void)worker;
    pa_chunk(s->n, PA_CHUNK_CHEAP, chunk, &lo, &hi);
    for (size_t i = lo; i < hi; i++)
        g[i] = g[i] > top ? top : g[i] < -top ? -top : g[i];
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    for (int i = 0; i < c->n_in; i++) {
        gradient s = {c->in[i]->data, c->in[i]->size, c->attr[0].num, NULL};
        pa_run(ctx, task, &s, pa_chunks(s.n, PA_CHUNK_CHEAP));
    }
}

static const pa_attr_desc attrs[] = {
    {"clip", PA_ATTR_REAL, 1, 0, 1e300, "largest magnitude that an element may have"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_grad_clip_value) = {
    .name = "grad_clip_value",
    .formula = "g = min(max(g, -clip), clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 1,
    .max_in = PA_MAX_IN,
    .in_names = "grad, ...",
    .attrs = attrs,
    .shape = gradient_shape,
    .forward = forward,
};
