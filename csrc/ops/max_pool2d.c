/* max_pool2d - y = the largest x of a window, for each channel; NaN where there is one
 *
 * x: (B, H, W, C), y: (B, OH, OW, C). Pixels of the padding do not take part.
 * Derivative: dy goes to the first of the largest x of the window, in the order of
 * memory, as in TensorFlow and PyTorch; where windows overlap the parts are added up.
 * Which one it was is found again from x and y: cheaper than to write it down. */
#include "kern/window.h"

PA_INLINE vr load(const real *p, int n)
{
    return n == VR_N ? vr_load(p) : vr_load_n(p, n);
}

PA_INLINE void store(real *p, vr v, int n)
{
    if (n == VR_N)
        vr_store(p, v);
    else
        vr_store_n(p, v, n);
}

typedef struct spot { /* one window: the first of its pixels, and how many */
    const real *x;
    size_t rows, cols, pixel, row; /* elements from pixel to pixel, from row to row */
} spot;

PA_INLINE vr largest(const spot *s, size_t ch, int n)
{
    vr m = load(s->x + ch, n);
    for (size_t i = 0; i < s->rows; i++) {
        const real *p = s->x + i * s->row + ch;
        for (size_t j = 0; j < s->cols; j++, p += s->pixel) {
            const vr v = load(p, n);
            m = vr_sel(vrm_or(vr_gt(v, m), vr_ne(v, v)), v, m);
        }
    }
    return m;
}

PA_INLINE void pass_back(const spot *s, const real *y, const real *dy, real *dx,
                         const bool apart, size_t ch, int n)
{
    const vr top = load(y + ch, n), zero = vr_zero();
    const vrm nan = vr_ne(top, top);
    vr left = load(dy + ch, n); /* what has not been given away */
    vrm open = vr_eq(zero, zero);
    for (size_t i = 0; i < s->rows; i++) {
        const size_t from = i * s->row + ch;
        for (size_t j = 0; j < s->cols; j++) {
            const size_t at = from + j * s->pixel;
            const vr v = load(s->x + at, n);
            const vrm same = vrm_or(vr_eq(v, top), vrm_and(nan, vr_ne(v, v)));
            const vrm hit = vrm_and(open, same);
            vr part = vr_sel(hit, left, zero);
            open = vrm_and(open, vrm_not(same));
            store(dx + at, apart ? part : vr_add(load(dx + at, n), part), n);
        }
    }
}

static spot spot_of(const windows *w, size_t b, size_t oy, size_t ox, size_t *first)
{
    size_t y0, y1, x0, x1;
    window_range(oy, w->sh, w->top, w->kh, w->H, &y0, &y1);
    window_range(ox, w->sw, w->left, w->kw, w->W, &x0, &x1);
    *first = ((b * w->H + y0) * w->W + x0) * w->C;
    return (spot){w->x + *first, y1 - y0, x1 - x0, w->C, w->W * w->C};
}

static void forward_image(const windows *w, size_t b)
{
    size_t first;
    real *y = w->out + b * w->OH * w->OW * w->C;
    for (size_t oy = 0; oy < w->OH; oy++)
        for (size_t ox = 0; ox < w->OW; ox++, y += w->C) {
            const spot s = spot_of(w, b, oy, ox, &first);
            size_t ch = 0;
            for (; ch + VR_N <= w->C; ch += VR_N)
                vr_store(y + ch, largest(&s, ch, VR_N));
            if (ch < w->C)
                vr_store_n(y + ch, largest(&s, ch, (int)(w->C - ch)), (int)(w->C - ch));
        }
}

PA_INLINE void backward_windows(const windows *w, size_t b, const bool apart)
{
    size_t first, at = b * w->OH * w->OW * w->C;
    for (size_t oy = 0; oy < w->OH; oy++)
        for (size_t ox = 0; ox < w->OW; ox++, at += w->C) {
            const spot s = spot_of(w, b, oy, ox, &first);
            size_t ch = 0;
            for (; ch + VR_N <= w->C; ch += VR_N)
                pass_back(&s, w->y + at, w->dy + at, w->out + first, apart, ch, VR_N);
            if (ch < w->C)
                pass_back(&s, w->y + at, w->dy + at, w->out + first, apart, ch,
                          (int)(w->C - ch));
        }
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const windows *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->B, window_images(w), chunk, &lo, &hi);
    for (; lo < hi; lo++)
        forward_image(w, lo);
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const windows *w = arg;
    const size_t n = w->H * w->W * w->C;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->B, window_images(w), chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        if (!w->cover)
            memset(w->out + lo * n, 0, n * sizeof *w->out);
        if (w->apart)
            backward_windows(w, lo, true);
        else
            backward_windows(w, lo, false);
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    windows w = windows_of(c);
    w.x = c->in[0]->data;
    w.out = c->out[0]->data;
    window_run(&w, ctx, forward_chunk);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    windows w = windows_of(c);
    w.x = c->in[0]->data;
    w.y = c->out[0]->data;
    w.dy = c->dout[0]->data;
    w.out = c->din[0]->data;
    window_run(&w, ctx, backward_chunk);
}

const pa_op PA_(pa_op_max_pool2d) = {
    .name = "max_pool2d",
    .formula = "largest x of each window",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN | PA_NEEDS_OUT,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = window_attrs,
    .shape = window_shape,
    .forward = forward,
    .backward = backward,
};
