/* rnn_op.h - shape, forward and backward of a recurrent operator, which its file gets by
 * including this one behind its `kind`. */
#include "kern/rnn.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    return PA_(pa_rnn_shape)(c, &kind, err);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    PA_(pa_rnn_forward)(c, ctx, &kind);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    PA_(pa_rnn_backward)(c, ctx, &kind);
}
