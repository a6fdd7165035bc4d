/* state.h - what one instance of the module `pyact._core` owns, and how C errors become
 * Python exceptions. The first header of every file in this folder.
 *
 * Nothing here is process-wide: the module uses multi-phase initialisation (PEP 489) and
 * heap types, and everything that Python can reach keeps alive what it needs. */
#ifndef PA_PY_STATE_H
#define PA_PY_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* NumPy's table of functions is one pointer of this extension, filled by module.c. */
#define PY_ARRAY_UNIQUE_SYMBOL pyact_array_api
#define PY_UFUNC_UNIQUE_SYMBOL pyact_ufunc_api
#ifndef PA_PY_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include "pyact.h"

/* The heap types of the module; a type is added by naming it here. */
enum {
    PA_PY_BLOCK,
    PA_PY_VALUE,
    PA_PY_GRAPH,
    PA_PY_PROGRAM,
    PA_PY_OPTIMIZER,
    PA_PY_TAPE,
    PA_PY_INFERENCE,
    PA_PY_KEYWORD,
    PA_PY_N_TYPES
};

typedef struct pa_state {
    pa_lib *lib; /* tables of the chosen ISA, and the threads */
    PyObject
        *lib_owner; /* owned: a capsule that frees lib; holding it outlives the module */
    PyTypeObject *type[PA_PY_N_TYPES]; /* owned, or NULL */
    PyObject
        *active;     /* owned: () -> the Tape that is recording in this thread, or None */
    PyObject *adopt; /* owned: (tape, x) -> the tape's Value of a weight or of a Value of
                        elsewhere; both NULL until set_recorder */
} pa_state;

extern struct PyModuleDef pa_py_module;

static inline pa_state *pa_py_state(PyObject *module)
{
    return (pa_state *)PyModule_GetState(module);
}

/* Sets the exception that `status` stands for, with the message of `err`, and returns
 * NULL. PA_EINTR leaves the exception alone that the poll has set. */
PyObject *pa_py_raise(pa_status status, const pa_error *err);

/* Each adds its part to the module that is being initialised; -1 with an exception set.
 */
int pa_py_ufuncs_add(PyObject *module, pa_state *state);
int pa_py_operators_add(PyObject *module, pa_state *state);

#endif
