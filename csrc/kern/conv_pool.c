#include "kern/conv_pool.h"

#include "simd/simd.h"

/* One window, VR_N channels of it: the largest and, in reals, its place. */
PA_INLINE vr largest(const pa_conv *g, const bool relu, const real *z, vr *place)
{
    const size_t row = g->OW * g->O;
    vr top = vr_load(z), at = vr_zero(), number = vr_zero();
    const vr one = vr_set1(1);
    if (relu) /* not of the others, which are then no larger */
        top = vr_max(vr_zero(), top);
    for (size_t i = 0; i < g->ph; i++, z += row)
        for (size_t j = 0; j < g->pw; j++) {
            at = vr_sel(pa_pool_meet(vr_load(z + j * g->O), &top), number, at);
            number = vr_add(number, one);
        }
    *place = at;
    return relu ? vr_add(top, vr_zero()) : top;
}

PA_INLINE vr largest_of_four(const pa_conv *g, const bool relu, const real *z, vr *place)
{
    const real *low = z + g->OW * g->O;
    const vr v[] = {vr_load(z), vr_load(z + g->O), vr_load(low), vr_load(low + g->O)};
    vrm row, column;
    const vr top = pa_pool_four(relu, v, &row, &column), zero = vr_zero();
    *place = vr_add(vr_sel(row, vr_set1(2), zero), vr_sel(column, vr_set1(1), zero));
    return top;
}

/* Windows come in the order of memory, so that a vector may run on into what the next
 * ones will write; only the end of y is cut. */
PA_INLINE void pool_row(const pa_conv *g, const bool four, const bool relu, const real *z,
                        real *y, const real *end, real *room)
{
    for (size_t x = 0; x < g->PW; x++, y += g->O, room += g->O, z += g->pw * g->O)
        for (size_t c = 0; c < g->O; c += VR_N) {
            vr at;
            const vr top = (four ? largest_of_four : largest)(g, relu, z + c, &at);
            if (end - (y + c) >= VR_N)
                vr_store(y + c, top);
            else
                vr_store_n(y + c, top, (int)(end - (y + c)));
            vr_store(room + c, at);
        }
}

void PA_(pa_conv_pool)(const pa_conv *g, bool relu, const real *z, real *y,
                       unsigned char *place, real *room)
{
    const size_t n = g->PW * g->O;
    const real *end = y + g->PH * n;
    for (size_t i = 0; i < g->PH; i++, z += g->ph * g->OW * g->O, y += n) {
        if (pools_by_two(g))
            pool_row(g, true, relu, z, y, end, room);
        else
            pool_row(g, false, relu, z, y, end, room);
        for (size_t k = 0; place && k < n; k++)
            *place++ = (unsigned char)room[k];
    }
}

void PA_(pa_conv_unpool)(const pa_conv *g, const real *d, const unsigned char *place,
                         real *dz)
{
    size_t offset[256];
    for (size_t k = 0; k < g->ph * g->pw; k++)
        offset[k] = (k / g->pw * g->OW + k % g->pw) * g->O;
    memset(dz, 0, g->OH * g->OW * g->O * sizeof *dz);
    for (size_t i = 0; i < g->PH; i++, dz += g->ph * g->OW * g->O) {
        real *to = dz;
        for (size_t j = 0; j < g->PW; j++, to += g->pw * g->O)
            for (size_t c = 0; c < g->O; c++)
                /* cppcheck-suppress uninitvar ; a place is below ph pw */
                to[offset[*place++] + c] = *d++;
    }
}
