/* operators.c - the parts of the module that are about operators: what there is, applying
 * one by name (apply), and the types of the files beside it. */
#include "py/objects.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "graph/graph.h"

/* ---- what there is
 * ---------------------------------------------------------------------- */

PyDoc_STRVAR(op_names_doc, "op_names()\n--\n\nThe names of all operators, in order.");

static PyObject *op_names(PyObject *module, PyObject *unused)
{
    (void)unused;
    const pa_table *table = pa_py_state(module)->lib->table[0];
    PyObject *list = PyList_New(table->n_ops);
    for (int i = 0; list && i < table->n_ops; i++) {
        PyObject *name = PyUnicode_FromString(table->ops[i]->name);
        if (!name)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, name);
    }
    return list;
}

static PyObject *attr_list(const pa_op *op)
{
    static const char *const type[] = {"real", "int", "bool", "list", "map"};
    PyObject *list = PyList_New(0);
    for (const pa_attr_desc *d = op->attrs; list && d && d->name; d++) {
        PyObject *item = Py_BuildValue("(ssddds)", d->name, type[d->type], d->init,
                                       d->min, d->max, d->doc ? d->doc : "");
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

PyDoc_STRVAR(op_info_doc,
             "op_info(name, /)\n--\n\nEverything the registry knows about an operator.");

static PyObject *op_info(PyObject *module, PyObject *name)
{
    static const char *const kind[] = {"map",  "binary", "reduce",    "shape",   "layer",
                                       "loss", "metric", "optimizer", "gradient"};
    const pa_lib *lib = pa_py_state(module)->lib;
    int index = pa_py_find_op(lib, name);
    if (index < 0)
        return NULL;
    const pa_op *op = lib->table[0]->ops[index];
    PyObject *attrs = attr_list(op);
    if (!attrs)
        return NULL;
    return Py_BuildValue(
        "{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:I,s:O,s:O,s:O,s:O,s:N}", "name", op->name,
        "formula", op->formula ? op->formula : "", "kind", kind[op->kind], "in_names",
        op->in_names ? op->in_names : "x", "min_in", op->min_in, "max_in", op->max_in,
        "n_out", op->n_out, "no_din", op->no_din, "in_place",
        op->flags & PA_IN_PLACE ? Py_True : Py_False, "alias",
        op->flags & PA_ALIAS ? Py_True : Py_False, "needs_in",
        op->flags & PA_NEEDS_IN ? Py_True : Py_False, "differentiable",
        op->flags & (PA_NO_GRAD | PA_MUTATES) ? Py_False : Py_True, "attrs", attrs);
}

/* ---- apply
 * ---------------------------------------------------------------------------------- */

/* Where an operator on these inputs is recorded: a graph or a recording tape among them,
 * else, for weights and for values of tapes that have ended, what records in this thread.
 * A new reference; NULL, perhaps with an exception: at once, on arrays. */
static pa_py_graph *find_owner(pa_state *state, PyObject *inputs)
{
    bool ask = false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); i++) {
        PyObject *x = PyTuple_GET_ITEM(inputs, i);
        if (PyObject_TypeCheck(x, state->type[PA_PY_VALUE])) {
            pa_py_graph *owner = ((pa_py_value *)x)->owner;
            if (owner && (owner->graph || owner->recording))
                return (pa_py_graph *)Py_NewRef((PyObject *)owner);
            ask = true;
        } else if (!ask) {
            const int weight = pa_py_is_weight(x);
            if (weight < 0)
                return NULL;
            ask = weight;
        }
    }
    if (!ask || !state->active)
        return NULL;
    PyObject *tape = PyObject_CallNoArgs(state->active);
    if (tape && Py_TYPE(tape) != state->type[PA_PY_TAPE] &&
        Py_TYPE(tape) != state->type[PA_PY_GRAPH])
        Py_CLEAR(tape);
    return (pa_py_graph *)tape;
}

PyDoc_STRVAR(
    set_recorder_doc,
    "set_recorder(active, adopt, /)\n--\n\nactive(): the Tape that records in "
    "this thread, or None. adopt(tape, x): the tape's Value of a weight, or of a "
    "Value of another tape.");

static PyObject *set_recorder(PyObject *module, PyObject *args)
{
    PyObject *active, *adopt;
    pa_state *state = pa_py_state(module);
    if (!PyArg_ParseTuple(args, "OO:set_recorder", &active, &adopt))
        return NULL;
    Py_XSETREF(state->active, Py_NewRef(active));
    Py_XSETREF(state->adopt, Py_NewRef(adopt));
    Py_RETURN_NONE;
}

typedef struct eager {
    pa_call call;
    pa_attr attr[PA_MAX_ATTR];
    pa_tensor in[PA_MAX_IN], out[PA_MAX_OUT];
    PyArrayObject *array[PA_MAX_IN];
    PyObject *result[PA_MAX_OUT];
} eager;

/* float32 and float64 arrays together become float64, as NumPy promotes; plain numbers
 * take the dtype of the arrays beside them. */
static int eager_inputs(eager *e, const pa_state *state, PyObject *inputs)
{
    Py_ssize_t n = PyTuple_GET_SIZE(inputs);
    bool wide = false, narrow = false;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *x = PyTuple_GET_ITEM(inputs, i);
        PyObject *numbers = NULL; /* of a value whose tape has ended */
        if (PyObject_TypeCheck(x, state->type[PA_PY_VALUE]) &&
            !(numbers = pa_py_value_array((pa_py_value *)x)))
            return -1;
        e->array[i] = pa_py_array(numbers ? numbers : x);
        Py_XDECREF(numbers);
        if (!e->array[i])
            return -1;
        bool number = PyFloat_Check(x) || PyLong_Check(x);
        wide = wide || (!number && PyArray_TYPE(e->array[i]) == NPY_FLOAT64);
        narrow = narrow || PyArray_TYPE(e->array[i]) == NPY_FLOAT32;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *x = PyTuple_GET_ITEM(inputs, i);
        bool number = PyFloat_Check(x) || PyLong_Check(x);
        int type = PyArray_TYPE(e->array[i]), want = type;
        if (number)
            want = narrow && !wide ? NPY_FLOAT32 : NPY_FLOAT64;
        else if (wide && type == NPY_FLOAT32)
            want = NPY_FLOAT64;
        if (want != type) {
            PyObject *cast = PyArray_Cast(e->array[i], want);
            if (!cast)
                return -1;
            Py_SETREF(e->array[i], (PyArrayObject *)cast);
        }
        pa_py_tensor(e->array[i], &e->in[i]);
    }
    return 0;
}

static int eager_outputs(eager *e)
{
    for (int i = 0; i < e->call.n_out; i++) {
        pa_tensor *t = &e->out[i];
        npy_intp dims[PA_MAX_RANK];
        for (int k = 0; k < t->rank; k++)
            dims[k] = (npy_intp)t->dim[k];
        e->result[i] = PyArray_SimpleNew(t->rank, dims, pa_py_npy_type(t->dtype));
        if (!e->result[i])
            return -1;
        t->data = PyArray_DATA((PyArrayObject *)e->result[i]);
    }
    return 0;
}

static PyObject *eager_result(eager *e)
{
    if (e->call.n_out == 1)
        return Py_NewRef(e->result[0]);
    PyObject *all = PyTuple_New(e->call.n_out);
    for (int i = 0; all && i < e->call.n_out; i++)
        PyTuple_SET_ITEM(all, i, Py_NewRef(e->result[i]));
    return all;
}

/* Below both, switching costs more than it frees. */
enum { RELEASE_GIL_AT = 4096 }; /* elements */
static const double RELEASE_GIL_FLOPS = 1e5;

static PyObject *eager_run(eager *e, const pa_state *state, int index, PyObject *inputs,
                           const pa_py_args *a, uint64_t seed)
{
    const pa_lib *lib = state->lib;
    pa_error err;
    pa_tensor *in[PA_MAX_IN];
    if (eager_inputs(e, state, inputs) < 0)
        return NULL;
    for (int i = 0; i < PA_MAX_IN; i++)
        in[i] = &e->in[i];
    pa_status status =
        pa_call_prepare(&e->call, e->attr, e->out, lib, index,
                        (int)PyTuple_GET_SIZE(inputs), in, a->n, a->arg, &err);
    if (status)
        return pa_py_raise(status, &err);
    if (e->call.op->flags & PA_MUTATES)
        return PyErr_Format(PyExc_TypeError,
                            "%s changes its inputs; it runs only in a Program",
                            e->call.op->name);
    if (eager_outputs(e) < 0)
        return NULL;
    pa_ctx ctx = {.pool = lib->pool, .seed = seed};
    const bool takes_long =
        e->in[0].size >= RELEASE_GIL_AT || e->call.flops >= RELEASE_GIL_FLOPS;
    pa_py_away away;
    if (takes_long)
        pa_py_leave(&away, NULL, HUGE_VAL);
    status = pa_call_run(&e->call, &ctx, &err);
    if (takes_long && pa_py_return(&away) < 0)
        return NULL;
    return status ? pa_py_raise(status, &err) : eager_result(e);
}

PyDoc_STRVAR(apply_doc,
             "apply(name, inputs, attrs=None, seed=0, /)\n--\n\n"
             "Applies an operator: to arrays at once, to Values by recording it.");

static PyObject *apply(PyObject *module, PyObject *args)
{
    pa_state *state = pa_py_state(module);
    PyObject *name, *inputs, *attrs = NULL;
    unsigned long long seed = 0;
    if (!PyArg_ParseTuple(args, "UO!|OK:apply", &name, &PyTuple_Type, &inputs, &attrs,
                          &seed))
        return NULL;
    if (PyTuple_GET_SIZE(inputs) > PA_MAX_IN)
        return PyErr_Format(PyExc_TypeError, "%U: got %zd inputs, expected at most %d",
                            name, PyTuple_GET_SIZE(inputs), PA_MAX_IN);
    pa_py_graph *owner = find_owner(state, inputs);
    if (owner) {
        PyObject *made = pa_py_value_apply(owner, name, inputs, attrs);
        Py_DECREF((PyObject *)owner);
        return made;
    }
    if (PyErr_Occurred())
        return NULL;
    int index = pa_py_find_op(state->lib, name);
    pa_py_args a;
    if (index < 0 || pa_py_args_get(&a, state->lib->table[0]->ops[index], attrs) < 0)
        return NULL;
    eager e;
    memset(e.array, 0, sizeof e.array);
    memset(e.result, 0, sizeof e.result);
    PyObject *result = eager_run(&e, state, index, inputs, &a, seed);
    for (int i = 0; i < PA_MAX_IN; i++)
        Py_XDECREF(e.array[i]);
    for (int i = 0; i < PA_MAX_OUT; i++)
        Py_XDECREF(e.result[i]);
    return result;
}

/* ---- shuffle
 * --------------------------------------------------------------------------------- */

PyDoc_STRVAR(shuffle_doc,
             "shuffle(order, seed, epoch, /)\n--\n\nFills an int64 array with a "
             "permutation that is a function of its length, seed and epoch.");

static PyObject *shuffle(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *order;
    unsigned long long seed, epoch;
    if (!PyArg_ParseTuple(args, "O!KK:shuffle", &PyArray_Type, &order, &seed, &epoch))
        return NULL;
    PyArrayObject *a = (PyArrayObject *)order;
    if (PyArray_TYPE(a) != NPY_INT64 || !PyArray_ISCARRAY(a))
        return PyErr_Format(PyExc_TypeError,
                            "shuffle: expected a contiguous int64 array");
    int64_t *at = PyArray_DATA(a);
    size_t n = (size_t)PyArray_SIZE(a);
    Py_BEGIN_ALLOW_THREADS for (size_t i = 0; i < n; i++) at[i] = (int64_t)i;
    pa_rng_shuffle(at, n, seed, 0, epoch);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"op_names", op_names, METH_NOARGS, op_names_doc},
    {"op_info", op_info, METH_O, op_info_doc},
    {"apply", apply, METH_VARARGS, apply_doc},
    {"set_recorder", set_recorder, METH_VARARGS, set_recorder_doc},
    {"shuffle", shuffle, METH_VARARGS, shuffle_doc},
    {NULL, NULL, 0, NULL},
};

int pa_py_operators_add(PyObject *module, pa_state *state)
{
    (void)state;
    if (pa_py_block_add(module) < 0 || pa_py_value_add(module) < 0 ||
        pa_py_recorders_add(module) < 0 || pa_py_optimizer_add(module) < 0 ||
        pa_py_program_add(module) < 0 || pa_py_loop_add(module) < 0 ||
        pa_py_inference_add(module) < 0 || pa_py_execute_add(module) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
