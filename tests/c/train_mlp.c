/* train_mlp.c - a network trained and used from C, with pyact.h alone.
 *
 * Three classes of points in the plane, on the arms of a spiral: a line cannot part them,
 * a network of two dense layers can. The training graph takes batches of 50; a second
 * graph, for 300 points at once, shares the parameters through their block.
 *
 *     cc -std=c11 -Icsrc tests/c/train_mlp.c build/core/libpyact.a -lm -lpthread */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pyact.h"

enum { POINTS = 300, CLASSES = 3, BATCH = 50, HIDDEN = 32, EPOCHS = 200 };
/* where each parameter lies in the block, in elements */
enum { W1 = 0, B1 = W1 + 2 * HIDDEN, W2 = B1 + HIDDEN };
enum { B2 = W2 + HIDDEN * CLASSES, N_PARAMS = B2 + CLASSES };

static pa_error err;

static void check(pa_status status)
{
    if (status) {
        fprintf(stderr, "train_mlp: %s\n", err.text);
        exit(1);
    }
}

/* A uniform number in [-1, 1). */
static double uniform(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)*state / 2147483648.0 - 1;
}

/* x: (POINTS, 2), label: (POINTS,) */
static void make_spirals(float *x, int32_t *label, uint32_t *state)
{
    for (int i = 0; i < POINTS; i++) {
        double r = sqrt((uniform(state) + 1) / 2); /* as many points near as far */
        double angle = 4 * r + 2.0943951 * (i % CLASSES) + 0.1 * uniform(state);
        x[2 * i] = (float)(r * sin(angle));
        x[2 * i + 1] = (float)(r * cos(angle));
        label[i] = i % CLASSES;
    }
}

/* Adds the layers to a graph; returns the logits (rows, CLASSES). */
static int network(pa_graph *g, pa_block *params, int x)
{
    int w1, b1, w2, b2, hidden, logits;
    check(pa_graph_param(g, params, W1, 2, (int64_t[]){2, HIDDEN}, true, &w1, &err));
    check(pa_graph_param(g, params, B1, 1, (int64_t[]){HIDDEN}, true, &b1, &err));
    check(
        pa_graph_param(g, params, W2, 2, (int64_t[]){HIDDEN, CLASSES}, true, &w2, &err));
    check(pa_graph_param(g, params, B2, 1, (int64_t[]){CLASSES}, true, &b2, &err));
    pa_arg gelu = {"activation", .text = "gelu"};
    check(pa_graph_apply(g, "dense", 3, (int[]){x, w1, b1}, 1, &gelu, &hidden, &err));
    check(pa_graph_apply(g, "dense", 3, (int[]){hidden, w2, b2}, 0, NULL, &logits, &err));
    return logits;
}

static pa_program *training(const pa_lib *lib, pa_block *params, pa_optimizer *adam)
{
    pa_graph *g = pa_graph_new(lib);
    pa_program *program;
    int x, label, loss;
    check(pa_graph_input(g, PA_F32, 2, (int64_t[]){BATCH, 2}, &x, &err));
    check(pa_graph_input(g, PA_I32, 1, (int64_t[]){BATCH}, &label, &err));
    int logits = network(g, params, x);
    pa_arg from_logits = {"from_logits", .num = 1};
    check(pa_graph_apply(g, "loss_sparse_categorical_crossentropy", 2,
                         (int[]){logits, label}, 1, &from_logits, &loss, &err));
    check(
        pa_program_new(&program, g, &(pa_program_spec){.loss = loss, .opt = adam}, &err));
    pa_graph_free(g);
    return program;
}

static pa_program *prediction(const pa_lib *lib, pa_block *params)
{
    pa_graph *g = pa_graph_new(lib);
    pa_program *program;
    int x;
    check(pa_graph_input(g, PA_F32, 2, (int64_t[]){POINTS, 2}, &x, &err));
    int logits = network(g, params, x);
    check(pa_program_new(
        &program, g, &(pa_program_spec){.loss = -1, .n_out = 1, .out = &logits}, &err));
    pa_graph_free(g);
    return program;
}

/* The share of rows whose largest logit stands at their label. */
static double accuracy(pa_program *program, const float *x, const int32_t *label)
{
    pa_program_bind(program, 0, x);
    check(pa_program_step(program, &(pa_ctx){0}));
    const float *logits = pa_program_output(program, 0)->data;
    int right = 0;
    for (int i = 0; i < POINTS; i++) {
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            if (logits[CLASSES * i + k] > logits[CLASSES * i + best])
                best = k;
        right += best == label[i];
    }
    return (double)right / POINTS;
}

int main(void)
{
    static float x[POINTS * 2];
    static int32_t label[POINTS];
    uint32_t state = 1;
    double first = 0, last = 0, losses[POINTS / BATCH];
    pa_lib lib;
    pa_optimizer *adam;
    check(pa_lib_open(&lib, NULL, 2, &err));
    make_spirals(x, label, &state);
    pa_block *params = pa_block_new(PA_F32, N_PARAMS);
    check(params ? PA_OK : pa_fail(&err, PA_ENOMEM, "out of memory"));
    for (int i = 0; i < N_PARAMS; i++) /* biases start at 0 */
        if (i < B1 || (i >= W2 && i < B2))
            ((float *)params->data)[i] = (float)(uniform(&state) * (i < B1 ? 1.2 : 0.4));
    check(pa_optimizer_new(&adam, &lib, "opt_adam", 0, NULL, PA_CLIP_NONE, 0, &err));
    pa_program *train = training(&lib, params, adam), *predict = prediction(&lib, params);
    pa_feed feeds[] = {
        {x, PA_SRC_F32, 2 * sizeof *x, .name = "x"},
        {label, PA_SRC_I32, sizeof *label, .classes = CLASSES, .name = "y"}};
    pa_loop_args args = {.full = train, .feeds = feeds, .loss = losses};
    args.rows = POINTS, args.batch = BATCH, args.last = POINTS / BATCH;
    args.ctx = (pa_ctx){.pool = lib.pool, .lr = 0.02};
    for (int epoch = 0; epoch < EPOCHS; epoch++, args.ctx.step += POINTS / BATCH) {
        check(pa_loop_run(&args, &err));
        last = 0;
        for (int b = 0; b < POINTS / BATCH; b++)
            last += losses[b] * BATCH / POINTS;
        first = epoch == 0 ? last : first;
        if (epoch % 50 == 0 || epoch == EPOCHS - 1)
            printf("epoch %3d: loss %.4f, accuracy %.3f\n", epoch + 1, last,
                   accuracy(predict, x, label));
    }
    double right = accuracy(predict, x, label);
    pa_program_free(train);
    pa_program_free(predict);
    pa_optimizer_free(adam);
    pa_block_unref(params);
    pa_lib_close(&lib);
    return last < 0.1 * first && right > 0.98 ? 0 : 1;
}
