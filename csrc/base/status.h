/* status.h - how C says that something went wrong: a code and a message.
 *
 * A message says what, where, got, expected and what to do. Only csrc/py turns it into
 * an exception. Nothing here aborts, prints or allocates. */
#ifndef PA_STATUS_H
#define PA_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pa_status {
    PA_OK = 0,
    PA_ENOMEM,   /* MemoryError */
    PA_EVALUE,   /* ValueError: a shape, size, label or number that cannot be */
    PA_ETYPE,    /* TypeError: a dtype or kind that cannot be */
    PA_EINTR,    /* the thread's watch said stop */
    PA_EOVERFLOW /* ValueError: a size that does not fit */
} pa_status;

typedef struct pa_error {
    char text[512];
} pa_error;

#if defined(__GNUC__)
#define PA_PRINTF_(f, a) __attribute__((format(printf, f, a)))
#else
#define PA_PRINTF_(f, a)
#endif

/* Writes the message (err may be NULL) and returns `status`. */
pa_status pa_fail(pa_error *err, pa_status status, const char *fmt, ...) PA_PRINTF_(3, 4);

/* r = a + b, r = a * b for sizes; false where the result does not fit. */
static inline bool pa_add(size_t a, size_t b, size_t *r)
{
    *r = a + b;
    return *r >= a;
}

static inline bool pa_mul(size_t a, size_t b, size_t *r)
{
    if (b != 0 && a > (size_t)PTRDIFF_MAX / b)
        return false;
    *r = a * b;
    return true;
}

#endif
