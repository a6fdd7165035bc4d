/* assign - variable = value, after everything else of the step has read the variable
 *
 * variable, value: one shape. What lasts from step to step without being learned: the
 * states of recurrent layers. */
#include <string.h>

#include "base/shape.h"
#include "op.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = pa_want_dtype(c->op->name, "variable", c->in[0], PA_REAL, err);
    st = st ? st : pa_want_dtype(c->op->name, "value", c->in[1], PA_REAL, err);
    return st ? st
              : pa_want_same(c->op->name, "variable", c->in[0], "value", c->in[1],
                             "they must be the same", err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    (void)ctx;
    memmove(c->in[0]->data, c->in[1]->data, c->in[0]->size * sizeof(real));
}

const pa_op PA_(pa_op_assign) = {
    .name = "assign",
    .formula = "variable = value",
    .kind = PA_KIND_LAYER,
    .flags = PA_MUTATES | PA_NO_GRAD,
    .min_in = 2,
    .max_in = 2,
    .n_out = 0,
    .in_names = "variable, value",
    .shape = shape,
    .forward = forward,
};
