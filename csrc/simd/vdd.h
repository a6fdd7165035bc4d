/* vdd.h - vectors of double-double numbers, for float64 results that are right but for
 * the last rounding. A vdd is an unevaluated sum h + l; every function but vdd_two_sum
 * and vdd_prod, which are exact, errs by a few 2^-104 relative to its larger operand. */
#ifndef PA_SIMD_VDD_H
#define PA_SIMD_VDD_H

#include "simd/simd.h"

typedef struct vdd {
    vd h, l;
} vdd;

PA_INLINE vdd vdd_of(double h, double l)
{
    vdd r = {vd_set1(h), vd_set1(l)};
    return r;
}

/* a + b for |a| >= |b|; otherwise the error is at most an ulp of b's last bits. */
PA_INLINE vdd vdd_quick(vd a, vd b)
{
    vd s = vd_add(a, b);
    vdd r = {s, vd_sub(b, vd_sub(s, a))};
    return r;
}

PA_INLINE vdd vdd_two_sum(vd a, vd b)
{
    vd s = vd_add(a, b), t = vd_sub(s, a);
    vdd r = {s, vd_add(vd_sub(a, vd_sub(s, t)), vd_sub(b, t))};
    return r;
}

#if !PA_SIMD_FMA
/* The upper 26 bits of a, |a| < 2^995, and the rest. */
PA_INLINE vdd vdd_split(vd a)
{
    vd t = vd_mul(a, vd_set1(134217729.0));
    vd h = vd_sub(t, vd_sub(t, a));
    vdd r = {h, vd_sub(a, h)};
    return r;
}
#endif

/* a b; exact unless it under- or overflows (or, without fused multiply-add, a or b is
 * over 2^995). */
PA_INLINE vdd vdd_prod(vd a, vd b)
{
    vd p = vd_mul(a, b);
#if PA_SIMD_FMA
    vdd r = {p, vd_fma(a, b, vd_neg(p))};
#else
    vdd x = vdd_split(a), y = vdd_split(b);
    vd e = vd_sub(vd_mul(x.h, y.h), p);
    e = vd_add(vd_add(e, vd_mul(x.h, y.l)), vd_mul(x.l, y.h));
    e = vd_add(e, vd_mul(x.l, y.l));
    vdd r = {p, vd_sel(vd_eq(e, e), e, vd_zero())}; /* beyond 2^995: e is lost */
#endif
    return r;
}

PA_INLINE vdd vdd_neg(vdd a)
{
    vdd r = {vd_neg(a.h), vd_neg(a.l)};
    return r;
}

PA_INLINE vdd vdd_sel(vdm m, vdd a, vdd b)
{
    vdd r = {vd_sel(m, a.h, b.h), vd_sel(m, a.l, b.l)};
    return r;
}

PA_INLINE vdd vdd_add(vdd a, vdd b)
{
    vdd s = vdd_two_sum(a.h, b.h);
    return vdd_quick(s.h, vd_add(s.l, vd_add(a.l, b.l)));
}

PA_INLINE vdd vdd_sub(vdd a, vdd b)
{
    return vdd_add(a, vdd_neg(b));
}

PA_INLINE vdd vdd_add_d(vdd a, vd b)
{
    vdd s = vdd_two_sum(a.h, b);
    return vdd_quick(s.h, vd_add(s.l, a.l));
}

PA_INLINE vdd vdd_mul(vdd a, vdd b)
{
    vdd p = vdd_prod(a.h, b.h);
    return vdd_quick(p.h, vd_add(p.l, vd_fma(a.h, b.l, vd_mul(a.l, b.h))));
}

PA_INLINE vdd vdd_mul_d(vdd a, vd b)
{
    vdd p = vdd_prod(a.h, b);
    return vdd_quick(p.h, vd_fma(a.l, b, p.l));
}

/* Times a power of two. */
PA_INLINE vdd vdd_shift(vdd a, vd s)
{
    vdd r = {vd_mul(a.h, s), vd_mul(a.l, s)};
    return r;
}

PA_INLINE vdd vdd_div(vdd n, vdd d)
{
    vd c = vd_div(vd_set1(1), d.h), q = vd_mul(n.h, c);
    vdd p = vdd_prod(q, d.h);
    vd r = vd_sub(vd_sub(n.h, p.h), p.l); /* the first difference is exact */
    r = vd_fnma(q, d.l, vd_add(r, n.l));
    return vdd_quick(q, vd_mul(r, c));
}

PA_INLINE vd vdd_round(vdd a)
{
    return vd_add(a.h, a.l);
}

#endif
