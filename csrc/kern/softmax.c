#include "simd/math.h"
#include "kern/softmax.h"

/* The last vector of a row that does not fill it begins earlier: nothing is gathered
 * number by number, and few classes are two vectors of doubles. */
double PA_(pa_soft_max)(const real *x, size_t n, double max)
{
    real wide[VR_N];
    double lane[VD_N];
    if (n < VD_N) {
        for (size_t i = 0; i < n; i++)
            max = (double)x[i] > max ? (double)x[i] : max;
        return max;
    }
    if (n > 2 * VD_N) {
        vr m = vr_set1((real)max);
        for (size_t i = 0; i + VR_N <= n; i += VR_N)
            m = vr_max(vr_load(x + i), m);
        vr_store(wide, vr_max(vr_load(x + n - VR_N), m));
        x = wide;
        n = VR_N;
    }
    vd m = vd_max(vd_load_real(x), vd_set1(max));
    vd_store(lane, vd_max(vd_load_real(x + n - VD_N), m));
    for (size_t h = VD_N / 2; h > 0; h /= 2)
        for (size_t j = 0; j < h; j++)
            lane[j] = lane[j + h] > lane[j] ? lane[j + h] : lane[j];
    return lane[0];
}

#ifdef PA_REAL_IS_DOUBLE

/* exp(t + t_lo) = e + *lo for t <= 0. */
PA_INLINE vd exp_wide(vd t, vd t_lo, vd *lo)
{
    vd k;
    vd low = vd_set1(-760); /* its exp is 0 */
    vdd m = vdd_exp_parts((vdd){vd_max(low, t), t_lo}, &k);
    *lo = vd_scale(m.l, k);
    return vd_scale(m.h, k);
}

/* a b = p + err; exact unless it underflows. */
PA_INLINE vd mul_err(vd a, vd b, vd p)
{
#if PA_SIMD_FMA
    return vd_fma(a, b, vd_neg(p));
#else /* Dekker: halves of 26 bits */
    const vd split = vd_set1(0x1p27 + 1);
    vd ta = vd_mul(a, split), tb = vd_mul(b, split);
    vd ah = vd_sub(ta, vd_sub(ta, a)), bh = vd_sub(tb, vd_sub(tb, b));
    vd al = vd_sub(a, ah), bl = vd_sub(b, bh);
    vd err = vd_sub(vd_mul(ah, bh), p);
    err = vd_add(vd_add(err, vd_mul(ah, bl)), vd_mul(al, bh));
    return vd_add(err, vd_mul(al, bl));
#endif
}

#else

/* Not even a million times exp(-600) is seen in float32: nothing below needs care. */
PA_INLINE vd exp_wide(vd t, vd t_lo, vd *lo)
{
    (void)t_lo;
    *lo = vd_zero();
    return vd_exp(vd_max(vd_set1(-600), t)); /* NaN stays */
}

#endif

typedef struct sums {
    vd below, below_lo, ties;
} sums;

/* `apart`: elements that reach the maximum are counted, not added. */
PA_INLINE vd one(vd x, vd max, vd *lo, sums *s, bool apart)
{
    vd t_lo = vd_zero();
#ifdef PA_REAL_IS_DOUBLE
    vdd d = vdd_two_sum(x, vd_neg(max));
    vd t = d.h;
    t_lo = vd_sel(vd_lt(t, vd_set1(-1e300)), vd_zero(), d.l); /* -inf has no error */
#else
    vd t = vd_sub(x, max);
#endif
    vd e = exp_wide(t, t_lo, lo);
    vd under = e;
    if (apart) {
        vdm top = vd_eq(t, vd_zero());
        under = vd_sel(top, vd_zero(), e);
        s->ties = vd_add(s->ties, vd_sel(top, vd_set1(1), vd_zero()));
    }
#ifdef PA_REAL_IS_DOUBLE
    vdd sum = vdd_two_sum(s->below, under);
    s->below = sum.h;
    s->below_lo = vd_add(s->below_lo, vd_add(sum.l, *lo));
#else
    s->below = vd_add(s->below, under);
#endif
    return e;
}

static const double lanes[] = {0, 1, 2, 3, 4, 5, 6, 7};

PA_INLINE void exps(double *e, double *e_lo, const real *x, size_t n, pa_soft *s,
                    bool apart)
{
    vd max = vd_set1(s->max), lo;
    sums a = {vd_zero(), vd_zero(), vd_zero()};
    const size_t left = n % VD_N;
    if (n < VD_N) { /* the lanes beyond the end hold -inf, whose exp adds nothing */
        double pad[VD_N];
        for (size_t j = 0; j < VD_N; j++)
            pad[j] = j < n ? (double)x[j] : -INFINITY;
        vd_store_n(e, one(vd_load(pad), max, &lo, &a, apart), (int)n);
#ifdef PA_REAL_IS_DOUBLE
        vd_store_n(e_lo, lo, (int)n);
#endif
    } else if (left > 0) { /* so do those that are still to come */
        vdm seen = vd_lt(vd_load(lanes), vd_set1((double)(VD_N - left)));
        vd last = vd_sel(seen, vd_set1(-INFINITY), vd_load_real(x + n - VD_N));
        vd_store(e + n - VD_N, one(last, max, &lo, &a, apart));
#ifdef PA_REAL_IS_DOUBLE
        vd_store(e_lo + n - VD_N, lo);
#endif
    }
    for (size_t i = 0; i + VD_N <= n; i += VD_N) {
        vd_store(e + i, one(vd_load_real(x + i), max, &lo, &a, apart));
#ifdef PA_REAL_IS_DOUBLE
        vd_store(e_lo + i, lo);
#endif
    }
    (void)e_lo;
    s->ties += vd_sum(a.ties);
    double below = vd_sum(a.below);
#ifdef PA_REAL_IS_DOUBLE
    double lane[VD_N], err = vd_sum(a.below_lo);
    vd_store(lane, a.below);
    below = 0;
    for (size_t j = 0; j < VD_N; j++) {
        double t = below + lane[j], z = t - below;
        err += (below - (t - z)) + (lane[j] - z);
        below = t;
    }
    double t = s->below + below, z = t - s->below;
    s->below_lo += err + ((s->below - (t - z)) + (below - z));
    s->below = t;
#else
    s->below += below;
#endif
}

void PA_(pa_soft_exps)(double *e, double *e_lo, const real *x, size_t n, pa_soft *s)
{
    exps(e, e_lo, x, n, s, true);
}

void PA_(pa_soft_exps_whole)(double *e, double *e_lo, const real *x, size_t n, pa_soft *s)
{
    exps(e, e_lo, x, n, s, false);
}

PA_INLINE vd quotient(vd e, const double *e_lo, size_t i, size_t n, const pa_soft *s)
{
#ifdef PA_REAL_IS_DOUBLE
    vd sum = vd_set1(s->sum), q = vd_div(e, sum), p = vd_mul(q, sum);
    vd lo = n ? vd_load_n(e_lo + i, (int)n) : vd_load(e_lo + i);
    vd r = vd_sub(vd_add(vd_sub(e, p), lo), mul_err(q, sum, p));
    r = vd_sub(r, vd_mul(q, vd_set1(s->sum_lo)));
    return vd_add(q, vd_div(r, sum));
#else
    (void)e_lo, (void)i, (void)n;
    return vd_mul(e, vd_set1(1 / s->sum));
#endif
}

void PA_(pa_soft_scale)(real *y, const double *e, const double *e_lo, size_t n,
                        const pa_soft *s)
{
    size_t i = 0;
    for (; i + VD_N <= n; i += VD_N)
        vd_store_real(y + i, quotient(vd_load(e + i), e_lo, i, 0, s));
    if (i < n)
        vd_store_real_n(y + i,
                        quotient(vd_load_n(e + i, (int)(n - i)), e_lo, i, n - i, s),
                        (int)(n - i));
}

double PA_(pa_soft_log)(const pa_soft *s, double *lo)
{
    *lo = 0;
#ifdef PA_REAL_IS_DOUBLE
    /* log(sum + sum_lo), which for a small rest is sum_lo: no digit of it is lost */
    double h[VD_N], l[VD_N];
    vdd log = vdd_log(vd_set1(s->sum));
    vd_store(h, log.h);
    vd_store(l, log.l);
    double more = s->sum_lo / s->sum + l[0], high = h[0] + more;
    *lo = more - (high - h[0]);
    return s->sum == s->sum ? high : NAN;
#else
    /* log1p(r) = log(u) + (r - (u - 1)) / u, u = 1 + r rounded: rows overlap, which calls
     * of the C library's do not */
    double log[VD_N];
    const vd one = vd_set1(1), r = vd_set1(s->rest), u = vd_add(one, r);
    vd_store(log, vd_add(vd_log(u), vd_div(vd_sub(r, vd_sub(u, one)), u)));
    return log[0];
#endif
}
