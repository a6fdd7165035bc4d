/* window.h - what pooling operators share: windows over the pixels of channels-last
 * images. x: (B, H, W, C), y: (B, OH, OW, C). */
#ifndef PA_KERN_WINDOW_H
#define PA_KERN_WINDOW_H

#include <string.h>

#include "base/shape.h"
#include "kern/loop.h"
#include "simd/simd.h"

enum { SIZE, STRIDES, PADDING }; /* attributes */

static const pa_attr_desc window_attrs[] = {
    {"size", PA_ATTR_LIST, 0, 1, 1e9, "pixels of a window: (y, x)"},
    {"strides", PA_ATTR_LIST, 0, 1, 1e9,
     "pixels from one window to the next: (y, x); default: size"},
    {"padding", PA_ATTR_LIST, 0, 0, 1e9,
     "rows and columns around the image that windows reach into and that do not count: "
     "(top, bottom, left, right)"},
    {NULL, 0, 0, 0, 0, NULL},
};

typedef struct windows {
    size_t B, H, W, C, OH, OW;
    size_t kh, kw, sh, sw, top, left;
    bool apart; /* no pixel is in two windows */
    bool cover; /* every pixel is in exactly one */
    const real *x, *y, *dy;
    real *out;
} windows;

static inline int64_t window_pad(const pa_call *c, int i)
{
    return c->attr[PADDING].n ? c->attr[PADDING].list[i] : 0;
}

static inline windows windows_of(const pa_call *c)
{
    const pa_tensor *x = c->in[0], *y = c->out[0];
    const int64_t *size = c->attr[SIZE].list;
    const int64_t *step = c->attr[STRIDES].n ? c->attr[STRIDES].list : size;
    windows w = {.B = (size_t)x->dim[0], .H = (size_t)x->dim[1], .W = (size_t)x->dim[2]};
    w.C = (size_t)x->dim[3];
    w.OH = (size_t)y->dim[1];
    w.OW = (size_t)y->dim[2];
    w.kh = (size_t)size[0];
    w.kw = (size_t)size[1];
    w.sh = (size_t)step[0];
    w.sw = (size_t)step[1];
    w.top = (size_t)window_pad(c, 0);
    w.left = (size_t)window_pad(c, 2);
    w.apart = w.sh >= w.kh && w.sw >= w.kw;
    w.cover = w.sh == w.kh && w.sw == w.kw && w.top == 0 && w.left == 0 &&
              w.OH * w.sh == w.H && w.OW * w.sw == w.W;
    return w;
}

static pa_status window_list(const pa_call *c, int attr, int n, int64_t low,
                             const char *what, pa_error *err)
{
    const pa_attr *a = &c->attr[attr];
    if (a->n != n && (a->n != 0 || attr == SIZE))
        return pa_fail(err, PA_EVALUE, "%s: %s: got %d numbers, expected %d: %s",
                       c->op->name, c->op->attrs[attr].name, a->n, n, what);
    for (int i = 0; i < a->n; i++)
        if (a->list[i] < low || a->list[i] > 1 << 30)
            return pa_fail(err, PA_EVALUE,
                           "%s: %s: got %lld, expected a number of pixels from %lld to "
                           "2^30",
                           c->op->name, c->op->attrs[attr].name, (long long)a->list[i],
                           (long long)low);
    return PA_OK;
}

static pa_status window_shape(pa_call *c, pa_error *err)
{
    const char *op = c->op->name;
    const pa_tensor *x = c->in[0];
    char text[128];
    pa_status st = pa_want_dtype(op, "x", x, PA_REAL, err);
    st = st ? st : window_list(c, SIZE, 2, 1, "(y, x)", err);
    st = st ? st : window_list(c, STRIDES, 2, 1, "(y, x)", err);
    st = st ? st : window_list(c, PADDING, 4, 0, "(top, bottom, left, right)", err);
    if (st)
        return st;
    if (x->rank != 4)
        return pa_fail(err, PA_EVALUE,
                       "%s: x: got shape %s, expected four axes: (batch, height, width, "
                       "channels)",
                       op, pa_shape_text(x, text));
    int64_t dim[4] = {x->dim[0], 0, 0, x->dim[3]};
    for (int i = 0; i < 2; i++) {
        const int64_t size = c->attr[SIZE].list[i], n = x->dim[1 + i];
        const int64_t before = window_pad(c, 2 * i), after = window_pad(c, 2 * i + 1);
        const int64_t step = c->attr[STRIDES].n ? c->attr[STRIDES].list[i] : size;
        if (before >= size || after >= size)
            return pa_fail(
                err, PA_EVALUE,
                "%s: padding: got %lld and %lld, expected less than the window's "
                "%lld pixels, so that every window sees the image",
                op, (long long)before, (long long)after, (long long)size);
        if (n == 0 || size - before - after > n)
            return pa_fail(
                err, PA_EVALUE,
                "%s: size: a window of %lld pixels is larger than the image, which "
                "has %lld (shape %s); use a smaller window or padding=\"same\"",
                op, (long long)size, (long long)n, pa_shape_text(x, text));
        dim[1 + i] = (n + before + after - size) / step + 1;
    }
    c->saved_bytes = c->scratch_bytes = 0;
    st = pa_tensor_init(c->out[0], PA_REAL, 4, dim, err);
    c->flops = st ? 0
                  : (double)c->out[0]->size * (double)c->attr[SIZE].list[0] *
                        (double)c->attr[SIZE].list[1];
    return st;
}

/* The pixels [*lo, *hi) of n that window i sees. */
PA_INLINE void window_range(size_t i, size_t step, size_t before, size_t size, size_t n,
                            size_t *lo, size_t *hi)
{
    const size_t from = i * step;
    *lo = from > before ? from - before : 0;
    *hi = from + size - before < n ? from + size - before : n;
}

/* Images are shared out in chunks of some ten microseconds, by size alone. */
static inline size_t window_images(const windows *w)
{
    const size_t n = w->H * w->W * w->C;
    return n < PA_CHUNK_CHEAP / 4 ? PA_CHUNK_CHEAP / 4 / (n + 1) + 1 : 1;
}

static inline void window_run(const windows *w, const pa_ctx *ctx, pa_task *task)
{
    if (w->C > 0)
        pa_run(ctx, task, (void *)(uintptr_t)w, pa_chunks(w->B, window_images(w)));
}

#endif
