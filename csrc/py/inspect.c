/* inspect.c - what a Graph or a Tape has recorded, for rules that are written in Python.
 */
#include "py/objects.h"

#include <math.h>
#include <string.h>

#include "graph/graph.h"

static const pa_graph *recorded(PyObject *o)
{
    const pa_py_graph *self = (const pa_py_graph *)o;
    if (self->graph || self->tape)
        return self->graph ? self->graph : pa_tape_graph(self->tape);
    return (const pa_graph *)(void *)PyErr_Format(PyExc_ValueError,
                                                  "this tape has let go of its values");
}

PyObject *pa_py_owner_nodes(PyObject *o, void *unused)
{
    (void)unused;
    const pa_graph *g = recorded(o);
    return g ? PyLong_FromLong(g->n_nodes) : NULL;
}

static PyObject *attr_value(const pa_attr_desc *d, const pa_attr *a,
                            const pa_table *table)
{
    switch (d->type) {
    case PA_ATTR_MAP:
        return a->num < 0 ? Py_NewRef(Py_None)
                          : PyUnicode_FromString(table->ops[(int)a->num]->name);
    case PA_ATTR_LIST: {
        PyObject *all = PyTuple_New(a->n);
        for (int i = 0; all && i < a->n; i++) {
            PyObject *one = PyLong_FromLongLong(a->list[i]);
            if (!one)
                Py_CLEAR(all);
            else
                PyTuple_SET_ITEM(all, i, one);
        }
        return all;
    }
    case PA_ATTR_INT:
        return PyLong_FromDouble(a->num);
    case PA_ATTR_BOOL:
        return PyBool_FromLong(a->num != 0);
    default:
        return PyFloat_FromDouble(a->num);
    }
}

static PyObject *attrs(const pa_node *node)
{
    PyObject *dict = PyDict_New();
    int i = 0;
    for (const pa_attr_desc *d = node->call.op->attrs; dict && d && d->name; d++, i++) {
        PyObject *value = attr_value(d, &node->attr[i], node->call.table);
        if (!value || PyDict_SetItemString(dict, d->name, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

/* id: (n,) */
static PyObject *ids(int n, const int *id)
{
    PyObject *all = PyTuple_New(n);
    for (int i = 0; all && i < n; i++) {
        PyObject *one = PyLong_FromLong(id[i]);
        if (!one)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, i, one);
    }
    return all;
}

/* It reads what its node has read, too. */
static PyObject *backward_pass(const pa_node *node, const pa_node *of)
{
    int in[PA_MAX_OUT + PA_MAX_IN], out[PA_MAX_IN], n_in = node->call.n_in, n_out = 0;
    memcpy(in, node->in, (size_t)n_in * sizeof *in);
    for (int i = 0; i < of->call.n_in; i++) {
        in[n_in++] = of->in[i];
        if (node->din[i] >= 0)
            out[n_out++] = node->din[i];
    }
    return Py_BuildValue("(sNN{ss})", node->call.op->name, ids(n_in, in), ids(n_out, out),
                         "of", of->call.op->name);
}

PyObject *pa_py_owner_node(PyObject *o, PyObject *index)
{
    const pa_graph *g = recorded(o);
    long k = g ? PyLong_AsLong(index) : -1;
    if (k == -1 && PyErr_Occurred())
        return NULL;
    if (k < 0 || k >= g->n_nodes)
        return PyErr_Format(PyExc_IndexError, "node: got %ld, expected 0 to %d", k,
                            g->n_nodes - 1);
    const pa_node *node = &g->node[k];
    if (node->back_of >= 0)
        return backward_pass(node, &g->node[node->back_of]);
    return Py_BuildValue("(sNNN)", node->call.op->name, ids(node->call.n_in, node->in),
                         ids(node->call.n_out, node->out), attrs(node));
}

PyObject *pa_py_owner_value(PyObject *o, PyObject *id)
{
    const pa_graph *g = recorded(o);
    long v = g ? PyLong_AsLong(id) : -1;
    if (v == -1 && PyErr_Occurred())
        return NULL;
    if (v < 0 || v >= g->n_values)
        return PyErr_Format(PyExc_IndexError, "value: got %ld, expected 0 to %d", v,
                            g->n_values - 1);
    return pa_py_value_wrap((pa_py_graph *)o, (int)v);
}
