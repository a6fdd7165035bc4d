/* ufunc.c - every map operator of the table as a NumPy ufunc.
 *
 * A ufunc's loop for float32 or float64 is the operator's own loop, called on chunks by
 * several threads when the array is large. The loop for float16 goes through float64 and
 * rounds once. NumPy runs these loops without the GIL: they see nothing of Python, but
 * that a long one looks for signals between its pieces. */
#include "py/ufunc.h"

#include <fenv.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/half.h"
#include "base/thread.h"

enum {
    BLOCK = 256,     /* elements that go through a buffer on the stack at once */
    FIRST = 4096,    /* elements that tell how long the others will take */
    SPLIT = 16384,   /* elements from which several threads are thought of at all */
    PIECE = 1 << 20, /* elements between two looks for a signal */
    N_DTYPES = 3,    /* float16, float32, float64 */
};

/* Seconds. Asking a sleeping thread for help costs the caller about 4 us; a chunk is what
 * the caller may have to wait for at the end. */
static const double worth = 40e-6, per_chunk = 15e-6;

typedef struct loop_data {
    pa_loop *run;  /* on float32 or float64 */
    pa_pool *pool; /* owned by the lib that the bank holds */
    int n_in;
    int size;  /* bytes of an element */
    bool half; /* elements are float16, `run` is on float64 */
    union {    /* the parameter's default, for ufuncs that leave the parameter out */
        uint16_t f16;
        float f32;
        double f64;
    } p;
} loop_data;

/* ---- float16 through a buffer of float64 ---------------------------------------- */

static void raise_half(unsigned flags)
{
    if (flags & PA_HALF_OVERFLOW)
        feraiseexcept(FE_OVERFLOW);
    if (flags & PA_HALF_UNDERFLOW)
        feraiseexcept(FE_UNDERFLOW);
}

/* args: n_in arrays (n,), then one (n,) */
static void run_half(const loop_data *d, char *const *args, ptrdiff_t n,
                     const ptrdiff_t *steps)
{
    double buffer[3][BLOCK];
    unsigned flags = 0;
    for (ptrdiff_t at = 0; at < n; at += BLOCK) {
        ptrdiff_t count = n - at < BLOCK ? n - at : BLOCK;
        char *wide[3];
        ptrdiff_t wide_steps[3];
        for (int k = 0; k < d->n_in; k++) {
            const char *from = args[k] + at * steps[k];
            ptrdiff_t distinct = steps[k] ? count : 1;
            for (ptrdiff_t i = 0; i < distinct; i++) {
                uint16_t h;
                memcpy(&h, from + i * steps[k], sizeof h);
                buffer[k][i] = pa_half_to_double(h);
            }
            wide[k] = (char *)buffer[k];
            wide_steps[k] = steps[k] ? (ptrdiff_t)sizeof(double) : 0;
        }
        wide[d->n_in] = (char *)buffer[2];
        wide_steps[d->n_in] = sizeof(double);
        d->run(wide, &count, wide_steps, NULL);
        char *to = args[d->n_in] + at * steps[d->n_in];
        for (ptrdiff_t i = 0; i < count; i++) {
            uint16_t h = pa_half_from_double(buffer[2][i], &flags);
            memcpy(to + i * steps[d->n_in], &h, sizeof h);
        }
    }
    raise_half(flags);
}

/* args: n_in arrays (n,), then one (n,) that equals an input or shares nothing with it */
static void run(const loop_data *d, char **args, ptrdiff_t n, const ptrdiff_t *steps)
{
    if (d->half)
        run_half(d, args, n, steps);
    else
        d->run(args, &n, steps, NULL);
}

/* Calls `run` for elements [at, at + n). */
static void run_part(const loop_data *d, char **args, ptrdiff_t at, ptrdiff_t n,
                     const ptrdiff_t *steps)
{
    char *part[3];
    for (int k = 0; k <= d->n_in; k++)
        part[k] = args[k] + at * steps[k];
    run(d, part, n, steps);
}

/* ---- outputs that overlap an input ---------------------------------------------- */

typedef enum order {
    ANY_ORDER,  /* no element written is read by another */
    READ_AHEAD, /* elements written are read by earlier ones only */
    ONE_BY_ONE, /* an element written may be read by the next: reduce, accumulate */
} order;

/* Does [a, a + n steps) meet [b, b + n steps)? */
static bool meet(const char *a, ptrdiff_t a_step, const char *b, ptrdiff_t b_step,
                 ptrdiff_t n, ptrdiff_t size)
{
    uintptr_t a0 = (uintptr_t)a, a1 = a0 + (uintptr_t)((n - 1) * a_step);
    uintptr_t b0 = (uintptr_t)b, b1 = b0 + (uintptr_t)((n - 1) * b_step);
    uintptr_t a_low = a0 < a1 ? a0 : a1, a_high = (a0 < a1 ? a1 : a0) + (uintptr_t)size;
    uintptr_t b_low = b0 < b1 ? b0 : b1, b_high = (b0 < b1 ? b1 : b0) + (uintptr_t)size;
    return a_low < b_high && b_low < a_high;
}

/* In which order must out be written, given one input? */
static order order_for(const char *in, ptrdiff_t in_step, const char *out,
                       ptrdiff_t out_step, ptrdiff_t n, ptrdiff_t size)
{
    ptrdiff_t width = out_step < 0 ? -out_step : out_step;
    if (width < size)
        return ONE_BY_ONE;
    if ((in == out && in_step == out_step) || !meet(in, in_step, out, out_step, n, size))
        return ANY_ORDER;
    if (in_step != out_step)
        return ONE_BY_ONE;
    ptrdiff_t ahead = (ptrdiff_t)((uintptr_t)out - (uintptr_t)in);
    ptrdiff_t phase = ((ahead % width) + width) % width;
    if (phase >= size && width - phase >= size)
        return ANY_ORDER; /* interleaved, as the real and imaginary parts of an array */
    return (ahead < 0) == (out_step > 0) ? READ_AHEAD : ONE_BY_ONE;
}

/* NumPy lets an output overlap an input where a loop that goes element by element gives
 * the right answer; a vector loop that looks ahead would not. */
static void run_ordered(const loop_data *d, char **args, ptrdiff_t n,
                        const ptrdiff_t *steps, order how)
{
    double buffer[BLOCK];
    ptrdiff_t most = how == READ_AHEAD ? BLOCK : 1,
              out_steps[3] = {steps[0], steps[1], 0};
    out_steps[d->n_in] = d->size;
    for (ptrdiff_t at = 0; at < n; at += most) {
        ptrdiff_t count = n - at < most ? n - at : most;
        char *part[3];
        for (int k = 0; k < d->n_in; k++)
            part[k] = args[k] + at * steps[k];
        part[d->n_in] = (char *)buffer;
        run(d, part, count, out_steps);
        char *to = args[d->n_in] + at * steps[d->n_in];
        for (ptrdiff_t i = 0; i < count; i++)
            memcpy(to + i * steps[d->n_in], (char *)buffer + i * d->size,
                   (size_t)d->size);
    }
}

/* ---- the loop that NumPy calls -------------------------------------------------- */

typedef struct job {
    const loop_data *d;
    char **args;
    const ptrdiff_t *steps;
    ptrdiff_t n, chunk; /* elements */
} job;

static void run_chunk(void *arg, ptrdiff_t i, int worker)
{
    (void)worker;
    const job *j = arg;
    ptrdiff_t at = FIRST + i * j->chunk, left = j->n - at;
    run_part(j->d, j->args, at, left < j->chunk ? left : j->chunk, j->steps);
}

/* Elements do not depend on each other: how they are cut cannot show in the result, so
 * that the cut may follow the clock. relu and mish differ by a factor of 15. */
static void run_threads(const loop_data *d, char **args, ptrdiff_t n,
                        const ptrdiff_t *steps)
{
    const double begin = pa_clock();
    run_part(d, args, 0, FIRST, steps);
    const double took = pa_clock() - begin;
    const ptrdiff_t rest = n - FIRST;
    if (took * (double)(rest / FIRST) < worth) {
        run_part(d, args, FIRST, rest, steps);
        return;
    }
    ptrdiff_t firsts = took * 16 < per_chunk ? 16 : (ptrdiff_t)(per_chunk / took);
    firsts = firsts < 1 ? 1 : firsts;
    job j = {d, args, steps, n, firsts * FIRST};
    pa_pool_run(d->pool, run_chunk, &j, rest / j.chunk + (rest % j.chunk != 0));
}

static void run_piece(const loop_data *d, char **args, ptrdiff_t n,
                      const ptrdiff_t *steps, order how)
{
    if (how != ANY_ORDER)
        run_ordered(d, args, n, steps, how);
    else if (n < SPLIT || pa_pool_threads(d->pool) == 1)
        run(d, args, n, steps);
    else
        run_threads(d, args, n, steps);
}

/* In pieces, from the first element to the last, until a signal handler raises. */
static void run_pieces(const loop_data *d, char **args, ptrdiff_t n,
                       const ptrdiff_t *steps, order how)
{
    for (ptrdiff_t at = 0; at < n && !pa_py_stopped(); at += PIECE) {
        char *part[3];
        for (int k = 0; k <= d->n_in; k++)
            part[k] = args[k] + at * steps[k];
        run_piece(d, part, n - at < PIECE ? n - at : PIECE, steps, how);
        pa_py_look();
    }
}

static void loop(char **args, const npy_intp *dims, const npy_intp *steps, void *data)
{
    static PA_THREAD_LOCAL ptrdiff_t since_look; /* elements: an array may come in rows */
    const loop_data *d = data;
    ptrdiff_t n = dims[0];
    order how = ANY_ORDER;
    for (int k = 0; n > 1 && k < d->n_in; k++) {
        order one =
            order_for(args[k], steps[k], args[d->n_in], steps[d->n_in], n, d->size);
        how = one > how ? one : how;
    }
    since_look += n;
    if (since_look < PIECE) {
        run_piece(d, args, n, steps, how);
    } else {
        since_look = 0;
        run_pieces(d, args, n, steps, how);
    }
}

/* (x) -> y for an operator (x, p) -> y. */
static void loop_at_default(char **args, const npy_intp *dims, const npy_intp *steps,
                            void *data)
{
    loop_data *d = data;
    char *all_args[3] = {args[0], (char *)&d->p, args[1]};
    const npy_intp all_steps[3] = {steps[0], 0, steps[1]};
    loop(all_args, dims, all_steps, data);
}

/* ---- making the ufuncs ---------------------------------------------------------- */

/* What one ufunc points at. */
typedef struct entry {
    int n_in;
    loop_data loop[N_DTYPES];
    void *data[N_DTYPES];
    PyUFuncGenericFunction function[N_DTYPES];
    char types[3 * N_DTYPES];
    char name[48];
    char doc[1024];
} entry;

/* The memory of all ufuncs of one ISA; each ufunc holds it through a capsule. */
typedef struct bank {
    PyObject *lib_owner;
    entry entries[1];
} bank;

static const char bank_name[] = "pyact._core.ufuncs";

static void bank_free(PyObject *capsule)
{
    bank *b = PyCapsule_GetPointer(capsule, bank_name);
    Py_DECREF(b->lib_owner);
    PyMem_Free(b);
}

/* The function's value at one point, for the example. */
static double value_at(const loop_data *d, double x, double p)
{
    double y = 0;
    char *args[3] = {(char *)&x, (char *)&p, (char *)&y};
    if (d->n_in == 1)
        args[1] = (char *)&y;
    const ptrdiff_t n = 1, steps[3] = {0, 0, 0};
    d->run(args, &n, steps, NULL);
    return y;
}

static void write_doc(entry *e, const pa_op *op, bool grad)
{
    const pa_attr_desc *p = op->map->has_param ? &op->attrs[0] : NULL;
    char more[400] = "", call[80];
    snprintf(call, sizeof call, "%s(0.75)", e->name);
    if (p && e->n_in == 2) {
        snprintf(call, sizeof call, "%s(0.75, %g)", e->name, p->init);
        snprintf(more, sizeof more,
                 "x2 : array_like\n    %s: %s. It is broadcast against x1\n    and takes "
                 "part in type promotion; by convention %g.\n",
                 p->name, p->doc, p->init);
    } else if (p) {
        snprintf(more, sizeof more, "\n%s is %g.\n", p->name, p->init);
    }
    snprintf(
        e->doc, sizeof e->doc,
        "%s, element-wise%s.\n\n"
        "    %s\n\n"
        "Parameters\n----------\n%s : array_like\n    Of any shape; float16, float32 or "
        "float64. Integers and bool are\n    promoted as np.tanh does.\n%s"
        "\nReturns\n-------\ny : ndarray or scalar\n    %s\n"
        "\nExamples\n--------\n>>> print(f\"{%s:.4f}\")\n%.4f\n",
        op->name, grad ? ", the derivative in x" : "", op->formula,
        e->n_in == 2 ? "x1" : "x", more,
        grad ? "The derivative, of the inputs' broadcast shape."
             : "Of the inputs' broadcast shape.",
        call, value_at(&e->loop[2], 0.75, p ? p->init : 0));
}

/* at_default: the operator's parameter is no input of the ufunc. */
static void fill(entry *e, const pa_op *op, const pa_op *op64, bool grad, bool at_default,
                 pa_pool *pool)
{
    static const char type[N_DTYPES] = {NPY_HALF, NPY_FLOAT, NPY_DOUBLE};
    const bool param = op->map->has_param;
    const int op_in = param ? 2 : 1;
    pa_loop *f32 = grad ? op->map->grad : op->map->f;
    pa_loop *f64 = grad ? op64->map->grad : op64->map->f;
    e->n_in = at_default ? 1 : op_in;
    e->loop[0] =
        (loop_data){.run = f64, .pool = pool, .n_in = op_in, .size = 2, .half = true};
    e->loop[1] = (loop_data){.run = f32, .pool = pool, .n_in = op_in, .size = 4};
    e->loop[2] = (loop_data){.run = f64, .pool = pool, .n_in = op_in, .size = 8};
    if (param) {
        unsigned unused = 0;
        const double init = op->attrs[0].init;
        e->loop[0].p.f16 = pa_half_from_double(init, &unused);
        e->loop[1].p.f32 = (float)init;
        e->loop[2].p.f64 = init;
    }
    for (int i = 0; i < N_DTYPES; i++) {
        e->data[i] = &e->loop[i];
        e->function[i] = at_default ? loop_at_default : loop;
        memset(e->types + i * (e->n_in + 1), type[i], (size_t)e->n_in + 1);
    }
    snprintf(e->name, sizeof e->name, "%s%s", op->name, grad ? "_grad" : "");
    write_doc(e, op, grad);
}

/* Where a pickle finds the ufunc again. NumPy before 2.2 has no place for it on a ufunc;
 * there pickle looks through sys.modules. */
static int set_home(PyObject *ufunc, const char *name)
{
    const char *const key[] = {"__module__", "__qualname__"};
    const char *const text[] = {"pyact._core", name};
    for (int i = 0; i < 2; i++) {
        PyObject *value = PyUnicode_FromString(text[i]);
        if (value == NULL)
            return -1;
        int status = PyObject_SetAttrString(ufunc, key[i], value);
        Py_DECREF(value);
        if (status < 0) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
                !PyErr_ExceptionMatches(PyExc_TypeError))
                return -1;
            PyErr_Clear();
        }
    }
    return 0;
}

static int add(PyObject *dict, entry *e, PyObject *capsule)
{
    PyObject *ufunc =
        PyUFunc_FromFuncAndData(e->function, e->data, e->types, N_DTYPES, e->n_in, 1,
                                PyUFunc_None, e->name, e->doc, 0);
    if (ufunc == NULL)
        return -1;
    Py_INCREF(capsule);
    ((PyUFuncObject *)ufunc)->obj = capsule; /* released with the ufunc */
    int status = set_home(ufunc, e->name);
    if (status == 0)
        status = PyDict_SetItemString(dict, e->name, ufunc);
    Py_DECREF(ufunc);
    return status;
}

/* Adds every map operator and its derivative to `dict`; and to `defaults`, if that is not
 * NULL, those with a parameter once more, as ufuncs of x alone. */
static int add_all(PyObject *dict, PyObject *defaults, const pa_table *const table[2],
                   const pa_state *state)
{
    size_t most = 0;
    for (int i = 0; i < table[0]->n_ops; i++)
        most += table[0]->ops[i]->kind == PA_KIND_MAP ? 4 : 0;
    bank *b = PyMem_Calloc(1, sizeof *b + most * sizeof(entry));
    if (b == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *capsule = PyCapsule_New(b, bank_name, bank_free);
    if (capsule == NULL) {
        PyMem_Free(b);
        return -1;
    }
    Py_INCREF(state->lib_owner);
    b->lib_owner = state->lib_owner;
    int status = 0;
    entry *e = b->entries;
    for (int i = 0; status == 0 && i < table[0]->n_ops; i++) {
        const pa_op *op = table[0]->ops[i], *op64 = table[1]->ops[i];
        if (op->kind != PA_KIND_MAP)
            continue;
        for (int grad = 0; status == 0 && grad < 2; grad++) {
            fill(e, op, op64, grad, false, state->lib->pool);
            status = add(dict, e++, capsule);
            if (status == 0 && defaults != NULL && op->map->has_param) {
                fill(e, op, op64, grad, true, state->lib->pool);
                status = add(defaults, e++, capsule);
            }
        }
    }
    Py_DECREF(capsule);
    return status;
}

PyObject *pa_py_ufuncs_of(pa_state *state, const char *isa)
{
    pa_lib lib;
    pa_error err = {""};
    pa_status status = pa_lib_open(&lib, isa, 1, &err);
    if (status)
        return pa_py_raise(status, &err);
    PyObject *dict = PyDict_New();
    if (dict != NULL && add_all(dict, NULL, lib.table, state) < 0)
        Py_CLEAR(dict);
    pa_lib_close(&lib);
    return dict;
}

int pa_py_ufuncs_add(PyObject *module, pa_state *state)
{
    PyObject *dict = PyModule_GetDict(module); /* borrowed */
    PyObject *defaults = PyDict_New();
    if (dict == NULL || defaults == NULL ||
        add_all(dict, defaults, state->lib->table, state) < 0 ||
        PyDict_SetItemString(dict, "defaults", defaults) < 0) {
        Py_XDECREF(defaults);
        return -1;
    }
    Py_DECREF(defaults);
    return 0;
}
