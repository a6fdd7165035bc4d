#include "kern/conv_grey.h"

#include "kern/conv_grey_room.h"
#include "kern/conv_pool.h"
#include "simd/bits.h"
#include "simd/keep.h"
#include "simd/zip.h"

/* ---- marks: for each vector of windows of a plane two masks, of those whose place is in
 * their second column and of those where it is in the second row -----------------------
 */

enum { MARK = 4 }; /* bytes */

/* Windows along a row and down, and vectors of a row. */
static size_t across(const pa_conv *g)
{
    return g->OW / 2;
}

static size_t down(const pa_conv *g)
{
    return g->OH / 2;
}

static size_t vectors(const pa_conv *g)
{
    return (across(g) + VR_N - 1) / VR_N;
}

static size_t mark_row(const pa_conv *g)
{
    return g->O * vectors(g) * MARK;
}

size_t PA_(pa_grey_marks)(const pa_conv *g)
{
    return down(g) * mark_row(g);
}

PA_INLINE void set_mark(unsigned char *mark, vrm column, vrm row)
{
    const uint32_t bits = (uint32_t)vrm_bits(column) | (uint32_t)vrm_bits(row) << 16;
    memcpy(mark, &bits, MARK);
}

PA_INLINE void get_mark(const unsigned char *mark, vrm *column, vrm *row)
{
    uint32_t bits;
    memcpy(&bits, mark, MARK);
    *column = vrm_of(bits & 0xffff);
    *row = vrm_of(bits >> 16);
}

void PA_(pa_grey_mark)(const pa_conv *g, const unsigned char *place, unsigned char *mark)
{
    for (size_t i = 0; i < down(g); i++, place += across(g) * g->O)
        for (size_t o = 0; o < g->O; o++)
            for (size_t j = 0; j < across(g); j += VR_N, mark += MARK) {
                uint32_t bits = 0;
                for (size_t k = 0; k < VR_N && j + k < across(g); k++) {
                    const uint32_t p = place[(j + k) * g->O + o];
                    bits |= (p & 1) << k | p >> 1 << (16 + k);
                }
                memcpy(mark, &bits, MARK);
            }
}

/* ---- forward -------------------------------------------------------------------------
 */

/* A row of windows of every plane, `apart` from each other, into rows; with relu their
 * largest as it leaves them. */
PA_INLINE void pool_rows(const pa_conv *g, const bool relu, const real *z, real *rows,
                         unsigned char *mark)
{
    const size_t apart = plane(g), below = z_row(g), next = strip(g), PW = g->PW;
    for (size_t o = g->O; o > 0; o--, z += apart, rows += next)
        for (size_t j = 0; j < PW; j += VR_N) {
            const real *p = z + 2 * j;
            const vr a = vr_load(p), b = vr_load(p + VR_N);
            const vr c = vr_load(p + below), d = vr_load(p + below + VR_N);
            const vr v[] = {vr_even(a, b), vr_odd(a, b), vr_even(c, d), vr_odd(c, d)};
            vrm row, column;
            const vr top = pa_pool_four(relu, v, &row, &column);
            vr_store(rows + j, top);
            if (mark) {
                set_mark(mark, column, row);
                mark += MARK;
            }
        }
}

void PA_(pa_grey_pool)(const pa_conv *g, bool relu, real *room, real *y,
                       unsigned char *mark)
{
    real *rows = rows_of(g, room);
    for (size_t i = 0; i < g->PH; i++, y += g->PW * g->O) {
        const real *z = room + 2 * i * z_row(g);
        unsigned char *to = mark ? mark + i * mark_row(g) : NULL;
        if (relu)
            pool_rows(g, true, z, rows, to);
        else
            pool_rows(g, false, z, rows, to);
        together(g, rows, strip(g), g->PW, pixels_of(g, room), (g->PH - i) * g->PW * g->O,
                 y);
    }
}

/* ---- backward ------------------------------------------------------------------------
 */

/* A row of windows of one plane. d: (PW) and vectors. */
static void unpool_row(const pa_conv *g, const real *d, const unsigned char *mark,
                       real *dz)
{
    const vr zero = vr_zero();
    for (size_t j = 0; j < g->PW; j += VR_N, dz += 2 * VR_N, mark += MARK) {
        const int n = g->PW - j < VR_N ? (int)(g->PW - j) : VR_N;
        const vr v = vr_load_n(d + j, n);
        vrm column, row;
        get_mark(mark, &column, &row);
        const vr left = vr_sel(column, zero, v), right = vr_sel(column, v, zero);
        const vr a = vr_sel(row, zero, left), b = vr_sel(row, zero, right);
        const vr c = vr_sel(row, left, zero), e = vr_sel(row, right, zero);
        real *low = dz + dz_row(g);
        vr_store(dz, vr_zip_low(a, b));
        vr_store(dz + VR_N, vr_zip_high(a, b));
        vr_store(low, vr_zip_low(c, e));
        vr_store(low + VR_N, vr_zip_high(c, e));
    }
}

/* What no window covers of a row. */
static void clear_beside(const pa_conv *g, real *dz)
{
    for (size_t j = up(2 * g->PW, 2 * VR_N); j < dz_row(g); j += VR_N)
        vr_store(dz + j, vr_zero());
}

void PA_(pa_grey_unpool)(const pa_conv *g, const real *d, const unsigned char *mark,
                         real *room)
{
    const size_t apart = strip(g);
    real *rows = rows_of(g, room);
    for (size_t i = 0; i < g->PH; i++, d += g->PW * g->O) {
        asunder(g, d, g->PW, pixels_of(g, room), (g->PH - i) * g->PW * g->O, apart, rows);
        for (size_t o = 0; o < g->O; o++, mark += vectors(g) * MARK) {
            real *dz = room + o * plane(g) + 2 * i * dz_row(g);
            unpool_row(g, rows + o * apart, mark, dz);
            clear_beside(g, dz);
            clear_beside(g, dz + dz_row(g));
        }
    }
    for (size_t o = 0; 2 * g->PH < g->OH && o < g->O; o++)
        memset(room + o * plane(g) + 2 * g->PH * dz_row(g), 0, dz_row(g) * sizeof *room);
}

/* ---- gradient of the kernel from windows ---------------------------------------------
 *
 * Lanes are windows: what lies under their places is chosen out of the four pixels that
 * may, the image's columns being sorted into even and odd ones. */

bool PA_(pa_grey_windows_fit)(const pa_conv *g)
{
    return g->grey && g->dh == 1 && g->dw == 1 && g->OH > 1 && g->OW > 1;
}

/* A row of every second column. */
static size_t half_row(const pa_conv *g)
{
    return up(g->Wp, 2 * VR_N) / 2;
}

static size_t half(const pa_conv *g)
{
    return g->Hp * half_row(g) + up(g->kw, VR_N) + VR_N;
}

static size_t d_row(const pa_conv *g)
{
    return vectors(g) * VR_N;
}

size_t PA_(pa_grey_window_room)(const pa_conv *g)
{
    return 2 * half(g) + MOST * down(g) * d_row(g) + 2 * MOST * strip(g);
}

typedef struct walk {  /* windows over some columns of the kernel */
    size_t rows, vecs; /* of windows */
    const real *x[2];  /* columns under every second place, from the first, the next */
    size_t row;        /* from one of the image's rows to the next */
    const real *d;     /* planes of rows */
    size_t d_row, apart;
    const unsigned char *mark;
    size_t mark_row;
} walk;

/* Adds what a row of windows gives; x as in walk, under their first row. */
PA_INLINE void gather_row(const int high, const int wide, const walk *t,
                          const real *const *x, const real *d, const unsigned char *mark,
                          vr (*acc)[TAPS])
{
    const size_t vecs = t->vecs, below = t->row, apart = t->apart;
    for (size_t v = 0; v < vecs; v++) {
        vr upper[TAPS + 1], lower[TAPS + 1];
        PA_UNROLL
        for (int k = 0; k <= wide; k++) {
            const real *from = x[k % 2] + v * VR_N + k / 2;
            upper[k] = vr_keep(vr_load(from));
            lower[k] = vr_keep(vr_load(from + below));
        }
        PA_UNROLL
        for (int o = 0; o < high; o++) {
            vrm column, row;
            get_mark(mark + ((size_t)o * vecs + v) * MARK, &column, &row);
            const vr dz = vr_load(d + (size_t)o * apart + v * VR_N);
            vr here = vr_sel(row, lower[0], upper[0]);
            PA_UNROLL
            for (int k = 0; k < wide; k++) {
                const vr next = vr_sel(row, lower[k + 1], upper[k + 1]);
                acc[o][k] = vr_fma(dz, vr_sel(column, next, here), acc[o][k]);
                here = next;
            }
        }
    }
}

/* `kh` rows of the kernel, kw places from one to the next. */
PA_INLINE void gather(const int high, const int wide, const walk *t, size_t kh, size_t kw,
                      size_t one, real *sums)
{
    for (size_t ky = 0; ky < kh; ky++, sums += kw * VR_N) {
        vr acc[GROUP][TAPS];
        PA_UNROLL
        for (int o = 0; o < high; o++) {
            PA_UNROLL
            for (int k = 0; k < wide; k++)
                acc[o][k] = vr_zero();
        }
        for (size_t i = 0; i < t->rows; i++) {
            const size_t at = (ky + 2 * i) * t->row;
            const real *x[] = {t->x[0] + at, t->x[1] + at};
            gather_row(high, wide, t, x, t->d + i * t->d_row, t->mark + i * t->mark_row,
                       acc);
        }
        add_group(high, wide, acc, one, sums);
    }
}

typedef void gather_kernel(const walk *t, size_t kh, size_t kw, size_t one, real *sums);
#define GATHER(high, wide)                                                               \
    static void gather_##high##x##wide(const walk *t, size_t kh, size_t kw, size_t one,  \
                                       real *sums)                                       \
    {                                                                                    \
        gather(high, wide, t, kh, kw, one, sums);                                        \
    }
EACH_GROUP(GATHER)
static gather_kernel *const gathers[GROUP][TAPS] = BY_GROUP(gather);

/* halves: the even columns of x, then the odd ones, and zeros behind either. */
static void part_columns(const pa_conv *g, const real *x, real *halves)
{
    const size_t row = half_row(g), odd = half(g), next = g->Wp, n = g->Hp * row;
    for (size_t i = 0; i < n; i += row, x += next)
        for (size_t j = 0; j < row; j += VR_N) {
            const vr a = vr_load(x + 2 * j), b = vr_load(x + 2 * j + VR_N);
            vr_store(halves + i + j, vr_even(a, b));
            vr_store(halves + odd + i + j, vr_odd(a, b));
        }
    for (size_t j = n; j < odd; j += VR_N) {
        vr_store(halves + j, vr_zero());
        vr_store(halves + odd + j, vr_zero());
    }
}

/* d as planes; behind their rows there is anything. */
static void part_planes(const pa_conv *g, const real *d, real *spare, real *planes)
{
    const size_t PW = across(g), row = d_row(g), rows = down(g), n = PW * g->O;
    for (size_t i = 0; i < rows; i++, d += n, planes += row)
        asunder(g, d, PW, spare, (rows - i) * n, rows * row, planes);
}

/* The sums of the bias, and zeros behind the planes' rows. */
static void add_bias(const pa_conv *g, real *planes, real *sums)
{
    const size_t one = sums_of_one(g), rows = down(g), whole = d_row(g) - VR_N;
    const int last = (int)(across(g) - whole);
    for (size_t o = g->O; o > 0; o--, sums += one) {
        vr sum = vr_load(sums + one - VR_N);
        for (size_t i = rows; i > 0; i--, planes += whole + VR_N) {
            for (size_t j = 0; j < whole; j += VR_N)
                sum = vr_add(sum, vr_load(planes + j));
            const vr d = vr_load_n(planes + whole, last);
            vr_store(planes + whole, d);
            sum = vr_add(sum, d);
        }
        vr_store(sums + one - VR_N, sum);
    }
}

void PA_(pa_grey_windows)(const pa_conv *g, const real *x, const real *d,
                          const unsigned char *mark, real *room, real *sums)
{
    real *planes = room + 2 * half(g), *spare = planes + MOST * down(g) * d_row(g);
    const size_t one = sums_of_one(g);
    walk t = {.rows = down(g), .vecs = vectors(g), .row = half_row(g)};
    t.d_row = d_row(g);
    t.apart = t.rows * t.d_row;
    t.mark_row = mark_row(g);
    part_columns(g, x, room);
    part_planes(g, d, spare, planes);
    add_bias(g, planes, sums);
    for (size_t o = 0, high; o < g->O; o += high) {
        high = g->O - o < GROUP ? g->O - o : GROUP;
        t.d = planes + o * t.apart;
        t.mark = mark + o * t.vecs * MARK;
        for (size_t kx = 0, wide; kx < g->kw; kx += wide) {
            wide = g->kw - kx < TAPS ? g->kw - kx : TAPS;
            t.x[0] = room + kx % 2 * half(g) + kx / 2;
            t.x[1] = room + (kx + 1) % 2 * half(g) + (kx + 1) / 2;
            gathers[high - 1][wide - 1](&t, g->kh, g->kw, one,
                                        sums + o * one + kx * VR_N);
        }
    }
}
