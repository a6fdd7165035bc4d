/* program.h - what a compiled program looks like to the files of this folder. */
#ifndef PA_PY_PROGRAM_H
#define PA_PY_PROGRAM_H

#include "base/thread.h"
#include "py/state.h"

enum { PY_MAX_OUTPUTS = 256 };

typedef struct py_program {
    PyObject_HEAD PyObject *lib_owner;
    PyObject *optimizer; /* keeps its gradients and slots alive, or NULL */
    pa_lib *lib;
    pa_program *program;
    pa_atomic busy; /* 1 while a thread runs it */
} py_program;

#endif
