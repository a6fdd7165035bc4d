/* op.h - the contract that every operator keeps. Read this file first.
 *
 * One operator is one C file holding one const `pa_op`. It states everything the
 * library knows about that operator; the registry (ops/ops.def) lists them, and
 * whoever needs to know something about operators walks that list: the NumPy ufuncs,
 * the eager tape, the compiled program, the Python keywords, the saved file, the docs,
 * the test matrix and the benchmark rows.
 *
 * The folders simd/, kern/ and ops/ are compiled once per variant, a variant being an
 * (ISA, dtype) pair such as avx2_f32. Inside them `real` is float or double and
 * PA_(name) is `name` with the variant's suffix, so that all variants link together.
 *
 * What an operator promises:
 *   - `shape` checks everything and is the only member that can fail. It fills the
 *     output shapes and says how many bytes the call saves for backward and how many it
 *     needs as scratch. Sizes are computed with pa_mul/pa_add (checked).
 *   - `forward` and `backward` never allocate, fail, lock, log or see Python. Arrays are
 *     C-contiguous. Each gradient is written (=), never accumulated (+=): where a value
 *     has several consumers the graph adds the parts. A NULL din[i] is not wanted.
 *   - Arithmetic order depends on shapes alone, never on the number of threads.
 *
 * Names mean one thing everywhere: B batch, T time, C channels, H W height and width,
 * K N M inner, column and row counts of a product, n elements of a flat array.
 */
#ifndef PA_OP_H
#define PA_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "base/tensor.h"

enum {
    PA_MAX_IN = 16,   /* inputs of one call */
    PA_MAX_OUT = 4,   /* outputs of one call */
    PA_MAX_ATTR = 10, /* attributes of one operator */
};

/* ---- attributes ------------------------------------------------------------------ */

typedef enum pa_attr_type {
    PA_ATTR_REAL, /* num */
    PA_ATTR_INT,  /* num, an integer */
    PA_ATTR_BOOL, /* num, 0 or 1 */
    PA_ATTR_LIST, /* n, list: up to PA_MAX_RANK integers */
    PA_ATTR_MAP,  /* num: index of a one-input map operator in ops.def, or -1 for none;
                     given by name ("gelu"), never by number, outside one process */
} pa_attr_type;

typedef struct pa_attr_desc {
    const char *name;
    pa_attr_type type;
    double init;     /* default; a LIST defaults to empty */
    double min, max; /* allowed range, both included */
    const char *doc; /* one line, with units */
} pa_attr_desc;

typedef struct pa_attr {
    double num;
    int n;
    int64_t list[PA_MAX_RANK];
} pa_attr;

/* ---- one call -------------------------------------------------------------------- */

/* What a call may know about the step it belongs to. */
typedef struct pa_ctx {
    pa_pool *pool;     /* threads; NULL runs everything on the caller */
    uint64_t seed;     /* random streams are functions of (seed, call key, step, index) */
    int64_t step;      /* optimizer steps finished before this one */
    double lr;         /* learning rate of this step */
} pa_ctx;

typedef struct pa_call {
    const struct pa_op *op;
    const struct pa_table *table; /* the variant's operators, for fused activations */
    const pa_attr *attr;          /* in the order of op->attrs */
    int n_in, n_out;
    pa_tensor *in[PA_MAX_IN], *out[PA_MAX_OUT];
    pa_tensor *din[PA_MAX_IN], *dout[PA_MAX_OUT]; /* backward only */
    void *saved;   /* kept from forward to backward; 64-byte aligned */
    void *scratch; /* valid during one call; 64-byte aligned */
    const void *prepared; /* what `prepare` has laid out, or NULL */
    double *bound; /* PA_TELLS_BOUND: NULL, or where the bound goes */
    uint64_t key;  /* this call's own random stream */
    /* filled by `shape` */
    size_t saved_bytes, scratch_bytes; /* scratch: enough for forward and for backward */
    size_t prepared_bytes;             /* 0: nothing worth it at these sizes */
    double flops;                      /* of forward */
} pa_call;

/* ---- element-wise kernels -------------------------------------------------------- */

/* NumPy's inner-loop signature, so that ufuncs and graphs run the same machine code:
 * args are the inputs, then the outputs; steps are in bytes. Any stride (0 and negative
 * too), any alignment of the element type, and outputs that equal an input exactly. */
typedef void pa_loop(char **args, const ptrdiff_t *n, const ptrdiff_t *steps, void *data);

/* A map y = f(x) or y = f(x, p) with one parameter p per operator (alpha, beta). */
typedef struct pa_map {
    pa_loop *f;     /* (x[, p]) -> y */
    pa_loop *grad;  /* (x[, p]) -> f'(x) */
    pa_loop *vjp;   /* (dy, x[, p]) -> dx = dy f'(x), rounded once */
    pa_loop *f_and_grad; /* (x[, p]) -> y, f'(x); one pass */
    bool has_param; /* p is attribute 0 */
    /* NULL, or a pass for kernels that finish a layer in it: over a block of a matrix,
     * y = f(y + bias) and slope = f'(y + bias). y, slope: (rows, cols) at row stride ld;
     * bias: (cols), or NULL for none. */
    void (*quick)(size_t rows, size_t cols, void *y, void *slope, size_t ld,
                  const void *bias);
    bool exact; /* quick: to the last bit, and slope may be NULL; else within 2 ULP */
} pa_map;

/* ---- the operator ---------------------------------------------------------------- */

enum {                          /* op->flags */
    PA_NEEDS_IN = 1 << 0,       /* backward reads the data of in[] */
    PA_NEEDS_OUT = 1 << 1,      /* backward reads the data of out[] */
    PA_IN_PLACE = 1 << 2,       /* out[0] may share memory with in[0] (equal sizes), and
                                   din[0] with dout[0] */
    PA_ALIAS = 1 << 3,          /* out[0] is in[0] under another shape: no code runs */
    PA_MUTATES = 1 << 4,        /* writes in[] (optimizers, clipping): runs once, last */
    PA_NO_GRAD = 1 << 5,        /* not differentiable: metrics, optimizers, argmax */
    PA_SAVES_AT_WILL = 1 << 6,  /* forward takes saved == NULL for "nobody walks back" */
    PA_TELLS_BOUND = 1 << 9,    /* backward writes a bound on the magnitudes of din[1] to
                                   `bound`; INFINITY if they may not be finite */
    PA_SCRATCH_IS_SAVED = 1 << 10, /* scratch is for backward alone, no larger than `saved`
                                      and may be where that lies */
    PA_LOOP_BEGIN = 1 << 7,     /* out[0] is carried from round to round of a loop */
    PA_LOOP_END = 1 << 8,       /* closes the loop whose beginning made in[0]: while out[1]
                                   is above 0, attr[0] times at most, out[0] becomes in[0]
                                   and the calls between run again. Its gradient: graph/ */
};

typedef enum pa_kind { /* which room of the documentation and which test rows */
    PA_KIND_MAP,    /* one input, element-wise */
    PA_KIND_BINARY, /* two inputs, element-wise, broadcast */
    PA_KIND_REDUCE,
    PA_KIND_SHAPE,
    PA_KIND_LAYER, /* matmul, dense, dropout, softmax ... */
    PA_KIND_LOSS,  /* (pred, target, sample_weight) -> scalar */
    PA_KIND_METRIC,
    PA_KIND_OPTIMIZER, /* (param, grad, slots...) updated in place */
    PA_KIND_GRADIENT,  /* clipping: works on gradients in place */
} pa_kind;

typedef struct pa_op {
    const char *name;
    const char *formula; /* one line */
    pa_kind kind;
    unsigned flags;
    int min_in, max_in, n_out; /* number of inputs, number of outputs */
    unsigned no_din;           /* bit i: in[i] never gets a gradient (targets, masks) */
    const char *in_names;      /* "x, kernel, bias": for messages and documentation */
    const pa_attr_desc *attrs; /* ends with a NULL name; NULL when there are none */
    const pa_map *map;         /* PA_KIND_MAP: the loops; else NULL */
    pa_status (*shape)(pa_call *c, pa_error *err);
    void (*forward)(const pa_call *c, const pa_ctx *ctx);
    void (*backward)(const pa_call *c, const pa_ctx *ctx);
    /* Lays in[1] out once, prepared_bytes at `to`, for many calls of forward that find it
     * unchanged (inference over frozen weights). NULL: nothing to lay out. */
    void (*prepare)(const pa_call *c, void *to);
    /* PA_KIND_OPTIMIZER: the state arrays it keeps for each parameter, inputs 2, 3, ...
     * in order, and the number that fills one before the first step (NULL: 0). */
    int (*slots)(const pa_attr *attr);
    double (*slot_init)(const pa_attr *attr, int slot);
    /* From bounds on the magnitudes of its inputs to bounds on them after a step, in
     * place; INFINITY or NaN where none can be told. Roundings may be left out. With all
     * bounds, before and after, below the square root of what the dtype can hold, nothing
     * in the step is NaN or infinite. NULL: nothing can be told. */
    void (*grow)(const pa_attr *attr, const pa_ctx *ctx, double *most);
    unsigned positive; /* bit i: grow takes it that nothing in in[i] is below zero */
} pa_op;

/* All operators of one (ISA, dtype) variant, in the order of ops.def. */
typedef struct pa_table {
    const char *isa; /* "base", "avx2", "avx512", "neon" */
    pa_dtype dtype;
    int n_ops;
    const pa_op *const *ops;
    /* kern/largest.h, of the dtype */
    double (*largest)(const void *data, size_t n, bool positive, pa_pool *pool);
} pa_table;

/* The index of a name in a table, or -1. */
int pa_table_find(const pa_table *table, const char *name);

/* ---- names of the variant being compiled ------------------------------------------ */

#ifdef PA_VARIANT /* set by the build together with PA_REAL_IS_DOUBLE for f64 */
#define PA_CAT2_(a, b) a##_##b
#define PA_CAT_(a, b) PA_CAT2_(a, b)
#define PA_(name) PA_CAT_(name, PA_VARIANT)
#ifdef PA_REAL_IS_DOUBLE
typedef double real;
#define PA_REAL PA_F64
#else
typedef float real;
#define PA_REAL PA_F32
#endif
#endif

#endif
