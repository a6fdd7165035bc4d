/* map_run.h - what all element-wise operators share: from NumPy's inner loop to
 * contiguous runs, the last word on doubtful roundings, and the operator's members. */
#ifndef PA_KERN_MAP_RUN_H
#define PA_KERN_MAP_RUN_H

#include "base/dd.h"
#include "op.h"

#if defined(__GNUC__)
#define PA_UNLIKELY(c) __builtin_expect((c), 0)
#else
#define PA_UNLIKELY(c) (c)
#endif

/* n elements of contiguous arrays: in = (x[, p]) or (dy, x[, p]), out = (y[, dy]); each
 * (n), but p is (1) when `fixed`. An output may be an input. */
typedef void pa_map_run(const real *const *in, real *const *out, ptrdiff_t n, bool fixed);

/* f(x, p) to 2^-70 relative or better. */
typedef pa_dd pa_map_exact(double x, double p);

enum {
    PA_MAP_INVALID = 1
}; /* flags: NaN in a result may come from numbers (log, sqrt) */

/* Strides, alignment and parameters: cuts what is not contiguous into small contiguous
 * copies. Spurious `invalid` flags, which comparing NaN raises, are taken back. */
void PA_(pa_map_loop)(pa_map_run *run, int n_in, int n_out, bool has_param,
                      unsigned flags, char **args, ptrdiff_t n, const ptrdiff_t *steps);

/* The last n < block elements of a run: pads them to one block of `block` elements with
 * copies of the last, which raises no flag that n elements do not. block <= 64. */
void PA_(pa_map_tail)(pa_map_run *run, int n_in, int n_out, int block,
                      const real *const *in, real *const *out, int n, bool fixed);

/* Rounds again those of n results r = f(x, p), each known to 2^j ulps, whose float
 * depends on what is not known. x, p, r, y: (n). */
void PA_(pa_map_settle)(pa_map_exact *exact, int j, const double *x, const double *p,
                        const double *r, real *y, int n);

pa_status PA_(pa_map_shape)(pa_call *c, pa_error *err);
void PA_(pa_map_forward)(const pa_call *c, const pa_ctx *ctx);
void PA_(pa_map_backward)(const pa_call *c, const pa_ctx *ctx);

#endif
