#include "base/shape.h"

pa_status pa_axis(const char *op, int64_t axis, int rank, int *out, pa_error *err)
{
    if (axis < -rank || axis >= rank) {
        if (rank == 0)
            return pa_fail(err, PA_EVALUE,
                           "%s: axis: got %lld for a scalar, which has no axes", op,
                           (long long)axis);
        return pa_fail(err, PA_EVALUE,
                       "%s: axis: got %lld, expected %d to %d for an array of rank %d",
                       op, (long long)axis, -rank, rank - 1, rank);
    }
    *out = (int)(axis < 0 ? axis + rank : axis);
    return PA_OK;
}

pa_status pa_axis_set(const char *op, const int64_t *axis, int n, int rank, unsigned *set,
                      pa_error *err)
{
    *set = 0;
    if (n == 0)
        *set = (1u << rank) - 1u;
    for (int i = 0; i < n; i++) {
        int a = 0;
        pa_status st = pa_axis(op, axis[i], rank, &a, err);
        if (st)
            return st;
        if (*set & (1u << a))
            return pa_fail(err, PA_EVALUE, "%s: axis %lld is named twice; name it once",
                           op, (long long)axis[i]);
        *set |= 1u << a;
    }
    return PA_OK;
}

pa_status pa_want_dtype(const char *op, const char *name, const pa_tensor *t,
                        pa_dtype want, pa_error *err)
{
    if (t->dtype == want)
        return PA_OK;
    return pa_fail(err, PA_ETYPE, "%s: %s has dtype %s, expected %s; cast it first", op,
                   name, pa_dtype_name(t->dtype), pa_dtype_name(want));
}

static bool same(const pa_tensor *a, const pa_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

pa_status pa_want_same(const char *op, const char *a_name, const pa_tensor *a,
                       const char *b_name, const pa_tensor *b, const char *hint,
                       pa_error *err)
{
    if (same(a, b))
        return PA_OK;
    char ta[128], tb[128];
    return pa_fail(err, PA_EVALUE, "%s: %s has shape %s but %s has shape %s; %s", op,
                   a_name, pa_shape_text(a, ta), b_name, pa_shape_text(b, tb), hint);
}

pa_status pa_want_weights(const char *op, const pa_tensor *weight, const pa_tensor *pred,
                          int most, pa_error *err)
{
    bool fits = weight->rank >= 1 && weight->rank <= most;
    for (int i = 0; fits && i < weight->rank; i++)
        fits = weight->dim[i] == pred->dim[i];
    if (fits)
        return PA_OK;
    char tw[128], tp[128];
    return pa_fail(err, PA_EVALUE,
                   "%s: sample_weight has shape %s, expected one number a sample, or one "
                   "for each of the first dims of pred, %s",
                   op, pa_shape_text(weight, tw), pa_shape_text(pred, tp));
}

pa_status pa_broadcast(const char *op, const pa_tensor *a, const pa_tensor *b, int *rank,
                       int64_t dim[PA_MAX_RANK], pa_error *err)
{
    int r = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < r; i++) {
        int ia = i - (r - a->rank), ib = i - (r - b->rank);
        int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) {
            char ta[128], tb[128];
            return pa_fail(
                err, PA_EVALUE,
                "%s: shapes %s and %s do not broadcast: aligned from the right, "
                "each pair of dims must be equal or hold a 1",
                op, pa_shape_text(a, ta), pa_shape_text(b, tb));
        }
        dim[i] = da == 1 ? db : da;
    }
    *rank = r;
    return PA_OK;
}

/* Appends a dim, merging it into the one before where both operands allow. `ka`, `kb`:
 * does the operand have this dim (1) or is it broadcast along it (0)? During building,
 * sa and sb hold these flags. */
static void push(pa_bcast *p, size_t dim, size_t ka, size_t kb)
{
    if (dim == 1)
        return;
    int r = p->rank;
    if (r && p->sa[r - 1] == ka && p->sb[r - 1] == kb) {
        p->dim[r - 1] *= dim;
        return;
    }
    p->dim[r] = dim;
    p->sa[r] = ka;
    p->sb[r] = kb;
    p->rank++;
}

/* Turns the flags into strides. */
static void finish(pa_bcast *p, size_t size)
{
    p->size = size;
    if (p->rank == 0)
        push(p, 0, 1, 1), p->dim[0] = 1;
    size_t na = 1, nb = 1;
    for (int i = p->rank - 1; i >= 0; i--) {
        size_t ka = p->sa[i], kb = p->sb[i];
        p->sa[i] = ka ? na : 0;
        p->sb[i] = kb ? nb : 0;
        na *= ka ? p->dim[i] : 1;
        nb *= kb ? p->dim[i] : 1;
    }
}

void pa_bcast_init(pa_bcast *p, const pa_tensor *out, const pa_tensor *a,
                   const pa_tensor *b)
{
    p->rank = 0;
    for (int i = 0; i < out->rank; i++) {
        int ia = i - (out->rank - a->rank), ib = i - (out->rank - b->rank);
        bool ka = ia >= 0 && a->dim[ia] == out->dim[i];
        bool kb = ib >= 0 && b->dim[ib] == out->dim[i];
        push(p, (size_t)out->dim[i], ka, kb);
    }
    finish(p, out->size);
}

void pa_bcast_init_reduced(pa_bcast *p, const pa_tensor *out, unsigned set)
{
    p->rank = 0;
    for (int i = 0; i < out->rank; i++)
        push(p, (size_t)out->dim[i], !(set >> i & 1), 1);
    finish(p, out->size);
}

/* Segments long enough to be worth a thread, short enough to keep sums accurate. */
enum { SEG_TERMS = 1 << 16, SEG_ROWS_MAX = 4096, SEG_ROWS_MIN = 64 };

static void cut(pa_fold *f)
{
    f->n_tile = f->tail_kept ? (f->tail + PA_FOLD_TILE - 1) / PA_FOLD_TILE : 1;
    f->seg = SEG_TERMS;
    if (f->tail_kept && f->tail) {
        size_t width = f->tail < PA_FOLD_TILE ? f->tail : PA_FOLD_TILE;
        f->seg = SEG_TERMS / width;
        f->seg = f->seg > SEG_ROWS_MAX ? SEG_ROWS_MAX : f->seg;
        f->seg = f->seg < SEG_ROWS_MIN ? SEG_ROWS_MIN : f->seg;
    }
    f->n_seg = f->terms > f->seg ? (f->terms + f->seg - 1) / f->seg : 1;
    f->partial = f->n_seg > 1 ? f->n_seg * f->n_out : 0;
}

void pa_fold_init(pa_fold *f, const pa_tensor *x, unsigned set)
{
    size_t dim[PA_MAX_RANK];
    bool kept[PA_MAX_RANK];
    int r = 0;
    for (int i = 0; i < x->rank; i++) {
        bool k = !(set >> i & 1);
        if (x->dim[i] == 1)
            continue;
        if (r && kept[r - 1] == k) {
            dim[r - 1] *= (size_t)x->dim[i];
        } else {
            dim[r] = (size_t)x->dim[i];
            kept[r++] = k;
        }
    }
    f->n_kept = f->n_folded = 0;
    f->tail_kept = r ? kept[r - 1] : false;
    f->tail = r ? dim[r - 1] : 1;
    f->n_out = f->terms = 1;
    for (int i = 0; i < r; i++)
        *(kept[i] ? &f->n_out : &f->terms) *= dim[i];
    size_t step[PA_MAX_RANK], s = 1;
    for (int i = r - 1; i >= 0; s *= dim[i--])
        step[i] = s;
    for (int i = 0; i + 1 < r; i++) {
        if (kept[i]) {
            f->kept[f->n_kept] = dim[i];
            f->kept_step[f->n_kept++] = step[i];
        } else {
            f->folded[f->n_folded] = dim[i];
            f->folded_step[f->n_folded++] = step[i];
        }
    }
    cut(f);
}
