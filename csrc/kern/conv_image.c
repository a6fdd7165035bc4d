#include "kern/conv_image.h"

#include <string.h>

#include "base/atomic.h"
#include "base/watch.h"
#include "kern/conv_flip.h"
#include "kern/conv_frame.h"
#include "kern/conv_grey.h"
#include "kern/conv_pool.h"
#include "kern/conv_sparse.h"
#include "kern/gemm_bias.h"
#include "simd/simd.h"

enum {
    MIN_CHUNK_FLOPS = 500000, /* about 10 us */
    MAX_CHUNKS = 16,
    LARGE = 8192,           /* reals of a kernel, */
    MIN_CHUNK_PIXELS = 512, /* and pixels that are worth its sums */
    LINE = 64 / sizeof(real),
};

void PA_(pa_conv_plan)(pa_conv *g)
{
    size_t unit = VR_N, of = g->O;
    g->PH = g->ph ? g->OH / g->ph : g->OH;
    g->PW = g->pw ? g->OW / g->pw : g->OW;
    g->grey = PA_(pa_grey_fits)(g);
    g->thin = !g->grey && g->Cg == 1 && (g->groups > 1 || g->O <= VR_N / 2);
    if (g->sw == 1) { /* after least common multiple / VR_N vectors all repeats */
        while (of % 2 == 0 && unit > 1) {
            of /= 2;
            unit /= 2;
        }
        g->period = g->O / (VR_N / unit);
    } else {
        g->period = (g->O + VR_N - 1) / VR_N;
    }
}

size_t PA_(pa_conv_places)(const pa_conv *g)
{
    if (!g->ph)
        return 0;
    return g->grey && PA_(pa_grey_pools)(g) ? PA_(pa_grey_places)(g)
                                            : g->PH * g->PW * g->O;
}

static size_t chunks_of(const pa_conv *g)
{
    const double flops = 2.0 * (double)g->B * (double)g->OH * (double)g->OW *
                         (double)g->O * (double)(g->kh * g->kw * g->Cg);
    size_t n = g->B < MAX_CHUNKS ? g->B : MAX_CHUNKS;
    if (flops < MIN_CHUNK_FLOPS * (double)n)
        n = (size_t)(flops / MIN_CHUNK_FLOPS);
    /* each chunk's gradient of a large kernel is a pass over memory */
    const size_t pixels = g->B * g->OH * g->OW;
    if (g->kh * g->kw * g->Cg * g->O > LARGE && pixels < MIN_CHUNK_PIXELS * n)
        n = pixels / MIN_CHUNK_PIXELS;
    return n > 0 ? n : 1;
}

/* ---- scratch
 * -------------------------------------------------------------------------
 */

typedef struct layout { /* reals */
    size_t shared;      /* the kernel, laid out; then for each chunk sums, and a slot: */
    size_t partial, dbias, sparse, sums;
    size_t frame, dz, pool, columns, dframe, room, slot;
    size_t flipped, flat; /* in shared: laid out for `back`, and as it is */
    size_t chunks;
    bool may_sparse, flips;
    pa_conv back; /* conv_flip.h */
} layout;

static size_t line(size_t n)
{
    return (n + LINE - 1) / LINE * LINE;
}

static size_t frame_size(const pa_conv *g)
{
    const size_t wide = g->thin ? g->O : g->C;
    return framed(g) ? line(g->Hp * g->Wp * wide + PA_CONV_SLACK) : 0;
}

/* Of a kernel laid out for forward. */
static size_t packed_size(const pa_conv *g)
{
    return line(g->thin ? PA_(pa_thin_table)(g) : PA_(pa_conv_packed_size)(g));
}

static void lay_shared(layout *s, const pa_conv *g)
{
    if (g->grey)
        return;
    s->shared = packed_size(g);
    if (!g->thin && s->shared < PA_(pa_conv_packed_back_size)(g))
        s->shared = line(PA_(pa_conv_packed_back_size)(g));
    s->flips = PA_(pa_conv_flip)(g, &s->back);
    if (!s->flips)
        return;
    s->flipped = s->shared;
    s->flat = s->flipped + packed_size(&s->back);
    s->shared = s->flat + line(g->kh * g->kw * g->Og * g->C);
}

static layout layout_of(const pa_conv *g)
{
    layout s = {.chunks = chunks_of(g), .may_sparse = PA_(pa_sparse_fits)(g)};
    const size_t image = frame_size(g);
    lay_shared(&s, g);
    const size_t back = s.flips ? frame_size(&s.back) : 0;
    s.dz = s.frame + image;
    s.pool = s.dz + line(g->OH * g->OW * g->O + PA_CONV_SLACK);
    s.columns = s.pool + line(g->ph ? g->PH * g->PW * g->O + PA_CONV_SLACK : 0);
    s.dframe = s.columns + line(g->grey   ? PA_(pa_grey_room)(g)
                                : g->thin ? 0
                                          : PA_(pa_conv_columns)(g));
    s.room = s.dframe + (image > back ? image : back);
    s.slot = s.room + line(s.may_sparse ? PA_(pa_sparse_room)(g) : 0);
    s.dbias = line(g->thin || g->grey ? 0 : g->kh * g->kw * g->Cg * g->O);
    s.sparse = s.dbias + line(g->grey   ? PA_(pa_grey_sums)(g)
                              : g->thin ? PA_(pa_thin_table)(g)
                                        : 2 * g->O);
    s.sums = s.sparse + line(s.may_sparse ? PA_(pa_sparse_sums)(g) : 0);
    return s;
}

bool PA_(pa_conv_scratch)(const pa_conv *g, size_t *n)
{
    /* in double first: everything below is at most a small multiple of these */
    const double image = (double)g->Hp * (double)g->Wp * (double)(g->thin ? g->O : g->C);
    const double kernel =
        (double)g->kh * (double)g->kw * ((double)g->Cg + 64) * ((double)g->O + 64) * 16;
    const double result = (double)g->OH * (double)g->OW *
                          ((double)g->O + (double)g->kw * (double)g->Cg + 128);
    if ((image + kernel + result) * 64 * MAX_CHUNKS > (double)(PTRDIFF_MAX / 2))
        return false;
    const layout s = layout_of(g);
    *n = s.shared + s.chunks * (s.sums + s.slot);
    return true;
}

typedef struct chunked {
    const pa_conv_job *w;
    layout s;
    bool may_sparse; /* backward: the shape may, and the kernel is finite */
    pa_atomic busy;  /* slots, a bit for each */
} chunked;

static real *chunk_sums(const chunked *q, ptrdiff_t chunk)
{
    return q->w->scratch + q->s.shared + (size_t)chunk * q->s.sums;
}

/* Memory for a chunk while it runs: the first that no other uses, which so is
 * still in cache from the chunk before. */
static real *take_slot(chunked *q, int64_t *bit)
{
    int64_t busy, at;
    do {
        busy = pa_atomic_get(&q->busy);
        for (at = 0, *bit = 1; busy & *bit; *bit <<= 1)
            at++;
    } while (!pa_atomic_cas(&q->busy, busy, busy | *bit));
    return chunk_sums(q, (ptrdiff_t)q->s.chunks) + (size_t)at * q->s.slot;
}

static void leave_slot(chunked *q, int64_t bit)
{
    pa_atomic_add(&q->busy, -bit);
}

static void images(const chunked *q, ptrdiff_t chunk, size_t *lo, size_t *hi)
{
    const size_t n = q->s.chunks, B = q->w->g->B, i = (size_t)chunk;
    *lo = B / n * i + (i < B % n ? i : B % n);
    *hi = *lo + B / n + (i < B % n);
}

/* ---- forward
 * -------------------------------------------------------------------------
 */

/* pooled: (PH, PW, O). */
static void pool_planes(const pa_conv_job *w, real *room, unsigned char *place,
                        real *pooled)
{
    const pa_conv *g = w->g;
    PA_(pa_grey_pool)(g, w->relu, room, pooled, place);
    if (w->act.op)
        pa_fused_run(&w->act, pooled, NULL, g->PH * g->PW * g->O);
}

static void forward_image(const chunked *q, size_t b, real *own)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const size_t n = g->OH * g->OW * g->O, out = g->PH * g->PW * g->O;
    const real *x = w->x + b * g->H * g->W * g->C;
    real *y = g->ph ? own + q->s.dz : w->y + b * out, *room = own + q->s.columns;
    unsigned char *place = w->place ? w->place + b * PA_(pa_conv_places)(g) : NULL;
    if (framed(g)) {
        into_frame(g, x, own);
        x = own;
    }
    if (g->grey) {
        PA_(pa_grey_image)(g, x, w->kernel, w->bias, room);
        if (g->ph && PA_(pa_grey_pools)(g)) {
            pool_planes(w, room, place, w->y + b * out);
            return;
        }
        PA_(pa_grey_out)(g, room, y);
    } else if (g->thin) {
        PA_(pa_thin_image)(g, x, w->scratch, y);
    } else {
        PA_(pa_conv_image)(g, x, w->scratch, w->bias, y);
    }
    if (w->act.op)
        pa_fused_run(&w->act, y, w->slope ? w->slope + b * out : NULL, n);
    if (g->ph)
        PA_(pa_conv_pool)(g, y, w->y + b * out, place, own + q->s.pool);
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    chunked *q = arg;
    int64_t slot;
    real *own = take_slot(q, &slot);
    size_t lo, hi;
    (void)worker;
    images(q, chunk, &lo, &hi);
    memset(own, 0, q->s.dz * sizeof *own);
    if (q->w->g->ph) /* vectors of the last windows read beyond them */
        memset(own + q->s.pool - PA_CONV_SLACK, 0, PA_CONV_SLACK * sizeof *own);
    pa_watch *watch = pa_watch_in_pool();
    for (size_t b = lo; b < hi && !pa_watch_stops(watch); b++)
        forward_image(q, b, own);
    leave_slot(q, slot);
}

void PA_(pa_conv_forward)(const pa_conv_job *w, pa_pool *pool)
{
    chunked q = {.w = w, .s = layout_of(w->g)};
    if (w->g->B == 0)
        return;
    if (w->g->thin)
        PA_(pa_thin_pack)(w->g, w->kernel, w->bias, w->scratch);
    else if (!w->g->grey)
        PA_(pa_conv_pack)(w->g, w->kernel, w->scratch);
    pa_pool_run(pool, forward_chunk, &q, (ptrdiff_t)q.s.chunks);
}

/* ---- backward
 * ------------------------------------------------------------------------
 */

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

/* dz of one image: (OH, OW, O), readable beyond where somebody does; grey:
 * planes. */
static const real *dz_of(const chunked *q, size_t b, real *own)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const size_t n = g->PH * g->PW * g->O, at = b * n;
    const bool planes = g->grey && PA_(pa_grey_pools)(g);
    const real *dz = w->dy + at;
    real *room = own + q->s.dz;
    const unsigned char *place = g->ph ? w->place + b * PA_(pa_conv_places)(g) : NULL;
    if (w->act.op) {
        real *to = g->ph ? own + q->s.pool : room;
        times_slope(w->relu, dz, (w->relu ? w->y : w->slope) + at, n, to);
        dz = to;
    }
    if (g->ph && planes) {
        PA_(pa_grey_unpool)(g, dz, place, own + q->s.columns);
        return own + q->s.columns;
    }
    if (g->ph) {
        PA_(pa_conv_unpool)(g, dz, place, room);
        dz = room;
    }
    if (g->grey) {
        PA_(pa_grey_in)(g, dz, own + q->s.columns);
        return own + q->s.columns;
    }
    if (dz == w->dy + at && !g->thin && g->Og % VR_N != 0) {
        memcpy(room, dz, n * sizeof *room);
        dz = room;
    }
    return dz;
}

/* What one image adds to the gradients of kernel and bias. x: of a frame, if
 * any. */
static void add_dkernel(const chunked *q, const real *x, bool slack, const real *dz,
                        bool sparse, bool first, real *own, real *sums)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const layout *s = &q->s;
    if (sparse) {
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

/* frame: of `back`. A sparse image may have left its own gradient there. */
static void convolve_back(const chunked *q, const real *dz, real *frame, real *dx)
{
    const pa_conv *back = &q->s.back;
    const real *kernel = q->w->scratch + q->s.flipped;
    if (framed(back)) {
        if (q->may_sparse)
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
    const real *dz = dz_of(q, b, own), *x = w->x + b * in;
    const bool sparse = q->may_sparse && PA_(pa_sparse_pays)(g, dz, x);
    if (w->dkernel || w->dbias) {
        if (frame) {
            into_frame(g, x, own + s->frame);
            x = own + s->frame;
        }
        add_dkernel(q, x, frame || b + 1 < g->B, dz, sparse, first, own, sums);
    }
    first = first && sparse;
    if (!w->dx)
        return first;
    real *dx = w->dx + b * in, *to = frame ? own + s->dframe : dx;
    if (s->flips && !sparse) {
        convolve_back(q, dz, own + s->dframe, dx);
        return first;
    }
    memset(to, 0, (frame ? g->Hp * g->Wp * (g->thin ? g->O : g->C) : in) * sizeof *to);
    if (g->grey)
        PA_(pa_grey_dimage)(g, dz, w->kernel, to);
    else if (g->thin)
        PA_(pa_thin_dimage)(g, dz, w->scratch, to);
    else if (sparse)
        PA_(pa_sparse_dimage)(g, dz, w->scratch, frame, to);
    else
        PA_(pa_conv_dimage)(g, dz, w->scratch, own + s->columns, to);
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
}

void PA_(pa_conv_backward)(const pa_conv_job *w, pa_pool *pool)
{
    const pa_conv *g = w->g;
    chunked q = {.w = w, .s = layout_of(g)};
    q.may_sparse =
        q.s.may_sparse &&
        (!w->dx || PA_(pa_sparse_finite)(w->kernel, g->kh * g->kw * g->C * g->O));
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
}
