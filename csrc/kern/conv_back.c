#include <string.h>

#include "base/watch.h"
#include "kern/conv_chunk.h"
#include "kern/conv_pool.h"
#include "kern/conv_sparse.h"
#include "kern/conv_sums.h"
#include "kern/conv_window.h"
#include "kern/gemm_bias.h"

/* dy act'(z) of a vector; f shows the slope, as relu's result or as it is. */
PA_INLINE vr times(const bool relu, vr d, vr f)
{
    if (!relu)
        return vr_mul(d, f);
    d = vr_sel(vr_gt(f, vr_zero()), d, vr_mul(vr_zero(), d)); /* NaN stays */
    return vr_sel(vr_ne(f, f), f, d);
}

/* dz = dy act'(z). All: (n). */
PA_INLINE void times_slope(const bool relu, const real *dy, const real *f, size_t n,
                           real *dz)
{
    size_t i = 0;
    for (; i + VR_N <= n; i += VR_N)
        vr_store(dz + i, times(relu, vr_load(dy + i), vr_load(f + i)));
    const int k = (int)(n - i);
    vr_store_n(dz + i, times(relu, vr_load_n(dy + i, k), vr_load_n(f + i, k)), k);
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
    if (w->relu)
        times_slope(true, w->dy + at, w->y + at, n, to);
    else
        times_slope(false, w->dy + at, w->slope + at, n, to);
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
        PA_(pa_window_dkernel)(g, x, slack, t->d, t->place, room, sums + s->places);
        return;
    }
    if (t->sparse) {
        PA_(pa_sparse_dkernel)(g, x, slack, dz, own + s->room, sums + s->places);
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
            clear_border(back, frame);
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
    real *room = own + s->room + found_room(g);
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
        PA_(pa_window_dimage)(g, t.d, t.place, w->scratch + s->stamps, frame, room, to);
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
    clear_border(q->w->g, own);
    /* the last line of dz that vectors may read */
    memset(own + s->pool - PA_CONV_SLACK, 0, PA_CONV_SLACK * sizeof *own);
    if (s->flips)
        clear_border(&s->back, own + s->dframe);
    memset(sums + s->dbias, 0, (s->sums - s->dbias) * sizeof *sums);
    bool first = true;
    pa_watch *watch = pa_watch_in_pool();
    for (size_t b = lo; b < hi && !pa_watch_stops(watch); b++)
        first = backward_image(q, b, first, own, sums);
    if (!first)
        pa_atomic_add(&q->dense, (int64_t)1 << chunk);
    leave_slot(q, slot);
}

/* sum[i] = sum of the parts of the chunks whose bits are set. sum: (n), the first part or
 * elsewhere. */
static void combine(const chunked *q, int64_t chunks, size_t offset, real *sum, size_t n)
{
    const real *part = chunk_sums(q, 0) + offset;
    bool begun = false;
    for (size_t k = 0; k < q->s.chunks; k++, part += q->s.sums) {
        if (!((uint64_t)chunks >> k & 1))
            continue;
        for (size_t i = 0; begun && i < n; i++)
            sum[i] += part[i];
        if (!begun && sum != part)
            memcpy(sum, part, n * sizeof *sum);
        begun = true;
    }
    if (!begun)
        memset(sum, 0, n * sizeof *sum);
}

/* dkernel, dbias += the sums of all chunks, where they are not NULL. */
static void fold(const chunked *q, size_t offset)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const size_t N = g->kw * g->C, row = row_of(g);
    real *sums = chunk_sums(q, 0) + offset;
    if (!w->dkernel && !w->dbias)
        return;
    combine(q, -1, offset, sums, sums_size(g));
    for (size_t o = 0; o < g->O; o++, sums += sums_of_one(g)) {
        for (size_t ky = 0; w->dkernel && ky < g->kh; ky++)
            for (size_t k = 0; k < N; k++)
                w->dkernel[(ky * N + k) * g->O + o] += sums[ky * row + k];
        if (w->dbias)
            w->dbias[o] += sums[g->kh * row];
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
    const int64_t all = -1;
    if (w->dx)
        lay_kernels(&q);
    pa_pool_run(pool, backward_chunk, &q, (ptrdiff_t)q.s.chunks);
    if (g->grey) {
        real *sums = chunk_sums(&q, 0) + q.s.dbias;
        combine(&q, all, q.s.dbias, sums, PA_(pa_grey_sums)(g));
        PA_(pa_grey_fold)(g, sums, w->dkernel, w->dbias);
    } else if (g->thin &&
               (w->dkernel || w->dbias)) { /* the kernel's table is no longer needed */
        combine(&q, all, q.s.dbias, w->scratch, PA_(pa_thin_table)(g));
        PA_(pa_thin_fold)(g, w->scratch, w->dkernel, w->dbias);
    } else if (!g->thin) {
        if (w->dkernel)
            combine(&q, pa_atomic_get(&q.dense), q.s.partial, w->dkernel,
                    g->kh * g->kw * g->Cg * g->O);
        if (w->dbias)
            combine(&q, all, q.s.dbias, w->dbias, g->O);
    }
    if (q.may_sparse || (q.may_window && !g->grey))
        fold(&q, q.s.places);
}
