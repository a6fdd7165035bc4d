/* conv2d - y = act(x * kernel + bias), x * kernel being the cross-correlation
 *
 *     z[b, i, j, o] = bias[o] + sum over u, v, c of
 *                     x[b, i sh + u dh - top, j sw + v dw - left, c] kernel[u, v, c, o]
 * x: (B, H, W, C), kernel: (kh, kw, C / groups, O), bias: (O,), y: (B, OH, OW, O); x
 * counts as 0 outside. Results o of a group see only its channels. With dz = dy act'(z),
 * the gradients are the sums with dz in the place of y.
 *
 * With `pool` the result is the largest of each window of act(z), as max_pool2d finds it
 * (windows side by side, what is left over at the ends is dropped), and the convolution
 * itself never leaves the cache; act is relu or none. Which pixel it was is saved, a
 * byte.
 *
 * One image after the other, every step of it while it is in cache. Images are cut into
 * chunks by size alone; gradients of the kernel are added up in chunk order. act'(z) is
 * saved for backward, but that of relu is seen in y. */
#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "kern/conv_image.h"
#include "kern/loop.h"

enum { ACTIVATION, PARAM, STRIDES, DILATION, PADDING, GROUPS, POOL }; /* attributes */

static const pa_attr_desc attrs[] = {
    {"activation", PA_ATTR_MAP, -1, -1, 1e6,
     "element-wise operator applied to the result"},
    {"param", PA_ATTR_REAL, NAN, -HUGE_VAL, HUGE_VAL,
     "the activation's parameter (alpha, beta); default: its own"},
    {"strides", PA_ATTR_LIST, 0, 1, 1e9, "pixels from one result to the next: (y, x)"},
    {"dilation", PA_ATTR_LIST, 0, 1, 1e9,
     "pixels from one place of the kernel to the next: (y, x)"},
    {"padding", PA_ATTR_LIST, 0, 0, 1e9,
     "rows and columns of zeros: (top, bottom, left, right)"},
    {"groups", PA_ATTR_INT, 1, 1, 1e9, "channels are cut into so many groups"},
    {"pool", PA_ATTR_LIST, 0, 1, 15,
     "pixels of a window (y, x) of max-pooling behind the activation; default: none"},
    {0},
};

enum { POOL_MOST = 15 }; /* a place in a window is a byte */

/* ---- shape ---------------------------------------------------------------------------
 */

static pa_conv geometry(const pa_call *c)
{
    const int64_t *x = c->in[0]->dim, *k = c->in[1]->dim;
    pa_conv g = {.B = (size_t)x[0], .H = (size_t)x[1], .W = (size_t)x[2]};
    g.C = (size_t)x[3];
    g.kh = (size_t)k[0];
    g.kw = (size_t)k[1];
    g.Cg = (size_t)k[2];
    g.O = (size_t)k[3];
    pa_conv_windows(&g, &c->attr[STRIDES], &c->attr[DILATION], &c->attr[PADDING]);
    g.groups = (size_t)c->attr[GROUPS].num;
    g.Og = g.O / g.groups;
    g.OH = (g.Hp - 1 - (g.kh - 1) * g.dh) / g.sh + 1;
    g.OW = (g.Wp - 1 - (g.kw - 1) * g.dw) / g.sw + 1;
    g.ph = pa_conv_at(&c->attr[POOL], 0, 0);
    g.pw = pa_conv_at(&c->attr[POOL], 1, 0);
    PA_(pa_conv_plan)(&g);
    return g;
}

static pa_status check_lists(const pa_call *c, pa_error *err)
{
    static const struct {
        int attr, n;
        const char *name, *what;
    } lists[] = {{STRIDES, 2, "strides", "(y, x)"},
                 {DILATION, 2, "dilation", "(y, x)"},
                 {PADDING, 4, "padding", "(top, bottom, left, right)"},
                 {POOL, 2, "pool", "(y, x)"}};
    for (int i = 0; i < 4; i++) {
        const pa_attr *a = &c->attr[lists[i].attr];
        if (a->n != 0 && a->n != lists[i].n)
            return pa_fail(err, PA_EVALUE, "conv2d: %s: got %d numbers, expected %d: %s",
                           lists[i].name, a->n, lists[i].n, lists[i].what);
        for (int j = 0; j < a->n; j++)
            if (a->list[j] < (lists[i].attr == PADDING ? 0 : 1) || a->list[j] > 1 << 30)
                return pa_fail(err, PA_EVALUE,
                               "conv2d: %s: got %lld, expected a number of pixels from "
                               "%d to 2^30",
                               lists[i].name, (long long)a->list[j],
                               lists[i].attr != PADDING);
    }
    return PA_OK;
}

static pa_status check_shapes(const pa_call *c, pa_error *err)
{
    static const char *const names[] = {"x", "kernel", "bias"};
    char text[128], x_text[128];
    const pa_tensor *x = c->in[0], *k = c->in[1];
    for (int i = 0; i < c->n_in; i++) {
        pa_status st = pa_want_dtype("conv2d", names[i], c->in[i], PA_REAL, err);
        if (st)
            return st;
    }
    pa_shape_text(x, x_text);
    if (x->rank != 4)
        return pa_fail(
            err, PA_EVALUE,
            "conv2d: x: got shape %s, expected four axes: (batch, height, width, "
            "channels)",
            x_text);
    if (k->rank != 4 || k->size == 0)
        return pa_fail(
            err, PA_EVALUE,
            "conv2d: kernel: got shape %s, expected (height, width, channels of "
            "a group, filters), none of them 0",
            pa_shape_text(k, text));
    const long long groups = (long long)c->attr[GROUPS].num;
    if (k->dim[2] > INT64_MAX / groups || k->dim[2] * groups != x->dim[3] ||
        k->dim[3] % groups != 0)
        return pa_fail(
            err, PA_EVALUE,
            "conv2d: kernel: got shape %s, expected (height, width, %lld / %lld, "
            "a multiple of %lld), because x has shape %s and there are %lld "
            "groups",
            pa_shape_text(k, text), (long long)x->dim[3], groups, groups, x_text, groups);
    if (c->n_in > 2 && (c->in[2]->rank != 1 || c->in[2]->dim[0] != k->dim[3]))
        return pa_fail(
            err, PA_EVALUE,
            "conv2d: bias: got shape %s, expected (%lld,), one for each filter",
            pa_shape_text(c->in[2], text), (long long)k->dim[3]);
    return PA_OK;
}

/* The kernel, spread by its dilation, must fit into the image with its padding. */
static pa_status check_fit(const pa_call *c, pa_error *err)
{
    for (int i = 0; i < 2; i++) {
        const pa_attr *pad = &c->attr[PADDING];
        const double size = (double)c->in[0]->dim[1 + i];
        const double have = size + (double)pa_conv_at(pad, 2 * i, 0) +
                            (double)pa_conv_at(pad, 2 * i + 1, 0);
        const double need = 1 + ((double)c->in[1]->dim[i] - 1) *
                                    (double)pa_conv_at(&c->attr[DILATION], i, 1);
        if (need > have || need > 1e15)
            return pa_fail(
                err, PA_EVALUE,
                "conv2d: kernel: it is %.0f pixels %s with its dilation, but the "
                "image has %.0f, and %.0f with padding; use a smaller kernel or "
                "padding=\"same\"",
                need, i ? "wide" : "high", size, have);
    }
    return PA_OK;
}

static bool is_relu(const pa_fused *f)
{
    return f->op && strcmp(f->op->name, "relu") == 0;
}

static pa_status check_pool(const pa_call *c, const pa_conv *g, const pa_fused *f,
                            pa_error *err)
{
    if (g->ph == 0)
        return PA_OK;
    if (f->op && !is_relu(f))
        return pa_fail(err, PA_EVALUE,
                       "conv2d: pool: it goes with relu or no activation, got '%s'; use "
                       "max_pool2d behind it",
                       f->op->name);
    const pa_attr *pool = &c->attr[POOL];
    if (pool->list[0] > POOL_MOST || pool->list[1] > POOL_MOST)
        return pa_fail(err, PA_EVALUE,
                       "conv2d: pool: got a window of %lld x %lld pixels, expected at "
                       "most %d x %d; use max_pool2d behind it",
                       (long long)pool->list[0], (long long)pool->list[1], POOL_MOST,
                       POOL_MOST);
    if (g->PH == 0 || g->PW == 0)
        return pa_fail(err, PA_EVALUE,
                       "conv2d: pool: a window of %zu x %zu pixels is larger than the "
                       "result, which has %zu x %zu",
                       g->ph, g->pw, g->OH, g->OW);
    return PA_OK;
}

static pa_status shape(pa_call *c, pa_error *err)
{
    pa_status st = check_lists(c, err);
    st = st ? st : check_shapes(c, err);
    st = st ? st : check_fit(c, err);
    if (st)
        return st;
    const pa_conv g = geometry(c);
    const pa_fused f = pa_fused_of(c, c->attr[ACTIVATION].num, c->attr[PARAM].num);
    const int64_t dim[4] = {(int64_t)g.B, (int64_t)g.PH, (int64_t)g.PW, (int64_t)g.O};
    st = check_pool(c, &g, &f, err);
    st = st ? st : pa_tensor_init(c->out[0], PA_REAL, 4, dim, err);
    if (st)
        return st;
    size_t n;
    if (!PA_(pa_conv_scratch)(&g, &n))
        return pa_fail(err, PA_EOVERFLOW,
                       "conv2d: an image with its padding does not fit in memory");
    c->saved_bytes = f.op && !is_relu(&f) ? c->out[0]->size * sizeof(real) : 0;
    if (g.ph)
        c->saved_bytes = g.B * PA_(pa_conv_places)(&g);
    c->scratch_bytes = n * sizeof(real);
    c->flops =
        2.0 * (double)(g.B * g.OH * g.OW) * (double)g.O * (double)(g.kh * g.kw * g.Cg);
    return PA_OK;
}

/* ---- forward and backward ------------------------------------------------------------
 */

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_conv g = geometry(c);
    pa_conv_job w = {.g = &g, .x = c->in[0]->data, .kernel = c->in[1]->data};
    w.bias = c->n_in > 2 ? c->in[2]->data : NULL;
    w.y = c->out[0]->data;
    w.act = pa_fused_of(c, c->attr[ACTIVATION].num, c->attr[PARAM].num);
    w.relu = is_relu(&w.act);
    w.slope = w.act.op && !w.relu ? c->saved : NULL;
    w.place = g.ph ? c->saved : NULL;
    w.scratch = c->scratch;
    PA_(pa_conv_forward)(&w, ctx->pool);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_conv g = geometry(c);
    pa_conv_job w = {.g = &g, .x = c->in[0]->data, .kernel = c->in[1]->data};
    w.act = pa_fused_of(c, c->attr[ACTIVATION].num, c->attr[PARAM].num);
    w.relu = is_relu(&w.act);
    w.slope = w.act.op && !w.relu ? c->saved : NULL;
    w.place = g.ph ? c->saved : NULL;
    w.y = c->out[0]->data;
    w.dy = c->dout[0]->data;
    w.dx = c->din[0] ? c->din[0]->data : NULL;
    w.dkernel = c->din[1] ? c->din[1]->data : NULL;
    w.dbias = c->n_in > 2 && c->din[2] ? c->din[2]->data : NULL;
    w.scratch = c->scratch;
    PA_(pa_conv_backward)(&w, ctx->pool);
}

const pa_op PA_(pa_op_conv2d) = {
    .name = "conv2d",
    .formula = "activation(x * kernel + bias), * being cross-correlation; with pool the "
               "largest of each window",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN | PA_NEEDS_OUT | PA_SAVES_AT_WILL,
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .in_names = "x, kernel, bias",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
