/* selu - y = scale x for x > 0, scale alpha (exp(x) - 1) otherwise
 *
 * scale = 1.0507009873554804934..., alpha = 1.6732632423543772848...
 * Derivative: scale for x > 0, else scale alpha exp(x); selu'(0) = scale alpha.
 * Special: selu(-0) = -0, selu(-inf) = -scale alpha, y'(-inf) = 0.
 * Method: expm1 of simd/math.h; the constants in two doubles where they decide.
 * Reference: Klambauer et al. (2017). */
#include "base/dd.h"
#include "simd/math.h"

#define SCALE          0x1.0cfabd6a91132p+0
#define SCALE_LO       0x1.6fc7d272f2695p-55
#define SCALE_ALPHA    0x1.c212cc640f031p+0
#define SCALE_ALPHA_LO 0x1.05161b045a1edp-56

#ifdef PA_REAL_IS_DOUBLE

PA_INLINE vd f(vd x)
{
    const vd most = vd_set1(0x1.fffffffffffffp1023);
    vdd t = {vd_clamp(x, -700, 0), vd_zero()};
    vd y = vdd_round(vdd_mul(vdd_of(SCALE_ALPHA, SCALE_ALPHA_LO), vdd_expm1(t)));
    vd plus = vdd_round(vdd_mul_d(vdd_of(SCALE, SCALE_LO), x));
    plus = vd_sel(vd_lt(vd_abs(plus), most), plus, vd_mul(vd_set1(SCALE), x));
    return vd_copysign(vd_sel(vd_ge(x, vd_zero()), plus, y), x);
}

PA_INLINE vd df(vd x)
{
    vd k;
    vdd t = {vd_clamp(x, -1400, 0), vd_zero()};
    vdd m = vdd_mul(vdd_of(SCALE_ALPHA, SCALE_ALPHA_LO), vdd_exp_parts(t, &k));
    vd y = vd_scale(vdd_round(m), k);
    return vd_sel(vd_gt(x, vd_zero()), vd_set1(SCALE), y);
}

#else

#define LOW (-120.0)

PA_INLINE vd f(vd x)
{
    vd y = vd_mul(vd_set1(SCALE_ALPHA), vd_expm1(vd_clamp(x, LOW, 0)));
    return vd_sel(vd_ge(x, vd_zero()), vd_mul(vd_set1(SCALE), x), y);
}

PA_INLINE vd df(vd x)
{
    vd y = vd_mul(vd_set1(SCALE_ALPHA), vd_exp(vd_clamp(x, LOW, 0)));
    return vd_sel(vd_gt(x, vd_zero()), vd_set1(SCALE), y);
}

#define MAP_BOTH

PA_INLINE void f_df(vd x, vd *y, vd *dy)
{
    const vd zero = vd_zero(), scale = vd_set1(SCALE), scale_alpha = vd_set1(SCALE_ALPHA);
    vd s, q;
    vd_exp_parts(vd_clamp(x, LOW, 0), &s, &q);
    vd w = vd_mul(scale_alpha, vd_fma(s, q, vd_sub(s, vd_set1(1))));
    vd e = vd_mul(scale_alpha, vd_fma(s, q, s));
    *y = vd_sel(vd_ge(x, zero), vd_mul(scale, x), w);
    *dy = vd_sel(vd_gt(x, zero), scale, e);
}

#define MAP_ROUND_F  12
#define MAP_ROUND_DF 11

static pa_dd exact_f(double x)
{
    if (x >= 0)
        return pa_dd_mul_d((pa_dd){SCALE, SCALE_LO}, x);
    return pa_dd_mul((pa_dd){SCALE_ALPHA, SCALE_ALPHA_LO}, pa_dd_expm1((pa_dd){x, 0}));
}

static pa_dd exact_df(double x)
{
    if (x > 0)
        return (pa_dd){SCALE, SCALE_LO};
    return pa_dd_mul((pa_dd){SCALE_ALPHA, SCALE_ALPHA_LO}, pa_dd_exp((pa_dd){x, 0}));
}
#endif

#include "kern/map.h"

const pa_op PA_(pa_op_selu) = {
    .name = "selu",
    .formula = "scale x if x > 0 else scale alpha (exp(x) - 1)",
    PA_MAP_MEMBERS,
};
