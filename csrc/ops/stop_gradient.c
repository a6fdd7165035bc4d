/* stop_gradient - x, through which no gradient passes */
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    c->flops = 0;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], c->in[0]->dtype, c->in[0]->rank, c->in[0]->dim, err);
}

const pa_op PA_(pa_op_stop_gradient) = {
    .name = "stop_gradient",
    .formula = "x, with derivative 0",
    .kind = PA_KIND_SHAPE,
    .flags = PA_ALIAS | PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .no_din = 1,
    .in_names = "x",
    .shape = shape,
};
