/* plan.c - where each value lies: lifetimes, sharing in place, offsets in one arena.
 *
 * An item is a piece of memory with a lifetime in steps: a value (with all its aliases
 * and those that took over its memory in place), what a node saves, or a call's scratch.
 * Items are placed by decreasing size at the lowest offset that is free throughout their
 * lifetime. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

enum { FOREVER = INT32_MAX };

typedef struct item {
    int born, dies; /* first and last step that touches it; born > dies: unused */
    size_t bytes, offset;
} item;

typedef struct planner {
    const pa_graph *g;
    const pa_steps *s;
    item *value, *saved, *scratch; /* per value, node, step: one array */
    int *root;                     /* per value: whose item it uses */
} planner;

static void touch(item *it, int step)
{
    if (step < it->born)
        it->born = step;
    if (step > it->dies)
        it->dies = step;
}

static void touch_value(planner *p, int v, int step)
{
    if (v >= 0)
        touch(&p->value[p->root[v]], step);
}

/* A step's values, by what happens to them. */
static void lifetimes(planner *p)
{
    for (int t = 0; t < p->s->n; t++) {
        const pa_step *s = &p->s->step[t];
        const pa_node *node = &p->g->node[s->node];
        const pa_call *c = &node->call;
        bool back = s->direction == PA_BACKWARD;
        for (int i = 0; i < c->n_in; i++) {
            if (!back || (c->op->flags & PA_NEEDS_IN))
                touch_value(p, node->in[i], t);
            if (back)
                touch_value(p, s->din[i], t);
        }
        for (int i = 0; i < c->n_out; i++) {
            if (!back || (c->op->flags & PA_NEEDS_OUT))
                touch_value(p, node->out[i], t);
            if (back)
                touch_value(p, s->dout[i], t);
        }
        if (back && c->saved_bytes)
            touch(&p->saved[s->node], t);
        if (c->scratch_bytes && (back || !(c->op->flags & PA_SCRATCH_IS_SAVED))) {
            touch(&p->scratch[t], t);
            p->scratch[t].bytes = c->scratch_bytes;
        }
    }
    for (int t = 0; t < p->s->n; t++) { /* what is saved is born with the forward call */
        const pa_step *s = &p->s->step[t];
        const pa_call *c = &p->g->node[s->node].call;
        item *saved = &p->saved[s->node];
        bool wanted = saved->dies >= 0 || !(c->op->flags & PA_SAVES_AT_WILL);
        saved->bytes = c->saved_bytes;
        if (s->direction == PA_FORWARD && saved->bytes && wanted)
            touch(saved, t);
    }
}

/* What a loop finds when it begins must still be there in its last round. */
static void last_through_loops(planner *p, int n_items)
{
    for (int end = 0; end < p->s->n; end++) {
        const int begin = end - p->s->step[end].back;
        for (int i = 0; i < n_items && begin < end; i++) {
            item *it = &p->value[i];
            if (it->born <= begin && it->dies > begin && it->dies < end)
                it->dies = end;
        }
    }
}

static bool in_arena(const planner *p, int v)
{
    return p->g->value[p->root[v]].place == PA_PLACE_ARENA;
}

/* Lets `to`, written at step t, take over the memory of `from`, last read at t. */
static void take_over(planner *p, int from, int to, int t)
{
    int a = p->root[from], b = p->root[to];
    if (a == b || !in_arena(p, from) || !in_arena(p, to) || p->value[a].dies != t ||
        p->value[b].born != t || p->value[a].bytes != p->value[b].bytes)
        return;
    p->value[a].dies = p->value[b].dies;
    p->value[b] = (item){FOREVER, -1, 0, 0};
    for (int v = 0; v < p->g->n_values; v++)
        if (p->root[v] == b)
            p->root[v] = a;
}

static bool only_first(const planner *p, const int *values, int n)
{
    for (int i = 1; i < n; i++)
        if (p->root[values[i]] == p->root[values[0]])
            return false;
    return true;
}

static void share_in_place(planner *p)
{
    for (int t = 0; t < p->s->n; t++) {
        const pa_step *s = &p->s->step[t];
        const pa_node *node = &p->g->node[s->node];
        if (!(node->call.op->flags & PA_IN_PLACE))
            continue;
        if (s->direction == PA_FORWARD) {
            if (only_first(p, node->in, node->call.n_in))
                take_over(p, node->in[0], node->out[0], t);
        } else {
            int wanted = 0; /* dout must not be overwritten while another din needs it */
            for (int i = 0; i < node->call.n_in; i++)
                wanted += s->din[i] >= 0;
            if (wanted == 1 && s->din[0] >= 0)
                take_over(p, s->dout[0], s->din[0], t);
        }
    }
}

/* Does the call of step t find its scratch where what it saved is read for the last time?
 */
static bool over_saved(const planner *p, int t)
{
    const pa_step *s = &p->s->step[t];
    return s->direction == PA_BACKWARD && p->saved[s->node].dies == t &&
           (p->g->node[s->node].call.op->flags & PA_SCRATCH_IS_SAVED);
}

/* ---- offsets -------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b)
{
    const item *x = *(item *const *)a, *y = *(item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->born != y->born)
        return x->born < y->born ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b)
{
    const item *x = *(item *const *)a, *y = *(item *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool place_items(item **items, int n, size_t *total)
{
    item **busy = malloc((size_t)(n + 1) * sizeof *busy);
    if (!busy)
        return false;
    qsort(items, (size_t)n, sizeof *items, by_size);
    *total = 0;
    for (int i = 0; i < n; i++) {
        int m = 0;
        size_t at = 0;
        for (int k = 0; k < i; k++)
            if (items[k]->born <= items[i]->dies && items[i]->born <= items[k]->dies)
                busy[m++] = items[k];
        qsort(busy, (size_t)m, sizeof *busy, by_offset);
        for (int k = 0; k < m; k++) {
            if (busy[k]->offset >= at && busy[k]->offset - at >= items[i]->bytes)
                break;
            if (busy[k]->offset + busy[k]->bytes > at)
                at = busy[k]->offset + busy[k]->bytes;
        }
        items[i]->offset = at;
        if (!pa_add(at, items[i]->bytes, &at) || at > PTRDIFF_MAX) {
            free(busy);
            return false;
        }
        if (at > *total)
            *total = at;
    }
    free(busy);
    return true;
}

static pa_status assign(planner *p, int n_items, pa_plan *plan, pa_error *err)
{
    item **used = malloc((size_t)(n_items + 1) * sizeof *used);
    if (!used)
        return pa_fail(err, PA_ENOMEM, "out of memory for a plan");
    int n = 0;
    for (int i = 0; i < n_items; i++) {
        item *it = &p->value[i];
        const int step = i - p->g->n_values - p->g->n_nodes;
        it->offset = SIZE_MAX;
        if (it->born > it->dies || (step >= 0 && over_saved(p, step)) ||
            (i < p->g->n_values && p->g->value[i].place != PA_PLACE_ARENA &&
             p->g->value[i].place != PA_PLACE_INPUT))
            continue;
        it->bytes = it->bytes ? pa_align(it->bytes) : PA_ALIGN;
        used[n++] = it;
    }
    bool fits = place_items(used, n, &plan->bytes);
    free(used);
    if (!fits)
        return pa_fail(err, PA_ENOMEM,
                       "this batch needs more memory than can be addressed");
    for (int v = 0; v < p->g->n_values; v++)
        plan->offset[v] = p->value[p->root[v]].offset;
    for (int k = 0; k < p->g->n_nodes; k++)
        plan->saved[k] = p->saved[k].offset;
    for (int t = 0; t < p->s->n; t++)
        plan->scratch[t] =
            over_saved(p, t) ? p->saved[p->s->step[t].node].offset : p->scratch[t].offset;
    return PA_OK;
}

pa_status pa_plan_new(pa_plan *plan, const pa_graph *g, const pa_steps *s, int n_keep,
                      const int *keep, pa_error *err)
{
    int n_items = g->n_values + g->n_nodes + s->n;
    item *items = malloc((size_t)(n_items + 1) * sizeof *items);
    planner p = {g,
                 s,
                 items,
                 items ? items + g->n_values : NULL,
                 items ? items + g->n_values + g->n_nodes : NULL,
                 malloc((size_t)(g->n_values + 1) * sizeof(int))};
    *plan = (pa_plan){malloc((size_t)(g->n_values + 1) * sizeof(size_t)),
                      malloc((size_t)(g->n_nodes + 1) * sizeof(size_t)),
                      malloc((size_t)(s->n + 1) * sizeof(size_t)), 0};
    pa_status status = PA_OK;
    if (!items || !p.root || !plan->offset || !plan->saved || !plan->scratch) {
        status = pa_fail(err, PA_ENOMEM, "out of memory for a plan");
        goto done;
    }
    for (int i = 0; i < n_items; i++)
        items[i] = (item){FOREVER, -1, 0, 0};
    for (int v = 0; v < g->n_values; v++) {
        p.root[v] = pa_graph_root(g, v);
        items[v].bytes = g->value[v].t.size * pa_dtype_size(g->value[v].t.dtype);
    }
    lifetimes(&p);
    for (int i = 0; i < g->n_inputs; i++) /* filled before the first step */
        touch_value(&p, g->input[i], 0);
    last_through_loops(&p, n_items);
    for (int i = 0; i < n_keep; i++)
        if (keep[i] >= 0) {
            touch_value(&p, keep[i], s->n);
            touch_value(&p, keep[i], FOREVER);
        }
    share_in_place(&p);
    status = assign(&p, n_items, plan, err);
done:
    if (status)
        pa_plan_free(plan);
    free(items);
    free(p.root);
    return status;
}

void pa_plan_free(pa_plan *plan)
{
    free(plan->offset);
    free(plan->saved);
    free(plan->scratch);
    *plan = (pa_plan){0};
}
