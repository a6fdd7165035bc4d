/* block.c - pyact._core.Block: memory that parameters, gradients and slots live in. Its
 * arrays are views: they keep the block alive, and writing to one changes the model. */
#include "py/objects.h"

PyObject *pa_py_block_wrap(pa_state *state, pa_block *block)
{
    PyTypeObject *type = state->type[PA_PY_BLOCK];
    pa_py_block *self = (pa_py_block *)type->tp_alloc(type, 0);
    if (self)
        self->block = pa_block_ref(block);
    return (PyObject *)self;
}

static PyObject *block_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"dtype", "size", NULL};
    PyObject *dtype;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "On:Block", names, &dtype, &size))
        return NULL;
    int d = pa_py_dtype(dtype);
    if (d < 0)
        return NULL;
    if (size < 0)
        return PyErr_Format(PyExc_ValueError, "Block: size: got %zd, expected 0 or more",
                            size);
    pa_block *block = pa_block_new((pa_dtype)d, (size_t)size);
    if (!block)
        return PyErr_NoMemory();
    pa_py_block *self = (pa_py_block *)type->tp_alloc(type, 0);
    if (self)
        self->block = block;
    else
        pa_block_unref(block);
    return (PyObject *)self;
}

static void block_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pa_block_unref(((pa_py_block *)self)->block);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    view_doc,
    "view($self, offset, shape, /)\n--\n\nA writable array over the block's memory, "
    "`offset` elements from its begin.");

static PyObject *block_view(PyObject *self, PyObject *args)
{
    const pa_block *b = ((pa_py_block *)self)->block;
    Py_ssize_t offset;
    PyObject *shape;
    int64_t dim[PA_MAX_RANK];
    if (!PyArg_ParseTuple(args, "nO:view", &offset, &shape))
        return NULL;
    int rank = pa_py_shape(shape, dim);
    if (rank < 0)
        return NULL;
    pa_tensor t;
    pa_error err;
    pa_status status = pa_tensor_init(&t, b->dtype, rank, dim, &err);
    if (status)
        return pa_py_raise(status, &err);
    if (offset < 0 || (size_t)offset > b->size || t.size > b->size - (size_t)offset)
        return PyErr_Format(PyExc_ValueError,
                            "Block.view: %zu elements at %zd, but the block has %zu",
                            t.size, offset, b->size);
    npy_intp dims[PA_MAX_RANK];
    for (int i = 0; i < rank; i++)
        dims[i] = (npy_intp)dim[i];
    char *data = (char *)b->data + (size_t)offset * pa_dtype_size(b->dtype);
    PyObject *a = PyArray_SimpleNewFromData(rank, dims, pa_py_npy_type(b->dtype), data);
    if (a && PyArray_SetBaseObject((PyArrayObject *)a, Py_NewRef(self)) < 0)
        Py_CLEAR(a);
    return a;
}

static PyObject *block_size(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((pa_py_block *)self)->block->size);
}

static PyObject *block_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return (PyObject *)PyArray_DescrFromType(
        pa_py_npy_type(((pa_py_block *)self)->block->dtype));
}

static PyMethodDef block_methods[] = {
    {"view", block_view, METH_VARARGS, view_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef block_getset[] = {
    {"size", block_size, NULL, "Elements.", NULL},
    {"dtype", block_dtype, NULL, "float32 or float64.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(block_doc,
             "Block(dtype, size)\n--\n\nZeroed, aligned memory for parameters.");

static PyType_Slot block_slots[] = {
    {Py_tp_new, (void *)block_new},         {Py_tp_dealloc, (void *)block_dealloc},
    {Py_tp_methods, (void *)block_methods}, {Py_tp_getset, (void *)block_getset},
    {Py_tp_doc, (void *)block_doc},         {0, NULL},
};

static PyType_Spec block_spec = {
    .name = "pyact._core.Block",
    .basicsize = sizeof(pa_py_block),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = block_slots,
};

int pa_py_block_add(PyObject *module)
{
    return pa_py_add_type(module, PA_PY_BLOCK, &block_spec);
}
