/* concatenate - arrays one behind the other along `axis`; all other dims are equal
 *
 * Derivative: each array's part of dy. */
#include <string.h>

#include "base/shape.h"
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *first = c->in[0];
    int64_t dim[PA_MAX_RANK];
    int axis;
    pa_status st =
        pa_axis("concatenate", (int64_t)c->attr[0].num, first->rank, &axis, err);
    if (st)
        return st;
    for (int d = 0; d < first->rank; d++)
        dim[d] = first->dim[d];
    for (int i = 0; i < c->n_in; i++) {
        const pa_tensor *x = c->in[i];
        st = pa_want_dtype("concatenate", "values", x, first->dtype, err);
        bool fits = x->rank == first->rank;
        for (int d = 0; fits && d < first->rank; d++)
            fits = d == axis || x->dim[d] == first->dim[d];
        char a[128], b[128];
        if (!st && !fits)
            st = pa_fail(
                err, PA_EVALUE,
                "concatenate: values 0 and %d have shapes %s and %s, which differ "
                "elsewhere than along axis %d",
                i, pa_shape_text(first, a), pa_shape_text(x, b), axis);
        if (st)
            return st;
        if (i && x->dim[axis] > INT64_MAX - dim[axis])
            return pa_fail(err, PA_EOVERFLOW, "concatenate: the result is too big");
        dim[axis] += i ? x->dim[axis] : 0;
    }
    c->saved_bytes = c->scratch_bytes = 0;
    st = pa_tensor_init(c->out[0], first->dtype, first->rank, dim, err);
    c->flops = st ? 0 : (double)c->out[0]->size;
    return st;
}

enum { CHUNK_BYTES = 1 << 18 };

typedef struct job { /* one value and its place in the first row of the result */
    char *part, *place;
    size_t size, run, row; /* bytes: of the value, of its runs, from run to run */
    bool apart;
} job;

static void move(const job *j, size_t from, char *place, size_t n)
{
    char *one = j->part + from;
    memcpy(j->apart ? one : place, j->apart ? place : one, n);
}

static void chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *j = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(j->size, CHUNK_BYTES, i, &lo, &hi);
    const size_t run = j->run, row = j->row, at = lo % run;
    char *place = j->place + lo / run * row;
    if (at) { /* the end of a run that the chunk before began */
        const size_t n = run - at < hi - lo ? run - at : hi - lo;
        move(j, lo, place + at, n);
        lo += n;
        place += row;
    }
    for (; hi - lo >= run; lo += run, place += row)
        move(j, lo, place, run);
    if (lo < hi)
        move(j, lo, place, hi - lo);
}

/* Each value is `outer` runs of bytes; the result has them side by side. `apart`: from
 * the result to the values, else from the values to the result. */
static void copy(const pa_call *c, char *all, pa_tensor *const *part, bool apart,
                 const pa_ctx *ctx)
{
    const pa_tensor *y = c->out[0];
    int axis = (int)c->attr[0].num;
    size_t outer = 1, run = pa_dtype_size(y->dtype);
    axis += axis < 0 ? y->rank : 0;
    for (int d = 0; d < axis; d++)
        outer *= (size_t)y->dim[d];
    for (int d = axis + 1; d < y->rank; d++)
        run *= (size_t)y->dim[d];
    size_t row = run * (size_t)y->dim[axis];
    for (int i = 0; i < c->n_in; i++) {
        size_t bytes = run * (size_t)c->in[i]->dim[axis];
        if (part[i] && outer && bytes) {
            job j = {part[i]->data, all, outer * bytes, bytes, row, apart};
            pa_run(ctx, chunk, &j, pa_chunks(j.size, CHUNK_BYTES));
        }
        all += bytes;
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    copy(c, c->out[0]->data, c->in, false, ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    copy(c, c->dout[0]->data, c->din, true, ctx);
}

static const pa_attr_desc attrs[] = {
    {"axis", PA_ATTR_INT, 0, -PA_MAX_RANK, PA_MAX_RANK - 1, "axis to join along"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_concatenate) = {
    .name = "concatenate",
    .formula = "values side by side along axis",
    .kind = PA_KIND_SHAPE,
    .min_in = 1,
    .max_in = PA_MAX_IN,
    .n_out = 1,
    .in_names = "values",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
