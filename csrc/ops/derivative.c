/* derivative - y = f'(x) of an element-wise operator f, named by the attribute `of`
 *
 * x, y: any shape. What gradients of gradients are written with: the chain rule's factor
 * as a value of its own. It has no backward; f'' is written with operators where it is
 * wanted (pyact/autodiff.py). */
#include <math.h>

#include "base/shape.h"
#include "kern/loop.h"

enum { OF, PARAM }; /* attributes */

static const pa_attr_desc attrs[] = {
    {"of", PA_ATTR_MAP, -1, -1, 1e6, "the element-wise operator"},
    {"param", PA_ATTR_REAL, NAN, -HUGE_VAL, HUGE_VAL,
     "its parameter (alpha, beta); default: its own"},
    {0},
};

static const pa_op *map_of(const pa_call *c)
{
    return c->table->ops[(int)c->attr[OF].num];
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    pa_status st = pa_want_dtype(c->op->name, "x", x, PA_REAL, err);
    if (!st && c->attr[OF].num < 0)
        return pa_fail(err, PA_EVALUE,
                       "%s: of: expected the name of an element-wise operator",
                       c->op->name);
    if (!st)
        st = pa_tensor_init(c->out[0], PA_REAL, x->rank, x->dim, err);
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = (double)x->size;
    return st;
}

typedef struct job { /* x, y: (n,) */
    const pa_map *map;
    real *x, *y;
    size_t n;
    real p;
} job;

static void chunk(void *arg, ptrdiff_t i, int worker)
{
    job *j = arg;
    (void)worker;
    size_t lo, hi;
    pa_chunk(j->n, PA_CHUNK_MATH, i, &lo, &hi);
    const ptrdiff_t n = (ptrdiff_t)(hi - lo), step = sizeof(real);
    char *x = (char *)(j->x + lo), *y = (char *)(j->y + lo);
    if (j->map->has_param)
        j->map->grad((char *[]){x, (char *)&j->p, y}, &n, (ptrdiff_t[]){step, 0, step},
                     NULL);
    else
        j->map->grad((char *[]){x, y}, &n, (ptrdiff_t[]){step, step}, NULL);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_op *f = map_of(c);
    job j = {f->map, c->in[0]->data, c->out[0]->data, c->in[0]->size, 0};
    if (f->map->has_param)
        j.p = (real)(isnan(c->attr[PARAM].num) ? f->attrs[0].init : c->attr[PARAM].num);
    pa_run(ctx, chunk, &j, pa_chunks(j.n, PA_CHUNK_MATH));
}

const pa_op PA_(pa_op_derivative) = {
    .name = "derivative",
    .formula = "f'(x) of the operator `of`",
    .kind = PA_KIND_LAYER,
    .flags = PA_NO_GRAD | PA_IN_PLACE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
