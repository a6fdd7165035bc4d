/* moving_average - variable = momentum variable + (1 - momentum) value, in place
 *
 * Both of one shape. Runs behind everything that reads the variable in the step. It is
 * computed as variable - (variable - value) (1 - momentum), as in Keras. */
#include "base/shape.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = pa_want_dtype("moving_average", "variable", c->in[0], PA_REAL, err);
    st = st ? st : pa_want_dtype("moving_average", "value", c->in[1], PA_REAL, err);
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = 3 * (double)c->in[0]->size;
    return st ? st
              : pa_want_same("moving_average", "variable", c->in[0], "value", c->in[1],
                             "both must have one shape", err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    real *variable = c->in[0]->data;
    const real *value = c->in[1]->data, part = (real)(1 - c->attr[0].num);
    (void)ctx;
    PA_IVDEP
    for (size_t i = 0; i < c->in[0]->size; i++)
        variable[i] -= (variable[i] - value[i]) * part;
}

static const pa_attr_desc attrs[] = {
    {"momentum", PA_ATTR_REAL, 0.99, 0, 1, "share of the variable that is kept"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_moving_average) = {
    .name = "moving_average",
    .formula = "variable = momentum variable + (1 - momentum) value, in place",
    .kind = PA_KIND_LAYER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 2,
    .no_din = 3,
    .in_names = "variable, value",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
