/* metric_saturated - for each unit, how many of a batch's values are saturated
 *
 * values: (..., U), the results of an activation; every axis but the last counts as
 * samples. out: (U,), the number of values y of each unit with y <= low or y >= high;
 * with `between`, of those with low <= y <= high. NaN is not saturated. Narrow rows are
 * taken several at a time, so that all lanes have work. */
#include "base/shape.h"
#include "kern/loop.h"
#include "simd/simd.h"

enum { LOW, HIGH, BETWEEN };
enum { EXACT = 1 << 23 }; /* counts in float lanes stay exact below */

static pa_status shape(pa_call *c, pa_error *err)
{
    const pa_tensor *y = c->in[0];
    pa_status st = pa_want_dtype("metric_saturated", "values", y, PA_REAL, err);
    if (!st && y->rank < 2)
        st = pa_fail(err, PA_EVALUE,
                     "metric_saturated: values: got %d axes, expected samples and units",
                     y->rank);
    c->flops = 2 * (double)y->size;
    c->saved_bytes = c->scratch_bytes = 0;
    return st ? st : pa_tensor_init(c->out[0], PA_F64, 1, &y->dim[y->rank - 1], err);
}

typedef struct bounds {
    vr low, high;
    bool between;
} bounds;

PA_INLINE vr counted(const bounds *b, vr y, vr sum)
{
    const vr one = vr_set1(1), zero = vr_zero();
    vr low, high;
    if (b->between) {
        low = vr_sel(vr_ge(y, b->low), one, zero);
        high = vr_sel(vr_le(y, b->high), low, zero);
        return vr_add(sum, high);
    }
    low = vr_sel(vr_le(y, b->low), one, zero);
    high = vr_sel(vr_ge(y, b->high), one, low);
    return vr_add(sum, high);
}

/* Adds the counts of columns [col, col + n) of (rows, width) to out[column % units]. */
static void column(const bounds *b, const real *y, size_t rows, size_t width, size_t col,
                   int n, size_t units, double *out)
{
    real lane[VR_N];
    for (size_t begin = 0; begin < rows; begin += EXACT) {
        const size_t end = rows - begin < EXACT ? rows : begin + EXACT;
        vr sum = vr_zero();
        if (n == VR_N)
            for (size_t i = begin; i < end; i++)
                sum = counted(b, vr_load(y + i * width + col), sum);
        else
            for (size_t i = begin; i < end; i++)
                sum = counted(b, vr_load_n(y + i * width + col, n), sum);
        vr_store(lane, sum);
        size_t unit = col % units;
        for (int k = 0; k < n; k++, unit = unit + 1 < units ? unit + 1 : 0)
            out[unit] += (double)lane[k];
    }
}

static void count(const bounds *b, const real *y, size_t rows, size_t width, size_t units,
                  double *out)
{
    for (size_t col = 0; col < width; col += VR_N)
        column(b, y, rows, width, col, width - col < VR_N ? (int)(width - col) : VR_N,
               units, out);
}

static void forward(const pa_call *c, const pa_ctx *ctx)
{
    const pa_tensor *t = c->in[0];
    const size_t units = (size_t)t->dim[t->rank - 1], rows = units ? t->size / units : 0;
    const bounds b = {vr_set1((real)c->attr[LOW].num), vr_set1((real)c->attr[HIGH].num),
                      c->attr[BETWEEN].num != 0};
    const real *y = t->data;
    double *out = c->out[0]->data;
    (void)ctx;
    for (size_t k = 0; k < units; k++)
        out[k] = 0;
    size_t together = 1; /* rows, that fill whole vectors */
    while (units < VR_N && together * units % VR_N)
        together++;
    const size_t wide = rows / together;
    count(&b, y, wide, together * units, units, out);
    if (wide * together < rows)
        count(&b, y + wide * together * units, rows - wide * together, units, units, out);
}

static const pa_attr_desc attrs[] = {
    {"low", PA_ATTR_REAL, -HUGE_VAL, -HUGE_VAL, HUGE_VAL, "saturated from here down"},
    {"high", PA_ATTR_REAL, HUGE_VAL, -HUGE_VAL, HUGE_VAL, "saturated from here up"},
    {"between", PA_ATTR_BOOL, 0, 0, 1, "saturated between the two instead"},
    {NULL, 0, 0, 0, 0, NULL},
};

const pa_op PA_(pa_op_metric_saturated) = {
    .name = "metric_saturated",
    .formula = "number of y <= low or y >= high, for each unit",
    .kind = PA_KIND_METRIC,
    .flags = PA_NO_GRAD,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .no_din = 1,
    .in_names = "values",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
};
