/* map.h - the loops of an element-wise operator y = f(x) or y = f(x, p).
 *
 * An operator's file defines, over vectors of doubles, and then includes this file:
 *     vd f(vd x)            the function; f(x, p) where MAP_PARAM is defined
 *     vd df(vd x)           its derivative in x
 *     void f_df(vd x, vd *y, vd *dy)      optional, with MAP_BOTH: both in one pass
 *     MAP_QUICK             optional, the name of pa_map's `quick` (see kern/quick.h)
 *     MAP_EXACT             defined if that is exact
 * (over vr where MAP_IN_REAL is defined: operators that need no more than their dtype)
 * and gets `map`, the four loops of op.h, and PA_MAP_MEMBERS for its pa_op.
 *
 * float32. Inputs widen to double, results round once. Where MAP_ROUND_F (or
 * MAP_ROUND_DF) is defined as j, the operator promises that f (df) errs by less than
 * 2^(j-53) relative, and defines pa_dd exact_f(double x), exact_df(double x)       (x, p)
 * with MAP_PARAM The loop then looks whether a result lies within 2^j ulps of a tie
 * between two floats, and there asks exact_f. So the result is the correctly rounded one,
 * hence the same bits on every ISA. Without the macro, f itself must be good enough to
 * round right.
 *
 * Body, tail, strides and in-place calls run one and the same block of vectors. */
#include <string.h>

#include "base/dd.h"
#include "kern/map_run.h"
#include "simd/simd.h"

#ifdef PA_REAL_IS_DOUBLE
#undef MAP_ROUND_F
#undef MAP_ROUND_DF
#endif

#ifdef MAP_PARAM
#define MAP_P(p) , p
#else
#define MAP_P(p)
#endif

#ifdef MAP_IN_REAL
typedef vr mv;
enum { LANES = VR_N };
#define mv_load  vr_load
#define mv_store vr_store
#define mv_set1  vr_set1
#define mv_mul   vr_mul
#else
typedef vd mv;
enum { LANES = VD_N };
#define mv_load  vd_load_real
#define mv_store vd_store_real
#define mv_set1  vd_set1
#define mv_mul   vd_mul
#endif
enum { BLOCK = 2 * LANES, AHEAD = 3072 /* bytes; 2 to 4 KB measured alike */ };

#if defined(MAP_ROUND_F) || defined(MAP_ROUND_DF)
/* Could a double within 2^j ulps of a lane of a or b round to another float than that
 * lane does? The low 29 bits of a tie are 1 followed by zeros. Results below the normal
 * floats have their ties elsewhere: let pa_map_settle look at all of them but zeros. */
PA_INLINE bool doubtful(vd a, vd b, int j)
{
    vwm tie = vw_in(vw_low(a, b), 3, 0x80000000u - (8u << j), 16u << j);
    vwm tiny = vw_in(vw_high(a, b), 1, 1, (0x3ff - 126u) << 21);
    return vwm_any(vwm_or(tie, tiny));
}

/* Rounds two vectors of results of x (and p) again, with the exact function's help. By
 * value, so that the loop keeps its vectors in registers. */
#if defined(__GNUC__)
__attribute__((noinline, cold))
#endif
static void
settle(pa_map_exact *exact, int j, vd x0, vd x1, vd p0, vd p1, vd r0, vd r1, real *y)
{
    double x[BLOCK], p[BLOCK], r[BLOCK];
    vd_store(x, x0);
    vd_store(x + VD_N, x1);
    vd_store(p, p0);
    vd_store(p + VD_N, p1);
    vd_store(r, r0);
    vd_store(r + VD_N, r1);
    PA_(pa_map_settle)(exact, j, x, p, r, y, BLOCK);
}
#endif

#ifdef MAP_ROUND_F
static pa_dd exact_f_xp(double x, double p)
{
    (void)p;
    return exact_f(x MAP_P(p));
}
#endif

#ifdef MAP_ROUND_DF
static pa_dd exact_df_xp(double x, double p)
{
    (void)p;
    return exact_df(x MAP_P(p));
}
#endif

PA_INLINE void finish_f(const mv *x, const mv *p, const mv *r, real *y)
{
    mv_store(y, r[0]);
    mv_store(y + LANES, r[1]);
#ifdef MAP_ROUND_F
    if (PA_UNLIKELY(doubtful(r[0], r[1], MAP_ROUND_F)))
        settle(exact_f_xp, MAP_ROUND_F, x[0], x[1], p[0], p[1], r[0], r[1], y);
#else
    (void)x;
    (void)p;
#endif
}

PA_INLINE void finish_df(const mv *x, const mv *p, const mv *r, real *y)
{
    mv_store(y, r[0]);
    mv_store(y + LANES, r[1]);
#ifdef MAP_ROUND_DF
    if (PA_UNLIKELY(doubtful(r[0], r[1], MAP_ROUND_DF)))
        settle(exact_df_xp, MAP_ROUND_DF, x[0], x[1], p[0], p[1], r[0], r[1], y);
#else
    (void)x;
    (void)p;
#endif
}

/* ---- blocks of BLOCK elements: in, out (BLOCK), p (1 or BLOCK)
 * --------------------------- */

PA_INLINE void load(mv v[2], const real *x)
{
    v[0] = mv_load(x);
    v[1] = mv_load(x + LANES);
}

PA_INLINE void load_p(mv v[2], const real *p, bool fixed)
{
#ifdef MAP_PARAM
    v[0] = fixed ? mv_set1(*p) : mv_load(p);
    v[1] = fixed ? v[0] : mv_load(p + LANES);
#else
    (void)p;
    (void)fixed;
    v[0] = v[1] = mv_set1(0);
#endif
}

PA_INLINE void block_f(const real *const *in, real *const *out, bool fixed)
{
    mv x[2], p[2], r[2];
    load(x, in[0]);
    load_p(p, in[1], fixed);
    r[0] = f(x[0] MAP_P(p[0]));
    r[1] = f(x[1] MAP_P(p[1]));
    finish_f(x, p, r, out[0]);
}

PA_INLINE void block_df(const real *const *in, real *const *out, bool fixed)
{
    mv x[2], p[2], r[2];
    load(x, in[0]);
    load_p(p, in[1], fixed);
    r[0] = df(x[0] MAP_P(p[0]));
    r[1] = df(x[1] MAP_P(p[1]));
    finish_df(x, p, r, out[0]);
}

PA_INLINE void block_vjp(const real *const *in, real *const *out, bool fixed)
{
    mv dy[2], x[2], p[2];
    load(dy, in[0]);
    load(x, in[1]);
    load_p(p, in[2], fixed);
    mv_store(out[0], mv_mul(dy[0], df(x[0] MAP_P(p[0]))));
    mv_store(out[0] + LANES, mv_mul(dy[1], df(x[1] MAP_P(p[1]))));
}

PA_INLINE void block_f_df(const real *const *in, real *const *out, bool fixed)
{
    mv x[2], p[2], r[2], g[2];
    load(x, in[0]);
    load_p(p, in[1], fixed);
    for (int i = 0; i < 2; i++) {
#ifdef MAP_BOTH
        f_df(x[i] MAP_P(p[i]), &r[i], &g[i]);
#else
        r[i] = f(x[i] MAP_P(p[i]));
        g[i] = df(x[i] MAP_P(p[i]));
#endif
    }
    finish_f(x, p, r, out[0]);
    finish_df(x, p, g, out[1]);
}

/* ---- contiguous runs -----------------------------------------------------------------
 */

/* Runs `block` over n elements of n_in inputs (the last of which is p, one element, when
 * `fixed`) and n_out outputs; what is left at the end comes back as one padded block. */
PA_INLINE void run(void (*block)(const real *const *, real *const *, bool),
                   pa_map_run *again, int n_in, int n_out, const real *const *in,
                   real *const *out, ptrdiff_t n, bool fixed)
{
    const real *pi[3] = {in[0], in[n_in > 1 ? 1 : 0], in[n_in - 1]};
    real *po[2] = {out[0], out[n_out - 1]};
    const int moving = n_in - (fixed ? 1 : 0);
    for (; n >= BLOCK; n -= BLOCK) {
        for (int k = 0; k < moving; k++)
            for (size_t b = 0; b < BLOCK * sizeof(real); b += 64)
                PA_PREFETCH((const char *)pi[k] + AHEAD + b);
        block(pi, po, fixed);
        for (int k = 0; k < moving; k++)
            pi[k] += BLOCK;
        for (int k = 0; k < n_out; k++)
            po[k] += BLOCK;
    }
    if (n > 0)
        PA_(pa_map_tail)(again, n_in, n_out, BLOCK, pi, po, (int)n, fixed);
}

#ifdef MAP_PARAM
enum { N_IN = 2 };
#define MAP_RUN(block, again, n_in, n_out)                                               \
    if (fixed)                                                                           \
        run(block, again, n_in, n_out, in, out, n, true);                                \
    else                                                                                 \
        run(block, again, n_in, n_out, in, out, n, false);
#else
enum { N_IN = 1 };
#define MAP_RUN(block, again, n_in, n_out)                                               \
    (void)fixed;                                                                         \
    run(block, again, n_in, n_out, in, out, n, false);
#endif

static void run_f(const real *const *in, real *const *out, ptrdiff_t n, bool fixed)
{
    MAP_RUN(block_f, run_f, N_IN, 1)
}

static void run_df(const real *const *in, real *const *out, ptrdiff_t n, bool fixed)
{
    MAP_RUN(block_df, run_df, N_IN, 1)
}

static void run_vjp(const real *const *in, real *const *out, ptrdiff_t n, bool fixed)
{
    MAP_RUN(block_vjp, run_vjp, N_IN + 1, 1)
}

static void run_f_df(const real *const *in, real *const *out, ptrdiff_t n, bool fixed)
{
    MAP_RUN(block_f_df, run_f_df, N_IN, 2)
}

/* ---- NumPy's inner loops --------------------------------------------------------------
 */

#ifndef MAP_FLAGS
#define MAP_FLAGS 0
#endif
#ifdef MAP_PARAM
#define MAP_HAS_PARAM true
#else
#define MAP_HAS_PARAM false
#endif

static void loop_f(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)
{
    (void)data;
    PA_(pa_map_loop)(run_f, N_IN, 1, MAP_HAS_PARAM, MAP_FLAGS, args, *n, steps);
}

static void loop_df(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)
{
    (void)data;
    PA_(pa_map_loop)(run_df, N_IN, 1, MAP_HAS_PARAM, MAP_FLAGS, args, *n, steps);
}

static void loop_vjp(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)
{
    (void)data;
    PA_(pa_map_loop)(run_vjp, N_IN + 1, 1, MAP_HAS_PARAM, MAP_FLAGS, args, *n, steps);
}

static void loop_f_df(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data)
{
    (void)data;
    PA_(pa_map_loop)(run_f_df, N_IN, 2, MAP_HAS_PARAM, MAP_FLAGS, args, *n, steps);
}

#ifndef MAP_QUICK
#define MAP_QUICK NULL
#endif
#ifdef MAP_EXACT
#define MAP_QUICK_EXACT true
#else
#define MAP_QUICK_EXACT false
#endif

static const pa_map map = {loop_f,        loop_df,   loop_vjp,       loop_f_df,
                           MAP_HAS_PARAM, MAP_QUICK, MAP_QUICK_EXACT};

/* What every map operator's pa_op has in common. */
#define PA_MAP_MEMBERS                                                                   \
    .kind = PA_KIND_MAP, .flags = PA_NEEDS_IN | PA_IN_PLACE, .min_in = 1, .max_in = 1,   \
    .n_out = 1, .in_names = "x", .map = &map, .shape = PA_(pa_map_shape),                \
    .forward = PA_(pa_map_forward), .backward = PA_(pa_map_backward)
