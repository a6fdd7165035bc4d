/* loop.c - pyact._core.run_loop: one call, many batches, no GIL. */
#include "py/objects.h"

#include "py/program.h"

#include <limits.h>

enum { MAX_FEEDS = 32, MAX_OUTPUTS = PY_MAX_OUTPUTS };

typedef struct loop { /* what run_loop holds while the C loop runs */
    pa_loop_args a;
    pa_feed feed[MAX_FEEDS];
    double *sum[MAX_OUTPUTS];
    void *result[MAX_OUTPUTS];
    PyObject *progress; /* borrowed, or NULL */
    bool check_finite;
    pa_tensor *watched; /* owned */
} loop;

static int source_dtype(PyArrayObject *a)
{
    int size = (int)PyArray_ITEMSIZE(a);
    switch (PyArray_DESCR(a)->kind) {
    case 'b':
        return PA_SRC_BOOL;
    case 'i':
        return size == 1   ? PA_SRC_I8
               : size == 2 ? PA_SRC_I16
               : size == 4 ? PA_SRC_I32
                           : PA_SRC_I64;
    case 'u':
        return size == 1   ? PA_SRC_U8
               : size == 2 ? PA_SRC_U16
               : size == 4 ? PA_SRC_U32
                           : PA_SRC_U64;
    case 'f':
        if (size == 2 || size == 4 || size == 8)
            return size == 2 ? PA_SRC_F16 : size == 4 ? PA_SRC_F32 : PA_SRC_F64;
    }
    return -1;
}

/* Is each row of the array one contiguous run? */
static bool rows_contiguous(PyArrayObject *a)
{
    npy_intp step = PyArray_ITEMSIZE(a);
    for (int i = PyArray_NDIM(a) - 1; i > 0; i--) {
        if (PyArray_DIM(a, i) != 1 && PyArray_STRIDE(a, i) != step)
            return false;
        step *= PyArray_DIM(a, i);
    }
    return true;
}

static size_t elements_per_row(const pa_tensor *t)
{
    return t->dim[0] ? t->size / (size_t)t->dim[0] : 0;
}

/* One feed: (name, array, classes, reject_nan). */
static int get_feed(PyObject *item, const pa_tensor *to, int64_t rows, pa_feed *f)
{
    PyObject *array;
    long long classes;
    int reject;
    if (!PyArg_ParseTuple(item, "sO!Lp", &f->name, &PyArray_Type, &array, &classes,
                          &reject))
        return -1;
    PyArrayObject *a = (PyArrayObject *)array;
    int dtype = source_dtype(a), rank = PyArray_NDIM(a);
    if (dtype < 0 || !PyArray_ISNOTSWAPPED(a) || rank < 1 || !rows_contiguous(a)) {
        PyErr_Format(PyExc_TypeError,
                     "%s: expected a native array of real numbers with contiguous rows",
                     f->name);
        return -1;
    }
    size_t per_row = 1;
    for (int i = 1; i < rank; i++)
        per_row *= (size_t)PyArray_DIM(a, i);
    if (PyArray_DIM(a, 0) < rows || per_row != elements_per_row(to)) {
        PyErr_Format(PyExc_ValueError,
                     "%s: got %zd rows of %zu elements, expected %lld rows of %zu",
                     f->name, (Py_ssize_t)PyArray_DIM(a, 0), per_row, (long long)rows,
                     elements_per_row(to));
        return -1;
    }
    f->data = PyArray_DATA(a);
    f->dtype = (pa_source_dtype)dtype;
    f->row_step = PyArray_STRIDE(a, 0);
    f->classes = classes;
    f->reject_nan = reject;
    return 0;
}

/* A C-contiguous array of `type` with at least n elements, or None. */
static int get_array(PyObject *o, int type, npy_intp n, bool writable, const char *name,
                     void **data)
{
    *data = NULL;
    if (o == Py_None)
        return 0;
    PyArrayObject *a = (PyArrayObject *)o;
    if (!PyArray_Check(o) || !PyArray_EquivTypenums(PyArray_TYPE(a), type) ||
        !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISALIGNED(a) ||
        !PyArray_ISNOTSWAPPED(a) || PyArray_SIZE(a) < n ||
        (writable && !PyArray_ISWRITEABLE(a))) {
        PyErr_Format(
            PyExc_ValueError,
            "run_loop: %s: expected a contiguous array with at least %zd elements of the "
            "right dtype",
            name, (Py_ssize_t)n);
        return -1;
    }
    *data = PyArray_DATA(a);
    return 0;
}

static int get_feeds(loop *l, PyObject *feeds)
{
    pa_program *p = l->a.full ? l->a.full : l->a.rest;
    Py_ssize_t n = PyTuple_GET_SIZE(feeds);
    if (n != pa_program_inputs(p) || n > MAX_FEEDS) {
        PyErr_Format(PyExc_ValueError,
                     "run_loop: got %zd feeds, expected %d (at most %d)", n,
                     pa_program_inputs(p), MAX_FEEDS);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        const pa_tensor *to = pa_program_input(p, i);
        if (get_feed(PyTuple_GET_ITEM(feeds, i), to, l->a.order ? 0 : l->a.rows,
                     &l->feed[i]) < 0)
            return -1;
    }
    l->a.feeds = l->feed;
    return 0;
}

/* `order` must stay within every feed's rows. */
static int check_order(const loop *l, PyObject *feeds)
{
    int64_t least = INT64_MAX;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(feeds); i++) {
        PyObject *a = PyTuple_GET_ITEM(PyTuple_GET_ITEM(feeds, i), 1);
        int64_t rows = PyArray_DIM((PyArrayObject *)a, 0);
        least = rows < least ? rows : least;
    }
    for (int64_t r = 0; l->a.order && r < l->a.rows; r++)
        if (l->a.order[r] < 0 || l->a.order[r] >= least) {
            PyErr_Format(PyExc_IndexError,
                         "run_loop: order[%lld] is %lld, but there are %lld rows",
                         (long long)r, (long long)l->a.order[r], (long long)least);
            return -1;
        }
    return 0;
}

/* Does output i of a program for `rows` rows fill what is there for `like`? Sums that
 * only programs which are looked at have need not be there. */
static bool fits(pa_program *p, int i, int64_t rows, const pa_tensor *like, bool by_row)
{
    if (!p)
        return true;
    const pa_tensor *t = pa_program_output(p, i);
    if (!t)
        return !by_row;
    if (t->dtype != like->dtype)
        return false;
    if (!by_row)
        return t->size == like->size;
    return t->rank > 0 && t->dim[0] == rows &&
           elements_per_row(t) == elements_per_row(like);
}

/* The program with the most outputs. */
static pa_program *widest(const pa_loop_args *a)
{
    pa_program *const programs[] = {a->full, a->rest, a->look};
    pa_program *found = NULL;
    int most = -1;
    for (int i = 0; i < 3; i++) {
        int n = 0;
        while (programs[i] && pa_program_output(programs[i], n))
            n++;
        if (programs[i] && n > most) {
            most = n;
            found = programs[i];
        }
    }
    return found;
}

/* sums and results: tuples with an array or None per output. */
static int get_outputs(loop *l, PyObject *sums, PyObject *results)
{
    pa_program *p = widest(&l->a);
    const pa_tensor *t;
    int n = 0;
    for (; (t = pa_program_output(p, n)); n++) {
        if (n >= PyTuple_GET_SIZE(sums) || n >= PyTuple_GET_SIZE(results))
            break;
        PyObject *sum = PyTuple_GET_ITEM(sums, n), *result = PyTuple_GET_ITEM(results, n);
        if (sum != Py_None && t->dtype != PA_F64) {
            PyErr_Format(PyExc_TypeError,
                         "run_loop: output %d cannot be summed: not float64", n);
            return -1;
        }
        npy_intp need = (npy_intp)elements_per_row(t) * l->a.rows;
        if (get_array(sum, NPY_FLOAT64, (npy_intp)t->size, true, "sums",
                      (void **)&l->sum[n]) < 0 ||
            get_array(result, pa_py_npy_type(t->dtype), need, true, "results",
                      &l->result[n]) < 0)
            return -1;
        bool by_row = result != Py_None, used = by_row || sum != Py_None;
        if (used && (!fits(l->a.full, n, l->a.batch, t, by_row) ||
                     !fits(l->a.look, n, l->a.batch, t, by_row) ||
                     !fits(l->a.rest, n, l->a.rows % l->a.batch, t, by_row))) {
            PyErr_Format(PyExc_ValueError,
                         "run_loop: output %d has not one row for each row of the batch",
                         n);
            return -1;
        }
    }
    if (t || n != PyTuple_GET_SIZE(sums) || n != PyTuple_GET_SIZE(results)) {
        PyErr_Format(PyExc_ValueError,
                     "run_loop: sums and results must have one item per output");
        return -1;
    }
    l->a.sums = l->sum;
    l->a.results = l->result;
    return 0;
}

/* watch: None, or (arrays of gradients, every, float64 array of two more elements). */
static int get_watched(loop *l, PyObject *watch)
{
    PyObject *arrays, *squares;
    long long every;
    if (watch == Py_None)
        return 0;
    if (!PyArg_ParseTuple(watch, "O!LO:run_loop", &PyTuple_Type, &arrays, &every,
                          &squares))
        return -1;
    const Py_ssize_t n = PyTuple_GET_SIZE(arrays);
    if (every < 1 || n > INT_MAX) {
        PyErr_SetString(PyExc_ValueError, "run_loop: watch: every is not over 0");
        return -1;
    }
    if (squares == Py_None ||
        get_array(squares, NPY_FLOAT64, n + 2, true, "watch", (void **)&l->a.squares) < 0)
        return -1;
    l->watched = PyMem_Calloc((size_t)n + 1, sizeof *l->watched);
    if (!l->watched) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *a = PyTuple_GET_ITEM(arrays, i);
        const bool f64 =
            PyArray_Check(a) && PyArray_TYPE((PyArrayObject *)a) == NPY_DOUBLE;
        pa_tensor *t = &l->watched[i];
        if (get_array(a, f64 ? NPY_FLOAT64 : NPY_FLOAT32, 0, false, "watch", &t->data) <
            0)
            return -1;
        t->dtype = f64 ? PA_F64 : PA_F32;
        t->size = a == Py_None ? 0 : (size_t)PyArray_SIZE((PyArrayObject *)a);
    }
    l->a.watched = l->watched;
    l->a.n_watched = (int)n;
    l->a.watch_every = every;
    return 0;
}

static int claim(py_program *p)
{
    if (!p || !pa_atomic_swap(&p->busy, 1))
        return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    "this program is running in another thread; compile one per thread");
    return -1;
}

static void release(py_program *p)
{
    if (p)
        pa_atomic_swap(&p->busy, 0);
}

static py_program *program_or_none(PyObject *o, PyTypeObject *type, bool *bad)
{
    if (o == Py_None)
        return NULL;
    *bad = *bad || !PyObject_TypeCheck(o, type);
    return (py_program *)o;
}

PyDoc_STRVAR(
    run_loop_doc,
    "run_loop(full, rest, feeds, rows, batch, order, first, last, seed, step, lr, "
    "losses, "
    "sums, results, done, progress, check_finite=False, watch=None, updates=None, "
    "look=None, /)\n--\n\n"
    "Runs the batches [first, last) of `rows` rows. The program `full` takes whole\n"
    "batches, `rest` the last, smaller one. feeds: tuples (name, array, classes,\n"
    "reject_nan). done: int64 array (1,), the steps finished so far; updates: the\n"
    "same, counted up from what it holds. progress() is\n"
    "called about 20 times a second; what it raises, or a signal, ends the run at a\n"
    "whole step. check_finite: FloatingPointError(message, address) from a step whose\n"
    "loss or gradients are not finite (address 0), or that made the array at address "
    "so,\n"
    "with everything as it was before the step. watch: (arrays, every, sums): in batches "
    "whose number is a multiple of `every` adds the sum of "
    "squares\n"
    "of each array to sums, then 1 and the batch's rows; look: the program that takes\n"
    "the whole ones of those batches.");

/* FloatingPointError(message, address of what overflowed in an update or 0). */
static PyObject *not_finite(const pa_error *err, const void *overflowed)
{
    PyObject *args = Py_BuildValue("(sN)", err->text,
                                   PyLong_FromVoidPtr((void *)(uintptr_t)overflowed));
    if (args)
        PyErr_SetObject(PyExc_FloatingPointError, args);
    Py_XDECREF(args);
    return NULL;
}

static PyObject *run(loop *l)
{
    pa_error err = {""};
    pa_program *program[] = {l->a.full, l->a.rest, l->a.look};
    pa_program *last = l->a.full ? l->a.full : l->a.rest;
    pa_py_away away;
    pa_py_leave(&away, l->progress, pa_program_flops(last));
    for (int i = 0; i < 3; i++)
        if (program[i])
            pa_program_check_finite(program[i], l->check_finite);
    pa_status status = pa_loop_run(&l->a, &err);
    if (pa_py_return(&away) < 0)
        return NULL;
    for (int i = 0; i < 3; i++) {
        const void *overflowed;
        if (program[i] && pa_program_not_finite(program[i], &overflowed))
            return not_finite(&err, overflowed);
    }
    return status ? pa_py_raise(status, &err) : Py_NewRef(Py_None);
}

static PyObject *run_loop(PyObject *module, PyObject *args)
{
    PyObject *full_o, *rest_o, *feeds, *order, *lr, *losses, *sums, *results, *done,
        *progress, *watch = Py_None, *updates = Py_None, *look_o = Py_None;
    long long rows, batch, first, last, step;
    unsigned long long seed;
    bool bad = false;
    int check_finite = 0;
    if (!PyArg_ParseTuple(args, "OOO!LLOLLKLOOO!O!OO|pOOO:run_loop", &full_o, &rest_o,
                          &PyTuple_Type, &feeds, &rows, &batch, &order, &first, &last,
                          &seed, &step, &lr, &losses, &PyTuple_Type, &sums, &PyTuple_Type,
                          &results, &done, &progress, &check_finite, &watch, &updates,
                          &look_o))
        return NULL;
    PyTypeObject *type = pa_py_state(module)->type[PA_PY_PROGRAM];
    py_program *full = program_or_none(full_o, type, &bad);
    py_program *rest = program_or_none(rest_o, type, &bad);
    py_program *look = program_or_none(look_o, type, &bad);
    int64_t batches = batch > 0 && rows >= 0 ? rows / batch + (rows % batch != 0) : -1;
    if (bad || (!full && !rest) || batches < 0 || first < 0 || first > last ||
        last > batches || (!full && first < rows / batch) ||
        (!rest && last > rows / batch))
        return PyErr_Format(
            PyExc_ValueError,
            "run_loop: programs, rows, batch, first and last do not fit together");
    loop l = {.progress = progress == Py_None ? NULL : progress,
              .check_finite = check_finite};
    l.a = (pa_loop_args){.full = full ? full->program : NULL,
                         .rest = rest ? rest->program : NULL,
                         .look = look ? look->program : NULL,
                         .rows = rows,
                         .batch = batch,
                         .first = first,
                         .last = last};
    l.a.ctx =
        (pa_ctx){.pool = pa_py_state(module)->lib->pool, .seed = seed, .step = step};
    npy_intp n = (npy_intp)(last - first);
    if (get_array(order, NPY_INT64, (npy_intp)rows, false, "order", (void **)&l.a.order) <
            0 ||
        get_array(lr, NPY_FLOAT64, n, false, "lr", (void **)&l.a.lr) < 0 ||
        get_array(losses, NPY_FLOAT64, n, true, "losses", (void **)&l.a.loss) < 0 ||
        get_array(done, NPY_INT64, 1, true, "done", (void **)&l.a.done) < 0 ||
        get_array(updates, NPY_INT64, 1, true, "updates", (void **)&l.a.updates) < 0 ||
        get_feeds(&l, feeds) < 0 || check_order(&l, feeds) < 0 ||
        get_outputs(&l, sums, results) < 0)
        return NULL;
    PyObject *none = NULL;
    if (get_watched(&l, watch) == 0 && claim(full) == 0) {
        if (claim(rest) == 0) {
            if (claim(look) == 0) {
                none = run(&l);
                release(look);
            }
            release(rest);
        }
        release(full);
    }
    PyMem_Free(l.watched);
    return none;
}

static PyMethodDef functions[] = {
    {"run_loop", run_loop, METH_VARARGS, run_loop_doc},
    {NULL, NULL, 0, NULL},
};

int pa_py_loop_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
