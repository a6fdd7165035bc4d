/* The element-wise operators of every variant this processor runs: the float32 bits that
 * were found right on x86-64 (python -m pyact.accuracy), on any machine; and one and the
 * same result for a run of any length, for strides of any sign, in place, and for both
 * results at once. Nothing outside of the output is written. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "op.h"

extern const pa_table pa_table_base_f32, pa_table_base_f64;
#if defined(__x86_64__)
extern const pa_table pa_table_avx2_f32, pa_table_avx2_f64;
extern const pa_table pa_table_avx512_f32, pa_table_avx512_f64;
static const pa_table *const tables[] = {&pa_table_base_f32,   &pa_table_base_f64,
                                         &pa_table_avx2_f32,   &pa_table_avx2_f64,
                                         &pa_table_avx512_f32, &pa_table_avx512_f64};
#elif defined(__aarch64__)
extern const pa_table pa_table_neon_f32, pa_table_neon_f64;
static const pa_table *const tables[] = {&pa_table_base_f32, &pa_table_base_f64,
                                         &pa_table_neon_f32, &pa_table_neon_f64};
#else
static const pa_table *const tables[] = {&pa_table_base_f32, &pa_table_base_f64};
#endif

/* Hashes of float32 f and grad on every STRIDE-th bit pattern, taken when the accuracy
 * tool had found those results right. */
enum { STRIDE = 40009, MAX = 4096 };
static const struct {
    const char *name;
    uint64_t f, grad;
} known[] = {
    {"abs", 0x9279cfa1dc4eb61d, 0x3fc93c71c382b4ef},
    {"elu", 0xb9ce2fd3caacb641, 0x28bf8fdc4c84c86b},
    {"exp", 0xe03638873673fa7a, 0xe03638873673fa7a},
    {"gelu", 0xb000eb3d2d481335, 0x9372c58c5602ace3},
    {"gelu_tanh", 0xa5d4eadc06bb40b8, 0xf359da5f4c775c9d},
    {"hard_sigmoid", 0x0effa26ee0efe03e, 0xda3ac93a07e1e327},
    {"leaky_relu", 0x2789a1c10dd1fed5, 0x6b6ca7f0912fc951},
    {"log", 0xb65537ac0c370451, 0x9467fa45403ee7a7},
    {"mish", 0x0d07172e7075e0ad, 0xfc4cc1f06054b956},
    {"negative", 0xd78749e6a083f5eb, 0xda05ae2edcd1fd8c},
    {"relu", 0x29ffa72ebb9a0a97, 0x249121764a87d1ab},
    {"selu", 0x0e90a70673a19465, 0x2dcd38cd556435e1},
    {"sigmoid", 0xddddffeff583e76a, 0xba758899307d45db},
    {"silu", 0x568601d1f1c995e9, 0x16984b6009be423a},
    {"softplus", 0x585b36b370ba00d9, 0xddddffeff583e76a},
    {"softsign", 0x3a652917a5646380, 0xca3e833d39ff97b6},
    {"sqrt", 0x4d339be786802143, 0x90760c55e3f8a75a},
    {"square", 0x48de25633e9410bb, 0x178e59711044ca45},
    {"tanh", 0x736fb3367ba4e9d3, 0x4355d84abc793db8},
};

static int failures;

static void fail(const pa_table *t, const pa_op *op, const char *what)
{
    printf("%s on %s %s: %s\n", op->name, t->isa, pa_dtype_name(t->dtype), what);
    failures++;
}

static double parameter(const pa_op *op)
{
    return op->map->has_param ? op->attrs[0].init : 0;
}

/* y = loop(x[, p]) for n elements with these steps in elements. */
static void call(const pa_table *t, const pa_op *op, pa_loop *loop, const void *x,
                 ptrdiff_t step, void *y, ptrdiff_t n)
{
    ptrdiff_t size = (ptrdiff_t)pa_dtype_size(t->dtype),
              steps[3] = {step * size, 0, size};
    double p64 = parameter(op);
    float p32 = (float)p64;
    char *args[3] = {(char *)(uintptr_t)x,
                     t->dtype == PA_F32 ? (char *)&p32 : (char *)&p64, y};
    if (!op->map->has_param) {
        args[1] = y;
        steps[1] = size;
    }
    loop(args, &n, steps, NULL);
}

static uint64_t digest(const pa_table *t, const pa_op *op, pa_loop *loop)
{
    static float x[MAX], y[MAX];
    uint64_t h = 0xcbf29ce484222325u, at = 0;
    while (at >> 32 == 0) {
        int n = 0;
        for (; n < MAX && at >> 32 == 0; n++, at += STRIDE) {
            uint32_t bits = (uint32_t)at;
            memcpy(&x[n], &bits, sizeof bits);
        }
        call(t, op, loop, x, 1, y, n);
        for (int i = 0; i < n; i++) {
            uint32_t bits = 0x7fc00000u; /* any NaN is as good as another */
            if (y[i] == y[i])
                memcpy(&bits, &y[i], sizeof bits);
            h = (h ^ bits) * 0x100000001b3u;
            h ^= h >> 29;
        }
    }
    return h;
}

/* float32 only: one set of bits for all variants of this machine and, for the operators
 * listed above, of all machines. */
static void check_bits(const pa_table *t, int index)
{
    const pa_op *op = t->ops[index], *base = pa_table_base_f32.ops[index];
    uint64_t f = digest(t, op, op->map->f), grad = digest(t, op, op->map->grad);
    if (f != digest(&pa_table_base_f32, base, base->map->f) ||
        grad != digest(&pa_table_base_f32, base, base->map->grad))
        fail(t, op, "not the bits of the base variant");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, op->name) == 0 &&
            (f != known[i].f || grad != known[i].grad)) {
            fail(t, op, "not the bits known to be right; these are:");
            printf("    {\"%s\", 0x%016llx, 0x%016llx},\n", op->name,
                   (unsigned long long)f, (unsigned long long)grad);
        }
}

enum { N = 300, GUARD = 4 };

/* Fills n elements with numbers of all sizes, and a few that are none. */
static void fill(const pa_table *t, void *x, int n)
{
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double v = (double)(state >> 11) * 0x1p-53 * 24 - 12;
        if (i % 37 == 5)
            v = i % 2 ? 1e30 : -1e-30;
        if (i % 41 == 7)
            v = 0;
        if (t->dtype == PA_F32)
            ((float *)x)[i] = (float)v;
        else
            ((double *)x)[i] = v;
    }
}

static void check_layouts(const pa_table *t, const pa_op *op, pa_loop *loop)
{
    static double x[3 * N], want[N + 2 * GUARD], y[N + 2 * GUARD];
    const size_t size = pa_dtype_size(t->dtype);
    char *px = (char *)x, *pw = (char *)want, *py = (char *)y;
    fill(t, x, 3 * N);
    call(t, op, loop, x, 1, want, N);
    for (int n = 0; n <= 70; n++) { /* any tail, from any place */
        memset(y, 0x5a, sizeof y);
        call(t, op, loop, px + 3 * size, 1, py + GUARD * size, n);
        if (memcmp(py + GUARD * size, pw + 3 * size, (size_t)n * size) != 0)
            fail(t, op, "a short run differs from the same place in a long one");
        for (size_t i = 0; i < sizeof y; i++)
            if ((i < GUARD * size || i >= (GUARD + (size_t)n) * size) && py[i] != 0x5a) {
                fail(t, op, "writes outside of its output");
                return;
            }
    }
    for (int step = -3; step <= 3; step++) { /* against elements one by one */
        const char *first = step < 0 ? px + (size_t)(-step * 99) * size : px;
        call(t, op, loop, first, step, y, 100);
        for (int i = 0; i < 100; i++) {
            char one[sizeof(double)];
            call(t, op, loop, first + (ptrdiff_t)i * step * (ptrdiff_t)size, 1, one, 1);
            if (memcmp(one, py + (size_t)i * size, size) != 0) {
                fail(t, op, "a strided run differs from its elements");
                break;
            }
        }
    }
    memcpy(y, x, N * size);
    call(t, op, loop, y, 1, y, N);
    if (memcmp(y, want, N * size) != 0)
        fail(t, op, "in place differs");
}

static void check_both(const pa_table *t, const pa_op *op)
{
    static double x[N], f[N], grad[N], y[N], dy[N];
    const ptrdiff_t size = (ptrdiff_t)pa_dtype_size(t->dtype);
    double p64 = parameter(op);
    float p32 = (float)p64;
    char *p = t->dtype == PA_F32 ? (char *)&p32 : (char *)&p64;
    char *args[4] = {(char *)x, p, (char *)y, (char *)dy};
    ptrdiff_t steps[4] = {size, 0, size, size}, n = N;
    int skip = op->map->has_param ? 0 : 1;
    args[skip] = (char *)x;
    steps[skip] = size;
    fill(t, x, N);
    call(t, op, op->map->f, x, 1, f, N);
    call(t, op, op->map->grad, x, 1, grad, N);
    op->map->f_and_grad(args + skip, &n, steps + skip, NULL);
    for (size_t i = 0; i < N * (size_t)size; i += (size_t)size)
        if (memcmp((char *)y + i, (char *)f + i, (size_t)size) != 0 ||
            memcmp((char *)dy + i, (char *)grad + i, (size_t)size) != 0) {
            fail(t, op, "f_and_grad differs from f and grad");
            return;
        }
}

int main(void)
{
    int ops = 0;
    for (size_t k = 0; k < sizeof tables / sizeof tables[0]; k++) {
        const pa_table *t = tables[k];
        if (!pa_cpu_has(t->isa))
            continue;
        for (int i = 0; i < t->n_ops; i++) {
            const pa_op *op = t->ops[i];
            if (op->kind != PA_KIND_MAP)
                continue;
            ops++;
            if (t->dtype == PA_F32)
                check_bits(t, i);
            check_layouts(t, op, op->map->f);
            check_layouts(t, op, op->map->grad);
            check_both(t, op);
        }
    }
    printf("map: %d operators in all variants, %d failures\n", ops, failures);
    return failures != 0;
}
