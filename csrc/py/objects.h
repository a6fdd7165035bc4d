/* objects.h - the Python objects over the C core, and the conversions they share. */
#ifndef PA_PY_OBJECTS_H
#define PA_PY_OBJECTS_H

#include "py/state.h"

#include "base/watch.h"

/* ---- away.c -------------------------------------------------------------------------
 */

typedef struct pa_py_away { /* a thread that computes without the GIL */
    PyThreadState *thread;
    PyObject *progress; /* borrowed, or NULL */
    bool watched;
    pa_watch watch, *outer;
} pa_py_away;

/* Gives the GIL away until pa_py_return. About 20 times a second it is taken back for
 * signal handlers and progress() (may be NULL); what they raise stops the work:
 * pa_py_return is then -1, with that exception. flops: how long the work may take. */
void pa_py_leave(pa_py_away *a, PyObject *progress, double flops);
int pa_py_return(pa_py_away *a);

/* The same for a ufunc's loop, which may run with or without the GIL and cannot raise:
 * pa_py_look runs signal handlers when 50 ms have passed. If one raises, pa_py_look is
 * true, and pa_py_stopped is, until Python raises it in turn, which it does as soon as
 * the ufunc has returned: what is left of the loop need not be computed. */
bool pa_py_look(void);
bool pa_py_stopped(void);

bool pa_py_is_main_thread(void);
int pa_py_away_init(void);

typedef struct pa_py_block { /* memory of parameters, gradients, slots */
    PyObject_HEAD pa_block *block;
} pa_py_block;

typedef struct pa_py_graph { /* a graph or a tape: exactly one of the two is set */
    PyObject_HEAD PyObject *lib_owner; /* keeps the tables and threads alive */
    pa_lib *lib;
    pa_graph *graph;
    pa_tape *tape;
    PyObject *leaves;           /* tape: list of the arrays that leaves borrow */
    bool recording;             /* tape: operators on its values are recorded */
    struct pa_py_value *values; /* tape: every Value of it that is alive, a linked list */
    bool runs;                  /* tape: a thread computes without the GIL ... */
    pa_py_away away;            /* ... and this is how it comes back */
} pa_py_graph;

typedef struct pa_py_value {          /* a value of a graph or tape */
    PyObject_HEAD pa_py_graph *owner; /* NULL once the tape has let go of it */
    int id;
    PyObject *tag;   /* a dict for the layers' own notes, or NULL */
    PyObject *array; /* its numbers once the tape has let go of it, or NULL */
    pa_tensor kept;  /* over `array` */
    struct pa_py_value *before, *after; /* in owner->values */
} pa_py_value;

typedef struct pa_py_optimizer {
    PyObject_HEAD PyObject *lib_owner;
    pa_optimizer *opt;
} pa_py_optimizer;

static inline pa_state *pa_py_state_of(PyObject *self)
{
    return (pa_state *)PyType_GetModuleState(Py_TYPE(self));
}

/* ---- args.c -------------------------------------------------------------------------
 */

typedef struct pa_py_args { /* keyword arguments of one operator */
    int n;
    pa_arg arg[PA_MAX_ATTR];
    int64_t list[PA_MAX_ATTR][PA_MAX_RANK];
} pa_py_args;

/* From a dict (or NULL, None). Strings are borrowed from the dict. */
int pa_py_args_get(pa_py_args *a, const pa_op *op, PyObject *dict);

/* A shape (a sequence of ints, or one int) into dim; the rank, or -1. */
int pa_py_shape(PyObject *o, int64_t dim[PA_MAX_RANK]);

/* float32, float64 or int32 from whatever NumPy takes for a dtype; -1 on error. */
int pa_py_dtype(PyObject *o);
int pa_py_npy_type(pa_dtype dtype);
PyObject *pa_py_shape_tuple(const pa_tensor *t);

/* A C-contiguous, aligned, native array of float32, float64 or int32 (integers become
 * int32 or floats as NumPy would promote them); a new reference. */
PyArrayObject *pa_py_array(PyObject *o);
void pa_py_tensor(PyArrayObject *a, pa_tensor *t);

/* The number of an operator, or -1 with an exception. */
int pa_py_find_op(const pa_lib *lib, PyObject *name);

/* ---- block.c and the others: add their types to the module
 * ------------ */

int pa_py_add_type(PyObject *module, int which, PyType_Spec *spec);
int pa_py_block_add(PyObject *module);
int pa_py_value_add(PyObject *module);
int pa_py_recorders_add(PyObject *module);
int pa_py_optimizer_add(PyObject *module);
int pa_py_program_add(PyObject *module);
int pa_py_loop_add(PyObject *module);
int pa_py_inference_add(PyObject *module);
int pa_py_execute_add(PyObject *module);

/* inspect.c: what a Graph or a Tape has recorded. */
PyObject *pa_py_owner_node(PyObject *owner, PyObject *index);
PyObject *pa_py_owner_value(PyObject *owner, PyObject *id);
PyObject *pa_py_owner_nodes(PyObject *owner, void *unused);

PyObject *pa_py_block_wrap(pa_state *state, pa_block *block); /* takes a reference */

/* ---- value.c, operands.c ----------------------------------------------------------- */

PyObject *pa_py_value_wrap(pa_py_graph *owner, int id);
const pa_tensor *pa_py_value_tensor(const pa_py_value *v);

/* A copy of the numbers of a tape's value; NULL with an exception for a symbolic one. */
PyObject *pa_py_value_array(const pa_py_value *v);

/* Gives every Value of a tape numbers of its own and frees the tape. */
int pa_py_values_detach(pa_py_graph *owner);

/* Raises, and is true, when nothing may be recorded: while another thread computes on the
 * tape, and once it has let go of its values. To be asked after whatever may run Python
 * (an operand's __array__), since that may do either. */
bool pa_py_closed(const pa_py_graph *owner);
/* Is it an array that carries its place in a Block? -1 with an exception: it could not be
 * found out, say for want of memory. */
int pa_py_is_weight(PyObject *x);
/* An array as a value: a constant of a graph, a leaf of a tape. */
int pa_py_array_value(pa_py_graph *owner, PyObject *array, bool wants_grad, int *id);

/* The values that a tuple of operands stands for; their number, or -1. */
int pa_py_input_ids(pa_py_graph *owner, PyObject *inputs, int id[PA_MAX_IN]);

/* Applies an operator to a tuple of values of `owner`, arrays becoming constants. */
PyObject *pa_py_value_apply(pa_py_graph *owner, PyObject *name, PyObject *inputs,
                            PyObject *attrs);

#endif
