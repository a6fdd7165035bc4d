#include "kern/conv_pool.h"

#include "simd/simd.h"

/* One window, VR_N channels of it: the largest and, in reals, its place. */
PA_INLINE vr largest(const pa_conv *g, size_t ph, size_t pw, const real *z, vr *place)
{
    const size_t row = g->OW * g->O;
    vr top = vr_load(z), at = vr_zero(), number = vr_zero();
    const vr one = vr_set1(1);
    for (size_t i = 0; i < ph; i++, z += row)
        for (size_t j = 0; j < pw; j++) {
            const vr v = vr_load(z + j * g->O);
            const vrm more = vrm_or(vr_gt(v, top), vrm_and(vr_ne(v, v), vr_eq(top, top)));
            top = vr_sel(more, v, top);
            at = vr_sel(more, number, at);
            number = vr_add(number, one);
        }
    *place = at;
    return top;
}

/* Windows come in the order of memory, so that a vector may run on into what the next
 * ones will write; only the end of y is cut. */
PA_INLINE void pool_row(const pa_conv *g, size_t ph, size_t pw, const real *z, real *y,
                        const real *end, real *room)
{
    for (size_t x = 0; x < g->PW; x++, y += g->O, room += g->O)
        for (size_t c = 0; c < g->O; c += VR_N) {
            vr at;
            const vr top = largest(g, ph, pw, z + x * pw * g->O + c, &at);
            if (end - (y + c) >= VR_N)
                vr_store(y + c, top);
            else
                vr_store_n(y + c, top, (int)(end - (y + c)));
            vr_store(room + c, at);
        }
}

void PA_(pa_conv_pool)(const pa_conv *g, const real *z, real *y, unsigned char *place,
                       real *room)
{
    const size_t n = g->PW * g->O;
    const real *end = y + g->PH * n;
    for (size_t i = 0; i < g->PH; i++, z += g->ph * g->OW * g->O, y += n) {
        if (g->ph == 2 && g->pw == 2)
            pool_row(g, 2, 2, z, y, end, room);
        else
            pool_row(g, g->ph, g->pw, z, y, end, room);
        for (size_t k = 0; place && k < n; k++)
            *place++ = (unsigned char)room[k];
    }
}

/* d = dy, or dy relu'(y) of a row. */
static void slopes(const real *dy, const real *y, bool relu, real *d, size_t n)
{
    for (size_t i = 0; i < n; i += VR_N) {
        const int k = n - i < VR_N ? (int)(n - i) : VR_N;
        const bool whole = k == VR_N;
        vr v = whole ? vr_load(dy + i) : vr_load_n(dy + i, k);
        const vr top = whole ? vr_load(y + i) : vr_load_n(y + i, k);
        if (relu) { /* NaN stays */
            v = vr_sel(vr_gt(top, vr_zero()), v, vr_mul(vr_zero(), v));
            v = vr_sel(vr_ne(top, top), top, v);
        }
        vr_store(d + i, v);
    }
}

void PA_(pa_conv_unpool)(const pa_conv *g, const real *dy, const unsigned char *place,
                         bool relu, const real *y, real *dz, real *room)
{
    const size_t n = g->PW * g->O, step = g->pw * g->O;
    size_t offset[256];
    for (size_t k = 0; k < g->ph * g->pw; k++)
        offset[k] = (k / g->pw * g->OW + k % g->pw) * g->O;
    memset(dz, 0, g->OH * g->OW * g->O * sizeof *dz);
    for (size_t i = 0; i < g->PH; i++, dy += n, y += n) {
        slopes(dy, y, relu, room, n);
        const real *d = room;
        real *to = dz + i * g->ph * g->OW * g->O;
        for (size_t j = 0; j < g->PW; j++, to += step)
            for (size_t c = 0; c < g->O; c++)
                to[offset[*place++] + c] = *d++;
    }
}
