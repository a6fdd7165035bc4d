/* gemm against the order of arithmetic that gemm.h promises, bit for bit: every form,
 * ISA, dtype and thread count, edges of tiles, strips and blocks, row strides that
 * alias, infinities and NaN; nothing outside of C is written, nothing outside of A and B
 * is used. The promised order itself is held against sums in long double. */
#ifndef REAL /* compiled once for each dtype, see the end */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/pool.h"

enum { KC = 400 };

typedef struct pa_gemm_epilogue { /* kern/gemm.h declares one variant's functions */
    void (*run)(void *arg, size_t row, size_t rows, size_t col, size_t cols);
    void *arg;
} pa_gemm_epilogue;

static int failures;
static uint64_t random_state = 1;

static uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull >> 16;
}

/* One problem; strides are in elements. */
typedef struct problem {
    bool ta, tb, add, special;
    size_t M, N, K, lda, ldb, ldc;
} problem;

/* The epilogue counts how often each element was handed over. */
typedef struct seen {
    unsigned char *count;
    size_t N;
} seen;

static void see(void *arg, size_t row, size_t rows, size_t col, size_t cols)
{
    seen *s = arg;
    for (size_t i = row; i < row + rows; i++)
        for (size_t j = col; j < col + cols; j++)
            s->count[i * s->N + j]++;
}

static const size_t awkward[] = {0,   1,   2,   3,   4,   5,   6,   7,   8,   11,  13,
                                 14,  15,  16,  17,  23,  28,  29,  31,  32,  33,  43,
                                 61,  63,  64,  65,  71,  97,  99,  113, 127, 128, 129,
                                 193, 255, 256, 257, 300, 399, 400, 401, 513, 769, 801};

static problem draw_problem(double max_work)
{
    problem p;
    do {
        const size_t n = sizeof awkward / sizeof *awkward;
        p.M = awkward[draw() % n];
        p.N = awkward[draw() % n];
        p.K = awkward[draw() % n];
    } while ((double)p.M * (double)p.N * (double)p.K > max_work);
    p.ta = draw() % 2;
    p.tb = draw() % 2;
    p.add = draw() % 3 == 0;
    p.special = draw() % 4 == 0;
    const size_t pad = draw() % 3 == 0 ? draw() % 9 : 0;
    p.lda = (p.ta ? p.M : p.K) + pad;
    p.ldb = (p.tb ? p.K : p.N) + pad;
    p.ldc = p.N + pad;
    if (draw() % 16 == 0) { /* strides of 4 KB or 8 KB */
        p.lda = 1024;
        p.ldb = 1024;
    }
    return p;
}

/* 2-thread chunks, and shapes of real layers in their three forms. */
static const problem fixed[] = {
    {false, false, false, false, 100, 500, 784, 784, 500, 500},
    {true, false, false, false, 784, 500, 100, 784, 500, 500},
    {false, true, false, false, 100, 784, 500, 500, 500, 784},
    {false, false, false, false, 1, 500, 784, 784, 500, 500},
    {false, false, false, false, 1, 64, 64, 64, 64, 64},
    {false, false, false, false, 1, 10, 1000, 1000, 10, 10},
    {false, true, false, false, 1, 500, 784, 784, 784, 500},
    {false, false, true, true, 1, 513, 784, 784, 513, 513},
    {false, false, false, true, 2, 300, 784, 784, 300, 300},
    {false, false, false, false, 3, 77, 1024, 1024, 1024, 77},
    {false, false, false, false, 300, 130, 260, 1024, 1024, 130},
    {true, true, true, false, 300, 130, 260, 1024, 1024, 1024},
    {true, false, true, false, 600, 70, 40, 1024, 70, 70},
    {true, false, false, false, 100, 10, 2000, 100, 10, 10},
    {false, false, false, false, 70, 2, 10001, 10001, 2, 2},
    {false, true, false, true, 301, 1, 2100, 2100, 2100, 1},
    {false, true, false, false, 301, 300, 3, 3, 3, 300},
    {false, false, false, false, 70, 600, 3, 3, 600, 1024},
    {false, false, false, false, 100, 2, 1024, 1024, 2, 2},
};

static bool report(const char *isa, const char *dtype, const char *path, problem p,
                   size_t i, size_t j, double got, double want)
{
    if (failures++ < 20)
        printf("FAIL gemm %s %s %s: ta %d tb %d add %d M %zu N %zu K %zu lda %zu ldb %zu "
               "ldc %zu: C[%zu, %zu] is %.17g, expected %.17g\n",
               isa, dtype, path, p.ta, p.tb, p.add, p.M, p.N, p.K, p.lda, p.ldb, p.ldc, i,
               j, got, want);
    return false;
}

#define CAT_(a, b, c, d) a##b##_##c##_##d
#define CAT(a, b, c, d)  CAT_(a, b, c, d)

#define REAL  float
#define DTYPE f32
#define FMA   fmaf
#include "test_gemm.c"
#undef REAL
#undef DTYPE
#undef FMA
#define REAL  double
#define DTYPE f64
#define FMA   fma
#include "test_gemm.c"

int main(void)
{
    pa_pool *pool = pa_pool_new(2);
    check_order_f32();
    check_order_f64();
    test_f32(pool);
    test_f64(pool);
    pa_pool_free(pool);
    printf("%s\n", failures ? "test_gemm: FAILED" : "test_gemm: ok");
    return failures != 0;
}

#else /* ---- for each dtype                                                             \
         --------------------------------------------------------------- */

#define NAME_(name, dtype) name##_##dtype
#define NAME2(name, dtype) NAME_(name, dtype)
#define NAME(name)         NAME2(name, DTYPE)

#define DECLARE(isa)                                                                     \
    void CAT(pa_gemm, , isa, DTYPE)(pa_pool *, bool, bool, size_t, size_t, size_t,       \
                                    const REAL *, size_t, const REAL *, size_t, bool,    \
                                    REAL *, size_t, const pa_gemm_epilogue *);           \
    size_t CAT(pa_gemm, _packed_size, isa, DTYPE)(size_t, size_t);                       \
    void CAT(pa_gemm, _pack, isa, DTYPE)(bool, size_t, size_t, const REAL *, size_t,     \
                                         REAL *);                                        \
    void CAT(pa_gemm, _packed, isa, DTYPE)(pa_pool *, bool, size_t, size_t, size_t,      \
                                           const REAL *, size_t, const REAL *, bool,     \
                                           REAL *, size_t, const pa_gemm_epilogue *);
#define ROW(isa, fused)                                                                  \
    {                                                                                    \
#isa, fused, CAT(pa_gemm, , isa, DTYPE), CAT(pa_gemm, _packed_size, isa, DTYPE), \
            CAT(pa_gemm, _pack, isa, DTYPE), CAT(pa_gemm, _packed, isa, DTYPE)           \
    }

typedef struct NAME(variant) {
    const char *isa;
    bool fused;
    void (*gemm)(pa_pool *, bool, bool, size_t, size_t, size_t, const REAL *, size_t,
                 const REAL *, size_t, bool, REAL *, size_t, const pa_gemm_epilogue *);
    size_t (*packed_size)(size_t, size_t);
    void (*pack)(bool, size_t, size_t, const REAL *, size_t, REAL *);
    void (*packed)(pa_pool *, bool, size_t, size_t, size_t, const REAL *, size_t,
                   const REAL *, bool, REAL *, size_t, const pa_gemm_epilogue *);
} NAME(variant);

DECLARE(base)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
static const NAME(variant)
    NAME(variants)[] = {ROW(base, false), ROW(avx2, true), ROW(avx512, true)};
#elif defined(__aarch64__)
DECLARE(neon)
static const NAME(variant) NAME(variants)[] = {ROW(base, false), ROW(neon, true)};
#else
static const NAME(variant) NAME(variants)[] = {ROW(base, false)};
#endif

/* Element (i, j) by the promised order; c0 is C before, for `add`. */
static REAL NAME(element)(problem p, bool fused, const REAL *a, const REAL *b, REAL c0,
                          size_t i, size_t j)
{
    REAL sum = c0;
    const size_t blocks = (p.K + KC - 1) / KC,
                 block = blocks ? (p.K - 1) / blocks + 1 : 1;
    for (size_t k0 = 0; k0 < p.K; k0 += block) {
        REAL acc = 0;
        for (size_t k = k0; k < p.K && k < k0 + block; k++) {
            const REAL x = p.ta ? a[k * p.lda + i] : a[i * p.lda + k];
            const REAL y = p.tb ? b[j * p.ldb + k] : b[k * p.ldb + j];
            if (fused) {
                acc = FMA(x, y, acc);
            } else {
                volatile REAL product = x * y; /* keeps compilers from fusing */
                acc += product;
            }
        }
        sum = k0 == 0 && !p.add ? acc : sum + acc;
    }
    return p.K == 0 && !p.add ? 0 : sum;
}

static bool NAME(same)(REAL x, REAL y)
{
    return (x != x && y != y) || memcmp(&x, &y, sizeof x) == 0;
}

/* rows x cols at row stride ld, what lies between the rows being NaN; exactly as long as
 * it has to be, so that a sanitizer sees what reads past it. */
static REAL *NAME(matrix)(size_t rows, size_t cols, size_t ld, bool special)
{
    const size_t n = rows && cols ? (rows - 1) * ld + cols : 0;
    REAL *m = malloc(n ? n * sizeof *m : 1);
    for (size_t i = 0; i < n; i++)
        m[i] = i % ld < cols ? (REAL)((double)(draw() % 20001) / 1e4 - 1) : (REAL)NAN;
    if (special && n > 0)
        for (int i = 0; i < 3; i++) {
            const REAL value[] = {0, -0.0f, INFINITY, -INFINITY, NAN, (REAL)1e-40};
            m[draw() % rows * ld + draw() % cols] = value[draw() % 6];
        }
    return m;
}

static void NAME(check_one)(const NAME(variant) * v, problem p, pa_pool *pool,
                            bool packed, const REAL *a, const REAL *b, const REAL *before,
                            const REAL *want)
{
    const size_t n = p.M && p.N ? (p.M - 1) * p.ldc + p.N : 0;
    const char *path = packed ? "packed" : pool ? "2 threads" : "1 thread";
    REAL *c = malloc(n ? n * sizeof *c : 1);
    memcpy(c, before, n * sizeof *c);
    seen s = {calloc(p.M * p.N + 1, 1), p.N};
    pa_gemm_epilogue epi = {see, &s};
    if (packed) {
        REAL *w =
            aligned_alloc(64, (v->packed_size(p.N, p.K) * sizeof *w + 64) / 64 * 64);
        v->pack(p.tb, p.N, p.K, b, p.ldb, w);
        v->packed(pool, p.ta, p.M, p.N, p.K, a, p.lda, w, p.add, c, p.ldc, &epi);
        free(w);
    } else {
        v->gemm(pool, p.ta, p.tb, p.M, p.N, p.K, a, p.lda, b, p.ldb, p.add, c, p.ldc,
                &epi);
    }
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        const size_t row = i / p.ldc, col = i % p.ldc;
        if (col >= p.N)
            ok = NAME(same)(c[i], before[i]) ||
                 report(v->isa, sizeof(REAL) == 4 ? "f32" : "f64", "written outside", p,
                        row, col, (double)c[i], (double)before[i]);
        else if (s.count[row * p.N + col] != 1)
            ok = report(v->isa, sizeof(REAL) == 4 ? "f32" : "f64", "epilogue", p, row,
                        col, s.count[row * p.N + col], 1);
        else
            ok = NAME(same)(c[i], want[i]) ||
                 report(v->isa, sizeof(REAL) == 4 ? "f32" : "f64", path, p, row, col,
                        (double)c[i], (double)want[i]);
    }
    free(s.count);
    free(c);
}

static void NAME(check)(problem p, pa_pool *pool)
{
    REAL *a = NAME(matrix)(p.ta ? p.K : p.M, p.ta ? p.M : p.K, p.lda, p.special);
    REAL *b = NAME(matrix)(p.tb ? p.N : p.K, p.tb ? p.K : p.N, p.ldb, p.special);
    REAL *before = NAME(matrix)(p.M, p.N, p.ldc, false);
    const size_t n = p.M && p.N ? (p.M - 1) * p.ldc + p.N : 0;
    REAL *want[2] = {calloc(n + 1, sizeof(REAL)), calloc(n + 1, sizeof(REAL))};
    for (int fused = 0; fused < 2; fused++)
        for (size_t i = 0; i < p.M; i++)
            for (size_t j = 0; j < p.N; j++)
                want[fused][i * p.ldc + j] =
                    NAME(element)(p, fused, a, b, before[i * p.ldc + j], i, j);
    for (size_t v = 0; v < sizeof NAME(variants) / sizeof *NAME(variants); v++) {
        const NAME(variant) *variant = &NAME(variants)[v];
        if (!pa_cpu_has(variant->isa))
            continue;
        const REAL *w = want[variant->fused];
        NAME(check_one)(variant, p, NULL, false, a, b, before, w);
        NAME(check_one)(variant, p, pool, false, a, b, before, w);
        NAME(check_one)(variant, p, pool, true, a, b, before, w);
    }
    free(want[0]);
    free(want[1]);
    free(before);
    free(b);
    free(a);
}

static void NAME(test)(pa_pool *pool)
{
    const char *few = getenv("PYACT_TEST_FEW"); /* for emulators and sanitizers */
    const int cases = few ? atoi(few) : 500;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!few || (double)fixed[i].M * (double)fixed[i].N * (double)fixed[i].K < 2e6)
            NAME(check)(fixed[i], pool);
    for (int i = 0; i < cases; i++)
        NAME(check)(draw_problem(few ? 1e5 : i % 10 ? 3e5 : 4e6), pool);
}

/* The order that everything above is held against, against long double: its error is
 * below K/2 units in the last place of the sum of magnitudes. */
static void NAME(check_order)(void)
{
    const REAL eps = sizeof(REAL) == 4 ? (REAL)1.2e-7 : (REAL)2.3e-16;
    for (int form = 0; form < 4; form++) {
        problem p = {form & 1, form & 2, false, false, 3, 4, 600, 0, 0, 4};
        p.lda = p.ta ? p.M : p.K;
        p.ldb = p.tb ? p.K : p.N;
        REAL *a = NAME(matrix)(p.ta ? p.K : p.M, p.lda, p.lda, false);
        REAL *b = NAME(matrix)(p.tb ? p.N : p.K, p.ldb, p.ldb, false);
        for (size_t i = 0; i < p.M; i++)
            for (size_t j = 0; j < p.N; j++) {
                long double sum = 0, size = 0;
                for (size_t k = 0; k < p.K; k++) {
                    const long double t =
                        (long double)a[p.ta ? k * p.M + i : i * p.K + k] *
                        b[p.tb ? j * p.K + k : k * p.N + j];
                    sum += t;
                    size += fabsl(t);
                }
                const REAL got = NAME(element)(p, form & 1, a, b, 0, i, j);
                if (fabsl(got - sum) > eps * size * 20)
                    report("reference", sizeof(REAL) == 4 ? "f32" : "f64", "order", p, i,
                           j, (double)got, (double)sum);
            }
        free(a);
        free(b);
    }
}

#undef DECLARE
#undef ROW
#undef NAME
#undef NAME_
#undef NAME2
#endif
