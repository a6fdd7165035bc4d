/* pyact.h - the public header: build a graph, train it, predict, without Python.
 *
 *     pa_lib lib;
 *     pa_lib_open(&lib, NULL, 2, &err);                  best ISA, two threads
 *     pa_graph *g = pa_graph_new(&lib);
 *     pa_graph_input(g, PA_F32, 2, (int64_t[]){100, 784}, &x, &err);
 *     pa_graph_param(g, weights, 0, 2, (int64_t[]){784, 10}, true, &w, &err);
 *     pa_graph_apply(g, "dense", 2, (int[]){x, w}, 0, NULL, &y, &err);
 *     ...
 *     pa_program_new(&program, g, &(pa_program_spec){.loss = loss, ...}, &err);
 *     pa_loop_run(&(pa_loop_args){...}, &err);           one call, one epoch
 *
 * tests/c/train_mlp.c is a whole program. A graph is built for one batch size; graphs of
 * several batch sizes share their parameters through blocks. A value is a small number
 * that belongs to its graph. Every function that returns pa_status fills `err` (which
 * may be NULL) when it fails. Objects are used by one thread at a time. */
#ifndef PYACT_H
#define PYACT_H

#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the library: which variant's operators, which threads ------------------------- */

typedef struct pa_lib {
    const pa_table *table[2]; /* float32, float64 */
    pa_pool *pool;            /* owned, */
    struct pa_spare *spare;   /* and this: buffers for the next tape */
} pa_lib;

/* isa NULL takes the best one this processor runs; threads 0 takes every core. */
pa_status pa_lib_open(pa_lib *lib, const char *isa, int threads, pa_error *err);
void pa_lib_close(pa_lib *lib);

/* The names of the ISAs that this build has and this processor runs, best first, ended
 * by NULL. */
void pa_isas(const char *names[8]);

/* ---- graphs -------------------------------------------------------------------------
 */

typedef struct pa_graph pa_graph;

/* An attribute as callers write it: {"alpha", .num = 0.2}, {"activation", .text =
 * "gelu"},
 * {"axis", .list = axes, .n = 2}. */
typedef struct pa_arg {
    const char *name;
    double num;
    const char *text;
    const int64_t *list;
    int n;
} pa_arg;

pa_graph *pa_graph_new(const pa_lib *lib); /* NULL: out of memory; lib must outlive it */
void pa_graph_free(pa_graph *g);

/* A value fed anew for every batch; dim[0] is the batch. */
pa_status pa_graph_input(pa_graph *g, pa_dtype dtype, int rank, const int64_t *dim,
                         int *value, pa_error *err);

/* A parameter: `size` elements at `offset` (in elements) of a block; the graph takes a
 * reference. The same (block, offset) given twice is the same value. */
pa_status pa_graph_param(pa_graph *g, pa_block *block, size_t offset, int rank,
                         const int64_t *dim, bool trainable, int *value, pa_error *err);

/* Parameters in `old` are read from `with`, a block of the same dtype and size, and are
 * no longer trainable: for a frozen copy. */
void pa_graph_replace_block(pa_graph *g, const pa_block *old, pa_block *with);

/* A constant; the data, C-contiguous, are copied. */
pa_status pa_graph_const(pa_graph *g, pa_dtype dtype, int rank, const int64_t *dim,
                         const void *data, int *value, pa_error *err);

/* Adds a call of an operator; out receives op->n_out values. */
pa_status pa_graph_apply(pa_graph *g, const char *op, int n_in, const int *in, int n_args,
                         const pa_arg *args, int *out, pa_error *err);

/* Records the backward passes that give the gradients of sum(target * seed) in n sources:
 * grad[i] is a value, or -1 where the target does not depend on the source. Only the
 * calls [first, last) are walked; last -1 means up to now. They have no gradients
 * themselves. */
pa_status pa_graph_gradient(pa_graph *g, int target, int seed, int n, const int *sources,
                            int first, int last, int *grad, pa_error *err);

/* Shape and dtype of a value; data is not meaningful. NULL when there is no such value.
 */
const pa_tensor *pa_graph_tensor(const pa_graph *g, int value);

/* ---- optimizers: one op, its attributes, clipping, and the memory that lasts ---------
 */

typedef enum pa_clip {
    PA_CLIP_NONE,
    PA_CLIP_VALUE,      /* every component into [-c, c] */
    PA_CLIP_NORM,       /* every parameter's gradient to norm c */
    PA_CLIP_GLOBAL_NORM /* all gradients together to norm c */
} pa_clip;

enum { PA_MAX_SLOTS = 4 };

typedef struct pa_optimizer pa_optimizer;

pa_status pa_optimizer_new(pa_optimizer **opt, const pa_lib *lib, const char *op,
                           int n_args, const pa_arg *args, pa_clip clip, double clip_at,
                           pa_error *err);
void pa_optimizer_free(pa_optimizer *opt);

/* The optimizer's slot `i` (moments, accumulators) for a block of parameters, made on
 * first use; it mirrors the block element by element. NULL: no such slot or no memory. */
pa_block *pa_optimizer_slot(pa_optimizer *opt, pa_block *params, int i);
pa_block *pa_optimizer_grad(pa_optimizer *opt,
                            pa_block *params); /* the same for gradients */
int pa_optimizer_slots(const pa_optimizer *opt);

/* ---- programs ------------------------------------------------------------------------
 */

typedef struct pa_program pa_program;

typedef struct pa_program_spec {
    int loss;          /* a scalar value, or -1: forward only */
    pa_optimizer *opt; /* updates every trainable parameter that the loss depends on; must
                          outlive the program; NULL: gradients only, see `wrt` */
    int n_out;         /* values to be read after each step */
    const int *out;
    int n_wrt; /* values whose gradients are wanted as further outputs; zero where
                  the loss does not depend on them */
    const int *wrt;
} pa_program_spec;

/* Plans and compiles; the graph may be freed afterwards. */
pa_status pa_program_new(pa_program **program, const pa_graph *g,
                         const pa_program_spec *spec, pa_error *err);
void pa_program_free(pa_program *p);

/* One step on the inputs as they are bound. PA_EINTR: the thread's watch (base/watch.h)
 * said stop before the step changed a parameter. */
pa_status pa_program_step(pa_program *p, const pa_ctx *ctx);

/* Shall a step whose loss or gradients are not finite, or that would make parameters or
 * slots so, end with all as it was (PA_EVALUE; PA_ENOMEM where there is no memory to find
 * out)? At first it does not. To be called again when parameters or slots were changed by
 * others. */
void pa_program_check_finite(pa_program *p, bool check);
/* Did the last step end that way? overflowed: the data of what an update made so, or NULL
 * where loss or gradients were. */
bool pa_program_not_finite(const pa_program *p, const void **overflowed);

int pa_program_inputs(const pa_program *p);
pa_tensor *pa_program_input(pa_program *p, int i); /* fill ->data, in the arena */
void pa_program_bind(pa_program *p, int i,
                     const void *data); /* NULL: back to the arena */
const pa_tensor *pa_program_output(const pa_program *p, int i); /* out, then wrt */
/* Shall output i be written to `data` (NULL: to the arena again)? False: it is an input,
 * a parameter, or another output that is bound, and has to be copied. */
bool pa_program_bind_output(pa_program *p, int i, void *data);
double pa_program_loss(const pa_program *p);
size_t pa_program_bytes(const pa_program *p); /* of the arena */
double pa_program_flops(const pa_program *p); /* of one forward pass, at most */
int pa_program_calls(const pa_program *p);

/* ---- the loop over batches: gather, step, sum -----------------------------------------
 */

/* dtypes that data may have; they are converted row by row as they are gathered */
typedef enum pa_source_dtype {
    PA_SRC_BOOL,
    PA_SRC_I8,
    PA_SRC_U8,
    PA_SRC_I16,
    PA_SRC_U16,
    PA_SRC_I32,
    PA_SRC_U32,
    PA_SRC_I64,
    PA_SRC_U64,
    PA_SRC_F16,
    PA_SRC_F32,
    PA_SRC_F64
} pa_source_dtype;

typedef struct pa_feed { /* one array of data, one row per sample, each row contiguous */
    const void *data;
    pa_source_dtype dtype;
    ptrdiff_t row_step; /* bytes from row to row; may be 0 or negative */
    int64_t classes;    /* over 0: labels, whole numbers in [0, classes) */
    bool reject_nan;    /* NaN ends the run with PA_EVALUE */
    const char *name;   /* for messages: "x", "y" */
} pa_feed;

typedef struct pa_loop_args {
    pa_program *full,
        *rest;            /* for whole batches and for the last, smaller one (or NULL) */
    pa_program *look;     /* for the whole batches that are looked at, or NULL: full */
    const pa_feed *feeds; /* in the order of the graph's inputs */
    int64_t rows, batch;
    const int64_t *order; /* (rows,) row numbers, or NULL: as they stand */
    int64_t first, last;  /* batches to run, [first, last) */
    pa_ctx ctx;       /* of the first step; step counts up when there is an optimizer */
    const double *lr; /* (last - first,) learning rates, or NULL: ctx.lr */
    double *loss;     /* (last - first,) or NULL */
    double *const *sums;  /* per output: where its float64 elements are added, or NULL */
    void *const *results; /* per output: (rows, ...) array that receives it, or NULL */
    int64_t *done;        /* steps finished; written during the run; may be NULL */
    int64_t *updates;     /* the optimizer's count of steps: goes up with each; or NULL */
    int64_t watch_every;  /* of so many batches one is looked at; 0: none */
    int n_watched;        /* gradients */
    const pa_tensor *watched;
    double *squares; /* (n_watched + 2,): adds sums of squares, 1, and the rows */
} pa_loop_args;

/* PA_EINTR: the thread's watch said stop; `done` steps are whole, no further one is. */
pa_status pa_loop_run(const pa_loop_args *a, pa_error *err);

/* ---- the tape: the same operators, run as they are recorded
 * ---------------------------- */

typedef struct pa_tape pa_tape;

pa_tape *pa_tape_new(const pa_lib *lib, uint64_t seed); /* NULL: out of memory */
void pa_tape_free(pa_tape *t);
/* leave(arg) is called before an operator that takes long, enter(arg) after it: the
 * caller may let go of a lock in between, if nobody changes the tape meanwhile. enter
 * answers false when the operator was stopped by a watch: its results are dropped
 * (PA_EINTR). */
void pa_tape_around(pa_tape *t, void (*leave)(void *), bool (*enter)(void *), void *arg);
/* A leaf; the data are borrowed until the tape is freed. */
pa_status pa_tape_leaf(pa_tape *t, pa_dtype dtype, int rank, const int64_t *dim,
                       void *data, bool wants_grad, int *value, pa_error *err);
pa_status pa_tape_apply(pa_tape *t, const char *op, int n_in, const int *in, int n_args,
                        const pa_arg *args, int *out, pa_error *err);
/* Data of a value; valid until the tape is freed. */
const pa_tensor *pa_tape_tensor(const pa_tape *t, int value);
/* Gradients of sum(target * seed) (seed NULL: ones) in n sources: grad[i] is a value of
 * this tape, or -1 where the target does not depend on the source. Only the calls
 * [first, last), in the order of recording, are walked; last -1 means up to now. */
pa_status pa_tape_gradient(pa_tape *t, int target, const void *seed, int n,
                           const int *sources, int first, int last, int *grad,
                           pa_error *err);

#ifdef __cplusplus
}
#endif

#endif
