/* slice - y[i] = x[begin + i step] along each axis, for i < size
 *
 * `begin` has one number for each of the leading axes that are cut; `size` as many, -1
 * meaning all that is there; `step` as many or none (1), not 0, and negative steps walk
 * backwards. A negative begin counts from the end. Axes not named are whole.
 *
 * Derivative: dx is 0 but for the elements that were taken. */
#include <string.h>

#include "kern/move.h"

enum { BEGIN = 0, SIZE = 1, STEP = 2 };

typedef struct cut {
    int64_t begin, size, step;
} cut;

static pa_status cut_axis(const pa_call *c, int i, cut *k, pa_error *err)
{
    int64_t n = c->in[0]->dim[i];
    *k = (cut){0, n, 1};
    if (i >= c->attr[BEGIN].n)
        return PA_OK;
    k->step = c->attr[STEP].n ? c->attr[STEP].list[i] : 1;
    k->begin = c->attr[BEGIN].list[i];
    k->size = c->attr[SIZE].list[i];
    if (k->step == 0 || k->step < -n - 1 || k->step > n + 1)
        k->step = k->step < 0 ? -n - 1 : k->step > 0 ? n + 1 : 0;
    if (k->step == 0)
        return pa_fail(err, PA_EVALUE, "slice: step: got 0 for axis %d", i);
    if (k->begin < -n || k->begin > n)
        return pa_fail(err, PA_EVALUE,
                       "slice: begin: got %lld for axis %d of %lld elements",
                       (long long)k->begin, i, (long long)n);
    if (k->begin < 0)
        k->begin += n;
    int64_t ahead = k->step > 0 ? n - k->begin : k->begin < n ? k->begin + 1 : 0;
    int64_t pace = k->step > 0 ? k->step : -k->step;
    int64_t most = ahead / pace + (ahead % pace != 0);
    if (k->size == -1)
        k->size = most;
    if (k->size < 0 || k->size > most)
        return pa_fail(
            err, PA_EVALUE,
            "slice: size: got %lld for axis %d, expected at most the %lld elements "
            "that are there",
            (long long)k->size, i, (long long)most);
    return PA_OK;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    const pa_attr *a = c->attr;
    int64_t dim[PA_MAX_RANK];
    if (x->dtype != PA_REAL)
        return pa_fail(err, PA_ETYPE, "slice: x is %s, expected %s",
                       pa_dtype_name(x->dtype), pa_dtype_name(PA_REAL));
    if (a[BEGIN].n > x->rank || a[SIZE].n != a[BEGIN].n ||
        (a[STEP].n != 0 && a[STEP].n != a[BEGIN].n))
        return pa_fail(err, PA_EVALUE,
                       "slice: begin, size and step have %d, %d and %d numbers; expected "
                       "equally many, at most %d",
                       a[BEGIN].n, a[SIZE].n, a[STEP].n, x->rank);
    for (int i = 0; i < x->rank; i++) {
        cut k;
        pa_status st = cut_axis(c, i, &k, err);
        if (st)
            return st;
        dim[i] = k.size;
    }
    c->saved_bytes = c->scratch_bytes = 0;
    pa_status st = pa_tensor_init(c->out[0], PA_REAL, x->rank, dim, err);
    c->flops = st ? 0 : (double)c->out[0]->size;
    return st;
}

/* Walks y's dims; *at is where in x the walk begins. */
static pa_move plan(const pa_call *c, ptrdiff_t *at)
{
    const pa_tensor *x = c->in[0];
    pa_move m = {.rank = x->rank};
    ptrdiff_t sx[PA_MAX_RANK];
    pa_strides(x, sx);
    pa_strides(c->out[0], m.ts);
    *at = 0;
    for (int i = 0; i < x->rank; i++) {
        cut k;
        cut_axis(c, i, &k, NULL);
        m.dim[i] = (size_t)k.size;
        m.fs[i] = sx[i] * (ptrdiff_t)k.step;
        *at += sx[i] * (ptrdiff_t)k.begin;
    }
    return m;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    ptrdiff_t at;
    pa_move m = plan(c, &at);
    if (c->out[0]->size == 0)
        return;
    m.to = c->out[0]->data;
    m.from = (const real *)c->in[0]->data + at;
    PA_(pa_move_run)(&m, ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    ptrdiff_t at;
    pa_move m = plan(c, &at), back = m;
    if (!c->din[0])
        return;
    memset(c->din[0]->data, 0, c->din[0]->size * sizeof(real));
    if (c->out[0]->size == 0)
        return;
    memcpy(back.ts, m.fs, sizeof m.fs);
    memcpy(back.fs, m.ts, sizeof m.ts);
    back.to = (real *)c->din[0]->data + at;
    back.from = c->dout[0]->data;
    PA_(pa_move_run)(&back, ctx);
}

static const pa_attr_desc attrs[] = {
    {"begin", PA_ATTR_LIST, 0, 0, 0, "first index of each axis; negative: from the end"},
    {"size", PA_ATTR_LIST, 0, 0, 0, "elements of each axis; -1: all that is there"},
    {"step", PA_ATTR_LIST, 0, 0, 0, "step of each axis, not 0; none: 1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_slice) = {
    .name = "slice",
    .formula = "x[begin + i step]",
    .kind = PA_KIND_SHAPE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
