/* tensor.h - dtype, shape, and a C-contiguous view of memory that somebody else owns;
 * and the block, the one kind of memory that outlives a program (parameters, gradients,
 * optimizer slots). */
#ifndef PA_TENSOR_H
#define PA_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { PA_MAX_RANK = 8, PA_ALIGN = 64 };

typedef enum pa_dtype { PA_F32 = 0, PA_F64 = 1, PA_I32 = 2 } pa_dtype;

typedef struct pa_tensor {
    void *data;
    pa_dtype dtype;
    int rank;
    int64_t dim[PA_MAX_RANK];
    size_t size; /* product of dims */
} pa_tensor;

size_t pa_dtype_size(pa_dtype dtype);
const char *pa_dtype_name(pa_dtype dtype); /* "float32", "float64", "int32" */

/* Sets dtype, dims and size; data stays as it is. Fails on a negative dim, a rank over
 * PA_MAX_RANK, or a size in bytes that does not fit ptrdiff_t. */
pa_status pa_tensor_init(pa_tensor *t, pa_dtype dtype, int rank, const int64_t *dim,
                         pa_error *err);

/* "(32, 10)", written into buf and returned, for messages. */
const char *pa_shape_text(const pa_tensor *t, char buf[128]);

/* Memory with a reference count, zeroed at birth, PA_ALIGN-aligned. */
typedef struct pa_block {
    void *data;
    pa_dtype dtype;
    size_t size; /* elements */
    int refs;    /* changed under the owner's lock (the GIL from Python) */
} pa_block;

pa_block *pa_block_new(pa_dtype dtype, size_t size); /* NULL: out of memory */
pa_block *pa_block_ref(pa_block *b);
void pa_block_unref(pa_block *b);

/* PA_ALIGN-aligned memory from the C library; NULL when there is none. */
void *pa_alloc(size_t bytes);
void pa_free(void *p);

static inline size_t pa_align(size_t bytes)
{
    return (bytes + (PA_ALIGN - 1)) & ~(size_t)(PA_ALIGN - 1);
}

#endif
