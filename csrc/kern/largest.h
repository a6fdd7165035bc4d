/* largest.h - the largest magnitude in an array; NaN counts as infinite. */
#ifndef PA_KERN_LARGEST_H
#define PA_KERN_LARGEST_H

#include "op.h"

/* data: (n,) of the variant's dtype. INFINITY where not all of it is finite and, if
 * `positive`, where a number is below zero (-0 is). */
double PA_(pa_largest)(const void *data, size_t n, bool positive, pa_pool *pool);

#endif
