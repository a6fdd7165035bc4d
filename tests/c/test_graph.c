/* Graphs, tapes and programs through pyact.h on every instruction set of this build:
 * activations agree with the plain variant bit for bit in float32, gradients agree with
 * finite differences, programs with tapes, and mistakes are answered with a status and a
 * message. Written in C so that it also runs where Python does not (qemu-user). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pyact.h"

static int failures;
static pa_error err;

#define CHECK(cond, ...)                                                                 \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            failures++;                                                                  \
            printf("FAIL %s:%d %s: ", __FILE__, __LINE__, #cond);                        \
            printf(__VA_ARGS__);                                                         \
            printf("\n");                                                                \
        }                                                                                \
    } while (0)

static uint64_t state = 1;

/* Uniform in [-1, 1), a number of float32. */
static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 32 & 0xffffff00) / 2147483648.0;
}

static void fill(double *x, size_t n, double low, double high)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(low + (high - low) * (uniform() + 1) / 2);
}

/* ---- activations: this variant against the plain one ------------------------------- */

enum { N = 1021 };

/* y, dx: (N,) of f and its gradient with seed dy on a tape. */
static void map_on(const pa_lib *lib, pa_dtype dtype, const char *op, void *x,
                   const void *dy, void *y, void *dx)
{
    pa_tape *t = pa_tape_new(lib, 0);
    int v, w, g;
    size_t bytes = N * pa_dtype_size(dtype);
    pa_status st = pa_tape_leaf(t, dtype, 1, (int64_t[]){N}, x, true, &v, &err);
    st = st ? st : pa_tape_apply(t, op, 1, &v, 0, NULL, &w, &err);
    st = st ? st : pa_tape_gradient(t, w, dy, 1, &v, 0, -1, &g, &err);
    CHECK(!st, "%s: %s", op, err.text);
    if (!st) {
        memcpy(y, pa_tape_tensor(t, w)->data, bytes);
        memcpy(dx, pa_tape_tensor(t, g)->data, bytes);
    }
    pa_tape_free(t);
}

static void compare(const char *what, const char *isa, pa_dtype dtype, const void *got,
                    const void *want, const double *x)
{
    for (int i = 0; i < N; i++) {
        double a = dtype ? ((const double *)got)[i] : ((const float *)got)[i];
        double b = dtype ? ((const double *)want)[i] : ((const float *)want)[i];
        double limit = dtype ? 1e-15 * (fabs(b) + 1e-3) : 0;
        if (!(fabs(a - b) <= limit) && !(a != a && b != b)) {
            CHECK(0, "%s on %s, %s: x = %.17g, got %.17g, plain %.17g", what, isa,
                  pa_dtype_name(dtype), x[i], a, b);
            return;
        }
    }
}

static void test_maps(const pa_lib *lib, const pa_lib *plain)
{
    static double x[N], dy[N], y[2][N], dx[2][N];
    static float xf[N], dyf[N];
    const pa_table *table = lib->table[0];
    fill(x, N, -8, 8);
    fill(dy, N, -1, 1);
    for (int i = 0; i < N; i++) {
        xf[i] = (float)x[i];
        dyf[i] = (float)dy[i];
    }
    for (int k = 0; k < table->n_ops; k++)
        for (int d = 0; table->ops[k]->map && d < 2; d++) {
            const char *op = table->ops[k]->name;
            void *at = d ? (void *)x : (void *)xf, *seed = d ? (void *)dy : (void *)dyf;
            map_on(lib, (pa_dtype)d, op, at, seed, y[0], dx[0]);
            map_on(plain, (pa_dtype)d, op, at, seed, y[1], dx[1]);
            compare(op, table->isa, (pa_dtype)d, y[0], y[1], x);
            compare("a gradient", table->isa, (pa_dtype)d, dx[0], dx[1], x);
        }
}

/* ---- gradients against finite differences ------------------------------------------ */

typedef struct trial {
    const char *op;
    int n_in, rank[3];
    int64_t dim[3][3];
    int n_args;
    pa_arg arg[2];
    const char *second; /* what the second input is: NULL a number, "one-hot" a target */
} trial;

static const trial trials[] = {
    {"matmul", 2, {2, 2}, {{5, 7}, {7, 11}}, 0, {{0}}, NULL},
    {"matmul", 2, {3, 2}, {{3, 5, 7}, {11, 7}}, 1, {{"transpose_b", .num = 1}}, NULL},
    {"dense", 3, {2, 2, 1}, {{5, 7}, {7, 3}, {3}}, 0, {{0}}, NULL},
    {"dense",
     3,
     {2, 2, 1},
     {{9, 31}, {31, 17}, {17}},
     1,
     {{"activation", .text = "gelu"}},
     NULL},
    {"softmax", 1, {2}, {{5, 33}}, 0, {{0}}, NULL},
    {"log_softmax", 1, {2}, {{5, 33}}, 0, {{0}}, NULL},
    {"logsumexp", 1, {2}, {{5, 33}}, 0, {{0}}, NULL},
    {"mean", 1, {2}, {{5, 33}}, 0, {{0}}, NULL},
    {"multiply", 2, {2, 1}, {{5, 33}, {33}}, 0, {{0}}, NULL},
    {"divide", 2, {2, 1}, {{5, 33}, {33}}, 0, {{0}}, "positive"},
    {"loss_mse", 2, {2, 2}, {{5, 3}, {5, 3}}, 0, {{0}}, "target"},
    {"loss_binary_crossentropy",
     2,
     {2, 2},
     {{5, 3}, {5, 3}},
     1,
     {{"from_logits", .num = 1}},
     "target"},
    {"loss_categorical_crossentropy",
     2,
     {2, 2},
     {{5, 3}, {5, 3}},
     1,
     {{"from_logits", .num = 1}},
     "target"},
};

enum { MOST = 1024 };

/* sum(op(x)) of inputs x; grad[i]: where to put the gradient of input i, or NULL. */
static double total(const pa_lib *lib, const trial *c, double (*x)[MOST],
                    double (*grad)[MOST])
{
    pa_tape *t = pa_tape_new(lib, 0);
    int v[3], y, sum, g[3];
    double result = NAN;
    pa_status st = PA_OK;
    for (int i = 0; i < c->n_in && !st; i++)
        st = pa_tape_leaf(t, PA_F64, c->rank[i], c->dim[i], x[i], true, &v[i], &err);
    st = st ? st : pa_tape_apply(t, c->op, c->n_in, v, c->n_args, c->arg, &y, &err);
    st = st ? st : pa_tape_apply(t, "square", 1, &y, 0, NULL, &y, &err);
    st = st ? st : pa_tape_apply(t, "sum", 1, &y, 0, NULL, &sum, &err);
    if (!st && grad)
        st = pa_tape_gradient(t, sum, NULL, c->n_in, v, 0, -1, g, &err);
    CHECK(!st, "%s: %s", c->op, err.text);
    if (!st)
        result = *(double *)pa_tape_tensor(t, sum)->data;
    for (int i = 0; i < c->n_in && !st && grad; i++) {
        const pa_tensor *from = g[i] < 0 ? NULL : pa_tape_tensor(t, g[i]);
        memset(grad[i], 0, sizeof grad[i]);
        if (from)
            memcpy(grad[i], from->data, from->size * sizeof(double));
    }
    pa_tape_free(t);
    return result;
}

static void test_gradients(const pa_lib *lib)
{
    static double x[3][MOST], moved[3][MOST], grad[3][MOST], way[MOST];
    for (size_t k = 0; k < sizeof trials / sizeof *trials; k++) {
        const trial *c = &trials[k];
        for (int i = 0; i < c->n_in; i++) {
            bool unit = i == 1 && c->second;
            fill(x[i], MOST, unit ? 0.5 : -1, 1);
        }
        total(lib, c, x, grad);
        for (int i = 0; i < (c->second && c->second[0] == 't' ? 1 : c->n_in); i++) {
            double slope = 0, size = 0, f[4], h = 0x1p-9;
            fill(way, MOST, -1, 1);
            for (int s = 0; s < 4; s++) {
                memcpy(moved, x, sizeof moved);
                for (int j = 0; j < MOST; j++)
                    moved[i][j] += way[j] * h * (s < 2 ? s - 2 : s - 1);
                f[s] = total(lib, c, moved, NULL);
            }
            for (int j = 0; j < MOST; j++) {
                slope += grad[i][j] * way[j];
                size += fabs(grad[i][j] * way[j]);
            }
            double want = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
            CHECK(fabs(slope - want) <= 1e-8 * (1 + size),
                  "%s on %s: gradient %d: got %.12g, finite differences give %.12g",
                  c->op, lib->table[1]->isa, i, slope, want);
        }
    }
}

/* ---- program and tape ---------------------------------------------------------------
 */

static void test_program(const pa_lib *lib, int threads)
{
    static float x[64 * 33], k[33 * 17], y[64 * 17];
    int v[2], z, loss, g[2];
    for (int i = 0; i < 64 * 33; i++)
        x[i] = (float)uniform();
    for (int i = 0; i < 33 * 17; i++)
        k[i] = (float)uniform();
    for (int i = 0; i < 64 * 17; i++)
        y[i] = (float)uniform();
    pa_arg act = {"activation", .text = "tanh"};
    pa_tape *t = pa_tape_new(lib, 0);
    pa_graph *graph = pa_graph_new(lib);
    pa_block *b = pa_block_new(PA_F32, 33 * 17);
    memcpy(b->data, k, sizeof k);
    int target;
    pa_status st = pa_tape_leaf(t, PA_F32, 2, (int64_t[]){64, 33}, x, true, &v[0], &err);
    st = st ? st : pa_tape_leaf(t, PA_F32, 2, (int64_t[]){33, 17}, k, true, &v[1], &err);
    st = st ? st
            : pa_tape_leaf(t, PA_F32, 2, (int64_t[]){64, 17}, y, false, &target, &err);
    st = st ? st : pa_tape_apply(t, "dense", 2, v, 1, &act, &z, &err);
    st = st ? st
            : pa_tape_apply(t, "loss_mse", 2, (int[]){z, target}, 0, NULL, &loss, &err);
    st = st ? st : pa_tape_gradient(t, loss, NULL, 2, v, 0, -1, g, &err);
    CHECK(!st, "%s", err.text);
    const pa_tensor *want[2] = {pa_tape_tensor(t, g[0]), pa_tape_tensor(t, g[1])};

    pa_program *p = NULL;
    st = pa_graph_input(graph, PA_F32, 2, (int64_t[]){64, 33}, &v[0], &err);
    st = st ? st : pa_graph_input(graph, PA_F32, 2, (int64_t[]){64, 17}, &target, &err);
    st = st ? st : pa_graph_param(graph, b, 0, 2, (int64_t[]){33, 17}, true, &v[1], &err);
    st = st ? st : pa_graph_apply(graph, "dense", 2, v, 1, &act, &z, &err);
    st = st ? st
            : pa_graph_apply(graph, "loss_mse", 2, (int[]){z, target}, 0, NULL, &loss,
                             &err);
    pa_program_spec spec = {.loss = loss, .n_wrt = 2, .wrt = v};
    st = st ? st : pa_program_new(&p, graph, &spec, &err);
    CHECK(!st, "%s", err.text);
    if (p) {
        pa_program_bind(p, 0, x);
        pa_program_bind(p, 1, y);
        pa_program_step(p, &(pa_ctx){.pool = lib->pool});
        for (int i = 0; i < 2; i++) {
            const pa_tensor *got = pa_program_output(p, i);
            CHECK(memcmp(got->data, want[i]->data, got->size * sizeof(float)) == 0,
                  "%s, %d threads: gradient %d of program and tape differ",
                  lib->table[0]->isa, threads, i);
        }
    }
    pa_program_free(p);
    pa_graph_free(graph);
    pa_tape_free(t);
    pa_block_unref(b);
}

/* y = x + y / 2 by a loop on a tape that nobody leaves: 2 x. */
static void test_loop(const pa_lib *lib)
{
    double x[6] = {1, -2, 3, 4, 5, -6}, zero[6] = {0}, half = 0.5;
    const int64_t dim[2] = {3, 2};
    int at_x, begin, scale, f, product, fresh, y[2];
    const pa_arg args[] = {{"rounds", .num = 100}, {"tolerance", .num = 1e-13}};
    pa_tape *t = pa_tape_new(lib, 0);
    pa_status st = pa_tape_leaf(t, PA_F64, 2, dim, x, true, &at_x, &err);
    st = st ? st : pa_tape_leaf(t, PA_F64, 2, dim, zero, false, &begin, &err);
    st = st ? st : pa_tape_leaf(t, PA_F64, 0, NULL, &half, false, &scale, &err);
    st = st ? st : pa_tape_apply(t, "reenter", 1, &begin, 0, NULL, &f, &err);
    st = st ? st
            : pa_tape_apply(t, "multiply", 2, (int[]){f, scale}, 0, NULL, &product, &err);
    st = st ? st
            : pa_tape_apply(t, "add", 2, (int[]){product, at_x}, 0, NULL, &fresh, &err);
    st = st ? st : pa_tape_apply(t, "settle", 2, (int[]){f, fresh}, 2, args, y, &err);
    CHECK(!st, "%s", err.text);
    for (int i = 0; !st && i < 6; i++) {
        const double got = ((double *)pa_tape_tensor(t, y[0])->data)[i];
        CHECK(fabs(got - 2 * x[i]) < 1e-11, "the loop ends at %g, not %g", got, 2 * x[i]);
    }
    pa_tape_free(t);
}

/* The batches of an epoch may be single numbers, or have no rows. */
static void test_batches(const pa_lib *lib)
{
    float x[3] = {1, 2, 3}, y[3] = {0};
    const int64_t dim[2] = {0, 3}, order[1] = {0};
    for (int rank = 0; rank <= 2; rank += 2) {
        pa_graph *g = pa_graph_new(lib);
        pa_program *p = NULL;
        int in, out;
        pa_status st = pa_graph_input(g, PA_F32, rank, dim, &in, &err);
        st = st ? st : pa_graph_apply(g, "negative", 1, &in, 0, NULL, &out, &err);
        const pa_program_spec spec = {.loss = -1, .n_out = 1, .out = &out};
        st = st ? st : pa_program_new(&p, g, &spec, &err);
        CHECK(!st, "%s", err.text);
        const pa_feed feed = {x, PA_SRC_F32, sizeof *x, .name = "x"};
        int64_t done = 0;
        pa_loop_args args = {.full = p, .feeds = &feed, .done = &done};
        args.results = (void *[]){y};
        args.rows = rank ? 0 : 3, args.batch = rank ? 0 : 1, args.last = rank ? 1 : 3;
        args.order = rank ? order : NULL;
        CHECK(!st && !pa_loop_run(&args, &err) && done == args.last, "%s", err.text);
        args.results = NULL;
        CHECK(!st && !pa_loop_run(&args, &err) && done == args.last, "%s", err.text);
        for (int i = 0; i < 3; i++)
            CHECK(y[i] == -x[i], "result %d is %g", i, (double)y[i]);
        pa_program_free(p);
        pa_graph_free(g);
    }
}

/* ---- mistakes ------------------------------------------------------------------------
 */

static void test_mistakes(const pa_lib *lib)
{
    pa_graph *g = pa_graph_new(lib);
    int a, b, y;
    CHECK(pa_graph_input(g, PA_F32, 2, (int64_t[]){5, 7}, &a, &err) == PA_OK, "input");
    CHECK(pa_graph_input(g, PA_F32, 2, (int64_t[]){5, 7}, &b, &err) == PA_OK, "input");
    CHECK(pa_graph_apply(g, "matmul", 2, (int[]){a, b}, 0, NULL, &y, &err) == PA_EVALUE,
          "(5, 7) times (5, 7)");
    CHECK(strstr(err.text, "matmul") && strstr(err.text, "(5, 7)"), "%s", err.text);
    CHECK(pa_graph_apply(g, "gleu", 1, &a, 0, NULL, &y, &err) != PA_OK, "unknown name");
    CHECK(pa_graph_apply(g, "relu", 1, (int[]){99}, 0, NULL, &y, NULL) != PA_OK,
          "no such value, and nowhere to write");
    pa_arg wrong = {"axes", .num = 1};
    CHECK(pa_graph_apply(g, "softmax", 1, &a, 1, &wrong, &y, &err) == PA_ETYPE,
          "unknown attribute");
    CHECK(strstr(err.text, "axes"), "%s", err.text);
    CHECK(pa_graph_input(g, PA_F32, 2, (int64_t[]){INT64_MAX, 3}, &y, &err) != PA_OK,
          "too big");
    CHECK(pa_graph_input(g, PA_F32, 1, (int64_t[]){-1}, &y, &err) != PA_OK, "negative");
    pa_program *p = NULL;
    CHECK(pa_program_new(&p, g, &(pa_program_spec){.loss = a}, &err) == PA_EVALUE && !p,
          "a loss of 35 numbers");
    pa_graph_free(g);
    pa_lib none;
    CHECK(pa_lib_open(&none, "z80", 1, &err) == PA_EVALUE && strstr(err.text, "z80"),
          "%s", err.text);
}

int main(void)
{
    const char *names[8];
    pa_lib plain, lib;
    pa_isas(names);
    if (pa_lib_open(&plain, "base", 1, &err))
        return printf("%s\n", err.text), 1;
    for (int i = 0; names[i]; i++)
        for (int threads = 1; threads <= 2; threads++) {
            if (pa_lib_open(&lib, names[i], threads, &err))
                return printf("%s\n", err.text), 1;
            if (threads == 1) {
                test_maps(&lib, &plain);
                test_gradients(&lib);
            }
            test_program(&lib, threads);
            test_loop(&lib);
            test_batches(&lib);
            test_mistakes(&lib);
            pa_lib_close(&lib);
            printf("%s, %d threads: %d failures\n", names[i], threads, failures);
        }
    pa_lib_close(&plain);
    return failures != 0;
}
