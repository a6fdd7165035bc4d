/* guard.c - gradients are looked at before the first update; what comes out of it mostly
 * need not be.
 *
 * From the largest gradient and from bounds on parameters and slots follows how large the
 * new ones can be (pa_op.grow). While that is far from what the dtype can hold, nothing
 * can overflow, and the bounds are carried on to the next step. They grow faster than
 * what they bound; when they no longer serve, the arrays are measured. Where the true
 * ones do not serve either, the step is made on trial: a copy is kept, what came out is
 * measured, and the copy is put back if that is not finite. What layers keep is little,
 * is bounded by nothing and always made on trial. */
#include "graph/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below this no product of two numbers comes near an overflow, and no sum of squares in
 * double that clipping forms. */
static const double limit[] = {[PA_F32] = 1e18, [PA_F64] = 1e140};

/* Roundings of one step: each is 6e-8 of a float32 at most. */
static const double slack = 1 + 1e-6;

enum { STATE = -1, PARAM, GRAD, SLOT };

/* Gradients of so few elements are looked at together, and faster than asked about. */
enum { NEAR = 1 << 13 };

typedef struct part {
    char *data;
    size_t size; /* elements */
    pa_dtype dtype;
    int operand; /* of the optimizer's call, or STATE */
    bool told;   /* GRAD: a call writes its bound */
    double bound;
} part;

struct pa_guard {
    const pa_lib *lib;
    pa_optimizer *opt; /* NULL: there is none */
    const pa_op *op;   /* of the optimizer */
    pa_attr attr[PA_MAX_ATTR];
    double limit;
    int n_grads, cap_grads, n_state, n_parts, cap_parts;
    part *grads, *parts; /* what is read, what is changed */
    int n_kept;          /* parts, in this step */
    char *kept;          /* their copy, kept_bytes long */
    size_t kept_bytes;
};

void pa_guard_free(pa_guard *g)
{
    if (!g)
        return;
    free(g->grads);
    free(g->parts);
    pa_free(g->kept);
    free(g);
}

static bool add(pa_guard *g, const pa_tensor *t, int operand)
{
    part **list = operand == GRAD ? &g->grads : &g->parts;
    int *n = operand == GRAD ? &g->n_grads : &g->n_parts;
    int *cap = operand == GRAD ? &g->cap_grads : &g->cap_parts;
    if (!pa_grow(list, *n, cap, sizeof **list))
        return false;
    (*list)[(*n)++] = (part){t->data, t->size, t->dtype, operand, false, 0};
    return true;
}

/* Does t begin where p ends, but for padding, which is 0? Then p is made to hold both. */
static bool join(part *p, const pa_tensor *t)
{
    const size_t unit = pa_dtype_size(t->dtype);
    const size_t apart = (size_t)((char *)t->data - p->data);
    if (p->dtype != t->dtype || (char *)t->data < p->data || apart % unit ||
        apart > pa_align(p->size * unit) || p->size > NEAR || t->size > NEAR)
        return false;
    p->size = apart / unit + t->size;
    return true;
}

static bool add_param(pa_guard *g, const pa_value *param, const pa_tensor *grad)
{
    pa_tensor t = param->t;
    if (limit[t.dtype] < g->limit)
        g->limit = limit[t.dtype];
    if (!(g->n_grads && join(&g->grads[g->n_grads - 1], grad)) && !add(g, grad, GRAD))
        return false;
    if (!add(g, &t, PARAM))
        return false;
    for (int k = 0; k < g->opt->n_slots; k++) {
        pa_block *slot = pa_optimizer_slot(g->opt, param->block, k);
        if (!slot)
            return false;
        t.data = (char *)slot->data + param->offset * pa_dtype_size(t.dtype);
        if (!add(g, &t, SLOT + k))
            return false;
    }
    return true;
}

static bool add_all(pa_guard *g, const pa_graph *graph, const pa_steps *steps, int n,
                    const int *grad, const pa_tensor *tensor)
{
    for (int t = steps->n - steps->n_update; t < steps->n; t++) {
        const pa_node *node = &graph->node[steps->step[t].node];
        const pa_kind kind = node->call.op->kind;
        if (kind == PA_KIND_GRADIENT || kind == PA_KIND_OPTIMIZER)
            break;
        if (!add(g, &tensor[node->in[0]], STATE))
            return false;
        g->n_state++;
    }
    for (int v = 0; v < n && g->opt; v++)
        if (graph->value[v].trainable && grad[v] >= 0 &&
            !add_param(g, &graph->value[v], &tensor[grad[v]]))
            return false;
    return true;
}

pa_status pa_guard_new(pa_guard **made, const pa_graph *graph, const pa_steps *steps,
                       pa_optimizer *opt, int n, const int *grad, const pa_tensor *tensor,
                       pa_error *err)
{
    const pa_table *table = graph->lib->table[PA_F32];
    pa_guard *g = *made = calloc(1, sizeof *g);
    if (!g)
        return pa_fail(err, PA_ENOMEM, "out of memory for a program");
    g->lib = graph->lib;
    g->opt = opt;
    g->op = opt ? table->ops[pa_table_find(table, opt->op)] : NULL;
    for (int i = 0; opt && i < opt->n_args; i++)
        g->attr[i].num = opt->args[i].num;
    g->limit = HUGE_VAL;
    return add_all(g, graph, steps, n, grad, tensor)
               ? PA_OK
               : pa_fail(err, PA_ENOMEM, "out of memory for a program");
}

int pa_guard_states(const pa_guard *g)
{
    return g->n_state;
}

static size_t bytes_of(const part *p)
{
    return p->size * pa_dtype_size(p->dtype);
}

double *pa_guard_bound(pa_guard *g, const pa_tensor *grad)
{
    for (int i = 0; i < g->n_grads; i++) {
        part *p = &g->grads[i];
        if (p->data == grad->data && p->size == grad->size && p->size > NEAR) {
            p->told = true;
            return &p->bound;
        }
    }
    return NULL;
}

/* ---- bounds ------------------------------------------------------------------------ */

void pa_guard_forget(pa_guard *g)
{
    if (g->opt)
        g->opt->most[PARAM] = INFINITY;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double largest(const pa_guard *g, const part *p, bool positive, pa_pool *pool)
{
    return g->lib->table[p->dtype]->largest(p->data, p->size, positive, pool);
}

static double largest_gradient(const pa_guard *g, pa_pool *pool)
{
    double most = 0;
    for (int i = g->n_grads - 1; i >= 0; i--) { /* the last was written last */
        const part *p = &g->grads[i];
        const bool serves = p->told && p->bound <= g->limit;
        most = larger(most, serves ? p->bound : largest(g, p, false, pool));
    }
    return most;
}

static void measure(const pa_guard *g, double *most, pa_pool *pool)
{
    for (int k = 0; k < g->opt->n_slots; k++)
        most[SLOT + k] = 0;
    most[PARAM] = 0;
    for (int i = g->n_state; i < g->n_parts; i++) {
        const part *p = &g->parts[i];
        const bool positive = g->op->positive >> p->operand & 1;
        most[p->operand] = larger(most[p->operand], largest(g, p, positive, pool));
    }
}

/* Is a step from within these bounds finite? Then they are moved to behind it. */
static bool step_within(const pa_guard *g, const pa_ctx *ctx, double *most)
{
    const int n = SLOT + g->opt->n_slots;
    bool within = g->op->grow != NULL;
    for (int i = 0; i < n; i++)
        within = within && most[i] <= g->limit;
    if (!within)
        return false;
    g->op->grow(g->attr, ctx, most);
    for (int i = 0; i < n; i++) {
        most[i] *= slack;
        within = within && most[i] <= g->limit;
    }
    return within;
}

/* Will parameters and slots be finite behind this step, whose gradients are? */
static bool foreseen(pa_guard *g, const pa_ctx *ctx, double gradient)
{
    double *most = g->opt->most, true_most[2 + PA_MAX_SLOTS];
    most[GRAD] = gradient;
    if (step_within(g, ctx, most))
        return true;
    measure(g, true_most, ctx->pool);
    true_most[GRAD] = gradient;
    if (!step_within(g, ctx, true_most)) {
        pa_guard_forget(g);
        return false;
    }
    memcpy(most, true_most, sizeof true_most);
    return true;
}

/* ---- steps on trial ---------------------------------------------------------------- */

static pa_status keep(pa_guard *g, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += bytes_of(&g->parts[i]);
    if (bytes > g->kept_bytes) {
        pa_free(g->kept);
        g->kept_bytes = 0;
        g->kept = pa_alloc(bytes);
        if (!g->kept)
            return PA_ENOMEM;
        g->kept_bytes = bytes;
    }
    g->n_kept = n;
    char *to = g->kept;
    for (int i = 0; i < n; to += bytes_of(&g->parts[i++]))
        memcpy(to, g->parts[i].data, bytes_of(&g->parts[i]));
    return PA_OK;
}

static void put_back(pa_guard *g)
{
    const char *from = g->kept;
    for (int i = 0; i < g->n_kept; from += bytes_of(&g->parts[i++]))
        memcpy(g->parts[i].data, from, bytes_of(&g->parts[i]));
}

pa_status pa_guard_enter(pa_guard *g, const pa_ctx *ctx)
{
    const double gradient = largest_gradient(g, ctx->pool);
    if (!(gradient < INFINITY))
        return PA_EVALUE;
    const bool fine = !g->opt || foreseen(g, ctx, gradient);
    return keep(g, fine ? g->n_state : g->n_parts);
}

static const void *leave(pa_guard *g, int first, int last, pa_pool *pool)
{
    for (int i = first; i < last; i++)
        if (!(largest(g, &g->parts[i], false, pool) < INFINITY)) {
            put_back(g);
            return g->parts[i].data;
        }
    return NULL;
}

const void *pa_guard_leave_state(pa_guard *g, pa_pool *pool)
{
    return leave(g, 0, g->n_state, pool);
}

const void *pa_guard_leave(pa_guard *g, pa_pool *pool)
{
    return leave(g, g->n_state, g->n_kept, pool);
}
