/* Matrix products of layers in the three forms of training: time, GFLOP/s and the share
 * of this processor's measured multiply-add peak, on 1 and 2 threads.
 *
 *   python setup.py build_core
 *   cc -O3 -march=native -pthread -Icsrc benchmarks/bench_gemm.c -Lbuild/core -lpyact -lm
 *   ./a.out                        # or ./a.out M K N; PYACT_ISA=avx2 for another ISA
 *
 * Y = X W, dX = dY W', dW = X' dY for X (M, K), W (K, N). Times are the minimum and the
 * median of many runs; operands stay in whatever cache they fit, and the second thread is
 * awake, as in a training loop.
 */
#define _GNU_SOURCE
#define PA_VARIANT bench_f32
#include "simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cpu.h"
#include "base/tensor.h"

typedef void gemm_f32(pa_pool *, bool, bool, size_t, size_t, size_t, const float *,
                      size_t, const float *, size_t, bool, float *, size_t, const void *);
typedef void gemm_f64(pa_pool *, bool, bool, size_t, size_t, size_t, const double *,
                      size_t, const double *, size_t, bool, double *, size_t,
                      const void *);

extern gemm_f32 pa_gemm_base_f32;
extern gemm_f64 pa_gemm_base_f64;
#if defined(__x86_64__)
extern gemm_f32 pa_gemm_avx2_f32, pa_gemm_avx512_f32;
extern gemm_f64 pa_gemm_avx2_f64, pa_gemm_avx512_f64;
#elif defined(__aarch64__)
extern gemm_f32 pa_gemm_neon_f32;
extern gemm_f64 pa_gemm_neon_f64;
#endif

typedef struct isa {
    const char *name;
    gemm_f32 *f32;
    gemm_f64 *f64;
} isa;

static const isa isas[] = {/* best first */
#if defined(__x86_64__)
                           {"avx512", pa_gemm_avx512_f32, pa_gemm_avx512_f64},
                           {"avx2", pa_gemm_avx2_f32, pa_gemm_avx2_f64},
#elif defined(__aarch64__)
                           {"neon", pa_gemm_neon_f32, pa_gemm_neon_f64},
#endif
                           {"base", pa_gemm_base_f32, pa_gemm_base_f64}};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* FLOP/s of float32 multiply-adds in registers: 12 chains hide the latency. */
static double peak_f32(void)
{
    vr x[12];
    const vr a = vr_set1(0.999f), b = vr_set1(0.001f);
    double best = 0;
    for (int i = 0; i < 12; i++)
        x[i] = vr_set1((float)i);
    for (int run = 0; run < 200; run++) {
        const double t0 = now();
        for (int k = 0; k < 20000; k++)
            for (int i = 0; i < 12; i++)
                x[i] = vr_fma(x[i], a, b);
        const double rate = 2.0 * VR_N * 12 * 20000 / (now() - t0);
        best = rate > best ? rate : best;
    }
    volatile float keep = 0;
    for (int i = 0; i < 12; i++)
        keep = keep + vr_sum(x[i]);
    return best;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct bench {
    const isa *isa;
    bool wide; /* float64 */
    double peak;
    pa_pool *pool[2];
    void *x, *w, *y;
} bench;

static void run_form(const bench *b, pa_pool *p, int form, size_t M, size_t N, size_t K)
{
#define CALL(f, T)                                                                       \
    do {                                                                                 \
        T *x = b->x, *w = b->w, *y = b->y;                                               \
        if (form == 0)                                                                   \
            f(p, false, false, M, N, K, x, K, w, N, false, y, N, NULL);                  \
        else if (form == 1)                                                              \
            f(p, false, true, M, K, N, y, N, w, N, false, x, K, NULL);                   \
        else                                                                             \
            f(p, true, false, K, N, M, x, K, y, N, false, w, N, NULL);                   \
    } while (0)
    if (b->wide)
        CALL(b->isa->f64, double);
    else
        CALL(b->isa->f32, float);
#undef CALL
}

static void fill(const bench *b)
{
    void *all[3] = {b->x, b->w, b->y};
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < (size_t)1 << 22; j++) {
            const double v = (double)(j * 2654435761u % 1000) / 1e5;
            if (b->wide)
                ((double *)all[i])[j] = v;
            else
                ((float *)all[i])[j] = (float)v;
        }
}

static void measure(const bench *b, size_t M, size_t N, size_t K)
{
    static const char *const name[] = {"Y=XW", "dX=dYW'", "dW=X'dY"};
    enum { RUNS = 25 };
    const double flops = 2.0 * (double)M * (double)N * (double)K;
    for (int form = 0; form < 3; form++) {
        double us[2][RUNS];
        fill(b);
        const int repeat = (int)(2e8 * (b->wide ? 0.5 : 1) / (flops + 2e4)) / RUNS + 1;
        for (int run = -1; run < RUNS; run++) /* the first one warms up */
            for (int two = 0; two < 2; two++) {
                run_form(b, b->pool[two], form, M, N, K); /* wakes the other thread */
                const double t0 = now();
                for (int i = 0; i < repeat; i++)
                    run_form(b, b->pool[two], form, M, N, K);
                if (run >= 0)
                    us[two][run] = (now() - t0) / repeat * 1e6;
            }
        printf("%-7s %5zu %5zu %5zu", name[form], M, K, N);
        for (int two = 0; two < 2; two++) {
            qsort(us[two], RUNS, sizeof(double), by_value);
            printf(" | %9.2f %9.2f us %6.1f GF %3.0f %%", us[two][0], us[two][RUNS / 2],
                   flops / us[two][0] / 1e3,
                   100 * flops / us[two][0] * 1e6 / (b->peak * (two + 1)));
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    static const size_t shape[][3] = {
        /* M, K, N */
        {32, 4, 64},    {32, 64, 64},    {32, 64, 2},     {100, 784, 500},
        {100, 500, 10}, {128, 784, 512}, {128, 512, 512}, {128, 512, 10},
        {200, 64, 100}, {200, 100, 10},  {1, 4, 64},      {1, 64, 64},
        {1, 784, 500},  {1, 500, 10},    {512, 512, 512}, {1024, 1024, 1024}};
    const char *want = getenv("PYACT_ISA");
    bench b = {0};
    for (size_t i = 0; i < sizeof isas / sizeof *isas && !b.isa; i++)
        if (pa_cpu_has(isas[i].name) && (!want || strcmp(want, isas[i].name) == 0))
            b.isa = &isas[i];
    b.pool[1] = pa_pool_new(2);
    b.x = pa_alloc((size_t)1 << 25);
    b.w = pa_alloc((size_t)1 << 25);
    b.y = pa_alloc((size_t)1 << 25);
    if (!b.isa || !b.x || !b.w || !b.y) {
        fprintf(stderr, "bench_gemm: no such ISA here, or out of memory\n");
        return 1;
    }
    const double peak = peak_f32();
    for (int wide = 0; wide < 2; wide++) {
        b.wide = wide;
        b.peak = wide ? peak / 2 : peak;
        printf("\n%s %s, multiply-add peak %.1f GFLOP/s per thread\n", b.isa->name,
               wide ? "float64" : "float32", b.peak / 1e9);
        printf("form        M     K     N |   1 thread:  min, median, rate, share of peak"
               "    |   2 threads\n");
        if (argc == 4)
            measure(&b, strtoul(argv[1], NULL, 10), strtoul(argv[3], NULL, 10),
                    strtoul(argv[2], NULL, 10));
        for (size_t i = 0; argc != 4 && i < sizeof shape / sizeof *shape; i++)
            measure(&b, shape[i][0], shape[i][2], shape[i][1]);
    }
    pa_free(b.x);
    pa_free(b.w);
    pa_free(b.y);
    pa_pool_free(b.pool[1]);
    return 0;
}
