/* loss.h - what the losses share.
 *
 * A loss is sum_b w_b l_b / B over the samples b, l_b being the mean over the sample's
 * rows of the row losses; w = 1 without weights. (Keras calls it sum_over_batch_size.)
 * Where there are weights they say what a sample is: w (B,), or (B, steps ...), of which
 * each step then counts as one. It is added up in double, in chunks of samples that the
 * shape alone decides.
 *
 * For element-wise losses a row is one element, for losses over classes the last axis. */
#include "base/shape.h"
#include "kern/loop.h"
#include "kern/reduce.h"

enum { LOSS_BLOCK = 512 };

typedef struct loss {
    const pa_call *c;
    size_t batch;    /* samples */
    size_t rows;     /* rows of one sample */
    size_t width;    /* elements of one row */
    size_t per;      /* samples of one chunk */
    const real *p;   /* (B, rows, width) */
    const void *t;   /* target */
    const real *w;   /* (batch,) or NULL */
    real *g;         /* (B, rows, width): saved slopes, or the gradient, or NULL */
    double *partial; /* (chunks,) */
    double dy;
} loss;

/* Writes the losses l: (n,) of rows [at, at + n) and, where s->g is wanted, their slopes
 * in pred times `scale` for each row; n rows belong to one sample unless there are no
 * weights. */
typedef void loss_rows(const loss *s, double *l, size_t at, size_t n, double scale);

static size_t loss_chunk(size_t sample)
{
    return sample < PA_CHUNK_MATH ? PA_CHUNK_MATH / sample : 1;
}

/* Checks dtypes, shapes and sizes; `classes`: the last axis holds classes; `sparse`: the
 * target is an int32 class number per row; `save`: room for a slope per element. */
static pa_status loss_shape(pa_call *c, bool classes, bool sparse, bool save,
                            pa_error *err)
{
    const char *op = c->op->name;
    const pa_tensor *p = c->in[0], *t = c->in[1], *w = c->n_in > 2 ? c->in[2] : NULL;
    char tp[128], tt[128];
    pa_tensor want = *p;
    pa_status st = pa_want_dtype(op, "pred", p, PA_REAL, err);
    st = st ? st : pa_want_dtype(op, "target", t, sparse ? PA_I32 : PA_REAL, err);
    if (st)
        return st;
    if (p->rank < (classes ? 2 : 1))
        return pa_fail(err, PA_EVALUE, "%s: pred has shape %s, expected %s", op,
                       pa_shape_text(p, tp),
                       classes ? "(batch, ..., classes)" : "(batch, ...)");
    if (p->size == 0)
        return pa_fail(err, PA_EVALUE,
                       "%s: pred has shape %s: the mean over nothing does not exist", op,
                       pa_shape_text(p, tp));
    if (sparse) {
        want.rank--;
        want.size /= (size_t)p->dim[p->rank - 1];
    }
    if (pa_want_same(op, "pred", &want, "target", t, "", NULL))
        return pa_fail(
            err, PA_EVALUE, "%s: pred has shape %s but target has shape %s, %s", op,
            pa_shape_text(p, tp), pa_shape_text(t, tt),
            sparse ? "expected pred's without the last dim: one class number a row"
                   : "expected the same; reshape the target");
    if (w) {
        st = pa_want_dtype(op, "sample_weight", w, PA_REAL, err);
        if (st)
            return st;
        st = pa_want_weights(op, w, p, p->rank - classes, err);
        if (st)
            return st;
    }
    size_t batch = w ? w->size : (size_t)p->dim[0];
    size_t chunks = (size_t)pa_chunks(batch, loss_chunk(p->size / batch));
    c->saved_bytes = save ? p->size * sizeof(real) : 0;
    if (!pa_mul(chunks, sizeof(double), &c->scratch_bytes))
        return pa_fail(err, PA_EOVERFLOW, "%s: scratch does not fit in memory", op);
    c->flops = (save ? 30.0 : 4.0) * (double)p->size;
    return pa_tensor_init(c->out[0], PA_REAL, 0, NULL, err);
}

static loss loss_of(const pa_call *c, bool classes)
{
    const pa_tensor *p = c->in[0], *w = c->n_in > 2 ? c->in[2] : NULL;
    loss s = {.c = c,
              .batch = w ? w->size : (size_t)p->dim[0],
              .p = p->data,
              .t = c->in[1]->data,
              .w = w ? w->data : NULL,
              .partial = c->scratch};
    s.width = classes ? (size_t)p->dim[p->rank - 1] : 1;
    s.rows = p->size / s.batch / s.width;
    s.per = loss_chunk(p->size / s.batch);
    return s;
}

/* ---- forward --------------------------------------------------------------------------
 */

PA_INLINE void loss_samples(const loss *s, ptrdiff_t chunk, loss_rows *rows)
{
    double l[LOSS_BLOCK], total = 0, mean = 1 / ((double)s->rows * (double)s->batch);
    size_t lo, hi;
    pa_chunk(s->batch, s->per, chunk, &lo, &hi);
    if (!s->w) { /* all rows alike */
        for (size_t at = lo * s->rows, end = hi * s->rows; at < end;) {
            size_t n = end - at < LOSS_BLOCK ? end - at : LOSS_BLOCK;
            rows(s, l, at, n, mean);
            total += PA_(pa_reduce_row_wide)(l, n);
            at += n;
        }
        s->partial[chunk] = total;
        return;
    }
    double sample[LOSS_BLOCK];
    size_t held = 0;
    for (; lo < hi; lo++) {
        double w = (double)s->w[lo], sum = 0;
        for (size_t at = lo * s->rows, end = at + s->rows; at < end;) {
            size_t n = end - at < LOSS_BLOCK ? end - at : LOSS_BLOCK;
            rows(s, l, at, n, mean * w);
            sum += PA_(pa_reduce_row_wide)(l, n);
            at += n;
        }
        sample[held++] = w * sum;
        if (held == LOSS_BLOCK || lo + 1 == hi) {
            total += PA_(pa_reduce_row_wide)(sample, held);
            held = 0;
        }
    }
    s->partial[chunk] = total;
}

static void loss_total(const loss *s, pa_task *task, const pa_ctx *ctx)
{
    ptrdiff_t chunks = pa_chunks(s->batch, s->per);
    double total = 0;
    pa_run(ctx, task, (void *)s, chunks);
    for (ptrdiff_t i = 0; i < chunks; i++)
        total += s->partial[i];
    *(real *)s->c->out[0]->data = (real)(total / ((double)s->rows * (double)s->batch));
}

/* ---- backward -------------------------------------------------------------------------
 */

/* dpred = dy times the slopes that forward saved. */
static void loss_scale_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const loss *s = arg;
    const real *saved = s->c->saved;
    real *g = s->g, dy = (real)s->dy;
    size_t lo, hi;
    (void)worker;
    pa_chunk(s->c->in[0]->size, PA_CHUNK_CHEAP, chunk, &lo, &hi);
    for (size_t i = lo; i < hi; i++)
        g[i] = dy * saved[i];
}

static inline void loss_backward_saved(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    loss s = {
        .c = c, .g = c->din[0]->data, .dy = (double)*(const real *)c->dout[0]->data};
    pa_run(ctx, loss_scale_chunk, &s, pa_chunks(c->in[0]->size, PA_CHUNK_CHEAP));
}
