/* tape.c - the same graph and the same steps as a program, but each call runs as soon as
 * it is recorded and every value keeps memory of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/fpu.h"
#include "base/spare.h"
#include "base/watch.h"
#include "graph/graph.h"

struct pa_tape {
    pa_graph *g;
    pa_spare *spare; /* the library's */
    pa_ctx ctx;
    int n_tensors; /* values with memory so far; others of the graph come later */
    int cap_tensors;
    pa_tensor *tensor; /* per value: data */
    int n_saved, cap_saved;
    void **saved;          /* per node */
    void (*leave)(void *); /* before what takes long; NULL for nothing */
    bool (*enter)(void *); /* after it */
    void *around;
};

static const double LONG_FLOPS = 1e5; /* some microseconds */

pa_tape *pa_tape_new(const pa_lib *lib, uint64_t seed)
{
    pa_tape *t = calloc(1, sizeof *t);
    if (!t || !(t->g = pa_graph_new(lib))) {
        free(t);
        return NULL;
    }
    t->spare = lib->spare;
    t->ctx = (pa_ctx){.pool = lib->pool, .seed = seed};
    return t;
}

void pa_tape_around(pa_tape *t, void (*leave)(void *), bool (*enter)(void *), void *arg)
{
    t->leave = leave;
    t->enter = enter;
    t->around = arg;
}

static size_t value_bytes(const pa_tensor *t)
{
    return t->size * pa_dtype_size(t->dtype);
}

void pa_tape_free(pa_tape *t)
{
    if (!t)
        return;
    for (int v = 0; v < t->n_tensors; v++)
        if (t->g->value[v].place == PA_PLACE_ARENA && t->g->value[v].alias < 0)
            pa_spare_give(t->spare, t->tensor[v].data, value_bytes(&t->tensor[v]));
    for (int k = 0; k < t->n_saved; k++)
        pa_spare_give(t->spare, t->saved[k], t->g->node[k].call.saved_bytes);
    free(t->tensor);
    free(t->saved);
    pa_graph_free(t->g);
    free(t);
}

/* Gives every value that the graph has gained its tensor and, where the tape owns it,
 * memory. */
static pa_status materialize(pa_tape *t, pa_error *err)
{
    while (t->n_tensors < t->g->n_values) {
        int v = t->n_tensors;
        const pa_value *value = &t->g->value[v];
        if (!pa_grow(&t->tensor, v, &t->cap_tensors, sizeof *t->tensor))
            return pa_fail(err, PA_ENOMEM, "out of memory for a tape");
        t->tensor[v] = value->t;
        if (value->alias >= 0)
            t->tensor[v].data = t->tensor[value->alias].data;
        else if (value->place == PA_PLACE_ARENA) {
            t->tensor[v].data = pa_spare_take(t->spare, value_bytes(&value->t));
            if (!t->tensor[v].data)
                return pa_fail(err, PA_ENOMEM,
                               "out of memory for a value of %zu elements",
                               value->t.size);
        }
        t->n_tensors++;
    }
    while (t->n_saved < t->g->n_nodes) {
        if (!pa_grow(&t->saved, t->n_saved, &t->cap_saved, sizeof *t->saved))
            return pa_fail(err, PA_ENOMEM, "out of memory for a tape");
        size_t bytes = t->g->node[t->n_saved].call.saved_bytes;
        t->saved[t->n_saved] = bytes ? pa_spare_take(t->spare, bytes) : NULL;
        if (bytes && !t->saved[t->n_saved])
            return pa_fail(err, PA_ENOMEM, "out of memory for %zu saved bytes", bytes);
        t->n_saved++;
    }
    return PA_OK;
}

static pa_status run(pa_tape *t, const pa_step *s, pa_error *err)
{
    const pa_op *op = t->g->node[s->node].call.op;
    if (op->flags & PA_ALIAS)
        return PA_OK;
    pa_call c;
    pa_call_bind(&c, t->g, s, t->tensor);
    c.saved = t->saved[s->node];
    void *scratch = NULL;
    if (c.scratch_bytes && !(scratch = pa_spare_take(t->spare, c.scratch_bytes)))
        return pa_fail(err, PA_ENOMEM, "out of memory for %zu bytes of scratch",
                       c.scratch_bytes);
    c.scratch = scratch;
    const bool takes_long = t->leave && !(op->flags & PA_MUTATES) &&
                            t->g->node[s->node].call.flops >= LONG_FLOPS;
    bool whole = true;
    if (takes_long)
        t->leave(t->around);
    pa_fpu before = pa_fpu_get();
    pa_fpu_flush_denormals();
    (s->direction == PA_FORWARD ? op->forward : op->backward)(&c, &t->ctx);
    pa_fpu_set(before);
    if (takes_long)
        whole = t->enter(t->around);
    pa_spare_give(t->spare, scratch, c.scratch_bytes);
    return whole ? PA_OK : pa_fail(err, PA_EINTR, "%s: interrupted", op->name);
}

/* Runs step[n - 1], which closes a loop, and what lies between until it ends. */
static pa_status run_loop(pa_tape *t, const pa_step *step, int n, pa_error *err)
{
    const pa_step *end = &step[n - 1];
    pa_status status = run(t, end, err);
    for (int rounds = 1; status == PA_OK; rounds++) {
        pa_call c;
        pa_call_bind(&c, t->g, end, t->tensor);
        if (!pa_call_again(&c, rounds))
            break;
        if (pa_watch_stops(pa_watch_get()))
            return pa_fail(err, PA_EINTR, "%s: interrupted", c.op->name);
        for (int k = n - end->back; k < n - 1 && status == PA_OK; k++)
            status = step[k].back ? run_loop(t, step, k + 1, err) : run(t, &step[k], err);
        if (status == PA_OK)
            status = run(t, end, err);
    }
    return status;
}

/* Runs step[n - 1], with the loop that it may close. */
static pa_status run_step(pa_tape *t, const pa_step *step, int n, pa_error *err)
{
    if (!step[n - 1].back)
        return run(t, &step[n - 1], err);
    void (*leave)(void *) = t->leave; /* once for all that is inside */
    t->leave = NULL;
    if (leave)
        leave(t->around);
    pa_status status = run_loop(t, step, n, err);
    t->leave = leave;
    if (leave && !t->enter(t->around) && status == PA_OK)
        status = pa_fail(err, PA_EINTR, "a loop: interrupted");
    return status;
}

/* Runs node `end`, the latest, with the loop that it may close. */
static pa_status run_node(pa_tape *t, int end, pa_error *err)
{
    const int begin = pa_graph_loop(t->g, end);
    pa_step last = {.node = end, .direction = PA_FORWARD};
    if (begin < 0)
        return run(t, &last, err);
    pa_step *step = calloc((size_t)(end - begin) + 1, sizeof *step);
    int n = 0;
    if (!step)
        return pa_fail(err, PA_ENOMEM, "out of memory for a loop");
    for (int k = begin; k <= end; k++) {
        if (t->g->node[k].call.op->flags & PA_MUTATES) /* once, not every round */
            continue;
        const int loop = pa_graph_loop(t->g, k);
        step[n] = (pa_step){.node = k, .direction = PA_FORWARD};
        for (int u = n - 1; u >= 0 && loop >= 0 && !step[n].back; u--)
            step[n].back = step[u].node == loop ? n - u : 0;
        n++;
    }
    pa_status status = run_step(t, step, n, err);
    free(step);
    return status;
}

pa_status pa_tape_leaf(pa_tape *t, pa_dtype dtype, int rank, const int64_t *dim,
                       void *data, bool wants_grad, int *value, pa_error *err)
{
    pa_value v = {.place = PA_PLACE_LEAF, .alias = -1, .trainable = wants_grad};
    pa_status status = pa_tensor_init(&v.t, dtype, rank, dim, err);
    v.t.data = data;
    if (status == PA_OK)
        status = pa_graph_value(t->g, &v, value, err);
    return status ? status : materialize(t, err);
}

pa_status pa_tape_apply(pa_tape *t, const char *op, int n_in, const int *in, int n_args,
                        const pa_arg *args, int *out, pa_error *err)
{
    int made[PA_MAX_OUT];
    pa_status status = pa_graph_apply(t->g, op, n_in, in, n_args, args, made, err);
    if (status == PA_OK)
        status = materialize(t, err);
    const int node = t->g->n_nodes - 1;
    if (status == PA_OK)
        status = run_node(t, node, err);
    for (int i = 0; status == PA_OK && i < t->g->node[node].call.n_out; i++)
        out[i] = made[i];
    return status;
}

const pa_tensor *pa_tape_tensor(const pa_tape *t, int value)
{
    return value >= 0 && value < t->n_tensors ? &t->tensor[value] : NULL;
}

const pa_graph *pa_tape_graph(const pa_tape *t)
{
    return t->g;
}

static pa_status make_seed(pa_tape *t, int target, const void *seed, int *value,
                           pa_error *err)
{
    pa_tensor like = t->tensor[target];
    pa_block *b = pa_block_new(like.dtype, like.size);
    if (!b)
        return pa_fail(err, PA_ENOMEM, "out of memory for a gradient");
    if (seed && like.size)
        memcpy(b->data, seed, like.size * pa_dtype_size(like.dtype));
    for (size_t i = 0; !seed && i < like.size; i++)
        if (like.dtype == PA_F64)
            ((double *)b->data)[i] = 1;
        else
            ((float *)b->data)[i] = 1;
    pa_status status = pa_graph_block(t->g, b, 0, like.rank, like.dim, value, err);
    pa_block_unref(b);
    return status;
}

pa_status pa_tape_gradient(pa_tape *t, int target, const void *seed, int n,
                           const int *sources, int first, int last, int *grad,
                           pa_error *err)
{
    const pa_tensor *to = pa_tape_tensor(t, target);
    if (!to || to->dtype == PA_I32)
        return pa_fail(err, PA_EVALUE,
                       "gradient: the target is not a floating-point value");
    pa_steps steps = {0};
    int seeded;
    pa_status status = make_seed(t, target, seed, &seeded, err);
    if (status == PA_OK)
        status = pa_steps_gradient(&steps, t->g, target, seeded, n, sources, first, last,
                                   grad, err);
    if (status == PA_OK)
        status = materialize(t, err);
    for (int k = 0; k < steps.n && status == PA_OK; k++)
        status = run_step(t, steps.step, k + 1, err);
    pa_steps_free(&steps);
    return status;
}
