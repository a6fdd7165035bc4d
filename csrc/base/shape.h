/* shape.h - arithmetic with shapes: axes, broadcasting, and how to walk them.
 *
 * The checks name the operator, what they got and what they expected. The walks are what
 * the kernels run on: neighbouring dims that behave alike are merged and dims of 1 are
 * dropped, so that the innermost run is as long as the shapes allow. */
#ifndef PA_SHAPE_H
#define PA_SHAPE_H

#include "base/tensor.h"

/* ---- checks ----------------------------------------------------------------------- */

/* The axis in [0, rank) that `axis` in [-rank, rank) means. */
pa_status pa_axis(const char *op, int64_t axis, int rank, int *out, pa_error *err);

/* A set of axes as bits; an empty list means all. Refuses an axis named twice. */
pa_status pa_axis_set(const char *op, const int64_t *axis, int n, int rank, unsigned *set,
                      pa_error *err);

pa_status pa_want_dtype(const char *op, const char *name, const pa_tensor *t,
                        pa_dtype want, pa_error *err);

/* Fails unless a and b have one shape; the message names both and ends with `hint`. */
pa_status pa_want_same(const char *op, const char *a_name, const pa_tensor *a,
                       const char *b_name, const pa_tensor *b, const char *hint,
                       pa_error *err);

/* Fails unless sample_weight has the first of pred's dims, at least one and at most
 * `most`: a number for each sample, or for each step of it. */
pa_status pa_want_weights(const char *op, const pa_tensor *weight, const pa_tensor *pred,
                          int most, pa_error *err);

/* NumPy's broadcast of two shapes. */
pa_status pa_broadcast(const char *op, const pa_tensor *a, const pa_tensor *b, int *rank,
                       int64_t dim[PA_MAX_RANK], pa_error *err);

/* ---- walking a broadcast ----------------------------------------------------------- */

/* An output and two operands whose strides (in elements) are 0 where they are
 * broadcast. Innermost dim last; its strides are 0 or 1. */
typedef struct pa_bcast {
    int rank; /* at least 1 */
    size_t size;
    size_t dim[PA_MAX_RANK], sa[PA_MAX_RANK], sb[PA_MAX_RANK];
} pa_bcast;

/* a and b must broadcast to out. */
void pa_bcast_init(pa_bcast *p, const pa_tensor *out, const pa_tensor *a,
                   const pa_tensor *b);

/* out against an operand that lacks the dims in `set`, whatever its rank says (a reduced
 * tensor with or without keepdims); the second operand has out's shape. */
void pa_bcast_init_reduced(pa_bcast *p, const pa_tensor *out, unsigned set);

typedef struct pa_walk {
    const pa_bcast *p;
    size_t index[PA_MAX_RANK];
    size_t a, b; /* element offsets of the operands */
} pa_walk;

/* To element `at` of the output, at < size. */
static inline void pa_walk_seek(pa_walk *w, const pa_bcast *p, size_t at)
{
    w->p = p;
    w->a = w->b = 0;
    for (int i = p->rank - 1; i >= 0; i--) {
        size_t q = i ? at / p->dim[i] : 0;
        w->index[i] = at - q * p->dim[i];
        at = q;
        w->a += w->index[i] * p->sa[i];
        w->b += w->index[i] * p->sb[i];
    }
}

/* How many elements, at most `max`, lie ahead with constant strides. */
static inline size_t pa_walk_run(const pa_walk *w, size_t max)
{
    int last = w->p->rank - 1;
    size_t n = w->p->dim[last] - w->index[last];
    return n < max ? n : max;
}

static inline void pa_walk_next(pa_walk *w, size_t run)
{
    const pa_bcast *p = w->p;
    int i = p->rank - 1;
    w->index[i] += run;
    w->a += run * p->sa[i];
    w->b += run * p->sb[i];
    for (; i > 0 && w->index[i] == p->dim[i]; i--) {
        w->index[i] = 0;
        w->index[i - 1]++;
        w->a += p->sa[i - 1] - p->dim[i] * p->sa[i];
        w->b += p->sb[i - 1] - p->dim[i] * p->sb[i];
    }
}

/* ---- folding (reducing) ------------------------------------------------------------ */

/* How an array folds over a set of axes. The innermost merged dim, `tail`, is either
 * kept (results lie side by side) or folded (terms lie side by side). Work is cut into
 * units of `seg` terms; a result's partial values, one per segment, are combined in
 * order. All of it follows from the shape alone. */
typedef struct pa_fold {
    int n_kept, n_folded; /* merged dims outside the tail, outermost first */
    size_t kept[PA_MAX_RANK], kept_step[PA_MAX_RANK];
    size_t folded[PA_MAX_RANK], folded_step[PA_MAX_RANK];
    bool tail_kept;
    size_t tail;
    size_t n_out;   /* results */
    size_t terms;   /* terms of one result */
    size_t seg;     /* terms of one segment */
    size_t n_seg;   /* segments of one result, at least 1 */
    size_t n_tile;  /* tiles of at most PA_FOLD_TILE results across a kept tail */
    size_t partial; /* doubles of scratch that the partial values need */
} pa_fold;

enum { PA_FOLD_TILE = 256 };

void pa_fold_init(pa_fold *f, const pa_tensor *x, unsigned set);

#endif
