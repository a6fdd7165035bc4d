#include <string.h>

#include "base/watch.h"
#include "kern/conv_chunk.h"
#include "kern/conv_pool.h"
#include "kern/conv_sparse.h"
#include "kern/conv_window.h"
#include "kern/gemm_bias.h"

/* dz = dy act'(z); f shows the slope, as relu's result or as it is. All: (n).
 */
static void times_slope(bool relu, const real *dy, const real *f, size_t n, real *dz)
{
    for (size_t i = 0; i < n; i += VR_N) {
        const int k = n - i < VR_N ? (int)(n - i) : VR_N;
        const bool whole = k == VR_N;
        vr s = whole ? vr_load(f + i) : vr_load_n(f + i, k);
        vr d = whole ? vr_load(dy + i) : vr_load_n(dy + i, k);
        if (relu) { /* NaN stays */
            d = vr_sel(vr_gt(s, vr_zero()), d, vr_mul(vr_zero(), d));
            d = vr_sel(vr_ne(s, s), s, d);
        } else {
            d = vr_mul(d, s);
        }
        if (whole)
            vr_store(dz + i, d);
        else
            vr_store_n(dz + i, d, k);
    }
}

/* The gradient behind the activation, of one image: (PH, PW, O). */
static const real *times_act(const chunked *q, size_t b, real *own)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const size_t n = g->PH * g->PW * g->O, at = b * n;
    real *to = own + (g->ph ? q->s.pool : q->s.dz);
    if (!w->act.op)
        return w->dy + at;
    times_slope(w->relu, w->dy + at, (w->relu ? w->y : w->slope) + at, n, to);
    return to;
}

static const unsigned char *places_of(const chunked *q, size_t b)
{
    return q->w->place + b * PA_(pa_conv_places)(q->w->g);
}

/* One image's gradient, as it is walked. */
typedef struct gradient {
    const real *dz; /* (OH, OW, O), or before a max-pool of 2 x 2: (PH, PW, O) */
    const real *d;  /* all that is not 0 of it: windows, (OH / 2, OW / 2, O), at */
    const unsigned char *place; /* (grey: marks); or NULL, and */
    bool sparse;                /* the places of dz that are not 0 */
} gradient;

static bool pools_by_two(const pa_conv *g)
{
    return g->ph == 2 && g->pw == 2;
}

/* Windows that are found in dz. */
static bool find(const chunked *q, real *own, gradient *t)
{
    const pa_conv *g = q->w->g;
    real *d = own + q->s.pool;
    unsigned char *place = (unsigned char *)(own + q->s.room);
    if (!PA_(pa_window_find)(g, t->dz, d, place))
        return false;
    t->d = d;
    t->place = place;
    if (g->grey) {
        PA_(pa_grey_mark)(g, place, place + windows_size(g));
        t->place += windows_size(g);
    }
    return true;
}

/* The whole of dz, readable beyond where somebody does; grey: planes. */
static const real *whole(const chunked *q, size_t b, const gradient *t, real *own)
{
    const pa_conv *g = q->w->g;
    const real *dz = t->dz;
    real *room = own + q->s.dz, *planes = own + q->s.columns;
    if (g->grey && pools_by_two(g)) {
        PA_(pa_grey_unpool)(g, dz, places_of(q, b), planes);
        return planes;
    }
    if (pools_by_two(g)) {
        PA_(pa_conv_unpool)(g, dz, places_of(q, b), room);
        return room;
    }
    if (g->grey) {
        PA_(pa_grey_in)(g, dz, planes);
        return planes;
    }
    if (dz != room && !g->thin && g->Og % VR_N != 0)
        return memcpy(room, dz, g->OH * g->OW * g->O * sizeof *room);
    return dz;
}

static gradient gradient_of(const chunked *q, size_t b, const real *x, real *own)
{
    const pa_conv *g = q->w->g;
    gradient t = {.dz = times_act(q, b, own)};
    bool found = q->may_window;
    if (pools_by_two(g)) {
        t.d = t.dz;
        t.place = places_of(q, b);
    } else {
        if (g->ph) {
            PA_(pa_conv_unpool)(g, t.dz, places_of(q, b), own + q->s.dz);
            t.dz = own + q->s.dz;
        }
        found = found && find(q, own, &t);
    }
    if (found && PA_(pa_sparse_finite)(t.d, windows_size(g)) &&
        PA_(pa_sparse_finite)(x, g->H * g->W * g->C))
        return t;
    t.d = NULL;
    t.dz = whole(q, b, &t, own);
    t.sparse = q->may_sparse && PA_(pa_sparse_pays)(g, t.dz, x);
    return t;
}

/* What one image adds to the gradients of kernel and bias. x: of a frame, if
 * any. */
static void add_dkernel(const chunked *q, const real *x, bool slack, const gradient *t,
                        bool first, real *own, real *sums)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const layout *s = &q->s;
    const real *dz = t->dz;
    real *room = own + s->room + found_room(g);
    if (t->d && g->grey) {
        PA_(pa_grey_windows)(g, x, t->d, t->place, room, sums + s->dbias);
        return;
    }
    if (t->d) {
        PA_(pa_window_dkernel)(g, x, slack, t->d, t->place, room, sums + s->window);
        return;
    }
    if (t->sparse) {
        PA_(pa_sparse_dkernel)(g, x, slack, dz, own + s->room, sums + s->sparse);
        return;
    }
    if (g->grey || g->thin) {
        (g->grey ? PA_(pa_grey_dkernel) : PA_(pa_thin_dkernel))(g, x, dz,
                                                                sums + s->dbias);
        return;
    }
    if (w->dkernel)
        PA_(pa_conv_dkernel)(g, x, dz, !first, sums + s->partial);
    if (w->dbias) {
        real *sum = sums + s->dbias, *one = sum + g->O;
        PA_(pa_bias_grad)(NULL, g->OH * g->OW, g->O, dz, NULL, NULL, one);
        for (size_t o = 0; o < g->O; o++)
            sum[o] += one[o];
    }
}

/* frame: of `back`. An image that is mostly 0 may have left its gradient there. */
static void convolve_back(const chunked *q, const real *dz, real *frame, real *dx)
{
    const pa_conv *back = &q->s.back;
    const real *kernel = q->w->scratch + q->s.flipped;
    if (framed(back)) {
        if (q->may_sparse || q->may_window)
            memset(frame, 0, frame_size(back) * sizeof *frame);
        into_frame(back, dz, frame);
        dz = frame;
    }
    if (back->thin)
        PA_(pa_thin_image)(back, dz, kernel, dx);
    else
        PA_(pa_conv_image)(back, dz, kernel, NULL, dx);
}

/* `first`: nothing has been written into `partial`. Returns whether nothing
 * still is. */
static bool backward_image(const chunked *q, size_t b, bool first, real *own, real *sums)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const layout *s = &q->s;
    const size_t in = g->H * g->W * g->C;
    const bool frame = framed(g);
    const real *x = w->x + b * in;
    const gradient t = gradient_of(q, b, x, own);
    if (w->dkernel || w->dbias) {
        if (frame) {
            into_frame(g, x, own + s->frame);
            x = own + s->frame;
        }
        add_dkernel(q, x, frame || b + 1 < g->B, &t, first, own, sums);
    }
    first = first && (t.sparse || t.d);
    if (!w->dx)
        return first;
    real *dx = w->dx + b * in, *to = frame ? own + s->dframe : dx;
    if (s->flips && !t.sparse && !t.d) {
        convolve_back(q, t.dz, own + s->dframe, dx);
        return first;
    }
    memset(to, 0, (frame ? g->Hp * g->Wp * (g->thin ? g->O : g->C) : in) * sizeof *to);
    if (g->grey)
        PA_(pa_grey_dimage)(g, t.d ? whole(q, b, &t, own) : t.dz, w->kernel, to);
    else if (g->thin)
        PA_(pa_thin_dimage)(g, t.dz, w->scratch, to);
    else if (t.d)
        PA_(pa_window_dimage)(g, t.d, t.place, w->scratch + s->stamps, frame, to);
    else if (t.sparse)
        PA_(pa_sparse_dimage)(g, t.dz, w->scratch, frame, to);
    else
        PA_(pa_conv_dimage)(g, t.dz, w->scratch, own + s->columns, to);
    if (frame)
        out_of_frame(g, to, dx);
    return first;
}

static void backward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    chunked *q = arg;
    const layout *s = &q->s;
    int64_t slot;
    real *own = take_slot(q, &slot), *sums = chunk_sums(q, chunk);
    size_t lo, hi;
    (void)worker;
    images(q, chunk, &lo, &hi);
    memset(own, 0, s->dz * sizeof *own);
    /* the last line of dz that vectors may read */
    memset(own + s->pool - PA_CONV_SLACK, 0, PA_CONV_SLACK * sizeof *own);
    if (q->w->g->grey)
        memset(own + s->columns, 0, (s->dframe - s->columns) * sizeof *own);
    if (s->flips)
        memset(own + s->dframe, 0, (s->room - s->dframe) * sizeof *own);
    memset(sums + s->dbias, 0, (s->sums - s->dbias) * sizeof *sums);
    bool first = true;
    pa_watch *watch = pa_watch_in_pool();
    for (size_t b = lo; b < hi && !pa_watch_stops(watch); b++)
        first = backward_image(q, b, first, own, sums);
    if (first)
        memset(sums, 0, s->dbias * sizeof *sums);
    leave_slot(q, slot);
}

/* sum[i] = sum of the chunks' parts. sum: (n), the first part or elsewhere. */
static void combine(const chunked *q, size_t offset, real *sum, size_t n)
{
    const real *part = chunk_sums(q, 0) + offset;
    if (sum != part)
        memcpy(sum, part, n * sizeof *sum);
    for (size_t k = 1; k < q->s.chunks; k++) {
        part += q->s.sums;
        for (size_t i = 0; i < n; i++)
            sum[i] += part[i];
    }
}

/* What the gradient of the image reads of the kernel. */
static void lay_kernels(const chunked *q)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g, *back = &q->s.back;
    if (q->s.flips) {
        real *flat = w->scratch + q->s.flat, *to = w->scratch + q->s.flipped;
        PA_(pa_conv_flip_kernel)(g, w->kernel, flat);
        if (back->thin)
            PA_(pa_thin_pack)(back, flat, NULL, to);
        else
            PA_(pa_conv_pack)(back, flat, to);
    }
    if (g->thin && !q->s.flips)
        PA_(pa_thin_pack)(g, w->kernel, NULL, w->scratch);
    else if (!g->grey && (!q->s.flips || q->may_sparse))
        PA_(pa_conv_pack_back)(g, w->kernel, w->scratch);
    if (q->may_window && !g->grey)
        PA_(pa_window_pack)(g, w->kernel, w->scratch + q->s.stamps);
}

void PA_(pa_conv_backward)(const pa_conv_job *w, pa_pool *pool)
{
    const pa_conv *g = w->g;
    chunked q = {.w = w, .s = PA_(pa_conv_layout)(g)};
    const bool may = q.s.may_sparse || q.s.may_window;
    const bool finite =
        may && (!w->dx || g->grey ||
                PA_(pa_sparse_finite)(w->kernel, g->kh * g->kw * g->Cg * g->O));
    q.may_sparse = q.s.may_sparse && finite;
    q.may_window = q.s.may_window && finite;
    if (w->dx)
        lay_kernels(&q);
    pa_pool_run(pool, backward_chunk, &q, (ptrdiff_t)q.s.chunks);
    if (g->grey) {
        real *sums = chunk_sums(&q, 0) + q.s.dbias;
        combine(&q, q.s.dbias, sums, PA_(pa_grey_sums)(g));
        PA_(pa_grey_fold)(g, sums, w->dkernel, w->dbias);
    } else if (g->thin &&
               (w->dkernel || w->dbias)) { /* the kernel's table is no longer needed */
        combine(&q, q.s.dbias, w->scratch, PA_(pa_thin_table)(g));
        PA_(pa_thin_fold)(g, w->scratch, w->dkernel, w->dbias);
    } else if (!g->thin) {
        if (w->dkernel)
            combine(&q, q.s.partial, w->dkernel, g->kh * g->kw * g->Cg * g->O);
        if (w->dbias)
            combine(&q, q.s.dbias, w->dbias, g->O);
    }
    if (q.may_sparse && (w->dkernel || w->dbias)) {
        real *sums = chunk_sums(&q, 0) + q.s.sparse;
        combine(&q, q.s.sparse, sums, PA_(pa_sparse_sums)(g));
        PA_(pa_sparse_fold)(g, sums, w->dkernel, w->dbias);
    }
    if (q.may_window && !g->grey && (w->dkernel || w->dbias)) {
        real *sums = chunk_sums(&q, 0) + q.s.window;
        combine(&q, q.s.window, sums, PA_(pa_window_sums)(g));
        PA_(pa_window_fold)(g, sums, w->dkernel, w->dbias);
    }
}
