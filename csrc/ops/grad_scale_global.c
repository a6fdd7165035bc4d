/* grad_scale_global - g = g clip / max(n, clip), n^2 being the sum over all gradients of
 * their grad_sumsq, in place
 *
 * Source: Pascanu, Mikolov and Bengio, ICML 2013. */
#include "kern/gradient.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    if (c->in[1]->dtype != PA_F64 || c->in[1]->size != 1)
        return pa_fail(err, PA_ETYPE,
                       "grad_scale_global: squares: expected one float64 number");
    return gradient_shape(c, false, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    scale_to(c, *(const double *)c->in[1]->data, c->attr[0].num, ctx);
}

const pa_op PA_(pa_op_grad_scale_global) = {
    .name = "grad_scale_global",
    .formula = "g = g clip / max(root of squares, clip)",
    .kind = PA_KIND_GRADIENT,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 2,
    .in_names = "grad, squares",
    .attrs = clip_attrs,
    .shape = shape,
    .forward = forward,
};
