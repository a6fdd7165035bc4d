#include "kern/conv_window.h"

#include <string.h>

#include "kern/conv_sums.h"

enum {
/* Vectors of the image's gradient in registers, of one row more than the kernel has. */
#if TILE_ROWS >= 12
    WIDE = 3,
#else
    WIDE = 2,
#endif
    PATCHES = 24 * 1024 / sizeof(real), /* reals: half of the first-level cache, */
    PACKED = 48 * 1024 / sizeof(real),  /* and all of it */
    MANY = 8,                           /* bytes of a word */
};

/* Laid out: for each result and either column of a window the kernel's rows behind one of
 * zeros; one more is behind them all. */
static size_t packed_rows(const pa_conv *g)
{
    return 2 * g->O * (g->kh + 1) + 1;
}

size_t PA_(pa_window_packed)(const pa_conv *g)
{
    return packed_rows(g) * in_vectors((g->kw + 1) * g->C);
}

/* Two loads in three cross a cache line when they begin at any pixel: what lies under
 * each pixel of a row is laid out, aligned, a strip of the kernel's columns after the
 * other. */
static size_t patches(const pa_conv *g)
{
    return g->Hp * g->OW * least(row_of(g), MOST_VECS * VR_N);
}

size_t PA_(pa_window_room)(const pa_conv *g)
{
    return patches(g) + (g->OH / 2) * (g->OW / 2) * g->O; /* int32_t */
}

bool PA_(pa_window_fits)(const pa_conv *g)
{
    return g->groups == 1 && !g->thin && !g->grey && g->sh == 1 && g->sw == 1 &&
           g->dh == 1 && g->dw == 1 && g->kh <= MOST_ROWS && g->OH > 1 && g->OW > 1 &&
           (double)g->Hp * (double)g->OW * (double)row_of(g) <= PATCHES &&
           (double)packed_rows(g) * (double)in_vectors((g->kw + 1) * g->C) <= PACKED;
}

bool PA_(pa_window_find)(const pa_conv *g, const real *dz, real *d, unsigned char *place)
{
    const size_t row = g->OW * g->O, PH = g->OH / 2, PW = g->OW / 2;
    for (size_t i = 0; i < g->OH; i++) /* what no window covers */
        for (size_t j = i < 2 * PH ? 2 * PW * g->O : 0; j < row; j++)
            if (dz[i * row + j] != 0)
                return false;
    for (size_t i = 0; i < PH; i++, dz += 2 * row)
        for (size_t j = 0; j < PW; j++) {
            const real *p = dz + 2 * j * g->O;
            for (size_t o = 0; o < g->O; o++, p++) {
                const real v[] = {p[0], p[g->O], p[row], p[row + g->O]};
                int at = 0, found = 0;
                for (int k = 0; k < 4; k++) {
                    at = v[k] != 0 ? k : at;
                    found += v[k] != 0;
                }
                if (found > 1)
                    return false;
                *d++ = v[at];
                *place++ = (unsigned char)at;
            }
        }
    return true;
}

/* ---- gradient of the kernel ----------------------------------------------------------
 */

/* `vecs` vectors of the image under each pixel, row below row, as far as it is readable:
 * lanes behind the kernel's columns hold anything. laid: (OW, Hp, vecs VR_N). */
PA_INLINE void lay(const pa_conv *g, const int vecs, const real *x, const real *end,
                   real *laid)
{
    const size_t Hp = g->Hp, C = g->C, next = g->Wp * C;
    for (size_t ox = g->OW; ox > 0; ox--, x += C) {
        const real *from = x;
        for (size_t i = Hp; i > 0; i--, from += next, laid += vecs * VR_N) {
            if (end - from < vecs * VR_N) {
                memcpy(laid, from, (size_t)(end - from) * sizeof *from);
                continue;
            }
            PA_UNROLL
            for (int j = 0; j < vecs; j++)
                vr_store(laid + j * VR_N, vr_load(from + j * VR_N));
        }
    }
}

/* From a window's first pixel to its places. at: (n). */
static void locate(size_t n, const unsigned char *place, int32_t down, int32_t right,
                   int32_t *at)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (place[i] >> 1) * down + (place[i] & 1) * right;
}

typedef struct strip {    /* one result's windows */
    size_t high, wide, O; /* windows; from one to the next, */
    size_t down, right;   /* and of what lies under them */
    const real *d, *x;    /* the image, laid out */
    const int32_t *at;    /* of a place in its window */
    size_t row;           /* from row to row of the sums */
    real *bias;           /* a vector of equal sums of d, or NULL */
} strip;

PA_INLINE void gather(const int rows, const int vecs, const strip *s, real *sums)
{
    vr acc[MOST_ROWS][MOST_VECS], sum = vr_zero();
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    const size_t O = s->O;
    const real *d = s->d;
    const int32_t *at = s->at;
    const size_t right = s->right, wide = s->wide;
    for (size_t y = 0; y < s->high; y++) {
        const real *under = s->x + y * s->down;
        for (size_t k = wide; k > 0; k--, d += O, at += O, under += right) {
            const vr dk = vr_set1(*d);
            const real *x = under + *at;
            sum = vr_add(sum, dk);
            PA_UNROLL
            for (int i = 0; i < rows; i++, x += vecs * VR_N) {
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    acc[i][j] = vr_fma(dk, vr_load(x + j * VR_N), acc[i][j]);
            }
        }
    }
    add_sums(rows, vecs, acc, sum, s->bias, s->row, sums);
}

typedef void gather_kernel(const strip *s, real *sums);
#define GATHER(rows, vecs)                                                               \
    static void gather_##rows##x##vecs(const strip *s, real *sums)                       \
    {                                                                                    \
        gather(rows, vecs, s, sums);                                                     \
    }
EACH_SIZE(GATHER)
static gather_kernel *const gathers[MOST_VECS][MOST_ROWS] = BY_SIZE(gather);

void PA_(pa_window_dkernel)(const pa_conv *g, const real *x, bool slack, const real *d,
                            const unsigned char *place, real *room, real *sums)
{
    int32_t *at = (int32_t *)(void *)(room + patches(g));
    strip s = {.high = g->OH / 2, .wide = g->OW / 2, .O = g->O, .row = row_of(g)};
    s.x = room;
    const real *end = x + g->Hp * g->Wp * g->C + (slack ? PA_CONV_SLACK : 0);
    for (size_t j = 0; j < s.row; j += MOST_VECS * VR_N) {
        const size_t width = least(s.row - j, MOST_VECS * VR_N), vecs = width / VR_N;
        if (vecs == 1)
            lay(g, 1, x + j, end, room);
        else
            lay(g, MOST_VECS, x + j, end, room);
        s.down = 2 * width;
        s.right = 2 * g->Hp * width;
        locate(s.high * s.wide * g->O, place, (int32_t)width, (int32_t)(g->Hp * width),
               at);
        for (size_t o = 0; o < g->O; o++) {
            real *own = sums + o * sums_of_one(g);
            s.d = d + o;
            s.at = at + o;
            s.bias = j == 0 ? own + g->kh * s.row : NULL;
            gathers[vecs - 1][g->kh - 1](&s, own + j);
        }
    }
}

/* ---- gradient of the image -----------------------------------------------------------
 */

/* In strips of WIDE vectors of columns. */
void PA_(pa_window_pack)(const pa_conv *g, const real *kernel, real *packed)
{
    const size_t N = g->kw * g->C, all = N + g->C;
    memset(packed, 0, PA_(pa_window_packed)(g) * sizeof *packed);
    for (size_t j = 0, width; j < all; j += width, packed += width) {
        width = least(in_vectors(all - j), WIDE * VR_N);
        for (size_t o = 0; o < g->O; o++)
            for (size_t before = 0; before <= g->C; before += g->C) {
                packed += width;
                const size_t from = j > before ? j - before : 0;
                const size_t end = j + width > before ? least(N, j + width - before) : 0;
                for (size_t ky = 0; ky < g->kh; ky++, packed += width)
                    for (size_t k = from; k < end; k++)
                        packed[before + k - j] = kernel[(ky * N + k) * g->O + o];
            }
    }
}

/* Of the rows that are laid out for a result, the first for a place: those for the left
 * column come before those for the right one, and one above the other. */
static void find_rows(size_t n, const unsigned char *place, unsigned char rows,
                      unsigned char *first)
{
    for (size_t i = 0; i < n; i++)
        first[i] = (unsigned char)((place[i] & 1) * rows + 1 - (place[i] >> 1));
    memset(first + n, 0, MANY);
}

/* MANY bytes in one load: an address that comes out of a load of its own holds up the
 * loads behind it. */
PA_INLINE uint64_t in_word(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, MANY);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

typedef struct column {         /* of windows */
    size_t n, O;                /* windows; results */
    const real *d;              /* (O) */
    const real *kernel;         /* laid out */
    const unsigned char *first; /* (O), find_rows */
    size_t down;                /* from window to window, of d and first */
    size_t next;                /* from row to row of dx */
    int last;                   /* lanes of the last vector, */
    const real *end;            /* where nothing may be written behind it */
} column;

PA_INLINE void add_row(const int vecs, const column *s, const vr *acc, real *to)
{
    PA_UNROLL
    for (int v = 0; v < vecs; v++, to += VR_N) {
        if (v < vecs - 1 || s->end - to >= VR_N)
            vr_store(to, vr_add(vr_load(to), acc[v]));
        else
            vr_store_n(to, vr_add(vr_load_n(to, s->last), acc[v]), s->last);
    }
}

PA_INLINE void add_kernel(const int rows, const int vecs, real d, const real *w,
                          vr (*acc)[WIDE])
{
    const vr dk = vr_set1(d);
    PA_UNROLL
    for (int i = 0; i < rows; i++, w += vecs * VR_N) {
        PA_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[i][v] = vr_fma(dk, vr_load(w + v * VR_N), acc[i][v]);
    }
}

/* Down a column of windows; two rows of dx are finished with each, and leave the
 * registers. */
PA_INLINE void slide(const int rows, const int vecs, const column *s, real *dx)
{
    vr acc[MOST_ROWS + 1][WIDE];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int v = 0; v < vecs; v++)
            acc[i][v] = vr_zero();
    }
    const size_t O = s->O, next = s->next;
    const real *d = s->d;
    const unsigned char *first = s->first;
    for (size_t k = s->n; k > 0; k--, d += s->down, first += s->down) {
        const real *kernel = s->kernel;
        for (size_t o = 0; o < O;) {
            uint64_t word = in_word(first + o);
            for (const size_t end = least(O, o + MANY); o < end; o++, word >>= 8) {
                add_kernel(rows, vecs, d[o], kernel + (word & 0xff) * (vecs * VR_N), acc);
                kernel += 2 * rows * vecs * VR_N;
            }
        }
        PA_UNROLL
        for (int i = 0; i < 2; i++, dx += next)
            add_row(vecs, s, acc[i], dx);
        PA_UNROLL
        for (int i = 0; i < rows; i++) {
            PA_UNROLL
            for (int v = 0; v < vecs; v++)
                acc[i][v] = i + 2 < rows ? acc[i + 2][v] : vr_zero();
        }
    }
    PA_UNROLL
    for (int i = 0; i < rows - 2; i++, dx += next)
        add_row(vecs, s, acc[i], dx);
}

typedef void slide_kernel(const column *s, real *dx);
#define SLIDE(rows, vecs)                                                                \
    static void slide_##rows##x##vecs(const column *s, real *dx)                         \
    {                                                                                    \
        slide(rows, vecs, s, dx);                                                        \
    }
/* clang-format off */
SLIDE(2, 1) SLIDE(3, 1) SLIDE(4, 1) SLIDE(5, 1) SLIDE(6, 1)
SLIDE(2, 2) SLIDE(3, 2) SLIDE(4, 2) SLIDE(5, 2) SLIDE(6, 2)
#define BY_ROWS(vecs) {slide_2x##vecs, slide_3x##vecs, slide_4x##vecs, \
                       slide_5x##vecs, slide_6x##vecs}
#if TILE_ROWS >= 12
SLIDE(2, 3) SLIDE(3, 3) SLIDE(4, 3) SLIDE(5, 3) SLIDE(6, 3)
static slide_kernel *const slides[WIDE][MOST_ROWS] = {BY_ROWS(1), BY_ROWS(2), BY_ROWS(3)};
#else
static slide_kernel *const slides[WIDE][MOST_ROWS] = {BY_ROWS(1), BY_ROWS(2)};
#endif
/* clang-format on */

/* Lanes beyond a window's columns are 0: where something follows whole vectors are
 * added. */
void PA_(pa_window_dimage)(const pa_conv *g, const real *d, const unsigned char *place,
                           const real *packed, bool slack, real *room, real *dx)
{
    unsigned char *first = (unsigned char *)(void *)room;
    const size_t N = (g->kw + 1) * g->C, PW = g->OW / 2;
    column s = {.n = g->OH / 2, .O = g->O};
    s.down = PW * g->O;
    s.next = g->Wp * g->C;
    s.end = dx + g->Hp * g->Wp * g->C + (slack ? PA_CONV_SLACK : 0);
    find_rows(s.n * s.down, place, (unsigned char)(g->kh + 1), first);
    for (size_t i = 0; i < PW; i++, d += g->O, first += g->O) {
        s.d = d;
        s.first = first;
        for (size_t j = 0; j < N; j += WIDE * VR_N) {
            const size_t cols = least(N - j, WIDE * VR_N), vecs = in_vectors(cols) / VR_N;
            s.last = (int)(cols - (vecs - 1) * VR_N);
            s.kernel = packed + packed_rows(g) * j;
            slides[vecs - 1][g->kh - 1](&s, dx + 2 * i * g->C + j);
        }
    }
}
