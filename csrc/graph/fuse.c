/* fuse.c - neighbouring nodes of a program's graph that one call does faster.
 *
 * One rule: max_pool2d behind a conv2d that nobody else reads becomes the convolution's
 * `pool`. The result of the convolution, mostly the largest value of a network, is then
 * never written to memory; every bit stays the same. The tape runs nodes one by one and
 * fuses nothing. */
#include <string.h>

#include "graph/graph.h"

static int attr_index(const pa_op *op, const char *name)
{
    int i = 0;
    while (strcmp(op->attrs[i].name, name) != 0)
        i++;
    return i;
}

static bool is(const pa_node *node, const char *op)
{
    return strcmp(node->call.op->name, op) == 0;
}

static bool reads_or_makes(const pa_node *node, int value)
{
    for (int i = 0; i < node->call.n_in; i++)
        if (node->in[i] == value)
            return true;
    for (int i = 0; i < node->call.n_out; i++)
        if (node->out[i] == value)
            return true;
    return false;
}

/* The node that made a value, if one input of one node alone reads it; else NULL. Those
 * that count what is in it do not matter: they have the node for themselves then. */
static const pa_node *only_for_next(const pa_graph *g, int value, const bool *kept)
{
    const pa_node *maker = NULL;
    int readers = 0;
    for (int k = 0; k < g->n_nodes; k++) {
        const int of = g->node[k].back_of;
        if (of >= 0 && reads_or_makes(&g->node[of], value)) /* walked back node by node */
            return NULL;
        for (int i = 0; i < g->node[k].call.n_out; i++)
            if (g->node[k].out[i] == value)
                maker = &g->node[k];
        for (int i = 0; i < g->node[k].call.n_in; i++)
            readers +=
                g->node[k].in[i] == value && g->node[k].call.op->kind != PA_KIND_METRIC;
    }
    return readers == 1 && !kept[value] ? maker : NULL;
}

/* Windows side by side from the first pixel on. */
static bool plain_windows(const pa_node *pool)
{
    const pa_op *op = pool->call.op;
    const pa_attr *size = &pool->attr[attr_index(op, "size")];
    const pa_attr *step = &pool->attr[attr_index(op, "strides")];
    const pa_attr *pad = &pool->attr[attr_index(op, "padding")];
    for (int i = 0; i < pad->n; i++)
        if (pad->list[i] != 0)
            return false;
    return step->n == 0 ||
           (step->list[0] == size->list[0] && step->list[1] == size->list[1]);
}

/* Makes the pool's node the convolution's with `pool`, if the operator takes it. */
static void fuse_pool(pa_graph *g, pa_node *pool, const pa_node *conv)
{
    pa_node both = *conv;
    pa_error ignored = {0};
    pa_tensor result = {0};
    const int at = attr_index(conv->call.op, "pool");
    if (both.attr[at].n || !plain_windows(pool))
        return;
    both.attr[at] = pool->attr[attr_index(pool->call.op, "size")];
    both.call.attr = both.attr;
    for (int i = 0; i < both.call.n_in; i++)
        both.call.in[i] = &g->value[both.in[i]].t;
    both.call.out[0] = &result;
    if (both.call.op->shape(&both.call, &ignored))
        return;
    both.out[0] = pool->out[0];
    *pool = both;
}

void pa_graph_fuse(pa_graph *g, const bool *kept)
{
    for (int k = 0; k < g->n_nodes; k++) {
        if (!is(&g->node[k], "max_pool2d"))
            continue;
        const pa_node *conv = only_for_next(g, g->node[k].in[0], kept);
        if (conv && is(conv, "conv2d"))
            fuse_pool(g, &g->node[k], conv);
    }
}
