/* graph.h - inside csrc/graph: values, nodes, and the steps made of them. */
/* clang-format off
 *
 *     graph.c      values and nodes; shapes are inferred as nodes are added
 *     fuse.c       nodes that one call does better together
 *     steps.c      graph + what is wanted -> steps: forward, gradients, updates (SSA: each
 *                  value is written by one step)
 *     plan.c       steps -> where each value lies: one arena, lifetimes, in-place
 *     program.c    steps + plan -> an array of calls, run without a branch between them
 *     guard.c      a step that would leave NaN or infinity behind is not made
 *     loop.c       the batches of an epoch over a program; feed.c gathers their rows
 *     tape.c       the same steps, run as they are recorded
 *     optimizer.c  the memory that outlives programs: gradients and slots
 * clang-format on */
#ifndef PA_GRAPH_H
#define PA_GRAPH_H

#include "pyact.h"

typedef enum pa_place {                 /* who owns a value's memory */
                        PA_PLACE_ARENA, /* the program (or the tape, one allocation each)
                                         */
                        PA_PLACE_INPUT, /* the arena, or the caller's array while it is
                                           bound */
                        PA_PLACE_BLOCK, /* a block: parameters, gradients, slots,
                                           constants */
                        PA_PLACE_LEAF,  /* tape only: the caller */
} pa_place;

typedef struct pa_value {
    pa_tensor t;
    pa_place place;
    pa_block *block; /* PA_PLACE_BLOCK: a reference */
    size_t offset;   /* elements into the block */
    bool trainable;  /* wants a gradient */
    int alias; /* the value whose memory this one shows under another shape, or -1 */
} pa_value;

typedef struct pa_node {
    pa_call call; /* attributes, shapes' sizes, key; tensors are resolved by each user */
    pa_attr attr[PA_MAX_ATTR];
    int in[PA_MAX_IN], out[PA_MAX_OUT];
    /* A recorded backward pass: of this node, from the gradients in[] of its results to
     * those of its inputs, din[i] or -1; call has in[] alone. Else -1. */
    int back_of, din[PA_MAX_IN];
} pa_node;

struct pa_graph {
    const pa_lib *lib;
    int n_values, cap_values, n_nodes, cap_nodes, n_inputs, cap_inputs;
    pa_value *value;
    pa_node *node;
    int *input;   /* values, in the order of feeds */
    bool prepare; /* parameters never change: programs lay them out as their calls like */
};

/* One call to be made. Values that a call does not use are -1. */
typedef enum pa_direction { PA_FORWARD, PA_BACKWARD } pa_direction;

typedef struct pa_step {
    int node;
    pa_direction direction;
    int back; /* steps from here to where the loop that this one closes begins; else 0 */
    int din[PA_MAX_IN], dout[PA_MAX_OUT]; /* PA_BACKWARD */
} pa_step;

typedef struct pa_steps {
    int n, cap;
    pa_step *step;
    int n_forward; /* steps that belong to the forward pass */
    int n_update;  /* trailing steps that change parameters */
} pa_steps;

/* registry.c */
pa_status pa_attrs_set(pa_attr attr[PA_MAX_ATTR], const pa_table *table, const pa_op *op,
                       int n_args, const pa_arg *args, pa_error *err);

/* graph.c */
/* A call by operator number: attributes set, shapes inferred into `result`. */
pa_status pa_call_prepare(pa_call *c, pa_attr attr[PA_MAX_ATTR],
                          pa_tensor result[PA_MAX_OUT], const pa_lib *lib, int index,
                          int n_in, pa_tensor *const *in, int n_args, const pa_arg *args,
                          pa_error *err);
/* Runs a prepared call whose outputs have been given memory; nothing is saved. */
pa_status pa_call_run(pa_call *c, const pa_ctx *ctx, pa_error *err);
pa_status pa_graph_value(pa_graph *g, const pa_value *v, int *value, pa_error *err);
pa_status pa_graph_block(pa_graph *g, pa_block *block, size_t offset, int rank,
                         const int64_t *dim, int *value, pa_error *err);
/* Records a backward pass. */
pa_status pa_graph_backward(pa_graph *g, const pa_step *s, pa_error *err);
pa_graph *pa_graph_copy(const pa_graph *g);      /* NULL: out of memory */
int pa_graph_root(const pa_graph *g, int value); /* follows aliases */
/* The node that begins the loop which node `end` closes; -1: it closes none. */
int pa_graph_loop(const pa_graph *g, int end);
/* May a call that closes a loop, having run `rounds` times, be followed by another round?
 * Then what it gave has been written to where the loop begins. */
bool pa_call_again(const pa_call *end, int rounds);

/* fuse.c: kept[v]: somebody outside reads value v. */
void pa_graph_fuse(pa_graph *g, const bool *kept);

/* steps.c: all append to `steps` and may add values and nodes to g. */
pa_status pa_steps_forward(pa_steps *s, pa_graph *g, int n, const int *wanted,
                           pa_error *err);
/* grad[v] for every value that existed on entry: its gradient's value, or -1. `seed` is a
 * value of the target's shape; `wants` marks the values whose gradient is wanted. Only
 * the nodes [first, last) are walked: what others made counts as given. s NULL: the
 * passes become nodes of the graph, as if they had been recorded. */
pa_status pa_steps_backward(pa_steps *s, pa_graph *g, int target, int seed,
                            const bool *wants, int first, int last, int *grad,
                            pa_error *err);
/* The same for n sources; grad[i] is the gradient in sources[i]. last -1: up to now. */
pa_status pa_steps_gradient(pa_steps *s, pa_graph *g, int target, int seed, int n,
                            const int *sources, int first, int last, int *grad,
                            pa_error *err);
pa_status pa_steps_update(pa_steps *s, pa_graph *g, pa_optimizer *opt, int n_params,
                          const int *params, pa_error *err);
/* The first n_nodes nodes that mutate, behind forward and backward, which so see the
 * state before the step, and at the end, where a step is no longer abandoned. */
pa_status pa_steps_mutate(pa_steps *s, const pa_graph *g, int n_nodes, pa_error *err);
void pa_steps_free(pa_steps *s);

/* plan.c */
typedef struct pa_plan {
    size_t
        *offset;   /* per value: bytes into the arena, or SIZE_MAX when it is elsewhere */
    size_t *saved; /* per node: the same; SIZE_MAX where no backward wants it */
    size_t *scratch; /* per step: bytes into the arena, or SIZE_MAX */
    size_t bytes;    /* of the arena */
} pa_plan;

pa_status pa_plan_new(pa_plan *plan, const pa_graph *g, const pa_steps *s, int n_keep,
                      const int *keep, pa_error *err);
void pa_plan_free(pa_plan *plan);

/* tape.c: the graph that a tape has recorded; the tape's own. */
const pa_graph *pa_tape_graph(const pa_tape *t);

/* program.c, tape.c: fills a call's pointers from `tensor`, indexed by value. */
void pa_call_bind(pa_call *c, const pa_graph *g, const pa_step *s, pa_tensor *tensor);

/* feed.c */
pa_status pa_feed_rows(const pa_feed *f, pa_tensor *to, int64_t rows,
                       const int64_t *order, int64_t first, pa_error *err);

/* optimizer.c */
struct pa_optimizer {
    const pa_lib *lib;
    const char *op;
    int n_args, n_slots;
    pa_arg args[PA_MAX_ATTR];       /* every attribute, by number */
    double slot_init[PA_MAX_SLOTS]; /* what each slot starts from */
    pa_clip clip;
    double clip_at;
    int n_blocks, cap_blocks;
    struct pa_slots {
        pa_block *params, *grad, *slot[PA_MAX_SLOTS];
    } * blocks;
    /* guard.c: bounds on magnitudes before the next step, of parameters, gradients and
     * slots, in the order of the operator's inputs */
    double most[2 + PA_MAX_SLOTS];
};

/* Makes room for one more element in a growing array; false when out of memory. */
bool pa_grow(void *array, int n, int *cap, size_t element);

#endif
