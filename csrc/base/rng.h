/* rng.h - random numbers that are functions of their place, not of history.
 *
 * A stream is named by (seed, key, step); its numbers by an index. Nothing is stored and
 * nothing advances, so threads may draw in any order and a resumed run draws what the
 * unbroken one would have drawn.
 *
 * The mixing function is SplitMix64's (Steele, Lea, Flood: Fast splittable pseudorandom
 * number generators, OOPSLA 2014): a bijection of 64 bits whose output passes the usual
 * batteries when fed with a Weyl sequence. Not for cryptography. */
#ifndef PA_RNG_H
#define PA_RNG_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t pa_rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#define PA_RNG_GAMMA UINT64_C(0x9E3779B97F4A7C15) /* 2^64 / golden ratio, odd */

/* The start of a stream. Each part is mixed before the next joins, so that neighbouring
 * seeds, keys or steps give unrelated streams. */
static inline uint64_t pa_rng_stream(uint64_t seed, uint64_t key, uint64_t step)
{
    uint64_t s = pa_rng_mix(seed + PA_RNG_GAMMA);
    s = pa_rng_mix((s ^ key) + PA_RNG_GAMMA);
    return pa_rng_mix((s ^ step) + PA_RNG_GAMMA);
}

/* 64 uniform bits: number `index` of a stream. */
static inline uint64_t pa_rng_at(uint64_t stream, uint64_t index)
{
    return pa_rng_mix(stream + (index + 1) * PA_RNG_GAMMA);
}

/* A uniform double in [0, 1), a multiple of 2^-53. */
static inline double pa_rng_uniform(uint64_t stream, uint64_t index)
{
    return (double)(pa_rng_at(stream, index) >> 11) * 0x1p-53;
}

/* A uniform integer in [0, bound), bound > 0, without bias. Draws numbers *at, *at + 1,
 * ... of the stream and leaves *at behind the last one used. */
uint64_t pa_rng_below(uint64_t stream, uint64_t *at, uint64_t bound);

/* Shuffles index: (n,) in place; each of the n! orders is equally likely. */
void pa_rng_shuffle(int64_t *index, size_t n, uint64_t seed, uint64_t key, uint64_t step);

#endif
