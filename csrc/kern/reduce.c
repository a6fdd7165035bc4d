#include "simd/simd.h"
#include "kern/reduce.h"

enum { LANES = 16, BLOCK = 512 };

/* NaN wins: (a < b ? b : a) would lose a NaN in b. The single | lets the compiler do
 * without branches, lane by lane. */
PA_INLINE double larger(double a, double b)
{
    return ((b <= a) | (a != a)) ? a : b;
}

PA_INLINE double at(const void *x, bool wide, size_t i)
{
    return wide ? ((const double *)x)[i] : (double)((const real *)x)[i];
}

/* ---- runs of terms that lie side by side ------------------------------------------- */

PA_INLINE double sum_block(const void *x, bool wide, size_t from, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lane[j] += at(x, wide, from + i + j);
    for (size_t j = 0; i + j < n; j++)
        lane[j] += at(x, wide, from + i + j);
    for (size_t w = LANES / 2; w; w /= 2)
        for (size_t j = 0; j < w; j++)
            lane[j] += lane[j + w];
    return lane[0];
}

/* Blocks combine like a binary counter: equal counts of blocks are added to each other.
 */
PA_INLINE double sum_run(const void *x, bool wide, size_t n)
{
    if (n <= BLOCK)
        return sum_block(x, wide, 0, n);
    double stack[64];
    int top = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        double s = sum_block(x, wide, i, n - i < BLOCK ? n - i : BLOCK);
        for (size_t k = count++; k & 1; k >>= 1)
            /* cppcheck-suppress [negativeIndex, uninitvar] ; k has `top` ones */
            s = stack[--top] + s;
        stack[top++] = s;
    }
    double s = stack[--top];
    while (top)
        s = stack[--top] + s;
    return s;
}

static double max_run(const real *x, size_t n)
{
    enum { WIDE = 4 * VD_N };
    double best = -INFINITY;
    size_t i = 0;
    if (n >= WIDE) {
        vd m[4];
        for (size_t j = 0; j < 4; j++)
            m[j] = vd_load_real(x + j * VD_N);
        for (i = WIDE; i + WIDE <= n; i += WIDE)
            for (size_t j = 0; j < 4; j++) {
                vd v = vd_load_real(x + i + j * VD_N);
                vdm stay = vdm_or(vd_le(v, m[j]), vd_ne(m[j], m[j]));
                m[j] = vd_sel(stay, m[j], v);
            }
        double lane[WIDE];
        for (size_t j = 0; j < 4; j++)
            vd_store(lane + j * VD_N, m[j]);
        for (size_t j = 0; j < WIDE; j++)
            best = larger(best, lane[j]);
    }
    for (; i < n; i++)
        best = larger(best, (double)x[i]);
    return best;
}

double PA_(pa_reduce_row)(const real *x, size_t n)
{
    return sum_run(x, false, n);
}

double PA_(pa_reduce_row_wide)(const double *x, size_t n)
{
    return sum_run(x, true, n);
}

static double fold_run(const pa_reduction *r, size_t from, size_t n, size_t o)
{
    if (!r->fill)
        return r->max ? max_run(r->x + from, n) : sum_run(r->x + from, false, n);
    double buf[PA_FILL_MAX], s = 0;
    for (size_t i = 0; i < n; i += PA_FILL_MAX) {
        size_t k = n - i < PA_FILL_MAX ? n - i : PA_FILL_MAX;
        r->fill(r->src, buf, from + i, k, o, 0);
        s += sum_run(buf, true, k);
    }
    return s;
}

/* ---- rows of terms that belong to neighbouring results ------------------------------
 */

PA_INLINE void add_row(double *acc, const void *x, bool wide, bool max, size_t n)
{
    if (max) {
        for (size_t j = 0; j < n; j++)
            acc[j] = larger(acc[j], at(x, wide, j));
    } else {
        for (size_t j = 0; j < n; j++)
            acc[j] += at(x, wide, j);
    }
}

static void fold_row(const pa_reduction *r, double *acc, size_t from, size_t n, size_t o)
{
    if (r->fill) {
        double buf[PA_FOLD_TILE];
        r->fill(r->src, buf, from, n, o, 1);
        add_row(acc, buf, true, false, n);
    } else if (r->max) {
        add_row(acc, r->x + from, false, true, n);
    } else {
        add_row(acc, r->x + from, false, false, n);
    }
}

/* ---- units ---------------------------------------------------------------------------
 */

/* Splits a linear index over dims into an index per dim; returns the offset. */
static size_t seek(const size_t *dim, const size_t *step, int n, size_t linear,
                   size_t *index)
{
    size_t off = 0;
    for (int i = n - 1; i >= 0; i--) {
        size_t q = i ? linear / dim[i] : 0;
        index[i] = linear - q * dim[i];
        off += index[i] * step[i];
        linear = q;
    }
    return off;
}

static size_t advance(const size_t *dim, const size_t *step, int n, size_t off,
                      size_t *index)
{
    for (int i = n - 1; i >= 0; i--) {
        off += step[i];
        if (++index[i] < dim[i] || i == 0)
            break;
        off -= dim[i] * step[i];
        index[i] = 0;
    }
    return off;
}

/* Writes acc: (n,), the value of results o .. o + n over segment s. */
static void store(const pa_reduction *r, const double *acc, size_t o, size_t n, size_t s)
{
    const pa_fold *f = r->fold;
    if (f->n_seg > 1) {
        for (size_t j = 0; j < n; j++)
            r->partial[s * f->n_out + o + j] = acc[j];
        return;
    }
    for (size_t j = 0; r->wide && j < n; j++)
        r->wide[o + j] = acc[j] / r->divisor;
    for (size_t j = 0; r->out && j < n; j++)
        r->out[o + j] = (real)(acc[j] / r->divisor);
}

static void unit_rows(const pa_reduction *r, size_t u)
{
    const pa_fold *f = r->fold;
    size_t index[PA_MAX_RANK], tiles = f->n_out / f->tail * f->n_tile;
    size_t s = u / tiles, group = u % tiles / f->n_tile, t = u % f->n_tile * PA_FOLD_TILE;
    size_t n = f->tail - t < PA_FOLD_TILE ? f->tail - t : PA_FOLD_TILE;
    size_t lo = s * f->seg, hi = f->terms - lo < f->seg ? f->terms : lo + f->seg;
    size_t base = seek(f->kept, f->kept_step, f->n_kept, group, index) + t;
    size_t off = lo < hi ? seek(f->folded, f->folded_step, f->n_folded, lo, index) : 0;
    double acc[PA_FOLD_TILE];
    for (size_t j = 0; j < n; j++)
        acc[j] = r->max ? -INFINITY : 0;
    for (size_t k = lo; k < hi; k++) {
        fold_row(r, acc, base + off, n, group * f->tail + t);
        off = advance(f->folded, f->folded_step, f->n_folded, off, index);
    }
    store(r, acc, group * f->tail + t, n, s);
}

static void unit_runs(const pa_reduction *r, size_t u)
{
    const pa_fold *f = r->fold;
    size_t index[PA_MAX_RANK], s = u / f->n_out, o = u % f->n_out;
    size_t lo = s * f->seg, hi = f->terms - lo < f->seg ? f->terms : lo + f->seg;
    size_t base = seek(f->kept, f->kept_step, f->n_kept, o, index);
    double acc = r->max ? -INFINITY : 0;
    if (lo < hi) {
        size_t row = lo / f->tail, in = lo - row * f->tail;
        size_t off = seek(f->folded, f->folded_step, f->n_folded, row, index);
        while (lo < hi) {
            size_t n = f->tail - in < hi - lo ? f->tail - in : hi - lo;
            double v = fold_run(r, base + off + in, n, o);
            acc = r->max ? larger(acc, v) : acc + v;
            lo += n;
            in = 0;
            off = advance(f->folded, f->folded_step, f->n_folded, off, index);
        }
    }
    store(r, &acc, o, 1, s);
}

typedef struct job {
    const pa_reduction *r;
    size_t units, per;
} job;

static void units(void *arg, ptrdiff_t chunk, int worker)
{
    const job *w = arg;
    size_t lo, hi;
    (void)worker;
    pa_chunk(w->units, w->per, chunk, &lo, &hi);
    for (; lo < hi; lo++) {
        if (w->r->fold->tail_kept)
            unit_rows(w->r, lo);
        else
            unit_runs(w->r, lo);
    }
}

static void combine(const pa_reduction *r)
{
    const pa_fold *f = r->fold;
    for (size_t o = 0; o < f->n_out; o++) {
        double acc = r->partial[o];
        for (size_t s = 1; s < f->n_seg; s++) {
            double v = r->partial[s * f->n_out + o];
            acc = r->max ? larger(acc, v) : acc + v;
        }
        if (r->wide)
            r->wide[o] = acc / r->divisor;
        if (r->out)
            r->out[o] = (real)(acc / r->divisor);
    }
}

void PA_(pa_reduce)(const pa_reduction *r, const pa_ctx *ctx)
{
    const pa_fold *f = r->fold;
    if (f->n_out == 0)
        return;
    size_t unit = f->terms < f->seg ? f->terms : f->seg; /* terms of one unit */
    job w = {r, f->n_out * f->n_seg, 1};
    if (f->tail_kept) {
        w.units = f->n_out / f->tail * f->n_tile * f->n_seg;
        unit *= f->tail < PA_FOLD_TILE ? f->tail : PA_FOLD_TILE;
    }
    size_t per_chunk = r->fill ? PA_CHUNK_MATH : PA_CHUNK_CHEAP;
    w.per = unit < per_chunk ? per_chunk / (unit ? unit : 1) : 1;
    pa_run(ctx, units, &w, pa_chunks(w.units, w.per));
    if (f->n_seg > 1)
        combine(r);
}
