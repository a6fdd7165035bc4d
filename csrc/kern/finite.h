/* finite.h - has an array neither NaN nor infinity? */
#ifndef PA_KERN_FINITE_H
#define PA_KERN_FINITE_H

#include "op.h"

/* data: (n,) of the variant's dtype. */
bool PA_(pa_all_finite)(const void *data, size_t n, pa_pool *pool);

#endif
