/* What pyact.h and the base refuse, or answer with NULL: values of no graph, shapes and
 * ranks that cannot be, attributes of no operator, programs of nothing. Written in C,
 * since the layer over Python checks most of it first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "base/dd.h"
#include "base/rng.h"
#include "pyact.h"

static int failures, checks;
static pa_error err;

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        checks++;                                                                        \
        if (!(cond)) {                                                                   \
            failures++;                                                                  \
            printf("FAIL %s:%d %s (%s)\n", __FILE__, __LINE__, #cond, err.text);         \
        }                                                                                \
    } while (0)

/* The call fails with this status and a message that has the word. */
#define REFUSED(call, status, word)                                                      \
    do {                                                                                 \
        err.text[0] = '\0';                                                              \
        CHECK((call) == (status) && strstr(err.text, word));                             \
    } while (0)

static void refuses_shapes(void)
{
    const int64_t huge = (int64_t)1 << 40, long_[8] = {999999999999, 1, 2, 3, 4, 5, 6, 7};
    int64_t many[9] = {0};
    pa_tensor t = {0};
    char text[128];
    REFUSED(pa_tensor_init(&t, PA_F32, -1, many, &err), PA_EVALUE, "");
    REFUSED(pa_tensor_init(&t, PA_F32, 9, many, &err), PA_EVALUE, "");
    REFUSED(pa_tensor_init(&t, PA_F32, 2, (int64_t[]){huge, huge}, &err), PA_EOVERFLOW,
            "");
    REFUSED(pa_tensor_init(&t, PA_F64, 1, (int64_t[]){INT64_MAX}, &err), PA_EOVERFLOW,
            "");
    t.rank = 8;
    for (int i = 0; i < 8; i++)
        t.dim[i] = long_[0] * 1000000;
    CHECK(strlen(pa_shape_text(&t, text)) < sizeof text);
    CHECK(!pa_alloc(SIZE_MAX) && !pa_block_new(PA_F64, SIZE_MAX));
}

static void draws_numbers_below(void)
{
    const uint64_t bounds[] = {
        1, 3, UINT32_MAX, (uint64_t)3 << 30, (uint64_t)1 << 33, (uint64_t)3 << 62};
    for (size_t k = 0; k < sizeof bounds / sizeof *bounds; k++) {
        uint64_t at = 0;
        double sum = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t r = pa_rng_below(7, &at, bounds[k]);
            CHECK(r < bounds[k]);
            sum += (double)r / (double)bounds[k];
        }
        CHECK(bounds[k] < 4 || fabs(sum / 1000 - 0.5) < 0.05);
        CHECK(at >= 1000);
    }
}

static void computes_twice_as_long(void)
{
    for (double x = 0x1p-20; x < 0x1p20; x *= 1.25) {
        const pa_dd l = pa_dd_log(x);
        CHECK(fabs(l.hi - log(x)) <= 1e-15 * fabs(l.hi) + 1e-300);
        CHECK(fabs(pa_dd_exp(l).hi / x - 1) < 1e-15);
    }
    CHECK(pa_dd_float((pa_dd){1, 0}) == 1 && pa_dd_float((pa_dd){-1, 0x1p-60}) == -1);
    /* a tie of two floats, and what tips it */
    CHECK(pa_dd_float((pa_dd){1 + 0x1p-24, 0}) == 1);
    CHECK(pa_dd_float((pa_dd){1 + 0x1p-24, 0x1p-80}) == 1 + 0x1p-23f);
    CHECK(pa_dd_float((pa_dd){-1 - 0x1p-24, -0x1p-80}) == -1 - 0x1p-23f);
    CHECK(pa_dd_float((pa_dd){1 + 0x1.8p-23, -0x1p-80}) == 1 + 0x1p-23f);
}

static void refuses_libraries(void)
{
    pa_lib lib;
    REFUSED(pa_lib_open(&lib, "no", 1, &err), PA_EVALUE, "ISA");
    REFUSED(pa_lib_open(&lib, NULL, -1, &err), PA_EVALUE, "threads");
    CHECK(pa_lib_open(&lib, NULL, 0, NULL) == PA_OK && pa_pool_threads(lib.pool) >= 1);
    pa_lib_close(&lib);
    CHECK(pa_lib_open(&lib, "no", 1, NULL) == PA_EVALUE);
}

static void count(void *arg, ptrdiff_t i, int worker)
{
    (void)worker;
    ((int *)arg)[i]++;
}

static void survives_pools_of_any_size(void)
{
    int found[5] = {0};
    pa_pool_free(NULL);
    pa_pool_resize(NULL, 3);
    pa_pool_run(NULL, count, found, 5);
    CHECK(pa_pool_threads(NULL) == 1);
    const int sizes[] = {-3, 0, 1, 2, 100000};
    for (int k = 0; k < 5; k++) {
        pa_pool *pool = pa_pool_new(sizes[k]);
        const int threads = pa_pool_threads(pool);
        CHECK(threads == (sizes[k] < 1 ? 1 : sizes[k] > 2 ? 256 : sizes[k]));
        pa_pool_resize(pool, 2);
        pa_pool_run(pool, count, found, 5);
        pa_pool_run(pool, count, found, 0);
#if !defined(_WIN32) && !defined(__SANITIZE_ADDRESS__)
        /* AddressSanitizer's malloc may be locked by a worker at the moment of a fork */
        const pid_t child = fork();
        if (child == 0) { /* one child uses the pool, the next only frees it */
            if (k & 1)
                pa_pool_run(pool, count, found, 5);
            pa_pool_free(pool);
            exit(found[0] == k + 2 + (k & 1) ? 0 : 1);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
#endif
        pa_pool_free(pool);
    }
    for (int i = 0; i < 5; i++)
        CHECK(found[i] == 6);
}

static void refuses_blocks(void)
{
    CHECK(!pa_block_new(PA_F64, SIZE_MAX / 4)); /* bytes, bytes with a header, and half */
    CHECK(!pa_block_new(PA_F32, SIZE_MAX / 4));
    CHECK(!pa_block_new(PA_F32, PTRDIFF_MAX / 4));
}

static void refuses_values(pa_graph *g, int x)
{
    int out[PA_MAX_OUT], in[PA_MAX_IN + 1], v, w;
    for (int i = 0; i <= PA_MAX_IN; i++)
        in[i] = x;
    CHECK(!pa_graph_tensor(g, -1) && !pa_graph_tensor(g, 1000));
    REFUSED(pa_graph_apply(g, "no", 1, &x, 0, NULL, out, &err), PA_EVALUE, "no");
    REFUSED(pa_graph_apply(g, "add", PA_MAX_IN + 1, in, 0, NULL, out, &err), PA_ETYPE,
            "17 inputs");
    REFUSED(pa_graph_apply(g, "add", 1, &x, 0, NULL, out, &err), PA_ETYPE, "1 inputs");
    for (int bad = -1; bad < 2000; bad += 1500) {
        in[1] = bad;
        REFUSED(pa_graph_apply(g, "add", 2, in, 0, NULL, out, &err), PA_EVALUE,
                "input 1");
    }
    for (int n = -1; n < 10; n += 10) {
        const pa_arg axis = {"axis", .list = (int64_t[9]){0}, .n = n};
        REFUSED(pa_graph_apply(g, "sum", 1, &x, 1, &axis, out, &err), PA_EVALUE, "axis");
    }
    const pa_arg nan_ = {"rate", .num = NAN}, part = {"keepdims", .num = 0.5};
    REFUSED(pa_graph_apply(g, "dropout", 1, &x, 1, &nan_, out, &err), PA_EVALUE, "rate");
    REFUSED(pa_graph_apply(g, "sum", 1, &x, 1, &part, out, &err), PA_EVALUE, "keepdims");
    REFUSED(pa_graph_const(g, PA_F32, -1, NULL, NULL, &v, &err), PA_EVALUE, "");
    REFUSED(pa_graph_input(g, PA_F32, -1, NULL, &v, &err), PA_EVALUE, "");
    pa_block *b = pa_block_new(PA_F32, 12);
    const int64_t dim[2] = {3, 4}, other[2] = {4, 3}, flat = 12;
    REFUSED(pa_graph_param(g, b, 13, 1, &flat, true, &v, &err), PA_EVALUE, "13");
    REFUSED(pa_graph_param(g, b, 1, 1, &flat, true, &v, &err), PA_EVALUE, "12");
    CHECK(!pa_graph_param(g, b, 0, 2, dim, true, &v, &err));
    CHECK(!pa_graph_param(g, b, 0, 2, dim, true, &w, &err) && w == v);
    CHECK(!pa_graph_param(g, b, 0, 2, other, true, &w, &err) && w != v);
    CHECK(!pa_graph_param(g, b, 0, 1, &flat, true, &w, &err) && w != v);
    pa_block_unref(b);
}

static void refuses_programs(const pa_lib *lib, pa_graph *g, int x, int whole)
{
    pa_optimizer *opt = NULL;
    pa_program *p = NULL;
    int bad[] = {-1, 1000};
    REFUSED(pa_optimizer_new(&opt, lib, "no", 0, NULL, PA_CLIP_NONE, 0, &err), PA_EVALUE,
            "no");
    REFUSED(pa_optimizer_new(&opt, lib, "add", 0, NULL, PA_CLIP_NONE, 0, &err), PA_EVALUE,
            "add");
    REFUSED(pa_optimizer_new(&opt, lib, "opt_sgd", 0, NULL, PA_CLIP_NORM, NAN, &err),
            PA_EVALUE, "clip");
    CHECK(!pa_optimizer_new(&opt, lib, "opt_adam", 0, NULL, PA_CLIP_NONE, 0, &err));
    pa_block *b = pa_block_new(PA_F64, 3);
    CHECK(!pa_optimizer_slot(opt, b, -1) && !pa_optimizer_slot(opt, b, 9));
    CHECK(pa_optimizer_slot(opt, b, 0) == pa_optimizer_slot(opt, b, 0));
    const pa_program_spec specs[] = {
        {.loss = 1000},
        {.loss = x},
        {.loss = whole},
        {.loss = -1, .opt = opt},
        {.loss = -1, .n_wrt = 1, .wrt = &x},
        {.loss = -1, .n_out = 2, .out = bad},
        {.loss = -1, .n_out = 1, .out = bad + 1},
    };
    for (size_t k = 0; k < sizeof specs / sizeof *specs; k++)
        REFUSED(pa_program_new(&p, g, &specs[k], &err), PA_EVALUE, "");
    const pa_program_spec plain = {.loss = -1, .n_out = 1, .out = &x};
    CHECK(!pa_program_new(&p, g, &plain, &err));
    CHECK(!pa_program_output(p, -1) && !pa_program_output(p, 1));
    CHECK(pa_program_output(p, 0) && isnan(pa_program_loss(p)));
    pa_program_free(p);
    int weight, loss;
    CHECK(!pa_graph_param(g, b, 0, 0, NULL, true, &weight, &err));
    CHECK(!pa_graph_apply(g, "square", 1, &weight, 0, NULL, &loss, &err));
    REFUSED(pa_program_new(&p, g, &(pa_program_spec){.loss = weight, .opt = opt}, &err),
            PA_EVALUE, "a parameter itself");
    REFUSED(pa_program_new(&p, g,
                           &(pa_program_spec){.loss = loss, .n_wrt = 1, .wrt = bad + 1},
                           &err),
            PA_EVALUE, "wrt 0");
    pa_optimizer_free(opt);
    pa_block_unref(b);
    pa_program_free(NULL);
    pa_optimizer_free(NULL);
    pa_graph_free(NULL);
    pa_tape_free(NULL);
}

static void refuses_gradients(const pa_lib *lib)
{
    float data[3] = {1, 2, 3};
    int32_t whole[3] = {1, 2, 3};
    int x, n, y, grad[2];
    pa_tape *t = pa_tape_new(lib, 0);
    REFUSED(pa_tape_leaf(t, PA_F32, 1, (int64_t[]){-3}, data, true, &x, &err), PA_EVALUE,
            "");
    CHECK(!pa_tape_leaf(t, PA_F32, 1, (int64_t[]){3}, data, true, &x, &err));
    CHECK(!pa_tape_leaf(t, PA_I32, 1, (int64_t[]){3}, whole, true, &n, &err));
    CHECK(!pa_tape_apply(t, "square", 1, &x, 0, NULL, &y, &err));
    REFUSED(pa_tape_apply(t, "square", 1, (int[]){-1}, 0, NULL, &y, &err), PA_EVALUE, "");
    CHECK(!pa_tape_tensor(t, -1) && !pa_tape_tensor(t, 1000));
    REFUSED(pa_tape_gradient(t, -1, NULL, 1, &x, 0, -1, grad, &err), PA_EVALUE, "target");
    REFUSED(pa_tape_gradient(t, n, NULL, 1, &x, 0, -1, grad, &err), PA_EVALUE, "target");
    REFUSED(pa_tape_gradient(t, y, NULL, 2, (int[]){x, 1000}, 0, -1, grad, &err),
            PA_EVALUE, "source 1");
    REFUSED(pa_tape_gradient(t, y, NULL, 2, (int[]){-1, x}, 0, -1, grad, &err), PA_EVALUE,
            "source 0");
    CHECK(!pa_tape_gradient(t, y, NULL, 1, &x, -5, 1000, grad, &err));
    CHECK(((float *)pa_tape_tensor(t, grad[0])->data)[2] == 6);
    CHECK(!pa_tape_gradient(t, y, data, 2, (int[]){x, n}, 1, 1, grad, &err));
    CHECK(grad[0] == -1 && grad[1] == -1);
    pa_tape_free(t);
}

/* What a graph has recorded of a backward pass is a value, but has no gradient itself. */
static void refuses_second_gradients(const pa_lib *lib)
{
    const float one = 1;
    int x, n, seed, y, loss, grad[2];
    pa_graph *g = pa_graph_new(lib);
    CHECK(!pa_graph_input(g, PA_F32, 1, (int64_t[]){3}, &x, &err));
    CHECK(!pa_graph_input(g, PA_I32, 1, (int64_t[]){3}, &n, &err));
    CHECK(!pa_graph_const(g, PA_F32, 0, NULL, &one, &seed, &err));
    CHECK(!pa_graph_apply(g, "square", 1, &x, 0, NULL, &y, &err));
    CHECK(!pa_graph_apply(g, "sum", 1, &y, 0, NULL, &loss, &err));
    REFUSED(pa_graph_gradient(g, -1, seed, 1, &x, 0, -1, grad, &err), PA_EVALUE,
            "target");
    REFUSED(pa_graph_gradient(g, n, seed, 1, &x, 0, -1, grad, &err), PA_EVALUE, "target");
    REFUSED(pa_graph_gradient(g, y, seed, 1, &x, 0, -1, grad, &err), PA_EVALUE, "seed");
    REFUSED(pa_graph_gradient(g, loss, n, 1, &x, 0, -1, grad, &err), PA_EVALUE, "seed");
    REFUSED(pa_graph_gradient(g, loss, 1000, 1, &x, 0, -1, grad, &err), PA_EVALUE,
            "seed");
    REFUSED(pa_graph_gradient(g, loss, seed, 2, (int[]){x, 1000}, 0, -1, grad, &err),
            PA_EVALUE, "source 1");
    CHECK(!pa_graph_gradient(g, loss, seed, 2, (int[]){x, n}, 0, -1, grad, &err));
    CHECK(pa_graph_tensor(g, grad[0])->dim[0] == 3 && grad[1] == -1);
    CHECK(!pa_graph_apply(g, "sum", 1, grad, 0, NULL, &loss, &err));
    REFUSED(pa_graph_gradient(g, loss, seed, 1, &x, 0, -1, grad, &err), PA_EVALUE,
            "through 'square' has no rule");
    /* one that nobody asks for is no obstacle: beside the way, behind it, or of a
     * constant */
    CHECK(!pa_graph_apply(g, "sum", 1, &x, 0, NULL, &loss, &err));
    CHECK(!pa_graph_gradient(g, loss, seed, 1, &x, 0, -1, grad, &err));
    CHECK(!pa_graph_apply(g, "multiply", 2, (int[]){x, seed}, 0, NULL, &y, &err));
    CHECK(!pa_graph_apply(g, "sum", 1, &y, 0, NULL, &loss, &err));
    CHECK(!pa_graph_gradient(g, loss, seed, 1, &x, 0, -1, grad, &err));
    CHECK(!pa_graph_apply(g, "sum", 1, grad, 0, NULL, &loss, &err));
    CHECK(!pa_graph_input(g, PA_F32, 1, (int64_t[]){3}, &n, &err));
    CHECK(!pa_graph_gradient(g, loss, seed, 1, &n, 0, -1, grad, &err) && grad[0] == -1);
    pa_graph_free(g);
}

int main(void)
{
    pa_lib lib;
    refuses_shapes();
    draws_numbers_below();
    computes_twice_as_long();
    refuses_libraries();
    survives_pools_of_any_size();
    refuses_blocks();
    CHECK(!pa_lib_open(&lib, NULL, 1, &err));
    pa_graph *g = pa_graph_new(&lib);
    int x = -1, whole = -1;
    CHECK(!pa_graph_input(g, PA_F32, 2, (int64_t[]){3, 4}, &x, &err));
    CHECK(!pa_graph_input(g, PA_I32, 0, NULL, &whole, &err));
    refuses_values(g, x);
    refuses_programs(&lib, g, x, whole);
    refuses_gradients(&lib);
    refuses_second_gradients(&lib);
    pa_graph_free(g);
    pa_lib_close(&lib);
    printf("%d checks, %d failures\n", checks, failures);
    return failures != 0;
}
