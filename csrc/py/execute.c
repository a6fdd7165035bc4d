/* execute.c - execute(program, inputs, seed, step): one run of a program on arrays, its
 * outputs as new arrays. */
#include "py/objects.h"
#include "py/program.h"

#include <string.h>

static const double SMALL_FLOPS = 1e5; /* some microseconds */

/* The inputs as the program wants them: C-contiguous, of its dtypes and shapes. */
static int get_inputs(pa_program *p, PyObject *inputs, PyArrayObject **array)
{
    for (int i = 0; i < pa_program_inputs(p); i++) {
        const pa_tensor *t = pa_program_input(p, i);
        array[i] = (PyArrayObject *)PyArray_FROMANY(
            PyTuple_GET_ITEM(inputs, i), pa_py_npy_type(t->dtype), 0, 0,
            NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY);
        if (!array[i])
            return -1;
        bool same = PyArray_NDIM(array[i]) == t->rank;
        for (int k = 0; same && k < t->rank; k++)
            same = PyArray_DIM(array[i], k) == t->dim[k];
        if (!same) {
            char text[128];
            PyErr_Format(PyExc_ValueError, "execute: input %d: expected shape %s", i,
                         pa_shape_text(t, text));
            return -1;
        }
    }
    return 0;
}

/* New arrays for the outputs, that the program writes where it can. */
static PyObject *bind_outputs(pa_program *p)
{
    const pa_tensor *t;
    PyObject *list = PyList_New(0);
    for (int i = 0; list && (t = pa_program_output(p, i)); i++) {
        npy_intp dims[PA_MAX_RANK];
        for (int k = 0; k < t->rank; k++)
            dims[k] = (npy_intp)t->dim[k];
        PyObject *a = PyArray_SimpleNew(t->rank, dims, pa_py_npy_type(t->dtype));
        if (!a || PyList_Append(list, a) < 0)
            Py_CLEAR(list);
        else if (t->size > 0)
            pa_program_bind_output(p, i, PyArray_DATA((PyArrayObject *)a));
        Py_XDECREF(a);
    }
    return list;
}

/* The other outputs are copied: one may be an input, which is still bound. */
static void copy_outputs(const pa_program *p, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        const pa_tensor *t = pa_program_output(p, (int)i);
        void *data = PyArray_DATA((PyArrayObject *)PyList_GET_ITEM(list, i));
        if (t->size > 0 && t->data != data)
            memcpy(data, t->data, t->size * pa_dtype_size(t->dtype));
    }
}

static PyObject *run(py_program *p, PyArrayObject **array, const pa_ctx *ctx)
{
    int n = pa_program_inputs(p->program);
    const double flops = pa_program_flops(p->program);
    pa_py_away away;
    PyObject *list = bind_outputs(p->program);
    if (list) {
        if (flops >= SMALL_FLOPS)
            pa_py_leave(&away, NULL, flops);
        for (int i = 0; i < n; i++)
            pa_program_bind(p->program, i, PyArray_DATA(array[i]));
        pa_program_step(p->program, ctx);
        if (flops >= SMALL_FLOPS && pa_py_return(&away) < 0)
            Py_CLEAR(list);
        if (list)
            copy_outputs(p->program, list);
    }
    for (int i = 0; i < n; i++)
        pa_program_bind(p->program, i, NULL);
    for (int i = 0; pa_program_output(p->program, i); i++)
        pa_program_bind_output(p->program, i, NULL);
    return list;
}

PyDoc_STRVAR(execute_doc,
             "execute(program, inputs, seed=0, step=0, lr=0.0, /)\n--\n\n"
             "Runs a Program once on a tuple of arrays; its outputs as a list.");

static PyObject *execute(PyObject *module, PyObject *args)
{
    PyObject *program, *inputs, *result = NULL;
    unsigned long long seed = 0;
    long long step = 0;
    double lr = 0;
    pa_state *state = pa_py_state(module);
    if (!PyArg_ParseTuple(args, "O!O!|KLd:execute", state->type[PA_PY_PROGRAM], &program,
                          &PyTuple_Type, &inputs, &seed, &step, &lr))
        return NULL;
    py_program *p = (py_program *)program;
    int n = pa_program_inputs(p->program);
    if (PyTuple_GET_SIZE(inputs) != n)
        return PyErr_Format(PyExc_ValueError, "execute: got %zd inputs, expected %d",
                            PyTuple_GET_SIZE(inputs), n);
    if (pa_atomic_swap(&p->busy, 1))
        return PyErr_Format(PyExc_RuntimeError,
                            "this program is running in another thread");
    PyArrayObject **array = PyMem_Calloc((size_t)n + 1, sizeof(PyArrayObject *));
    pa_ctx ctx = {.pool = p->lib->pool, .seed = seed, .step = step, .lr = lr};
    if (!array)
        PyErr_NoMemory();
    else if (get_inputs(p->program, inputs, array) == 0)
        result = run(p, array, &ctx);
    for (int i = 0; array && i < n; i++)
        Py_XDECREF(array[i]);
    PyMem_Free(array);
    pa_atomic_swap(&p->busy, 0);
    return result;
}

static PyMethodDef functions[] = {
    {"execute", execute, METH_VARARGS, execute_doc},
    {NULL, NULL, 0, NULL},
};

int pa_py_execute_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
