/* module.c - the extension module `pyact._core`: which ISA, how many threads, and the
 * parts that the other files of this folder add. */
#define PA_PY_IMPORTS_NUMPY
#include "py/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "py/keyword.h"
#include "py/ufunc.h"

enum { MAX_THREADS = 1024 };

/* ---- the library: ISA and threads ----------------------------------------------- */

static const char lib_name[] = "pyact._core.lib";

static void lib_free(PyObject *capsule)
{
    pa_lib *lib = PyCapsule_GetPointer(capsule, lib_name);
    /* joining the threads may take as long as the chunk that one of them is in */
    Py_BEGIN_ALLOW_THREADS pa_lib_close(lib);
    Py_END_ALLOW_THREADS PyMem_Free(lib);
}

/* "avx512, avx2, base", written into buf and returned. */
static const char *isa_text(char buf[64])
{
    const char *names[8];
    pa_isas(names);
    buf[0] = '\0';
    for (int i = 0; names[i]; i++) {
        strcat(buf, i ? ", " : "");
        strcat(buf, names[i]);
    }
    return buf;
}

/* *isa: what PYACT_ISA asks for, or NULL for the best. */
static int env_isa(const char **isa)
{
    const char *names[8];
    char buf[64];
    *isa = getenv("PYACT_ISA");
    if (*isa == NULL || (*isa)[0] == '\0') {
        *isa = NULL;
        return 0;
    }
    pa_isas(names);
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], *isa) == 0)
            return 0;
    PyErr_Format(
        PyExc_ValueError,
        "environment variable PYACT_ISA: got '%.40s', expected one that this build "
        "has and this processor runs: %s; unset it for the best of them",
        *isa, isa_text(buf));
    return -1;
}

/* *threads: what PYACT_NUM_THREADS asks for, or 0 for every core. */
static int env_threads(int *threads)
{
    const char *text = getenv("PYACT_NUM_THREADS");
    *threads = 0;
    if (text == NULL || text[0] == '\0')
        return 0;
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno || n < 1 || n > MAX_THREADS) {
        PyErr_Format(
            PyExc_ValueError,
            "environment variable PYACT_NUM_THREADS: got '%.40s', expected a whole "
            "number from 1 to %d; unset it to use every core",
            text, MAX_THREADS);
        return -1;
    }
    *threads = (int)n;
    return 0;
}

static int open_lib(pa_state *state)
{
    const char *isa;
    int threads;
    if (env_isa(&isa) < 0 || env_threads(&threads) < 0)
        return -1;
    if (threads == 0) {
        threads = pa_cpu_count();
        threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    }
    pa_lib *lib = PyMem_Malloc(sizeof *lib);
    if (lib == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pa_error err = {""};
    pa_status status = pa_lib_open(lib, isa, threads, &err);
    if (status) {
        PyMem_Free(lib);
        pa_py_raise(status, &err);
        return -1;
    }
    state->lib_owner = PyCapsule_New(lib, lib_name, lib_free);
    if (state->lib_owner == NULL) {
        pa_lib_close(lib);
        PyMem_Free(lib);
        return -1;
    }
    state->lib = lib;
    return 0;
}

/* ---- functions ------------------------------------------------------------------ */

PyDoc_STRVAR(isa_doc, "isa()\n--\n\nThe name of the instruction set in use.");

static PyObject *isa(PyObject *module, PyObject *unused)
{
    (void)unused;
    return PyUnicode_FromString(pa_py_state(module)->lib->table[0]->isa);
}

PyDoc_STRVAR(tables_doc,
             "tables()\n--\n\nNames of the instruction sets that this build has "
             "and this processor runs, best first.");

static PyObject *tables(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    const char *names[8];
    pa_isas(names);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && names[i]; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (name == NULL || PyList_Append(list, name) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

PyDoc_STRVAR(
    get_num_threads_doc,
    "get_num_threads()\n--\n\nThreads that one call may use, the caller's included.");

static PyObject *get_num_threads(PyObject *module, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(pa_pool_threads(pa_py_state(module)->lib->pool));
}

PyDoc_STRVAR(set_num_threads_doc,
             "set_num_threads(n, /)\n--\n\nSets how many threads one call may use, the "
             "caller's included. Results do not\ndepend on it.");

static PyObject *set_num_threads(PyObject *module, PyObject *arg)
{
    if (PyBool_Check(arg) || !PyIndex_Check(arg))
        return PyErr_Format(
            PyExc_TypeError,
            "set_num_threads: got %.100s, expected a whole number from 1 to %d",
            Py_TYPE(arg)->tp_name, MAX_THREADS);
    Py_ssize_t n = PyNumber_AsSsize_t(arg, NULL); /* clips what does not fit */
    if (n == -1 && PyErr_Occurred())
        return NULL;
    if (n < 1 || n > MAX_THREADS)
        return PyErr_Format(
            PyExc_ValueError,
            "set_num_threads: got %R, expected a whole number from 1 to %d", arg,
            MAX_THREADS);
    pa_pool *pool = pa_py_state(module)->lib->pool;
    Py_BEGIN_ALLOW_THREADS pa_pool_resize(pool, (int)n);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

PyDoc_STRVAR(
    ufuncs_doc,
    "ufuncs(isa, /)\n--\n\nA dict of all ufuncs as compiled for one of tables(): "
    "for tests that compare\ninstruction sets within one process.");

static PyObject *ufuncs(PyObject *module, PyObject *arg)
{
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(arg, &length);
    if (name == NULL)
        return NULL;
    if (strlen(name) != (size_t)length)
        return PyErr_Format(PyExc_ValueError, "ISA: %R has a null character", arg);
    return pa_py_ufuncs_of(pa_py_state(module), name);
}

static PyMethodDef methods[] = {
    {"isa", isa, METH_NOARGS, isa_doc},
    {"tables", tables, METH_NOARGS, tables_doc},
    {"get_num_threads", get_num_threads, METH_NOARGS, get_num_threads_doc},
    {"set_num_threads", set_num_threads, METH_O, set_num_threads_doc},
    {"ufuncs", ufuncs, METH_O, ufuncs_doc},
    {NULL, NULL, 0, NULL},
};

/* threadpoolctl knows the library by this symbol (pyact/_config.py). */
Py_EXPORTED_SYMBOL extern const char pyact_core_is_loaded;
const char pyact_core_is_loaded = 1;

/* ---- the module ----------------------------------------------------------------- */

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#elif defined(_MSC_VER)
#define STR_(x)  #x
#define STR(x)   STR_(x)
#define COMPILER "msvc " STR(_MSC_FULL_VER)
#else
#define COMPILER "unknown"
#endif

static int module_exec(PyObject *module)
{
    import_array1(-1);
    import_umath1(-1);
    pa_state *state = pa_py_state(module);
    if (pa_py_away_init() < 0 || open_lib(state) < 0)
        return -1;
    if (PyModule_AddStringConstant(module, "compiler", COMPILER) < 0)
        return -1;
    if (pa_py_ufuncs_add(module, state) < 0 || pa_py_keyword_add(module) < 0)
        return -1;
    return pa_py_operators_add(module, state);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    pa_state *state = pa_py_state(module);
    for (int i = 0; i < PA_PY_N_TYPES; i++)
        Py_VISIT(state->type[i]);
    Py_VISIT(state->active);
    Py_VISIT(state->adopt);
    Py_VISIT(state->lib_owner);
    return 0;
}

static int module_clear(PyObject *module)
{
    pa_state *state = pa_py_state(module);
    for (int i = 0; i < PA_PY_N_TYPES; i++)
        Py_CLEAR(state->type[i]);
    Py_CLEAR(state->active);
    Py_CLEAR(state->adopt);
    return 0;
}

/* lib goes last: clearing a cycle must not take it from objects still in use. */
static void module_free(void *module)
{
    pa_state *state = pa_py_state((PyObject *)module);
    module_clear((PyObject *)module);
    state->lib = NULL;
    Py_CLEAR(state->lib_owner);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_mod_multiple_interpreters
    /* NumPy refuses to be loaded into a second interpreter */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef pa_py_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pyact._core",
    .m_doc = "The C core of pyact. Use what the package pyact exports.",
    .m_size = sizeof(pa_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&pa_py_module);
}
