#include "base/rng.h"

uint64_t pa_rng_below(uint64_t stream, uint64_t *at, uint64_t bound)
{
    if (bound <= UINT32_MAX) {
        /* 32 bits times bound: the high word is the answer, and a low word under
         * 2^32 mod bound marks the draws that would favour some answers (Lemire 2019). */
        uint32_t b = (uint32_t)bound, reject = (uint32_t)(0u - b) % b;
        for (;;) {
            uint64_t m = (pa_rng_at(stream, (*at)++) >> 32) * b;
            if ((uint32_t)m >= reject)
                return m >> 32;
        }
    }
    uint64_t reject = (UINT64_C(0) - bound) % bound; /* 2^64 mod bound */
    for (;;) {
        uint64_t r = pa_rng_at(stream, (*at)++);
        if (r >= reject)
            return r % bound;
    }
}

void pa_rng_shuffle(int64_t *index, size_t n, uint64_t seed, uint64_t key, uint64_t step)
{
    uint64_t stream = pa_rng_stream(seed, key, step), at = 0;
    for (size_t i = n; i > 1; i--) { /* Fisher-Yates, from the end */
        size_t j = (size_t)pa_rng_below(stream, &at, i);
        int64_t t = index[i - 1];
        index[i - 1] = index[j];
        index[j] = t;
    }
}
