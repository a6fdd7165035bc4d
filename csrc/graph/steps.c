/* steps.c - from a graph and what is wanted of it to the list of calls to make.
 *
 * Steps are in SSA form: every value is written by exactly one step, so a gradient with
 * several parts is a chain of `add` nodes. The plan may let them share memory later. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

void pa_steps_free(pa_steps *s)
{
    free(s->step);
    *s = (pa_steps){0};
}

static pa_status push(pa_steps *s, const pa_step *step, pa_error *err)
{
    if (!pa_grow(&s->step, s->n, &s->cap, sizeof *s->step))
        return pa_fail(err, PA_ENOMEM, "out of memory for a program of %d steps", s->n);
    s->step[s->n++] = *step;
    return PA_OK;
}

static pa_status push_node(pa_steps *s, const pa_graph *g, int node, pa_error *err)
{
    pa_step step = {.node = node, .direction = PA_FORWARD};
    const int begin = pa_graph_loop(g, node);
    const pa_node *n = &g->node[node];
    if (n->back_of >= 0) {
        step = (pa_step){.node = n->back_of, .direction = PA_BACKWARD};
        memcpy(step.din, n->din, sizeof step.din);
        memset(step.dout, -1, sizeof step.dout);
        memcpy(step.dout, n->in, (size_t)n->call.n_in * sizeof *n->in);
    }
    for (int t = s->n - 1; t >= 0 && begin >= 0 && !step.back; t--)
        if (s->step[t].node == begin)
            step.back = s->n - t;
    return push(s, &step, err);
}

/* Applies an operator and, where there are steps, pushes its own at once. */
static pa_status emit(pa_steps *s, pa_graph *g, const char *op, int n_in, const int *in,
                      int n_args, const pa_arg *args, int *out, pa_error *err)
{
    pa_status status = pa_graph_apply(g, op, n_in, in, n_args, args, out, err);
    return status || !s ? status : push_node(s, g, g->n_nodes - 1, err);
}

/* ---- forward: the nodes that something wanted depends on
 * ------------------------------- */

static bool makes_any(const pa_node *node, const bool *of)
{
    for (int i = 0; i < node->call.n_out; i++)
        if (of[node->out[i]])
            return true;
    for (int i = 0; i < PA_MAX_IN && node->back_of >= 0; i++)
        if (node->din[i] >= 0 && of[node->din[i]])
            return true;
    return false;
}

pa_status pa_steps_forward(pa_steps *s, pa_graph *g, int n, const int *wanted,
                           pa_error *err)
{
    bool *live = calloc((size_t)g->n_values + 1, sizeof *live);
    bool *run = calloc((size_t)g->n_nodes + 1, sizeof *run);
    pa_status status = PA_OK;
    if (!live || !run) {
        status = pa_fail(err, PA_ENOMEM, "out of memory for a program");
        goto done;
    }
    for (int i = 0; i < n; i++)
        if (wanted[i] >= 0)
            live[wanted[i]] = true;
    for (int k = g->n_nodes - 1; k >= 0; k--) {
        const pa_node *node = &g->node[k];
        run[k] = run[k] || node->call.op->flags & PA_MUTATES || makes_any(node, live);
        for (int i = 0; run[k] && i < node->call.n_in; i++)
            live[node->in[i]] = true;
        if (run[k] && node->back_of >= 0)
            run[node->back_of] = true;
    }
    for (int k = 0; k < g->n_nodes && status == PA_OK; k++)
        if (run[k] && !(g->node[k].call.op->flags & PA_MUTATES))
            status = push_node(s, g, k, err);
    s->n_forward = s->n;
done:
    free(live);
    free(run);
    return status;
}

pa_status pa_steps_mutate(pa_steps *s, const pa_graph *g, int n_nodes, pa_error *err)
{
    pa_status status = PA_OK;
    for (int k = 0; k < n_nodes && status == PA_OK; k++)
        if (g->node[k].call.op->flags & PA_MUTATES) {
            status = push_node(s, g, k, err);
            s->n_update++;
        }
    return status;
}

/* ---- backward
 * -------------------------------------------------------------------------- */

typedef struct backward {
    pa_steps *s;
    pa_graph *g;
    int n_values;        /* that existed on entry */
    const bool *on_path; /* per value: a wanted value lies upstream of it */
    int *grad;
    pa_error *err;
} backward;

/* grad[v] = part, or grad[v] + part. */
static pa_status contribute(backward *b, int v, int part)
{
    if (b->grad[v] < 0) {
        b->grad[v] = part;
        return PA_OK;
    }
    int sum[PA_MAX_OUT], in[2] = {b->grad[v], part};
    pa_status status = emit(b->s, b->g, "add", 2, in, 0, NULL, sum, b->err);
    if (status == PA_OK)
        b->grad[v] = sum[0];
    return status;
}

static pa_status new_like(backward *b, int v, int alias, int *made)
{
    pa_value fresh = {.t = b->g->value[v].t, .place = PA_PLACE_ARENA, .alias = alias};
    fresh.t.data = NULL;
    return pa_graph_value(b->g, &fresh, made, b->err);
}

/* dout, the gradient of what shows the memory of v. */
static pa_status under_shape_of(backward *b, int v, int dout, int *made)
{
    if (b->s)
        return new_like(b, v, dout, made);
    const pa_tensor t = b->g->value[v].t;
    const pa_arg shape = {.name = "shape", .list = t.dim, .n = t.rank};
    int out[PA_MAX_OUT] = {-1};
    pa_status status = emit(NULL, b->g, "reshape", 1, &dout, 1, &shape, out, b->err);
    *made = out[0];
    return status;
}

/* Values without a consumer on the path still need a dout: zeros. */
static pa_status zeros_like(backward *b, int v, int *made)
{
    const pa_tensor *t = &b->g->value[v].t;
    pa_block *block = pa_block_new(t->dtype, t->size);
    if (!block)
        return pa_fail(b->err, PA_ENOMEM, "out of memory for a gradient of zeros");
    pa_tensor shape = *t;
    pa_status status =
        pa_graph_block(b->g, block, 0, shape.rank, shape.dim, made, b->err);
    pa_block_unref(block);
    return status;
}

/* The gradient of a fixed point y = F(y), F being the calls of the loop that node k
 * closes: what goes back into F is v = dy + v dF/dy, found by a loop as well, which walks
 * back through F for dF/dy alone. The walk through F that follows meets v where it meets
 * dy of any other value. */
static pa_status backward_loop(backward *b, int k)
{
    pa_graph *g = b->g;
    const int begin = pa_graph_loop(g, k), old = g->node[k].in[0];
    const int fresh = g->node[k].in[1], dy = b->grad[g->node[k].out[0]];
    if (begin < 0 || dy < 0 || !b->on_path[fresh])
        return PA_OK;
    int v[PA_MAX_OUT], next[PA_MAX_OUT], settled[PA_MAX_OUT];
    const pa_attr *attr = g->node[k].attr;
    const pa_arg args[] = {{"rounds", .num = attr[0].num},
                           {"tolerance", .num = attr[1].num}};
    pa_status status = emit(b->s, g, "reenter", 1, &dy, 0, NULL, v, b->err);
    if (status)
        return status;
    bool *wants = calloc((size_t)g->n_values + 1, sizeof *wants);
    int *grad = malloc(((size_t)g->n_values + 1) * sizeof *grad);
    if (!wants || !grad)
        status = pa_fail(b->err, PA_ENOMEM, "out of memory for gradients");
    else {
        wants[old] = true;
        status =
            pa_steps_backward(b->s, g, fresh, v[0], wants, begin + 1, k, grad, b->err);
    }
    const int back = status ? -1 : grad[old];
    free(wants);
    free(grad);
    if (status || back < 0) /* F does not depend on y */
        return status ? status : contribute(b, fresh, dy);
    const int sum[] = {dy, back};
    if ((status = emit(b->s, g, "add", 2, sum, 0, NULL, next, b->err)))
        return status;
    const int in[] = {v[0], next[0], dy};
    status = emit(b->s, g, "settle", 3, in, 2, args, settled, b->err);
    return status ? status : contribute(b, fresh, settled[0]);
}

/* A recorded backward pass is not walked back itself: fine where nobody asks. */
static pa_status refuse_second(const backward *b, int k)
{
    const pa_node *node = &b->g->node[k], *of = &b->g->node[node->back_of];
    for (int i = 0; i < of->call.n_in; i++)
        if (node->din[i] >= 0 && b->on_path[node->din[i]] && b->grad[node->din[i]] >= 0)
            return pa_fail(b->err, PA_EVALUE,
                           "the gradient of a gradient through '%s' has no rule",
                           of->call.op->name);
    return PA_OK;
}

static pa_status backward_node(backward *b, int k)
{
    pa_graph *g = b->g;
    pa_step step = {.node = k, .direction = PA_BACKWARD};
    pa_node *node = &g->node[k];
    const pa_op *op = node->call.op;
    int n_in = node->call.n_in, n_out = node->call.n_out, reached = 0, wanted = 0;
    pa_status status;
    if (op->flags & PA_LOOP_END)
        return backward_loop(b, k);
    if (node->back_of >= 0)
        return refuse_second(b, k);
    for (int i = 0; i < n_out; i++)
        reached += b->grad[node->out[i]] >= 0;
    for (int i = 0; i < n_in; i++)
        wanted += b->on_path[node->in[i]] && !(op->no_din >> i & 1);
    if (!reached || !wanted || (op->flags & PA_NO_GRAD))
        return PA_OK;
    if (op->flags & PA_ALIAS) {
        int same, source = node->in[0], dout = b->grad[node->out[0]];
        status = under_shape_of(b, source, dout, &same);
        return status ? status : contribute(b, source, same);
    }
    memset(step.din, -1, sizeof step.din);
    memset(step.dout, -1, sizeof step.dout);
    for (int i = 0; i < n_out; i++) {
        step.dout[i] = b->grad[g->node[k].out[i]];
        if (step.dout[i] < 0 &&
            (status = zeros_like(b, g->node[k].out[i], &step.dout[i])))
            return status;
    }
    for (int i = 0; i < n_in; i++) {
        int v = g->node[k].in[i];
        if (b->on_path[v] && !(op->no_din >> i & 1) &&
            (status = new_like(b, v, -1, &step.din[i])))
            return status;
    }
    status = b->s ? push(b->s, &step, b->err) : pa_graph_backward(g, &step, b->err);
    if (status)
        return status;
    for (int i = 0; i < n_in; i++)
        if (step.din[i] >= 0 && (status = contribute(b, g->node[k].in[i], step.din[i])))
            return status;
    return PA_OK;
}

/* A recorded backward pass depends on what its node has read, too. */
static void pass_on(const pa_graph *g, const pa_node *node, bool any, bool *on_path)
{
    const pa_node *of = &g->node[node->back_of];
    for (int i = 0; i < of->call.n_in; i++)
        any = any || on_path[of->in[i]];
    for (int i = 0; i < of->call.n_in; i++)
        if (any && node->din[i] >= 0)
            on_path[node->din[i]] = true;
}

pa_status pa_steps_backward(pa_steps *s, pa_graph *g, int target, int seed,
                            const bool *wants, int first, int last, int *grad,
                            pa_error *err)
{
    int n_values = g->n_values;
    bool *on_path = calloc((size_t)n_values + 1, sizeof *on_path);
    if (!on_path)
        return pa_fail(err, PA_ENOMEM, "out of memory for gradients");
    backward b = {s, g, n_values, on_path, grad, err};
    pa_status status = PA_OK;
    for (int v = 0; v < n_values; v++) {
        on_path[v] = wants[v];
        grad[v] = -1;
    }
    for (int k = first; k < last; k++) {
        const pa_node *node = &g->node[k];
        bool any = false;
        for (int i = 0; i < node->call.n_in; i++)
            any = any || (on_path[node->in[i]] && !(node->call.op->no_din >> i & 1));
        for (int i = 0; i < node->call.n_out; i++)
            if (any && (!(node->call.op->flags & PA_NO_GRAD) || pa_graph_loop(g, k) >= 0))
                on_path[node->out[i]] = true;
        if (node->back_of >= 0)
            pass_on(g, node, any, on_path);
    }
    grad[target] = seed;
    for (int k = last - 1; k >= first && status == PA_OK; k--)
        status = backward_node(&b, k);
    free(on_path);
    return status;
}

pa_status pa_steps_gradient(pa_steps *s, pa_graph *g, int target, int seed, int n,
                            const int *sources, int first, int last, int *grad,
                            pa_error *err)
{
    last = last < 0 || last > g->n_nodes ? g->n_nodes : last;
    first = first < 0 ? 0 : first;
    size_t values = (size_t)g->n_values + 1;
    bool *wants = calloc(values, sizeof *wants);
    int *all = malloc(values * sizeof *all);
    pa_status status = PA_OK;
    if (!wants || !all)
        status = pa_fail(err, PA_ENOMEM, "out of memory for gradients");
    for (int i = 0; i < n && status == PA_OK; i++) {
        if (!pa_graph_tensor(g, sources[i]))
            status = pa_fail(err, PA_EVALUE,
                             "gradient: source %d is not a value of this tape", i);
        else
            wants[sources[i]] = true;
    }
    if (status == PA_OK)
        status = pa_steps_backward(s, g, target, seed, wants, first, last, all, err);
    for (int i = 0; i < n && status == PA_OK; i++)
        grad[i] = all[sources[i]];
    free(wants);
    free(all);
    return status;
}

pa_status pa_graph_gradient(pa_graph *g, int target, int seed, int n, const int *sources,
                            int first, int last, int *grad, pa_error *err)
{
    const pa_tensor *to = pa_graph_tensor(g, target), *from = pa_graph_tensor(g, seed);
    if (!to || to->dtype == PA_I32 || !from || from->dtype != to->dtype ||
        from->size != to->size)
        return pa_fail(err, PA_EVALUE,
                       "gradient: the target is not a floating-point value, or the seed "
                       "not one like it");
    return pa_steps_gradient(NULL, g, target, seed, n, sources, first, last, grad, err);
}

/* ---- update: clipping, then one pass of the optimizer over each flat run
 * ---------------- */

typedef struct run { /* parameters that lie one behind the other in one block */
    pa_block *block;
    size_t begin, end; /* elements */
} run;

static int by_place(const void *a, const void *b)
{
    const run *x = a, *y = b;
    if (x->block != y->block)
        return (uintptr_t)x->block < (uintptr_t)y->block ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int merge_runs(run *r, int n)
{
    qsort(r, (size_t)n, sizeof *r, by_place);
    int m = 0;
    for (int i = 0; i < n; i++) {
        size_t unit = PA_ALIGN / pa_dtype_size(r[i].block->dtype);
        /* the padding between aligned neighbours has gradient 0 and stays 0 */
        if (m && r[m - 1].block == r[i].block &&
            r[i].begin <= (r[m - 1].end + unit - 1) / unit * unit)
            r[m - 1].end = r[i].end;
        else
            r[m++] = r[i];
    }
    return m;
}

static pa_status view(pa_graph *g, pa_block *block, const run *r, int *value,
                      pa_error *err)
{
    int64_t n = (int64_t)(r->end - r->begin);
    if (!block)
        return pa_fail(err, PA_ENOMEM, "out of memory for the optimizer's state");
    return pa_graph_block(g, block, r->begin, 1, &n, value, err);
}

static pa_status clip_each(pa_steps *s, pa_graph *g, pa_optimizer *opt, const char *op,
                           int n, const run *r, pa_error *err)
{
    pa_arg clip = {"clip", .num = opt->clip_at};
    pa_status status = PA_OK;
    for (int i = 0; i < n && status == PA_OK; i++) {
        int grad;
        status = view(g, pa_optimizer_grad(opt, r[i].block), &r[i], &grad, err);
        if (status == PA_OK)
            status = emit(s, g, op, 1, &grad, 1, &clip, NULL, err);
    }
    return status;
}

static pa_status clip_global(pa_steps *s, pa_graph *g, pa_optimizer *opt, int n,
                             const run *r, pa_error *err)
{
    pa_arg clip = {"clip", .num = opt->clip_at};
    int total[PA_MAX_OUT] = {-1}, grad, part[PA_MAX_OUT];
    pa_status status = PA_OK;
    for (int i = 0; i < n && status == PA_OK; i++) {
        if ((status = view(g, pa_optimizer_grad(opt, r[i].block), &r[i], &grad, err)) ||
            (status = emit(s, g, "grad_sumsq", 1, &grad, 0, NULL, part, err)))
            return status;
        int sum[2] = {total[0], part[0]};
        if (total[0] < 0)
            total[0] = part[0];
        else
            status = emit(s, g, "add", 2, sum, 0, NULL, total, err);
    }
    for (int i = 0; i < n && status == PA_OK; i++) {
        if ((status = view(g, pa_optimizer_grad(opt, r[i].block), &r[i], &grad, err)))
            return status;
        int in[2] = {grad, total[0]};
        status = emit(s, g, "grad_scale_global", 2, in, 1, &clip, NULL, err);
    }
    return status;
}

static pa_status update_runs(pa_steps *s, pa_graph *g, pa_optimizer *opt, int n,
                             const run *r, pa_error *err)
{
    for (int i = 0; i < n; i++) {
        int in[2 + PA_MAX_SLOTS];
        pa_status status;
        if ((status = view(g, r[i].block, &r[i], &in[0], err)) ||
            (status = view(g, pa_optimizer_grad(opt, r[i].block), &r[i], &in[1], err)))
            return status;
        for (int k = 0; k < opt->n_slots; k++)
            if ((status = view(g, pa_optimizer_slot(opt, r[i].block, k), &r[i],
                               &in[2 + k], err)))
                return status;
        if ((status = emit(s, g, opt->op, 2 + opt->n_slots, in, opt->n_args, opt->args,
                           NULL, err)))
            return status;
    }
    return PA_OK;
}

pa_status pa_steps_update(pa_steps *s, pa_graph *g, pa_optimizer *opt, int n_params,
                          const int *params, pa_error *err)
{
    run *each = malloc((size_t)(n_params + 1) * sizeof *each);
    run *runs = malloc((size_t)(n_params + 1) * sizeof *runs);
    pa_status status = PA_OK;
    int before = s->n;
    if (!each || !runs) {
        status = pa_fail(err, PA_ENOMEM, "out of memory for the optimizer");
        goto done;
    }
    for (int i = 0; i < n_params; i++) {
        const pa_value *v = &g->value[params[i]];
        each[i] = (run){v->block, v->offset, v->offset + v->t.size};
    }
    memcpy(runs, each, (size_t)n_params * sizeof *runs);
    int n_runs = merge_runs(runs, n_params);
    if (opt->clip == PA_CLIP_VALUE)
        status = clip_each(s, g, opt, "grad_clip_value", n_runs, runs, err);
    else if (opt->clip == PA_CLIP_NORM)
        status = clip_each(s, g, opt, "grad_clip_norm", n_params, each, err);
    else if (opt->clip == PA_CLIP_GLOBAL_NORM)
        status = clip_global(s, g, opt, n_runs, runs, err);
    if (status == PA_OK)
        status = update_runs(s, g, opt, n_runs, runs, err);
    s->n_update += s->n - before;
done:
    free(each);
    free(runs);
    return status;
}
