/* loop.c - the batches of an epoch: gather, step, sum, and now and then look up. */
#include <stdint.h>
#include <string.h>

#include "base/watch.h"
#include "graph/graph.h"

static size_t row_size(const pa_tensor *t)
{
    return t->rank && t->dim[0] ? t->size / (size_t)t->dim[0] : 1;
}

/* Rows that lie in order and need no conversion are read where they are. */
static bool can_bind(const pa_feed *f, const pa_tensor *to, const int64_t *order)
{
    size_t bytes = pa_dtype_size(to->dtype);
    bool same = (f->dtype == PA_SRC_F32 && to->dtype == PA_F32) ||
                (f->dtype == PA_SRC_F64 && to->dtype == PA_F64);
    return same && !order && f->row_step == (ptrdiff_t)(row_size(to) * bytes) &&
           (uintptr_t)f->data % bytes == 0;
}

static bool holds_nan(const void *data, pa_dtype dtype, size_t n)
{
    const double *d = data;
    const float *f = data;
    bool found = false;
    if (dtype == PA_F64)
        for (size_t i = 0; i < n; i++)
            found |= d[i] != d[i];
    else
        for (size_t i = 0; i < n; i++)
            found |= f[i] != f[i];
    return found;
}

static pa_status feed(const pa_loop_args *a, pa_program *p, int64_t first, int64_t rows,
                      pa_error *err)
{
    for (int i = 0; i < pa_program_inputs(p); i++) {
        const pa_feed *f = &a->feeds[i];
        pa_tensor *to = pa_program_input(p, i);
        if (can_bind(f, to, a->order)) {
            const char *data = (const char *)f->data + first * f->row_step;
            if (!f->reject_nan || !holds_nan(data, to->dtype, to->size)) {
                pa_program_bind(p, i, data);
                continue;
            } /* otherwise it fails below, where rows have numbers */
        }
        pa_program_bind(p, i, NULL);
        pa_status status = pa_feed_rows(f, to, rows, a->order, first, err);
        if (status)
            return status;
    }
    return PA_OK;
}

static void collect(const pa_loop_args *a, const pa_program *p, int64_t first)
{
    const pa_tensor *t;
    for (int k = 0; (t = pa_program_output(p, k)); k++) {
        if (a->sums && a->sums[k])
            for (size_t i = 0; i < t->size; i++)
                a->sums[k][i] += ((const double *)t->data)[i];
        if (a->results && a->results[k]) {
            size_t bytes = row_size(t) * pa_dtype_size(t->dtype);
            memcpy((char *)a->results[k] + (size_t)first * bytes, t->data,
                   t->size * pa_dtype_size(t->dtype));
        }
    }
}

/* In lanes, so that the order of the sum is fixed and the compiler can use vectors. */
static double sum_of_squares(const pa_tensor *t)
{
    enum { LANES = 16 };
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    if (t->dtype == PA_F32) {
        const float *x = t->data;
        for (; i + LANES <= t->size; i += LANES)
            for (size_t k = 0; k < LANES; k++)
                lane[k] += (double)x[i + k] * (double)x[i + k];
        for (; i < t->size; i++)
            sum += (double)x[i] * (double)x[i];
    } else {
        const double *x = t->data;
        for (; i < t->size; i++)
            lane[i % LANES] += x[i] * x[i];
    }
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

static bool is_looked_at(const pa_loop_args *a, int64_t batch)
{
    return a->watch_every > 0 && batch % a->watch_every == 0;
}

static void look_at_gradients(const pa_loop_args *a, int64_t rows)
{
    for (int i = 0; i < a->n_watched; i++)
        a->squares[i] += sum_of_squares(&a->watched[i]);
    a->squares[a->n_watched] += 1;
    a->squares[a->n_watched + 1] += (double)rows;
}

static void unbind(pa_program *p)
{
    for (int i = 0; p && i < pa_program_inputs(p); i++)
        pa_program_bind(p, i, NULL);
}

pa_status pa_loop_run(const pa_loop_args *a, pa_error *err)
{
    pa_watch *watch = pa_watch_get();
    pa_ctx ctx = a->ctx;
    pa_status status = PA_OK;
    for (int64_t b = a->first; b < a->last && status == PA_OK; b++) {
        int64_t begin = b * a->batch;
        int64_t rows = a->rows - begin < a->batch ? a->rows - begin : a->batch;
        const bool looks = is_looked_at(a, b);
        pa_program *whole = looks && a->look ? a->look : a->full;
        pa_program *p = rows == a->batch ? whole : a->rest;
        if (a->lr)
            ctx.lr = a->lr[b - a->first];
        if ((status = feed(a, p, begin, rows, err)))
            break;
        if ((status = pa_program_step(p, &ctx))) {
            const void *overflowed;
            if (pa_program_not_finite(p, &overflowed))
                pa_fail(err, status,
                        overflowed ? "update: not finite"
                                   : "loss or gradient: not finite");
            else if (status == PA_ENOMEM)
                pa_fail(err, status, "out of memory for a copy of the parameters");
            break;
        }
        if (a->loss)
            a->loss[b - a->first] = pa_program_loss(p);
        collect(a, p, begin);
        if (looks)
            look_at_gradients(a, rows);
        ctx.step++;
        if (a->done)
            *a->done = b - a->first + 1;
        if (a->updates)
            ++*a->updates;
        if ((b & 15) == 15 && b + 1 < a->last && pa_watch_stops(watch))
            status = PA_EINTR;
    }
    pa_program *const programs[] = {a->full, a->rest, a->look};
    for (int i = 0; i < 3; i++)
        unbind(programs[i]);
    if (status == PA_EINTR)
        pa_fail(err, status, "interrupted");
    return status;
}
