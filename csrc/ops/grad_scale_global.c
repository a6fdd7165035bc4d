/* grad_scale_global - a gradient is scaled, in place, so that the norm of all gradients
 * together is at most `clip`
 *
 *     g *= clip / max(norm, clip),   norm = sqrt(sumsq_0 + sumsq_1 + ...)
 * sumsq: float64 scalars by grad_sumsq. A norm that is NaN or infinite makes g NaN. */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const char *op = c->op->name;
    pa_status st = pa_want_dtype(op, "grad", c->in[0], PA_REAL, err);
    for (int i = 1; i < c->n_in && !st; i++) {
        st = pa_want_dtype(op, "sumsq", c->in[i], PA_F64, err);
        if (!st && c->in[i]->size != 1) {
            char text[128];
            return pa_fail(err, PA_EVALUE, "%s: sumsq has shape %s, expected one number",
                           op, pa_shape_text(c->in[i], text));
        }
    }
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = (double)c->in[0]->size;
    return st;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    gradient s = {c->in[0]->data, c->in[0]->size, c->attr[0].num, NULL};
    double sumsq = 0;
    for (int i = 1; i < c->n_in; i++)
        sumsq += *(const double *)c->in[i]->data;
    gradient_scale(&s, sqrt(sumsq), ctx);
}

static const pa_attr_desc attrs[] = {
    {"clip", PA_ATTR_REAL, 1, 0, 1e300,
     "largest norm that all gradients together may have"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_grad_scale_global) = {
    .name = "grad_scale_global",
    .formula = "g *= clip / max(sqrt(sum sumsq), clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = PA_MAX_IN,
    .in_names = "grad, sumsq, ...",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
