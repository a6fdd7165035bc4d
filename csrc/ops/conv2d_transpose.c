/* conv2d_transpose - y such that the cross-correlation that takes images of y's shape to
 * x's has y as its gradient: each x puts the kernel, times itself, into y
 *
 *     y[b, i sh + u dh - top, j sw + v dw - left, c] += x[b, i, j, o] kernel[u, v, c, o]
 * x: (B, OH, OW, O), kernel: (kh, kw, C, O), y: (B, H, W, C), (H, W) being `size`, which
 * conv2d with the same strides, dilation and padding must take to (OH, OW).
 *
 * It is conv2d's backward pass run forward, and conv2d its derivative in x: dx = dy *
 * kernel; dkernel is conv2d's with dy as the image and x as the gradient. */
#include "base/shape.h"
#include "kern/conv_image.h"

enum { STRIDES, DILATION, PADDING, SIZE }; /* attributes */

static const pa_attr_desc attrs[] = {
    {"strides", PA_ATTR_LIST, 0, 1, 1e9, "pixels of y from one x to the next: (y, x)"},
    {"dilation", PA_ATTR_LIST, 0, 1, 1e9,
     "pixels from one place of the kernel to the next: (y, x)"},
    {"padding", PA_ATTR_LIST, 0, 0, 1e9,
     "rows and columns cut off: (top, bottom, left, right)"},
    {"size", PA_ATTR_LIST, 0, 1, 1e9, "height and width of the result"},
    {0},
};

/* The convolution from y to x. */
static pa_conv geometry(const pa_call *c)
{
    const int64_t *x = c->in[0]->dim, *k = c->in[1]->dim;
    pa_conv g = {.B = (size_t)x[0], .OH = (size_t)x[1], .OW = (size_t)x[2]};
    g.H = pa_conv_at(&c->attr[SIZE], 0, 0);
    g.W = pa_conv_at(&c->attr[SIZE], 1, 0);
    g.kh = (size_t)k[0];
    g.kw = (size_t)k[1];
    g.C = g.Cg = (size_t)k[2];
    g.O = g.Og = (size_t)k[3];
    g.groups = 1;
    pa_conv_windows(&g, &c->attr[STRIDES], &c->attr[DILATION], &c->attr[PADDING]);
    PA_(pa_conv_plan)(&g);
    return g;
}

static pa_status check_lists(const pa_call *c, pa_error *err)
{
    static const char *const names[] = {"strides", "dilation", "padding", "size"};
    for (int i = STRIDES; i <= SIZE; i++) {
        const pa_attr *a = &c->attr[i];
        const int n = i == PADDING ? 4 : 2;
        if (a->n != n && (a->n != 0 || i == SIZE))
            return pa_fail(err, PA_EVALUE,
                           "conv2d_transpose: %s: got %d numbers, expected %d", names[i],
                           a->n, n);
        for (int j = 0; j < a->n; j++)
            if (a->list[j] < (i != PADDING) || a->list[j] > 1 << 30)
                return pa_fail(
                    err, PA_EVALUE,
                    "conv2d_transpose: %s: got %lld, expected pixels from %d to 2^30",
                    names[i], (long long)a->list[j], i != PADDING);
    }
    return PA_OK;
}

static pa_status check_shapes(const pa_call *c, pa_error *err)
{
    char text[128], x_text[128];
    const pa_tensor *x = c->in[0], *k = c->in[1];
    pa_status st = pa_want_dtype("conv2d_transpose", "x", x, PA_REAL, err);
    st = st ? st : pa_want_dtype("conv2d_transpose", "kernel", k, PA_REAL, err);
    if (st)
        return st;
    pa_shape_text(x, x_text);
    if (x->rank != 4)
        return pa_fail(err, PA_EVALUE,
                       "conv2d_transpose: x: got shape %s, expected four axes: (batch, "
                       "height, width, channels)",
                       x_text);
    if (k->rank != 4 || k->size == 0 || k->dim[3] != x->dim[3])
        return pa_fail(err, PA_EVALUE,
                       "conv2d_transpose: kernel: got shape %s, expected (height, width, "
                       "filters, %lld), none of them 0, because x has shape %s",
                       pa_shape_text(k, text), (long long)x->dim[3], x_text);
    return PA_OK;
}

/* Does the convolution of an image of `size` give x's height and width? */
static pa_status check_fit(const pa_call *c, pa_error *err)
{
    for (int i = 0; i < 2; i++) {
        const pa_attr *pad = &c->attr[PADDING];
        const int64_t padded = c->attr[SIZE].list[i] +
                               (int64_t)pa_conv_at(pad, 2 * i, 0) +
                               (int64_t)pa_conv_at(pad, 2 * i + 1, 0);
        const double spread = 1 + ((double)c->in[1]->dim[i] - 1) *
                                      (double)pa_conv_at(&c->attr[DILATION], i, 1);
        const int64_t have = c->in[0]->dim[1 + i];
        int64_t gives = 0;
        if (spread <= (double)padded)
            gives = (padded - (int64_t)spread) /
                        (int64_t)pa_conv_at(&c->attr[STRIDES], i, 1) +
                    1;
        if (gives != have)
            return pa_fail(err, PA_EVALUE,
                           "conv2d_transpose: size: a result %lld pixels %s belongs to x "
                           "of %lld, but x has %lld",
                           (long long)c->attr[SIZE].list[i], i ? "wide" : "high",
                           (long long)gives, (long long)have);
    }
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
    const int64_t dim[4] = {(int64_t)g.B, (int64_t)g.H, (int64_t)g.W, (int64_t)g.C};
    st = pa_tensor_init(c->out[0], PA_REAL, 4, dim, err);
    if (st)
        return st;
    size_t n;
    if (!PA_(pa_conv_scratch)(&g, &n))
        return pa_fail(err, PA_EOVERFLOW,
                       "conv2d_transpose: an image with its padding does not fit in "
                       "memory");
    c->saved_bytes = 0;
    c->scratch_bytes = n * sizeof(real);
    c->flops = 2.0 * (double)c->in[0]->size * (double)(g.kh * g.kw * g.C);
    return PA_OK;
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_conv g = geometry(c);
    const pa_conv_job w = {.g = &g,
                           .x = c->out[0]->data, /* not read: no gradient wants it */
                           .kernel = c->in[1]->data,
                           .dy = c->in[0]->data,
                           .dx = c->out[0]->data,
                           .scratch = c->scratch};
    if (g.B > 0)
        PA_(pa_conv_backward)(&w, ctx->pool);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_conv g = geometry(c);
    pa_conv_job w = {.g = &g, .x = c->dout[0]->data, .kernel = c->in[1]->data};
    w.scratch = c->scratch;
    if (c->din[0]) {
        w.y = c->din[0]->data;
        PA_(pa_conv_forward)(&w, ctx->pool);
    }
    if (c->din[1]) {
        w.dy = c->in[0]->data;
        w.dkernel = c->din[1]->data;
        PA_(pa_conv_backward)(&w, ctx->pool);
    }
}

const pa_op PA_(pa_op_conv2d_transpose) = {
    .name = "conv2d_transpose",
    .formula = "the y whose gradient under cross-correlation with kernel is x",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .in_names = "x, kernel",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
