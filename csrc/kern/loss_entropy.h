/* loss_entropy.h - what the crossentropies share: pred holds logits or, where attribute 0
 * is not set, probabilities. The file that includes this defines the rows of either. */
#include "kern/loss.h"

static loss_rows logits, probabilities;

static void logits_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    (void)worker;
    loss_samples(arg, chunk, logits);
}

static void probabilities_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    (void)worker;
    loss_samples(arg, chunk, probabilities);
}

static void entropy_forward(const pa_call *c, const pa_ctx *ctx, bool classes)
{
    loss s = loss_of(c, classes);
    s.g = c->saved;
    loss_total(&s, c->attr[0].num != 0 ? logits_chunk : probabilities_chunk, ctx);
}
