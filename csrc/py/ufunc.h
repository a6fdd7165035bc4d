/* ufunc.h - every map operator as a NumPy ufunc, and its derivative as another. */
#ifndef PA_PY_UFUNC_H
#define PA_PY_UFUNC_H

#include "py/objects.h"

/* A new dict {name: ufunc} of the operators compiled for `isa`; NULL with an exception.
 */
PyObject *pa_py_ufuncs_of(pa_state *state, const char *isa);

#endif
