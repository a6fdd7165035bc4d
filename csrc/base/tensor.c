#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* posix_memalign */
#endif
#include "base/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <malloc.h>
#endif

size_t pa_dtype_size(pa_dtype dtype)
{
    return dtype == PA_F64 ? 8 : 4;
}

const char *pa_dtype_name(pa_dtype dtype)
{
    static const char *const name[] = {"float32", "float64", "int32"};
    return name[dtype];
}

pa_status pa_tensor_init(pa_tensor *t, pa_dtype dtype, int rank, const int64_t *dim,
                         pa_error *err)
{
    if (rank < 0 || rank > PA_MAX_RANK)
        return pa_fail(err, PA_EVALUE, "rank: got %d, expected 0 to %d", rank,
                       PA_MAX_RANK);
    size_t size = 1, bytes;
    bool zero = false; /* a 0 among the dims must not hide an overflow of the others */
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0)
            return pa_fail(err, PA_EVALUE, "dimension %d: got %lld, expected 0 or more",
                           i, (long long)dim[i]);
        if (dim[i] == 0)
            zero = true;
        else if ((uint64_t)dim[i] > PTRDIFF_MAX || !pa_mul(size, (size_t)dim[i], &size))
            return pa_fail(err, PA_EOVERFLOW, "array is too big: its size does not fit");
    }
    if (!pa_mul(size, pa_dtype_size(dtype), &bytes) || bytes > PTRDIFF_MAX - PA_ALIGN)
        return pa_fail(err, PA_EOVERFLOW, "array is too big: its size does not fit");
    t->dtype = dtype;
    t->rank = rank;
    for (int i = 0; i < rank; i++)
        t->dim[i] = dim[i];
    t->size = zero ? 0 : size;
    return PA_OK;
}

const char *pa_shape_text(const pa_tensor *t, char buf[128])
{
    size_t at = 0;
    buf[at++] = '(';
    for (int i = 0; i < t->rank && at < 100; i++)
        at += (size_t)snprintf(buf + at, 128 - at, i ? ", %lld" : "%lld",
                               (long long)t->dim[i]);
    snprintf(buf + at, 128 - at, t->rank == 1 ? ",)" : ")");
    return buf;
}

void *pa_alloc(size_t bytes)
{
    if (bytes > PTRDIFF_MAX - PA_ALIGN)
        return NULL;
    bytes = bytes ? pa_align(bytes) : PA_ALIGN;
#ifdef _WIN32
    return _aligned_malloc(bytes, PA_ALIGN);
#else
    void *p = NULL;
    return posix_memalign(&p, PA_ALIGN, bytes) == 0 ? p : NULL;
#endif
}

void pa_free(void *p)
{
#ifdef _WIN32
    _aligned_free(p);
#else
    free(p);
#endif
}

/* Header and data at once, by calloc: what it has fresh from the system is 0 already, and
 * gigabytes are not written before somebody needs them. */
pa_block *pa_block_new(pa_dtype dtype, size_t size)
{
    size_t bytes, all;
    if (!pa_mul(size, pa_dtype_size(dtype), &bytes) ||
        !pa_add(bytes, sizeof(pa_block) + PA_ALIGN, &all) || all > PTRDIFF_MAX)
        return NULL;
    pa_block *b = calloc(1, all);
    if (!b)
        return NULL;
    const uintptr_t behind = (uintptr_t)(b + 1) + PA_ALIGN - 1;
    *b = (pa_block){(void *)(behind - behind % PA_ALIGN), dtype, size, 1};
    return b;
}

pa_block *pa_block_ref(pa_block *b)
{
    b->refs++;
    return b;
}

void pa_block_unref(pa_block *b)
{
    if (b && --b->refs == 0)
        free(b);
}
