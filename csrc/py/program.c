/* program.c - pyact._core.Program: a graph compiled into an array of calls. */
#include "py/objects.h"

#include "py/program.h"

/* ---- compile
 * ------------------------------------------------------------------------------ */

static int value_ids(pa_py_graph *g, PyObject *values, int *id, const char *what)
{
    if (!values)
        return 0;
    if (!PyTuple_Check(values) || PyTuple_GET_SIZE(values) > PY_MAX_OUTPUTS) {
        PyErr_Format(PyExc_TypeError,
                     "Program: %s: expected a tuple of at most %d values", what,
                     PY_MAX_OUTPUTS);
        return -1;
    }
    PyTypeObject *type = pa_py_state_of((PyObject *)g)->type[PA_PY_VALUE];
    int n = (int)PyTuple_GET_SIZE(values);
    for (int i = 0; i < n; i++) {
        pa_py_value *v = (pa_py_value *)PyTuple_GET_ITEM(values, i);
        if (!PyObject_TypeCheck((PyObject *)v, type) || v->owner != g) {
            PyErr_Format(PyExc_ValueError, "Program: %s %d is not a value of the graph",
                         what, i);
            return -1;
        }
        id[i] = v->id;
    }
    return n;
}

static PyObject *program_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"graph", "loss", "optimizer", "outputs", "wrt", NULL};
    pa_state *state = (pa_state *)PyType_GetModuleState(type);
    PyObject *graph, *loss = Py_None, *optimizer = Py_None, *outputs = NULL, *wrt = NULL;
    int out_id[PY_MAX_OUTPUTS], wrt_id[PY_MAX_OUTPUTS];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|OOOO:Program", names,
                                     state->type[PA_PY_GRAPH], &graph, &loss, &optimizer,
                                     &outputs, &wrt))
        return NULL;
    pa_py_graph *g = (pa_py_graph *)graph;
    pa_program_spec spec = {.loss = -1, .out = out_id, .wrt = wrt_id};
    if (loss != Py_None) {
        PyObject *one = PyTuple_Pack(1, loss);
        int n = one ? value_ids(g, one, &spec.loss, "loss") : -1;
        Py_XDECREF(one);
        if (n < 0)
            return NULL;
    }
    if (optimizer != Py_None) {
        if (!PyObject_TypeCheck(optimizer, state->type[PA_PY_OPTIMIZER]))
            return PyErr_Format(PyExc_TypeError,
                                "Program: optimizer: expected an OptimizerState");
        spec.opt = ((pa_py_optimizer *)optimizer)->opt;
    }
    if ((spec.n_out = value_ids(g, outputs, out_id, "outputs")) < 0 ||
        (spec.n_wrt = value_ids(g, wrt, wrt_id, "wrt")) < 0)
        return NULL;
    py_program *self = (py_program *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->lib = state->lib;
    self->lib_owner = Py_NewRef(state->lib_owner);
    self->optimizer = optimizer == Py_None ? NULL : Py_NewRef(optimizer);
    pa_error err;
    pa_status status = pa_program_new(&self->program, g->graph, &spec, &err);
    if (status) {
        Py_DECREF(self);
        return pa_py_raise(status, &err);
    }
    return (PyObject *)self;
}

static void program_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    py_program *self = (py_program *)o;
    pa_program_free(self->program);
    Py_CLEAR(self->optimizer);
    Py_CLEAR(self->lib_owner);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *program_bytes(PyObject *o, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(pa_program_bytes(((py_program *)o)->program));
}

static PyObject *program_flops(PyObject *o, void *unused)
{
    (void)unused;
    return PyFloat_FromDouble(pa_program_flops(((py_program *)o)->program));
}

static PyObject *program_calls(PyObject *o, void *unused)
{
    (void)unused;
    return PyLong_FromLong(pa_program_calls(((py_program *)o)->program));
}

static PyGetSetDef program_getset[] = {
    {"bytes", program_bytes, NULL, "Size of the arena.", NULL},
    {"flops", program_flops, NULL, "Floating-point operations of one forward pass.",
     NULL},
    {"calls", program_calls, NULL, "Calls of one step.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    program_doc,
    "Program(graph, loss=None, optimizer=None, outputs=(), wrt=())\n--\n\n"
    "A graph compiled into an array of calls; `wrt` asks for gradients of the loss as\n"
    "further outputs.");

static PyType_Slot program_slots[] = {
    {Py_tp_new, (void *)program_new},
    {Py_tp_dealloc, (void *)program_dealloc},
    {Py_tp_getset, (void *)program_getset},
    {Py_tp_doc, (void *)program_doc},
    {0, NULL},
};

static PyType_Spec program_spec = {
    .name = "pyact._core.Program",
    .basicsize = sizeof(py_program),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = program_slots,
};

int pa_py_program_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_PROGRAM, &program_spec);
}
