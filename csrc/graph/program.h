/* program.h - what a compiled program is to the files of this folder. */
#ifndef PA_PROGRAM_H
#define PA_PROGRAM_H

#include "graph/guard.h"

typedef struct call {
    void (*run)(const pa_call *c, const pa_ctx *ctx);
    pa_call call;
    bool poll; /* enough work lies behind to ask whether to go on */
    int back;  /* calls from here to the one that begins the loop which it closes; or 0 */
    int rounds;
} call;

struct pa_program {
    int n_calls, n_update, n_values, n_inputs, n_outputs;
    call *calls;
    pa_attr (*attrs)[PA_MAX_ATTR]; /* per call */
    pa_tensor *tensor;             /* per value */
    int *root;                     /* per value, through aliases */
    int *input, *output, loss;
    void **input_memory, **output_memory; /* per input and output: its own place */
    void *arena;
    void **prepared; /* per call, or NULL */
    size_t bytes;
    double flops;
    pa_guard *guard; /* NULL: nothing is changed */
    bool check_finite, not_finite;
    const void *overflowed; /* in an update, or NULL */
    int n_blocks;
    pa_block **blocks; /* references that keep parameters and constants alive */
};

#endif
