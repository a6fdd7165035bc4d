/* concatenate - arrays one behind the other along `axis`; all other dims are equal
 *
 * Derivative: each array's part of dy. */
#include <string.h>

#include "base/shape.h"
#include "op.h"

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

/* Each value is `outer` runs of bytes; the result has them side by side. `apart`: from
 * the result to the values, else from the values to the result. */
static void copy(const pa_call *c, char *all, pa_tensor *const *part, bool apart)
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
        for (size_t o = 0; part[i] && o < outer && bytes; o++) {
            char *one = (char *)part[i]->data + o * bytes, *place = all + o * row;
            memcpy(apart ? one : place, apart ? place : one, bytes);
        }
        all += bytes;
    }
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    (void)ctx;
    copy(c, c->out[0]->data, c->in, false);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    (void)ctx;
    copy(c, c->dout[0]->data, c->din, true);
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
