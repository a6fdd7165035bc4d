#include "kern/conv_image.h"

#include <string.h>

#include "base/watch.h"
#include "kern/conv_chunk.h"
#include "kern/conv_pool.h"
#include "kern/conv_sparse.h"
#include "kern/conv_sums.h"
#include "kern/conv_window.h"

enum {
    MIN_CHUNK_FLOPS = 500000, /* about 10 us */
    MAX_CHUNKS = 16,
    LARGE = 8192,           /* reals of a kernel, */
    MIN_CHUNK_PIXELS = 512, /* and pixels that are worth its sums */
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
    return g->grey && pools_by_two(g) ? PA_(pa_grey_marks)(g) : g->PH * g->PW * g->O;
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
    if (s->flips) {
        s->flipped = s->shared;
        s->flat = s->flipped + packed_size(&s->back);
        s->shared = s->flat + line(g->kh * g->kw * g->Og * g->C);
    }
    s->stamps = s->shared;
    s->shared += line(PA_(pa_window_fits)(g) ? PA_(pa_window_packed)(g) : 0);
}

/* What max-pooling works on, or the windows that are found without one. */
static size_t pool_size(const pa_conv *g, bool may_window)
{
    const size_t pool = g->ph ? g->PH * g->PW * g->O : 0,
                 n = may_window ? windows_size(g) : 0;
    return pool + n > 0 ? (pool > n ? pool : n) + PA_CONV_SLACK : 0;
}

/* Of windows: their places, if they have to be found, then what walks them. */
static size_t window_room(const pa_conv *g)
{
    return found_room(g) +
           (g->grey ? PA_(pa_grey_window_room)(g) : PA_(pa_window_room)(g));
}

/* Of what walks a dz that is mostly 0. */
static size_t room_size(const pa_conv *g, const layout *s)
{
    const size_t sparse = s->may_sparse ? PA_(pa_sparse_room)(g) : 0;
    const size_t window = s->may_window ? window_room(g) : 0;
    return sparse > window ? sparse : window;
}

layout PA_(pa_conv_layout)(const pa_conv *g)
{
    layout s = {.chunks = chunks_of(g), .may_sparse = PA_(pa_sparse_fits)(g)};
    s.may_window = PA_(pa_window_fits)(g) || PA_(pa_grey_windows_fit)(g);
    const size_t image = frame_size(g);
    lay_shared(&s, g);
    const size_t back = s.flips ? frame_size(&s.back) : 0;
    s.dz = s.frame + image;
    s.pool = s.dz + line(g->OH * g->OW * g->O + PA_CONV_SLACK);
    s.columns = s.pool + line(pool_size(g, s.may_window));
    s.dframe = s.columns + line(g->grey   ? PA_(pa_grey_room)(g)
                                : g->thin ? 0
                                          : PA_(pa_conv_columns)(g));
    s.room = s.dframe + (image > back ? image : back);
    s.slot = s.room + line(room_size(g, &s));
    s.dbias = line(g->thin || g->grey ? 0 : g->kh * g->kw * g->Cg * g->O);
    s.places = s.dbias + line(g->grey   ? PA_(pa_grey_sums)(g)
                              : g->thin ? PA_(pa_thin_table)(g)
                                        : 2 * g->O);
    s.sums = s.places;
    if (s.may_sparse || PA_(pa_window_fits)(g))
        s.sums += line(sums_size(g));
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
    const layout s = PA_(pa_conv_layout)(g);
    *n = s.shared + s.chunks * (s.sums + s.slot);
    return true;
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
}

static void forward_image(const chunked *q, size_t b, real *own)
{
    const pa_conv_job *w = q->w;
    const pa_conv *g = w->g;
    const size_t n = g->OH * g->OW * g->O, out = g->PH * g->PW * g->O;
    const real *x = w->x + b * g->H * g->W * g->C;
    real *y = g->ph ? own + q->s.dz : w->y + b * out, *room = own + q->s.columns;
    unsigned char *place = w->place ? w->place + b * PA_(pa_conv_places)(g) : NULL;
    fetch(q, b + 1, w->x, g->H * g->W * g->C);
    if (framed(g)) {
        into_frame(g, x, own);
        x = own;
    }
    if (g->grey) {
        PA_(pa_grey_image)(g, x, w->kernel, w->bias, room);
        if (pools_by_two(g)) {
            pool_planes(w, room, place, w->y + b * out);
            return;
        }
        PA_(pa_grey_out)(g, room, y);
    } else if (g->thin) {
        PA_(pa_thin_image)(g, x, w->scratch, y);
    } else {
        PA_(pa_conv_image)(g, x, w->scratch, w->bias, y);
    }
    if (g->ph) /* behind it, of fewer */
        PA_(pa_conv_pool)(g, w->relu, y, w->y + b * out, place, own + q->s.pool);
    else if (w->act.op)
        pa_fused_run(&w->act, y, w->slope ? w->slope + b * out : NULL, n);
}

static void forward_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    chunked *q = arg;
    int64_t slot;
    real *own = take_slot(q, &slot);
    size_t lo, hi;
    (void)worker;
    images(q, chunk, &lo, &hi);
    clear_border(q->w->g, own);
    if (q->w->g->ph) /* vectors of the last windows read beyond them */
        memset(own + q->s.pool - PA_CONV_SLACK, 0, PA_CONV_SLACK * sizeof *own);
    pa_watch *watch = pa_watch_in_pool();
    for (size_t b = lo; b < hi && !pa_watch_stops(watch); b++)
        forward_image(q, b, own);
    leave_slot(q, slot);
}

void PA_(pa_conv_forward)(const pa_conv_job *w, pa_pool *pool)
{
    chunked q = {.w = w, .s = PA_(pa_conv_layout)(w->g)};
    if (w->g->B == 0)
        return;
    if (w->g->thin)
        PA_(pa_thin_pack)(w->g, w->kernel, w->bias, w->scratch);
    else if (!w->g->grey)
        PA_(pa_conv_pack)(w->g, w->kernel, w->scratch);
    pa_pool_run(pool, forward_chunk, &q, (ptrdiff_t)q.s.chunks);
}
