/* cast - x as float32, float64 or int32
 *
 * To int32 it truncates towards 0, and what does not fit becomes the nearest that does
 * (NaN: 0). Derivative: dx = dy, rounded to x's type; none through int32. */
#include "kern/loop.h"

static pa_status shape(pa_call *c, pa_error *err)
{
    c->flops = (double)c->in[0]->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return pa_tensor_init(c->out[0], (pa_dtype)c->attr[0].num, c->in[0]->rank,
                          c->in[0]->dim, err);
}

static double read(const pa_tensor *t, size_t i)
{
    switch (t->dtype) {
    case PA_F32:
        return (double)((const float *)t->data)[i];
    case PA_F64:
        return ((const double *)t->data)[i];
    default:
        return (double)((const int32_t *)t->data)[i];
    }
}

static int32_t to_int(double x)
{
    return x != x               ? 0
           : x >= 2147483647.0  ? INT32_MAX
           : x <= -2147483648.0 ? INT32_MIN
                                : (int32_t)x;
}

typedef struct job {
    const pa_tensor *to, *from;
} job;

static void chunk(void *arg, ptrdiff_t number, int worker)
{
    const job *j = arg;
    const pa_tensor *to = j->to, *from = j->from;
    size_t lo, hi;
    (void)worker;
    pa_chunk(to->size, PA_CHUNK_CHEAP, number, &lo, &hi);
    if (to->dtype == PA_F32 && from->dtype == PA_F64)
        for (size_t i = lo; i < hi; i++)
            ((float *)to->data)[i] = (float)((const double *)from->data)[i];
    else if (to->dtype == PA_F64 && from->dtype == PA_F32)
        for (size_t i = lo; i < hi; i++)
            ((double *)to->data)[i] = (double)((const float *)from->data)[i];
    else
        for (size_t i = lo; i < hi; i++) {
            double v = read(from, i);
            if (to->dtype == PA_F32)
                ((float *)to->data)[i] = (float)v;
            else if (to->dtype == PA_F64)
                ((double *)to->data)[i] = v;
            else
                ((int32_t *)to->data)[i] = to_int(v);
        }
}

static void convert(const pa_tensor *to, const pa_tensor *from, const pa_ctx *ctx)
{
    job j = {to, from};
    pa_run(ctx, chunk, &j, pa_chunks(to->size, PA_CHUNK_CHEAP));
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    convert(c->out[0], c->in[0], ctx);
}

static void backward(const pa_call *c, const pa_ctx *ctx)
{
    if (c->din[0])
        convert(c->din[0], c->dout[0], ctx);
}

static const pa_attr_desc attrs[] = {
    {"dtype", PA_ATTR_INT, PA_F32, PA_F32, PA_I32, "float32, float64 or int32"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_cast) = {
    .name = "cast",
    .formula = "x as dtype",
    .kind = PA_KIND_SHAPE,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .in_names = "x",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
