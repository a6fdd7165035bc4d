/* reenter - y = x, where a loop begins
 *
 * x: any shape; y: the same. What `settle`, which closes the loop, gives is written into
 * y before each further round. The fixed point does not depend on where the way to it
 * began, so nothing flows back into x. */
#include <string.h>

#include "base/shape.h"
#include "op.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = pa_want_dtype("reenter", "x", c->in[0], PA_REAL, err);
    c->flops = 0;
    c->saved_bytes = c->scratch_bytes = 0;
    return st ? st
              : pa_tensor_init(c->out[0], PA_REAL, c->in[0]->rank, c->in[0]->dim, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    (void)ctx;
    if (c->in[0]->size)
        memcpy(c->out[0]->data, c->in[0]->data, c->in[0]->size * sizeof(real));
}

const pa_op PA_(pa_op_reenter) = {
    .name = "reenter",
    .formula = "x in the first round, then what `settle` gave",
    .kind = PA_KIND_LAYER,
    .flags = PA_NO_GRAD | PA_LOOP_BEGIN,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .no_din = 1,
    .in_names = "x",
    .shape = shape,
    .forward = forward,
};
