/* map.c - see map_run.h. */
#include <math.h>
#include <string.h>

#include "base/fpu.h"
#include "base/shape.h"
#include "kern/loop.h"
#include "kern/map_run.h"
#include "simd/simd.h"

#if defined(__x86_64__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64)
enum { FLAG_INVALID = 1 };
#else
enum { FLAG_INVALID = FE_INVALID };
#endif

/* ---- strides
 * --------------------------------------------------------------------------- */

enum { PIECE = 256 /* elements: 5 arrays of 2 KB stay in the first-level cache */ };

static bool aligned(const char *p)
{
    return (uintptr_t)p % sizeof(real) == 0;
}

static void gather(real *to, const char *from, ptrdiff_t step, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        memcpy(to + i, from + i * step, sizeof *to);
}

static void scatter(char *to, ptrdiff_t step, const real *from, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        memcpy(to + i * step, from + i, sizeof *from);
}

static void run_pieces(pa_map_run *run, int n_in, int n_out, bool fixed, char **args,
                       ptrdiff_t n, const ptrdiff_t *steps)
{
    real in[3][PIECE], out[2][PIECE];
    const real *pi[3] = {in[0], in[1], in[2]};
    real *po[2] = {out[0], out[1]};
    for (ptrdiff_t done = 0; done < n; done += PIECE) {
        ptrdiff_t m = n - done < PIECE ? n - done : PIECE;
        for (int k = 0; k < n_in; k++) {
            bool one = fixed && k == n_in - 1;
            gather(in[k], args[k] + done * steps[k], steps[k], one ? 1 : m);
        }
        run(pi, po, m, fixed);
        for (int k = 0; k < n_out; k++)
            scatter(args[n_in + k] + done * steps[n_in + k], steps[n_in + k], out[k], m);
    }
}

void PA_(pa_map_loop)(pa_map_run *run, int n_in, int n_out, bool has_param,
                      unsigned flags, char **args, ptrdiff_t n, const ptrdiff_t *steps)
{
    const ptrdiff_t unit = sizeof(real);
    const bool fixed = has_param && steps[n_in - 1] == 0;
    bool plain = true;
    for (int k = 0; k < n_in + n_out; k++) {
        bool one = (fixed && k == n_in - 1) || n == 1;
        plain &= (steps[k] == unit || one) && aligned(args[k]);
    }
    if (n <= 0)
        return;
    if (plain) {
        /* element by element: as a loop it would become a call of memcpy */
        const char *first = args[0], *second = args[n_in > 1], *last = args[n_in - 1];
        char *out = args[n_in], *more = args[n_in + n_out - 1];
        const real *pi[3] = {(const real *)(const void *)first,
                             (const real *)(const void *)second,
                             (const real *)(const void *)last};
        real *po[2] = {(real *)(void *)out, (real *)(void *)more};
        run(pi, po, n, fixed);
    } else {
        run_pieces(run, n_in, n_out, fixed, args, n, steps);
    }
    if (!(flags & PA_MAP_INVALID)) { /* callers clear the flags before, as NumPy does */
        pa_fpu fpu = pa_fpu_get();
        if (fpu.flags & FLAG_INVALID) {
            fpu.flags &= ~(uint64_t)FLAG_INVALID;
            pa_fpu_set(fpu);
        }
    }
}

enum { MOST_BLOCK = 64 };

void PA_(pa_map_tail)(pa_map_run *run, int n_in, int n_out, int block,
                      const real *const *in, real *const *out, int n, bool fixed)
{
    real bi[3][MOST_BLOCK], bo[2][MOST_BLOCK];
    const real *pi[3] = {bi[0], bi[1], bi[2]};
    real *po[2] = {bo[0], bo[1]};
    const int moving = n_in - (fixed ? 1 : 0);
    for (int k = 0; k < moving; k++) {
        vr last = vr_set1(in[k][n - 1]);
        for (int i = 0; i < block; i += VR_N)
            vr_store(bi[k] + i, last);
        if (n > 1) /* whole vectors just stored are loaded sooner than patched ones */
            memcpy(bi[k], in[k], (size_t)n * sizeof(real));
    }
    if (fixed)
        bi[n_in - 1][0] = in[n_in - 1][0];
    run(pi, po, block, fixed);
    for (int k = 0; k < n_out; k++)
        if (n == 1)
            out[k][0] = bo[k][0];
        else
            memcpy(out[k], bo[k], (size_t)n * sizeof(real));
}

/* ---- rounding
 * -------------------------------------------------------------------------- */

void PA_(pa_map_settle)(pa_map_exact *exact, int j, const double *x, const double *p,
                        const double *r, real *y, int n)
{
    const double e = ldexp(1, j - 52);
    for (int i = 0; i < n; i++) {
        double d = fabs(r[i]) * e;
        if ((float)(r[i] - d) < (float)(r[i] + d))
            y[i] = pa_dd_float(exact(x[i], p[i]));
    }
}

/* ---- the operator's members
 * -------------------------------------------------------------- */

pa_status PA_(pa_map_shape)(pa_call *c, pa_error *err)
{
    const pa_tensor *x = c->in[0];
    pa_status st = pa_want_dtype(c->op->name, "x", x, PA_REAL, err);
    if (!st)
        st = pa_tensor_init(c->out[0], PA_REAL, x->rank, x->dim, err);
    c->saved_bytes = c->scratch_bytes = 0;
    c->flops = (double)x->size;
    return st;
}

typedef struct job {
    pa_loop *loop;
    char *arg[4]; /* inputs, then the output */
    ptrdiff_t step[4];
    int n_args;
    size_t n;
    real p;
} job;

static void chunk(void *arg, ptrdiff_t i, int worker)
{
    const job *j = arg;
    (void)worker;
    size_t lo, hi;
    pa_chunk(j->n, PA_CHUNK_MATH, i, &lo, &hi);
    char *args[4];
    for (int k = 0; k < j->n_args; k++)
        args[k] = j->arg[k] + (ptrdiff_t)lo * j->step[k];
    ptrdiff_t n = (ptrdiff_t)(hi - lo);
    j->loop(args, &n, j->step, NULL);
}

static void add_arg(job *j, void *data, ptrdiff_t step)
{
    j->arg[j->n_args] = data;
    j->step[j->n_args++] = step;
}

static void run_job(job *j, const pa_call *c, const pa_ctx *ctx, void *out)
{
    if (c->op->map->has_param) {
        j->p = (real)c->attr[0].num;
        add_arg(j, &j->p, 0);
    }
    add_arg(j, out, sizeof(real));
    pa_run(ctx, chunk, j, pa_chunks(j->n, PA_CHUNK_MATH));
}

void PA_(pa_map_forward)(const pa_call *c, const pa_ctx *ctx)
{
    job j = {.loop = c->op->map->f, .n = c->in[0]->size};
    add_arg(&j, c->in[0]->data, sizeof(real));
    run_job(&j, c, ctx, c->out[0]->data);
}

void PA_(pa_map_backward)(const pa_call *c, const pa_ctx *ctx)
{
    if (!c->din[0])
        return;
    job j = {.loop = c->op->map->vjp, .n = c->in[0]->size};
    add_arg(&j, c->dout[0]->data, sizeof(real));
    add_arg(&j, c->in[0]->data, sizeof(real));
    run_job(&j, c, ctx, c->din[0]->data);
}
