/* value.c - pyact._core.Value: a value of a graph or a tape. */
#include "py/objects.h"

#include <string.h>

const pa_tensor *pa_py_value_tensor(const pa_py_value *v)
{
    if (v->array)
        return &v->kept;
    return v->owner->graph ? pa_graph_tensor(v->owner->graph, v->id)
                           : pa_tape_tensor(v->owner->tape, v->id);
}

PyObject *pa_py_value_wrap(pa_py_graph *owner, int id)
{
    PyTypeObject *type = pa_py_state_of((PyObject *)owner)->type[PA_PY_VALUE];
    pa_py_value *v = (pa_py_value *)type->tp_alloc(type, 0);
    if (v) {
        v->owner = (pa_py_graph *)Py_NewRef((PyObject *)owner);
        v->id = id;
        if (owner->tape) {
            v->after = owner->values;
            if (v->after)
                v->after->before = v;
            owner->values = v;
        }
    }
    return (PyObject *)v;
}

static void unlink_value(pa_py_value *v)
{
    if (v->owner && v->owner->values == v)
        v->owner->values = v->after;
    if (v->before)
        v->before->after = v->after;
    if (v->after)
        v->after->before = v->before;
    v->before = v->after = NULL;
}

static void value_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    unlink_value((pa_py_value *)self);
    Py_CLEAR(((pa_py_value *)self)->owner);
    Py_CLEAR(((pa_py_value *)self)->array);
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
    return pa_py_shape_tuple(pa_py_value_tensor((pa_py_value *)self));
}

static PyObject *value_ndim(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(pa_py_value_tensor((pa_py_value *)self)->rank);
}

static PyObject *value_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return (PyObject *)PyArray_DescrFromType(
        pa_py_npy_type(pa_py_value_tensor((pa_py_value *)self)->dtype));
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
    PyObject *owner = (PyObject *)((pa_py_value *)self)->owner;
    return Py_NewRef(owner ? owner : Py_None);
}

static PyObject *value_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((pa_py_value *)self)->id);
}

static PyObject *value_repr(PyObject *self)
{
    const pa_tensor *t = pa_py_value_tensor((pa_py_value *)self);
    char buf[128];
    return PyUnicode_FromFormat("<Value %d: %s %s>", ((pa_py_value *)self)->id,
                                pa_dtype_name(t->dtype), pa_shape_text(t, buf));
}

PyDoc_STRVAR(
    numpy_doc,
    "numpy($self, /)\n--\n\nA copy of the value as an array. Only values of a Tape "
    "hold numbers.");

PyObject *pa_py_value_array(const pa_py_value *v)
{
    if (!v->array && !v->owner->tape)
        return PyErr_Format(
            PyExc_TypeError,
            "this Value is symbolic: it stands for a number in a graph that has "
            "not run, so it cannot become an array");
    const pa_tensor *t = pa_py_value_tensor(v);
    npy_intp dims[PA_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        dims[i] = (npy_intp)t->dim[i];
    PyObject *a = PyArray_SimpleNew(t->rank, dims, pa_py_npy_type(t->dtype));
    if (a && t->size)
        memcpy(PyArray_DATA((PyArrayObject *)a), t->data,
               t->size * pa_dtype_size(t->dtype));
    return a;
}

static PyObject *value_numpy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pa_py_value_array((pa_py_value *)self);
}

int pa_py_values_detach(pa_py_graph *owner)
{
    for (pa_py_value *v = owner->values; v; v = v->after) {
        if (!v->array && !(v->array = pa_py_value_array(v)))
            return -1;
        pa_py_tensor((PyArrayObject *)v->array, &v->kept);
    }
    while (owner->values) {
        pa_py_value *v = owner->values;
        unlink_value(v);
        Py_CLEAR(v->owner); /* never the last: the caller holds one */
    }
    pa_tape_free(owner->tape);
    owner->tape = NULL;
    return 0;
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
    {"owner", value_owner, NULL,
     "The Graph or Tape that it belongs to; None once its tape has let go of it.", NULL},
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

int pa_py_value_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_VALUE, &value_spec);
}
