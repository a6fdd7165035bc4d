/* recorder.c - pyact._core.Graph and Tape: what operators are recorded in. */
#include "py/objects.h"

#include <math.h>
#include <structmember.h>

#include "graph/graph.h"

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

static void leave(void *arg)
{
    pa_py_graph *self = arg;
    self->runs = true;
    pa_py_leave(&self->away, NULL, HUGE_VAL);
}

static bool enter(void *arg)
{
    pa_py_graph *self = arg;
    const bool whole = pa_py_return(&self->away) == 0;
    self->runs = false;
    return whole;
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
    pa_tape_around(self->tape, leave, enter, self);
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
    return status ? pa_py_raise(status, &err) : pa_py_value_wrap(self, id);
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
    return status ? pa_py_raise(status, &err) : pa_py_value_wrap(self, id);
}

PyDoc_STRVAR(
    freeze_doc,
    "freeze($self, copies, prepare=False, /)\n--\n\nReads parameters from copies, a dict "
    "from each Block to one of its size, from now on. prepare: nobody will change them, "
    "so "
    "programs may lay them out anew for their own use.");

static PyObject *graph_freeze(PyObject *o, PyObject *args)
{
    PyObject *copies;
    int prepare = 0;
    if (!PyArg_ParseTuple(args, "O|p:freeze", &copies, &prepare))
        return NULL;
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
    ((pa_py_graph *)o)->graph->prepare = prepare;
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
    return pa_py_array_value((pa_py_graph *)o, array, true, &id) < 0
               ? NULL
               : pa_py_value_wrap((pa_py_graph *)o, id);
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

PyDoc_STRVAR(gradient_doc,
             "gradient($self, target, sources, seed=None, first=0, last=-1, "
             "/)\n--\n\nGradients of sum(target * seed) in the "
             "sources, a tuple of Values or None; only the calls [first, last) "
             "are walked. Of a Graph the seed is a Value, and what is recorded "
             "has no gradient itself.");

static int source_ids(pa_py_graph *self, PyObject *sources, int *id)
{
    PyTypeObject *type = pa_py_state_of((PyObject *)self)->type[PA_PY_VALUE];
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sources); i++) {
        PyObject *v = PyTuple_GET_ITEM(sources, i);
        if (!PyObject_TypeCheck(v, type) || ((pa_py_value *)v)->owner != self) {
            PyErr_Format(PyExc_ValueError,
                         "gradient: source %zd is not a value of this tape", i);
            return -1;
        }
        id[i] = ((pa_py_value *)v)->id;
    }
    return 0;
}

/* What a walk back starts from and where it leads. */
typedef struct walk {
    PyObject *target, *sources, *seed;
    int first, last;
} walk;

static int parse_walk(PyObject *o, PyObject *args, walk *w)
{
    *w = (walk){.seed = Py_None, .last = -1};
    if (!PyArg_ParseTuple(args, "O!O!|Oii:gradient", pa_py_state_of(o)->type[PA_PY_VALUE],
                          &w->target, &PyTuple_Type, &w->sources, &w->seed, &w->first,
                          &w->last))
        return -1;
    if (((pa_py_value *)w->target)->owner == (pa_py_graph *)o)
        return 0;
    PyErr_SetString(PyExc_ValueError, "gradient: the target belongs to another tape");
    return -1;
}

/* seed: of a tape numbers or NULL, of a graph the id of a value. source, grad: (n,) */
static PyObject *gradients(pa_py_graph *self, const walk *w, const void *seed,
                           int seed_id, int n, const int *source, int *grad)
{
    const int target = ((pa_py_value *)w->target)->id;
    pa_error err;
    pa_status status = self->graph
                           ? pa_graph_gradient(self->graph, target, seed_id, n, source,
                                               w->first, w->last, grad, &err)
                           : pa_tape_gradient(self->tape, target, seed, n, source,
                                              w->first, w->last, grad, &err);
    if (status)
        return pa_py_raise(status, &err);
    PyObject *result = PyTuple_New(n);
    for (int i = 0; result && i < n; i++) {
        PyObject *g = grad[i] < 0 ? Py_NewRef(Py_None) : pa_py_value_wrap(self, grad[i]);
        if (!g)
            Py_CLEAR(result);
        else
            PyTuple_SET_ITEM(result, i, g);
    }
    return result;
}

/* The seed as an array of the target's dtype; its __array__ may record or let go. */
static PyArrayObject *seed_array(const pa_py_value *target, PyObject *seed)
{
    const pa_tensor t = *pa_py_value_tensor(target);
    PyArrayObject *s = (PyArrayObject *)PyArray_FROMANY(
        seed, pa_py_npy_type(t.dtype), 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
    if (s && (size_t)PyArray_SIZE(s) != t.size) {
        Py_CLEAR(s);
        PyErr_SetString(PyExc_ValueError,
                        "gradient: the seed has not the target's shape");
    }
    return s;
}

static PyObject *owner_gradient(PyObject *o, PyObject *args)
{
    pa_py_graph *self = (pa_py_graph *)o;
    PyTypeObject *value = pa_py_state_of(o)->type[PA_PY_VALUE];
    PyObject *result = NULL;
    PyArrayObject *numbers = NULL;
    int seed_id = -1;
    walk w;
    if (parse_walk(o, args, &w) < 0)
        return NULL;
    if (self->graph) {
        if (!PyObject_TypeCheck(w.seed, value) || ((pa_py_value *)w.seed)->owner != self)
            return PyErr_Format(PyExc_TypeError,
                                "gradient: the seed is not a value of this graph");
        seed_id = ((pa_py_value *)w.seed)->id;
    } else if (w.seed != Py_None &&
               !(numbers = seed_array((pa_py_value *)w.target, w.seed)))
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(w.sources);
    int *source = PyMem_New(int, (size_t)(2 * n + 1)), *grad = source + n;
    if (!source)
        PyErr_NoMemory();
    else if (!pa_py_closed(self) && source_ids(self, w.sources, source) == 0)
        result = gradients(self, &w, numbers ? PyArray_DATA(numbers) : NULL, seed_id,
                           (int)n, source, grad);
    PyMem_Free(source);
    Py_XDECREF(numbers);
    return result;
}

PyDoc_STRVAR(node_doc, "node($self, index, /)\n--\n\n(operator, input ids, output ids, "
                       "attributes) of one recorded call.");
PyDoc_STRVAR(value_of_doc, "value($self, id, /)\n--\n\nThe Value of this number.");
PyDoc_STRVAR(detach_doc, "detach($self, /)\n--\n\nLets go: the Values that are still "
                         "held keep their numbers, everything else is freed.");

static PyObject *tape_detach(PyObject *o, PyObject *unused)
{
    (void)unused;
    pa_py_graph *self = (pa_py_graph *)o;
    if (self->tape && (pa_py_closed(self) || pa_py_values_detach(self) < 0))
        return NULL;
    if (PyList_SetSlice(self->leaves, 0, PyList_GET_SIZE(self->leaves), NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef graph_methods[] = {
    {"input", graph_input, METH_VARARGS, input_doc},
    {"param", graph_param, METH_VARARGS, param_doc},
    {"const", owner_array, METH_O, const_doc},
    {"freeze", graph_freeze, METH_VARARGS, freeze_doc},
    {"apply", owner_apply, METH_VARARGS, apply_doc},
    {"gradient", owner_gradient, METH_VARARGS, gradient_doc},
    {"node", pa_py_owner_node, METH_O, node_doc},
    {"value", pa_py_owner_value, METH_O, value_of_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef tape_methods[] = {
    {"leaf", owner_array, METH_O, leaf_doc},
    {"apply", owner_apply, METH_VARARGS, apply_doc},
    {"gradient", owner_gradient, METH_VARARGS, gradient_doc},
    {"node", pa_py_owner_node, METH_O, node_doc},
    {"value", pa_py_owner_value, METH_O, value_of_doc},
    {"detach", tape_detach, METH_NOARGS, detach_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef graph_getset[] = {
    {"nodes", pa_py_owner_nodes, NULL, "Number of recorded calls.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef tape_members[] = {
    {"recording", T_BOOL, offsetof(pa_py_graph, recording), 0,
     "Are operators on its values recorded?"},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(graph_doc,
             "Graph()\n--\n\nOperators recorded for compilation into a Program.");
PyDoc_STRVAR(tape_doc,
             "Tape(seed=0)\n--\n\nOperators run as they are recorded; walked back by "
             "gradient().");

static PyType_Slot graph_slots[] = {
    {Py_tp_new, (void *)graph_new},         {Py_tp_dealloc, (void *)owner_dealloc},
    {Py_tp_methods, (void *)graph_methods}, {Py_tp_getset, (void *)graph_getset},
    {Py_tp_doc, (void *)graph_doc},         {0, NULL},
};

static PyType_Slot tape_slots[] = {
    {Py_tp_new, (void *)tape_new},
    {Py_tp_dealloc, (void *)owner_dealloc},
    {Py_tp_methods, (void *)tape_methods},
    {Py_tp_getset, (void *)graph_getset},
    {Py_tp_members, (void *)tape_members},
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

int pa_py_recorders_add(PyObject *module)
{
    if (pa_py_add_type(module, PA_PY_GRAPH, &graph_spec) < 0 ||
        pa_py_add_type(module, PA_PY_TAPE, &tape_spec) < 0)
        return -1;
    return 0;
}
