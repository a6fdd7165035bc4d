#include "kern/conv_sparse.h"

#include "kern/conv_sums.h"
#include "kern/gemm.h"
#include "kern/gemm_pack.h"

enum {
    CHAIN = 512,           /* pixels in one chain */
    BLOCK = 1 << 13,       /* of dz, walked once for every result: first-level cache */
    MOST_KERNEL = 1 << 17, /* reals: more leave the second-level cache */
    COUNTED = 1 << 12,
    MOST_PATCHES = 24 * 1024 / sizeof(real), /* half of the first-level cache */
};

/* bits: not 0. */
PA_INLINE int lowest_bit(uint64_t bits)
{
#if defined(__GNUC__)
    return __builtin_ctzll(bits);
#else
    int at = 0;
    for (; !(bits & 1); bits >>= 1)
        at++;
    return at;
#endif
}

static size_t block_rows(const pa_conv *g)
{
    const size_t most = least(CHAIN, BLOCK / g->O);
    return g->OW < most ? least(most / g->OW, g->OH) : 1;
}

bool PA_(pa_sparse_fits)(const pa_conv *g)
{
    return g->groups == 1 && !g->thin && !g->grey && g->dw == 1 && VR_N > 1 &&
           g->OW * g->O < MOST_KERNEL &&
           (double)g->kh * (double)(g->kw * g->C + VR_N) * (double)g->O < MOST_KERNEL &&
           (double)g->Hp * (double)g->Wp * (double)g->C < (double)INT32_MAX;
}

bool PA_(pa_sparse_finite)(const real *x, size_t n)
{
    enum { CHAINS = 4 }; /* a multiply-add waits for the one before */
    const vr zero = vr_zero();
    vr sum[CHAINS] = {zero, zero, zero, zero};
    size_t i = 0;
    for (; i + CHAINS * VR_N <= n; i += CHAINS * VR_N)
        for (int k = 0; k < CHAINS; k++)
            sum[k] = vr_fma(vr_load(x + i + k * VR_N), zero, sum[k]);
    for (; i < n; i += VR_N)
        sum[0] =
            vr_fma(vr_load_n(x + i, n - i < VR_N ? (int)(n - i) : VR_N), zero, sum[0]);
    const vr all = vr_add(vr_add(sum[0], sum[1]), vr_add(sum[2], sum[3]));
    return !vrm_any(vr_ne(all, all));
}

bool PA_(pa_sparse_pays)(const pa_conv *g, const real *dz, const real *x)
{
    const size_t n = g->OH * g->OW * g->O;
    const vr zero = vr_zero(), one = vr_set1(1);
    double found = 0;
    for (size_t from = 0; from < n; from += COUNTED) { /* lanes count exactly */
        const size_t end = n - from < COUNTED ? n : from + COUNTED;
        vr count = zero;
        size_t i = from;
        for (; i + VR_N <= end; i += VR_N)
            count = vr_add(count, vr_sel(vr_ne(vr_load(dz + i), zero), one, zero));
        const vr d = vr_load_n(dz + i, (int)(end - i));
        count = vr_add(count, vr_sel(vr_ne(d, zero), one, zero));
        found += (double)vr_sum(count);
        if (found >= 0.4 * (double)n)
            return false;
    }
    return PA_(pa_sparse_finite)(dz, n) && PA_(pa_sparse_finite)(x, g->H * g->W * g->C);
}

/* ---- the places and the image under them
 * ---------------------------------------------
 */

/* Pixels of a block, in whole vectors. */
static size_t block_width(const pa_conv *g)
{
    return in_vectors(block_rows(g) * g->OW);
}

/* Two loads in three cross a cache line when they begin at any pixel. So where
 * there is room, the rows of the image under each pixel of a row are laid out,
 * aligned. */
static size_t patches_size(const pa_conv *g)
{
    const double size = (double)g->Hp * (double)g->OW * (double)row_of(g);
    return size <= MOST_PATCHES ? (size_t)size : 0;
}

size_t PA_(pa_sparse_room)(const pa_conv *g)
{
    return patches_size(g) + (g->O + 1) * block_width(g);
}

/* patches: (Hp, OW, row_of). */
static void lay_patches(const pa_conv *g, const real *x, bool slack, real *patches)
{
    const size_t N = g->kw * g->C, row = row_of(g);
    for (size_t i = 0; i < g->Hp; i++)
        for (size_t ox = 0; ox < g->OW; ox++, patches += row) {
            const real *from = x + (i * g->Wp + ox * g->sw) * g->C;
            for (size_t j = 0; j < N; j += VR_N)
                vr_store(patches + j, slack || N - j >= VR_N
                                          ? vr_load(from + j)
                                          : vr_load_n(from + j, (int)(N - j)));
        }
}

/* Where the rows under the pixels of a block lie. at: (rows, OW). */
static void locate(const pa_conv *g, size_t rows, int32_t *at)
{
    const bool laid = patches_size(g) > 0;
    const size_t down = laid ? g->OW * row_of(g) : g->Wp * g->C;
    const size_t right = laid ? row_of(g) : g->sw * g->C;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < g->OW; i++)
            *at++ = (int32_t)(r * g->sh * down + i * right);
}

/* A block of dz result by result. dz: (pixels, O), turned: (O, width), zeros at the end.
 */
static void turn(size_t pixels, size_t O, const real *dz, size_t width, real *turned)
{
    PA_(pa_gemm_transpose)(pixels, O, dz, (ptrdiff_t)O, turned, (ptrdiff_t)width);
    for (size_t o = 0; o < O; o++)
        for (size_t p = pixels; p < width; p++)
            turned[o * width + p] = 0;
}

/* ---- gradient of the kernel
 * ----------------------------------------------------------
 */

typedef struct strip {  /* one result's places, and the image under them */
    size_t n;           /* pixels, in whole vectors */
    const int32_t *at;  /* (n) in x */
    const real *dz, *x; /* (n); the image */
    size_t next, row;   /* from row to row: of the image, of the sums */
    int last;           /* lanes of the last vector */
    real *bias;         /* a vector of equal sums of dz, or NULL */
} strip;

/* Which of the pixels [p, p + 64) are not 0. */
PA_INLINE uint64_t places(const strip *s, size_t p)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < 64 && p + i < s->n; i += VR_N)
        bits |= (uint64_t)vrm_bits(vr_ne(vr_load(s->dz + p + i), vr_zero())) << i;
    return bits;
}

PA_INLINE void gather(const int rows, const int vecs, const strip *s, real *sums)
{
    vr acc[MOST_ROWS][MOST_VECS];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vr_zero();
    }
    const int last = s->last;
    const size_t next = s->next;
    vr sum = vr_zero();
    for (size_t p = 0; p < s->n; p += 64) {
        const int32_t *at = s->at + p;
        const real *dz = s->dz + p;
        for (uint64_t bits = places(s, p); bits; bits &= bits - 1) {
            const int k = lowest_bit(bits);
            const vr d = vr_set1(dz[k]);
            const real *x = s->x + at[k];
            sum = vr_add(sum, d);
            PA_UNROLL
            for (int i = 0; i < rows; i++, x += next) {
                PA_UNROLL
                for (int j = 0; j < vecs; j++) {
                    const vr v = j < vecs - 1 || last == VR_N
                                     ? vr_load(x + j * VR_N)
                                     : vr_load_n(x + j * VR_N, last);
                    acc[i][j] = vr_fma(d, v, acc[i][j]);
                }
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

static void dkernel_of(const pa_conv *g, strip *s, const real *x, bool slack, real *sums)
{
    const size_t N = g->kw * g->C;
    for (size_t ky = 0; ky < g->kh; ky += MOST_ROWS)
        for (size_t j = 0; j < N; j += MOST_VECS * VR_N) {
            const size_t rows = least(g->kh - ky, MOST_ROWS);
            const size_t cols = least(N - j, MOST_VECS * VR_N);
            const size_t vecs = (cols + VR_N - 1) / VR_N;
            s->bias = ky + j == 0 ? sums + g->kh * s->row : NULL;
            s->x = x + ky * s->next + j;
            s->last = slack ? VR_N : (int)(cols - (vecs - 1) * VR_N);
            gathers[vecs - 1][rows - 1](s, sums + ky * s->row + j);
        }
}

void PA_(pa_sparse_dkernel)(const pa_conv *g, const real *x, bool slack, const real *dz,
                            real *room, real *sums)
{
    const size_t most = block_rows(g), one = sums_of_one(g), width = block_width(g);
    const bool laid = patches_size(g) > 0;
    real *patches = room, *turned = room + patches_size(g);
    int32_t *at = (int32_t *)(void *)(turned + g->O * width);
    strip s = {.at = at, .row = row_of(g)};
    s.next = g->dh * (laid ? g->OW * s.row : g->Wp * g->C);
    const size_t down = g->sh * (laid ? g->OW * s.row : g->Wp * g->C);
    locate(g, most, at);
    if (laid) {
        lay_patches(g, x, slack, patches);
        x = patches;
    }
    for (size_t oy = 0; oy < g->OH; oy += most) {
        const size_t pixels = least(most, g->OH - oy) * g->OW;
        turn(pixels, g->O, dz + oy * g->OW * g->O, width, turned);
        s.n = (pixels + VR_N - 1) / VR_N * VR_N;
        for (size_t o = 0; o < g->O; o++) {
            s.dz = turned + o * width;
            dkernel_of(g, &s, x + oy * down, slack || laid, sums + o * one);
        }
    }
}

/* ---- gradient of the image
 * -----------------------------------------------------------
 */

typedef struct spread { /* one pixel of dz onto the rows of dx under it */
    const real *dz, *packed;
    size_t O, size, next; /* from row to row: of the kernel, of dx */
    int last;             /* lanes of the last vector */
    const real *end;      /* of dx */
} spread;

PA_INLINE void scatter(const int rows, const int vecs, const spread *s, real *dx)
{
    const vr zero = vr_zero();
    const size_t size = s->size;
    vr acc[MOST_ROWS][MOST_VECS];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = zero;
    }
    for (size_t o = 0; o < s->O; o += VR_N) {
        const vr d =
            s->O - o < VR_N ? vr_load_n(s->dz + o, (int)(s->O - o)) : vr_load(s->dz + o);
        for (unsigned m = vrm_bits(vr_ne(d, zero)); m; m &= m - 1) {
            const size_t at = o + (size_t)lowest_bit(m);
            const vr di = vr_set1(s->dz[at]);
            const real *w = s->packed + at * TILE_COLS;
            PA_UNROLL
            for (int i = 0; i < rows; i++, w += size) {
                PA_UNROLL
                for (int j = 0; j < vecs; j++)
                    acc[i][j] = vr_fma(di, vr_load(w + j * VR_N), acc[i][j]);
            }
        }
    }
    PA_UNROLL
    for (int i = 0; i < rows; i++, dx += s->next) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            real *to = dx + j * VR_N;
            if (j < vecs - 1 || s->last == VR_N)
                vr_store(to, vr_add(vr_load(to), acc[i][j]));
            else
                vr_store_n(to, vr_add(vr_load_n(to, s->last), acc[i][j]), s->last);
        }
    }
}

typedef void scatter_kernel(const spread *s, real *dx);
#define SCATTER(rows, vecs)                                                              \
    static void scatter_##rows##x##vecs(const spread *s, real *dx)                       \
    {                                                                                    \
        scatter(rows, vecs, s, dx);                                                      \
    }
EACH_SIZE(SCATTER)
static scatter_kernel *const scatters[MOST_VECS][MOST_ROWS] = BY_SIZE(scatter);

/* A column of pixels of dz onto the rows under it, without stride or dilation:
 * a row of dx is finished, and leaves the registers, where the next pixel does
 * not reach it. */
PA_INLINE void slide(const int rows, const int vecs, const pa_conv *g, const spread *s,
                     real *dx)
{
    const vr zero = vr_zero();
    vr acc[MOST_ROWS][MOST_VECS];
    PA_UNROLL
    for (int i = 0; i < rows; i++) {
        PA_UNROLL
        for (int j = 0; j < vecs; j++)
            acc[i][j] = zero;
    }
    const real *dz = s->dz;
    for (size_t oy = 0; oy < g->Hp; oy++, dz += g->OW * s->O, dx += s->next) {
        for (size_t o = 0; oy < g->OH && o < s->O; o += VR_N) {
            const vr d =
                s->O - o < VR_N ? vr_load_n(dz + o, (int)(s->O - o)) : vr_load(dz + o);
            for (uint64_t m = vrm_bits(vr_ne(d, zero)); m; m &= m - 1) {
                const size_t at = o + (size_t)lowest_bit(m);
                const vr di = vr_set1(dz[at]);
                const real *w = s->packed + at * TILE_COLS;
                PA_UNROLL
                for (int i = 0; i < rows; i++, w += s->size) {
                    PA_UNROLL
                    for (int j = 0; j < vecs; j++)
                        acc[i][j] = vr_fma(di, vr_load(w + j * VR_N), acc[i][j]);
                }
            }
        }
        PA_UNROLL
        for (int j = 0; j < vecs; j++) {
            real *to = dx + j * VR_N;
            if (s->end - to >= VR_N)
                vr_store(to, vr_add(vr_load(to), acc[0][j]));
            else
                vr_store_n(to, vr_add(vr_load_n(to, s->last), acc[0][j]), s->last);
            PA_UNROLL
            for (int i = 0; i < rows - 1; i++)
                acc[i][j] = acc[i + 1][j];
            acc[rows - 1][j] = zero;
        }
    }
}

typedef void slide_kernel(const pa_conv *g, const spread *s, real *dx);
#define SLIDE(rows, vecs)                                                                \
    static void slide_##rows##x##vecs(const pa_conv *g, const spread *s, real *dx)       \
    {                                                                                    \
        slide(rows, vecs, g, s, dx);                                                     \
    }
EACH_SIZE(SLIDE)
static slide_kernel *const slides[MOST_VECS][MOST_ROWS] = BY_SIZE(slide);

static bool slides_over(const pa_conv *g)
{
    return g->sh == 1 && g->dh == 1 && g->kh <= MOST_ROWS && g->kw * g->C <= TILE_COLS;
}

/* The kernel's lanes beyond its row are 0: where another row follows, whole
 * vectors are added. */
static void slide_columns(const pa_conv *g, spread *s, const real *dz, const real *packed,
                          real *dx)
{
    const size_t N = g->kw * g->C, vecs = (N + VR_N - 1) / VR_N;
    s->last = (int)(N - (vecs - 1) * VR_N);
    s->packed = packed;
    for (size_t ox = 0; ox < g->OW; ox++) {
        s->dz = dz + ox * g->O;
        slides[vecs - 1][g->kh - 1](g, s, dx + ox * g->sw * g->C);
    }
}

/* The kernel's lanes beyond its row are 0, so that whole vectors may be added
 * where there is something behind the row. */
static void spread_pixel(const pa_conv *g, spread *s, const real *packed, real *dx)
{
    const size_t N = g->kw * g->C;
    for (size_t ky = 0; ky < g->kh; ky += MOST_ROWS)
        for (size_t j = 0; j < N; j += TILE_COLS) {
            const size_t rows = least(g->kh - ky, MOST_ROWS);
            const size_t cols = least(N - j, TILE_COLS);
            const size_t vecs = (cols + VR_N - 1) / VR_N;
            real *to = dx + ky * s->next + j;
            const size_t span = (rows - 1) * s->next + vecs * VR_N;
            s->last =
                (size_t)(s->end - to) >= span ? VR_N : (int)(cols - (vecs - 1) * VR_N);
            s->packed = packed + ky * s->size + j * g->O;
            scatters[vecs - 1][rows - 1](s, to);
        }
}

void PA_(pa_sparse_dimage)(const pa_conv *g, const real *dz, const real *packed,
                           bool slack, real *dx)
{
    spread s = {.O = g->O, .next = g->dh * g->Wp * g->C};
    s.end = dx + g->Hp * g->Wp * g->C + (slack ? PA_CONV_SLACK : 0);
    s.size = PA_(pa_gemm_packed_size)(g->kw * g->C, g->O);
    if (slides_over(g)) {
        slide_columns(g, &s, dz, packed, dx);
        return;
    }
    /* neighbours overlap: they are taken kw apart, and no sum waits for the one
     * before */
    for (size_t phase = 0; phase < g->kw; phase++)
        for (size_t oy = 0; oy < g->OH; oy++)
            for (size_t ox = phase; ox < g->OW; ox += g->kw) {
                s.dz = dz + (oy * g->OW + ox) * g->O;
                spread_pixel(g, &s, packed,
                             dx + (oy * g->sh * g->Wp + ox * g->sw) * g->C);
            }
}
