/* reshape - the same elements in the same order under another shape; no data move
 *
 * `shape` has the new dims; one of them may be -1 and follows from the rest. */
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    const pa_attr *a = &c->attr[0];
    int64_t dim[PA_MAX_RANK];
    size_t known = 1;
    int free = -1;
    for (int i = 0; i < a->n; i++) {
        dim[i] = a->list[i];
        if (dim[i] == -1 && free < 0)
            free = i;
        else if (dim[i] < 0)
            return pa_fail(
                err, PA_EVALUE,
                "reshape: shape: got %lld, expected sizes of at least 0 and at "
                "most one -1",
                (long long)dim[i]);
        else if (!pa_mul(known, (size_t)dim[i], &known))
            return pa_fail(err, PA_EOVERFLOW, "reshape: the new size does not fit");
    }
    char text[128];
    if (free >= 0 && known != 0 && x->size % known == 0)
        dim[free] = (int64_t)(x->size / known);
    else if (free >= 0 || known != x->size)
        return pa_fail(err, PA_EVALUE,
                       "reshape: %zu elements of shape %s do not fit the new "
                       "shape of %zu",
                       x->size, pa_shape_text(x, text), known);
    c->flops = 0;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], x->dtype, a->n, dim, err);
}

static const pa_attr_desc attrs[] = {
    {"shape", PA_ATTR_LIST, 0, -1, 0, "new dims; one may be -1"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_reshape) = {
    .name = "reshape",
    .formula = "x under another shape",
    .kind = PA_KIND_SHAPE,
    .flags = PA_ALIAS,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
};
