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

/* A window's pixels, `pixel` elements apart, its rows `row`. Inlined with rows and cols
 * known for the usual windows. */
PA_INLINE vr largest(const real *x, size_t rows, size_t cols, size_t pixel, size_t row,
                     int n)
{
    vr m = load(x, n);
    for (size_t i = 0; i < rows; i++, x += row) {
        const real *p = x;
        for (size_t j = 0; j < cols; j++, p += pixel) {
            const vr v = load(p, n);
            m = vr_sel(vr_ne(v, v), v, vr_max(v, m));
        }
    }
    return m;
}

/* What has not been given away is `left`. */
PA_INLINE void pass_back(const real *x, size_t rows, size_t cols, size_t pixel,
                         size_t row, vr top, vr left, real *dx, const bool apart,
                         const bool nan, int n)
{
    const vr zero = vr_zero();
    const vrm lost = vr_ne(top, top);
    for (size_t i = 0; i < rows; i++, x += row, dx += row) {
        const real *p = x;
        real *to = dx;
        for (size_t j = 0; j < cols; j++, p += pixel, to += pixel) {
            const vr v = load(p, n);
            vrm hit = vr_eq(v, top);
            if (nan)
                hit = vrm_or(hit, vrm_and(lost, vr_ne(v, v)));
            const vr part = vr_sel(hit, left, zero);
            left = vr_sel(hit, zero, left);
            store(to, apart ? part : vr_add(load(to, n), part), n);
        }
    }
}

typedef struct pixels { /* a row of windows: */
    const real *x;      /* its first row of pixels */
    size_t first, rows; /* that row's place in the image, and how many */
} pixels;

static pixels pixels_of(const windows *w, size_t b, size_t oy)
{
    size_t y0, y1;
    window_range(oy, w->sh, w->top, w->kh, w->H, &y0, &y1);
    const size_t first = (b * w->H + y0) * w->W * w->C;
    return (pixels){w->x + first, first, y1 - y0};
}

/* Windows come in the order of memory, so that a vector may run on into what the next
 * ones will write; only before an end are its lanes cut. */
static void forward_image(const windows *w, size_t b)
{
    const size_t C = w->C, row = w->W * C;
    real *y = w->out + b * w->OH * w->OW * C, *y_end = y + w->OH * w->OW * C;
    const real *x_end = w->x + w->B * w->H * row;
    for (size_t oy = 0; oy < w->OH; oy++) {
        const pixels r = pixels_of(w, b, oy);
        const real *last = r.x + (r.rows - 1) * row;
        for (size_t ox = 0; ox < w->OW; ox++, y += C) {
            size_t x0, x1;
            window_range(ox, w->sw, w->left, w->kw, w->W, &x0, &x1);
            const bool two = r.rows == 2 && x1 - x0 == 2;
            for (size_t ch = 0; ch < C; ch += VR_N) {
                const real *x = r.x + x0 * C + ch;
                const bool whole = (size_t)(y_end - y) >= ch + VR_N &&
                                   (size_t)(x_end - last) >= (x1 - 1) * C + ch + VR_N;
                if (two && whole)
                    vr_store(y + ch, largest(x, 2, 2, C, row, VR_N));
                else if (whole)
                    vr_store(y + ch, largest(x, r.rows, x1 - x0, C, row, VR_N));
                else {
                    const int n = (int)(C - ch);
                    store(y + ch, largest(x, r.rows, x1 - x0, C, row, n), n);
                }
            }
        }
    }
}

/* The same the other way round, row of pixels by row of pixels: vectors run on where
 * every pixel is written, and end before the row does. */
PA_INLINE void backward_windows(const windows *w, size_t b, const bool apart)
{
    const size_t C = w->C, row = w->W * C;
    const real *y = w->y + b * w->OH * w->OW * C,
               *y_end = w->y + w->B * w->OH * w->OW * C;
    const real *dy = w->dy + (y - w->y);
    for (size_t oy = 0; oy < w->OH; oy++) {
        const pixels r = pixels_of(w, b, oy);
        for (size_t ox = 0; ox < w->OW; ox++, y += C, dy += C) {
            size_t x0, x1;
            window_range(ox, w->sw, w->left, w->kw, w->W, &x0, &x1);
            for (size_t ch = 0; ch < C; ch += VR_N) {
                const real *x = r.x + x0 * C + ch;
                real *dx = w->out + r.first + x0 * C + ch;
                const bool whole =
                    C - ch >= VR_N || (C < VR_N && w->cover && x1 * C + VR_N <= row + C &&
                                       (size_t)(y_end - y) >= VR_N);
                const int n = whole ? VR_N : (int)(C - ch);
                const vr top = load(y + ch, n), left = load(dy + ch, n);
                if (vrm_any(vr_ne(top, top)))
                    pass_back(x, r.rows, x1 - x0, C, row, top, left, dx, apart, true, n);
                else if (apart && whole && r.rows == 2 && x1 - x0 == 2)
                    pass_back(x, 2, 2, C, row, top, left, dx, true, false, VR_N);
                else
                    pass_back(x, r.rows, x1 - x0, C, row, top, left, dx, apart, false, n);
            }
        }
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
