/* dd.h - numbers of about 100 bits, each an unevaluated sum of two doubles, and the
 * functions that decide a doubtful rounding. Slow, branchy and exact to at least 2^-90
 * relative; called for a few inputs in a million. No fused multiply-add is used, so that
 * the bits are the same on every machine. Refuses nothing, but promises its accuracy only
 * for |x| < 1e4 in exponentials: the callers have clamped. */
#ifndef PA_DD_H
#define PA_DD_H

typedef struct pa_dd {
    double hi, lo; /* |lo| <= ulp(hi) / 2 */
} pa_dd;

pa_dd pa_dd_set(double hi, double lo); /* any hi + lo with |hi| >= |lo| or hi = 0 */
pa_dd pa_dd_add(pa_dd a, pa_dd b);
pa_dd pa_dd_sub(pa_dd a, pa_dd b);
pa_dd pa_dd_mul(pa_dd a, pa_dd b);
pa_dd pa_dd_div(pa_dd a, pa_dd b);
pa_dd pa_dd_mul_d(pa_dd a, double b);
pa_dd pa_dd_add_d(pa_dd a, double b);
pa_dd pa_dd_mul_dd(double a, double b); /* the exact product */

pa_dd pa_dd_exp(pa_dd x);
pa_dd pa_dd_expm1(pa_dd x);
pa_dd pa_dd_log1p(pa_dd x); /* x > -0.9 */
pa_dd pa_dd_log(double x);  /* x > 0, finite */
pa_dd pa_dd_sqrt(double x); /* x > 0, finite */

/* The upper tail of the normal distribution, (1/2) erfc(a / sqrt(2)), 0 <= a <= 30. */
pa_dd pa_dd_normal_tail(double a);
/* The normal density, exp(-a^2 / 2) / sqrt(2 pi), |a| <= 30. */
pa_dd pa_dd_normal_density(double a);

/* The float nearest to a, ties to even, rounded once; denormals too. */
float pa_dd_float(pa_dd a);

#endif
