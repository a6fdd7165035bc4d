/* keyword.c - KeywordUfunc: a two-input ufunc f(x, p) called as f(x, p=...).
 *
 * Without the keyword it calls another ufunc, of x alone, that has p's default built in.
 * A Python function around the two would cost as much as the call itself. Name, doc,
 * signature and module are whatever Python puts into its __dict__; a pickle holds its
 * name, as for a function. */
#include "py/keyword.h"

#include <structmember.h>

typedef struct keyword_ufunc {
    PyObject_HEAD vectorcallfunc call;
    PyObject *ufunc, *at_default, *keyword, *dict, *weak;
} keyword_ufunc;

/* The place of the keyword among the names, -1 if it is not there, -2 on error. */
static Py_ssize_t find(const keyword_ufunc *self, PyObject *names)
{
    const Py_ssize_t n = names ? PyTuple_GET_SIZE(names) : 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (PyTuple_GET_ITEM(names, i) == self->keyword) /* both are interned: usual */
            return i;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyUnicode_CHECK_INTERNED(PyTuple_GET_ITEM(names, i)))
            continue; /* and another one */
        int order = PyUnicode_Compare(PyTuple_GET_ITEM(names, i), self->keyword);
        if (order == -1 && PyErr_Occurred())
            return -2;
        if (order == 0)
            return i;
    }
    return -1;
}

/* ufunc(x, p, other keywords); args: x, then the values of `names`, p's at `at` */
static PyObject *call_with(const keyword_ufunc *self, PyObject *const *args,
                           PyObject *names, Py_ssize_t at)
{
    enum { MOST = 16 };
    const Py_ssize_t n = PyTuple_GET_SIZE(names);
    if (n > MOST)
        return PyErr_Format(PyExc_TypeError,
                            "got %zd keyword arguments, expected at most %d", n, MOST);
    PyObject *all[MOST + 1] = {args[0], args[1 + at]}; /* borrowed from the caller */
    PyObject *others = NULL;
    if (n > 1) {
        others = PyTuple_New(n - 1);
        if (others == NULL)
            return NULL;
        for (Py_ssize_t i = 0, k = 0; i < n; i++) {
            if (i == at)
                continue;
            all[2 + k] = args[1 + i];
            PyObject *name = PyTuple_GET_ITEM(names, i);
            Py_INCREF(name);
            PyTuple_SET_ITEM(others, k++, name);
        }
    }
    PyObject *result = PyObject_Vectorcall(self->ufunc, all, 2, others);
    Py_XDECREF(others);
    return result;
}

static PyObject *call(PyObject *o, PyObject *const *args, size_t nargsf, PyObject *names)
{
    const keyword_ufunc *self = (const keyword_ufunc *)o;
    if (PyVectorcall_NARGS(nargsf) != 1)
        return PyErr_Format(
            PyExc_TypeError,
            "got %zd positional arguments, expected 1, x; %U is a keyword",
            PyVectorcall_NARGS(nargsf), self->keyword);
    Py_ssize_t at = find(self, names);
    if (at == -2)
        return NULL;
    if (at == -1)
        return PyObject_Vectorcall(self->at_default, args, nargsf, names);
    return call_with(self, args, names, at);
}

static PyObject *keyword_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *ufunc, *at_default, *keyword;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "KeywordUfunc takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!O!U:KeywordUfunc", &PyUFunc_Type, &ufunc,
                          &PyUFunc_Type, &at_default, &keyword))
        return NULL;
    keyword_ufunc *self = (keyword_ufunc *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(ufunc);
    Py_INCREF(at_default);
    Py_INCREF(keyword);
    PyUnicode_InternInPlace(&keyword);
    self->call = call;
    self->ufunc = ufunc;
    self->at_default = at_default;
    self->keyword = keyword;
    return (PyObject *)self;
}

static int keyword_traverse(PyObject *o, visitproc visit, void *arg)
{
    keyword_ufunc *self = (keyword_ufunc *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(self->ufunc);
    Py_VISIT(self->at_default);
    Py_VISIT(self->dict);
    return 0;
}

/* The ufuncs stay: they cannot be part of a cycle, and a call may still come. */
static int keyword_clear(PyObject *o)
{
    Py_CLEAR(((keyword_ufunc *)o)->dict);
    return 0;
}

static void keyword_dealloc(PyObject *o)
{
    keyword_ufunc *self = (keyword_ufunc *)o;
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    if (self->weak != NULL)
        PyObject_ClearWeakRefs(o);
    Py_XDECREF(self->ufunc);
    Py_XDECREF(self->at_default);
    Py_XDECREF(self->keyword);
    Py_XDECREF(self->dict);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *keyword_repr(PyObject *o)
{
    return PyUnicode_FromFormat("<%R with keyword %R>", ((keyword_ufunc *)o)->ufunc,
                                ((keyword_ufunc *)o)->keyword);
}

PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\nThe name, for pickle.");

static PyObject *keyword_reduce(PyObject *o, PyObject *unused)
{
    (void)unused;
    return PyObject_GetAttrString(o, "__qualname__");
}

static PyMethodDef keyword_methods[] = {
    {"__reduce__", keyword_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef keyword_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(keyword_ufunc, call), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(keyword_ufunc, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(keyword_ufunc, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    keyword_doc,
    "KeywordUfunc(ufunc, at_default, keyword, /)\n--\n\nCalls ufunc(x, p) for the "
    "keyword's p, and at_default(x) without it.");

static PyType_Slot keyword_slots[] = {
    {Py_tp_new, (void *)keyword_new},           {Py_tp_dealloc, (void *)keyword_dealloc},
    {Py_tp_traverse, (void *)keyword_traverse}, {Py_tp_clear, (void *)keyword_clear},
    {Py_tp_call, (void *)PyVectorcall_Call},    {Py_tp_repr, (void *)keyword_repr},
    {Py_tp_methods, (void *)keyword_methods},   {Py_tp_members, (void *)keyword_members},
    {Py_tp_doc, (void *)keyword_doc},           {0, NULL},
};

static PyType_Spec keyword_spec = {
    .name = "pyact._core.KeywordUfunc",
    .basicsize = sizeof(keyword_ufunc),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = keyword_slots,
};

int pa_py_keyword_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_KEYWORD, &keyword_spec);
}
