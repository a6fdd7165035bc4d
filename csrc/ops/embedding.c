/* embedding - y[..., :] = table[indices[...], :]
 *
 * table: (V, D), indices: (...) whole numbers, held as reals; y: (..., D).
 * Derivative: dtable[v] = sum of dy over the places whose index is v, in their order.
 * An index that is no whole number in [0, V) gives a row of NaN and no gradient: layers
 * refuse such data before they come here. */
#include <math.h>
#include <string.h>

#include "base/shape.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *table = c->in[0], *indices = c->in[1];
    char text[128];
    int64_t dim[PA_MAX_RANK];
    pa_status st = pa_want_dtype(c->op->name, "table", table, PA_REAL, err);
    st = st ? st : pa_want_dtype(c->op->name, "indices", indices, PA_REAL, err);
    if (st)
        return st;
    if (table->rank != 2 || table->dim[0] < 1)
        return pa_fail(
            err, PA_EVALUE,
            "%s: table: got shape %s, expected (rows, features), rows at least 1",
            c->op->name, pa_shape_text(table, text));
    if (indices->rank >= PA_MAX_RANK)
        return pa_fail(err, PA_EVALUE, "%s: indices: got rank %d, expected at most %d",
                       c->op->name, indices->rank, PA_MAX_RANK - 1);
    for (int i = 0; i < indices->rank; i++)
        dim[i] = indices->dim[i];
    dim[indices->rank] = table->dim[1];
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = (double)indices->size * (double)table->dim[1];
    return pa_tensor_init(c->out[0], PA_REAL, indices->rank + 1, dim, err);
}

/* The row that an index names, or -1. */
static ptrdiff_t row_of(const pa_call *c, size_t i)
{
    const double v = (double)((const real *)c->in[1]->data)[i];
    return v >= 0 && v < (double)c->in[0]->dim[0] && v == floor(v) ? (ptrdiff_t)v : -1;
}

/* Rows of y that a chunk looks up. */
static size_t rows_of(size_t D)
{
    return D < PA_CHUNK_CHEAP ? PA_CHUNK_CHEAP / (D ? D : 1) : 1;
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    const pa_call *c = arg;
    const size_t D = (size_t)c->in[0]->dim[1];
    const real *table = c->in[0]->data;
    size_t lo, hi;
    (void)worker;
    pa_chunk(c->in[1]->size, rows_of(D), chunk, &lo, &hi);
    real *y = (real *)c->out[0]->data + lo * D;
    for (size_t i = lo; i < hi; i++, y += D) {
        const ptrdiff_t row = row_of(c, i);
        if (row >= 0)
            memcpy(y, table + (size_t)row * D, D * sizeof *y);
        for (size_t j = 0; row < 0 && j < D; j++)
            y[j] = NAN;
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    pa_call copy = *c;
    const size_t D = (size_t)c->in[0]->dim[1];
    pa_run(ctx, forward_chunk, &copy, pa_chunks(c->in[1]->size, rows_of(D)));
}

enum { COLS = 64 }; /* of a chunk; every chunk walks all indices in their order */

static void chunk(void *arg, ptrdiff_t i, int worker)
{
    const pa_call *c = arg;
    size_t lo, hi;
    (void)worker;
    const size_t D = (size_t)c->in[0]->dim[1], V = (size_t)c->in[0]->dim[0];
    pa_chunk(D, COLS, i, &lo, &hi);
    real *to = c->din[0]->data;
    const real *dy = c->dout[0]->data;
    for (size_t v = 0; v < V; v++)
        memset(to + v * D + lo, 0, (hi - lo) * sizeof *to);
    for (size_t k = 0; k < c->in[1]->size; k++) {
        const ptrdiff_t row = row_of(c, k);
        if (row < 0)
            continue;
        real *at = to + (size_t)row * D;
        PA_IVDEP
        for (size_t j = lo; j < hi; j++)
            at[j] += dy[k * D + j];
    }
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    pa_call copy = *c;
    if (c->din[0])
        pa_run(ctx, chunk, &copy, pa_chunks((size_t)c->in[0]->dim[1], COLS));
}

const pa_op PA_(pa_op_embedding) = {
    .name = "embedding",
    .formula = "table[indices, :]",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .no_din = 1 << 1,
    .in_names = "table, indices",
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
