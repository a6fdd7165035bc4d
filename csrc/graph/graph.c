#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

bool pa_grow(void *array, int n, int *cap, size_t element)
{
    if (n < *cap)
        return true;
    int more = *cap ? 2 * *cap : 16;
    void *old;
    memcpy(&old, array, sizeof old);
    void *bigger = realloc(old, (size_t)more * element);
    if (!bigger)
        return false;
    memcpy(array, &bigger, sizeof bigger);
    *cap = more;
    /* cppcheck-suppress memleak ; *array holds it */
    return true;
}

pa_graph *pa_graph_new(const pa_lib *lib)
{
    pa_graph *g = calloc(1, sizeof *g);
    if (g)
        g->lib = lib;
    return g;
}

void pa_graph_free(pa_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_values; i++)
        pa_block_unref(g->value[i].block);
    free(g->value);
    free(g->node);
    free(g->input);
    free(g);
}

static void *copy(const void *from, int n, size_t element)
{
    void *to = malloc((size_t)(n ? n : 1) * element);
    if (to && n)
        memcpy(to, from, (size_t)n * element);
    return to;
}

pa_graph *pa_graph_copy(const pa_graph *g)
{
    pa_graph *c = pa_graph_new(g->lib);
    if (!c)
        return NULL;
    c->value = copy(g->value, g->n_values, sizeof *g->value);
    c->node = copy(g->node, g->n_nodes, sizeof *g->node);
    c->input = copy(g->input, g->n_inputs, sizeof *g->input);
    if (!c->value || !c->node || !c->input) {
        pa_graph_free(c); /* its counts are still 0: no block is released */
        return NULL;
    }
    c->prepare = g->prepare;
    c->n_values = c->cap_values = g->n_values;
    c->n_nodes = c->cap_nodes = g->n_nodes;
    c->n_inputs = c->cap_inputs = g->n_inputs;
    for (int i = 0; i < c->n_values; i++)
        if (c->value[i].block)
            pa_block_ref(c->value[i].block);
    return c;
}

int pa_graph_root(const pa_graph *g, int value)
{
    while (g->value[value].alias >= 0)
        value = g->value[value].alias;
    return value;
}

const pa_tensor *pa_graph_tensor(const pa_graph *g, int value)
{
    return value >= 0 && value < g->n_values ? &g->value[value].t : NULL;
}

/* ---- values --------------------------------------------------------------------------
 */

pa_status pa_graph_value(pa_graph *g, const pa_value *v, int *value, pa_error *err)
{
    if (!pa_grow(&g->value, g->n_values, &g->cap_values, sizeof *g->value))
        return pa_fail(err, PA_ENOMEM, "out of memory for a graph of %d values",
                       g->n_values);
    g->value[g->n_values] = *v;
    if (v->block)
        pa_block_ref(v->block);
    *value = g->n_values++;
    return PA_OK;
}

pa_status pa_graph_input(pa_graph *g, pa_dtype dtype, int rank, const int64_t *dim,
                         int *value, pa_error *err)
{
    pa_value v = {.place = PA_PLACE_INPUT, .alias = -1};
    pa_status status = pa_tensor_init(&v.t, dtype, rank, dim, err);
    if (status)
        return status;
    if (!pa_grow(&g->input, g->n_inputs, &g->cap_inputs, sizeof *g->input))
        return pa_fail(err, PA_ENOMEM, "out of memory for an input");
    status = pa_graph_value(g, &v, value, err);
    if (status == PA_OK)
        g->input[g->n_inputs++] = *value;
    return status;
}

pa_status pa_graph_block(pa_graph *g, pa_block *block, size_t offset, int rank,
                         const int64_t *dim, int *value, pa_error *err)
{
    pa_value v = {.place = PA_PLACE_BLOCK, .alias = -1, .block = block, .offset = offset};
    pa_status status = pa_tensor_init(&v.t, block->dtype, rank, dim, err);
    if (status)
        return status;
    if (offset > block->size || v.t.size > block->size - offset)
        return pa_fail(err, PA_EVALUE,
                       "parameter: %zu elements at %zu, but the block has %zu", v.t.size,
                       offset, block->size);
    v.t.data = (char *)block->data + offset * pa_dtype_size(block->dtype);
    return pa_graph_value(g, &v, value, err);
}

pa_status pa_graph_param(pa_graph *g, pa_block *block, size_t offset, int rank,
                         const int64_t *dim, bool trainable, int *value, pa_error *err)
{
    for (int i = 0; i < g->n_values; i++) {
        const pa_value *v = &g->value[i];
        if (v->block == block && v->offset == offset && v->t.rank == rank &&
            memcmp(v->t.dim, dim, (size_t)rank * sizeof *dim) == 0) {
            *value = i;
            return PA_OK;
        }
    }
    pa_status status = pa_graph_block(g, block, offset, rank, dim, value, err);
    if (status == PA_OK)
        g->value[*value].trainable = trainable;
    return status;
}

void pa_graph_replace_block(pa_graph *g, const pa_block *old, pa_block *with)
{
    for (int i = 0; i < g->n_values; i++) {
        pa_value *v = &g->value[i];
        if (v->block != old)
            continue;
        pa_block_unref(v->block);
        v->block = pa_block_ref(with);
        v->t.data = (char *)with->data + v->offset * pa_dtype_size(with->dtype);
        v->trainable = false;
    }
}

pa_status pa_graph_const(pa_graph *g, pa_dtype dtype, int rank, const int64_t *dim,
                         const void *data, int *value, pa_error *err)
{
    pa_tensor t = {0};
    pa_status status = pa_tensor_init(&t, dtype, rank, dim, err);
    if (status)
        return status;
    pa_block *block = pa_block_new(dtype, t.size);
    if (!block)
        return pa_fail(err, PA_ENOMEM, "out of memory for a constant of %zu elements",
                       t.size);
    if (t.size)
        memcpy(block->data, data, t.size * pa_dtype_size(dtype));
    status = pa_graph_block(g, block, 0, rank, dim, value, err);
    pa_block_unref(block);
    return status;
}

/* ---- calls and nodes -----------------------------------------------------------------
 */

/* The dtype whose variant runs an op: its attribute "dtype" when it has one (cast), else
 * the dtype of its first floating-point input. */
static pa_dtype variant(const pa_op *op, const pa_attr *attr, int n_in,
                        pa_tensor *const *in)
{
    int i = 0;
    for (const pa_attr_desc *d = op->attrs; d && d->name; d++, i++)
        if (strcmp(d->name, "dtype") == 0)
            return attr[i].num == PA_F64 ? PA_F64 : PA_F32;
    for (i = 0; i < n_in; i++)
        if (in[i]->dtype != PA_I32)
            return in[i]->dtype;
    return PA_F32;
}

pa_status pa_call_prepare(pa_call *c, pa_attr attr[PA_MAX_ATTR],
                          pa_tensor result[PA_MAX_OUT], const pa_lib *lib, int index,
                          int n_in, pa_tensor *const *in, int n_args, const pa_arg *args,
                          pa_error *err)
{
    const pa_op *op = lib->table[PA_F32]->ops[index];
    if (n_in < op->min_in || n_in > op->max_in)
        return pa_fail(err, PA_ETYPE, "%s: got %d inputs, expected %d to %d (%s)",
                       op->name, n_in, op->min_in, op->max_in,
                       op->in_names ? op->in_names : "");
    pa_status status = pa_attrs_set(attr, lib->table[PA_F32], op, n_args, args, err);
    if (status)
        return status;
    memset(c, 0, sizeof *c);
    c->table = lib->table[variant(op, attr, n_in, in)];
    c->op = c->table->ops[index];
    c->attr = attr;
    c->n_in = n_in;
    c->n_out = op->n_out;
    for (int i = 0; i < n_in; i++)
        c->in[i] = in[i];
    for (int i = 0; i < op->n_out; i++) {
        memset(&result[i], 0, sizeof result[i]);
        c->out[i] = &result[i];
    }
    return c->op->shape(c, err);
}

pa_status pa_graph_apply(pa_graph *g, const char *name, int n_in, const int *in,
                         int n_args, const pa_arg *args, int *out, pa_error *err)
{
    int index = pa_table_find(g->lib->table[PA_F32], name);
    if (index < 0)
        return pa_fail(err, PA_EVALUE, "unknown operator '%.60s'", name);
    pa_node node = {.back_of = -1};
    pa_tensor *tensors[PA_MAX_IN], result[PA_MAX_OUT];
    for (int i = 0; i < n_in && i < PA_MAX_IN; i++) {
        if (in[i] < 0 || in[i] >= g->n_values)
            return pa_fail(err, PA_EVALUE, "%s: input %d is not a value of this graph",
                           name, i);
        tensors[i] = &g->value[in[i]].t;
        node.in[i] = in[i];
    }
    pa_status status = pa_call_prepare(&node.call, node.attr, result, g->lib, index, n_in,
                                       tensors, n_args, args, err);
    if (status)
        return status;
    node.call.key = (uint64_t)g->n_nodes;
    if (!pa_grow(&g->node, g->n_nodes, &g->cap_nodes, sizeof *g->node))
        return pa_fail(err, PA_ENOMEM, "out of memory for a graph of %d nodes",
                       g->n_nodes);
    for (int i = 0; i < node.call.n_out; i++) {
        pa_value v = {.t = result[i], .place = PA_PLACE_ARENA, .alias = -1};
        v.t.data = NULL;
        if (i == 0 && (node.call.op->flags & PA_ALIAS))
            v.alias = in[0];
        status = pa_graph_value(g, &v, &node.out[i], err);
        if (status)
            return status;
        out[i] = node.out[i];
    }
    g->node[g->n_nodes++] = node;
    return PA_OK;
}

static const pa_op gradient_op = {
    .name = "gradient",
    .formula = "a recorded backward pass",
    .kind = PA_KIND_LAYER,
};

pa_status pa_graph_backward(pa_graph *g, const pa_step *s, pa_error *err)
{
    const pa_call *of = &g->node[s->node].call;
    pa_node node = {.call = {.op = &gradient_op, .table = of->table, .n_in = of->n_out},
                    .back_of = s->node};
    memcpy(node.in, s->dout, sizeof s->dout);
    memcpy(node.din, s->din, sizeof s->din);
    if (!pa_grow(&g->node, g->n_nodes, &g->cap_nodes, sizeof *g->node))
        return pa_fail(err, PA_ENOMEM, "out of memory for a graph of %d nodes",
                       g->n_nodes);
    g->node[g->n_nodes++] = node;
    return PA_OK;
}

/* ---- loops -----------------------------------------------------------------------
 */

int pa_graph_loop(const pa_graph *g, int end)
{
    if (!(g->node[end].call.op->flags & PA_LOOP_END))
        return -1;
    for (int k = end - 1; k >= 0; k--)
        if (g->node[k].call.n_out && g->node[k].out[0] == g->node[end].in[0])
            return g->node[k].call.op->flags & PA_LOOP_BEGIN ? k : -1;
    return -1;
}

bool pa_call_again(const pa_call *end, int rounds)
{
    const pa_tensor *y = end->out[0], *moving = end->out[1];
    const bool moves = y->dtype == PA_F64 ? *(const double *)moving->data > 0
                                          : *(const float *)moving->data > 0;
    if (!moves || rounds >= (int)end->attr[0].num)
        return false;
    if (end->in[0]->data != y->data)
        memcpy(end->in[0]->data, y->data, y->size * pa_dtype_size(y->dtype));
    return true;
}

/* ---- one call by itself
 * ---------------------------------------------------------------- */

pa_status pa_call_run(pa_call *c, const pa_ctx *ctx, pa_error *err)
{
    pa_status status = PA_OK;
    if (c->op->flags & PA_ALIAS) {
        size_t bytes = c->in[0]->size * pa_dtype_size(c->in[0]->dtype);
        if (bytes)
            memcpy(c->out[0]->data, c->in[0]->data, bytes);
        return PA_OK;
    }
    /* what is saved for backward has no reader here, but most forwards write it */
    bool saves = c->saved_bytes && !(c->op->flags & PA_SAVES_AT_WILL);
    c->scratch = c->scratch_bytes ? pa_alloc(c->scratch_bytes) : NULL;
    c->saved = saves ? pa_alloc(c->saved_bytes) : NULL;
    if ((c->scratch_bytes && !c->scratch) || (saves && !c->saved))
        status = pa_fail(err, PA_ENOMEM, "%s: out of memory for %zu bytes of scratch",
                         c->op->name, c->scratch_bytes + c->saved_bytes);
    else
        c->op->forward(c, ctx);
    pa_free(c->scratch);
    pa_free(c->saved);
    c->scratch = c->saved = NULL;
    return status;
}
