/* inference.c - pyact._core.Inference: a callable from array to array, for calls so
 * small that their overhead counts.
 *
 * An array that fits (dtype, contiguous, rows of the right shape) goes straight to a
 * program for its number of rows; anything else is first made to fit by Python. Small
 * programs run with the GIL held, which is cheaper than giving it away; large ones
 * without. A program that another thread is running is left alone and a further one
 * compiled, so any number of threads may call at once. */
#include "py/objects.h"
#include "py/program.h"

#include <structmember.h>

#include <string.h>

enum { MAX_PROGRAMS = 16 };            /* numbers of rows remembered */
static const double SMALL_FLOPS = 1e5; /* some microseconds */

typedef struct inference {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject *compile;                 /* rows -> Program */
    PyObject *convert;                 /* anything -> an array that fits */
    PyObject *reduce;                  /* what __reduce__ returns */
    int type;                          /* NumPy type of the input */
    int rank;                          /* of the input, batch included */
    npy_intp dim[PA_MAX_RANK];         /* dim[0] is the number of rows */
    int n;                             /* programs, the last used first */
    py_program *program[MAX_PROGRAMS]; /* owned */
    npy_intp rows[MAX_PROGRAMS];
} inference;

/* Does the array go straight in? */
static bool fits(const inference *self, PyObject *x)
{
    if (!PyArray_CheckExact(x))
        return false;
    PyArrayObject *a = (PyArrayObject *)x;
    if (PyArray_TYPE(a) != self->type || PyArray_NDIM(a) != self->rank ||
        (PyArray_FLAGS(a) & NPY_ARRAY_CARRAY_RO) != NPY_ARRAY_CARRAY_RO ||
        !PyArray_ISNOTSWAPPED(a))
        return false;
    for (int i = 1; i < self->rank; i++)
        if (PyArray_DIM(a, i) != self->dim[i])
            return false;
    return true;
}

static void to_front(inference *self, int k)
{
    py_program *p = self->program[k];
    npy_intp rows = self->rows[k];
    memmove(self->program + 1, self->program, (size_t)k * sizeof p);
    memmove(self->rows + 1, self->rows, (size_t)k * sizeof rows);
    self->program[0] = p;
    self->rows[0] = rows;
}

/* A claimed program for so many rows, a new reference; NULL with an exception. */
static py_program *take(inference *self, npy_intp rows)
{
    for (int k = 0; k < self->n; k++)
        if (self->rows[k] == rows && pa_atomic_swap(&self->program[k]->busy, 1) == 0) {
            if (k)
                to_front(self, k);
            return (py_program *)Py_NewRef((PyObject *)self->program[0]);
        }
    PyObject *made = PyObject_CallFunction(self->compile, "n", (Py_ssize_t)rows);
    if (!made)
        return NULL;
    py_program *p = (py_program *)made;
    const pa_state *state = pa_py_state_of((PyObject *)self);
    if (!PyObject_TypeCheck(made, state->type[PA_PY_PROGRAM]) ||
        pa_program_inputs(p->program) != 1 || !pa_program_output(p->program, 0)) {
        Py_DECREF(made);
        PyErr_SetString(PyExc_TypeError, "Inference: compile: expected a Program of one "
                                         "input and an output");
        return NULL;
    }
    pa_atomic_swap(&p->busy, 1);
    PyObject *oldest = NULL;
    if (self->n == MAX_PROGRAMS)
        oldest = (PyObject *)self->program[--self->n];
    self->program[self->n] = (py_program *)Py_NewRef(made);
    self->rows[self->n++] = rows;
    to_front(self, self->n - 1);
    Py_XDECREF(oldest); /* a thread that is running it holds its own reference */
    return p;
}

/* The result's array: `out` checked, or a new one. */
static PyArrayObject *result_array(const py_program *p, PyObject *out)
{
    const pa_tensor *t = pa_program_output(p->program, 0);
    npy_intp dims[PA_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        dims[i] = (npy_intp)t->dim[i];
    int type = pa_py_npy_type(t->dtype);
    if (!out || out == Py_None)
        return (PyArrayObject *)PyArray_SimpleNew(t->rank, dims, type);
    PyArrayObject *a = (PyArrayObject *)out;
    if (!PyArray_Check(out) || PyArray_TYPE(a) != type || !PyArray_ISCARRAY(a) ||
        PyArray_NDIM(a) != t->rank ||
        memcmp(PyArray_DIMS(a), dims, (size_t)t->rank * sizeof *dims) != 0) {
        char text[128];
        return (PyArrayObject *)PyErr_Format(
            PyExc_ValueError, "out: expected a writable contiguous %s array of shape %s",
            pa_dtype_name(t->dtype), pa_shape_text(t, text));
    }
    return (PyArrayObject *)Py_NewRef(out);
}

static PyObject *run(inference *self, PyArrayObject *x, PyObject *out)
{
    py_program *p = take(self, PyArray_DIM(x, 0));
    if (!p)
        return NULL;
    PyArrayObject *result = result_array(p, out);
    if (result) {
        pa_ctx ctx = {.pool = p->lib->pool};
        const double flops = pa_program_flops(p->program);
        pa_py_away away;
        if (flops >= SMALL_FLOPS)
            pa_py_leave(&away, NULL, flops);
        pa_program_bind(p->program, 0, PyArray_DATA(x));
        if (pa_program_step(p->program, &ctx) == PA_OK) {
            const pa_tensor *t = pa_program_output(p->program, 0);
            memcpy(PyArray_DATA(result), t->data, t->size * pa_dtype_size(t->dtype));
        }
        pa_program_bind(p->program, 0, NULL);
        if (flops >= SMALL_FLOPS && pa_py_return(&away) < 0)
            Py_CLEAR(result);
    }
    pa_atomic_swap(&p->busy, 0);
    Py_DECREF(p);
    return (PyObject *)result;
}

static PyObject *call_any(inference *self, PyObject *x, PyObject *out)
{
    if (fits(self, x))
        return run(self, (PyArrayObject *)x, out);
    PyObject *converted = PyObject_CallOneArg(self->convert, x);
    if (!converted)
        return NULL;
    PyObject *result = NULL;
    if (fits(self, converted))
        result = run(self, (PyArrayObject *)converted, out);
    else
        PyErr_SetString(PyExc_TypeError,
                        "Inference: convert gave an array that does not fit");
    Py_DECREF(converted);
    return result;
}

static PyObject *inference_call(PyObject *o, PyObject *const *args, size_t nargsf,
                                PyObject *names)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf),
               n_names = names ? PyTuple_GET_SIZE(names) : 0;
    PyObject *out = n == 2 ? args[1] : NULL;
    if (n < 1 || n > 2 || n_names > 1 || (n == 2 && n_names))
        return PyErr_Format(PyExc_TypeError, "expected fn(x, out=None)");
    if (n_names) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "out") != 0)
            return PyErr_Format(PyExc_TypeError,
                                "unknown argument %R; expected fn(x, out=None)",
                                PyTuple_GET_ITEM(names, 0));
        out = args[n];
    }
    return call_any((inference *)o, args[0], out);
}

/* ---- the type
 * --------------------------------------------------------------------------- */

static PyObject *inference_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"shape", "dtype", "compile", "convert", "reduce", NULL};
    PyObject *shape, *dtype, *compile, *convert, *reduce;
    int64_t dim[PA_MAX_RANK];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO:Inference", names, &shape,
                                     &dtype, &compile, &convert, &reduce))
        return NULL;
    int rank = pa_py_shape(shape, dim), d = rank < 0 ? -1 : pa_py_dtype(dtype);
    if (d < 0)
        return NULL;
    if (rank == 0)
        return PyErr_Format(PyExc_ValueError,
                            "Inference: shape: got (), expected the rows first");
    inference *self = (inference *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->vectorcall = inference_call;
    self->compile = Py_NewRef(compile);
    self->convert = Py_NewRef(convert);
    self->reduce = Py_NewRef(reduce);
    self->type = pa_py_npy_type((pa_dtype)d);
    self->rank = rank;
    for (int i = 0; i < rank; i++)
        self->dim[i] = (npy_intp)dim[i];
    return (PyObject *)self;
}

static int inference_traverse(PyObject *o, visitproc visit, void *arg)
{
    inference *self = (inference *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(self->compile);
    Py_VISIT(self->convert);
    Py_VISIT(self->reduce);
    return 0;
}

static int inference_clear(PyObject *o)
{
    inference *self = (inference *)o;
    Py_CLEAR(self->compile);
    Py_CLEAR(self->convert);
    Py_CLEAR(self->reduce);
    while (self->n)
        Py_DECREF(self->program[--self->n]);
    return 0;
}

static void inference_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    inference_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *inference_reduce(PyObject *o, PyObject *unused)
{
    (void)unused;
    return PyObject_CallNoArgs(((inference *)o)->reduce);
}

static PyMethodDef inference_methods[] = {
    {"__reduce__", inference_reduce, METH_NOARGS,
     "Pickles as the model's layers and weights."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef inference_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(inference, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(inference_doc,
             "Inference(shape, dtype, compile, convert, reduce)\n--\n\n"
             "fn(x, out=None): a frozen model; made by Model.compile_inference.");

static PyType_Slot inference_slots[] = {
    {Py_tp_new, (void *)inference_new},
    {Py_tp_dealloc, (void *)inference_dealloc},
    {Py_tp_traverse, (void *)inference_traverse},
    {Py_tp_clear, (void *)inference_clear},
    {Py_tp_call, (void *)PyVectorcall_Call},
    {Py_tp_methods, (void *)inference_methods},
    {Py_tp_members, (void *)inference_members},
    {Py_tp_doc, (void *)inference_doc},
    {0, NULL},
};

static PyType_Spec inference_spec = {
    .name = "pyact._core.Inference",
    .basicsize = sizeof(inference),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = inference_slots,
};

int pa_py_inference_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_INFERENCE, &inference_spec);
}
