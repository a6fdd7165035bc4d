/* program.c - a graph compiled for running: an array of calls over one arena. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fpu.h"
#include "base/watch.h"
#include "graph/program.h"

void pa_call_bind(pa_call *c, const pa_graph *g, const pa_step *s, pa_tensor *tensor)
{
    const pa_node *node = &g->node[s->node];
    *c = node->call;
    c->attr = node->attr;
    for (int i = 0; i < PA_MAX_IN; i++) {
        bool used = i < c->n_in;
        c->in[i] = used ? &tensor[node->in[i]] : NULL;
        c->din[i] = used && s->direction == PA_BACKWARD && s->din[i] >= 0
                        ? &tensor[s->din[i]]
                        : NULL;
    }
    for (int i = 0; i < PA_MAX_OUT; i++) {
        bool used = i < c->n_out;
        c->out[i] = used ? &tensor[node->out[i]] : NULL;
        c->dout[i] = used && s->direction == PA_BACKWARD ? &tensor[s->dout[i]] : NULL;
    }
}

/* ---- compile: gradients and updates are added to a copy of the graph
 * --------------------- */

typedef struct compiler {
    pa_graph *g;
    pa_steps steps;
    pa_plan plan;
    int *grad, *keep; /* keep: outputs, wanted gradients, loss */
    bool *wants;
    int n_keep;
} compiler;

static pa_status check_spec(const pa_graph *g, const pa_program_spec *spec, pa_error *err)
{
    for (int i = 0; i < spec->n_out; i++)
        if (!pa_graph_tensor(g, spec->out[i]))
            return pa_fail(err, PA_EVALUE,
                           "program: output %d is not a value of the graph", i);
    for (int i = 0; i < spec->n_wrt; i++)
        if (!pa_graph_tensor(g, spec->wrt[i]))
            return pa_fail(err, PA_EVALUE, "program: wrt %d is not a value of the graph",
                           i);
    const pa_tensor *loss = pa_graph_tensor(g, spec->loss);
    if (spec->loss >= 0 && (!loss || loss->size != 1 || loss->dtype == PA_I32))
        return pa_fail(err, PA_EVALUE,
                       "program: the loss must be one floating-point number");
    if (spec->loss < 0 && (spec->opt || spec->n_wrt))
        return pa_fail(err, PA_EVALUE,
                       "program: gradients are wanted but there is no loss");
    return PA_OK;
}

/* Puts a gradient where the optimizer reads it. */
static pa_status place_gradient(compiler *c, pa_optimizer *opt, int param, pa_error *err)
{
    pa_graph *g = c->g;
    int root = pa_graph_root(g, c->grad[param]);
    pa_block *grad = pa_optimizer_grad(opt, g->value[param].block);
    if (!grad)
        return pa_fail(err, PA_ENOMEM, "out of memory for gradients");
    if (g->value[root].place !=
        PA_PLACE_ARENA) /* a constant, or another's place already */
        return pa_fail(err, PA_EVALUE, "program: the loss is a parameter itself");
    pa_value *v = &g->value[root];
    v->place = PA_PLACE_BLOCK;
    v->block = pa_block_ref(grad);
    v->offset = g->value[param].offset;
    v->t.data = (char *)grad->data + v->offset * pa_dtype_size(grad->dtype);
    return PA_OK;
}

static pa_status add_updates(compiler *c, pa_optimizer *opt, int n_values, pa_error *err)
{
    int *params = malloc((size_t)(n_values + 1) * sizeof *params), n = 0;
    if (!params)
        return pa_fail(err, PA_ENOMEM, "out of memory for a program");
    pa_status status = PA_OK;
    for (int v = 0; v < n_values && status == PA_OK; v++)
        if (c->g->value[v].trainable && c->grad[v] >= 0) {
            params[n++] = v;
            status = place_gradient(c, opt, v, err);
        }
    if (status == PA_OK)
        status = pa_steps_update(&c->steps, c->g, opt, n, params, err);
    free(params);
    return status;
}

static pa_status add_gradients(compiler *c, const pa_program_spec *spec, pa_error *err)
{
    pa_graph *g = c->g;
    int n_values = g->n_values, n_nodes = g->n_nodes, seed;
    pa_tensor loss = g->value[spec->loss].t;
    double one64 = 1;
    float one32 = 1;
    for (int v = 0; v < n_values; v++)
        c->wants[v] = spec->opt && g->value[v].trainable;
    for (int i = 0; i < spec->n_wrt; i++)
        c->wants[spec->wrt[i]] = true;
    pa_status status = pa_graph_const(
        g, loss.dtype, loss.rank, loss.dim,
        loss.dtype == PA_F64 ? (void *)&one64 : (void *)&one32, &seed, err);
    if (status == PA_OK)
        status = pa_steps_backward(&c->steps, g, spec->loss, seed, c->wants, 0,
                                   g->n_nodes, c->grad, err);
    for (int i = 0; i < spec->n_wrt && status == PA_OK; i++) {
        int v = spec->wrt[i], made = c->grad[v];
        if (made < 0) {
            pa_tensor t = g->value[v].t;
            void *zeros = calloc(t.size + 1, pa_dtype_size(t.dtype));
            if (!zeros)
                return pa_fail(err, PA_ENOMEM, "out of memory for a gradient of zeros");
            status = pa_graph_const(g, t.dtype, t.rank, t.dim, zeros, &made, err);
            free(zeros);
        }
        c->keep[spec->n_out + i] = made;
    }
    if (status == PA_OK)
        status = pa_steps_mutate(&c->steps, g, n_nodes, err);
    if (status == PA_OK && spec->opt)
        status = add_updates(c, spec->opt, n_values, err);
    return status;
}

static pa_status compile_steps(compiler *c, const pa_graph *g,
                               const pa_program_spec *spec, pa_error *err)
{
    c->g = pa_graph_copy(g);
    c->n_keep = spec->n_out + spec->n_wrt + 1;
    c->grad = malloc((size_t)(g->n_values + 1) * sizeof *c->grad);
    c->wants = calloc((size_t)g->n_values + 1, sizeof *c->wants);
    c->keep = malloc((size_t)c->n_keep * sizeof *c->keep);
    if (!c->g || !c->grad || !c->wants || !c->keep)
        return pa_fail(err, PA_ENOMEM, "out of memory for a program");
    for (int i = 0; i < spec->n_out; i++)
        c->keep[i] = spec->out[i];
    for (int i = 0; i < spec->n_wrt; i++)
        c->keep[spec->n_out + i] = -1;
    c->keep[c->n_keep - 1] = spec->loss;
    for (int i = 0; i < c->n_keep; i++)
        if (c->keep[i] >= 0)
            c->wants[c->keep[i]] = true;
    for (int i = 0; i < spec->n_wrt; i++)
        c->wants[spec->wrt[i]] = true;
    pa_graph_fuse(c->g, c->wants);
    pa_status status = pa_steps_forward(&c->steps, c->g, c->n_keep, c->keep, err);
    if (status == PA_OK && spec->loss >= 0 && (spec->opt || spec->n_wrt))
        status = add_gradients(c, spec, err);
    else if (status == PA_OK)
        status = pa_steps_mutate(&c->steps, c->g, g->n_nodes, err);
    if (status == PA_OK)
        status = pa_plan_new(&c->plan, c->g, &c->steps, c->n_keep, c->keep, err);
    return status;
}

/* ---- build: the plan becomes pointers
 * ----------------------------------------------------- */

static void *at(const pa_program *p, size_t offset)
{
    return offset == SIZE_MAX ? NULL : (char *)p->arena + offset;
}

static bool allocate(pa_program *p, const compiler *c)
{
    size_t values = (size_t)c->g->n_values + 1, calls = (size_t)c->steps.n + 1;
    p->calls = calloc(calls, sizeof *p->calls);
    p->attrs = calloc(calls, sizeof *p->attrs);
    p->tensor = calloc(values, sizeof *p->tensor);
    p->root = calloc(values, sizeof *p->root);
    p->blocks = calloc(values, sizeof(pa_block *));
    p->input = calloc((size_t)c->g->n_inputs + 1, sizeof *p->input);
    p->input_memory = calloc((size_t)c->g->n_inputs + 1, sizeof(void *));
    p->output = calloc((size_t)c->n_keep + 1, sizeof *p->output);
    p->output_memory = calloc((size_t)c->n_keep + 1, sizeof(void *));
    p->bytes = c->plan.bytes;
    p->arena = pa_alloc(p->bytes);
    p->prepared = calloc(calls, sizeof(void *));
    return p->calls && p->prepared && p->attrs && p->tensor && p->root && p->blocks &&
           p->input && p->input_memory && p->output && p->output_memory && p->arena;
}

static void bind_values(pa_program *p, const compiler *c)
{
    const pa_graph *g = c->g;
    p->n_values = g->n_values;
    p->n_inputs = g->n_inputs;
    for (int v = 0; v < g->n_values; v++) {
        p->tensor[v] = g->value[v].t;
        p->root[v] = pa_graph_root(g, v);
        const pa_value *owner = &g->value[p->root[v]];
        p->tensor[v].data =
            owner->place == PA_PLACE_BLOCK ? owner->t.data : at(p, c->plan.offset[v]);
        if (g->value[v].block)
            p->blocks[p->n_blocks++] = pa_block_ref(g->value[v].block);
    }
    for (int i = 0; i < g->n_inputs; i++) {
        p->input[i] = g->input[i];
        p->input_memory[i] = p->tensor[g->input[i]].data;
    }
    p->n_outputs = c->n_keep - 1;
    memcpy(p->output, c->keep, (size_t)p->n_outputs * sizeof *p->output);
    for (int i = 0; i < p->n_outputs; i++)
        p->output_memory[i] = p->tensor[p->output[i]].data;
    p->loss = c->keep[c->n_keep - 1];
}

enum { POLL_FLOPS = 4000000 }; /* a fraction of a millisecond */

/* Of the rounds of a loop behind its first, as many as there may be. */
static double more_rounds(const call *end)
{
    double round = 0;
    for (int u = 0; u <= end->back; u++)
        round += end[-u].call.flops;
    return end->back ? round * (end->call.attr[0].num - 1) : 0;
}

static void bind_calls(pa_program *p, const compiler *c)
{
    double since_poll = 0;
    for (int t = 0; t < c->steps.n; t++) {
        const pa_step *s = &c->steps.step[t];
        const pa_op *op = c->g->node[s->node].call.op;
        if (op->flags & PA_ALIAS)
            continue;
        call *k = &p->calls[p->n_calls];
        pa_call_bind(&k->call, c->g, s, p->tensor);
        memcpy(p->attrs[p->n_calls], c->g->node[s->node].attr, sizeof *p->attrs);
        k->call.attr = p->attrs[p->n_calls];
        k->call.saved = at(p, c->plan.saved[s->node]);
        k->call.scratch = at(p, c->plan.scratch[t]);
        k->run = s->direction == PA_FORWARD ? op->forward : op->backward;
        for (int u = t - s->back; u < t; u++)
            k->back += !(c->g->node[c->steps.step[u].node].call.op->flags & PA_ALIAS);
        since_poll += k->call.flops;
        k->poll = since_poll > POLL_FLOPS || k->back;
        if (k->poll)
            since_poll = 0;
        if (t < c->steps.n_forward)
            p->flops += k->call.flops + more_rounds(k);
        p->n_calls++;
    }
    p->n_update = c->steps.n_update;
}

static bool is_parameter(const pa_program *p, const pa_graph *g, const pa_tensor *t)
{
    return g->value[p->root[t - p->tensor]].place == PA_PLACE_BLOCK;
}

/* Weights that never change are laid out once. */
static pa_status prepare(pa_program *p, const pa_graph *g, pa_error *err)
{
    for (int i = 0; i < p->n_calls && g->prepare; i++) {
        pa_call *c = &p->calls[i].call;
        if (!c->op->prepare || !c->prepared_bytes || !is_parameter(p, g, c->in[1]))
            continue;
        p->prepared[i] = pa_alloc(c->prepared_bytes);
        if (!p->prepared[i])
            return pa_fail(err, PA_ENOMEM, "%s: out of memory for weights of %zu bytes",
                           c->op->name, c->prepared_bytes);
        c->op->prepare(c, p->prepared[i]);
        c->prepared = p->prepared[i];
    }
    return PA_OK;
}

pa_status pa_program_new(pa_program **program, const pa_graph *g,
                         const pa_program_spec *spec, pa_error *err)
{
    compiler c = {0};
    pa_program *p = NULL;
    pa_status status = check_spec(g, spec, err);
    if (status == PA_OK)
        status = compile_steps(&c, g, spec, err);
    if (status)
        goto done;
    p = calloc(1, sizeof *p);
    if (!p || !allocate(p, &c)) {
        status = pa_fail(err, PA_ENOMEM, "out of memory for a program of %zu bytes",
                         c.plan.bytes);
        goto done;
    }
    bind_values(p, &c);
    bind_calls(p, &c);
    if (p->n_update)
        status = pa_guard_new(&p->guard, c.g, &c.steps, spec->opt, g->n_values, c.grad,
                              p->tensor, err);
    if (status == PA_OK)
        status = prepare(p, c.g, err);
done:
    if (status) {
        pa_program_free(p);
        p = NULL;
    }
    *program = p;
    pa_plan_free(&c.plan);
    pa_steps_free(&c.steps);
    pa_graph_free(c.g);
    free(c.grad);
    free(c.wants);
    free(c.keep);
    return status;
}

void pa_program_free(pa_program *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_blocks; i++)
        pa_block_unref(p->blocks[i]);
    for (int i = 0; i < p->n_calls; i++)
        pa_free(p->prepared[i]);
    free(p->prepared);
    free(p->calls);
    free(p->attrs);
    free(p->tensor);
    free(p->root);
    free(p->blocks);
    free(p->input);
    free(p->input_memory);
    free(p->output);
    free(p->output_memory);
    pa_free(p->arena);
    pa_guard_free(p->guard);
    free(p);
}

/* ---- run
 * ------------------------------------------------------------------------------------ */

void pa_program_check_finite(pa_program *p, bool check)
{
    p->check_finite = check && p->guard;
    p->not_finite = false;
    p->overflowed = NULL;
    if (p->guard)
        pa_guard_forget(p->guard);
    for (int i = 0; i < p->n_calls; i++) {
        call *k = &p->calls[i];
        k->call.bound = p->check_finite && k->run == k->call.op->backward &&
                                (k->call.op->flags & PA_TELLS_BOUND) && k->call.din[1]
                            ? pa_guard_bound(p->guard, k->call.din[1])
                            : NULL;
    }
}

bool pa_program_not_finite(const pa_program *p, const void **overflowed)
{
    *overflowed = p->overflowed;
    return p->not_finite;
}

static void run_calls(pa_program *p, int first, int last, const pa_ctx *ctx)
{
    for (int i = first; i < last; i++)
        p->calls[i].run(&p->calls[i].call, ctx);
}

static pa_status update_guarded(pa_program *p, const pa_ctx *ctx)
{
    const int first = p->n_calls - p->n_update;
    const int params = first + pa_guard_states(p->guard);
    const bool fine = p->loss < 0 || isfinite(pa_program_loss(p));
    pa_status status = fine ? pa_guard_enter(p->guard, ctx) : PA_EVALUE;
    if (status == PA_OK) {
        run_calls(p, first, params, ctx);
        p->overflowed = pa_guard_leave_state(p->guard, ctx->pool);
    }
    if (status == PA_OK && !p->overflowed) {
        run_calls(p, params, p->n_calls, ctx);
        p->overflowed = pa_guard_leave(p->guard, ctx->pool);
    }
    p->not_finite = status == PA_EVALUE || p->overflowed;
    return p->not_finite ? PA_EVALUE : status;
}

/* The call behind which to go on, call i closing a loop: i itself, or the loop's first.
 */
static int after_loop(pa_program *p, int i, pa_status status)
{
    call *k = &p->calls[i];
    if (status == PA_OK && pa_call_again(&k->call, ++k->rounds))
        return i - k->back;
    k->rounds = 0;
    return i;
}

pa_status pa_program_step(pa_program *p, const pa_ctx *ctx)
{
    pa_fpu before = pa_fpu_get();
    pa_watch *watch = pa_watch_get();
    pa_status status = PA_OK;
    pa_fpu_flush_denormals();
    int n_pure = p->n_calls - p->n_update, i = 0;
    for (; i < n_pure && status == PA_OK; i++) {
        call *k = &p->calls[i];
        k->run(&k->call, ctx);
        if (watch &&
            (pa_atomic_get(&watch->stopped) || (k->poll && pa_watch_stops(watch))))
            status = PA_EINTR;
        if (k->back)
            i = after_loop(p, i, status);
    }
    if (watch)
        pa_watch_set(NULL); /* an update that has begun is not abandoned */
    if (status == PA_OK && p->check_finite)
        status = update_guarded(p, ctx);
    else if (status == PA_OK)
        run_calls(p, n_pure, p->n_calls, ctx);
    if (watch)
        pa_watch_set(watch);
    pa_fpu_set(before);
    return status;
}
