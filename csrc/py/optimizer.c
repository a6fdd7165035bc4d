/* optimizer.c - pyact._core.OptimizerState: gradients and slots, which outlive programs.
 */
#include "py/objects.h"

#include <string.h>

static int clip_kind(const char *text, pa_clip *clip)
{
    static const char *const names[] = {"none", "value", "norm", "global_norm"};
    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) {
            *clip = (pa_clip)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError,
                 "clip: got '%.40s', expected none, value, norm or global_norm", text);
    return -1;
}

static PyObject *optimizer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"op", "attrs", "clip", "clip_at", NULL};
    PyObject *op, *attrs = NULL;
    const char *clip_text = "none";
    double clip_at = 0;
    pa_clip clip;
    pa_py_args a;
    pa_error err;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|Osd:OptimizerState", names, &op,
                                     &attrs, &clip_text, &clip_at) ||
        clip_kind(clip_text, &clip) < 0)
        return NULL;
    pa_state *state = (pa_state *)PyType_GetModuleState(type);
    int index = pa_py_find_op(state->lib, op);
    if (index < 0 || pa_py_args_get(&a, state->lib->table[0]->ops[index], attrs) < 0)
        return NULL;
    pa_py_optimizer *self = (pa_py_optimizer *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->lib_owner = Py_NewRef(state->lib_owner);
    pa_status status =
        pa_optimizer_new(&self->opt, state->lib, state->lib->table[0]->ops[index]->name,
                         a.n, a.arg, clip, clip_at, &err);
    if (status) {
        Py_DECREF(self);
        return pa_py_raise(status, &err);
    }
    return (PyObject *)self;
}

static void optimizer_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    pa_optimizer_free(((pa_py_optimizer *)o)->opt);
    Py_CLEAR(((pa_py_optimizer *)o)->lib_owner);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *wrap(PyObject *self, pa_block *block)
{
    return block ? pa_py_block_wrap(pa_py_state_of(self), block) : PyErr_NoMemory();
}

PyDoc_STRVAR(
    slot_doc,
    "slot($self, block, i, /)\n--\n\nThe Block of slot i for a Block of parameters.");

static PyObject *optimizer_slot(PyObject *o, PyObject *args)
{
    pa_optimizer *opt = ((pa_py_optimizer *)o)->opt;
    PyObject *block;
    int i;
    if (!PyArg_ParseTuple(args, "O!i:slot", pa_py_state_of(o)->type[PA_PY_BLOCK], &block,
                          &i))
        return NULL;
    if (i < 0 || i >= pa_optimizer_slots(opt))
        return PyErr_Format(PyExc_IndexError, "slot: got %d, expected 0 to %d", i,
                            pa_optimizer_slots(opt) - 1);
    return wrap(o, pa_optimizer_slot(opt, ((pa_py_block *)block)->block, i));
}

PyDoc_STRVAR(grad_doc,
             "grad($self, block, /)\n--\n\nThe Block of the last gradients of a Block of "
             "parameters.");

static PyObject *optimizer_grad(PyObject *o, PyObject *block)
{
    if (!PyObject_TypeCheck(block, pa_py_state_of(o)->type[PA_PY_BLOCK]))
        return PyErr_Format(PyExc_TypeError, "grad: got %.100s, expected a Block",
                            Py_TYPE(block)->tp_name);
    return wrap(
        o, pa_optimizer_grad(((pa_py_optimizer *)o)->opt, ((pa_py_block *)block)->block));
}

static PyObject *optimizer_slots(PyObject *o, void *unused)
{
    (void)unused;
    return PyLong_FromLong(pa_optimizer_slots(((pa_py_optimizer *)o)->opt));
}

static PyMethodDef optimizer_methods[] = {
    {"slot", optimizer_slot, METH_VARARGS, slot_doc},
    {"grad", optimizer_grad, METH_O, grad_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef optimizer_getset[] = {
    {"slots", optimizer_slots, NULL, "Number of slots.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(optimizer_doc,
             "OptimizerState(op, attrs=None, clip='none', clip_at=0.0)\n--\n\n"
             "An optimizer's operator and the memory that it keeps.");

static PyType_Slot optimizer_slots_[] = {
    {Py_tp_new, (void *)optimizer_new},
    {Py_tp_dealloc, (void *)optimizer_dealloc},
    {Py_tp_methods, (void *)optimizer_methods},
    {Py_tp_getset, (void *)optimizer_getset},
    {Py_tp_doc, (void *)optimizer_doc},
    {0, NULL},
};

static PyType_Spec optimizer_spec = {
    .name = "pyact._core.OptimizerState",
    .basicsize = sizeof(pa_py_optimizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = optimizer_slots_,
};

int pa_py_optimizer_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_OPTIMIZER, &optimizer_spec);
}
