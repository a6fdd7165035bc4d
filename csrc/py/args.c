/* args.c - Python objects into the core's attributes, shapes, dtypes and tensors. */
#include "py/objects.h"

#include <string.h>

int pa_py_find_op(const pa_lib *lib, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text)
        return -1;
    int index = pa_table_find(lib->table[0], text);
    if (index < 0)
        PyErr_Format(PyExc_ValueError,
                     "unknown operator '%.60s'; pyact._core.op_names() lists them", text);
    return index;
}

static int get_list(pa_arg *arg, int64_t *list, const char *op, const char *name,
                    PyObject *value)
{
    PyObject *one = PyIndex_Check(value) ? PyTuple_Pack(1, value) : NULL;
    if (PyErr_Occurred())
        return -1;
    /* not PySequence_Fast: an item's __index__ may change the list that it stands in */
    PyObject *seq = one ? one : PySequence_Tuple(value);
    if (!seq)
        return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(seq);
    if (n > PA_MAX_RANK) {
        PyErr_Format(PyExc_ValueError, "%s: %s: got %zd numbers, expected at most %d", op,
                     name, n, PA_MAX_RANK);
        Py_DECREF(seq);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        list[i] = PyNumber_AsSsize_t(PyTuple_GET_ITEM(seq, i), PyExc_ValueError);
        if (list[i] == -1 && PyErr_Occurred()) {
            Py_DECREF(seq);
            return -1;
        }
    }
    Py_DECREF(seq);
    arg->list = list;
    arg->n = (int)n;
    return 0;
}

static int get_one(pa_py_args *a, const pa_op *op, const char *name, PyObject *value)
{
    const pa_attr_desc *d = op->attrs;
    while (d && d->name && strcmp(d->name, name) != 0)
        d++;
    pa_arg *arg = &a->arg[a->n];
    *arg = (pa_arg){.name = name};
    if (!d || !d->name || a->n == PA_MAX_ATTR) { /* the core names what it knows */
        a->n += a->n < PA_MAX_ATTR;
        return 0;
    }
    if (value == Py_None) { /* as if it were not given */
        if (d->type == PA_ATTR_MAP)
            a->n++;
        return 0;
    }
    if (d->type == PA_ATTR_LIST) {
        if (get_list(arg, a->list[a->n], op->name, name, value) < 0)
            return -1;
    } else if (d->type == PA_ATTR_MAP) {
        if (!(arg->text = PyUnicode_AsUTF8(value)))
            return -1;
    } else {
        arg->num = PyFloat_AsDouble(value);
        if (arg->num == -1 && PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                PyErr_Format(PyExc_TypeError, "%s: %s: got %.100s, expected a number",
                             op->name, name, Py_TYPE(value)->tp_name);
            return -1;
        }
    }
    a->n++;
    return 0;
}

int pa_py_args_get(pa_py_args *a, const pa_op *op, PyObject *dict)
{
    a->n = 0;
    if (!dict || dict == Py_None)
        return 0;
    if (!PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "%s: attributes: got %.100s, expected a dict",
                     op->name, Py_TYPE(dict)->tp_name);
        return -1;
    }
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        const char *name = PyUnicode_AsUTF8(key);
        if (!name || get_one(a, op, name, value) < 0)
            return -1;
    }
    return 0;
}

int pa_py_shape(PyObject *o, int64_t dim[PA_MAX_RANK])
{
    pa_arg arg;
    return get_list(&arg, dim, "shape", "dimensions", o) < 0 ? -1 : arg.n;
}

int pa_py_npy_type(pa_dtype dtype)
{
    return dtype == PA_F32 ? NPY_FLOAT32 : dtype == PA_F64 ? NPY_FLOAT64 : NPY_INT32;
}

int pa_py_dtype(PyObject *o)
{
    PyArray_Descr *descr = NULL;
    if (!PyArray_DescrConverter(o, &descr) || !descr)
        return -1;
    int type = descr->type_num, found = -1;
    for (int d = PA_F32; d <= PA_I32; d++)
        if (PyArray_EquivTypenums(type, pa_py_npy_type((pa_dtype)d)))
            found = d;
    if (found < 0)
        PyErr_Format(PyExc_TypeError, "dtype: got %R, expected float32, float64 or int32",
                     descr);
    Py_DECREF(descr);
    return found;
}

PyObject *pa_py_shape_tuple(const pa_tensor *t)
{
    PyObject *shape = PyTuple_New(t->rank);
    for (int i = 0; shape && i < t->rank; i++) {
        PyObject *d = PyLong_FromLongLong(t->dim[i]);
        if (!d)
            Py_CLEAR(shape);
        else
            PyTuple_SET_ITEM(shape, i, d);
    }
    return shape;
}

/* The type in which the core computes with an array of NumPy type `type`. */
static int computed_type(int type)
{
    switch (type) {
    case NPY_FLOAT32:
    case NPY_HALF:
        return NPY_FLOAT32;
    case NPY_INT32:
    case NPY_FLOAT64:
        return type;
    default: /* other integers and bool become float64, as in NumPy's own functions */
        return PyTypeNum_ISINTEGER(type) || type == NPY_BOOL ? NPY_FLOAT64 : -1;
    }
}

PyArrayObject *pa_py_array(PyObject *o)
{
    PyArrayObject *any = (PyArrayObject *)PyArray_FROM_O(o);
    if (!any)
        return NULL;
    int type = PyArray_TYPE(any);
    if (sizeof(long) == 4 && type == NPY_LONG)
        type = NPY_INT32;
    int want = computed_type(type);
    if (want < 0) {
        PyErr_Format(
            PyExc_TypeError,
            "array of dtype %R: expected real numbers (float32, float64, integers)",
            PyArray_DESCR(any));
        Py_DECREF(any);
        return NULL;
    }
    if (PyArray_NDIM(any) > PA_MAX_RANK) {
        PyErr_Format(PyExc_ValueError, "array: got %d dimensions, expected at most %d",
                     PyArray_NDIM(any), PA_MAX_RANK);
        Py_DECREF(any);
        return NULL;
    }
    PyArrayObject *a = (PyArrayObject *)PyArray_FROMANY(
        (PyObject *)any, want, 0, 0,
        NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED |
            NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY);
    Py_DECREF(any);
    return a;
}

void pa_py_tensor(PyArrayObject *a, pa_tensor *t)
{
    int type = PyArray_TYPE(a);
    *t = (pa_tensor){.data = PyArray_DATA(a),
                     .dtype = type == NPY_FLOAT64   ? PA_F64
                              : type == NPY_FLOAT32 ? PA_F32
                                                    : PA_I32,
                     .rank = PyArray_NDIM(a),
                     .size = (size_t)PyArray_SIZE(a)};
    for (int i = 0; i < t->rank; i++)
        t->dim[i] = PyArray_DIM(a, i);
}

int pa_py_add_type(PyObject *module, int which, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type)
        return -1;
    pa_py_state(module)->type[which] = (PyTypeObject *)type; /* owned by the state */
    return PyModule_AddType(module, (PyTypeObject *)type);
}
