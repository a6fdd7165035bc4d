/* avg_pool2d - y = the mean of the x of a window, for each channel
 *
 * x: (B, H, W, C), y: (B, OH, OW, C). Pixels of the padding do not count, so a window at
 * the border has a smaller divisor, as in Keras.
 * Derivative: dx = sum over the windows that see the pixel of dy / their pixels. */
#include "kern/window.h"

typedef struct spot { /* one window: the first of its pixels, and how many */
    size_t first, rows, cols;
} spot;

static spot spot_of(const windows *w, size_t b, size_t oy, size_t ox)
{
    size_t y0, y1, x0, x1;
    window_range(oy, w->sh, w->top, w->kh, w->H, &y0, &y1);
    window_range(ox, w->sw, w->left, w->kw, w->W, &x0, &x1);
    return (spot){((b * w->H + y0) * w->W + x0) * w->C, y1 - y0, x1 - x0};
}

static void forward_window(const windows *w, const spot *s, real *y)
{
    const size_t C = w->C;
    const real count = (real)(s->rows * s->cols);
    memcpy(y, w->x + s->first, C * sizeof *y);
    for (size_t i = 0; i < s->rows; i++)
        for (size_t j = i == 0; j < s->cols; j++) {
            const real *p = w->x + s->first + (i * w->W + j) * C;
            PA_IVDEP
            for (size_t ch = 0; ch < C; ch++)
                y[ch] += p[ch];
        }
    PA_IVDEP
    for (size_t ch = 0; ch < C; ch++)
        y[ch] /= count;
}

static void backward_window(const windows *w, const spot *s, const real *dy)
{
    const size_t C = w->C;
    const real count = (real)(s->rows * s->cols);
    for (size_t i = 0; i < s->rows; i++)
        for (size_t j = 0; j < s->cols; j++) {
            real *p = w->out + s->first + (i * w->W + j) * C;
            if (w->apart) {
                PA_IVDEP
                for (size_t ch = 0; ch < C; ch++)
                    p[ch] = dy[ch] / count;
            } else {
                PA_IVDEP
                for (size_t ch = 0; ch < C; ch++)
                    p[ch] += dy[ch] / count;
            }
        }
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const windows *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->B, window_images(w), chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        real *y = w->out + lo * w->OH * w->OW * w->C;
        for (size_t oy = 0; oy < w->OH; oy++)
            for (size_t ox = 0; ox < w->OW; ox++, y += w->C) {
                const spot s = spot_of(w, lo, oy, ox);
                forward_window(w, &s, y);
            }
    }
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const windows *w = arg;
    const size_t n = w->H * w->W * w->C;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->B, window_images(w), chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        const real *dy = w->dy + lo * w->OH * w->OW * w->C;
        if (!w->cover)
            memset(w->out + lo * n, 0, n * sizeof *w->out);
        for (size_t oy = 0; oy < w->OH; oy++)
            for (size_t ox = 0; ox < w->OW; ox++, dy += w->C) {
                const spot s = spot_of(w, lo, oy, ox);
                backward_window(w, &s, dy);
            }
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
    w.dy = c->dout[0]->data;
    w.out = c->din[0]->data;
    window_run(&w, ctx, backward_chunk);
}

const pa_op PA_(pa_op_avg_pool2d) = {
    .name = "avg_pool2d",
    .formula = "mean x of each window",
    .kind = PA_KIND_LAYER,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = window_attrs,
    .shape = window_shape,
    .forward = forward,
    .backward = backward,
};
