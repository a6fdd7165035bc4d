/* value.c - pyact._core.Graph, Tape and Value: recording operators by name. */
#include "py/objects.h"

#include <string.h>

/* ---- values ---------------------------------------------------------------------------
 */

static const pa_tensor *tensor_of(const pa_py_value *v)
{
    return v->owner->graph ? pa_graph_tensor(v->owner->graph, v->id)
                           : pa_tape_tensor(v->owner->tape, v->id);
}

static PyObject *value_wrap(pa_py_graph *owner, int id)
{
    PyTypeObject *type = pa_py_state_of((PyObject *)owner)->type[PA_PY_VALUE];
    pa_py_value *v = (pa_py_value *)type->tp_alloc(type, 0);
    if (v) {
        v->owner = (pa_py_graph *)Py_NewRef((PyObject *)owner);
        v->id = id;
    }
    return (PyObject *)v;
}

static void value_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((pa_py_value *)self)->owner);
    Py_CLEAR(((pa_py_value *)self)->tag);
    type->tp_free(self);
    Py_DECREF(type);
}

static int value_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((pa_py_value *)self)->owner);
    Py_VISIT(((pa_py_value *)self)->tag);
    return 0;
}

static int value_clear(PyObject *self)
{
    Py_CLEAR(((pa_py_value *)self)->tag);
    return 0;
}

static PyObject *value_shape(PyObject *self, void *unused)
{
    (void)unused;
    return pa_py_shape_tuple(tensor_of((pa_py_value *)self));
}

static PyObject *value_ndim(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(tensor_of((pa_py_value *)self)->rank);
}

static PyObject *value_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return (PyObject *)PyArray_DescrFromType(
        pa_py_npy_type(tensor_of((pa_py_value *)self)->dtype));
}

static PyObject *value_tag(PyObject *self, void *unused)
{
    (void)unused;
    pa_py_value *v = (pa_py_value *)self;
    if (!v->tag)
        v->tag = PyDict_New();
    return Py_XNewRef(v->tag);
}

static PyObject *value_owner(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef((PyObject *)((pa_py_value *)self)->owner);
}

static PyObject *value_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((pa_py_value *)self)->id);
}

static PyObject *value_repr(PyObject *self)
{
    const pa_tensor *t = tensor_of((pa_py_value *)self);
    char buf[128];
    return PyUnicode_FromFormat("<Value %d: %s %s>", ((pa_py_value *)self)->id,
                                pa_dtype_name(t->dtype), pa_shape_text(t, buf));
}

PyDoc_STRVAR(
    numpy_doc,
    "numpy($self, /)\n--\n\nA copy of the value as an array. Only values of a Tape "
    "hold numbers.");

static PyObject *value_numpy(PyObject *self, PyObject *unused)
{
    (void)unused;
    pa_py_value *v = (pa_py_value *)self;
    if (!v->owner->tape)
        return PyErr_Format(
            PyExc_TypeError,
            "this Value is symbolic: it stands for a number in a graph that has "
            "not run, so it cannot become an array");
    const pa_tensor *t = tensor_of(v);
    npy_intp dims[PA_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        dims[i] = (npy_intp)t->dim[i];
    PyObject *a = PyArray_SimpleNew(t->rank, dims, pa_py_npy_type(t->dtype));
    if (a && t->size)
        memcpy(PyArray_DATA((PyArrayObject *)a), t->data,
               t->size * pa_dtype_size(t->dtype));
    return a;
}

static PyMethodDef value_methods[] = {
    {"numpy", value_numpy, METH_NOARGS, numpy_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef value_getset[] = {
    {"shape", value_shape, NULL, "Tuple of ints.", NULL},
    {"ndim", value_ndim, NULL, "Number of dimensions.", NULL},
    {"dtype", value_dtype, NULL, "NumPy dtype.", NULL},
    {"tag", value_tag, NULL, "A dict for notes about this value.", NULL},
    {"owner", value_owner, NULL, "The Graph or Tape that it belongs to.", NULL},
    {"id", value_id, NULL, "Its number in its owner.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(value_doc, "A value of a Graph or a Tape.");

static PyType_Slot value_slots[] = {
    {Py_tp_dealloc, (void *)value_dealloc}, {Py_tp_traverse, (void *)value_traverse},
    {Py_tp_clear, (void *)value_clear},     {Py_tp_methods, (void *)value_methods},
    {Py_tp_getset, (void *)value_getset},   {Py_tp_repr, (void *)value_repr},
    {Py_tp_doc, (void *)value_doc},         {0, NULL},
};

static PyType_Spec value_spec = {
    .name = "pyact._core.Value",
    .basicsize = sizeof(pa_py_value),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_BASETYPE,
    .slots = value_slots,
};

/* ---- graphs and tapes
 * ------------------------------------------------------------------- */

static pa_py_graph *owner_new(PyTypeObject *type)
{
    pa_state *state = (pa_state *)PyType_GetModuleState(type);
    pa_py_graph *self = state ? (pa_py_graph *)type->tp_alloc(type, 0) : NULL;
    if (self) {
        self->lib_owner = Py_NewRef(state->lib_owner);
        self->lib = state->lib;
    }
    return self;
}

static PyObject *graph_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Graph", names))
        return NULL;
    pa_py_graph *self = owner_new(type);
    if (self && !(self->graph = pa_graph_new(self->lib))) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static PyObject *tape_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"seed", NULL};
    unsigned long long seed = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|K:Tape", names, &seed))
        return NULL;
    pa_py_graph *self = owner_new(type);
    if (!self)
        return NULL;
    self->tape = pa_tape_new(self->lib, seed);
    self->leaves = PyList_New(0);
    if (!self->tape || !self->leaves) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void owner_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    pa_py_graph *self = (pa_py_graph *)o;
    pa_graph_free(self->graph);
    pa_tape_free(self->tape);
    Py_CLEAR(self->leaves);
    Py_CLEAR(self->lib_owner);
    type->tp_free(o);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    input_doc,
    "input($self, shape, dtype, /)\n--\n\nA value fed anew for every batch; shape[0] "
    "is the batch.");

static PyObject *graph_input(PyObject *o, PyObject *args)
{
    pa_py_graph *self = (pa_py_graph *)o;
    PyObject *shape, *dtype;
    int64_t dim[PA_MAX_RANK];
    if (!PyArg_ParseTuple(args, "OO:input", &shape, &dtype))
        return NULL;
    int rank = pa_py_shape(shape, dim), d = rank < 0 ? -1 : pa_py_dtype(dtype), id;
    if (d < 0)
        return NULL;
    pa_error err;
    pa_status status = pa_graph_input(self->graph, (pa_dtype)d, rank, dim, &id, &err);
    return status ? pa_py_raise(status, &err) : value_wrap(self, id);
}

PyDoc_STRVAR(
    param_doc,
    "param($self, block, offset, shape, trainable, /)\n--\n\nA parameter that lies in a "
    "Block. The same place given twice is the same value.");

static PyObject *graph_param(PyObject *o, PyObject *args)
{
    pa_py_graph *self = (pa_py_graph *)o;
    PyObject *block, *shape;
    Py_ssize_t offset;
    int trainable, id;
    int64_t dim[PA_MAX_RANK];
    if (!PyArg_ParseTuple(args, "O!nOp:param", pa_py_state_of(o)->type[PA_PY_BLOCK],
                          &block, &offset, &shape, &trainable))
        return NULL;
    int rank = pa_py_shape(shape, dim);
    if (rank < 0)
        return NULL;
    if (offset < 0)
        return PyErr_Format(PyExc_ValueError,
                            "param: offset: got %zd, expected 0 or more", offset);
    pa_error err;
    pa_status status = pa_graph_param(self->graph, ((pa_py_block *)block)->block,
                                      (size_t)offset, rank, dim, trainable, &id, &err);
    return status ? pa_py_raise(status, &err) : value_wrap(self, id);
}

/* An array as a value: a constant of a graph, a leaf of a tape. */
static int array_value(pa_py_graph *self, PyObject *array, bool wants_grad, int *id)
{
    PyArrayObject *a = pa_py_array(array);
    if (!a)
        return -1;
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

PyDoc_STRVAR(
    freeze_doc,
    "freeze($self, copies, /)\n--\n\nReads parameters from copies, a dict from each "
    "Block to one of its size, from now on.");

static PyObject *graph_freeze(PyObject *o, PyObject *copies)
{
    PyTypeObject *type = pa_py_state_of(o)->type[PA_PY_BLOCK];
    PyObject *old, *with;
    Py_ssize_t at = 0;
    if (!PyDict_Check(copies))
        return PyErr_Format(PyExc_TypeError, "freeze: expected a dict of Blocks");
    while (PyDict_Next(copies, &at, &old, &with)) {
        if (!PyObject_TypeCheck(old, type) || !PyObject_TypeCheck(with, type))
            return PyErr_Format(PyExc_TypeError, "freeze: expected a dict of Blocks");
        pa_block *a = ((pa_py_block *)old)->block, *b = ((pa_py_block *)with)->block;
        if (a->dtype != b->dtype || a->size != b->size)
            return PyErr_Format(PyExc_ValueError,
                                "freeze: a copy differs in dtype or size");
        pa_graph_replace_block(((pa_py_graph *)o)->graph, a, b);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(const_doc, "const($self, array, /)\n--\n\nA constant; the array is copied.");
PyDoc_STRVAR(
    leaf_doc,
    "leaf($self, array, /)\n--\n\nAn array as a value of the tape. Do not change it "
    "while the tape lives.");

static PyObject *owner_array(PyObject *o, PyObject *array)
{
    int id;
    return array_value((pa_py_graph *)o, array, true, &id) < 0
               ? NULL
               : value_wrap((pa_py_graph *)o, id);
}

/* An array that carries its place in a Block (pyact.variables.Weight) is a parameter. */
static int weight_value(pa_py_graph *self, PyObject *x, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    PyObject *block = PyObject_GetAttrString(x, "block");
    PyObject *offset = block ? PyObject_GetAttrString(x, "offset") : NULL;
    PyObject *trainable = offset ? PyObject_GetAttrString(x, "trainable") : NULL;
    int result = -1;
    if (!trainable)
        goto done;
    if (!PyObject_TypeCheck(block, state->type[PA_PY_BLOCK])) {
        result = array_value(self, x, false, id);
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
            tensor_of((pa_py_value *)beside)->dtype == PA_F32)
            type = NPY_FLOAT32;
    }
    PyObject *a = PyArray_SimpleNew(0, NULL, type);
    if (!a)
        return -1;
    if (type == NPY_FLOAT32)
        *(float *)PyArray_DATA((PyArrayObject *)a) = (float)v;
    else
        *(double *)PyArray_DATA((PyArrayObject *)a) = v;
    int result = array_value(self, a, false, id);
    Py_DECREF(a);
    return result;
}

static int input_id(pa_py_graph *self, PyObject *x, PyObject *inputs, int *id)
{
    pa_state *state = pa_py_state_of((PyObject *)self);
    if (PyObject_TypeCheck(x, state->type[PA_PY_VALUE])) {
        if (((pa_py_value *)x)->owner != self) {
            PyErr_Format(PyExc_ValueError, "an input belongs to another graph");
            return -1;
        }
        *id = ((pa_py_value *)x)->id;
        return 0;
    }
    if (PyFloat_Check(x) || PyLong_Check(x))
        return number_value(self, x, inputs, id);
    if (self->graph && PyArray_Check(x) && !PyArray_CheckExact(x) &&
        PyObject_HasAttrString(x, "block"))
        return weight_value(self, x, id);
    return array_value(self, x, false, id);
}

static int input_ids(pa_py_graph *self, PyObject *inputs, int id[PA_MAX_IN])
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
    int n = input_ids(self, inputs, in);
    if (n < 0)
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
        return value_wrap(self, out[0]);
    PyObject *all = PyTuple_New(op->n_out);
    for (int i = 0; all && i < op->n_out; i++) {
        PyObject *v = value_wrap(self, out[i]);
        if (!v)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, i, v);
    }
    return all;
}

PyDoc_STRVAR(
    apply_doc,
    "apply($self, name, inputs, attrs=None, /)\n--\n\nRecords an operator; arrays among "
    "the inputs become constants.");

static PyObject *owner_apply(PyObject *o, PyObject *args)
{
    PyObject *name, *inputs, *attrs = NULL;
    if (!PyArg_ParseTuple(args, "UO|O:apply", &name, &inputs, &attrs))
        return NULL;
    return pa_py_value_apply((pa_py_graph *)o, name, inputs, attrs);
}

PyDoc_STRVAR(gradient_doc, "gradient($self, target, sources, seed=None, "
                           "/)\n--\n\nGradients of sum(target * seed) in the "
                           "sources, a tuple of Values or None.");

static PyObject *tape_gradient(PyObject *o, PyObject *args)
{
    pa_py_graph *self = (pa_py_graph *)o;
    PyObject *target, *sources, *seed = Py_None, *result = NULL;
    int source[PA_MAX_IN], grad[PA_MAX_IN];
    PyArrayObject *s = NULL;
    if (!PyArg_ParseTuple(args, "O!O|O:gradient", pa_py_state_of(o)->type[PA_PY_VALUE],
                          &target, &sources, &seed))
        return NULL;
    pa_py_value *to = (pa_py_value *)target;
    if (to->owner != self)
        return PyErr_Format(PyExc_ValueError,
                            "gradient: the target belongs to another tape");
    int n = input_ids(self, sources, source);
    if (n < 0)
        return NULL;
    if (seed != Py_None) {
        const pa_tensor *t = tensor_of(to);
        s = (PyArrayObject *)PyArray_FROMANY(seed, pa_py_npy_type(t->dtype), 0, 0,
                                             NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
        if (!s)
            return NULL;
        if ((size_t)PyArray_SIZE(s) != t->size) {
            Py_DECREF(s);
            return PyErr_Format(PyExc_ValueError,
                                "gradient: the seed has not the target's shape");
        }
    }
    pa_error err;
    pa_status status = pa_tape_gradient(self->tape, to->id, s ? PyArray_DATA(s) : NULL, n,
                                        source, grad, &err);
    Py_XDECREF(s);
    if (status)
        return pa_py_raise(status, &err);
    result = PyTuple_New(n);
    for (int i = 0; result && i < n; i++) {
        PyObject *g = grad[i] < 0 ? Py_NewRef(Py_None) : value_wrap(self, grad[i]);
        if (!g)
            Py_CLEAR(result);
        else
            PyTuple_SET_ITEM(result, i, g);
    }
    return result;
}

static PyMethodDef graph_methods[] = {
    {"input", graph_input, METH_VARARGS, input_doc},
    {"param", graph_param, METH_VARARGS, param_doc},
    {"const", owner_array, METH_O, const_doc},
    {"freeze", graph_freeze, METH_O, freeze_doc},
    {"apply", owner_apply, METH_VARARGS, apply_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef tape_methods[] = {
    {"leaf", owner_array, METH_O, leaf_doc},
    {"apply", owner_apply, METH_VARARGS, apply_doc},
    {"gradient", tape_gradient, METH_VARARGS, gradient_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(graph_doc,
             "Graph()\n--\n\nOperators recorded for compilation into a Program.");
PyDoc_STRVAR(tape_doc,
             "Tape(seed=0)\n--\n\nOperators run as they are recorded; walked back by "
             "gradient().");

static PyType_Slot graph_slots[] = {
    {Py_tp_new, (void *)graph_new},
    {Py_tp_dealloc, (void *)owner_dealloc},
    {Py_tp_methods, (void *)graph_methods},
    {Py_tp_doc, (void *)graph_doc},
    {0, NULL},
};

static PyType_Slot tape_slots[] = {
    {Py_tp_new, (void *)tape_new},
    {Py_tp_dealloc, (void *)owner_dealloc},
    {Py_tp_methods, (void *)tape_methods},
    {Py_tp_doc, (void *)tape_doc},
    {0, NULL},
};

static PyType_Spec graph_spec = {
    .name = "pyact._core.Graph",
    .basicsize = sizeof(pa_py_graph),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = graph_slots,
};

static PyType_Spec tape_spec = {
    .name = "pyact._core.Tape",
    .basicsize = sizeof(pa_py_graph),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tape_slots,
};

int pa_py_values_add(PyObject *module)
{
    if (pa_py_add_type(module, PA_PY_VALUE, &value_spec) < 0 ||
        pa_py_add_type(module, PA_PY_GRAPH, &graph_spec) < 0 ||
        pa_py_add_type(module, PA_PY_TAPE, &tape_spec) < 0)
        return -1;
    return 0;
}
