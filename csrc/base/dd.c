/* dd.c - double-double arithmetic after Dekker (1971) and Knuth: two_sum and two_prod are
 * exact, everything else keeps a relative error of a few 2^-104. Series are summed until
 * a fixed number of terms, chosen for 2^-106 at the end of their range. */
#include "base/dd.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static pa_dd quick_two_sum(double a, double b)
{
    double s = a + b;
    return (pa_dd){s, b - (s - a)};
}

static pa_dd two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    return (pa_dd){s, (a - (s - t)) + (b - t)};
}

/* a in two halves of 26 bits. */
static pa_dd split(double a)
{
    double t = a * 134217729.0, hi = t - (t - a);
    return (pa_dd){hi, a - hi};
}

pa_dd pa_dd_mul_dd(double a, double b)
{
    pa_dd x = split(a), y = split(b);
    double p = a * b;
    return (pa_dd){p, ((x.hi * y.hi - p) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo};
}

pa_dd pa_dd_set(double hi, double lo)
{
    return quick_two_sum(hi, lo);
}

pa_dd pa_dd_add(pa_dd a, pa_dd b)
{
    pa_dd s = two_sum(a.hi, b.hi), t = two_sum(a.lo, b.lo);
    s = quick_two_sum(s.hi, s.lo + t.hi);
    return quick_two_sum(s.hi, s.lo + t.lo);
}

pa_dd pa_dd_sub(pa_dd a, pa_dd b)
{
    return pa_dd_add(a, (pa_dd){-b.hi, -b.lo});
}

pa_dd pa_dd_add_d(pa_dd a, double b)
{
    return pa_dd_add(a, (pa_dd){b, 0});
}

pa_dd pa_dd_mul(pa_dd a, pa_dd b)
{
    pa_dd p = pa_dd_mul_dd(a.hi, b.hi);
    return quick_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

pa_dd pa_dd_mul_d(pa_dd a, double b)
{
    return pa_dd_mul(a, (pa_dd){b, 0});
}

pa_dd pa_dd_div(pa_dd a, pa_dd b)
{
    double q1 = a.hi / b.hi;
    pa_dd r = pa_dd_sub(a, pa_dd_mul_d(b, q1));
    double q2 = r.hi / b.hi;
    r = pa_dd_sub(r, pa_dd_mul_d(b, q2));
    pa_dd q = quick_two_sum(q1, q2);
    return pa_dd_add_d(q, r.hi / b.hi);
}

/* r (1 + r/2 (1 + r/3 (...))), |r| <= 0.35: the first term left out is 2^-107 of r. */
static pa_dd expm1_series(pa_dd r)
{
    pa_dd s = {1, 0};
    for (int n = 24; n >= 2; n--) {
        pa_dd t = pa_dd_mul(r, s);
        s = pa_dd_add_d(pa_dd_div(t, (pa_dd){n, 0}), 1);
    }
    return pa_dd_mul(r, s);
}

/* x = k ln 2 + r; ln 2 in three parts of which k times the first is exact. */
static double reduce(pa_dd x, pa_dd *r)
{
    const double hi = 0x1.62e42fefa3000p-1, mid = 0x1.3de6af278ece6p-42,
                 lo = 0x1.f97b57a079a19p-103;
    double k = rint(x.hi * 1.4426950408889634);
    pa_dd t = pa_dd_add_d(x, -k * hi);
    t = pa_dd_sub(t, pa_dd_mul_dd(k, mid));
    *r = pa_dd_add_d(t, -k * lo);
    return k;
}

pa_dd pa_dd_exp(pa_dd x)
{
    pa_dd r;
    int k = (int)reduce(x, &r);
    pa_dd e = pa_dd_add_d(expm1_series(r), 1);
    return (pa_dd){ldexp(e.hi, k), ldexp(e.lo, k)};
}

pa_dd pa_dd_expm1(pa_dd x)
{
    return fabs(x.hi) < 0.35 ? expm1_series(x) : pa_dd_add_d(pa_dd_exp(x), -1);
}

/* One step from the C library's value L: with d = (x - expm1 L) / exp L, the answer is
 * L + log1p(d), and d is so small that three terms do. */
pa_dd pa_dd_log1p(pa_dd x)
{
    double guess = log1p(x.hi);
    pa_dd m = pa_dd_expm1((pa_dd){guess, 0});
    pa_dd d = pa_dd_div(pa_dd_sub(x, m), pa_dd_add_d(m, 1));
    pa_dd d2 = pa_dd_mul_d(pa_dd_mul(d, d), 0.5);
    return pa_dd_add(pa_dd_sub(d, d2), (pa_dd){guess, d.hi * d.hi * d.hi / 3});
}

pa_dd pa_dd_log(double x)
{
    if (x > 0.5 && x < 2)
        return pa_dd_log1p((pa_dd){x - 1, 0});
    double guess = log(x);
    pa_dd e = pa_dd_exp((pa_dd){guess, 0});
    pa_dd d = pa_dd_div(pa_dd_sub((pa_dd){x, 0}, e), e);
    pa_dd d2 = pa_dd_mul_d(pa_dd_mul(d, d), 0.5);
    return pa_dd_add_d(pa_dd_sub(d, d2), guess);
}

pa_dd pa_dd_sqrt(double x)
{
    double s = sqrt(x);
    pa_dd r = pa_dd_sub((pa_dd){x, 0}, pa_dd_mul_dd(s, s));
    return quick_two_sum(s, r.hi / (2 * s));
}

pa_dd pa_dd_normal_density(double a)
{
    pa_dd square = pa_dd_mul_dd(a, a);
    pa_dd e = pa_dd_exp((pa_dd){-0.5 * square.hi, -0.5 * square.lo});
    return pa_dd_mul(e, (pa_dd){0x1.9884533d43651p-2, -0x1.cbc0d30ebfd15p-56});
}

/* Below 3 the series of the lower half, phi(a) sum a^(2k+1) / (2k+1)!!, which loses 10
 * bits to 1/2 - (...) at a = 3; above, Laplace's continued fraction of the Mills ratio,
 * 1/(a + 1/(a + 2/(a + 3/(a + ...)))), cut where 2^-106 is reached at a = 3. */
pa_dd pa_dd_normal_tail(double a)
{
    pa_dd phi = pa_dd_normal_density(a);
    if (a < 3) {
        pa_dd square = pa_dd_mul_dd(a, a), term = {a, 0}, sum = {a, 0};
        for (int n = 3; n < 160; n += 2) {
            term = pa_dd_div(pa_dd_mul(term, square), (pa_dd){n, 0});
            sum = pa_dd_add(sum, term);
        }
        return pa_dd_sub((pa_dd){0.5, 0}, pa_dd_mul(phi, sum));
    }
    pa_dd f = {a, 0};
    for (int n = 170; n >= 1; n--)
        f = pa_dd_add_d(pa_dd_div((pa_dd){n, 0}, f), a);
    return pa_dd_div(phi, f);
}

/* Rounds to odd in double, so that the rounding to float sees on which side of a tie or
 * of a float the sum lies. */
float pa_dd_float(pa_dd a)
{
    pa_dd s = two_sum(a.hi, a.lo);
    if (s.lo != 0) {
        uint64_t bits;
        memcpy(&bits, &s.hi, sizeof bits);
        if ((bits & 1) == 0)
            bits = (s.lo > 0) == (s.hi > 0) ? bits + 1 : bits - 1;
        memcpy(&s.hi, &bits, sizeof bits);
    }
    return (float)s.hi;
}
