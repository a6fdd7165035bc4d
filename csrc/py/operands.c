/* operands.c - what may stand among an operator's inputs: values of the graph or tape,
 * weights, arrays and plain numbers; and applying an operator to them. */
#include "py/objects.h"

bool pa_py_closed(const pa_py_graph *self)
{
    const bool released = !self->graph && !self->tape;
    if (released)
        PyErr_SetString(PyExc_ValueError, "this tape has let go of its values");
    else if (self->runs)
        PyErr_SetString(
            PyExc_RuntimeError,
            "this tape is computing in another thread; use one tape for each");
    return released || self->runs;
}

/* An attribute by an interned name. The interpreter's cache of attributes keeps the names
 * that it was asked by: a new text for each question would miss it, and fill it. */
static PyObject *attribute(PyObject *x, const char *name)
{
    PyObject *text = PyUnicode_InternFromString(name);
    PyObject *found = text ? PyObject_GetAttr(x, text) : NULL;
    Py_XDECREF(text);
    return found;
}

int pa_py_is_weight(PyObject *x)
{
    if (!PyArray_Check(x) || PyArray_CheckExact(x))
        return 0;
    PyObject *block = attribute(x, "block");
    Py_XDECREF(block);
    if (block)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* An array as a value: a constant of a graph, a leaf of a tape. */
int pa_py_array_value(pa_py_graph *self, PyObject *array, bool wants_grad, int *id)
{
    PyArrayObject *a = pa_py_array(array);
    if (!a)
        return -1;
    if (pa_py_closed(self)) {
        Py_DECREF(a);
        return -1;
    }
    pa_tensor t;
    pa_error err;
    pa_py_tensor(a, &t);
    pa_status status;
    if (self->graph)
        status = pa_graph_const(self->graph, t.dtype, t.rank, t.dim, t.data, id, &err);
    else if (PyList_Append(self->leaves, (PyObject *)a) < 0) {
        Py_DECREF(a);
        return -1;
    } else
        status = pa_tape_leaf(self->tape, t.dtype, t.rank, t.dim, t.data, wants_grad, id,
                              &err);
    Py_DECREF(a);
    if (status)
        pa_py_raise(status, &err);
    return status ? -1 : 0;
}

/* An array that carries its place in a Block (pyact.variables.Weight) is a parameter. */
static int weight_value(pa_py_graph *self, PyObject *x, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    PyObject *block = attribute(x, "block");
    PyObject *offset = block ? attribute(x, "offset") : NULL;
    PyObject *trainable = offset ? attribute(x, "trainable") : NULL;
    int result = -1;
    if (!trainable)
        goto done;
    if (!PyObject_TypeCheck(block, state->type[PA_PY_BLOCK])) {
        result = pa_py_array_value(self, x, false, id);
        goto done;
    }
    PyArrayObject *a = (PyArrayObject *)x;
    pa_tensor t;
    pa_error err;
    pa_py_tensor(a, &t);
    Py_ssize_t at = PyLong_AsSsize_t(offset);
    int wants = PyObject_IsTrue(trainable);
    if ((at == -1 && PyErr_Occurred()) || wants < 0)
        goto done;
    pa_status status = pa_graph_param(self->graph, ((pa_py_block *)block)->block,
                                      (size_t)at, t.rank, t.dim, wants, id, &err);
    result = status ? -1 : 0;
    if (status)
        pa_py_raise(status, &err);
done:
    Py_XDECREF(block);
    Py_XDECREF(offset);
    Py_XDECREF(trainable);
    return result;
}

/* What the tape makes of a weight, or of a Value from elsewhere. */
static int adopted(pa_py_graph *self, PyObject *x, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    PyObject *v = PyObject_CallFunctionObjArgs(state->adopt, (PyObject *)self, x, NULL);
    if (!v)
        return -1;
    bool fits = PyObject_TypeCheck(v, state->type[PA_PY_VALUE]) &&
                ((pa_py_value *)v)->owner == self;
    if (fits)
        *id = ((pa_py_value *)v)->id;
    else
        PyErr_SetString(PyExc_TypeError, "adopt: expected a Value of the tape");
    Py_DECREF(v);
    return fits ? 0 : -1;
}

static int foreign_value(pa_py_graph *self, PyObject *x, int *id)
{
    const pa_py_value *v = (const pa_py_value *)x;
    if (v->owner && v->owner->graph) {
        PyErr_Format(PyExc_ValueError, "an input belongs to another graph");
        return -1;
    }
    if (self->tape && pa_py_state_of((PyObject *)self)->adopt)
        return adopted(self, x, id);
    PyObject *a = pa_py_value_array(v);
    int result = a ? pa_py_array_value(self, a, false, id) : -1;
    Py_XDECREF(a);
    return result;
}

/* A plain Python number takes the dtype of the values beside it, as in NumPy. */
static int number_value(pa_py_graph *self, PyObject *x, PyObject *inputs, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    double v = PyFloat_AsDouble(x);
    if (v == -1 && PyErr_Occurred())
        return -1;
    int type = NPY_FLOAT64;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); i++) {
        PyObject *beside = PyTuple_GET_ITEM(inputs, i);
        if (PyObject_TypeCheck(beside, state->type[PA_PY_VALUE]) &&
            pa_py_value_tensor((pa_py_value *)beside)->dtype == PA_F32)
            type = NPY_FLOAT32;
        if (PyArray_Check(beside) && PyArray_TYPE((PyArrayObject *)beside) == NPY_FLOAT32)
            type = NPY_FLOAT32;
    }
    PyObject *a = PyArray_SimpleNew(0, NULL, type);
    if (!a)
        return -1;
    if (type == NPY_FLOAT32)
        *(float *)PyArray_DATA((PyArrayObject *)a) = (float)v;
    else
        *(double *)PyArray_DATA((PyArrayObject *)a) = v;
    int result = pa_py_array_value(self, a, false, id);
    Py_DECREF(a);
    return result;
}

/* Are there float32 values or weights among the inputs, and no float64 ones? */
static bool are_narrow(pa_state *state, PyObject *inputs)
{
    bool narrow = false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); i++) {
        PyObject *x = PyTuple_GET_ITEM(inputs, i);
        int type = -1;
        if (PyObject_TypeCheck(x, state->type[PA_PY_VALUE]))
            type = pa_py_npy_type(pa_py_value_tensor((pa_py_value *)x)->dtype);
        else if (PyArray_Check(x) && !PyArray_CheckExact(x))
            type = PyArray_TYPE((PyArrayObject *)x);
        if (type == NPY_FLOAT64)
            return false;
        narrow = narrow || type == NPY_FLOAT32;
    }
    return narrow;
}

/* A plain float64 array, which is what NumPy makes unasked, takes the float32 of the
 * values and weights beside it; they are never widened in silence. */
static int array_value(pa_py_graph *self, PyObject *x, PyObject *inputs, int *id)
{
    if (!PyArray_CheckExact(x) || PyArray_TYPE((PyArrayObject *)x) != NPY_FLOAT64 ||
        !are_narrow(pa_py_state_of((PyObject *)self), inputs))
        return pa_py_array_value(self, x, false, id);
    PyObject *cast = PyArray_Cast((PyArrayObject *)x, NPY_FLOAT32);
    int result = cast ? pa_py_array_value(self, cast, false, id) : -1;
    Py_XDECREF(cast);
    return result;
}

static int input_id(pa_py_graph *self, PyObject *x, PyObject *inputs, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    if (PyObject_TypeCheck(x, state->type[PA_PY_VALUE])) {
        if (((pa_py_value *)x)->owner != self)
            return foreign_value(self, x, id);
        *id = ((pa_py_value *)x)->id;
        return 0;
    }
    if (PyFloat_Check(x) || PyLong_Check(x))
        return number_value(self, x, inputs, id);
    const int weight = pa_py_is_weight(x);
    if (weight < 0)
        return -1;
    if (weight)
        return self->graph    ? weight_value(self, x, id)
               : state->adopt ? adopted(self, x, id)
                              : pa_py_array_value(self, x, false, id);
    return array_value(self, x, inputs, id);
}

int pa_py_input_ids(pa_py_graph *self, PyObject *inputs, int id[PA_MAX_IN])
{
    if (!PyTuple_Check(inputs) || PyTuple_GET_SIZE(inputs) > PA_MAX_IN) {
        PyErr_Format(PyExc_TypeError, "inputs: expected a tuple of at most %d values",
                     PA_MAX_IN);
        return -1;
    }
    int n = (int)PyTuple_GET_SIZE(inputs);
    for (int i = 0; i < n; i++)
        if (input_id(self, PyTuple_GET_ITEM(inputs, i), inputs, &id[i]) < 0)
            return -1;
    return n;
}

PyObject *pa_py_value_apply(pa_py_graph *self, PyObject *name, PyObject *inputs,
                            PyObject *attrs)
{
    int in[PA_MAX_IN], out[PA_MAX_OUT], index = pa_py_find_op(self->lib, name);
    if (index < 0)
        return NULL;
    const pa_op *op = self->lib->table[0]->ops[index];
    pa_py_args a;
    if (pa_py_args_get(&a, op, attrs) < 0)
        return NULL;
    int n = pa_py_input_ids(self, inputs, in);
    if (n < 0 || pa_py_closed(self))
        return NULL;
    pa_error err;
    pa_status status;
    if (self->graph)
        status = pa_graph_apply(self->graph, op->name, n, in, a.n, a.arg, out, &err);
    else
        status = pa_tape_apply(self->tape, op->name, n, in, a.n, a.arg, out, &err);
    if (status)
        return pa_py_raise(status, &err);
    if (op->n_out == 0)
        Py_RETURN_NONE;
    if (op->n_out == 1)
        return pa_py_value_wrap(self, out[0]);
    PyObject *all = PyTuple_New(op->n_out);
    for (int i = 0; all && i < op->n_out; i++) {
        PyObject *v = pa_py_value_wrap(self, out[i]);
        if (!v)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, i, v);
    }
    return all;
}
