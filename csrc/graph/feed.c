/* feed.c - rows of the user's data, whatever their dtype, into a program's input. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/prefetch.h"
#include "graph/graph.h"

static size_t source_size(pa_source_dtype d)
{
    static const unsigned char size[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
    return size[d];
}

/* One row of n elements to float or double. Sources may be unaligned: memcpy reads them,
 * which compilers turn into plain loads. */
#define CONVERT(type, expression)                                                        \
    for (size_t i = 0; i < n; i++) {                                                     \
        type v;                                                                          \
        memcpy(&v, (const char *)from + i * sizeof v, sizeof v);                         \
        to[i] = (expression);                                                            \
    }                                                                                    \
    break

#define DEFINE_CONVERT(name, real)                                                       \
    static void name(real *to, const void *from, pa_source_dtype dtype, size_t n)        \
    {                                                                                    \
        switch (dtype) {                                                                 \
        case PA_SRC_BOOL:                                                                \
            CONVERT(uint8_t, (real)(v != 0));                                            \
        case PA_SRC_I8:                                                                  \
            CONVERT(int8_t, (real)v);                                                    \
        case PA_SRC_U8:                                                                  \
            CONVERT(uint8_t, (real)v);                                                   \
        case PA_SRC_I16:                                                                 \
            CONVERT(int16_t, (real)v);                                                   \
        case PA_SRC_U16:                                                                 \
            CONVERT(uint16_t, (real)v);                                                  \
        case PA_SRC_I32:                                                                 \
            CONVERT(int32_t, (real)v);                                                   \
        case PA_SRC_U32:                                                                 \
            CONVERT(uint32_t, (real)v);                                                  \
        case PA_SRC_I64:                                                                 \
            CONVERT(int64_t, (real)v);                                                   \
        case PA_SRC_U64:                                                                 \
            CONVERT(uint64_t, (real)v);                                                  \
        case PA_SRC_F16:                                                                 \
            CONVERT(uint16_t, (real)pa_half_to_double(v));                               \
        case PA_SRC_F32:                                                                 \
            CONVERT(float, (real)v);                                                     \
        case PA_SRC_F64:                                                                 \
            CONVERT(double, (real)v);                                                    \
        }                                                                                \
    }

DEFINE_CONVERT(to_float, float)
DEFINE_CONVERT(to_double, double)

static pa_status row_to_labels(const pa_feed *f, int32_t *to, const void *from, size_t n,
                               int64_t row, pa_error *err)
{
    size_t size = source_size(f->dtype);
    for (size_t i = 0; i < n; i++) {
        double v = 0;
        to_double(&v, (const char *)from + i * size, f->dtype, 1);
        if (!(v >= 0 && v < (double)f->classes && v == floor(v)))
            return pa_fail(
                err, PA_EVALUE,
                "%s: label %g in row %lld: expected a whole number from 0 to %lld, "
                "because there are %lld classes",
                f->name, v, (long long)row, (long long)f->classes - 1,
                (long long)f->classes);
        to[i] = (int32_t)v;
    }
    return PA_OK;
}

static pa_status reject_nan(const pa_feed *f, const void *data, pa_dtype dtype, size_t n,
                            int64_t row, pa_error *err)
{
    bool bad = false;
    for (size_t i = 0; i < n; i++)
        bad |= dtype == PA_F64 ? isnan(((const double *)data)[i])
                               : isnan(((const float *)data)[i]);
    return bad ? pa_fail(err, PA_EVALUE,
                         "%s: row %lld holds NaN; remove or fill such rows", f->name,
                         (long long)row)
               : PA_OK;
}

/* Shuffled rows lie anywhere, and processors look ahead within one only: without this
 * their way from memory was 1.4 % of a step of 784-500-10. */
enum { ROWS_AHEAD = 4, BYTES_AHEAD = 4096, LINE = 64 };

static void fetch(const char *row, size_t bytes)
{
    for (size_t i = 0; i < bytes && i < BYTES_AHEAD; i += LINE)
        PA_PREFETCH(row + i);
}

pa_status pa_feed_rows(const pa_feed *f, pa_tensor *to, int64_t rows,
                       const int64_t *order, int64_t first, pa_error *err)
{
    size_t n = rows ? to->size / (size_t)rows : 0; /* elements per row */
    size_t row_bytes = n * pa_dtype_size(to->dtype);
    size_t from_bytes = n * source_size(f->dtype);
    bool same = (f->dtype == PA_SRC_F32 && to->dtype == PA_F32) ||
                (f->dtype == PA_SRC_F64 && to->dtype == PA_F64);
    for (int64_t r = 0; r < rows; r++) {
        int64_t row = order ? order[first + r] : first + r;
        const char *from = (const char *)f->data + row * f->row_step;
        char *at = (char *)to->data + (size_t)r * row_bytes;
        pa_status status = PA_OK;
        if (order && r + ROWS_AHEAD < rows)
            fetch((const char *)f->data + order[first + r + ROWS_AHEAD] * f->row_step,
                  from_bytes);
        if (to->dtype == PA_I32)
            status = row_to_labels(f, (int32_t *)(void *)at, from, n, row, err);
        else if (same)
            memcpy(at, from, row_bytes);
        else if (to->dtype == PA_F64)
            to_double((double *)(void *)at, from, f->dtype, n);
        else
            to_float((float *)(void *)at, from, f->dtype, n);
        if (status == PA_OK && f->reject_nan)
            status = reject_nan(f, at, to->dtype, n, row, err);
        if (status)
            return status;
    }
    return PA_OK;
}
