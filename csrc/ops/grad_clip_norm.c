/* grad_clip_norm - each gradient, by itself, is scaled down to the norm `clip`, in place
 *
 *     g *= clip / max(|g|, clip),   |g| = sqrt(sum g^2), added up in double
 * A gradient with NaN or infinities becomes NaN. */
#include "kern/gradient.h"

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    for (int i = 0; i < c->n_in; i++) {
        gradient s = {c->in[i]->data, c->in[i]->size, c->attr[0].num, c->scratch};
        gradient_scale(&s, sqrt(gradient_sumsq(&s, ctx)), ctx);
    }
}

static const pa_attr_desc attrs[] = {
    {"clip", PA_ATTR_REAL, 1, 0, 1e300, "largest norm that a gradient may have"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_grad_clip_norm) = {
    .name = "grad_clip_norm",
    .formula = "g *= clip / max(|g|, clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 1,
    .max_in = PA_MAX_IN,
    .in_names = "grad, ...",
    .attrs = attrs,
    .shape = gradient_shape,
    .forward = forward,
};
